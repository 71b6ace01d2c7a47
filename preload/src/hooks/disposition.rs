//! sigaction(2), signal(2): our signal's handler stays ours; handlers see virtual pids.

use super::abi::{ask, hook, load, store, Plain};
use super::siginfo;
use crate::{ids, state};
use ckpt_sys::flat::SigAction;
use ckpt_sys::raw::Result;
use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicUsize, Ordering::*};
use libc::{sighandler_t, siginfo_t};

type Action = libc::sigaction;

hook! { fn sigaction(sig: c_int, act: *const Action, old: *mut Action) -> c_int => sigaction }
hook! { unchecked fn __sigaction(sig: c_int, act: *const Action, old: *mut Action) -> c_int => sigaction }
hook! { fn signal(sig: c_int, handler: sighandler_t) -> sighandler_t => signal }
hook! { unchecked fn ssignal(sig: c_int, handler: sighandler_t) -> sighandler_t => signal }
hook! { unchecked fn bsd_signal(sig: c_int, handler: sighandler_t) -> sighandler_t => signal }
hook! { unchecked fn sysv_signal(sig: c_int, handler: sighandler_t) -> sighandler_t => sysv_signal }
hook! { unchecked fn __sysv_signal(sig: c_int, handler: sighandler_t) -> sighandler_t => sysv_signal }
hook! { unchecked fn sigset(sig: c_int, handler: sighandler_t) -> sighandler_t => sigset }
hook! { unchecked fn sigignore(sig: c_int) -> c_int, when is_ours(sig) => nothing }
hook! { unchecked fn sighold(sig: c_int) -> c_int, when is_ours(sig) => nothing }
hook! { unchecked fn sigrelse(sig: c_int) -> c_int, when is_ours(sig) => nothing }
hook! { unchecked fn siginterrupt(sig: c_int, on: c_int) -> c_int, when is_ours(sig) => nothing_two }

/// Is this the number that checkpoints use? For the program that signal does nothing.
#[inline]
pub fn is_ours(sig: c_int) -> bool {
    sig == state::ckpt_signal() && sig != 0
}

fn nothing(_: c_int) -> Plain<c_int> {
    Plain(0)
}

fn nothing_two(_: c_int, _: c_int) -> Plain<c_int> {
    Plain(0)
}

fn sigaction(sig: c_int, act: *const Action, old: *mut Action) -> Plain<c_int> {
    if is_ours(sig) {
        // SAFETY: all zero is a valid action: SIG_DFL, no flags, empty mask.
        store(old, unsafe { core::mem::zeroed() });
        return Plain(0);
    }
    let before = handler_of(sig);
    let Some(edited) = load(act).and_then(|action| edit(sig, action)) else {
        let result = sigaction::next(sig, act, old);
        return unwrap_old(result, old, before);
    };
    let result = sigaction::next(sig, &edited, old);
    unwrap_old(result, old, before)
}

/// What the kernel shall get instead, if not the program's own structure.
fn edit(sig: c_int, mut action: Action) -> Option<Action> {
    let mask = super::sigmask::strip_set(&mut action.sa_mask);
    let wrap = ids::active() && wants_info(action.sa_sigaction, action.sa_flags as u64);
    if let Some(slot) = HANDLERS.get(sig as usize).filter(|_| wrap) {
        slot.store(action.sa_sigaction, Release);
        action.sa_sigaction = wrapper as *const () as usize;
    }
    (mask || wrap).then_some(action)
}

fn unwrap_old(result: c_int, old: *mut Action, before: usize) -> Plain<c_int> {
    let wrapped = |action: &Action| result == 0 && action.sa_sigaction == wrapper as *const () as usize;
    if let Some(seen) = load(old.cast_const()).filter(wrapped) {
        store(old, Action { sa_sigaction: before, ..seen });
    }
    Plain(result)
}

fn signal(sig: c_int, handler: sighandler_t) -> Plain<sighandler_t> {
    set_plain(sig, || signal::next(sig, handler))
}

fn sysv_signal(sig: c_int, handler: sighandler_t) -> Plain<sighandler_t> {
    set_plain(sig, || __sysv_signal::next(sig, handler))
}

fn sigset(sig: c_int, handler: sighandler_t) -> Plain<sighandler_t> {
    set_plain(sig, || sigset::next(sig, handler))
}

fn set_plain(sig: c_int, set: impl FnOnce() -> sighandler_t) -> Plain<sighandler_t> {
    if is_ours(sig) {
        return Plain(libc::SIG_DFL);
    }
    let before = handler_of(sig);
    let old = set();
    Plain(if old == wrapper as *const () as usize { before } else { old })
}

/// The program's SA_SIGINFO handlers, where the kernel has `wrapper` instead: si_pid is a real pid there. An entry
/// counts only while the kernel has the wrapper, so a vfork child that resets signals need not touch it.
static HANDLERS: [AtomicUsize; 65] = [const { AtomicUsize::new(0) }; 65];

fn handler_of(sig: c_int) -> usize {
    HANDLERS.get(sig as usize).map_or(0, |slot| slot.load(Acquire))
}

fn wants_info(handler: usize, flags: u64) -> bool {
    flags & libc::SA_SIGINFO as u64 != 0 && handler > libc::SIG_IGN
}

extern "C" fn wrapper(sig: c_int, info: *mut siginfo_t, context: *mut c_void) {
    siginfo::translate(info);
    let handler = handler_of(sig);
    if handler != 0 {
        // SAFETY: the program installed this address as a handler with SA_SIGINFO.
        let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = unsafe { core::mem::transmute(handler) };
        handler(sig, info, context);
    }
}

/// For the image: a handler that wants a siginfo goes into our table, which is saved with the memory, and the kernel
/// of the restarted process gets the wrapper. The running process is not changed.
pub fn keep_handler(sig: c_int, action: &mut SigAction) {
    let ours = wrapper as *const () as usize;
    let handler = action.handler as usize;
    if is_ours(sig) || sig == CANCEL || sig == SETXID || handler == ours || !wants_info(handler, action.flags) {
        return;
    }
    if let Some(slot) = HANDLERS.get(sig as usize) {
        slot.store(handler, Release);
        action.handler = ours as u64;
    }
}

/// glibc's own: their handlers compare si_pid with the kernel's pid.
const CANCEL: c_int = 32;
const SETXID: c_int = 33;

/// `syscall(SYS_rt_sigaction, ...)`, with the kernel's structure.
pub fn raw_action(sig: c_int, act: usize, old: usize, size: usize) -> Result<usize> {
    let old = old as *mut SigAction;
    if is_ours(sig) {
        store(old, SigAction::default());
        return Ok(0);
    }
    let before = handler_of(sig);
    let mut wanted = load(act as *const SigAction);
    if let Some(action) = &mut wanted {
        action.mask = super::sigmask::stripped(action.mask).unwrap_or(action.mask);
        if ids::active() && wants_info(action.handler as usize, action.flags) {
            if let Some(slot) = HANDLERS.get(sig as usize) {
                slot.store(action.handler as usize, Release);
                action.handler = wrapper as *const () as u64;
            }
        }
    }
    let wanted = wanted.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
    let done = ask!(libc::SYS_rt_sigaction, sig, wanted, old, size)?;
    if let Some(seen) = load(old.cast_const()).filter(|seen| seen.handler == wrapper as *const () as u64) {
        store(old, SigAction { handler: before as u64, ..seen });
    }
    Ok(done)
}
