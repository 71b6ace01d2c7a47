//! A checkpoint is not seen as EINTR. A call that came back with it is repeated by stepping back to its
//! instruction, except when a signal of the program's own is due: then EINTR is what it would have got.

use crate::clocks::Clocks;
use crate::finish::{enter, finish};
use crate::handler::Slot;
use crate::signals;
use core::sync::atomic::{AtomicI64, AtomicUsize, Ordering::*};

const EINTR: i64 = -(libc::EINTR as i64);
const SYSCALL_LEN: i64 = 2;

/// `Slot::rewound`
const NO: u32 = 0;
/// set back by us
const BY_US: u32 = 1;
/// set back by the kernel, because our handler has SA_RESTART
const BY_KERNEL: u32 = 2;
/// set back; the call itself puts its signal mask in place and will see what is due
const SAFE: u32 = 3;
/// nobody has looked at it: the thread came too late, or was given up
pub const UNSEEN: u32 = 4;

/// # Safety
/// The slot's frame is the parked thread's own.
#[allow(clippy::mut_from_ref)]
pub unsafe fn regs(slot: &Slot) -> &mut [i64; 23] {
    // SAFETY: by the contract; gregs is an array of 23 i64.
    unsafe { &mut (*(slot.frame.load(Acquire) as *mut libc::ucontext_t)).uc_mcontext.gregs }
}

pub fn reg(r: i32) -> usize {
    r as usize
}

/// Decides for one parked thread, whose call was noted before it was signalled.
///
/// # Safety
/// The thread is parked.
pub unsafe fn rewind(slot: &Slot, clocks: &mut Clocks) {
    slot.rewound.store(NO, Release);
    if slot.in_call_known.load(Acquire) == 0 {
        // SAFETY: by the contract.
        unsafe { rewind_unnoted(slot) };
        return;
    }
    let [mut nr, a, b, c, d, e, f, _sp, pc] = slot.in_call;
    let args = [a, b, c, d, e, f];
    // SAFETY: by the contract.
    let r = unsafe { regs(slot) };
    if nr == libc::SYS_restart_syscall as u64 {
        // Stopped or frozen before: the registers are still those of the call itself.
        // SAFETY: by the contract.
        nr = unsafe { number_of(pc as i64 - SYSCALL_LEN, r) }.map_or(nr, |nr| nr as u64);
    }
    let order = [libc::REG_RDI, libc::REG_RSI, libc::REG_RDX, libc::REG_R10, libc::REG_R8, libc::REG_R9];
    if order.iter().zip(args).any(|(&g, a)| r[reg(g)] as u64 != a) {
        // It went from one call to another in between.
        // SAFETY: by the contract.
        unsafe { rewind_unnoted(slot) };
        return;
    }
    let rip = r[reg(libc::REG_RIP)];
    let rax = r[reg(libc::REG_RAX)];
    // SAFETY: by the contract; the thread has come back from the call.
    if rip == pc as i64 && unsafe { finish(slot, r, nr as i64, &args, rax) } {
    } else if rip + SYSCALL_LEN == pc as i64 && rax == nr as i64 {
        slot.rewound.store(BY_KERNEL, Release);
    } else if rip == pc as i64 && rax == EINTR && waits_for_signals(nr as i64, rip) {
        // SAFETY: by the contract.
        unsafe { pause_again(slot, nr as i64) };
    } else if rip == pc as i64 && rax == EINTR && repeatable(nr as i64) {
        // SAFETY: by the contract.
        unsafe { shorten(nr as i64, r, slot, clocks) };
        r[reg(libc::REG_RAX)] = nr as i64;
        r[reg(libc::REG_RIP)] = rip - SYSCALL_LEN;
        slot.rewound.store(if swaps_mask(nr as i64, r) { SAFE } else { BY_US }, Release);
    }
}

/// A thread that was running when it was looked at, and in a call when the signal came.
///
/// # Safety
/// As `rewind`.
unsafe fn rewind_unnoted(slot: &Slot) {
    // SAFETY: by the contract.
    let r = unsafe { regs(slot) };
    let (rip, rax) = (r[reg(libc::REG_RIP)], r[reg(libc::REG_RAX)]);
    // SAFETY: text around the program counter is mapped.
    let (before, at) = unsafe { (number_of(rip - SYSCALL_LEN, r), number_of(rip, r)) };
    let order = [libc::REG_RDI, libc::REG_RSI, libc::REG_RDX, libc::REG_R10, libc::REG_R8, libc::REG_R9];
    let args = order.map(|which| r[reg(which)] as u64);
    // The instruction leaves in rcx where it returns to.
    let returns = rax > 0 && r[reg(libc::REG_RCX)] == rip;
    match (before, at) {
        // SAFETY: by the contract; the kernel keeps the arguments' registers.
        (Some(nr), _) if returns && unsafe { finish(slot, r, nr, &args, rax) } => {}
        // SAFETY: by the contract.
        (Some(nr), _) if rax == EINTR && waits_for_signals(nr, rip) => unsafe { pause_again(slot, nr) },
        (Some(nr), _) if rax == EINTR && repeatable(nr) => {
            r[reg(libc::REG_RAX)] = nr;
            r[reg(libc::REG_RIP)] = rip - SYSCALL_LEN;
            slot.rewound.store(if swaps_mask(nr, r) { SAFE } else { BY_US }, Release);
        }
        (_, Some(nr)) if rax == nr => slot.rewound.store(BY_KERNEL, Release),
        _ => {}
    }
}

