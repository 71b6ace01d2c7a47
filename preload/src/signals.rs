//! Pending signals and dispositions, read and put back.

use crate::arena::Arena;
use crate::handler::Slot;
use ckpt_sys::flat::{Pending, SigAction};
use ckpt_sys::calls::*;
use ckpt_sys::raw::*;
use core::sync::atomic::{AtomicU64, Ordering::*};

/// glibc's signal for setuid(2) in all threads: no thread of a glibc program ever blocks it.
pub const SIGSETXID: i32 = 33;

const SIGSET: usize = 8;

pub fn action(sig: i32) -> Result<SigAction> {
    let mut act = SigAction::default();
    // SAFETY: act has the kernel's layout of struct sigaction.
    unsafe { syscall4(libc::SYS_rt_sigaction, sig as usize, 0, &raw mut act as usize, SIGSET) }?;
    Ok(act)
}

pub fn set_action(sig: i32, act: &SigAction) -> Result<()> {
    // SAFETY: act has the kernel's layout of struct sigaction.
    unsafe { syscall4(libc::SYS_rt_sigaction, sig as usize, core::ptr::from_ref(act) as usize, 0, SIGSET) }.map(drop)
}

/// Signals pending for this thread or its process, ours left out.
pub fn pending_set() -> u64 {
    let mut set = 0u64;
    // SAFETY: set is 8 bytes, as sigsetsize says.
    let _ = unsafe { syscall2(libc::SYS_rt_sigpending, &raw mut set as usize, SIGSET) };
    set & !bit(crate::state::ckpt_signal()) & !bit(32) & !bit(SIGSETXID)
}

pub const fn bit(sig: i32) -> u64 {
    if sig > 0 && sig <= 64 { 1 << (sig - 1) } else { 0 }
}

/// Takes one pending signal of `set`, the thread's own before the process's (kernel/signal.c, dequeue_signal).
fn take(set: u64) -> Option<[[u64; 8]; 2]> {
    let mut info = [[0u64; 8]; 2];
    let zero = [0u64; 2];
    // SAFETY: info is 128 bytes as siginfo is, set 8.
    unsafe {
        syscall4(libc::SYS_rt_sigtimedwait, &raw const set as usize, info.as_mut_ptr() as usize, zero.as_ptr() as usize, SIGSET)
    }
    .ok()
    .map(|_| info)
}

/// Would wait(2) report a stop of this child? `take`: it will not any more.
pub fn reports_stop(child: i32, take: bool) -> bool {
    let mut info = [0i32; 32];
    let how = libc::WSTOPPED | libc::WNOHANG | if take { 0 } else { libc::WNOWAIT };
    // SAFETY: info is 128 bytes, a siginfo; the fifth argument may be NULL.
    let asked = unsafe {
        syscall5(libc::SYS_waitid, libc::P_PID as usize, child as usize, info.as_mut_ptr() as usize, how as usize, 0)
    };
    asked.is_ok() && info[0] == libc::SIGCHLD
}

/// In the restorer: signals that children have sent by being made.
pub fn drop_child_signals() {
    while take(bit(libc::SIGCHLD)).is_some() {}
}

/// Children are woken and stopped again for the checkpoint: their parent is not to be told. The action before. (To set
/// one that ignores the signal would drop what is pending.)
pub fn silence_stops() -> Option<SigAction> {
    let before = action(libc::SIGCHLD).ok()?;
    let silent = SigAction { flags: before.flags | libc::SA_NOCLDSTOP as u64, ..before };
    let changes = before.handler > libc::SIG_IGN as u64 && silent.flags != before.flags;
    (changes && set_action(libc::SIGCHLD, &silent).is_ok()).then_some(before)
}

/// The process's queue. Main puts it back. And our own, which a checkpoint thread has not; put back at once.
pub fn drain_shared(arena: &Arena) {
    let set = pending_set();
    let (tid, own) = (gettid(), || set & crate::procfs::pending(gettid()));
    // One's own come first.
    while let Some(info) = Some(own()).filter(|&own| own != 0).and_then(take) {
        if !arena.add_pending(Pending { tid, pad: 0, info }) {
            break;
        }
    }
    while let Some(info) = Some(set).filter(|&set| set != 0).and_then(take) {
        if !arena.add_pending(Pending { tid: 0, pad: 0, info }) {
            break;
        }
    }
    for p in pendings(arena).iter().filter(|p| p.tid == tid) {
        queue(getpid(), tid, p);
    }
}

