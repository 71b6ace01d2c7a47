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
use std::os::unix::fs::MetadataExt;
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
    /// The process is not of the computation: opened by `open_outside`, if it is there.
    pub outside: bool,
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
    let now = std::fs::symlink_metadata(Bytes::from(&*probe.link).as_path()).ok();
    let elsewhere = std::fs::metadata("/proc").is_ok_and(|proc| proc.dev() != probe.stat.st_dev);
    let outside = elsewhere || cx.is_outside(pid);
    // Where another process has the number, the file is another one.
    let dead = link.is_some() || !elsewhere && now.is_none_or(|now| outside && now.ino() != probe.stat.st_ino);
    let outside = outside && !dead;
    if outside {
        cx.risk(format!("{}: that process is not of the computation; a restart opens what has this name then", cx.describe(id)));
    }
    let prefix = format!("/proc/{pid}/");
    let rest = link.unwrap_or(&probe.link).strip_prefix(prefix.as_bytes()).unwrap_or_default();
    let of_memory = OF_MEMORY.iter().any(|name| rest.ends_with(name.as_bytes()));
    if of_memory && !outside && !dead && cx.set.holder(id).is_none_or(|h| h.0 != pid) {
        cx.risk(format!("{}: after a restart it is empty; the program must open it again", cx.describe(id)));
    }
    let offset = match probe.flags & libc::O_PATH {
        0 => sys::lseek(probe.fd, 0, libc::SEEK_CUR).unwrap_or(0),
        _ => 0,
    };
    Ok(ProcFileState { pid, rest: rest.into(), offset, of_memory, dead, outside })
}

/// `pid` is the process's pid now.
pub fn open(state: &ProcFileState, pid: i32, flags: i32) -> io::Result<OwnedFd> {
    let flags = flags & !libc::O_CREAT;
    if state.dead || state.outside {
        return pidfd::with_dead_process(|pid| sys::open(&path(state, pid), flags, 0));
    }
    let fd = sys::open(&path(state, pid), flags, 0)?;
    seek(&fd, state.offset)?;
    Ok(fd)
}

/// Where the numbers of processes that are not ours still mean what they did: before another namespace is entered.
pub fn open_outside(state: &ProcFileState, flags: i32) -> io::Result<OwnedFd> {
    let fd = sys::open(&path(state, state.pid), flags & !libc::O_CREAT, 0)?;
    seek(&fd, state.offset)?;
    Ok(fd)
}

fn path(state: &ProcFileState, pid: i32) -> PathBuf {
    let folder = Path::new("/proc").join(pid.to_string());
    let rest = state.rest.as_path();
    let mut parts = rest.iter();
    let thread = parts.next().filter(|first| *first == "task").and_then(|_| parts.next());
    // The main thread has the number of its process; of a thread that has ended it stands for any.
    let own = thread.filter(|tid| state.dead || tid.to_str() == Some(state.pid.to_string().as_str()));
    match rest.strip_prefix(Path::new("task").join(own.unwrap_or_default())) {
        Ok(below) if own.is_some() => folder.join("task").join(pid.to_string()).join(below),
        _ => folder.join(rest),
    }
}
