//! pthread_kill(3) and what else glibc does with the tid in a thread's descriptor. That tid stays the virtual one
//! (mutexes own by it), so libc's own functions would hand it to the kernel.

use super::abi::{ask, bytes, hook, load, store, Code, Plain};
use super::disposition::is_ours;
use super::process::{real, Queued};
use super::sched;
use crate::ids;
use ckpt_sys::calls;
use ckpt_sys::idtable::RealPid;
use ckpt_sys::raw::{Errno, Result};
use core::ffi::{c_char, c_int, c_void, CStr};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use libc::{clockid_t, cpu_set_t, pid_t, pthread_attr_t, pthread_t, sched_param, sigval};

type Start = extern "C" fn(*mut c_void) -> *mut c_void;

hook! { fn pthread_kill(thread: pthread_t, sig: c_int) -> c_int, when ids::active() || is_ours(sig) => pthread_kill }
hook! {
    unchecked fn pthread_sigqueue(thread: pthread_t, sig: c_int, value: sigval) -> c_int,
        when ids::active() || is_ours(sig) => pthread_sigqueue
}
hook! { fn pthread_cancel(thread: pthread_t) -> c_int, when ids::active() => pthread_cancel }
hook! {
    unchecked fn pthread_create(thread: *mut pthread_t, attributes: *const pthread_attr_t, start: Start,
                                argument: *mut c_void) -> c_int, when ids::active() => pthread_create
}
hook! {
    unchecked fn pthread_setaffinity_np(thread: pthread_t, size: usize, set: *const cpu_set_t) -> c_int,
        when ids::active() => pthread_setaffinity_np
}
hook! {
    unchecked fn pthread_getaffinity_np(thread: pthread_t, size: usize, set: *mut cpu_set_t) -> c_int,
        when ids::active() => pthread_getaffinity_np
}
hook! {
    fn pthread_setschedparam(thread: pthread_t, policy: c_int, param: *const sched_param) -> c_int,
        when ids::active() => pthread_setschedparam
}
hook! {
    fn pthread_getschedparam(thread: pthread_t, policy: *mut c_int, param: *mut sched_param) -> c_int,
        when ids::active() => pthread_getschedparam
}
hook! {
    fn pthread_setschedprio(thread: pthread_t, priority: c_int) -> c_int, when ids::active() => pthread_setschedprio
}
hook! {
    fn pthread_setname_np(thread: pthread_t, name: *const c_char) -> c_int, when ids::active() => pthread_setname_np
}
hook! {
    fn pthread_getname_np(thread: pthread_t, name: *mut c_char, size: usize) -> c_int,
        when ids::active() => pthread_getname_np
}
hook! {
    fn pthread_getcpuclockid(thread: pthread_t, clock: *mut clockid_t) -> c_int,
        when ids::active() => pthread_getcpuclockid
}
hook! {
    fn pthread_getattr_np(thread: pthread_t, attributes: *mut pthread_attr_t) -> c_int,
        when ids::active() => pthread_getattr_np
}

/// glibc 2.36 on x86-64, where the kernel cannot be asked.
const USUAL_TID_OFFSET: usize = 0x2d0;

/// Where `struct pthread` keeps the tid: the kernel knows the word that it clears at the thread's end.
fn tid_offset() -> usize {
    static OFFSET: AtomicUsize = AtomicUsize::new(0);
    const PR_GET_TID_ADDRESS: c_int = 40;
    const LARGEST: usize = 0x1000;
    let known = OFFSET.load(Relaxed);
    if known != 0 {
        return known;
    }
    let mut word = 0usize;
    let asked = ask!(libc::SYS_prctl, PR_GET_TID_ADDRESS, &raw mut word);
    let offset = word.wrapping_sub(own_descriptor());
    let offset = if asked.is_ok() && offset < LARGEST { offset } else { USUAL_TID_OFFSET };
    OFFSET.store(offset, Relaxed);
    offset
}

/// `pthread_self()`: the descriptor's first words point to itself.
#[cfg(target_arch = "x86_64")]
pub fn own_descriptor() -> usize {
    let own: usize;
    // SAFETY: reads one word of the thread control block, whose layout is part of the ABI.
    unsafe { core::arch::asm!("mov {}, fs:[0x10]", out(reg) own, options(nostack, readonly, preserves_flags)) };
    own
}

fn tid_word(thread: pthread_t) -> *mut pid_t {
    (thread as usize + tid_offset()) as *mut pid_t
}

