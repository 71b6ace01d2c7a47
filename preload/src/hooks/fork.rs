//! fork(2), vfork(2), clone(2): the parent learns the child's virtual pid.

use super::abi::{hook, load, store, Plain};
use super::thread;
use crate::ids;
use crate::state::restarts;
use ckpt_sys::idtable::RealPid;
use core::ffi::{c_int, c_void};
use libc::{pid_t, termios, winsize};

hook! { fn fork() -> pid_t, when ids::active() || crate::plugin::any() => fork }
hook! { unchecked fn __fork() -> pid_t, when ids::active() => fork }
hook! { unchecked fn _Fork() -> pid_t, when ids::active() => _fork }
hook! {
    unchecked fn forkpty(master: *mut c_int, name: *mut i8, settings: *const termios, size: *const winsize) -> pid_t,
        when ids::active() => forkpty
}
hook! {
    unchecked fn clone(entry: usize, stack: *mut c_void, flags: c_int, argument: *mut c_void, parent_tid: *mut pid_t,
                       tls: usize, child_tid: *mut pid_t) -> c_int, when ids::active() => clone
}

fn fork() -> Plain<pid_t> {
    let restarts = restarts();
    born(fork::next(), restarts)
}

fn _fork() -> Plain<pid_t> {
    let restarts = restarts();
    born(_Fork::next(), restarts)
}

fn forkpty(master: *mut c_int, name: *mut i8, settings: *const termios, size: *const winsize) -> Plain<pid_t> {
    let restarts = restarts();
    born(forkpty::next(master, name, settings, size), restarts)
}

/// In the child the kernel wrote the real tid into glibc's descriptor of the thread.
fn born(child: pid_t, restarts: u32) -> Plain<pid_t> {
    if child == 0 {
        if ids::active() {
            thread::name_self();
        }
        crate::plugin::forked();
    }
    Plain(parent_sees(child, restarts))
}

/// An error (-1) stays one.
pub extern "C" fn parent_sees(child: pid_t, restarts: u32) -> pid_t {
    if child > 0 {
        ids::of_child(RealPid(child), restarts).0
    } else {
        child
    }
}

fn clone(
    entry: usize,
    stack: *mut c_void,
    flags: c_int,
    argument: *mut c_void,
    parent_tid: *mut pid_t,
    tls: usize,
    child_tid: *mut pid_t,
) -> Plain<c_int> {
    let restarts = restarts();
    let child = clone::next(entry, stack, flags, argument, parent_tid, tls, child_tid);
    if child > 0 && flags & libc::CLONE_PARENT_SETTID != 0 && load(parent_tid.cast_const()) == Some(child) {
        store(parent_tid, parent_sees(child, restarts));
    }
    Plain(parent_sees(child, restarts))
}

/// The child borrows the parent's stack, so the return address is kept in a register, as in libc's own, and so is
/// the number of restarts. Only the parent's way back asks whether ids are virtual.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn vfork() -> pid_t {
    core::arch::naked_asm!(
        "pop rdi",
        "mov esi, dword ptr [rip + {control} + {restarts}]",
        "mov eax, 58",
        "syscall",
        "push rdi",
        "cmp rax, -4095",
        "jae {failed}",
        "mov edi, eax",
        "test eax, eax",
        "jnz {parent}",
        "ret",
        failed = sym vfork_failed,
        parent = sym parent_sees,
        control = sym crate::state::CONTROL,
        restarts = const core::mem::offset_of!(ckpt_sys::flat::Control, restarts),
    )
}

/// The name that glibc's own callers and old programs know vfork by.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn __vfork() -> pid_t {
    core::arch::naked_asm!("jmp {vfork}", vfork = sym vfork)
}

/// Entered by a jump, with the kernel's answer where a C function has its return value.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn vfork_failed() -> pid_t {
    core::arch::naked_asm!("mov edi, eax", "neg edi", "jmp {fail}", fail = sym fail)
}

extern "C" fn fail(code: c_int) -> pid_t {
    super::abi::set_errno(ckpt_sys::Errno(code));
    -1
}
