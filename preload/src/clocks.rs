//! The scheduler's clock of each processor. They drift apart where time is stolen by a hypervisor or by interrupts, so
//! each is read by running there for a moment.

use crate::procfs;
use ckpt_sys::calls::*;
use ckpt_sys::raw::*;

const MASK: usize = 128;

pub struct Clocks {
    /// (processor, its time now): few threads wait with a timeout
    known: [(u32, u64); 16],
    count: usize,
    /// where this thread may run
    mask: [u8; MASK],
}

impl Clocks {
    pub fn new() -> Clocks {
        Clocks { known: [(0, 0); 16], count: 0, mask: [0; MASK] }
    }

    /// Nanoseconds now on `processor`'s clock; None when it cannot be told.
    pub fn now(&mut self, processor: u32) -> Option<u64> {
        if let Some(known) = self.known[..self.count].iter().find(|k| k.0 == processor) {
            return Some(known.1).filter(|&t| t != 0);
        }
        if self.count == self.known.len() || processor as usize >= MASK * 8 {
            return None;
        }
        if self.count == 0 {
            // SAFETY: mask is writable for its length.
            unsafe { syscall3(libc::SYS_sched_getaffinity, 0, MASK, self.mask.as_mut_ptr() as usize) }.ok()?;
        }
        let mut only = [0u8; MASK];
        only[processor as usize / 8] = 1 << (processor % 8);
        let time = if set(&only) { procfs::last_ran(gettid()).unwrap_or(0) } else { 0 };
        self.known[self.count] = (processor, time);
        self.count += 1;
        Some(time).filter(|&t| t != 0)
    }
}

impl Drop for Clocks {
    fn drop(&mut self) {
        if self.count > 0 {
            set(&self.mask);
        }
    }
}

fn set(mask: &[u8; MASK]) -> bool {
    // SAFETY: mask is readable for its length.
    unsafe { syscall3(libc::SYS_sched_setaffinity, 0, MASK, mask.as_ptr() as usize) }.is_ok()
}
