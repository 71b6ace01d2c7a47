//! getpid(2), kill(2), setpgid(2) and their families, by system call.

use super::abi::{ask, hook, Plain};
use super::disposition::is_ours;
use crate::ids;
use ckpt_sys::idtable::{RealPid, VirtualPid};
use ckpt_sys::raw::{Errno, Result};
use core::ffi::{c_int, c_long, c_uint, c_ulong};
use libc::{id_t, iovec, pid_t, rlimit, siginfo_t, sigval};

hook! { fn getpid() -> pid_t => getpid }
hook! { unchecked fn __getpid() -> pid_t => getpid }
hook! { fn getppid() -> pid_t => getppid }
hook! { fn gettid() -> pid_t => gettid }
hook! { fn getpgid(pid: pid_t) -> pid_t => getpgid }
hook! { unchecked fn __getpgid(pid: pid_t) -> pid_t => getpgid }
hook! { fn getpgrp() -> pid_t => getpgrp }
hook! { fn getsid(pid: pid_t) -> pid_t => getsid }
hook! { fn setpgid(pid: pid_t, group: pid_t) -> c_int => setpgid }
hook! { unchecked fn __setpgid(pid: pid_t, group: pid_t) -> c_int => setpgid }
hook! { unchecked fn setpgrp() -> c_int => setpgrp }
hook! { fn setsid() -> pid_t => setsid }
hook! { fn kill(pid: pid_t, sig: c_int) -> c_int => kill }
hook! { unchecked fn __kill(pid: pid_t, sig: c_int) -> c_int => kill }
hook! { fn killpg(group: pid_t, sig: c_int) -> c_int => killpg }
hook! { unchecked fn tgkill(pid: pid_t, tid: pid_t, sig: c_int) -> c_int => tgkill }
hook! { fn raise(sig: c_int) -> c_int, when is_ours(sig) => raise }
hook! { unchecked fn gsignal(sig: c_int) -> c_int, when is_ours(sig) => raise }
hook! { unchecked fn sigqueue(pid: pid_t, sig: c_int, value: sigval) -> c_int => sigqueue }
hook! { unchecked fn getpriority(which: c_uint, who: id_t) -> c_int => getpriority }
hook! { unchecked fn setpriority(which: c_uint, who: id_t, value: c_int) -> c_int => setpriority }
hook! { unchecked fn prlimit(pid: pid_t, resource: c_uint, new: *const rlimit, old: *mut rlimit) -> c_int => prlimit }
hook! { unchecked fn prlimit64(pid: pid_t, resource: c_uint, new: *const rlimit, old: *mut rlimit) -> c_int => prlimit }
hook! { unchecked fn pidfd_open(pid: pid_t, flags: c_uint) -> c_int => pidfd_open }
hook! {
    fn process_vm_readv(pid: pid_t, local: *const iovec, n: c_ulong, remote: *const iovec, m: c_ulong, flags: c_ulong)
        -> isize => process_vm_readv
}
hook! {
    fn process_vm_writev(pid: pid_t, local: *const iovec, n: c_ulong, remote: *const iovec, m: c_ulong, flags: c_ulong)
        -> isize => process_vm_writev
}
hook! {
    unchecked fn ptrace(request: c_uint, pid: pid_t, address: usize, data: usize) -> c_long,
        when ids::active() => ptrace
}

/// For the kernel.
pub fn real(pid: pid_t) -> pid_t {
    ids::to_real(VirtualPid(pid)).0
}

/// For the program.
pub fn known(answer: Result<usize>) -> Result<pid_t> {
    answer.map(|pid| ids::to_virtual(RealPid(pid as pid_t)).0)
}

fn done(answer: Result<usize>) -> Result<c_int> {
    answer.map(|value| value as c_int)
}

pub fn getpid() -> Result<pid_t> {
    known(ask!(libc::SYS_getpid))
}

pub fn getppid() -> Result<pid_t> {
    let parent = ask!(libc::SYS_getppid)?;
    // The agent adopts orphans; to the program that is init.
    if crate::state::is_orphan(getpid()?, parent as pid_t) {
        return Ok(1);
    }
    let outer = crate::state::outer();
    if outer.agent != 0 && parent as pid_t == crate::state::agent_pid() {
        return Ok(outer.agent);
    }
    known(Ok(parent))
}

/// A process group: the one that the program was launched in has its own name.
pub fn known_group(answer: Result<usize>) -> Result<pid_t> {
    let outer = crate::state::outer();
    match answer {
        Ok(real) if outer.group != 0 && real as pid_t == outer.real_group => Ok(outer.group),
        other => known(other),
    }
}

/// A session, likewise.
pub fn known_session(answer: Result<usize>) -> Result<pid_t> {
    let outer = crate::state::outer();
    match answer {
        Ok(real) if outer.session != 0 && real as pid_t == outer.real_session => Ok(outer.session),
        other => known(other),
    }
}

pub fn gettid() -> Result<pid_t> {
    known(ask!(libc::SYS_gettid))
}

