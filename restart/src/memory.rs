//! Contents: verified before anything starts, decoded for those that are compressed, shared memory refilled.

use crate::image_set::Member;
use crate::chain::{Cache, Chain, Source};
use ckpt_image::{CHUNK, ImageError, ImageFile, SavedFile, SharedKind, SharedMemory};
use ckpt_objects::BlobRef;
use ckpt_sys::crc::crc32c;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A stored chunk: the image it belongs to, place, length, checksum.
type Stored = (usize, u64, u64, u32);

/// Every checksum of every process's memory, on all cores. The error names the image.
pub fn verify(members: &[Member]) -> Result<(), ImageError> {
    let mut files: Vec<&ImageFile> = Vec::new();
    let mut work: Vec<Stored> = Vec::new();
    for m in members {
        for (file, meta) in std::iter::once((&m.file, &m.meta)).chain(m.parents.iter().map(|p| (&p.0, &p.1))) {
            files.push(file);
            for body in meta.processes.iter().filter_map(|p| p.body.as_ref()) {
                let source = Source { file, memory: &body.memory };
                for (i, &crc) in body.memory.checksums.iter().enumerate() {
                    let (offset, len) = source.stored(i);
                    work.push((files.len() - 1, offset, len, crc));
                }
            }
        }
    }
    let views: Vec<View> = files.iter().map(|f| View::new(f)).collect::<Result<_, _>>()?;
    let next = AtomicUsize::new(0);
    let bad = AtomicUsize::new(usize::MAX);
    let check = || {
        while let Some(&(f, offset, len, crc)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
            if views[f].crc(&files[f].file, offset, len).ok() != Some(crc) {
                bad.store(f, Ordering::Relaxed);
                return;
            }
        }
    };
    on_all_cores(work.len().div_ceil(8), check);
    match bad.load(Ordering::Relaxed) {
        usize::MAX => Ok(()),
        i => Err(ImageError::Damaged(files[i].path.clone(), "memory")),
    }
}

/// Runs `work` here and on up to `most - 1` other threads.
fn on_all_cores(most: usize, work: impl Fn() + Sync) {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(most);
    std::thread::scope(|s| {
        (1..threads).for_each(|_| drop(s.spawn(&work)));
        work();
    });
}

/// An image mapped to be looked at: half the time of reading it.
struct View {
    at: usize,
    len: usize,
}

impl View {
    fn new(m: &ImageFile) -> Result<View, ImageError> {
        let len = m.header.total as usize;
        // SAFETY: a fresh read-only mapping.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ, libc::MAP_SHARED, m.file.as_raw_fd(), 0) };
        if at == libc::MAP_FAILED {
            return Err(ImageError::Io(m.path.clone(), io::Error::last_os_error()));
        }
        // SAFETY: the mapping of above.
        unsafe { libc::madvise(at, len, libc::MADV_SEQUENTIAL) };
        Ok(View { at: at as usize, len })
    }

    /// Pages are made present first: a disk error is an error there, but a signal in the checksum.
    fn crc(&self, file: &File, offset: u64, len: u64) -> io::Result<u32> {
        let page = offset as usize % ckpt_sys::PAGE;
        let (from, whole) = (self.at + offset as usize - page, page + len as usize);
        if offset as usize + len as usize > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // SAFETY: inside the mapping.
        if unsafe { libc::madvise(from as *mut _, whole, libc::MADV_POPULATE_READ) } == 0 {
            // SAFETY: as above, and the pages are there.
            return Ok(crc32c(unsafe { std::slice::from_raw_parts((from + page) as *const u8, len as usize) }));
        }
        let mut bytes = vec![0; len as usize];
        file.read_exact_at(&mut bytes, offset)?;
        Ok(crc32c(&bytes))
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: our own mapping, of which nothing is borrowed.
        unsafe { libc::munmap(self.at as *mut _, self.len) };
    }
}

/// Decodes on all cores into a pipe that the restorer reads: whoever has the next chunk writes it.
pub fn feed(chain: &Chain, pipe: OwnedFd) {
    let _ = nix::fcntl::fcntl(&pipe, nix::fcntl::FcntlArg::F_SETPIPE_SZ(1 << 20));
    let windows = chain.windows();
    let next = AtomicUsize::new(0);
    let (turn, turned) = (Mutex::new((0, File::from(pipe))), Condvar::new());
    on_all_cores(windows.len(), || {
        let mut cache = Cache::default();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(window) = windows.get(i) else { return };
            let bytes = chain.read(window, &mut cache);
            let Ok(mut at) = turned.wait_while(lock(&turn), |at| at.0 != i && at.0 != usize::MAX) else { return };
            let written = at.0 == i && bytes.and_then(|bytes| at.1.write_all(&bytes)).is_ok();
            // A short pipe is what tells the restorer; nobody may wait for a turn that never comes.
            at.0 = if written { i + 1 } else { usize::MAX };
            turned.notify_all();
            if !written {
                return;
            }
        }
    });
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

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

fn memfd(name: &[u8]) -> io::Result<File> {
    let name = CString::new(&name[..name.len().min(200)]).unwrap_or_default();
    // SAFETY: name is NUL-terminated; the descriptor is new.
    unsafe {
        let fd = libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(File::from_raw_fd(fd)) }
    }
}

/// The mapped parts of a file as they were. Errors: a part does not match its checksum.
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
    for (at, piece, crc) in &s.pieces {
        let bytes = member.file.read_blob(piece)?;
        if crc32c(&bytes) != *crc {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its copy in the image is damaged"));
        }
        file.write_all_at(&bytes, *at)?;
    }
    Ok(())
}

/// Copies pieces, leaving holes where there is nothing but zeros and the object is new.
fn fill(member: &Member, s: &SharedMemory, file: &File) -> io::Result<()> {
    let fresh = s.kind != SharedKind::Named;
    for (at, piece) in &s.pieces {
        let mut done = 0;
        while done < piece.len {
            let len = CHUNK.min(piece.len - done);
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
