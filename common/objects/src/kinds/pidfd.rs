//! pidfd: which process it means. Opened by `install`, when the tree exists.

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
}

pub fn capture(probe: &Probe) -> io::Result<PidfdState> {
    Ok(PidfdState {
        pid: probe.info_dec("Pid")? as i32,
        thread: probe.flags & libc::O_EXCL != 0,
    })
}

/// `pid` is the process's pid now.
pub fn open(state: &PidfdState, pid: i32, flags: i32) -> io::Result<OwnedFd> {
    let waits_not = flags & libc::O_NONBLOCK;
    if state.pid > 0 {
        let flags = waits_not | if state.thread { libc::O_EXCL } else { 0 };
        match pidfd_open(pid, flags) {
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
