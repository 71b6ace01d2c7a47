//! What a stopped process sends.

use super::freeze::gone;
use super::{CAPTURE_PATIENCE, CheckpointError, Process};
use crate::quiesce::Stopped;
use crate::records::Records;
use ckpt_objects::{ProcessFd, ProcessFds};
use ckpt_sys::flat::{FdEntry, Msg, from_bytes, msg, stage};
use std::io;

pub(super) fn receive_records(s: &Stopped) -> Result<Records, CheckpointError> {
    let pid = s.who.stat.pid;
    let mut records = None;
    let mut fds = Vec::new();
    loop {
        let p = s.link.recv_within(CAPTURE_PATIENCE).map_err(|e| gone(pid, &e))?;
        match p.msg.kind {
            msg::RECORDS => records = p.fds.into_iter().next(),
            msg::FDS => fds.extend(p.body.chunks_exact(size_of::<FdEntry>()).filter_map(from_bytes::<FdEntry>).zip(p.fds)),
            msg::CAPTURED => break,
            _ => return Err(CheckpointError::Process { pid, what: uring(pid).unwrap_or_else(|| reason(&p.msg)) }),
        }
    }
    let memfd = records.ok_or_else(|| CheckpointError::Process { pid, what: "it sent no records".into() })?;
    Ok(Records { fds, ..Records::read(memfd)? })
}

/// The kernel passes no io_uring on: it never gets as far as the refusals of `ckpt_objects`.
pub(super) fn uring(pid: i32) -> Option<String> {
    let mut open = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    let uring = open.find(|fd| std::fs::read_link(fd.path()).is_ok_and(|l| l.as_os_str() == "anon_inode:[io_uring]"))?;
    let number = uring.file_name();
    Some(format!("descriptor {} is an io_uring, which cannot be read back; start it with its option against io_uring", number.display()))
}

pub(super) fn take_descriptors(p: &mut Process) -> ProcessFds {
    let fds = std::mem::take(&mut p.records.fds);
    let fds = fds.into_iter().map(|(e, fd)| ProcessFd { number: e.number, cloexec: e.cloexec != 0, fd }).collect();
    ProcessFds { pid: p.stopped.who.stat.pid, fds }
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
