//! What cannot be brought back is said while the program can still run on.

use super::freeze::gone;
use super::{CheckpointError, Process};
use crate::{apart, mappings};
use crate::sharing::{self, Sharing};
use ckpt_image::{Apart, Body};
use ckpt_objects::{Kind, ObjectSet};
use std::collections::HashMap;
use std::io;

/// Who shares what with whom. Sharing that no process can make again is refused.
pub(super) fn sharing(processes: &[Process]) -> Result<Sharing, CheckpointError> {
    let all: Vec<sharing::Who> = processes.iter().map(|p| (p.stopped.who.stat.pid, p.stopped.who.stat.ppid)).collect();
    let sharing = Sharing::of(&all).map_err(|(pid, shared)| {
        let what = format!("it shares {shared} with a process that is neither its parent nor its sibling (clone); end one of them and try again");
        CheckpointError::Process { pid, what }
    })?;
    // What kcmp did not see because it is denied.
    let unseen = |p: &&Process| p.records.process.neighbour != 0 && sharing.memory_is_alone(p.stopped.who.stat.pid);
    match processes.iter().find(unseen).filter(|_| sharing::is_denied()) {
        None => Ok(sharing),
        Some(p) => {
            let what = format!("it shares its memory with process {}, and kcmp(2), which says what else, is denied here (seccomp, as in Docker's default profile); allow it", p.records.process.neighbour);
            Err(CheckpointError::Process { pid: p.stopped.who.stat.pid, what })
        }
    }
}

/// A process that the restorer of another makes gets what that restorer can make; of the rest it is said now.
pub(super) fn made_late(processes: &[Process], sharing: &Sharing, objects: &ObjectSet) -> Result<(), CheckpointError> {
    let parents: HashMap<i32, i32> = processes.iter().map(|p| (p.stopped.who.stat.pid, p.stopped.who.stat.ppid)).collect();
    for p in processes.iter().filter(|p| sharing.is_made_late(p.stopped.who.stat.pid, &parents)) {
        if let Some(lost) = lost(p, sharing, objects) {
            let what = format!("it shares memory or descriptors with its parent (clone), or descends from one that does, and has {lost}, which no restart can give to such a process; give that up and try again");
            return Err(CheckpointError::Process { pid: p.stopped.who.stat.pid, what });
        }
    }
    Ok(())
}

fn lost(p: &Process, sharing: &Sharing, objects: &ObjectSet) -> Option<String> {
    const TERMINAL: usize = 7;
    let stat = &p.stopped.who.stat;
    let own = if sharing.owns_files(stat.pid) { objects.descriptors(stat.pid).unwrap_or(&[]) } else { &[] };
    let of_others = own.iter().find(|e| matches!(objects.object(e.object).kind, Kind::Pidfd(_) | Kind::ProcFile(_)));
    let epoll = own.iter().find(|e| matches!(objects.object(e.object).kind, Kind::Epoll(_)) && objects.holder(e.object).is_some_and(|h| h.0 == stat.pid));
    match () {
        _ if !p.records.undo.is_empty() => Some("changes of semaphores that are to be undone (SEM_UNDO)".into()),
        _ if stat.sid == stat.pid && stat.field(TERMINAL) != 0 => Some("a controlling terminal".into()),
        _ if objects.record_locks.iter().any(|l| l.pid == stat.pid) && !own.is_empty() => Some("record locks (fcntl)".into()),
        _ => of_others.or(epoll).map(|e| {
            let kind = if of_others.is_some() { "a pidfd or a file below /proc" } else { "an epoll set that no other process has" };
            format!("{kind} as descriptor {}", e.number)
        }),
    }
}

/// Threads with descriptors or a folder of their own.
pub(super) fn apart(p: &Process) -> Result<Vec<Apart>, CheckpointError> {
    let pid = p.stopped.who.stat.pid;
    apart::of(pid, &p.records.threads).map_err(|tid| {
        let what = format!("its thread {tid} shares descriptors with one thread and its working directory with another; that is not supported");
        CheckpointError::Process { pid, what }
    })
}

fn is_too_long(pid: i32) -> bool {
    std::fs::read_link(format!("/proc/{pid}/cwd")).is_err_and(|e| e.raw_os_error() == Some(libc::ENAMETOOLONG))
}

/// What cannot be brought back is said now.
pub(super) fn refuse(p: &Process, body: &Body) -> Result<(), CheckpointError> {
    let pid = p.stopped.who.stat.pid;
    let no = |what: &str| Err(CheckpointError::Process { pid, what: what.into() });
    if let Some(what) = mappings::too_many(body.maps.len()).or_else(|| mappings::of_kernel(&body.maps)) {
        return no(&what);
    }
    match () {
        _ if body.root != b"/" && !body.root.is_empty() => no("it has called chroot, which is not supported; start it without, or ckpt_launch inside"),
        // Its links are gone with it.
        _ if body.cwd.is_empty() && !is_too_long(pid) => Err(gone(pid, &io::ErrorKind::BrokenPipe.into())),
        _ if body.cwd.is_empty() => no("its working directory has a path that is longer than any that can be named"),
        _ if p.records.landlock => {
            no("it is confined by Landlock, whose rules cannot be read back; start it without its sandbox option")
        }
        _ if p.records.segments => no("it has memory segments of its own (modify_ldt); that is not supported"),
        _ if p.records.keyring => {
            no("it has keys in a keyring of its process, which would get other numbers; keep them in the user's keyring")
        }
        _ => Ok(()),
    }
}
