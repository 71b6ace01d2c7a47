//! sigprocmask(2), sigsuspend(2), sigwait(3), ...: our signal is never blocked, never waited for. The BSD calls
//! (sigblock, sigsetmask, sigpause) carry 32 signals and cannot name it; sigpending cannot see what is never blocked.

use super::abi::{ask, hook, load, store, Code, Plain};
use super::siginfo;
use crate::state;
use ckpt_sys::raw::{Errno, Result};
use core::ffi::{c_int, c_ulong};
use libc::{epoll_event, fd_set, pollfd, pthread_attr_t, siginfo_t, sigset_t, timespec};

type Set = *const sigset_t;
type Times = *const timespec;

hook! { fn sigprocmask(how: c_int, set: Set, old: *mut sigset_t) -> c_int => sigprocmask }
hook! { fn pthread_sigmask(how: c_int, set: Set, old: *mut sigset_t) -> c_int => pthread_sigmask }
hook! { fn sigsuspend(mask: Set) -> c_int => sigsuspend }
hook! { fn sigwait(set: Set, sig: *mut c_int) -> c_int => sigwait }
hook! { fn sigwaitinfo(set: Set, info: *mut siginfo_t) -> c_int => sigwaitinfo }
hook! { fn sigtimedwait(set: Set, info: *mut siginfo_t, timeout: Times) -> c_int => sigtimedwait }
hook! { fn signalfd(fd: c_int, mask: Set, flags: c_int) -> c_int => signalfd }
hook! { fn ppoll(fds: *mut pollfd, n: c_ulong, timeout: Times, mask: Set) -> c_int => ppoll }
hook! {
    unchecked fn __ppoll_chk(fds: *mut pollfd, n: c_ulong, timeout: Times, mask: Set, room: usize) -> c_int => ppoll_chk
}
hook! {
    fn pselect(n: c_int, read: *mut fd_set, write: *mut fd_set, except: *mut fd_set, timeout: Times, mask: Set)
        -> c_int => pselect
}
hook! {
    fn epoll_pwait(fd: c_int, events: *mut epoll_event, n: c_int, timeout: c_int, mask: Set) -> c_int => epoll_pwait
}
hook! {
    unchecked fn epoll_pwait2(fd: c_int, events: *mut epoll_event, n: c_int, timeout: Times, mask: Set)
        -> c_int => epoll_pwait2
}
hook! {
    unchecked fn pthread_attr_setsigmask_np(attributes: *mut pthread_attr_t, mask: Set) -> c_int
        => pthread_attr_setsigmask_np
}

/// Signals that no mask of the program's may hold: ours, and glibc's two (cancellation, setuid), as glibc itself does.
#[inline]
fn ours() -> u64 {
    let sig = state::ckpt_signal();
    if sig == 0 {
        0
    } else {
        1 << (sig - 1)
    }
}

const GLIBC: u64 = 1 << 31 | 1 << 32;

/// The first word of a sigset_t is all that the kernel reads.
#[inline]
fn word(set: Set) -> Option<u64> {
    load(set.cast())
}

/// Takes our signal out of a set; was it there?
pub fn strip_set(set: &mut sigset_t) -> bool {
    let pointer = core::ptr::from_mut(set).cast::<u64>();
    let held = word(pointer.cast_const().cast()).unwrap_or(0);
    store(pointer, held & !ours());
    held & ours() != 0
}

/// A mask word without our signal, if it held it.
pub fn stripped(mask: u64) -> Option<u64> {
    (mask & ours() != 0).then_some(mask & !ours())
}

/// Calls `with` with the set, or with a copy that lacks our signal.
#[inline]
fn without_ours<T>(set: Set, with: impl FnOnce(Set) -> T) -> T {
    if word(set).unwrap_or(0) & ours() == 0 {
        return with(set);
    }
    let mut copy = load(set);
    if let Some(copy) = &mut copy {
        strip_set(copy);
    }
    with(copy.as_ref().map_or(core::ptr::null(), core::ptr::from_ref))
}

