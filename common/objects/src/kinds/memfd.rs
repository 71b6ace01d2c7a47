//! memfd: name, seals, content (sparse), huge page size. The content is shared by all descriptions of the inode.

use super::file::{self, Content};
use crate::bytes::Bytes;
use crate::capture::Capturing;
use crate::probe::Probe;
use crate::rebuild::Rebuilding;
use crate::sys;
use serde::{Deserialize, Serialize};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct MemfdState {
    pub name: Bytes,
    pub seals: i32,
    pub mode: u32,
    /// Block size of hugetlbfs, 0 for ordinary memory.
    pub huge: u64,
    pub size: u64,
    pub attributes: Vec<(Bytes, Bytes)>,
    /// Last access and last change.
    pub times: [(i64, i64); 2],
    /// Saved by the first description of the inode only.
    pub content: Option<Content>,
    pub offset: u64,
}

const HUGETLBFS_MAGIC: i64 = 0x9584_58f6;

pub fn capture(probe: &Probe, cx: &mut Capturing) -> io::Result<MemfdState> {
    let name = probe.link.strip_prefix(b"/memfd:").unwrap_or_default();
    let name = name.strip_suffix(b" (deleted)").unwrap_or(name);
    let huge = if sys::fs_magic(probe.fd)? == HUGETLBFS_MAGIC {
        probe.stat.st_blksize as u64
    } else {
        0
    };
    let first = cx.first_of_inode(&probe.stat);
    let size = probe.stat.st_size as u64;
    let content = if first {
        Some(file::save_content(probe, cx)?)
    } else {
        None
    };
    Ok(MemfdState {
        name: name.into(),
        seals: sys::fcntl(probe.fd, libc::F_GET_SEALS, 0).unwrap_or(libc::F_SEAL_SEAL),
        mode: probe.stat.st_mode & 0o7777,
        huge,
        size,
        attributes: super::attributes::of(probe.fd),
        times: file::times(&probe.stat),
        content,
        offset: sys::lseek(probe.fd, 0, libc::SEEK_CUR)?,
    })
}

/// The memory itself; the caller reopens it for each description and seals it last.
pub fn create(state: &MemfdState, rb: &Rebuilding) -> io::Result<OwnedFd> {
    let name = CString::new(state.name.0.clone())?;
    let mut flags = libc::MFD_CLOEXEC;
    if state.seals != libc::F_SEAL_SEAL {
        flags |= libc::MFD_ALLOW_SEALING;
    }
    if state.huge > 0 {
        flags |= libc::MFD_HUGETLB | state.huge.trailing_zeros() << libc::MFD_HUGE_SHIFT;
    }
    // SAFETY: a NUL-terminated name.
    let fd = sys::own(unsafe { libc::memfd_create(name.as_ptr(), flags) })?;
    // SAFETY: no memory involved.
    sys::cvt(unsafe { libc::ftruncate(fd.as_raw_fd(), state.size as i64) })?;
    if let Some(content) = &state.content {
        file::load_content(content, &fd, rb.ctx.blobs, state.huge > 0)?;
    }
    // SAFETY: no memory involved.
    unsafe { libc::fchmod(fd.as_raw_fd(), state.mode) };
    Ok(fd)
}

/// Seals that forbid the very mappings that some process needs again; it sets them when all are made.
pub fn late_seals(state: &MemfdState) -> i32 {
    match state.seals & libc::F_SEAL_FUTURE_WRITE {
        0 => 0,
        future => future | state.seals & libc::F_SEAL_SEAL,
    }
}

/// Seals forbid the very writes that fill it, so they come after the content.
///
/// `late`: some process will set those that are.
pub fn seal(state: &MemfdState, fd: &OwnedFd, late: bool) -> io::Result<()> {
    if state.seals == 0 || state.seals == libc::F_SEAL_SEAL {
        return Ok(());
    }
    let now = if late { state.seals & !late_seals(state) } else { state.seals };
    sys::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, now).map(drop)
}
