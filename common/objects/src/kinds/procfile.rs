//! Files and folders below /proc/PID: opened by `install`, when the process exists.

use super::file::seek;
use super::pidfd;
use crate::bytes::Bytes;
use crate::capture::Capturing;
use crate::model::ObjectId;
use crate::probe::Probe;
use crate::sys;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ProcFileState {
    pub pid: i32,
    /// After `/proc/PID/`; empty for the folder itself.
    pub rest: Bytes,
    pub offset: u64,
    /// It shows the memory that the process has when it is opened.
    pub of_memory: bool,
    /// The process was already gone and reaped.
    pub dead: bool,
}

const DELETED: &[u8] = b" (deleted)";
/// They hold on to the memory that the process had when they were opened.
const OF_MEMORY: &[&str] = &["auxv", "clear_refs", "environ", "maps", "mem", "numa_maps", "pagemap", "smaps", "smaps_rollup"];

/// The process of `/proc/PID` and `/proc/PID/...`.
pub fn pid_of(link: &[u8]) -> Option<i32> {
    let link = link.strip_suffix(DELETED).unwrap_or(link);
    let text = std::str::from_utf8(link.strip_prefix(b"/proc/")?).ok()?;
    text.split('/').next()?.parse().ok()
}

pub fn capture(probe: &Probe, id: ObjectId, cx: &mut Capturing) -> io::Result<ProcFileState> {
    let pid = pid_of(&probe.link).unwrap_or(0);
    let link = probe.link.strip_suffix(DELETED);
    let dead = link.is_some();
    let prefix = format!("/proc/{pid}/");
    let rest = link.unwrap_or(&probe.link).strip_prefix(prefix.as_bytes()).unwrap_or_default();
    let of_memory = OF_MEMORY.iter().any(|name| rest.ends_with(name.as_bytes()));
    if of_memory && cx.set.holder(id).is_none_or(|h| h.0 != pid) {
        cx.risk(format!("{}: after a restart it is empty; the program must open it again", cx.describe(id)));
    }
    let offset = match probe.flags & libc::O_PATH {
        0 => sys::lseek(probe.fd, 0, libc::SEEK_CUR).unwrap_or(0),
        _ => 0,
    };
    Ok(ProcFileState { pid, rest: rest.into(), offset, of_memory, dead })
}

/// `pid` is the process's pid now.
pub fn open(state: &ProcFileState, pid: i32, flags: i32) -> io::Result<OwnedFd> {
    let flags = flags & !libc::O_CREAT;
    if state.dead {
        return pidfd::with_dead_process(|pid| sys::open(&path(state, pid), flags, 0));
    }
    let fd = sys::open(&path(state, pid), flags, 0)?;
    seek(&fd, state.offset)?;
    Ok(fd)
}

fn path(state: &ProcFileState, pid: i32) -> PathBuf {
    let folder = Path::new("/proc").join(pid.to_string());
    // The main thread has the number of its process.
    let rest = state.rest.as_path();
    match rest.strip_prefix(Path::new("task").join(state.pid.to_string())) {
        Ok(below) => folder.join("task").join(pid.to_string()).join(below),
        Err(_) => folder.join(rest),
    }
}