/// The system call behind sigprocmask and pthread_sigmask, as glibc makes it.
#[inline]
pub fn change_mask(how: c_int, set: Set, old: *mut sigset_t) -> Result<()> {
    let wanted = word(set).unwrap_or(0);
    let forbidden = ours() | GLIBC;
    if wanted & forbidden == 0 || how == libc::SIG_UNBLOCK {
        ask!(libc::SYS_rt_sigprocmask, how, set, old, 8)?;
    } else {
        let allowed = wanted & !forbidden;
        ask!(libc::SYS_rt_sigprocmask, how, &raw const allowed, old, 8)?;
    }
    mirror(old);
    Ok(())
}

/// A program that blocked everything finds everything blocked: our signal reads as its neighbour does.
#[inline]
fn mirror(old: *mut sigset_t) {
    let mask = word(old).unwrap_or(0);
    if mask & ours() >> 1 != 0 {
        store(old.cast::<u64>(), mask | ours());
    }
}

fn sigprocmask(how: c_int, set: Set, old: *mut sigset_t) -> Result<c_int> {
    change_mask(how, set, old).map(|()| 0)
}

fn pthread_sigmask(how: c_int, set: Set, old: *mut sigset_t) -> Code {
    Code(change_mask(how, set, old))
}

fn sigsuspend(mask: Set) -> Plain<c_int> {
    Plain(without_ours(mask, sigsuspend::next))
}

fn sigwait(set: Set, sig: *mut c_int) -> Plain<c_int> {
    Plain(without_ours(set, |set| sigwait::next(set, sig)))
}

fn sigwaitinfo(set: Set, info: *mut siginfo_t) -> Plain<c_int> {
    taken(without_ours(set, |set| sigwaitinfo::next(set, info)), info)
}

fn sigtimedwait(set: Set, info: *mut siginfo_t, timeout: Times) -> Plain<c_int> {
    taken(without_ours(set, |set| sigtimedwait::next(set, info, timeout)), info)
}

fn taken(result: c_int, info: *mut siginfo_t) -> Plain<c_int> {
    if result > 0 && !info.is_null() {
        siginfo::translate(info);
    }
    Plain(result)
}

fn signalfd(fd: c_int, mask: Set, flags: c_int) -> Plain<c_int> {
    Plain(without_ours(mask, |mask| signalfd::next(fd, mask, flags)))
}

fn ppoll(fds: *mut pollfd, n: c_ulong, timeout: Times, mask: Set) -> Plain<c_int> {
    Plain(without_ours(mask, |mask| ppoll::next(fds, n, timeout, mask)))
}

fn ppoll_chk(fds: *mut pollfd, n: c_ulong, timeout: Times, mask: Set, room: usize) -> Plain<c_int> {
    Plain(without_ours(mask, |mask| __ppoll_chk::next(fds, n, timeout, mask, room)))
}

fn pselect(
    n: c_int,
    read: *mut fd_set,
    write: *mut fd_set,
    except: *mut fd_set,
    timeout: Times,
    mask: Set,
) -> Plain<c_int> {
    Plain(without_ours(mask, |mask| pselect::next(n, read, write, except, timeout, mask)))
}

fn epoll_pwait(fd: c_int, events: *mut epoll_event, n: c_int, timeout: c_int, mask: Set) -> Plain<c_int> {
    Plain(without_ours(mask, |mask| epoll_pwait::next(fd, events, n, timeout, mask)))
}

fn epoll_pwait2(fd: c_int, events: *mut epoll_event, n: c_int, timeout: Times, mask: Set) -> Plain<c_int> {
    Plain(without_ours(mask, |mask| epoll_pwait2::next(fd, events, n, timeout, mask)))
}

fn pthread_attr_setsigmask_np(attributes: *mut pthread_attr_t, mask: Set) -> Plain<c_int> {
    Plain(without_ours(mask, |mask| pthread_attr_setsigmask_np::next(attributes, mask)))
}

/// `syscall(SYS_rt_sigprocmask, ...)`: the kernel's own size check is kept.
pub fn raw_change_mask(how: c_int, set: Set, old: *mut sigset_t, size: usize) -> Result<usize> {
    if size != 8 {
        return Err(Errno::INVAL);
    }
    change_mask(how, set, old).map(|()| 0)
}
