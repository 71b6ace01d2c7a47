//! pidfd: which process it means. Opened by `install`, when the tree exists.

use crate::capture::Capturing;
use crate::model::ObjectId;
use crate::probe::Probe;
use crate::sys;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::OwnedFd;

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct PidfdState {
    /// -1: the process was already gone and reaped.
    pub pid: i32,
    pub thread: bool,
    /// The process is not of the computation: opened by `open_outside`, if it is there.
    pub outside: bool,
}

pub fn capture(probe: &Probe, id: ObjectId, cx: &mut Capturing) -> io::Result<PidfdState> {
    let pid = probe.info_dec("Pid")? as i32;
    let outside = pid >= 0 && cx.is_outside(pid);
    if outside {
        // Of one outside of our namespace nobody tells the number.
        let then = if pid == 0 { "after a restart it has ended" } else { "a restart opens what has its number then" };
        cx.risk(format!("{}: that process is not of the computation; {then}", cx.describe(id)));
    }
    Ok(PidfdState { pid, thread: probe.flags & libc::O_EXCL != 0, outside })
}

/// Where its number still means what it did: before another namespace is entered.
pub fn open_outside(state: &PidfdState, flags: i32) -> io::Result<OwnedFd> {
    pidfd_open(state.pid, open_flags(state, flags))
}

fn open_flags(state: &PidfdState, flags: i32) -> i32 {
    flags & libc::O_NONBLOCK | if state.thread { libc::O_EXCL } else { 0 }
}

/// `pid` is the process's pid now.
pub fn open(state: &PidfdState, pid: i32, flags: i32) -> io::Result<OwnedFd> {
    let waits_not = flags & libc::O_NONBLOCK;
    if state.pid > 0 && !state.outside {
        match pidfd_open(pid, open_flags(state, flags)) {
            Err(e) if e.raw_os_error() == Some(libc::ESRCH) => {}
            result => return result,
        }
    }
    with_dead_process(|pid| pidfd_open(pid, waits_not))
}

fn pidfd_open(pid: i32, flags: i32) -> io::Result<OwnedFd> {
    // SAFETY: no memory involved.
    sys::own(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, flags) } as i32)
}

/// What is opened of a process that is reaped afterwards: it says ESRCH for ever.
pub fn with_dead_process(open: impl FnOnce(i32) -> io::Result<OwnedFd>) -> io::Result<OwnedFd> {
    // SAFETY: the child only exits.
    let pid = sys::cvt(unsafe { libc::fork() })?;
    if pid == 0 {
        // SAFETY: ends the child at once, running nothing of the parent's.
        unsafe { libc::_exit(0) };
    }
    let fd = open(pid);
    // SAFETY: waits for the child just made; the status is not wanted.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
    fd
}
