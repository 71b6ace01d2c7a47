//! wait(2), wait4(2): virtual pids in and out. Cancellation points, so libc's own functions make the calls.

use super::abi::{hook, load, Plain};
use super::siginfo;
use crate::ids;
use crate::state::restarts;
use ckpt_sys::idtable::{RealPid, VirtualPid};
use core::ffi::c_int;
use libc::{id_t, idtype_t, pid_t, rusage, siginfo_t};

hook! { fn wait(status: *mut c_int) -> pid_t => wait }
hook! { unchecked fn __wait(status: *mut c_int) -> pid_t => wait }
hook! { fn waitpid(pid: pid_t, status: *mut c_int, options: c_int) -> pid_t => waitpid }
hook! { unchecked fn __waitpid(pid: pid_t, status: *mut c_int, options: c_int) -> pid_t => waitpid }
hook! {
    unchecked fn wait3(status: *mut c_int, options: c_int, usage: *mut rusage) -> pid_t => wait3
}
hook! {
    fn wait4(pid: pid_t, status: *mut c_int, options: c_int, usage: *mut rusage) -> pid_t => wait4
}
hook! {
    fn waitid(kind: idtype_t, id: id_t, info: *mut siginfo_t, options: c_int) -> c_int => waitid
}

/// The kernel may have answered before a restart, with the id that the child had then.
fn child(call: impl FnOnce() -> pid_t) -> Plain<pid_t> {
    let before = restarts();
    let pid = call();
    Plain(if pid > 0 { ids::of_child(RealPid(pid), before).0 } else { pid })
}

fn real(pid: pid_t) -> pid_t {
    ids::to_real(VirtualPid(pid)).0
}

fn wait(status: *mut c_int) -> Plain<pid_t> {
    child(|| wait::next(status))
}

fn waitpid(pid: pid_t, status: *mut c_int, options: c_int) -> Plain<pid_t> {
    child(|| waitpid::next(real(pid), status, options))
}

fn wait3(status: *mut c_int, options: c_int, usage: *mut rusage) -> Plain<pid_t> {
    child(|| wait3::next(status, options, usage))
}

fn wait4(pid: pid_t, status: *mut c_int, options: c_int, usage: *mut rusage) -> Plain<pid_t> {
    child(|| wait4::next(real(pid), status, options, usage))
}

/// The id that the kernel shall get: only pids and groups are ids of ours, a pidfd is not.
pub fn real_id(kind: idtype_t, id: id_t) -> id_t {
    if kind == libc::P_PID || kind == libc::P_PGID {
        real(id as pid_t) as id_t
    } else {
        id
    }
}

fn waitid(kind: idtype_t, id: id_t, info: *mut siginfo_t, options: c_int) -> Plain<c_int> {
    let result = waitid::next(kind, real_id(kind, id), info, options);
    if result == 0 {
        child_info(info);
    }
    Plain(result)
}

/// With WNOHANG and no child the kernel leaves signo 0.
pub fn child_info(info: *mut siginfo_t) {
    if load(info.cast_const().cast::<c_int>()) == Some(libc::SIGCHLD) {
        siginfo::translate(info);
    }
}
