//! signalfd: its mask. What it would read are the process's own pending signals.

use crate::probe::Probe;
use crate::sys;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::OwnedFd;

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SignalfdState {
    /// Bit n-1 for signal n.
    pub mask: u64,
}

pub fn capture(probe: &Probe) -> io::Result<SignalfdState> {
    Ok(SignalfdState {
        mask: probe.info_hex("sigmask")?,
    })
}

pub fn rebuild(state: &SignalfdState) -> io::Result<OwnedFd> {
    // The raw call: glibc's wrapper drops the signals it keeps for itself.
    // SAFETY: an 8-byte mask, as the size says.
    let fd = unsafe { libc::syscall(libc::SYS_signalfd4, -1, &state.mask, 8usize, libc::SFD_CLOEXEC) };
    sys::own(fd as i32)
}
