//! What a program can ask of ckpt itself: include/ckpt/ckpt.h. Nothing of it is at rest in a descriptor or a thread:
//! a request is sent by a short-lived thread with a descriptor table of its own, and the answer comes the way a
//! checkpoint does, by our signal, to the thread that waits.

use crate::{api_delay, errand, plugin, state};
use ckpt_sys::calls::*;
use ckpt_sys::flat::{msg, Msg};
use ckpt_sys::raw::*;
use core::ffi::{c_char, c_int};
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU8, Ordering::*};

const RESUMED: c_int = 1;
const RESTARTED: c_int = 2;
const FAILED: c_int = -1;

// States of a waiter.
const WAITING: u32 = 1;
const DONE: u32 = 2;
const REFUSED: u32 = 3;
const BACK: u32 = 4;

const TEXT: usize = 248;

/// A thread that waits for the checkpoint it asked for. The pid tells a forked child's from its parent's.
struct Waiter {
    pid: AtomicI32,
    tid: AtomicI32,
    state: AtomicU32,
    text: [AtomicU8; TEXT],
}

static WAITERS: [Waiter; 16] = [const {
    Waiter {
        pid: AtomicI32::new(0),
        tid: AtomicI32::new(0),
        state: AtomicU32::new(0),
        text: [const { AtomicU8::new(0) }; TEXT],
    }
}; 16];

impl Waiter {
    fn claim(pid: i32, tid: i32) -> Option<&'static Waiter> {
        let waiter = WAITERS.iter().find(|w| {
            let owner = w.pid.load(Acquire);
            owner != pid && w.pid.compare_exchange(owner, pid, AcqRel, Acquire).is_ok()
        })?;
        waiter.tid.store(tid, Release);
        waiter.state.store(WAITING, Release);
        Some(waiter)
    }

    fn say(&self, text: &[u8]) {
        for (to, byte) in self.text.iter().zip(text.iter().chain(core::iter::repeat(&0))) {
            to.store(*byte, Release);
        }
    }

    fn settle(&self, state: u32) {
        self.state.store(state, Release);
        futex_wake_all(&self.state);
    }
}

/// Does this process run under ckpt?
#[unsafe(no_mangle)]
pub extern "C" fn ckpt_enabled() -> c_int {
    (state::enabled() && state::state().is_some()) as c_int
}

/// How often this process was brought back; -1: not under ckpt.
#[unsafe(no_mangle)]
pub extern "C" fn ckpt_restarts() -> c_int {
    if ckpt_enabled() != 0 { state::restarts() as c_int } else { -1 }
}

/// Asks for a checkpoint of the whole computation and waits for its end: 1, it is complete, 2, this is after a restart
/// from it, -1, it failed, and `reason` says why.
///
/// # Safety
/// `reason` has room for `len` bytes, or `len` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ckpt_checkpoint(reason: *mut c_char, len: usize) -> c_int {
    match checkpoint() {
        Ok(how) => how,
        Err(why) => {
            for i in 0..len.min(TEXT) {
                // SAFETY: by the contract; the text's last byte is 0, and so is the buffer's.
                unsafe { reason.add(i).write(if i + 1 == len { 0 } else { why.byte(i) as c_char }) };
            }
            FAILED
        }
    }
}

enum Why {
    Fixed(&'static str),
    Said(&'static Waiter),
}

impl Why {
    fn byte(&self, i: usize) -> u8 {
        match self {
            Why::Fixed(text) => text.as_bytes().get(i).copied().unwrap_or(0),
            Why::Said(waiter) => waiter.text.get(i).filter(|_| i < TEXT - 1).map_or(0, |b| b.load(Acquire)),
        }
    }
}

fn checkpoint() -> core::result::Result<c_int, Why> {
    let fail = |text| Err(Why::Fixed(text));
    if ckpt_enabled() == 0 {
        return fail("not started by ckpt_launch");
    }
    let (pid, tid) = (getpid(), gettid());
    if api_delay::is_delaying(tid) {
        return fail("this thread keeps checkpoints off itself: call ckpt_allow() first");
    }
    let before = state::restarts();
    let Some(waiter) = Waiter::claim(pid, tid) else { return fail("16 threads wait for a checkpoint already") };
    let outcome = match errand::send(Msg { kind: msg::REQUEST, pid, tid, ..Msg::default() }, &[]) {
        Ok(()) => wait(waiter, before),
        Err(_) => fail("the agent of this program is gone: it runs on, but cannot be checkpointed any more"),
    };
    // The text stays until the next one claims it.
    if waiter.tid.compare_exchange(tid, 0, AcqRel, Acquire).is_ok() {
        waiter.pid.store(0, Release);
    }
    outcome
}

/// Looks again every second whether there is still somebody who could answer.
fn wait(waiter: &'static Waiter, before: u32) -> core::result::Result<c_int, Why> {
    loop {
        match waiter.state.load(Acquire) {
            BACK => return Ok(RESTARTED),
            _ if state::restarts() != before => return Ok(RESTARTED),
            DONE => return Ok(RESUMED),
            REFUSED => return Err(Why::Said(waiter)),
            _ => {}
        }
        let waited = futex_wait(&waiter.state, WAITING, 1000);
        if waited.is_err_and(|e| e.0 == libc::ETIMEDOUT) && !agent_lives() {
            return Err(Why::Fixed("the agent of this program is gone: it runs on, but cannot be checkpointed any more"));
        }
    }
}

pub fn agent_lives() -> bool {
    // SAFETY: numbers only.
    let asked = unsafe { syscall2(libc::SYS_kill, state::agent_pid() as usize, 0) };
    !asked.is_err_and(|e| e.0 == libc::ESRCH)
}

/// By the checkpoint thread: the agent's answer to the waiter that it names.
pub fn answered(m: &Msg, text: &[u8]) {
    let pid = getpid();
    let waits = |w: &&Waiter| w.pid.load(Acquire) == pid && w.tid.load(Acquire) == m.tid;
    if let Some(waiter) = WAITERS.iter().find(waits) {
        waiter.say(&text[..text.len().min(TEXT - 1)]);
        waiter.settle(if m.arg != 0 { DONE } else { REFUSED });
    }
}

/// After a restart every wait is over. Its pid is that of then.
pub fn restarted() {
    for waiter in WAITERS.iter().filter(|w| w.state.load(Acquire) == WAITING) {
        waiter.settle(BACK);
    }
}

/// Registers a plain callback for one event: see `ckpt_register`.
///
/// # Safety
/// `name` stays for the life of the process, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ckpt_on(
    event: u32,
    callback: Option<crate::plugin_table::Callback>,
    data: *mut core::ffi::c_void,
) -> c_int {
    if !(plugin::PRE_SUSPEND..=plugin::EXIT).contains(&event) {
        return -1;
    }
    let one = crate::plugin_table::Plugin {
        version: crate::plugin_table::VERSION,
        events: 1 << event,
        name: crate::plugin_table::SINGLE.as_ptr(),
        callback,
        data,
    };
    // SAFETY: the description is copied; its name is a literal.
    unsafe { crate::plugin_table::ckpt_register(&raw const one) }
}
