//! From stopped to frozen, and back to running.

use super::collect::reason;
use super::{CAPTURE_PATIENCE, Checkpoint, CheckpointError, Clock, Process, Snapshot};
use crate::copies::{self, Copies};
use crate::events::{Resumed, now_us};
use crate::gather::RawMap;
use crate::link::{self, Link};
use crate::quiesce::Stopped;
use crate::sharing::Sharing;
use crate::track::{self, Ranges, Subject};
use crate::write::Taken;
use crate::{lent, limits, procfs, shared};
use ckpt_sys::fault::{self, Effect};
use ckpt_sys::flat::{Msg, SharedRange, bytes_of, msg};
use ckpt_wire::PauseMode;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

impl Checkpoint<'_> {
    /// A program that is held writes its shared memory itself, where it may.
    pub(super) fn copy_shared(&self, processes: &[Process], work: &shared::Assignments, to: &std::fs::File) -> Result<Copies, CheckpointError> {
        let pids = || processes.iter().map(|p| p.stopped.who.stat.pid);
        let ranges: Vec<_> = pids().zip(work).flat_map(|(pid, ranges)| ranges.iter().map(move |&r| (pid, r))).collect();
        let by_itself = self.holds() && pids().all(limits::writes_freely);
        let copies = if by_itself { None } else { self.choices.pool.lock().ok().and_then(|mut pool| copies::take(&ranges, &mut pool)) };
        match copies {
            Some(copies) => Ok(copies),
            None => write_shared(processes, work, to).map(|()| Copies::default()),
        }
    }

    /// Starts or renews the tracking of what the process writes to.
    pub(super) fn track(&self, p: &Process, maps: &[RawMap]) -> Option<Ranges> {
        let Stopped { who, link, .. } = &p.stopped;
        let started = who.stat.field(22);
        self.tracker().arm(&Subject { pid: who.stat.pid, started, link, maps, record: &p.records.process }, self.generation)
    }

    /// All at once: each forks on its own processor.
    pub(super) fn freeze_all(&self, processes: &mut [Process], maps: &[Vec<RawMap>], sharing: &Sharing) -> Result<(), CheckpointError> {
        // Memory that several processes share is written once.
        let owners = processes.iter_mut().zip(maps).filter(|(p, _)| sharing.owns_memory(p.stopped.who.stat.pid));
        let mut owners: Vec<_> = owners.collect();
        for (p, maps) in &mut owners {
            p.kept = self.track(p, maps);
        }
        let held = self.holds();
        for (p, maps) in &mut owners {
            p.taken = (!held && is_little(p)).then(Taken::default);
            self.ask_to_freeze(p, maps, held)?;
        }
        owners.iter_mut().try_for_each(|(p, maps)| self.frozen_or_held(p, maps, held))
    }

    /// Where there is no room for a copy (ENOMEM, RLIMIT_NPROC), the program waits.
    fn frozen_or_held(&self, p: &mut Process, maps: &[RawMap], held: bool) -> Result<(), CheckpointError> {
        match self.frozen(p, held) {
            Err(e) if self.pause_mode() == PauseMode::Auto && !held => {
                self.choices.hold(format!("held: {e}"));
                (p.taken, p.frozen) = (None, p.stopped.who.stat.pid);
                self.ask_to_freeze(p, maps, true)?;
                self.frozen(p, true)
            }
            other => other,
        }
    }

    fn ask_to_freeze(&self, p: &mut Process, maps: &[RawMap], held: bool) -> Result<(), CheckpointError> {
        let (writer, theirs) = link::pair()?;
        // So many fit into a message; of a mapping that is not named every page is written, which is too much, not wrong.
        const MOST: usize = 4000 / size_of::<SharedRange>();
        let of_shared = shared::of_shared(maps).map(|(addr, len)| (addr, len, 2));
        let shared = maps.iter().map(|m| &m.meta).filter(|m| m.shared).map(|m| (m.start, m.end - m.start, 3));
        let ranges = p.flags.forkless().into_iter().chain(of_shared).chain(shared).take(MOST);
        let ranges: Vec<u8> = ranges.flat_map(|(addr, len, offset)| bytes_of(&SharedRange { addr, len, offset }).to_vec()).collect();
        let freeze = Msg { kind: msg::FREEZE, arg: (held || p.taken.is_some()) as u64, arg2: p.kept.is_some() as u64, ..Msg::default() };
        let sheet = limits::sheet_for(p.stopped.who.stat.pid);
        let fds: Vec<_> = [&theirs].into_iter().chain(&sheet).map(AsRawFd::as_raw_fd).collect();
        let sent = p.stopped.link.send_with(freeze, &ranges, &fds);
        sent.map_err(|e| gone(p.stopped.who.stat.pid, &e))?;
        p.writer = Some(writer);
        Ok(())
    }

    fn frozen(&self, p: &mut Process, held: bool) -> Result<(), CheckpointError> {
        if held {
            return tell_kept(p);
        }
        let pid = p.stopped.who.stat.pid;
        if p.taken.is_some() {
            tell_kept(p)?;
            p.taken = p.writer.as_ref().map(|w| Taken::from(pid, w)).transpose()?;
            return expect(&p.stopped.link, pid, msg::FROZEN).map(drop);
        }
        let frozen = expect(&p.stopped.link, pid, msg::FROZEN)?;
        p.frozen = frozen.arg as i32;
        self.writers.add(p.frozen);
        fault::target(Effect::KillWriter, p.frozen);
        let ready = p.writer.as_ref().map(|w| w.recv_within(CAPTURE_PATIENCE));
        match ready {
            Some(Ok(packet)) if packet.msg.kind == msg::READY => tell_kept(p),
            _ => Err(CheckpointError::Process { pid, what: "its frozen copy did not start; is memory short? Try --pause hold".into() }),
        }
    }

    /// Back to running, stopped ones to being stopped. Returns when every thread is out of our hands.
    pub(super) fn resume(&self, snapshot: &mut Snapshot, clock: &mut Clock) {
        for (p, _) in &mut snapshot.processes {
            p.stopped.raised.put_back();
            p.stopped.stop_again = None;
        }
        self.hide_stops(snapshot);
        for (p, _) in &snapshot.processes {
            let notified = snapshot.notified.contains(&p.stopped.who.stat.pid);
            let resume = Msg { kind: msg::RESUME, arg: notified as u64, ..Msg::default() };
            let _ = p.stopped.link.send_with(resume, &[], &[]);
        }
        let at_us = now_us();
        for (p, _) in &mut snapshot.processes {
            let went_on = if p.stopped.job_stopped { None } else { p.stopped.link.recv_within(Duration::from_secs(2)).ok() };
            let plugins_us = went_on.map_or(0, |packet| packet.msg.arg);
            p.stopped.resumed = Some(Resumed { at_us, us: now_us().saturating_sub(at_us), plugins_us });
        }
        clock.mark("resume");
    }

    /// Parents that had been told of a child's stop are not told of the new one.
    pub(super) fn hide_stops(&self, snapshot: &Snapshot) {
        for (p, _) in snapshot.processes.iter().filter(|(p, _)| p.stopped.job_stopped) {
            let stat = &p.stopped.who.stat;
            procfs::await_stop(stat.pid);
            let parent = snapshot.processes.iter().find(|(q, _)| q.stopped.who.stat.pid == stat.ppid);
            let Some((parent, _)) = parent.filter(|_| p.stopped.stop_told) else { continue };
            let take = Msg { kind: msg::TAKE_STOP, arg: stat.pid as u64, ..Msg::default() };
            if parent.stopped.link.send_with(take, &[], &[]).is_ok() {
                let _ = parent.stopped.link.recv_within(Duration::from_secs(2));
            }
        }
    }
}

