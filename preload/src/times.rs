//! When things happened in this process, for the list of events that the agent keeps. A clock is read where something
//! slow happens anyway: at the start of a program, at exec, in a stop.

use crate::state::StatePage;
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

/// The constructor, which began at `begin`, is over. `exec`: when this program was asked for, 0: by ckpt_launch.
pub fn began(st: &StatePage, exec: u64, begin: u64) {
    st.exec.store(exec, Relaxed);
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
        ..Times::default()
    }
}

/// `,digits` and a NUL at `to`: when exec was called, behind what `CKPT_AGENT` says.
///
/// # Safety
/// `to` has room for `STAMP` bytes.
pub unsafe fn stamp(to: *mut u8, mut at: u64) {
    let mut text = [b'0'; STAMP];
    (text[0], text[STAMP - 1]) = (b',', 0);
    for digit in text[1..STAMP - 1].iter_mut().rev() {
        *digit = b'0' + (at % 10) as u8;
        at /= 10;
    }
    // SAFETY: by the contract.
    unsafe { core::ptr::copy_nonoverlapping(text.as_ptr(), to, STAMP) };
}

pub const STAMP: usize = 22;

/// What `stamp` wrote; 0: nothing.
pub fn read_stamp(digits: &[u8]) -> u64 {
    let digit = |n: u64, d: &u8| d.is_ascii_digit().then(|| n.checked_mul(10)?.checked_add(u64::from(d - b'0'))).flatten();
    digits.iter().try_fold(0u64, digit).unwrap_or(0)
}
