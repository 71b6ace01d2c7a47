//! What cannot be brought back is said while the program can still run on.

use super::{CheckpointError, Process};
use crate::apart;
use crate::sharing::{self, Sharing};
use ckpt_image::{Apart, Body};

/// Who shares what with whom. Sharing that no process can make again is refused.
pub(super) fn sharing(processes: &[Process]) -> Result<Sharing, CheckpointError> {
    let all: Vec<sharing::Who> = processes.iter().map(|p| (p.stopped.who.stat.pid, p.stopped.who.stat.ppid)).collect();
    Sharing::of(&all).map_err(|(pid, shared)| {
        let what = format!("it shares {shared} with a process that is neither its parent nor its sibling (clone); end one of them and try again");
        CheckpointError::Process { pid, what }
    })
}

/// Threads with descriptors or a folder of their own.
pub(super) fn apart(p: &Process) -> Result<Vec<Apart>, CheckpointError> {
    let pid = p.stopped.who.stat.pid;
    apart::of(pid, &p.records.threads).map_err(|tid| {
        let what = format!("its thread {tid} shares descriptors with one thread and its working directory with another; that is not supported");
        CheckpointError::Process { pid, what }
    })
}

/// What cannot be brought back is said now.
pub(super) fn refuse(p: &Process, body: &Body) -> Result<(), CheckpointError> {
    let pid = p.stopped.who.stat.pid;
    let no = |what: &str| Err(CheckpointError::Process { pid, what: what.into() });
    match () {
        _ if body.root != b"/" && !body.root.is_empty() => no("it runs in a chroot; that is not supported yet"),
        _ if p.records.landlock => {
            no("it is confined by Landlock, whose rules cannot be read back; start it without its sandbox option")
        }
        _ => Ok(()),
    }
}