/// For a thread that could not even begin a checkpoint; `Slot::rewound`.
///
/// # Safety
/// The frame is the thread's own.
pub unsafe fn rewind_alone(frame: u64) -> u32 {
    // SAFETY: a slot is atomics and integers, zero for "not known"; the frame by the contract.
    unsafe {
        let slot: Slot = core::mem::zeroed();
        slot.frame.store(frame, Release);
        slot.tid.store(ckpt_sys::calls::gettid(), Release);
        rewind_unnoted(&slot);
        slot.rewound.load(Acquire)
    }
}

/// The number of the system call whose instruction is at `at`, if the code before loads it.
///
/// # Safety
/// The registers are of a thread that is there, or behind it.
unsafe fn number_of(at: i64, r: &[i64; 23]) -> Option<i64> {
    // SAFETY: by the contract.
    unsafe { crate::asm::number_at(at, r[reg(libc::REG_RSP)]) }.or_else(|| crate::opcode::number_before(at))
}

/// Calls that nothing but a signal ends: one that came between the step back to the call and the call would be waited for
/// for ever. What `pause_again` made of one is repeated like other calls.
fn waits_for_signals(nr: i64, rip: i64) -> bool {
    matches!(nr, libc::SYS_pause | libc::SYS_rt_sigsuspend) && rip != crate::asm::paused as *const () as i64
}

/// The thread goes on with all signals blocked, and waits in a sigsuspend(2) of ours, which lets them in.
///
/// # Safety
/// The thread is parked; the kernel has read the arguments of call `nr`.
unsafe fn pause_again(slot: &Slot, nr: i64) {
    // SAFETY: by the contract; the kernel's sigset is the first 8 bytes of uc_sigmask.
    unsafe {
        let context = slot.frame.load(Acquire) as *mut libc::ucontext_t;
        let blocked = (&raw mut (*context).uc_sigmask).cast::<u64>();
        let r = regs(slot);
        let after = *blocked as i64;
        let during = if nr == libc::SYS_pause { after } else { (r[reg(libc::REG_RDI)] as *const i64).read_unaligned() };
        enter(slot, r, [during, after], [EINTR, 0, 0, 0, 0, 0], crate::asm::finish_pause);
        *blocked = u64::MAX;
    }
    slot.rewound.store(SAFE, Release);
}

/// After EINTR the descriptor of close(2) is gone and connect(2) goes on by itself; restart_syscall(2) has
/// forgotten its call, and here is one of which the text does not say what it was.
fn repeatable(nr: i64) -> bool {
    !matches!(nr, libc::SYS_close | libc::SYS_connect | libc::SYS_restart_syscall)
}

fn swaps_mask(nr: i64, r: &[i64; 23]) -> bool {
    match nr {
        libc::SYS_rt_sigsuspend => true,
        libc::SYS_ppoll => r[reg(libc::REG_R10)] != 0,
        libc::SYS_pselect6 => r[reg(libc::REG_R9)] != 0,
        libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2 => r[reg(libc::REG_R8)] != 0,
        _ => false,
    }
}

/// Calls whose relative timeout the kernel does not write back: /proc tells how long they have waited.
pub fn has_timeout(nr: i64) -> bool {
    matches!(
        nr,
        libc::SYS_poll
            | libc::SYS_epoll_wait
            | libc::SYS_epoll_pwait
            | libc::SYS_epoll_pwait2
            | libc::SYS_io_getevents
            | libc::SYS_restart_syscall
            | libc::SYS_nanosleep
            | libc::SYS_clock_nanosleep
            | libc::SYS_futex
            | libc::SYS_rt_sigtimedwait
            | libc::SYS_semtimedop
    )
}

