//! `ckpt_delay` and `ckpt_allow`: a thread keeps checkpoints off while it does what must not be torn apart. It blocks
//! our signal meanwhile, so that no call of its own is interrupted.

use crate::signals::bit;
use crate::state;
use ckpt_sys::calls::*;
use ckpt_sys::raw::*;
use core::ffi::c_int;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering::*};

/// A thread in a section. The pid tells those of a parent from those of a forked child.
struct Section {
    pid: AtomicI32,
    tid: AtomicI32,
    count: AtomicU32,
}

static SECTIONS: [Section; 64] =
    [const { Section { pid: AtomicI32::new(0), tid: AtomicI32::new(0), count: AtomicU32::new(0) } }; 64];
/// Bumped when a section ends; futex of the checkpoint thread.
static ENDED: AtomicU32 = AtomicU32::new(0);

fn of(pid: i32, tid: i32) -> Option<&'static Section> {
    SECTIONS.iter().find(|s| s.pid.load(Acquire) == pid && s.tid.load(Acquire) == tid)
}

/// A free one, or one that was somebody's before a fork.
fn claim(pid: i32, tid: i32) -> Option<&'static Section> {
    SECTIONS.iter().find(|s| {
        let owner = s.pid.load(Acquire);
        let free = owner != pid && s.pid.compare_exchange(owner, pid, AcqRel, Acquire).is_ok();
        if free {
            s.count.store(0, Release);
            s.tid.store(tid, Release);
        }
        free
    })
}

/// Keeps checkpoints off until as many `ckpt_allow`. 0; -1: not under ckpt, or 64 threads are in sections already.
#[unsafe(no_mangle)]
pub extern "C" fn ckpt_delay() -> c_int {
    if !state::enabled() {
        return -1;
    }
    let (pid, tid) = (getpid(), gettid());
    mask(libc::SIG_BLOCK);
    let Some(section) = of(pid, tid).or_else(|| claim(pid, tid)) else {
        mask(libc::SIG_UNBLOCK);
        return -1;
    };
    section.count.fetch_add(1, AcqRel);
    0
}

/// Ends what the last `ckpt_delay` of this thread began. 0; -1: not under ckpt.
#[unsafe(no_mangle)]
pub extern "C" fn ckpt_allow() -> c_int {
    if !state::enabled() {
        return -1;
    }
    if let Some(section) = of(getpid(), gettid()) {
        if section.count.fetch_sub(1, AcqRel) > 1 {
            return 0;
        }
        section.tid.store(0, Release);
        section.pid.store(0, Release);
        ENDED.fetch_add(1, AcqRel);
        futex_wake_all(&ENDED);
    }
    mask(libc::SIG_UNBLOCK);
    0
}

pub fn is_delaying(tid: i32) -> bool {
    of(getpid(), tid).is_some()
}

/// Until no thread is in a section. Err: one that still is, after `patience_ms`.
pub fn wait(patience_ms: u64) -> core::result::Result<(), i32> {
    let pid = getpid();
    let deadline = monotonic_ns() + patience_ms * 1_000_000;
    loop {
        let seen = ENDED.load(Acquire);
        let Some(section) = SECTIONS.iter().find(|s| s.pid.load(Acquire) == pid) else { return Ok(()) };
        if monotonic_ns() > deadline {
            return Err(section.tid.load(Acquire));
        }
        let _ = futex_wait(&ENDED, seen, 50);
    }
}

fn mask(how: c_int) {
    let set = bit(state::ckpt_signal());
    // SAFETY: set is 8 bytes.
    let _ = unsafe { syscall4(libc::SYS_rt_sigprocmask, how as usize, &raw const set as usize, 0, 8) };
}
