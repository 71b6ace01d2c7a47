//! Plugins are called in the stopped process: by one of its own threads, so that descriptors and thread-local storage
//! are the program's, inside our signal handler with every signal blocked, on a stack of ours.

use crate::arena::Arena;
use crate::channel::Channel;
use crate::handler::{CALL, STAY};
use crate::plugin_table::{entries, Entry, Occasion, VERSION};
use crate::state::{self, Seat};
use crate::{errand, plugin_guard, procfs, thread, times};
use ckpt_sys::calls::*;
use ckpt_sys::flat::{msg, Msg};
use ckpt_sys::raw::syscall2;
use core::cell::UnsafeCell;
use core::ffi::{c_char, c_int, CStr};
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, Ordering::*};

/// Other threads still run.
pub const PRE_SUSPEND: u32 = 1;
/// All stand still; the state is captured next.
pub const PRE_CHECKPOINT: u32 = 2;
/// All go on next.
pub const RESUME: u32 = 3;
/// In a process that was brought back; all go on next.
pub const RESTART: u32 = 4;
pub const FORKED: u32 = 5;
pub const PRE_EXEC: u32 = 6;
pub const EXIT: u32 = 7;

const REASON: usize = 256;
const TAKEN: usize = 64;

/// A call that is under way, in the arena.
#[repr(C)]
pub struct Call {
    event: AtomicU32,
    failed: AtomicU32,
    /// what its thread cannot be sent out of, when not empty; the checkpoint thread's
    stuck: UnsafeCell<[u8; REASON]>,
    stuck_len: AtomicU32,
    reason: UnsafeCell<[u8; REASON]>,
    reason_len: AtomicU32,
    /// descriptors + 1 that plugins have taken over
    taken: [AtomicI32; TAKEN],
}

impl Call {
    pub fn is_taken(&self, fd: Fd) -> bool {
        self.taken.iter().any(|t| t.load(Acquire) == fd + 1)
    }

    /// Why it failed.
    pub fn reason(&self) -> &[u8] {
        let (all, len) = match self.stuck_len.load(Acquire) {
            // SAFETY: written by the called thread before it reported back.
            0 => (unsafe { &*self.reason.get() }, self.reason_len.load(Acquire)),
            // SAFETY: this thread's.
            len => (unsafe { &*self.stuck.get() }, len),
        };
        &all[..(len as usize).min(REASON)]
    }
}

/// Where `ckpt_take_fd` puts what it is told; null outside a pre-checkpoint call.
static CURRENT: AtomicPtr<Call> = AtomicPtr::new(core::ptr::null_mut());

pub fn any() -> bool {
    !entries().is_empty()
}

pub fn wants(event: u32) -> bool {
    entries().iter().any(|e| e.wants(event))
}

/// Has a thread of the program call whoever wants `event`. Err: one said no, or did not return.
pub fn call(a: &Arena, st: &Seat, event: u32) -> core::result::Result<(), ()> {
    if !wants(event) {
        return Ok(());
    }
    let pid = getpid();
    let leader = thread::parked(a).find(|s| s.tid.load(Acquire) == pid);
    // The one that took the signal may be just about to park.
    let Some(slot) = leader.or_else(|| thread::parked(a).next()).or_else(|| a.used().next()) else { return Ok(()) };
    let own = slot.tid.load(Acquire) == gettid();
    if slot.command.load(Acquire) != STAY {
        return Err(()); // still in a call that came too late
    }
    a.call.event.store(event, Release);
    a.call.failed.store(0, Release);
    if own {
        plugin_guard::alone(|| called(a));
    } else {
        slot.command.store(CALL, Release);
        thread::wake(st);
    }
    loop {
        let seen = st.parked.load(Acquire);
        if slot.command.load(Acquire) == STAY {
            return if a.call.failed.load(Acquire) == 0 { Ok(()) } else { Err(()) };
        }
        let tid = slot.tid.load(Acquire);
        if !plugin_guard::look_after(tid) {
            // SAFETY: this thread's.
            let len = plugin_guard::describe_stuck(tid, unsafe { &mut *a.call.stuck.get() });
            a.call.stuck_len.store(len as u32, Release);
            return Err(());
        }
        let _ = futex_wait(&st.parked, seen, 100);
    }
}

