//! prctl(PR_SET_SYSCALL_USER_DISPATCH) is not there, as in a kernel built without it: only a tracer can read back what was
//! asked for, and the program's own signal would come for every system call that a checkpoint makes.

use super::abi::{ask, hook};
use ckpt_sys::raw::{Errno, Result};
use core::ffi::c_int;

hook! {
    unchecked fn prctl(option: c_int, a: usize, b: usize, c: usize, d: usize) -> c_int, when is_missing(option) => prctl
}

pub fn is_missing(option: c_int) -> bool {
    const PR_SET_SYSCALL_USER_DISPATCH: c_int = 59;
    option == PR_SET_SYSCALL_USER_DISPATCH
}

/// To switch it off is no error.
pub fn prctl(option: c_int, a: usize, b: usize, c: usize, d: usize) -> Result<c_int> {
    const PR_SYS_DISPATCH_OFF: usize = 0;
    match a {
        PR_SYS_DISPATCH_OFF => ask!(libc::SYS_prctl, option, a, b, c, d).map(|done| done as c_int),
        _ => Err(Errno::INVAL),
    }
}
