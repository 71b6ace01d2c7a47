//! eventfd: the counter is in fdinfo, so it is not read (which would reset it).

use crate::probe::Probe;
use crate::sys;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct EventfdState {
    pub count: u64,
    pub semaphore: bool,
}

pub fn capture(probe: &Probe) -> io::Result<EventfdState> {
    let semaphore = match probe.info("eventfd-semaphore") {
        Ok(value) => value != "0",
        // Kernels before 6.5 do not say; a semaphore is the rarer one.
        Err(_) => false,
    };
    Ok(EventfdState {
        count: probe.info_hex("eventfd-count")?,
        semaphore,
    })
}

pub fn rebuild(state: &EventfdState) -> io::Result<OwnedFd> {
    let semaphore = if state.semaphore { libc::EFD_SEMAPHORE } else { 0 };
    // SAFETY: no memory involved.
    let fd = sys::own(unsafe { libc::eventfd(0, semaphore | libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
    // A count of zero needs no write; the largest one takes two (a write of 2^64-1 is refused).
    if state.count > 0 {
        sys::write_all(fd.as_raw_fd(), &state.count.min(u64::MAX - 1).to_ne_bytes())?;
    }
    Ok(fd)
}