pub fn getpgid(pid: pid_t) -> Result<pid_t> {
    known_group(ask!(libc::SYS_getpgid, real(pid)))
}

pub fn getpgrp() -> Result<pid_t> {
    getpgid(0)
}

pub fn getsid(pid: pid_t) -> Result<pid_t> {
    known_session(ask!(libc::SYS_getsid, real(pid)))
}

pub fn setpgid(pid: pid_t, group: pid_t) -> Result<c_int> {
    let (pid, group) = (real(pid), real(group));
    match ask!(libc::SYS_setpgid, pid, group) {
        Err(Errno(libc::EACCES)) if ids::is_forked(RealPid(pid)) => crate::regroup::ask(pid, if group == 0 { pid } else { group }).map(|()| 0),
        answer => done(answer),
    }
}

fn setpgrp() -> Result<c_int> {
    setpgid(0, 0)
}

pub fn setsid() -> Result<pid_t> {
    known(ask!(libc::SYS_setsid))
}

pub fn kill(pid: pid_t, sig: c_int) -> Result<c_int> {
    if is_ours(sig) {
        return Ok(0);
    }
    done(ask!(libc::SYS_kill, real(pid), sig))
}

fn killpg(group: pid_t, sig: c_int) -> Result<c_int> {
    if group < 0 {
        return Err(Errno::INVAL);
    }
    kill(-group, sig)
}

pub fn tgkill(pid: pid_t, tid: pid_t, sig: c_int) -> Result<c_int> {
    if is_ours(sig) {
        return Ok(0);
    }
    done(ask!(libc::SYS_tgkill, real(pid), real(tid), sig))
}

pub fn tkill(tid: pid_t, sig: c_int) -> Result<c_int> {
    if is_ours(sig) {
        return Ok(0);
    }
    done(ask!(libc::SYS_tkill, real(tid), sig))
}

fn raise(_: c_int) -> Plain<c_int> {
    Plain(0)
}

fn sigqueue(pid: pid_t, sig: c_int, value: sigval) -> Result<c_int> {
    if is_ours(sig) {
        return Ok(0);
    }
    let info = Queued::new(sig, value.sival_ptr as usize)?;
    done(ask!(libc::SYS_rt_sigqueueinfo, real(pid), sig, &raw const info))
}

/// A siginfo_t as sigqueue(3) fills it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Queued {
    head: [c_int; 4],
    pub pid: pid_t,
    uid: u32,
    value: usize,
    rest: [u64; 12],
}

const _: () = assert!(size_of::<Queued>() == size_of::<siginfo_t>());

impl Queued {
    pub fn new(sig: c_int, value: usize) -> Result<Self> {
        let pid = ask!(libc::SYS_getpid)? as pid_t;
        let uid = ask!(libc::SYS_getuid)? as u32;
        Ok(Queued { head: [sig, 0, libc::SI_QUEUE, 0], pid, uid, value, rest: [0; 12] })
    }
}

/// The kernel answers 20 - nice, so that no answer looks like an error.
fn getpriority(which: c_uint, who: id_t) -> Result<c_int> {
    ask!(libc::SYS_getpriority, which, real_who(which, who)).map(|value| 20 - value as c_int)
}

fn setpriority(which: c_uint, who: id_t, value: c_int) -> Result<c_int> {
    done(ask!(libc::SYS_setpriority, which, real_who(which, who), value))
}

/// PRIO_PROCESS and PRIO_PGRP name pids, PRIO_USER does not.
pub fn real_who(which: c_uint, who: id_t) -> id_t {
    if which == libc::PRIO_PROCESS || which == libc::PRIO_PGRP {
        real(who as pid_t) as id_t
    } else {
        who
    }
}

fn prlimit(pid: pid_t, resource: c_uint, new: *const rlimit, old: *mut rlimit) -> Result<c_int> {
    done(ask!(libc::SYS_prlimit64, real(pid), resource, new, old))
}

fn pidfd_open(pid: pid_t, flags: c_uint) -> Result<c_int> {
    done(ask!(libc::SYS_pidfd_open, real(pid), flags))
}

fn process_vm_readv(
    pid: pid_t,
    local: *const iovec,
    n: c_ulong,
    remote: *const iovec,
    m: c_ulong,
    flags: c_ulong,
) -> Result<isize> {
    ask!(libc::SYS_process_vm_readv, real(pid), local, n, remote, m, flags).map(|n| n as isize)
}

fn process_vm_writev(
    pid: pid_t,
    local: *const iovec,
    n: c_ulong,
    remote: *const iovec,
    m: c_ulong,
    flags: c_ulong,
) -> Result<isize> {
    ask!(libc::SYS_process_vm_writev, real(pid), local, n, remote, m, flags).map(|n| n as isize)
}

fn ptrace(request: c_uint, pid: pid_t, address: usize, data: usize) -> Plain<c_long> {
    Plain(ptrace::next(request, real(pid), address, data))
}