/// The kernel's id of a thread; ESRCH when it has ended.
fn real_tid(thread: pthread_t) -> Result<pid_t> {
    match load(tid_word(thread).cast_const()) {
        Some(tid) if tid > 0 => Ok(real(tid)),
        _ => Err(Errno::SRCH),
    }
}

/// Writes the calling thread's virtual tid into its descriptor: a new thread or a forked child has the kernel's.
pub fn name_self() {
    let tid = calls::gettid();
    let name = ids::to_virtual(RealPid(tid)).0;
    if name != tid {
        store(tid_word(own_descriptor() as pthread_t), name);
    }
}

/// To a thread that has ended nothing is sent, and that is no error (POSIX, glibc from 2.34).
fn signal(thread: pthread_t, sig: c_int, send: impl FnOnce(pid_t, pid_t) -> Result<usize>) -> Result<()> {
    const GLIBC: [c_int; 2] = [32, 33];
    if GLIBC.contains(&sig) {
        return Err(Errno::INVAL);
    }
    if is_ours(sig) {
        return Ok(());
    }
    match real_tid(thread).and_then(|tid| send(calls::getpid(), tid)) {
        Err(Errno::SRCH) => Ok(()),
        outcome => outcome.map(drop),
    }
}

fn pthread_kill(thread: pthread_t, sig: c_int) -> Code {
    Code(signal(thread, sig, |pid, tid| ask!(libc::SYS_tgkill, pid, tid, sig)))
}

fn pthread_sigqueue(thread: pthread_t, sig: c_int, value: sigval) -> Code {
    Code(signal(thread, sig, |pid, tid| {
        let info = Queued::new(sig, value.sival_ptr as usize)?;
        ask!(libc::SYS_rt_tgsigqueueinfo, pid, tid, sig, &raw const info)
    }))
}

const SIGCANCEL: c_int = 32;

/// glibc marks the thread, then signals the virtual tid, for nothing; its handler acts on the mark.
fn pthread_cancel(thread: pthread_t) -> Plain<c_int> {
    let code = pthread_cancel::next(thread);
    if thread as usize == own_descriptor() {
        return Plain(code);
    }
    let sent = real_tid(thread).map(|tid| ask!(libc::SYS_tgkill, calls::getpid(), tid, SIGCANCEL));
    Plain(if sent.is_ok_and(|sent| sent.is_ok()) { 0 } else { code })
}

/// What a thread of the program's is to run, handed over in a page of its own.
#[repr(C)]
#[derive(Clone, Copy)]
struct Work {
    start: Start,
    argument: *mut c_void,
}

fn pthread_create(
    thread: *mut pthread_t,
    attributes: *const pthread_attr_t,
    start: Start,
    argument: *mut c_void,
) -> Plain<c_int> {
    let Ok(page) = calls::map_anon(size_of::<Work>()) else {
        return Plain(libc::EAGAIN);
    };
    store(page.cast(), Work { start, argument });
    // SAFETY: naked code with the signature of a start routine.
    let named = unsafe { core::mem::transmute::<unsafe extern "C" fn(), Start>(start_named) };
    let code = pthread_create::next(thread, attributes, named, page.cast());
    if code != 0 {
        // SAFETY: no thread was made that could use the page.
        let _ = unsafe { calls::munmap(page as usize, size_of::<Work>()) };
    }
    Plain(code)
}

/// Jumps to the program's function, so that unwinding (pthread_exit) sees no frame of ours.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn start_named() {
    core::arch::naked_asm!(
        "sub rsp, 8",
        "call {take}",
        "add rsp, 8",
        "mov rdi, rdx",
        "jmp rax",
        take = sym take_work,
    )
}

extern "C" fn take_work(page: *mut Work) -> Work {
    // SAFETY: `pthread_create` wrote it.
    let work = unsafe { *page };
    // SAFETY: the page belongs to this thread alone.
    let _ = unsafe { calls::munmap(page as usize, size_of::<Work>()) };
    name_self();
    work
}

fn pthread_setaffinity_np(thread: pthread_t, size: usize, set: *const cpu_set_t) -> Code {
    Code(real_tid(thread).and_then(|tid| ask!(libc::SYS_sched_setaffinity, tid, size, set)).map(drop))
}

fn pthread_getaffinity_np(thread: pthread_t, size: usize, set: *mut cpu_set_t) -> Code {
    Code(real_tid(thread).and_then(|tid| sched::affinity(tid, size, set)))
}

