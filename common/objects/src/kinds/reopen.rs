//! Objects that are their name: device nodes without state, `O_PATH` descriptors, namespaces.

use crate::bytes::Bytes;
use crate::probe::Probe;
use crate::rebuild::Rebuilding;
use crate::sys;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ReopenState {
    pub path: Bytes,
    pub directory: bool,
    /// `O_PATH|O_NOFOLLOW` on a symbolic link itself.
    pub symlink: bool,
    pub deleted: bool,
}

pub fn capture(probe: &Probe) -> io::Result<ReopenState> {
    let deleted = probe.stat.st_nlink == 0 && probe.link.ends_with(b" (deleted)");
    let path = if deleted {
        &probe.link[..probe.link.len() - 10]
    } else {
        &probe.link
    };
    Ok(ReopenState {
        path: path.into(),
        directory: probe.file_type() == libc::S_IFDIR,
        symlink: probe.file_type() == libc::S_IFLNK,
        deleted,
    })
}

pub fn rebuild(state: &ReopenState, flags: i32, ino: u64, rb: &Rebuilding) -> io::Result<OwnedFd> {
    if let Some(kind) = namespace(&state.path) {
        return own_namespace(kind, ino);
    }
    let path = rb.map_path(&state.path);
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

fn own_namespace(kind: &str, ino: u64) -> io::Result<OwnedFd> {
    let fd = sys::open(Path::new(&format!("/proc/self/ns/{kind}")), libc::O_RDONLY, 0)?;
    if sys::fstat(sys::raw(&fd))?.st_ino != ino {
        return Err(io::Error::other(
            "that namespace is gone; a restart happens in one namespace",
        ));
    }
    Ok(fd)
}

/// A name that existed only through the descriptor: make it, open it, remove it.
fn deleted(state: &ReopenState, path: &Path, flags: i32) -> io::Result<OwnedFd> {
    if state.directory {
        std::fs::create_dir(path)?;
        let fd = sys::open(path, flags, 0);
        std::fs::remove_dir(path)?;
        return fd;
    }
    drop(sys::open(path, libc::O_CREAT | libc::O_EXCL | libc::O_RDWR, 0o600)?);
    let fd = sys::open(path, flags, 0);
    std::fs::remove_file(path)?;
    fd
}