/// This thread's queue (the process's was drained before), put back at once: only the thread itself may
/// send itself signals with any si_code (kernel/signal.c, do_rt_tgsigqueueinfo).
pub fn drain_private(arena: &Arena, slot: &Slot) {
    let tid = slot.tid.load(Relaxed);
    let first = arena.pending_count.load(Acquire) as usize;
    while let Some(info) = take(slot.pending) {
        if !arena.add_pending(Pending { tid, pad: 0, info }) {
            break;
        }
    }
    for p in pendings(arena).iter().skip(first).filter(|p| p.tid == tid) {
        queue(getpid(), tid, p);
    }
}

/// By the main thread, for the same reason.
pub fn requeue_shared(arena: &Arena) {
    for p in pendings(arena).iter().filter(|p| p.tid == 0) {
        queue(getpid(), 0, p);
    }
}

pub fn pendings(arena: &Arena) -> &[Pending] {
    let n = (arena.pending_count.load(Acquire) as usize).min(arena.pendings.len());
    &arena.pendings[..n]
}

/// Queues `p` for thread `tid` of `pid`, or for the process when tid is 0.
pub fn queue(pid: i32, tid: i32, p: &Pending) {
    let signo = p.info[0][0] as i32;
    let info = p.info.as_ptr() as usize;
    // SAFETY: info is 128 bytes.
    let done = unsafe {
        if tid == 0 {
            syscall3(libc::SYS_rt_sigqueueinfo, pid as usize, signo as usize, info)
        } else {
            syscall4(libc::SYS_rt_tgsigqueueinfo, pid as usize, tid as usize, signo as usize, info)
        }
    };
    if done.is_err() {
        // SAFETY: numbers only. Better without its siginfo than lost.
        let _ = unsafe { syscall2(libc::SYS_kill, pid as usize, signo as usize) };
    }
}

/// Asks a thread by SIGSETXID. Not with tgkill(2): glibc's handler, which takes what comes too late, ignores what was sent
/// like this.
pub fn ask_by_setxid(pid: i32, tid: i32) -> Result<()> {
    let own = getpid() as u64;
    let mut info = [[0u64; 8]; 2];
    (info[0][0], info[0][1], info[0][2]) = (SIGSETXID as u64, libc::SI_QUEUE as u32 as u64, own);
    // SAFETY: info is 128 bytes: si_signo, si_errno, si_code, si_pid, si_uid.
    unsafe { syscall4(libc::SYS_rt_tgsigqueueinfo, pid as usize, tid as usize, SIGSETXID as usize, info.as_ptr() as usize) }.map(drop)
}

/// In a thread that was asked so and has parked by the first signal: the second must not interrupt its call.
pub fn take_back_setxid() {
    let is_ours = |info: &[[u64; 8]; 2]| info[0][1] as u32 as i32 == libc::SI_QUEUE;
    while let Some(info) = take(bit(SIGSETXID)) {
        if !is_ours(&info) {
            return queue(getpid(), gettid(), &Pending { tid: 0, pad: 0, info });
        }
    }
}

static GLIBC_HANDLER: AtomicU64 = AtomicU64::new(0);

/// For threads that block everything they can (glibc's own helpers): borrow SIGSETXID for the while. None: a process that
/// shares our handlers has done it.
pub fn borrow_setxid() -> Result<Option<SigAction>> {
    if has_setxid() {
        return Ok(None);
    }
    let old = action(SIGSETXID)?;
    GLIBC_HANDLER.store(old.handler, Release);
    crate::handler::install(SIGSETXID)?;
    Ok(Some(old))
}

pub fn has_setxid() -> bool {
    action(SIGSETXID).is_ok_and(|act| act.handler == crate::handler::on_signal as *const () as u64)
}

/// A real SIGSETXID in the meantime goes where it was meant to go.
///
/// # Safety
/// The arguments are those the kernel gave our handler.
pub unsafe fn forward(sig: i32, info: *mut libc::siginfo_t, uc: *mut libc::ucontext_t) {
    let handler = GLIBC_HANDLER.load(Acquire);
    if handler > 1 {
        // SAFETY: the address is that of the handler glibc had installed with SA_SIGINFO.
        unsafe {
            let f: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::ucontext_t) = core::mem::transmute(handler as usize);
            f(sig, info, uc);
        }
    }
}