/// By the chosen thread, in the handler.
pub fn called(a: &Arena) {
    let mut noted = 0;
    // SAFETY: the stack is used by one call at a time; `on_stack` gets the arena it was given.
    unsafe { crate::asm::call_on(a.plugin_stack_top(), core::ptr::from_ref(a) as usize, on_stack as *const () as usize, &raw mut noted) }
}

unsafe extern "C" fn on_stack(arena: usize) {
    // SAFETY: `called` passes the arena.
    let call = unsafe { &(*(arena as *const Arena)).call };
    let event = call.event.load(Acquire);
    if event == PRE_CHECKPOINT {
        CURRENT.store(core::ptr::from_ref(call).cast_mut(), Release);
    }
    // SAFETY: the buffer is this call's alone until it is over.
    let reason = unsafe { &mut *call.reason.get() };
    let own = signal_stack(NO_STACK);
    if let Some(len) = tell(event, reason) {
        call.reason_len.store(len as u32, Release);
        call.failed.store(1, Release);
    }
    signal_stack(own);
    CURRENT.store(core::ptr::null_mut(), Release);
}

/// `stack_t`: none.
const NO_STACK: [usize; 3] = [0, libc::SS_DISABLE as usize, 0];

/// The program's own signal stack has our handler's frame on it, perhaps: a signal that comes during a callback must not
/// begin there anew. The one before.
fn signal_stack(new: [usize; 3]) -> [usize; 3] {
    let mut old = NO_STACK;
    // SAFETY: both have the layout of stack_t.
    let _ = unsafe { syscall2(libc::SYS_sigaltstack, new.as_ptr() as usize, old.as_mut_ptr() as usize) };
    old
}

/// What one callback made of it; lengths of the reason.
enum Answer {
    Yes,
    No(usize),
    Left(usize),
}

/// Forwards before, backwards after: the last to be told of a stop is the first to be told that it is over. Of those
/// before, the first that says no ends it; afterwards it is too late to. The length of the reason, also of one that did
/// not return.
fn tell(event: u32, reason: &mut [u8; REASON]) -> Option<usize> {
    let errno = crate::hooks::errno();
    let mut failed = None;
    match event {
        PRE_SUSPEND | PRE_CHECKPOINT => {
            failed = entries().iter().find_map(|e| match tell_one(e, event, reason) {
                Answer::Yes => None,
                Answer::No(len) | Answer::Left(len) => Some(len),
            });
        }
        _ => {
            for entry in entries().iter().rev() {
                let mut said = [0; REASON];
                if let Answer::Left(len) = tell_one(entry, event, &mut said) {
                    *reason = said;
                    failed = Some(len);
                }
            }
        }
    }
    crate::hooks::set_errno(errno);
    failed
}

fn tell_one(e: &'static Entry, event: u32, reason: &mut [u8; REASON]) -> Answer {
    if !e.wants(event) {
        return Answer::Yes;
    }
    reason.fill(0);
    let text = reason.as_mut_ptr().cast();
    let mut occasion =
        Occasion { version: VERSION, event, restarts: state::restarts(), reason_len: REASON as u32, reason: text };
    // At the other events the program runs: it may take its time.
    let said = match event {
        // SAFETY: the occasion and its buffer outlive the call; who asked for the call, or ckpt_restart, looks after it.
        PRE_SUSPEND | PRE_CHECKPOINT | RESUME | RESTART => unsafe { plugin_guard::call(e, event, &raw mut occasion) },
        // SAFETY: the occasion and its buffer outlive the call.
        _ => Some(unsafe { e.call(&raw mut occasion) }),
    };
    match said {
        Some(0) => Answer::Yes,
        Some(_) => Answer::No(reason_of(e, reason)),
        None => Answer::Left(plugin_guard::describe(e, event, reason)),
    }
}

/// As it was given, or the name.
fn reason_of(e: &Entry, reason: &mut [u8; REASON]) -> usize {
    reason[REASON - 1] = 0;
    let len = reason.iter().position(|&b| b == 0).unwrap_or(0);
    if len > 0 {
        return len;
    }
    let len = e.name().len().min(REASON - 1);
    reason[..len].copy_from_slice(&e.name()[..len]);
    len
}

/// An event in the running program, by the thread that causes it. What callbacks took, in microseconds.
pub fn told(event: u32) -> u32 {
    if !wants(event) {
        return 0;
    }
    let begin = times::now();
    let _ = tell(event, &mut [0; REASON]);
    times::since(begin)
}

fn word(event: u32, begin: u64) -> Msg {
    Msg { kind: msg::TOLD, pid: getpid(), count: event, arg: begin, arg2: times::since(begin).into(), ..Msg::default() }
}

