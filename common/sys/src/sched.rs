//! Working beside a program without being felt by it.

use crate::raw::*;

const SCHED_BATCH: u32 = 3;

/// `struct sched_attr`, first version.
#[repr(C)]
#[derive(Default)]
struct Attr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// The calling thread gets its share of the processors, but does not interrupt who is on one when it wakes. (A shorter
/// slice of its own makes it due more often, not for less: ticks are what ends slices.) A real-time policy,
/// which a copy of a program inherits, is given up. Where this is refused, the program waits longer, no more.
pub fn step_back() {
    let size = size_of::<Attr>() as u32;
    let mut now = Attr { size, ..Attr::default() };
    // SAFETY: both are a struct sched_attr of the size given.
    unsafe {
        if syscall4(libc::SYS_sched_getattr, 0, &raw mut now as usize, size as usize, 0).is_ok() {
            let wanted = Attr { size, policy: SCHED_BATCH, nice: now.nice, ..Attr::default() };
            let _ = syscall3(libc::SYS_sched_setattr, 0, &raw const wanted as usize, 0);
        }
    }
}

/// Between two pieces of work: whoever else waits for this processor comes first. A clock that ticks every 4 ms cannot
/// end a slice sooner.
pub fn give_way() {
    // SAFETY: takes nothing.
    let _ = unsafe { syscall0(libc::SYS_sched_yield) };
}
