//! Incremental images: memory that the parent image holds already is left out.

use crate::channel::Channel;
use ckpt_sys::PAGE;
use ckpt_sys::calls::*;
use ckpt_sys::flat::{Msg, Run, msg};
use ckpt_sys::raw::*;

/// A userfaultfd of this process for the agent, which tracks writes with it. Here it is in the checkpoint thread's
/// table and gone at once; where the kernel refuses it, the answer says why.
pub fn track(ch: &Channel) {
    const USER_MODE_ONLY: i32 = 1;
    // SAFETY: flags only.
    let made = unsafe { syscall1(libc::SYS_userfaultfd, (libc::O_CLOEXEC | libc::O_NONBLOCK | USER_MODE_ONLY) as usize) };
    let answer = Msg { kind: msg::TRACKED, pid: getpid(), errno: made.err().map_or(0, |e| e.0), ..Msg::default() };
    match made {
        Ok(fd) => {
            let _ = ch.send_with(answer, &[], &[fd as Fd]);
            close(fd as Fd);
        }
        Err(_) => drop(ch.send(answer)),
    }
}

/// Sorted runs, in shared memory so that the scan passes it over.
pub struct Kept {
    table: usize,
    len: usize,
    count: usize,
    next: usize,
}

impl Kept {
    pub fn nothing() -> Kept {
        Kept { table: 0, len: 0, count: 0, next: 0 }
    }

    /// Waits for the agent's list.
    pub fn receive(ch: &Channel) -> Result<Kept> {
        let Some((m, fds)) = ch.recv().filter(|(m, _)| m.kind == msg::KEPT) else { return Err(Errno(libc::ECANCELED)) };
        let (count, len) = (m.arg as usize, m.arg as usize * size_of::<Run>());
        if len == 0 {
            close(fds[0]);
            return Ok(Kept::nothing());
        }
        // SAFETY: a fresh mapping of a file that holds so much.
        let mapped = unsafe {
            syscall6(libc::SYS_mmap, 0, len, libc::PROT_READ as usize, libc::MAP_SHARED as usize, fds[0] as usize, 0)
        };
        close(fds[0]);
        Ok(Kept { table: mapped?, len, count, next: 0 })
    }

    fn runs<'a>(&self) -> &'a [Run] {
        let at = if self.count == 0 { align_of::<Run>() } else { self.table };
        // SAFETY: the mapping holds `count` runs, without one count is 0; nobody has them longer than us.
        unsafe { core::slice::from_raw_parts(at as *const Run, self.count) }
    }

    /// The first stretch of [start, end) to be looked at: what lies between longer kept runs, with the shorter ones in it.
    /// Starts must come in ascending order.
    pub fn stretch(&mut self, start: u64, end: u64) -> Option<(u64, u64)> {
        /// A scan of its own costs as much as so many bytes more in one.
        const SHORT: u64 = 32 * PAGE as u64;
        let runs = self.runs();
        while runs.get(self.next).is_some_and(|r| r.addr + r.bytes <= start) {
            self.next += 1;
        }
        let (mut i, mut from) = (self.next, start);
        while let Some(r) = runs.get(i).filter(|r| r.addr <= from) {
            (i, from) = (i + 1, r.addr + r.bytes);
        }
        let long = runs.get(i..)?.iter().find(|r| r.bytes >= SHORT || r.addr >= end);
        let to = long.map_or(end, |r| r.addr.min(end));
        (from < to).then_some((from, to))
    }

    /// Calls `f` with what of [start, end) is not kept. Ranges must come in ascending order.
    pub fn without(&mut self, mut start: u64, end: u64, mut f: impl FnMut(u64, u64) -> Result<()>) -> Result<()> {
        let runs = self.runs();
        while start < end {
            while runs.get(self.next).is_some_and(|r| r.addr + r.bytes <= start) {
                self.next += 1;
            }
            let Some(run) = runs.get(self.next).filter(|r| r.addr < end) else { return f(start, end) };
            if start < run.addr {
                f(start, run.addr)?;
            }
            start = run.addr + run.bytes;
        }
        Ok(())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.len != 0 {
            // SAFETY: our own mapping, of which nothing is borrowed.
            let _ = unsafe { munmap(self.table, self.len) };
        }
    }
}
