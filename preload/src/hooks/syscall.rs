//! syscall(2): the same functions as the hooks, for programs that name a call by its number.

use super::abi::{ask, kernel, load, set_errno};
use super::disposition::raw_action;
use super::process::{self, known, real, Queued};
use super::{accept, descriptor, exec, fork, prctl, siginfo, sigmask, thread, timer, wait};
use crate::ids;
use ckpt_sys::raw::Result;
use ckpt_sys::Errno;
use core::ffi::{c_int, c_long};
use libc::pid_t;

/// The numbers that `dispatch` wants to see.
const SEEN: [c_long; 58] = [
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getppid,
    libc::SYS_getpgrp,
    libc::SYS_getpgid,
    libc::SYS_getsid,
    libc::SYS_setsid,
    libc::SYS_setpgid,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_tgkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_fork,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_signalfd,
    libc::SYS_signalfd4,
    libc::SYS_ppoll,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_setparam,
    libc::SYS_sched_getparam,
    libc::SYS_sched_rr_get_interval,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setattr,
    libc::SYS_sched_getattr,
    libc::SYS_setpriority,
    libc::SYS_getpriority,
    libc::SYS_ioprio_set,
    libc::SYS_ioprio_get,
    libc::SYS_prlimit64,
    libc::SYS_pidfd_open,
    libc::SYS_kcmp,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_fcntl,
    libc::SYS_ioctl,
    libc::SYS_io_uring_setup,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_prctl,
    libc::SYS_seccomp,
    libc::SYS_rseq,
    libc::SYS_get_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_timer_create,
];

const LIMIT: usize = 512;

/// One bit per number, for the entry.
static SEEN_BITS: [u64; LIMIT / 64] = {
    let mut bits = [0; LIMIT / 64];
    let mut i = 0;
    while i < SEEN.len() {
        bits[SEEN[i] as usize / 64] |= 1 << (SEEN[i] % 64);
        i += 1;
    }
    bits
};

/// As libc's, unless the number is one of `SEEN`. A clone that shares memory or brings its own stack must not return
/// through a frame of ours: its child would run on it.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall() -> c_long {
    core::arch::naked_asm!(
        "cmp rdi, 512",
        "jae 3f",
        "lea rax, [rip + {seen}]",
        "bt [rax], rdi",
        "jnc 3f",
        "cmp rdi, 56", // clone(flags, stack, ...)
        "jne 2f",
        "test rdx, rdx",
        "jnz 3f",
        "test esi, 0x100",
        "jnz 3f",
        "jmp {dispatch}",
        "2: cmp rdi, 435", // clone3(arguments: flags first, stack at 40)
        "jne {dispatch}",
        "test rsi, rsi",
        "jz 3f",
        "cmp rdx, 64",
        "jb 3f",
        "test dword ptr [rsi], 0x100",
        "jnz 3f",
        "cmp qword ptr [rsi + 40], 0",
        "jne 3f",
        "jmp {dispatch}",
        "3: mov [rsp - 8], rdi", // asm::number_at
        "mov rax, rdi",
        "mov rdi, rsi",
        "mov rsi, rdx",
        "mov rdx, rcx",
        "mov r10, r8",
        "mov r8, r9",
        "mov r9, [rsp + 8]",
        ".globl ckpt_syscall_at",
        ".hidden ckpt_syscall_at",
        "ckpt_syscall_at: syscall",
        "cmp rax, -4095",
        "jae {failed}",
        "ret",
        seen = sym SEEN_BITS,
        dispatch = sym dispatch,
        failed = sym failed,
    )
}

/// Entered by a jump, the kernel's answer in the register of a C function's return value.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn failed() -> c_long {
    core::arch::naked_asm!("mov edi, eax", "neg edi", "jmp {fail}", fail = sym fail)
}

extern "C" fn fail(code: c_int) -> c_long {
    set_errno(Errno(code));
    -1
}