/// What has changed since the parent image is copied in less time than a fork of the whole takes, and spares the program
/// the faults of copy-on-write afterwards.
fn is_little(p: &Process) -> bool {
    const LITTLE: u64 = 32 << 20;
    let Some(kept) = &p.kept else { return false };
    let kept: u64 = kept.iter().map(|r| r.1).sum();
    kept > 0 && p.flags.1.saturating_sub(kept) <= LITTLE && lent::may_read(p.stopped.who.stat.pid)
}

/// The frozen copy waits for what it is to leave out.
pub(super) fn tell_kept(p: &mut Process) -> Result<(), CheckpointError> {
    let Some((kept, writer)) = p.kept.take().zip(p.writer.as_ref()) else { return Ok(()) };
    let kept = track::still_kept(p.stopped.who.stat.pid, kept).unwrap_or_default();
    track::tell(writer, &kept).map_err(|e| gone(p.stopped.who.stat.pid, &e))?;
    p.kept = Some(kept);
    Ok(())
}

pub(super) fn write_shared(processes: &[Process], work: &shared::Assignments, to: &std::fs::File) -> Result<(), CheckpointError> {
    const PER_MESSAGE: usize = 128;
    let busy = || processes.iter().zip(work).filter(|(_, w)| !w.is_empty());
    for (p, ranges) in busy() {
        for part in ranges.chunks(PER_MESSAGE) {
            let body: Vec<u8> = part.iter().flat_map(|r| bytes_of(r).to_vec()).collect();
            let sent = p.stopped.link.send_with(Msg { kind: msg::SHARED, ..Msg::default() }, &body, &[to.as_raw_fd()]);
            sent.map_err(|e| gone(p.stopped.who.stat.pid, &e))?;
        }
    }
    for (p, ranges) in busy() {
        for _ in ranges.chunks(PER_MESSAGE) {
            expect(&p.stopped.link, p.stopped.who.stat.pid, msg::SHARED_DONE)?;
        }
    }
    Ok(())
}

/// Its end of the link is closed, or it says nothing.
pub(super) fn gone(pid: i32, e: &io::Error) -> CheckpointError {
    let what = match e.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => "it ended during the checkpoint; try again".into(),
        _ => format!("it does not answer ({e})"),
    };
    CheckpointError::Process { pid, what }
}

pub(super) fn expect(link: &Link, pid: i32, kind: u32) -> Result<Msg, CheckpointError> {
    let p = link.recv_within(CAPTURE_PATIENCE).map_err(|e| gone(pid, &e))?;
    if p.msg.kind == kind { Ok(p.msg) } else { Err(CheckpointError::Process { pid, what: reason(&p.msg) }) }
}
