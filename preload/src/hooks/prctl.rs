//! prctl(2), for two options and nothing else.
//!
//! PR_SET_SECCOMP: a filter cannot be read back, so it is noted (`filters`).
//!
//! PR_SET_SYSCALL_USER_DISPATCH is not there, as in a kernel built without it: only a tracer can read back what was
//! asked for, and the program's own signal would come for every system call that a checkpoint makes.

use super::abi::{ask, hook};
use crate::filters;
use ckpt_sys::raw::{Errno, Result};
use ckpt_sys::seccomp;
use core::ffi::c_int;

hook! {
    unchecked fn prctl(option: c_int, a: usize, b: usize, c: usize, d: usize) -> c_int, when is_seen(option) => prctl
}

const PR_SET_SYSCALL_USER_DISPATCH: c_int = 59;

pub fn is_seen(option: c_int) -> bool {
    matches!(option, libc::PR_SET_SECCOMP | PR_SET_SYSCALL_USER_DISPATCH)
}

pub fn prctl(option: c_int, a: usize, b: usize, c: usize, d: usize) -> Result<c_int> {
    const PR_SYS_DISPATCH_OFF: usize = 0;
    let ask = || ask!(libc::SYS_prctl, option, a, b, c, d);
    match (option, a) {
        (libc::PR_SET_SECCOMP, FILTER) => filters::set(libc::SYS_prctl, 0, b as *const _, ask),
        // To switch it off is no error.
        (libc::PR_SET_SECCOMP, _) | (_, PR_SYS_DISPATCH_OFF) => ask(),
        _ => Err(Errno::INVAL),
    }
    .map(|done| done as c_int)
}

const FILTER: usize = libc::SECCOMP_MODE_FILTER as usize;

/// seccomp(2), which libc has no function for.
pub fn seccomp(operation: usize, flags: usize, program: usize) -> Result<usize> {
    let ask = || ask!(libc::SYS_seccomp, operation, flags, program);
    if operation == seccomp::SET_MODE_FILTER as usize {
        filters::set(libc::SYS_seccomp, flags as u32, program as *const _, ask)
    } else {
        ask()
    }
}
