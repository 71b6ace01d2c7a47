//! What cannot be brought back is said while the program can still run on.

use super::{CheckpointError, Process};
use crate::sharing;
use ckpt_image::Body;
use std::collections::HashSet;

/// Who shares working directory and umask with its parent. Sharing that a fork cannot make again is refused.
pub(super) fn sharers(processes: &[Process]) -> Result<HashSet<i32>, CheckpointError> {
    let all: Vec<sharing::Who> = processes.iter().map(|p| (p.stopped.who.stat.pid, p.stopped.who.stat.ppid)).collect();
    let no = |pid: i32, what: &str| Err(CheckpointError::Process { pid, what: what.into() });
    if let Some(group) = sharing::descriptors(&all).first() {
        let what = format!("it shares its descriptors with process {} (clone with CLONE_FILES); that is not supported", group[0].0);
        return no(group[1].0, &what);
    }
    let groups = sharing::directories(&all);
    if let Some(stray) = groups.iter().flat_map(|g| sharing::strays(g)).next() {
        return no(stray.0, "it shares its working directory with a process that is not its parent (CLONE_FS); that is not supported");
    }
    let with_parent = |g: &Vec<sharing::Who>| g.iter().filter(|w| g.iter().any(|o| o.0 == w.1)).map(|w| w.0).collect::<Vec<_>>();
    Ok(groups.iter().flat_map(with_parent).collect())
}

/// What cannot be brought back is said now.
pub(super) fn refuse(p: &Process, body: &Body) -> Result<(), CheckpointError> {
    let pid = p.stopped.who.stat.pid;
    let no = |what: &str| Err(CheckpointError::Process { pid, what: what.into() });
    match () {
        _ if body.root != b"/" && !body.root.is_empty() => no("it runs in a chroot; that is not supported yet"),
        _ if has_odd_thread(body) => {
            no("a thread has descriptors or a working directory of its own (unshare); that is not supported")
        }
        _ => Ok(()),
    }
}

/// Does a thread share less with the others than threads do?
pub(super) fn has_odd_thread(body: &Body) -> bool {
    const KCMP_FILES: i32 = 2;
    const KCMP_FS: i32 = 3;
    let Some((first, others)) = body.threads.split_first() else { return false };
    // SAFETY: kcmp only compares; an error (-1, where it is denied) tells nothing.
    let differ = |tid: i32, what: i32| unsafe { libc::syscall(libc::SYS_kcmp, first.0.tid, tid, what, 0, 0) } > 0;
    others.iter().any(|t| differ(t.0.tid, KCMP_FILES) || differ(t.0.tid, KCMP_FS))
}
