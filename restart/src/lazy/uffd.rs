//! userfaultfd(2) for pages that are not there yet.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

const UFFDIO_API: libc::c_ulong = 0xC018_AA3F;
const UFFDIO_COPY: libc::c_ulong = 0xC028_AA03;
const UFFDIO_ZEROPAGE: libc::c_ulong = 0xC020_AA04;
const UFFDIO_WAKE: libc::c_ulong = 0x8010_AA02;
const PAGE: u64 = ckpt_sys::PAGE as u64;

/// May this process have one that serves the kernel's own accesses and is told of forks?
pub fn probe() -> io::Result<()> {
    // SAFETY: flags only; the descriptor is new.
    let uffd = unsafe {
        let fd = libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | libc::O_NONBLOCK);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd as i32)
    };
    let mut api = ckpt_sys::flat::plan::LAZY_API;
    // SAFETY: struct uffdio_api is three u64.
    check(unsafe { libc::ioctl(uffd.as_raw_fd(), UFFDIO_API, api.as_mut_ptr()) })
}

#[derive(Debug)]
pub enum Event {
    /// A thread waits for this page.
    Fault(u64),
    /// The memory has a copy in a child.
    Fork(OwnedFd),
    Remap { from: u64, to: u64, len: u64 },
    /// Its content is not wanted any more, or it is gone.
    Remove { start: u64, end: u64 },
}

pub struct Uffd(File);

impl Uffd {
    pub fn new(fd: OwnedFd) -> Uffd {
        Uffd(File::from(fd))
    }

    /// Waits up to `ms` (-1: as long as it takes) for something to read.
    pub fn wait(&self, ms: i32) {
        let mut p = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd.
        unsafe { libc::poll(&mut p, 1, ms) };
    }

    /// The next event, if there is one.
    pub fn next(&self) -> Option<Event> {
        let mut msg = [0u8; 32]; // struct uffd_msg
        if (&self.0).read(&mut msg).ok()? != msg.len() {
            return None;
        }
        let word = |at: usize| u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| msg[at + i]));
        match msg[0] {
            0x12 => Some(Event::Fault(word(16) & !(PAGE - 1))),
            // SAFETY: the kernel has made the descriptor for this process.
            0x13 => Some(Event::Fork(unsafe { OwnedFd::from_raw_fd(word(8) as u32 as i32) })),
            0x14 => Some(Event::Remap { from: word(8), to: word(16), len: word(24) }),
            0x15 | 0x16 => Some(Event::Remove { start: word(8), end: word(16) }),
            _ => None,
        }
    }

    /// Puts pages in place. The bytes done and, when that is not all, why.
    pub fn copy(&self, to: u64, bytes: &[u8]) -> (u64, Option<i32>) {
        let mut arg = [to, bytes.as_ptr() as u64, bytes.len() as u64, 0, 0];
        // SAFETY: struct uffdio_copy is five u64; the source is readable for its length.
        let done = check(unsafe { libc::ioctl(self.0.as_raw_fd(), UFFDIO_COPY, arg.as_mut_ptr()) });
        outcome(done, arg[4] as i64, bytes.len() as u64)
    }

    /// A page of zeros.
    pub fn zero(&self, at: u64) -> Option<i32> {
        let mut arg = [at, PAGE, 0, 0];
        // SAFETY: struct uffdio_zeropage is four u64.
        let done = check(unsafe { libc::ioctl(self.0.as_raw_fd(), UFFDIO_ZEROPAGE, arg.as_mut_ptr()) });
        outcome(done, arg[3] as i64, PAGE).1
    }

    /// Those who wait for this page look again.
    pub fn wake(&self, at: u64) {
        let mut arg = [at, PAGE];
        // SAFETY: struct uffdio_range is two u64.
        unsafe { libc::ioctl(self.0.as_raw_fd(), UFFDIO_WAKE, arg.as_mut_ptr()) };
    }

    /// Is there nobody whose memory it is? Nothing is registered at this address, so nothing happens.
    pub fn is_orphan(&self) -> bool {
        self.zero(0x10000) == Some(libc::ESRCH)
    }
}

fn outcome(returned: io::Result<()>, done: i64, wanted: u64) -> (u64, Option<i32>) {
    match returned {
        Ok(()) => (wanted, None),
        Err(_) if done > 0 => (done as u64, Some(libc::EAGAIN)),
        Err(e) => (0, e.raw_os_error()),
    }
}

fn check(returned: i32) -> io::Result<()> {
    if returned == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
