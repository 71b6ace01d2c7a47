//! A callback that does not return is left, as by a longjmp: it holds no lock of ours or of libc's, by its contract. Our
//! signal alone is open to its thread meanwhile, and sends it out once its time is over.

use crate::plugin_table::{Entry, Occasion};
use crate::{asm, state};
use ckpt_sys::calls::*;
use ckpt_sys::raw::*;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering::*};

/// How long a callback may take.
pub const PATIENCE_MS: u64 = 10_000;

/// A callback that runs now. In the program's memory, since processes that share it share their plugins, too.
struct Running {
    /// 0: free, -1: being filled in
    tid: AtomicI32,
    event: AtomicU32,
    begun: AtomicU64,
    entry: AtomicPtr<Entry>,
    /// where the stack was at the call
    stack: AtomicUsize,
    /// held while the signal is sent, and at the end: no signal comes after it
    lock: AtomicU32,
}

static RUNNING: [Running; 16] = [const {
    Running {
        tid: AtomicI32::new(0),
        event: AtomicU32::new(0),
        begun: AtomicU64::new(0),
        entry: AtomicPtr::new(core::ptr::null_mut()),
        stack: AtomicUsize::new(0),
        lock: AtomicU32::new(0),
    }
}; 16];

impl Running {
    fn of(tid: i32) -> Option<&'static Running> {
        RUNNING.iter().find(|r| r.tid.load(Acquire) == tid)
    }

    fn locked<T>(&self, work: impl FnOnce() -> T) -> T {
        while self.lock.swap(1, AcqRel) != 0 {
            core::hint::spin_loop();
        }
        let done = work();
        self.lock.store(0, Release);
        done
    }

    fn is_late(&self) -> bool {
        monotonic_ns() > self.begun.load(Acquire) + PATIENCE_MS * 1_000_000
    }
}

/// What one call needs, on the caller's stack.
struct Call<'a> {
    entry: &'a Entry,
    occasion: *mut Occasion,
    answer: UnsafeCell<Option<i32>>,
}

/// Calls `entry`; None: it did not return. Otherwise all signals are blocked, before and after.
///
/// # Safety
/// As `Entry::call`; the thread is on no alternative signal stack, and will be sent our signal when the call is late.
pub unsafe fn call(entry: &'static Entry, event: u32, occasion: *mut Occasion) -> Option<i32> {
    let claimed = RUNNING.iter().find(|r| r.tid.compare_exchange(0, -1, AcqRel, Acquire).is_ok());
    // SAFETY: by the contract.
    let Some(running) = claimed else { return Some(unsafe { entry.call(occasion) }) };
    running.event.store(event, Release);
    running.entry.store(core::ptr::from_ref(entry).cast_mut(), Release);
    running.begun.store(monotonic_ns(), Release);
    running.tid.store(gettid(), Release);
    let call = Call { entry, occasion, answer: UnsafeCell::new(None) };
    // SAFETY: on this same stack; `inside` gets the call it was given. The place for the stack pointer is this thread's.
    unsafe { asm::call_on(0, &raw const call as usize, inside as *const () as usize, running.stack.as_ptr()) };
    if running.locked(|| {
        running.tid.store(0, Release);
        running.is_late()
    }) {
        take_signals();
    }
    call.answer.into_inner()
}

/// Where nobody else could send a late callback of this thread out, a timer does.
pub fn alone(work: impl FnOnce()) {
    const SECOND: u64 = 1_000_000_000;
    let (value, mut id) = (PATIENCE_MS * 1_000_000, 0u32);
    let how = (libc::SIGEV_SIGNAL | libc::SIGEV_THREAD_ID) as u64;
    let event = [0, state::ckpt_signal() as u64 | how << 32, gettid() as u64, 0, 0, 0, 0, 0];
    let times = [1, 0, value / SECOND, value % SECOND + 1_000_000];
    // SAFETY: a sigevent, an itimerspec, room for an id.
    let made = unsafe {
        syscall3(libc::SYS_timer_create, libc::CLOCK_MONOTONIC as usize, event.as_ptr() as usize, &raw mut id as usize)
            .and_then(|_| syscall4(libc::SYS_timer_settime, id as usize, 0, times.as_ptr() as usize, 0))
    };
    work();
    if made.is_ok() {
        // SAFETY: numbers only.
        let _ = unsafe { syscall1(libc::SYS_timer_delete, id as usize) };
        take_signals();
    }
}

