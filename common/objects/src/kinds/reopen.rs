//! Objects that are their name: device nodes without state, `O_PATH` descriptors, namespaces.

use super::file;
use crate::bytes::Bytes;
use crate::capture::Capturing;
use crate::model::ObjectId;
use crate::probe::Probe;
use crate::rebuild::Rebuilding;
use crate::sys;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::path::Path;

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ReopenState {
    pub path: Bytes,
    pub directory: bool,
    /// `O_PATH|O_NOFOLLOW` on a symbolic link itself.
    pub symlink: bool,
    pub deleted: bool,
    /// The name of a UNIX socket.
    pub socket: bool,
    /// Where such a link leads.
    pub target: Bytes,
    /// Index into `ObjectSet::deleted`: a file without a name has its content.
    pub content: Option<u32>,
}

pub fn capture(probe: &Probe, id: ObjectId, cx: &mut Capturing) -> io::Result<ReopenState> {
    let is_ours = |kind: &str| sys::stat(Path::new(&format!("/proc/self/ns/{kind}"))).is_ok_and(|own| own.st_ino == probe.stat.st_ino);
    if namespace(&probe.link).is_some_and(|kind| !is_ours(kind)) {
        cx.refuse(id, "it is another namespace than the one that the computation was started in, which cannot be made again; close it");
    }
    let deleted = probe.stat.st_nlink == 0 && probe.link.ends_with(b" (deleted)");
    let path = if deleted {
        &probe.link[..probe.link.len() - 10]
    } else {
        &probe.link
    };
    let path = Bytes::from(path);
    let symlink = probe.file_type() == libc::S_IFLNK;
    let file = deleted && probe.file_type() == libc::S_IFREG;
    Ok(ReopenState {
        directory: probe.file_type() == libc::S_IFDIR,
        symlink,
        deleted,
        socket: probe.file_type() == libc::S_IFSOCK,
        target: if symlink { link_target(probe.fd)? } else { Bytes::default() },
        content: if file { Some(file::save_deleted(probe, &path, cx)?) } else { None },
        path,
    })
}

/// readlinkat(2) with an empty name: of the link itself.
fn link_target(fd: RawFd) -> io::Result<Bytes> {
    let mut target = vec![0u8; libc::PATH_MAX as usize];
    // SAFETY: the buffer is as long as said.
    let n = unsafe { libc::readlinkat(fd, c"".as_ptr(), target.as_mut_ptr().cast(), target.len()) };
    target.truncate(usize::try_from(n).map_err(|_| io::Error::last_os_error())?);
    Ok(Bytes(target))
}

/// `inode`: device and number it had.
pub fn rebuild(state: &ReopenState, flags: i32, inode: (u64, u64), rb: &mut Rebuilding) -> io::Result<OwnedFd> {
    if let Some(kind) = namespace(&state.path) {
        // That of the program's surroundings then: that of ours now.
        return sys::open(Path::new(&format!("/proc/self/ns/{kind}")), flags, 0);
    }
    if let Some(content) = state.content {
        return sys::reopen(rb.deleted_file(content as usize)?, flags & !libc::O_CREAT);
    }
    let path = rb.map_path(&state.path);
    if state.deleted && state.directory {
        return sys::reopen(rb.deleted_folder(inode, &path)?, flags & !libc::O_CREAT);
    }
    if state.deleted {
        return deleted(state, &path, flags);
    }
    sys::open(&path, flags & !libc::O_CREAT, 0)
}

/// `net` for `net:[4026531840]`.
fn namespace(path: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(path).ok()?;
    let (kind, rest) = text.split_once(":[")?;
    (!kind.contains('/') && rest.ends_with(']')).then_some(kind)
}

/// A name that existed only through the descriptor: make it, open it, remove it.
fn deleted(state: &ReopenState, path: &Path, flags: i32) -> io::Result<OwnedFd> {
    let spare = path.with_file_name(sys::spare_name());
    let make = |path: &&Path| match state.symlink {
        true => std::os::unix::fs::symlink(state.target.as_path(), path).is_ok(),
        false => sys::open(path, libc::O_CREAT | libc::O_EXCL | libc::O_RDWR, 0o600).is_ok(),
    };
    let made = [path, spare.as_path()].into_iter().find(make);
    let path = made.ok_or_else(|| io::Error::other("its name cannot be made again for the moment"))?;
    let fd = sys::open(path, flags & !libc::O_CREAT, 0);
    std::fs::remove_file(path)?;
    fd
}
