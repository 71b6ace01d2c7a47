//! Who belongs to the computation: the descendants of the agents, less our own programs and frozen writers.

use crate::tasks::Tasks;
use crate::{paths, procfs};
use std::collections::HashSet;
use std::path::PathBuf;

#[derive(Clone, Debug)]
pub struct Candidate {
    pub stat: procfs::Stat,
    pub exe: Option<PathBuf>,
}

/// Members now, parents before children. At a bad moment one is missing that is there: see `find_all`.
pub fn find(agents: &[i32], writers: &HashSet<i32>) -> Vec<Candidate> {
    look(agents, writers).1
}

/// All descendants of the agents now, and who of them is a member. In two looks with the same descendants none is missing
/// (`procfs::all_descendants`).
pub fn look(agents: &[i32], writers: &HashSet<i32>) -> (Vec<i32>, Vec<Candidate>) {
    let all: Vec<i32> = agents.iter().flat_map(|&agent| procfs::descendants(agent)).collect();
    let members = among(&all, agents, writers);
    (all, members)
}

/// All members now, where it matters that none is missing.
pub fn find_all(agents: &[i32], writers: &HashSet<i32>) -> Vec<Candidate> {
    let all: Vec<i32> = agents.iter().flat_map(|&agent| procfs::all_descendants(agent)).collect();
    among(&all, agents, writers)
}

fn among(descendants: &[i32], agents: &[i32], writers: &HashSet<i32>) -> Vec<Candidate> {
    let mut seen = HashSet::new();
    descendants
        .iter()
        .copied()
        // An agent may itself descend from another's program.
        .filter(|&pid| !writers.contains(&pid) && seen.insert(pid))
        .filter_map(|pid| Some(Candidate { stat: procfs::stat(pid)?, exe: procfs::link(pid, "exe") }))
        .filter(|c| !c.exe.as_deref().is_some_and(paths::is_own_tool))
        // A zombie of an agent's own is about to be reaped.
        .filter(|c| !(is_dead(c) && agents.contains(&c.stat.ppid)))
        .collect()
}

pub fn is_dead(c: &Candidate) -> bool {
    procfs::has_ended(&c.stat)
}

/// What stands in the way of sending `signal` to a process.
#[derive(Debug, PartialEq, Eq)]
pub enum Readiness {
    Ready { tid: i32 },
    /// No handler (yet): it has just been exec'ed, or it does not carry the library.
    NoHandler,
    /// It shares its parent's memory: a vfork that has not exec'ed.
    Vfork,
    /// It shares its parent's memory (CLONE_VM without CLONE_THREAD), and is so young that it may be about to exec.
    Young,
    /// by another member, gdb or strace, which would get our signal first
    Traced { tracer: i32 },
    Gone,
}

/// May the process get the signal, and which thread should?
pub fn readiness(c: &Candidate, agents: &[i32], signal: i32) -> Readiness {
    let pid = c.stat.pid;
    let bit = 1u64 << (signal - 1);
    // Memory first: once a process has memory of its own, a handler that is seen is that of its own image. The other
    // way round a spawned child could be seen with its parent's handlers and get the signal after its exec.
    if shares_memory(pid, c.stat.ppid) {
        match () {
            _ if in_vfork(c.stat.ppid) => return Readiness::Vfork,
            _ if is_young(c) => return Readiness::Young,
            _ => {}
        }
    }
    let Some(status) = procfs::status(pid) else { return Readiness::Gone };
    if let Some(tracer) = procfs::status_value(&status, "TracerPid").and_then(|t| t.parse().ok()).filter(|&t| t != 0 && is_member(t, agents)) {
        return Readiness::Traced { tracer };
    }
    if procfs::status_hex(&status, "SigCgt") & bit == 0 {
        return Readiness::NoHandler;
    }
    let blocked = procfs::status_hex(&status, "SigBlk");
    // Stopped in the restorer, which blocks everything until it leaves.
    let in_restorer = c.stat.state == 'T' && blocked >> 31 == !0 >> 31;
    if (blocked & bit == 0 || in_restorer) && c.stat.state != 'Z' {
        return Readiness::Ready { tid: pid };
    }
    other_thread(pid, bit).map_or(Readiness::NoHandler, |tid| Readiness::Ready { tid })
}

/// Does it descend from an agent?
fn is_member(pid: i32, agents: &[i32]) -> bool {
    std::iter::successors(Some(pid), |&p| procfs::stat(p).map(|s| s.ppid)).take_while(|&p| p > 1).any(|p| agents.contains(&p))
}

/// It has our handler, though every thread may block the signal just now.
pub fn handles(pid: i32, signal: i32) -> bool {
    procfs::status(pid).is_some_and(|status| procfs::status_hex(&status, "SigCgt") & 1 << (signal - 1) != 0)
}

/// A living thread that does not block the signal.
fn other_thread(pid: i32, bit: u64) -> Option<i32> {
    let takes = |tid, status: &[u8]| {
        let status = String::from_utf8_lossy(status);
        let alive = procfs::status_value(&status, "State").is_some_and(|s| !s.starts_with(['Z', 'X']));
        (alive && procfs::status_hex(&status, "SigBlk") & bit == 0).then_some(tid)
    };
    Tasks::of(pid)?.look("status", takes).flatten().next()
}

const KCMP_VM: libc::c_int = 1;

/// kcmp(2); where it is denied (Docker's default profile), a parent that waits in vfork sleeps uninterruptibly.
fn shares_memory(pid: i32, ppid: i32) -> bool {
    // SAFETY: numbers only.
    match unsafe { libc::syscall(libc::SYS_kcmp, pid, ppid, KCMP_VM, 0, 0) } {
        // Without their main threads, none of them has any.
        0 => procfs::stat(pid).is_none_or(|s| s.state != 'Z'),
        -1 if std::io::Error::last_os_error().raw_os_error() == Some(libc::EPERM) => {
            in_vfork(ppid)
        }
        _ => false,
    }
}

/// Programs are started within this, in ticks of 10 ms.
const YOUTH: u64 = 5;

fn is_young(c: &Candidate) -> bool {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: now is a timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut now) };
    let ticks = now.tv_sec as u64 * 100 + now.tv_nsec as u64 / 10_000_000;
    ticks < c.stat.field(22) + YOUTH
}

/// A thread that waits for its vfork child sleeps uninterruptibly.
pub fn in_vfork(pid: i32) -> bool {
    procfs::states(pid).any(|s| s == 'D')
}