fn pthread_setschedparam(thread: pthread_t, policy: c_int, param: *const sched_param) -> Code {
    Code(real_tid(thread).and_then(|tid| ask!(libc::SYS_sched_setscheduler, tid, policy, param)).map(drop))
}

fn pthread_getschedparam(thread: pthread_t, policy: *mut c_int, param: *mut sched_param) -> Code {
    Code(real_tid(thread).and_then(|tid| {
        ask!(libc::SYS_sched_getparam, tid, param)?;
        store(policy, ask!(libc::SYS_sched_getscheduler, tid)? as c_int);
        Ok(())
    }))
}

fn pthread_setschedprio(thread: pthread_t, priority: c_int) -> Code {
    Code(real_tid(thread).and_then(|tid| ask!(libc::SYS_sched_setparam, tid, &raw const priority)).map(drop))
}

/// TASK_COMM_LEN of the kernel, NUL included.
const NAME: usize = 16;

/// `/proc/self/task/TID/comm`, opened.
fn open_name(tid: pid_t, flags: c_int) -> Result<calls::Fd> {
    let mut path = [0u8; 48];
    let mut at = 0;
    let mut digits = [0u8; super::proc_paths::DIGITS];
    for part in [&b"/proc/self/task/"[..], super::proc_paths::decimal(tid, &mut digits), b"/comm"] {
        for &byte in part {
            if let Some(slot) = path.get_mut(at) {
                *slot = byte;
            }
            at += 1;
        }
    }
    let path = CStr::from_bytes_until_nul(&path).map_err(|_| Errno::INVAL)?;
    calls::open(path, flags | libc::O_CLOEXEC)
}

fn pthread_setname_np(thread: pthread_t, name: *const c_char) -> Code {
    let name = bytes(name);
    if name.len() >= NAME {
        return Code(Err(Errno(libc::ERANGE)));
    }
    Code(real_tid(thread).and_then(|tid| open_name(tid, libc::O_RDWR)).and_then(|fd| {
        let written = calls::write(fd, name);
        calls::close(fd);
        written.map(drop)
    }))
}

fn pthread_getname_np(thread: pthread_t, name: *mut c_char, size: usize) -> Code {
    if size < NAME {
        return Code(Err(Errno(libc::ERANGE)));
    }
    let mut text = [0u8; NAME];
    let read = real_tid(thread).and_then(|tid| open_name(tid, libc::O_RDONLY)).and_then(|fd| {
        let read = calls::read(fd, &mut text);
        calls::close(fd);
        read
    });
    Code(read.map(|_| {
        let end = text.iter().position(|&b| b == b'\n').unwrap_or(NAME - 1);
        for (i, &byte) in text.iter().take(end).chain(&[0]).enumerate() {
            store(name.wrapping_add(i), byte as c_char);
        }
    }))
}

/// The clock id of a thread's CPU time (include/linux/posix-timers.h).
fn pthread_getcpuclockid(thread: pthread_t, clock: *mut clockid_t) -> Code {
    const PER_THREAD_SCHED: clockid_t = 4 | 2;
    Code(real_tid(thread).map(|tid| store(clock, (!tid << 3) | PER_THREAD_SCHED)))
}

/// glibc fills most of the answer from the descriptor and asks the kernel, by tid, for the affinity. It gets a copy
/// of the descriptor with the kernel's tid.
fn pthread_getattr_np(thread: pthread_t, attributes: *mut pthread_attr_t) -> Plain<c_int> {
    const LARGEST: usize = 4096;
    static SIZE: super::abi::Next = super::abi::Next::new("_thread_db_sizeof_pthread\0");
    let Ok(tid) = real_tid(thread) else {
        return Plain(libc::ESRCH);
    };
    let size = load(SIZE.address().cast_const().cast::<u32>()).unwrap_or(0) as usize;
    if load(tid_word(thread).cast_const()) == Some(tid) || size < tid_offset() + 4 || size > LARGEST {
        return Plain(pthread_getattr_np::next(thread, attributes));
    }
    let mut copy = [0u64; LARGEST / 8];
    // SAFETY: `size` is what libc says of its descriptors, at most the copy's; the thread is alive (it has a tid).
    unsafe { core::ptr::copy_nonoverlapping(thread as *const u8, copy.as_mut_ptr().cast(), size) };
    let twin = copy.as_mut_ptr() as pthread_t;
    store(tid_word(twin), tid);
    Plain(pthread_getattr_np::next(twin, attributes))
}