unsafe extern "C" fn inside(call: usize) {
    // SAFETY: `call` passes its own, which outlives this.
    let call = unsafe { &*(call as *const Call) };
    mask(libc::SIG_UNBLOCK, 1 << (state::ckpt_signal() - 1));
    // SAFETY: by the contract of `call`; nobody else looks at the answer now.
    unsafe { *call.answer.get() = Some(call.entry.call(call.occasion)) };
    mask(libc::SIG_SETMASK, u64::MAX);
}

fn mask(how: i32, set: u64) {
    // SAFETY: a mask of 8 bytes.
    let _ = unsafe { syscall4(libc::SYS_rt_sigprocmask, how as usize, &raw const set as usize, 0, 8) };
}

/// Those that were sent and came too late would begin a checkpoint that nobody wants.
fn take_signals() {
    let (set, at_once) = (1u64 << (state::ckpt_signal() - 1), [0u64; 2]);
    // SAFETY: a mask of 8 bytes and a struct timespec; no information is wanted.
    let taken = || unsafe { syscall4(libc::SYS_rt_sigtimedwait, &raw const set as usize, 0, at_once.as_ptr() as usize, 8) };
    while taken().is_ok() {}
}

/// Our signal, for a thread in a callback: not for it, or because it is late. False: it is in none.
///
/// # Safety
/// `uc` is the frame of a signal that this thread got.
pub unsafe fn interrupted(uc: *mut libc::ucontext_t) -> bool {
    let Some(running) = Running::of(gettid()) else { return false };
    if running.is_late() {
        // SAFETY: the frame is ours to change. The callback and what it called are above the noted place of the stack.
        unsafe {
            let registers = &mut (*uc).uc_mcontext.gregs;
            registers[libc::REG_RSP as usize] = running.stack.load(Acquire) as i64;
            registers[libc::REG_RIP as usize] = asm::call_left as *const () as i64;
            registers[libc::REG_EFL as usize] &= !DIRECTION;
            (&raw mut (*uc).uc_sigmask).cast::<u64>().write(u64::MAX);
        }
    }
    true
}

/// The flag that string instructions go backwards by.
const DIRECTION: i64 = 1 << 10;

/// Sends the callback of `tid` out, if its time is over. False: that was a second ago, and it is still there.
pub fn look_after(tid: i32) -> bool {
    let Some(running) = Running::of(tid) else { return true };
    running.locked(|| {
        if running.tid.load(Acquire) == tid && running.is_late() {
            let _ = tgkill(getpid(), tid, state::ckpt_signal());
        }
    });
    monotonic_ns() < running.begun.load(Acquire) + (PATIENCE_MS + 1_000) * 1_000_000
}

/// Who did not return from what; the length.
pub fn describe(entry: &Entry, event: u32, text: &mut [u8]) -> usize {
    let mut len = 0;
    let mut add = |part: &[u8]| {
        let part = &part[..part.len().min(text.len() - len)];
        text[len..len + part.len()].copy_from_slice(part);
        len += part.len();
    };
    match entry.is_plugin() {
        true => {
            add(b"plugin ");
            add(entry.name());
            add(b": its callback for ");
        }
        false => add(b"a callback of the program for "),
    }
    add(name_of(event));
    add(b" did not return within 10 s");
    len
}

/// The same of the one that `tid` is in and could not be sent out of.
pub fn describe_stuck(tid: i32, text: &mut [u8]) -> usize {
    let Some(running) = Running::of(tid) else { return 0 };
    // SAFETY: an entry of the table, which is static.
    let Some(entry) = (unsafe { running.entry.load(Acquire).as_ref() }) else { return 0 };
    let len = describe(entry, running.event.load(Acquire), text);
    let more = b" and cannot be interrupted: its process stands still until it returns";
    let more = &more[..more.len().min(text.len() - len)];
    text[len..len + more.len()].copy_from_slice(more);
    len + more.len()
}

fn name_of(event: u32) -> &'static [u8] {
    const NAMES: [&[u8]; 8] = [b"?", b"pre-suspend", b"pre-checkpoint", b"resume", b"restart", b"fork", b"pre-exec", b"exit"];
    NAMES.get(event as usize).copied().unwrap_or(b"?")
}
