//! How processes keep their ids: which way is open here is found by trying it.

use crate::clocks;
use crate::image_set::Member;
use crate::options::IdsOption;
use ckpt_agent::table::Table;
use ckpt_sys::flat::plan::Renamed;
use ckpt_sys::idtable::{IdTable, RealPid, VirtualPid};
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ids {
    Exact,
    Virtual,
    Namespace,
}

/// The ids that the program knows, by those that the kernel had for them at the checkpoint.
pub struct Known(HashMap<i32, i32>);

impl Known {
    pub fn new(members: &[Member]) -> Known {
        Known(members.iter().flat_map(|m| m.meta.ids.iter().copied()).collect())
    }

    pub fn list(&self) -> Vec<Renamed> {
        self.0.iter().map(|(&then, &program)| Renamed { then, program }).collect()
    }

    /// 0 and negative numbers stay what they are.
    pub fn program_id(&self, then: i32) -> i32 {
        self.0.get(&then).copied().unwrap_or(then)
    }
}

/// Every pid and tid that the program knows, and the groups and sessions of leaders that are gone.
pub fn wanted(members: &[Member], known: &Known) -> Vec<i32> {
    let mut all = Vec::new();
    for m in members {
        let outer = [m.meta.agent.pgid, m.meta.agent.sid];
        for p in &m.meta.processes {
            let own = [p.pgid, p.sid].into_iter().filter(|&id| id > 0 && !outer.contains(&id));
            all.extend(std::iter::once(p.pid).chain(own).map(|id| known.program_id(id)));
            all.extend(p.body.iter().flat_map(|b| b.threads.iter().map(|t| known.program_id(t.0.tid))));
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// The table that the restarted processes share: a memfd, and where it is mapped here.
pub struct SharedIds {
    pub fd: OwnedFd,
    pub table: &'static IdTable,
}

impl SharedIds {
    pub fn new() -> io::Result<SharedIds> {
        let new = Table::new(c"ckpt-ids")?;
        let table = new.map()?;
        Ok(SharedIds { fd: new.0, table })
    }

    pub fn pair(&self, program_id: i32, real: i32) -> io::Result<()> {
        if program_id <= 0 || program_id == real {
            return Ok(());
        }
        self.table.insert(VirtualPid(program_id), RealPid(real)).map_err(|_| io::Error::other("the table of ids is full"))
    }
}

/// Decides; Err says why the way that was asked for is not open.
///
/// `time`: offsets of the time namespace that the program needs.
pub fn decide(option: IdsOption, members: &[Member], known: &Known, time: Option<[i64; 2]>) -> Result<Ids, String> {
    let wanted = wanted(members, known);
    match option {
        IdsOption::Exact => exact(&wanted).map(|()| Ids::Exact),
        IdsOption::Namespace => Ok(Ids::Namespace),
        IdsOption::Virtual => Ok(Ids::Virtual),
        IdsOption::Auto => Ok(match exact(&wanted) {
            Ok(()) if time.is_none_or(clocks::may_enter) => Ids::Exact,
            _ if namespaces_work() => Ids::Namespace,
            Ok(()) => Ids::Exact,
            Err(_) => Ids::Virtual,
        }),
    }
}

fn exact(wanted: &[i32]) -> Result<(), String> {
    if let Some(taken) = wanted.iter().find(|&&id| is_taken(id)) {
        return Err(format!("id {taken} is in use by another process; wait until it has ended, or give --ids virtual"));
    }
    match wanted.first().map(|&id| probe(id)) {
        Some(Err(e)) => Err(format!("the kernel does not let this user choose process ids ({e}); give --ids virtual or namespace")),
        _ => Ok(()),
    }
}

fn is_taken(id: i32) -> bool {
    // A tid answers to kill(2) as well as a pid; groups and sessions too keep a number busy.
    // SAFETY: signal 0 only asks.
    let answers = |id: i32| unsafe { libc::kill(id, 0) } == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM);
    answers(id) || id > 1 && answers(-id)
}

/// clone3 with set_tid, tried: the child ends at once.
fn probe(id: i32) -> io::Result<()> {
    match clone_with_pid(Some(id))? {
        0 => {
            // SAFETY: the child of the probe ends here.
            unsafe { libc::_exit(0) }
        }
        pid => {
            let mut status = 0;
            // SAFETY: status is an int.
            unsafe { libc::waitpid(pid, &mut status, 0) };
            if pid == id { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
        }
    }
}

/// fork(2) for a process of ours: the kernel's next id may be one that the program is about to get back.
pub fn clone_elsewhere(wanted: &[i32]) -> io::Result<i32> {
    const TRIES: usize = 10_000;
    // SAFETY: only asks.
    let own = unsafe { libc::getpid() };
    for id in (own + 1..).filter(|id| !wanted.contains(id)).take(TRIES) {
        match clone_with_pid(Some(id)) {
            Err(e) if e.raw_os_error() == Some(libc::EEXIST) => {}
            // beyond pid_max
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => break,
            done => return done,
        }
    }
    clone_with_pid(None)
}

/// fork(2), with the pid that is wanted. Errors: EPERM without the capability, EEXIST when it is taken.
pub fn clone_with_pid(pid: Option<i32>) -> io::Result<i32> {
    clone_as(pid, 0, libc::SIGCHLD)
}

/// The same with flags of clone(2) that share no memory, and with the signal that the child's end sends.
pub fn clone_as(pid: Option<i32>, flags: i32, exit_signal: i32) -> io::Result<i32> {
    let plain = flags == 0 && exit_signal == libc::SIGCHLD;
    let Some(pid) = pid else {
        if !plain {
            // SAFETY: a fork without CLONE_VM and without a stack of its own.
            let child = unsafe { libc::syscall(libc::SYS_clone, flags | exit_signal, 0, 0, 0, 0) };
            return if child < 0 { Err(io::Error::last_os_error()) } else { Ok(child as i32) };
        }
        // SAFETY: single-threaded callers.
        let child = unsafe { libc::fork() };
        return if child < 0 { Err(io::Error::last_os_error()) } else { Ok(child) };
    };
    let mut args = [0u64; 11];
    args[0] = flags as u64;
    args[4] = exit_signal as u64;
    args[8] = &raw const pid as u64;
    args[9] = 1;
    // SAFETY: struct clone_args of 88 bytes; a fork without CLONE_VM.
    let child = unsafe { libc::syscall(libc::SYS_clone3, args.as_ptr(), 88) };
    if child < 0 { Err(io::Error::last_os_error()) } else { Ok(child as i32) }
}

/// In a child, so that nothing is entered for good: can pids be chosen in a namespace of our own?
fn namespaces_work() -> bool {
    // SAFETY: the child only makes system calls and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let works = crate::namespace::enter(true).is_ok() && inner_works();
        // SAFETY: ends the child.
        unsafe { libc::_exit(!works as i32) }
    }
    let mut status = 0;
    // SAFETY: status is an int.
    child > 0 && unsafe { libc::waitpid(child, &mut status, 0) } == child && status == 0
}

fn inner_works() -> bool {
    // SAFETY: as above; this child is the first of the namespace.
    let init = unsafe { libc::fork() };
    if init == 0 {
        let works = crate::namespace::mount_proc().is_ok() && probe(300).is_ok();
        // SAFETY: ends the child.
        unsafe { libc::_exit(!works as i32) }
    }
    let mut status = 0;
    // SAFETY: status is an int.
    init > 0 && unsafe { libc::waitpid(init, &mut status, 0) } == init && status == 0
}
