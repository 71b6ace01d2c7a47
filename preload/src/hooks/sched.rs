//! sched_setscheduler(2) and its family: a thread id each. And clock_getcpuclockid(3): a clock has its process's id in it.

use super::abi::{ask, hook, Plain};
use super::process::real;
use crate::ids;
use ckpt_sys::raw::Result;
use core::ffi::c_int;
use libc::{clockid_t, cpu_set_t, pid_t, sched_param, timespec};

hook! { fn sched_setscheduler(pid: pid_t, policy: c_int, param: *const sched_param) -> c_int => sched_setscheduler }
hook! { fn sched_getscheduler(pid: pid_t) -> c_int => sched_getscheduler }
hook! { fn sched_setparam(pid: pid_t, param: *const sched_param) -> c_int => sched_setparam }
hook! { fn sched_getparam(pid: pid_t, param: *mut sched_param) -> c_int => sched_getparam }
hook! { fn sched_rr_get_interval(pid: pid_t, interval: *mut timespec) -> c_int => sched_rr_get_interval }
hook! { fn sched_setaffinity(pid: pid_t, size: usize, set: *const cpu_set_t) -> c_int => sched_setaffinity }
hook! { fn sched_getaffinity(pid: pid_t, size: usize, set: *mut cpu_set_t) -> c_int => sched_getaffinity }
hook! {
    unchecked fn clock_getcpuclockid(pid: pid_t, clock: *mut clockid_t) -> c_int, when ids::active() => clock_getcpuclockid
}

fn clock_getcpuclockid(pid: pid_t, clock: *mut clockid_t) -> Plain<c_int> {
    Plain(clock_getcpuclockid::next(real(pid), clock))
}

fn done(answer: Result<usize>) -> Result<c_int> {
    answer.map(|value| value as c_int)
}

fn sched_setscheduler(pid: pid_t, policy: c_int, param: *const sched_param) -> Result<c_int> {
    done(ask!(libc::SYS_sched_setscheduler, real(pid), policy, param))
}

fn sched_getscheduler(pid: pid_t) -> Result<c_int> {
    done(ask!(libc::SYS_sched_getscheduler, real(pid)))
}

fn sched_setparam(pid: pid_t, param: *const sched_param) -> Result<c_int> {
    done(ask!(libc::SYS_sched_setparam, real(pid), param))
}

fn sched_getparam(pid: pid_t, param: *mut sched_param) -> Result<c_int> {
    done(ask!(libc::SYS_sched_getparam, real(pid), param))
}

fn sched_rr_get_interval(pid: pid_t, interval: *mut timespec) -> Result<c_int> {
    done(ask!(libc::SYS_sched_rr_get_interval, real(pid), interval))
}

fn sched_setaffinity(pid: pid_t, size: usize, set: *const cpu_set_t) -> Result<c_int> {
    done(ask!(libc::SYS_sched_setaffinity, real(pid), size, set))
}

fn sched_getaffinity(pid: pid_t, size: usize, set: *mut cpu_set_t) -> Result<c_int> {
    affinity(real(pid), size, set).map(|()| 0)
}

/// The kernel fills only its own size; libc promises zeros behind it.
pub fn affinity(tid: pid_t, size: usize, set: *mut cpu_set_t) -> Result<()> {
    let filled = ask!(libc::SYS_sched_getaffinity, tid, size.min(c_int::MAX as usize), set)?;
    for rest in filled..size {
        super::abi::store(set.cast::<u8>().wrapping_add(rest), 0);
    }
    Ok(())
}
