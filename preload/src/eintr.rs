//! A checkpoint is not seen as EINTR. A call that came back with it is repeated by stepping back to its
//! instruction, except when a signal of the program's own is due: then EINTR is what it would have got.

use crate::clocks::Clocks;
use crate::handler::Slot;
use crate::{descriptors, signals};
use ckpt_sys::calls::Fd;
use ckpt_sys::raw::*;
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

/// # Safety
/// The slot's frame is the parked thread's own.
#[allow(clippy::mut_from_ref)]
unsafe fn regs(slot: &Slot) -> &mut [i64; 23] {
    // SAFETY: by the contract; gregs is an array of 23 i64.
    unsafe { &mut (*(slot.frame.load(Acquire) as *mut libc::ucontext_t)).uc_mcontext.gregs }
}

fn reg(r: i32) -> usize {
    r as usize
}

/// Decides for one parked thread, whose call was noted before it was signalled.
///
/// # Safety
/// The thread is parked.
pub unsafe fn rewind(slot: &Slot, clocks: &mut Clocks) {
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

/// Has a thread that comes back from a call with less than natively go on with the rest. False: it does not.
///
/// # Safety
/// The thread is parked; `r` are its registers, and the kernel has read the call's arguments.
unsafe fn finish(slot: &Slot, r: &mut [i64; 23], nr: i64, args: &[u64; 6], done: i64) -> bool {
    let is_part = (1..args[2] as i64).contains(&done);
    // SAFETY: by the contract.
    unsafe {
        if is_part && is_cut_short(slot, nr, args) {
            go_on(r, nr as u64, done);
        } else if is_part && nr == libc::SYS_recvmmsg {
            more_messages(slot, r, args, done);
        } else if let Some(v) = Vector::cut_short(slot, nr, args, done) {
            v.go_on(r);
        } else {
            return false;
        }
    }
    true
}

/// A thread that was running when it was looked at, and in a call when the signal came: libc loads the number right
/// before the instruction (`mov eax, imm32`, or the 64-bit form).
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

/// The number of the system call whose instruction is at `at`, if the bytes before load it.
///
/// # Safety
/// The registers are of a thread that is there, or behind it.
unsafe fn number_of(at: i64, r: &[i64; 23]) -> Option<i64> {
    // SAFETY: by the contract.
    if let Some(nr) = unsafe { crate::asm::number_at(at, r[reg(libc::REG_RSP)]) } {
        return Some(nr);
    }
    // Of the page before it nobody knows whether it is there.
    let bytes = match at & 0xfff {
        // SAFETY: the bytes lie in one page, that of the program counter.
        8..0xfff => unsafe { ((at - 7) as *const [u8; 9]).read_unaligned() },
        _ => read(at - 7)?,
    };
    let [.., a, b, c, d, e, f] = bytes;
    let loads = bytes[2] == 0xb8 || bytes[..3] == [0x48, 0xc7, 0xc0];
    (loads && [e, f] == [0x0f, 0x05]).then(|| i32::from_le_bytes([a, b, c, d]).into())
}

fn read(at: i64) -> Option<[u8; 9]> {
    let mut bytes = [0u8; 9];
    let (local, remote) = ([bytes.as_mut_ptr() as usize, 9], [at as usize, 9]);
    let pid = ckpt_sys::calls::getpid() as usize;
    // SAFETY: iovecs of the buffer and of memory that the kernel checks.
    let n = unsafe { syscall6(libc::SYS_process_vm_readv, pid, local.as_ptr() as usize, 1, remote.as_ptr() as usize, 1, 0) };
    (n == Ok(9)).then_some(bytes)
}

/// A transfer on a blocking descriptor that natively ends only when all bytes have gone.
fn is_cut_short(slot: &Slot, nr: i64, args: &[u64; 6]) -> bool {
    let whole = match nr {
        libc::SYS_write | libc::SYS_pwrite64 => true,
        libc::SYS_sendto => args[3] & libc::MSG_DONTWAIT as u64 == 0,
        libc::SYS_recvfrom => args[3] & libc::MSG_WAITALL as u64 != 0 && args[3] & libc::MSG_PEEK as u64 == 0,
        _ => false,
    };
    whole && is_blocking(slot, args[0])
}

fn is_blocking(slot: &Slot, number: u64) -> bool {
    // SAFETY: numbers only.
    let flags = |fd: Fd| unsafe { syscall2(libc::SYS_fcntl, fd as usize, libc::F_GETFL as usize) };
    let asked = descriptors::with(slot.tid.load(Acquire), number as Fd, flags);
    asked.is_some_and(|flags| flags.is_ok_and(|flags| flags & libc::O_NONBLOCK as usize == 0))
}

/// A transfer of several pieces of memory (writev, sendmsg, ...) and the call that goes on with one of them.
struct Vector {
    pieces: *const [u64; 2],
    count: u64,
    call: i64,
    /// flags, or offset in the file
    extra: u64,
    done: i64,
}

impl Vector {
    /// `done`: what the call came back with.
    fn cut_short(slot: &Slot, nr: i64, args: &[u64; 6], done: i64) -> Option<Vector> {
        if done <= 0 {
            return None;
        }
        let new = |pieces: u64, count, call, extra| Vector { pieces: pieces as *const [u64; 2], count, call, extra, done };
        let has = |flag: i32| args[2] & flag as u64 != 0;
        let v = match nr {
            libc::SYS_writev => new(args[1], args[2], libc::SYS_write, 0),
            libc::SYS_pwritev2 if args[3] as i64 == -1 && args[5] == 0 => new(args[1], args[2], libc::SYS_write, 0),
            libc::SYS_pwritev => new(args[1], args[2], libc::SYS_pwrite64, args[3] + done as u64),
            libc::SYS_sendmsg if !has(libc::MSG_DONTWAIT) => Vector::of_message(args, libc::SYS_sendto, done),
            libc::SYS_recvmsg if has(libc::MSG_WAITALL) && !has(libc::MSG_PEEK) => Vector::of_message(args, libc::SYS_recvfrom, done),
            _ => return None,
        };
        // SAFETY: the kernel has read `count` pieces there.
        let pieces = unsafe { core::slice::from_raw_parts(v.pieces, v.count as usize) };
        let all = pieces.iter().map(|p| p[1]).sum::<u64>();
        (all > done as u64 && is_blocking(slot, args[0])).then_some(v)
    }

    fn of_message(args: &[u64; 6], call: i64, done: i64) -> Vector {
        // SAFETY: the kernel has read the message's header: msg_iov is its third word, msg_iovlen the fourth.
        let header = unsafe { (args[1] as *const [u64; 4]).read() };
        Vector { pieces: header[2] as *const [u64; 2], count: header[3], call, extra: args[2], done }
    }

    /// As `go_on`.
    ///
    /// # Safety
    /// The thread is parked; `r` are its registers.
    unsafe fn go_on(mut self, r: &mut [i64; 23]) {
        let mut first = self.done as u64;
        loop {
            // SAFETY: the pieces are those of `cut_short`, and fewer than all are done.
            let len = unsafe { (*self.pieces)[1] };
            if first < len {
                break;
            }
            first -= len;
            self.pieces = self.pieces.wrapping_add(1);
            self.count -= 1;
        }
        let now = |which: i32| r[reg(which)];
        let frame = [
            now(libc::REG_RIP), now(libc::REG_RSI), now(libc::REG_RDX), self.done, self.call, now(libc::REG_R10),
            self.pieces as i64, self.count as i64, first as i64, now(libc::REG_R8), now(libc::REG_R9), self.extra as i64,
        ];
        // SAFETY: below the red zone of the thread's stack, as in `go_on`.
        unsafe { ((r[reg(libc::REG_RSP)] - 256) as *mut [i64; 12]).write(frame) };
        r[reg(libc::REG_RSP)] -= 256;
        r[reg(libc::REG_RIP)] = crate::asm::finish_vector as *const () as i64;
    }
}

/// Has the thread finish the transfer, below its red zone, and come back with the whole count.
///
/// # Safety
/// The thread is parked; `r` are its registers.
unsafe fn go_on(r: &mut [i64; 23], nr: u64, done: i64) {
    let (rsi, rdx, r10) = (r[reg(libc::REG_RSI)], r[reg(libc::REG_RDX)], r[reg(libc::REG_R10)]);
    let stack = (r[reg(libc::REG_RSP)] - 256) as *mut i64;
    // SAFETY: the frame lies below; between it and the program's stack pointer the red zone (128 bytes) is kept
    // and the rest is nobody's.
    unsafe {
        for (i, word) in [r[reg(libc::REG_RIP)], rsi, rdx, done, nr as i64, r10].into_iter().enumerate() {
            stack.add(i).write(word);
        }
    }
    r[reg(libc::REG_RSP)] -= 256;
    r[reg(libc::REG_RSI)] = rsi + done;
    r[reg(libc::REG_RDX)] = rdx - done;
    if nr as i64 == libc::SYS_pwrite64 {
        r[reg(libc::REG_R10)] = r10 + done;
    }
    r[reg(libc::REG_RIP)] = crate::asm::finish_write as *const () as i64;
}

/// recvmmsg that our signal cut short. The kernel has left its own ERESTARTSYS in the socket for the next call
/// (net/socket.c, do_recvmmsg), which no program should ever see.
///
/// # Safety
/// As `go_on`.
unsafe fn more_messages(slot: &Slot, r: &mut [i64; 23], args: &[u64; 6], done: i64) {
    const MESSAGE: i64 = size_of::<libc::mmsghdr>() as i64;
    let at_once = args[3] & (libc::MSG_DONTWAIT | libc::MSG_WAITFORONE) as u64 != 0;
    if at_once || !is_blocking(slot, args[0]) {
        return;
    }
    let (mut error, mut len) = (0i32, 4u32);
    let (error, len) = (&raw mut error as usize, &raw mut len as usize);
    descriptors::with(slot.tid.load(Acquire), args[0] as Fd, |fd| {
        // SAFETY: room for an int and its length; reading the error takes it away.
        let _ = unsafe { syscall5(libc::SYS_getsockopt, fd as usize, libc::SOL_SOCKET as usize, libc::SO_ERROR as usize, error, len) };
    });
    if args[4] != 0 {
        // With a timeout it may end early.
        return;
    }
    // SAFETY: by the contract.
    unsafe { go_on(r, libc::SYS_recvmmsg as u64, done) };
    r[reg(libc::REG_RSI)] += done * (MESSAGE - 1);
    r[reg(libc::REG_RIP)] = crate::asm::finish_messages as *const () as i64;
}

/// Calls that nothing but a signal ends: one that came between the step back to the call and the call would be waited for
/// for ever. What `pause_again` made of one is repeated like other calls.
fn waits_for_signals(nr: i64, rip: i64) -> bool {
    matches!(nr, libc::SYS_pause | libc::SYS_rt_sigsuspend) && rip != crate::asm::paused as *const () as i64
}

/// The thread goes on with all signals blocked, and waits in a sigsuspend(2) of ours, which lets them in.
///
/// # Safety
/// As `go_on`; the kernel has read the arguments of call `nr`.
unsafe fn pause_again(slot: &Slot, nr: i64) {
    // SAFETY: by the contract; the kernel's sigset is the first 8 bytes of uc_sigmask.
    unsafe {
        let context = slot.frame.load(Acquire) as *mut libc::ucontext_t;
        let blocked = (&raw mut (*context).uc_sigmask).cast::<u64>();
        let r = regs(slot);
        let now = |which: i32| r[reg(which)];
        let after = *blocked as i64;
        let during = if nr == libc::SYS_pause { after } else { (now(libc::REG_RDI) as *const i64).read_unaligned() };
        let frame = [now(libc::REG_RIP), now(libc::REG_RDI), now(libc::REG_RSI), during, after, EINTR, now(libc::REG_RDX), now(libc::REG_R10)];
        ((r[reg(libc::REG_RSP)] - 256) as *mut [i64; 8]).write(frame);
        r[reg(libc::REG_RSP)] -= 256;
        r[reg(libc::REG_RIP)] = crate::asm::finish_pause as *const () as i64;
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