extern "C" fn dispatch(n: c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> c_long {
    answer(n, [a, b, c, d, e, f]).unwrap_or_else(|e| fail(e.0) as usize) as c_long
}

fn answer(n: c_long, a: [usize; 6]) -> Result<usize> {
    let id = |i: usize| a[i] as pid_t;
    let int = |i: usize| a[i] as c_int;
    match n {
        libc::SYS_getpid | libc::SYS_gettid | libc::SYS_setsid | libc::SYS_set_tid_address => pid(known(kernel(n, a))),
        libc::SYS_getppid => pid(process::getppid()),
        libc::SYS_getpgrp => pid(process::known_group(kernel(n, a))),
        libc::SYS_getpgid => pid(process::known_group(with_real(n, a, [0]))),
        libc::SYS_getsid => pid(process::known_session(with_real(n, a, [0]))),
        libc::SYS_kill => pid(process::kill(id(0), int(1))),
        libc::SYS_tkill => pid(process::tkill(id(0), int(1))),
        libc::SYS_tgkill => pid(process::tgkill(id(0), id(1), int(2))),
        libc::SYS_rt_sigqueueinfo => queue(n, a, [0], int(1), 2),
        libc::SYS_rt_tgsigqueueinfo => queue(n, a, [0, 1], int(2), 3),
        libc::SYS_wait4 => pid(known(with_real(n, a, [0]))),
        libc::SYS_waitid => waitid(a),
        libc::SYS_fork | libc::SYS_clone => born(|| kernel(n, a)),
        libc::SYS_clone3 => clone3(n, a),
        libc::SYS_execve => pid(exec::execve(a[0] as *const _, a[1] as *const _, a[2] as *const _)),
        libc::SYS_execveat => pid(exec::execveat(int(0), a[1] as *const _, a[2] as *const _, a[3] as *const _, int(4))),
        libc::SYS_fcntl => fcntl(a),
        libc::SYS_ioctl if ids::active() => pid(descriptor::translated_ioctl(int(0), a[1] as _, a[2])),
        libc::SYS_setpriority | libc::SYS_getpriority => {
            kernel(n, [a[0], process::real_who(a[0] as _, a[1] as _) as usize, a[2], 0, 0, 0])
        }
        libc::SYS_ioprio_set | libc::SYS_ioprio_get => ioprio(n, a),
        libc::SYS_kcmp => with_real(n, a, [0, 1]),
        libc::SYS_setpgid => pid(process::setpgid(id(0), id(1))),
        libc::SYS_ioctl => kernel(n, a),
        libc::SYS_io_uring_setup => Err(Errno(libc::ENOSYS)),
        libc::SYS_prctl if prctl::is_seen(int(0)) => pid(prctl::prctl(int(0), a[1], a[2], a[3], a[4])),
        libc::SYS_prctl => kernel(n, a),
        libc::SYS_seccomp => prctl::seccomp(a[0], a[1], a[2]),
        libc::SYS_accept | libc::SYS_accept4 => accept::by_number(n, a),
        libc::SYS_timer_create => timer::by_number(n, a),
        libc::SYS_rseq => kernel(n, a).inspect(|_| crate::rseq::noted(a[0], a[1], a[2], a[3])),
        _ => signals(n, a),
    }
}

/// The calls with a signal mask, and those whose first argument is the only id.
fn signals(n: c_long, a: [usize; 6]) -> Result<usize> {
    match n {
        libc::SYS_rt_sigaction => raw_action(a[0] as c_int, a[1], a[2], a[3]),
        libc::SYS_rt_sigprocmask => sigmask::raw_change_mask(a[0] as c_int, a[1] as *const _, a[2] as *mut _, a[3]),
        libc::SYS_rt_sigsuspend => with_mask(n, a, 0),
        libc::SYS_rt_sigtimedwait => {
            let taken = with_mask(n, a, 0)?;
            siginfo::translate(a[1] as *mut _);
            Ok(taken)
        }
        libc::SYS_signalfd | libc::SYS_signalfd4 => with_mask(n, a, 1),
        libc::SYS_ppoll => with_mask(n, a, 3),
        libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2 => with_mask(n, a, 4),
        _ => with_real(n, a, [0]),
    }
}

fn pid(answer: Result<c_int>) -> Result<usize> {
    answer.map(|value| value as isize as usize)
}

fn with_real<const N: usize>(n: c_long, mut a: [usize; 6], ids: [usize; N]) -> Result<usize> {
    for i in ids {
        a[i] = real(a[i] as pid_t) as isize as usize;
    }
    kernel(n, a)
}

fn with_mask(n: c_long, mut a: [usize; 6], mask: usize) -> Result<usize> {
    let mut word = 0;
    if let Some(stripped) = load(a[mask] as *const u64).and_then(sigmask::stripped) {
        word = stripped;
        a[mask] = &raw const word as usize;
    }
    let outcome = kernel(n, a);
    core::hint::black_box(&word);
    outcome
}

fn born(make: impl FnOnce() -> Result<usize>) -> Result<usize> {
    let restarts = crate::state::restarts();
    let child = make();
    if child == Ok(0) && ids::active() {
        thread::name_self();
    }
    child.map(|pid| fork::parent_sees(pid as pid_t, restarts) as usize)
}

/// A child with all handlers cleared gets ours back.
fn clone3(n: c_long, a: [usize; 6]) -> Result<usize> {
    const CLONE_CLEAR_SIGHAND: u64 = 1 << 32;
    let flags = load(a[0] as *const u64).unwrap_or(0);
    born(|| {
        let child = kernel(n, a);
        if child == Ok(0) && flags & CLONE_CLEAR_SIGHAND != 0 {
            let _ = crate::handler::install(crate::state::ckpt_signal());
        }
        child
    })
}

fn waitid(a: [usize; 6]) -> Result<usize> {
    let id = wait::real_id(a[0] as _, a[1] as _) as usize;
    let done = kernel(libc::SYS_waitid, [a[0], id, a[2], a[3], a[4], 0])?;
    wait::child_info(a[2] as *mut _);
    Ok(done)
}

/// The sender says who it is: to the kernel, by its own name.
fn queue<const N: usize>(n: c_long, mut a: [usize; 6], ids: [usize; N], sig: c_int, info: usize) -> Result<usize> {
    if super::disposition::is_ours(sig) {
        return Ok(0);
    }
    for i in ids {
        a[i] = real(a[i] as pid_t) as usize;
    }
    let Some(mut copy) = load(a[info] as *const Queued).filter(|_| ids::active()) else {
        return kernel(n, a);
    };
    copy.pid = real(copy.pid);
    a[info] = &raw const copy as usize;
    let outcome = kernel(n, a);
    core::hint::black_box(&copy);
    outcome
}

fn fcntl(a: [usize; 6]) -> Result<usize> {
    if a[1] as c_int == libc::F_NOTIFY {
        return Err(Errno::INVAL);
    }
    if !ids::active() {
        return kernel(libc::SYS_fcntl, a);
    }
    let mut outcome = Err(Errno::INVAL);
    let value = descriptor::with_real_owner(a[1] as c_int, a[2], |argument| {
        outcome = ask!(libc::SYS_fcntl, a[0], a[1], argument);
        outcome.map_or(-1, |value| value as c_int)
    });
    outcome.and(pid(Ok(value)))
}

/// IOPRIO_WHO_PROCESS and IOPRIO_WHO_PGRP name pids.
fn ioprio(n: c_long, a: [usize; 6]) -> Result<usize> {
    if matches!(a[0], 1 | 2) {
        with_real(n, a, [1])
    } else {
        kernel(n, a)
    }
}