/// A repeated call waits only for what is left, so that checkpoints never stretch a wait. (select, pselect and ppoll
/// have their timeout updated by the kernel.)
///
/// # Safety
/// As `rewind`.
unsafe fn shorten(nr: i64, r: &mut [i64; 23], slot: &Slot, clocks: &mut Clocks) {
    let then = slot.last_ran.load(Acquire);
    let now = if has_timeout(nr) && then != 0 { clocks.now(slot.processor.load(Acquire)) } else { None };
    let waited = now.map_or(0, |now| now.saturating_sub(then));
    let ms = (waited / 1_000_000) as i64;
    match nr {
        libc::SYS_poll => less(r, libc::REG_RDX, ms),
        libc::SYS_epoll_wait | libc::SYS_epoll_pwait => less(r, libc::REG_R10, ms),
        // SAFETY: by the contract; each register holds the address of a timespec of the program's or is 0.
        _ => unsafe {
            match nr {
                libc::SYS_nanosleep => remaining(r, libc::REG_RDI, Some(libc::REG_RSI), waited),
                libc::SYS_clock_nanosleep if r[reg(libc::REG_RSI)] == 0 => {
                    remaining(r, libc::REG_RDX, Some(libc::REG_R10), waited)
                }
                libc::SYS_futex if r[reg(libc::REG_RSI)] & 0x7f == libc::FUTEX_WAIT as i64 => {
                    remaining(r, libc::REG_R10, None, waited)
                }
                libc::SYS_rt_sigtimedwait => remaining(r, libc::REG_RDX, None, waited),
                libc::SYS_io_getevents => remaining(r, libc::REG_R8, None, waited),
                libc::SYS_semtimedop | libc::SYS_epoll_pwait2 => remaining(r, libc::REG_R10, None, waited),
                _ => {}
            }
        },
    }
}

/// A timeout in milliseconds in a register; negative is for ever.
fn less(r: &mut [i64; 23], which: i32, ms: i64) {
    let timeout = r[reg(which)] as i32 as i64;
    if timeout > 0 {
        r[reg(which)] = (timeout - ms).max(0);
    }
}

/// Shortened timeouts of calls that are about to be repeated, in turn. The kernel takes them in when the call is; by the
/// next checkpoint they may be looked at once more. Processes that share this memory share them.
static SHORTENED: [[AtomicI64; 2]; 2048] = [const { [const { AtomicI64::new(0) }; 2] }; 2048];
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// A timespec: what the kernel reported as remaining, else a shorter copy.
///
/// # Safety
/// `request` holds the address of a readable timespec or 0.
unsafe fn remaining(r: &mut [i64; 23], request: i32, reported: Option<i32>, waited: u64) {
    if let Some(reported) = reported.map(|g| r[reg(g)]).filter(|&p| p != 0) {
        r[reg(request)] = reported;
        return;
    }
    let from = r[reg(request)] as *const [i64; 2];
    if from.is_null() || waited == 0 {
        return;
    }
    let copy = &SHORTENED[NEXT.fetch_add(1, AcqRel) % SHORTENED.len()];
    // SAFETY: the kernel has read the request once, so it is readable.
    let [seconds, nanoseconds] = unsafe { from.read() };
    let left = seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds).saturating_sub(waited as i64).max(0);
    copy[0].store(left / 1_000_000_000, Release);
    copy[1].store(left % 1_000_000_000, Release);
    r[reg(request)] = copy.as_ptr() as i64;
}

/// Last thing before a thread goes back to `frame`, when nothing can hold it up any more: a signal that the program
/// handles and that came meanwhile must end the call. A restored thread asks too: others may have run before it.
///
/// # Safety
/// The frame is the thread's own.
pub unsafe extern "C" fn last_look(frame: u64, how: u32) {
    // SAFETY: by the contract.
    unsafe { end_if_due(frame, how, signals::pending_set) };
}

/// The same, by a restored thread.
///
/// # Safety
/// The frame is the thread's own.
pub unsafe extern "C" fn last_steps(frame: u64, how: u32) {
    crate::filters::enter(frame);
    // SAFETY: by the contract.
    unsafe { last_look(frame, how) }
}

/// For the frozen copy, before the fork.
///
/// # Safety
/// The frame is the parked thread's own.
pub unsafe fn undo(slot: &Slot, pending: u64) {
    // SAFETY: by the contract.
    if unsafe { end_if_due(slot.frame.load(Acquire), slot.rewound.load(Acquire), || pending) } {
        slot.rewound.store(NO, Release);
    }
}

/// Whether the call that was set back ends with EINTR instead. Most threads were in none: they need not ask what pends.
///
/// # Safety
/// `frame` is the ucontext of a thread that does not run.
unsafe fn end_if_due(frame: u64, how: u32, pending: impl FnOnce() -> u64) -> bool {
    if how != BY_US && how != BY_KERNEL {
        return false;
    }
    // SAFETY: by the contract; the kernel's sigset is the first 8 bytes, gregs an array of 23 i64.
    let (blocked, r) = unsafe {
        let context = frame as *mut libc::ucontext_t;
        (*(&raw const (*context).uc_sigmask).cast::<u64>(), &mut (*context).uc_mcontext.gregs)
    };
    let due = pending() & !blocked;
    if due == 0 || !(1..=64).any(|s| due & signals::bit(s) != 0 && ends_call(s, how)) {
        return false;
    }
    r[reg(libc::REG_RAX)] = EINTR;
    r[reg(libc::REG_RIP)] += SYSCALL_LEN;
    true
}

fn ends_call(sig: i32, how: u32) -> bool {
    signals::action(sig).is_ok_and(|a| a.handler > 1 && (how == BY_US || a.flags & libc::SA_RESTART as u64 == 0))
}