/// By the checkpoint thread: callbacks for `RESUME` that did not return, of which the checkpoint knows no more.
pub fn say_late(a: &Arena, begin: u64) {
    if let Ok(channel) = Channel::connect(state::agent_name()) {
        let _ = channel.send_with(word(RESUME, begin), a.call.reason(), &[]);
        close(channel.fd());
    }
}

/// As `told`, and nobody else comes by who would ask how long it took: the agent hears of it.
fn told_and_say(event: u32) {
    if wants(event) {
        let begin = times::now();
        let mut reason = [0; REASON];
        let late = tell(event, &mut reason).unwrap_or(0);
        let _ = errand::send(word(event, begin), &reason[..late]);
    }
}

/// In the child of a fork.
pub fn forked() {
    let us = told(FORKED);
    if let Some(st) = state::state().filter(|_| us != 0) {
        times::forked(st, us);
    }
}

/// Called by the restorer, before the first thread of the program runs. `changes`: see `PlanHead::environment`.
pub unsafe extern "C" fn restarted(changes: *const u8, len: usize) {
    // SAFETY: a table of the plan, which is mapped until the last thread has left.
    crate::plugin_env::apply(unsafe { core::slice::from_raw_parts(changes, len) });
    crate::api::restarted();
    told_and_say(RESTART);
}

#[used]
#[unsafe(link_section = ".fini_array")]
static FINI: extern "C" fn() = exits;

extern "C" fn exits() {
    if state::enabled() {
        told_and_say(EXIT);
    }
}

/// `fd` is the plugin's from here on: it is not captured, and at a restart it is closed until the plugin opens it. Only
/// in a pre-checkpoint callback. -1: not there, or 64 are taken.
#[unsafe(no_mangle)]
pub extern "C" fn ckpt_take_fd(fd: c_int) -> c_int {
    // SAFETY: set for the time of a call, to a part of the arena, which outlives it.
    let Some(call) = (unsafe { CURRENT.load(Acquire).as_ref() }) else { return -1 };
    let free = |t: &&AtomicI32| t.compare_exchange(0, fd + 1, AcqRel, Acquire).is_ok();
    if fd < 0 || call.taken.iter().find(free).is_none() { -1 } else { 0 }
}

/// Takes over each descriptor that is open on `path` or, where that ends with a slash, on what lies below it. Their numbers
/// go to `fds`, as many as fit; the answer is how many there are. -1: as `ckpt_take_fd`.
///
/// # Safety
/// `path` is NUL-terminated, `fds` writable for `room` numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ckpt_take_path(path: *const c_char, fds: *mut c_int, room: u32) -> c_int {
    // SAFETY: by the contract.
    let path = unsafe { CStr::from_ptr(path).to_bytes() };
    if CURRENT.load(Acquire).is_null() {
        return -1;
    }
    let mut count = 0;
    let mut failed = false;
    let listed = procfs::each_number(c"/proc/thread-self/fd", |fd| {
        let mut link = [0; 4096];
        let name = procfs::Path::new("/proc/thread-self/fd/").number(fd);
        // SAFETY: the buffer has the length that is given.
        let len = unsafe {
            ckpt_sys::raw::syscall4(libc::SYS_readlinkat, libc::AT_FDCWD as usize, name.c_str().as_ptr() as usize, link.as_mut_ptr() as usize, link.len())
        };
        let link = &link[..len.unwrap_or(0)];
        if link != path && !(path.ends_with(b"/") && link.starts_with(path)) {
            return;
        }
        failed |= ckpt_take_fd(fd) != 0;
        if count < room {
            // SAFETY: by the contract.
            unsafe { fds.add(count as usize).write(fd) };
        }
        count += 1;
    });
    if failed || listed.is_err() { -1 } else { count as c_int }
}

/// `LD_PRELOAD=/new/libckpt.so` in front of the plugins that the old string names behind a space.
pub fn replace_library(old: &mut [u8], new: &[u8]) {
    let end = old.iter().position(|&b| b == 0).unwrap_or(0);
    let plugins = old[..end].iter().position(|&b| b == b' ').map_or(end..end, |at| at..end);
    if new.len() + plugins.len() >= old.len() {
        return;
    }
    let len = plugins.len();
    old.copy_within(plugins, new.len());
    old[..new.len()].copy_from_slice(new);
    old[new.len() + len..].fill(0);
}
