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

/// Nanoseconds of its own time that a thread beside a program works before it lets others on the processor.
const TURN: u64 = 1_500_000;

/// When the turn under way began, by the thread's own time.
pub struct Turn(u64);

impl Turn {
    pub fn begin() -> Turn {
        Turn(thread_ns())
    }

    /// Between two pieces of work. A turn that has lasted ends with the shortest sleep there is: a thread that only yields
    /// comes back as long as it has had less of the processor than the program, and is not moved to one that is idle.
    pub fn give_way(&mut self) {
        if thread_ns().saturating_sub(self.0) < TURN {
            return;
        }
        let least = [0i64, 1];
        // SAFETY: least has the layout of struct timespec.
        let _ = unsafe { syscall2(libc::SYS_nanosleep, least.as_ptr() as usize, 0) };
        *self = Turn::begin();
    }
}

/// What the calling thread has had of the processors, in nanoseconds.
pub fn thread_ns() -> u64 {
    let mut ts = [0i64; 2];
    // SAFETY: ts has the layout of struct timespec.
    let _ = unsafe { syscall2(libc::SYS_clock_gettime, libc::CLOCK_THREAD_CPUTIME_ID as usize, ts.as_mut_ptr() as usize) };
    ts[0] as u64 * 1_000_000_000 + ts[1] as u64
}
