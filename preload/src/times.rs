//! When things happened in this process, for the list of events that the agent keeps. A clock is read where something
//! slow happens anyway: at the start of a program, at exec, in a stop.

use crate::state::{state, StatePage};
use ckpt_sys::calls::getpid;
use ckpt_sys::flat::Times;
use ckpt_sys::raw::syscall2;
use core::sync::atomic::Ordering::*;

/// CLOCK_REALTIME in nanoseconds; 0 if it cannot be read.
pub fn now() -> u64 {
    let mut at = [0u64; 2];
    // SAFETY: `at` is a struct timespec.
    let read = unsafe { syscall2(libc::SYS_clock_gettime, libc::CLOCK_REALTIME as usize, at.as_mut_ptr() as usize) };
    if read.is_ok() { at[0] * 1_000_000_000 + at[1] } else { 0 }
}

/// Microseconds since `begin`; the clock may have been set back meanwhile.
pub fn since(begin: u64) -> u32 {
    u32::try_from(now().saturating_sub(begin) / 1_000).unwrap_or(u32::MAX)
}

/// When exec was called, and what callbacks took before it and, in a child that execs, after its fork, in microseconds.
#[derive(Clone, Copy, Default)]
pub struct Exec {
    pub at: u64,
    pub told_us: u32,
    pub fork_told_us: u32,
}

impl Exec {
    /// Without callbacks.
    pub fn now() -> Exec {
        Exec { at: now(), ..Exec::default() }
    }
}

/// Callbacks of this process have been told of its fork.
pub fn forked(st: &StatePage, us: u32) {
    st.fork_told_us.store(us, Relaxed);
    st.forked.store(getpid(), Relaxed);
}

/// What they took; a vfork child sees its parent's page.
pub fn fork_told_us() -> u32 {
    let own = state().filter(|st| st.forked.load(Relaxed) == getpid());
    own.map_or(0, |st| st.fork_told_us.load(Relaxed))
}

/// The constructor, which began at `begin`, is over. `exec`: how this program was asked for, zeros: by ckpt_launch.
pub fn began(st: &StatePage, exec: Exec, begin: u64) {
    st.exec.store(exec.at, Relaxed);
    st.exec_told_us.store(exec.told_us, Relaxed);
    forked(st, exec.fork_told_us);
    st.init.store(begin, Relaxed);
    st.init_us.store(since(begin), Relaxed);
}

/// What the process knows of its beginning.
pub fn of(st: &StatePage) -> Times {
    Times {
        exec: st.exec.load(Relaxed),
        init: st.init.load(Relaxed),
        init_us: st.init_us.load(Relaxed),
        fork_told_us: st.fork_told_us.load(Relaxed),
        exec_told_us: st.exec_told_us.load(Relaxed),
        ..Times::default()
    }
}

/// Three times `,digits` and a NUL at `to`: when exec was called, behind what `CKPT_AGENT` says.
///
/// # Safety
/// `to` has room for `STAMP` bytes.
pub unsafe fn stamp(to: *mut u8, exec: Exec) {
    let mut text = [0; STAMP];
    write_number(&mut text[..NUMBER], exec.at);
    write_number(&mut text[NUMBER..2 * NUMBER], exec.told_us.into());
    write_number(&mut text[2 * NUMBER..3 * NUMBER], exec.fork_told_us.into());
    // SAFETY: by the contract.
    unsafe { core::ptr::copy_nonoverlapping(text.as_ptr(), to, STAMP) };
}

/// A comma and all digits of a u64.
const NUMBER: usize = 21;
pub const STAMP: usize = 3 * NUMBER + 1;

fn write_number(to: &mut [u8], mut n: u64) {
    for digit in to.iter_mut().rev() {
        *digit = b'0' + (n % 10) as u8;
        n /= 10;
    }
    to[0] = b',';
}

/// What `stamp` wrote; zeros: nothing.
pub fn read_stamp<'a>(mut words: impl Iterator<Item = &'a [u8]>) -> Exec {
    let digit = |n: u64, d: &u8| d.is_ascii_digit().then(|| n.checked_mul(10)?.checked_add(u64::from(d - b'0'))).flatten();
    let mut number = || words.next().map_or(0, |digits| digits.iter().try_fold(0u64, digit).unwrap_or(0));
    let at = number();
    let mut short = || u32::try_from(number()).unwrap_or(0);
    Exec { at, told_us: short(), fork_told_us: short() }
}
