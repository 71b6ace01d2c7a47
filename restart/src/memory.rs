//! Contents, verified by now: shared memory and saved files refilled.

use crate::image_set::Member;
use ckpt_image::{CHUNK, SavedFile, SharedKind, SharedMemory};
use ckpt_objects::BlobRef;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// A new object for shared memory that no file and no descriptor holds.
pub fn shared(member: &Member, s: &SharedMemory) -> io::Result<OwnedFd> {
    let file = match s.kind {
        SharedKind::Named => {
            let path = std::path::PathBuf::from(String::from_utf8_lossy(&s.name).into_owned());
            path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
            File::options().read(true).write(true).create(true).truncate(false).open(path)?
        }
        _ => {
            let name = s.name.strip_suffix(b" (deleted)").unwrap_or(&s.name);
            memfd(name.strip_prefix(b"/memfd:").or_else(|| name.strip_prefix(b"/")).unwrap_or(name))?
        }
    };
    file.set_len(s.size.max(file.metadata()?.len()))?;
    fill(member, s, &file)?;
    Ok(file.into())
}

pub fn memfd(name: &[u8]) -> io::Result<File> {
    let name = CString::new(&name[..name.len().min(200)]).unwrap_or_default();
    // SAFETY: name is NUL-terminated; the descriptor is new.
    unsafe {
        let fd = libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(File::from_raw_fd(fd)) }
    }
}

/// The mapped parts of a file as they were.
pub fn saved_file(member: &Member, s: &SavedFile) -> io::Result<OwnedFd> {
    let name = s.identity.path.rsplit(|&b| b == b'/').next().unwrap_or(b"");
    let file = memfd(name.strip_prefix(b"memfd:").unwrap_or(name))?;
    fill_saved(member, s, &file)?;
    Ok(file.into())
}

/// The same at its own path, for a file that had none any more: it loses its name again at once.
pub fn saved_nameless(member: &Member, s: &SavedFile) -> io::Result<OwnedFd> {
    use std::os::unix::ffi::OsStrExt;
    let path = Path::new(std::ffi::OsStr::from_bytes(&s.identity.path));
    let file = File::options().write(true).create_new(true).mode(0o700).open(path)?;
    let filled = fill_saved(member, s, &file).and_then(|()| File::open(path));
    std::fs::remove_file(path)?;
    Ok(filled?.into())
}

fn fill_saved(member: &Member, s: &SavedFile, file: &File) -> io::Result<()> {
    file.set_len(s.identity.size)?;
    for (at, piece, _) in &s.pieces {
        let bytes = member.file.read_blob(piece)?;
        file.write_all_at(&bytes, *at)?;
    }
    Ok(())
}

/// Huge pages are for who asks (`madvise` in the file of Documentation/admin-guide/mm/transhuge.rst).
pub fn huge_on_request() -> bool {
    std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").is_ok_and(|s| s.contains("[madvise]"))
}

/// Copies pieces, leaving holes where there is nothing but zeros and the object is new.
fn fill(member: &Member, s: &SharedMemory, file: &File) -> io::Result<()> {
    let fresh = s.kind != SharedKind::Named;
    for (at, piece) in &s.pieces {
        let mut done = 0;
        while done < piece.len {
            // Encrypted, a piece is opened whole.
            let len = if member.file.is_sealed() { piece.len } else { CHUNK.min(piece.len - done) };
            let bytes = member.file.read_blob(&BlobRef { offset: piece.offset + done, len })?;
            for (i, page) in bytes.chunks(4096).enumerate() {
                if !fresh || page.iter().any(|&b| b != 0) {
                    file.write_all_at(page, at + done + i as u64 * 4096)?;
                }
            }
            done += len;
        }
    }
    Ok(())
}
