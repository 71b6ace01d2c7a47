//! What a stopped process sends.

use super::freeze::gone;
use super::{CAPTURE_PATIENCE, CheckpointError, Process};
use crate::quiesce::Stopped;
use crate::gather::{self, RawMap};
use crate::records::Records;
use crate::sharing::Sharing;
use ckpt_objects::{ProcessFd, ProcessFds};
use ckpt_sys::flat::{FdEntry, Msg, from_bytes, msg, stage};
use std::io;
use std::os::fd::OwnedFd;

type Fds = Vec<(FdEntry, OwnedFd)>;

pub(super) fn receive_records(s: &Stopped) -> Result<Records, CheckpointError> {
    let (records, fds) = receive(s)?;
    let memfd = records.ok_or_else(|| CheckpointError::Process { pid: s.who.stat.pid, what: "it sent no records".into() })?;
    let mut records = Records { fds, ..Records::read(memfd)? };
    // The main thread first: what it has is the process's.
    records.threads.sort_by_key(|t| t.tid != s.who.stat.pid);
    Ok(records)
}

/// Up to CAPTURED.
fn receive(s: &Stopped) -> Result<(Option<OwnedFd>, Fds), CheckpointError> {
    let pid = s.who.stat.pid;
    let mut records = None;
    let mut fds = Vec::new();
    loop {
        let p = s.link.recv_within(CAPTURE_PATIENCE).map_err(|e| gone(pid, &e))?;
        match p.msg.kind {
            msg::RECORDS => records = p.fds.into_iter().next(),
            msg::FDS => fds.extend(p.body.chunks_exact(size_of::<FdEntry>()).filter_map(from_bytes::<FdEntry>).zip(p.fds)),
            msg::CAPTURED => return Ok((records, fds)),
            _ => return Err(CheckpointError::Process { pid, what: uring(pid).unwrap_or_else(|| reason(&p.msg)) }),
        }
    }
}

/// The kernel passes no io_uring on: it never gets as far as the refusals of `ckpt_objects`.
pub(super) fn uring(pid: i32) -> Option<String> {
    let mut open = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    let uring = open.find(|fd| std::fs::read_link(fd.path()).is_ok_and(|l| l.as_os_str() == "anon_inode:[io_uring]"))?;
    let number = uring.file_name();
    Some(format!("descriptor {} is an io_uring, which cannot be read back; start it with its option against io_uring", number.display()))
}

/// Every table of descriptors once: those of processes, then those of threads that have their own.
pub(super) fn tables(processes: &mut [Process], sharing: &Sharing) -> Result<Vec<ProcessFds>, CheckpointError> {
    let mut out = Vec::new();
    for p in processes.iter_mut() {
        let pid = p.stopped.who.stat.pid;
        let fds = std::mem::take(&mut p.records.fds);
        if sharing.owns_files(pid) {
            out.push(table(pid, fds));
        }
    }
    for p in processes.iter() {
        for thread in p.apart.iter().filter(|a| a.own & libc::CLONE_FILES as u32 != 0) {
            p.stopped.link.send_with(Msg { kind: msg::TABLE, tid: thread.tid, ..Msg::default() }, &[], &[])?;
            out.push(table(thread.tid, receive(&p.stopped)?.1));
        }
    }
    Ok(out)
}

fn table(id: i32, fds: Fds) -> ProcessFds {
    let fds = fds.into_iter().map(|(e, fd)| ProcessFd { number: e.number, cloexec: e.cloexec != 0, fd }).collect();
    ProcessFds { pid: id, fds }
}

/// The mappings of a process; none, when another of the same memory has them.
pub(super) fn maps(p: &Process, all: &[Process], sharing: &Sharing) -> Vec<RawMap> {
    let pid = p.stopped.who.stat.pid;
    if !sharing.owns_memory(pid) {
        return Vec::new();
    }
    let maps = gather::parse_maps(&p.records.maps, &p.flags, pid);
    let arena = |pid: i32| all.iter().find(|q| q.stopped.who.stat.pid == pid).map(|q| q.records.process);
    let arenas = sharing.kin(pid).filter_map(arena).map(|r| (r.arena, r.arena + r.arena_len));
    arenas.fold(maps, |maps, arena| maps.into_iter().flat_map(|m| m.without(arena)).collect())
}

/// What two processes know of what they share is told once, and as it was before the pause.
pub(super) fn unite(processes: &mut [Process], sharing: &Sharing) {
    const CHILD: usize = libc::SIGCHLD as usize - 1;
    for i in (0..processes.len()).rev() {
        let (pid, ppid) = (processes[i].stopped.who.stat.pid, processes[i].stopped.who.stat.ppid);
        let share = sharing.get(pid, ppid);
        if share.memory_of != pid {
            processes[i].records.undo.clear();
        }
        let maker = processes.iter().position(|q| q.stopped.who.stat.pid == share.maker);
        // Whose checkpoint thread came second has seen the flag that the first has set.
        let Some(maker) = maker.filter(|_| share.flags & libc::CLONE_SIGHAND != 0) else { continue };
        let flags = [i, maker].map(|p| processes[p].records.sigactions.get(CHILD).map_or(0, |a| a.flags)).into_iter().fold(!0, |a, b| a & b);
        for p in [i, maker] {
            processes[p].records.sigactions.get_mut(CHILD).into_iter().for_each(|a| a.flags = flags);
        }
    }
}

pub(super) fn reason(m: &Msg) -> String {
    let what = match m.stage {
        stage::RECORDS => "its state could not be recorded",
        stage::DESCRIPTORS => "its descriptors could not be passed on",
        stage::FREEZE => "it could not be forked; is memory short, or RLIMIT_NPROC reached? Try --pause hold",
        stage::SHARED => "its shared memory could not be written; is the disk full?",
        stage::WRITE | stage::RUNS => "its memory could not be written; is the disk full?",
        _ => "it gave an unexpected answer",
    };
    if m.errno == 0 { what.into() } else { format!("{what} ({})", io::Error::from_raw_os_error(m.errno)) }
}
