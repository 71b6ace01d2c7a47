//! What was captured becomes an image with its name.

use super::{Barrier, Checkpoint, CheckpointError, Clock, Snapshot, host_name, now_seconds};
use crate::quiesce::Stopped;
use crate::sharing::{Share, Sharing};
use crate::write::{self, How};
use crate::{hands, libraries, passes, procfs, script, shared};
use ckpt_image::{Birth, Body, Codec, Header, ImageFile, ImageMeta, Machine, Memory, ProcessMeta, RunState, SavedFile, Surroundings};
use ckpt_objects::ipc::SysvSet;
use ckpt_sys::fault;
use ckpt_sys::idtable::RealPid;
use ckpt_wire::{CheckpointStats, ImageInfo, Stage};
use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Bytes of a process from which it is worth knowing how fast the disk is.
const PROBE_FROM: u64 = 64 << 20;

impl Checkpoint<'_> {
    /// The coordinator is answered meanwhile; when it calls the checkpoint off, so are the writers.
    pub(super) fn write(&self, snapshot: &mut Snapshot, barrier: &mut dyn Barrier, clock: &mut Clock) -> Result<u64, CheckpointError> {
        let mut written = Err(CheckpointError::Io(io::Error::other("the writing thread ended")));
        barrier.during(&mut || written = self.write_image(snapshot, clock), &|| self.writers.kill()).map_err(CheckpointError::Aborted)?;
        written
    }

    pub(super) fn write_image(&self, snapshot: &mut Snapshot, clock: &mut Clock) -> Result<u64, CheckpointError> {
        passes(fault::Stage::Write)?;
        let (image, begun) = (&snapshot.image, Instant::now());
        let folder = |e| CheckpointError::Folder(self.folder(), e);
        let bodies = snapshot.processes.iter().filter_map(|(_, body)| body.as_ref());
        let mut files = None;
        let mut how = How::fixed(self.asked.overrides.compression.unwrap_or(self.settings.compression));
        if how.is_auto() && self.disk.rate().is_none() && snapshot.processes.iter().any(|(p, _)| p.flags.1 >= PROBE_FROM) {
            files = Some(libraries::save(bodies.clone(), image).map_err(folder)?);
            self.disk.saw(image.reserved(), image.wait_written());
        }
        how.disk = self.disk.rate();
        let (copies, aside) = (&mut snapshot.copies, &snapshot.aside);
        let (files, memories) = std::thread::scope(|scope| {
            let copying = hands::start(scope, || copies.write(image, aside.as_ref()));
            let saving = files.is_none().then(|| hands::start(scope, || libraries::save(bodies, image)));
            let owners = snapshot.processes.iter().filter(|(p, _)| snapshot.sharing.owns_memory(p.stopped.who.stat.pid));
            let jobs = owners.map(|(p, _)| write::Job { pid: p.stopped.who.stat.pid, frozen: p.frozen, writer: p.writer.as_ref(), taken: p.taken.as_ref() });
            let memories = write::all(&jobs.collect::<Vec<_>>(), image, &how);
            let saved = saving.map(|s| s.join().and_then(|saved| saved));
            let copied = copying.join().and_then(|copied| copied);
            (copied.and(files.map_or_else(|| saved.unwrap_or_else(|| Ok(Vec::new())), Ok)), memories)
        });
        let (files, memories) = (files.map_err(folder)?, memories?);
        let straight = memories.iter().all(|m| m.codec == Codec::None);
        let owners = snapshot.processes.iter_mut().filter(|(p, _)| snapshot.sharing.owns_memory(p.stopped.who.stat.pid));
        for ((p, body), memory) in owners.zip(memories) {
            if let Some(body) = body {
                body.memory = Memory { kept: p.kept.take().unwrap_or_default(), ..memory };
            }
        }
        shared::finish(&mut snapshot.shared, snapshot.aside.take(), &snapshot.image).map_err(folder)?;
        how.note().into_iter().for_each(|n| self.choices.note(n));
        clock.mark("write");
        let meta = self.meta(snapshot, files);
        let header = Header {
            computation: self.computation,
            generation: self.generation,
            attempt: self.attempt,
            member_index: snapshot.place.0,
            member_count: snapshot.place.1,
            created: std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64),
            ..Header::default()
        };
        let total = snapshot.image.finish(&meta, header).map_err(|e| CheckpointError::Folder(self.folder(), e))?;
        clock.mark("sync");
        if straight {
            self.disk.saw(total, begun.elapsed());
        } else {
            self.disk.forget();
        }
        Ok(total)
    }

    pub(super) fn meta(&self, snapshot: &mut Snapshot, files: Vec<SavedFile>) -> ImageMeta {
        let zombies = snapshot.zombies.iter().map(|z| ProcessMeta {
            pid: z.stat.pid,
            ppid: z.stat.ppid,
            pgid: z.stat.pgid,
            sid: z.stat.sid,
            state: RunState::Zombie(z.stat.field(52) as i32),
            name: z.stat.name.clone(),
            birth: birth(&z.stat, Share { flags: 0, maker: z.stat.ppid, memory_of: 0, files_of: 0 }),
            stop_told: false,
            started: z.stat.field(22),
            body: None,
        });
        let bodies = snapshot.processes.iter_mut().map(|(p, body)| (&p.stopped, body.take()));
        let mut processes: Vec<ProcessMeta> = bodies.filter_map(|(s, body)| Some(process_meta(s, body?, &snapshot.sharing))).collect();
        processes.extend(zombies);
        // An exec that a restart needed was none of the program's.
        for (p, table) in processes.iter_mut().filter_map(|p| Some((p, self.id_table?))) {
            p.birth.never_execed |= table.is_forked(RealPid(p.pid));
            p.started = table.starts.then(p.pid, p.started).unwrap_or(p.started);
        }
        let ids = self.changed_ids(&processes, &snapshot.sysv);
        let foreground = processes.iter().find(|p| p.sid == sid_of_agent()).map_or(0, |p| procfs::stat(p.pid).map_or(0, |s| s.field(8) as i32));
        self.gather_in(&mut processes);
        // SAFETY: getpgrp and getsid only ask.
        let (pgid, sid) = unsafe { (libc::getpgrp(), libc::getsid(0)) };
        ImageMeta {
            parent: self.tracker().parent().filter(|_| leaves_out(&processes)),
            program: self.settings.program.clone(),
            host: host_name(),
            created: now_seconds(),
            agent: Surroundings { pid: std::process::id() as i32, pgid, sid, program: self.program, foreground, known: self.known_outer(pgid, sid) },
            ids,
            processes,
            objects: std::mem::take(&mut snapshot.objects),
            files,
            shared: std::mem::take(&mut snapshot.shared),
            sysv: std::mem::take(&mut snapshot.sysv),
            sums: snapshot.image.take_sums(),
            machine: Machine::here(),
            options: self.settings.options(self.asked.interval),
        }
    }

    /// What is outside for programs of agents that follow is at a restart what is outside for ours.
    fn gather_in(&self, processes: &mut [ProcessMeta]) {
        let members: HashSet<i32> = processes.iter().map(|p| p.pid).collect();
        // SAFETY: getpgrp and getsid only ask.
        let (pid, pgid, sid) = unsafe { (std::process::id() as i32, libc::getpgrp(), libc::getsid(0)) };
        for theirs in self.listener.followers.surroundings() {
            let swap = |id: &mut i32, from: i32, to: i32| {
                if *id == from && !members.contains(&from) {
                    *id = to;
                }
            };
            for p in processes.iter_mut() {
                swap(&mut p.ppid, theirs.pid, pid);
                swap(&mut p.birth.maker, theirs.pid, pid);
                swap(&mut p.pgid, theirs.pgid, pgid);
                swap(&mut p.sid, theirs.sid, sid);
            }
        }
    }

    /// Ids that mean something else to the program than to the kernel.
    pub(super) fn changed_ids(&self, processes: &[ProcessMeta], sysv: &SysvSet) -> Vec<(i32, i32)> {
        let Some(table) = self.id_table else { return Vec::new() };
        let mut all = Vec::new();
        for p in processes {
            all.extend([p.pid, p.ppid, p.pgid, p.sid]);
            all.extend(p.body.iter().flat_map(|b| b.threads.iter().map(|t| t.0.tid)));
        }
        // Those that acted for a process, before the restart: the kernel still names them as the makers of sockets.
        // SAFETY: signal 0 only asks.
        let ended = |id: &i32| *id > 0 && unsafe { libc::kill(*id, 0) } != 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH);
        all.extend(table.real_ids().map(|id| id.0).filter(ended));
        all.sort_unstable();
        all.dedup();
        let mut named: Vec<(i32, i32)> = all.into_iter().map(|real| (real, table.to_virtual(RealPid(real)).0)).collect();
        // Or as those who used a System V object, in an earlier life of theirs.
        named.extend(sysv.makers().filter(ended).map(|then| (then, table.born(RealPid(then)).0)));
        named.retain(|(r, v)| r != v);
        named
    }

    /// What the program calls its agent, group and session: as it has since it was launched.
    pub(super) fn known_outer(&self, pgid: i32, sid: i32) -> [i32; 3] {
        self.outer.unwrap_or([std::process::id() as i32, pgid, sid])
    }

    pub(super) fn commit(
        &self,
        snapshot: &mut Snapshot,
        bytes: u64,
        pause: Duration,
        barrier: &mut dyn Barrier,
        mut clock: Clock,
    ) -> Result<(PathBuf, CheckpointStats), CheckpointError> {
        barrier.wait(Stage::Written).map_err(CheckpointError::Aborted)?;
        let to = self.folder().join(self.name(snapshot.place));
        snapshot.image.commit(&to).map_err(|e| CheckpointError::Folder(to.clone(), e))?;
        let undone = |_: &io::Error| drop(std::fs::remove_file(&to));
        let script = self.folder().join(script::NAME);
        passes(fault::Stage::Script)
            .and_then(|()| script::write(&self.folder(), &self.settings.program, &self.computation))
            .inspect_err(undone)
            .map_err(|e| CheckpointError::Folder(script, e))?;
        let digest = ImageFile::open(&to).and_then(|image| image.digest());
        let digest = digest.inspect_err(|_| drop(std::fs::remove_file(&to))).map_err(io::Error::other)?;
        clock.mark("commit");
        let image = ImageInfo { host: ckpt_wire::clip(&host_name(), ckpt_wire::MAX_NAME), path: shown(&to), bytes, digest };
        let stats = CheckpointStats {
            images: vec![image],
            bytes,
            processes: snapshot.processes.len() as u32,
            pause_us: pause.as_micros() as u64,
            stages: clock.stages,
            notes: self.choices.notes.lock().map(|n| n.iter().take(ckpt_wire::MAX_NOTES).cloned().collect()).unwrap_or_default(),
        };
        Ok((to, stats))
    }
}

pub(super) fn leaves_out(processes: &[ProcessMeta]) -> bool {
    processes.iter().filter_map(|p| p.body.as_ref()).any(|b| !b.memory.kept.is_empty())
}

/// Cut to what a message may carry.
pub(super) fn shown(path: &std::path::Path) -> String {
    ckpt_wire::clip(&path.display().to_string(), 4000).to_string()
}

/// proc(5): flags 9, exit_signal 38.
pub(super) fn birth(stat: &procfs::Stat, share: Share) -> Birth {
    const PF_FORKNOEXEC: u64 = 0x40;
    Birth { exit_signal: stat.field(38) as i32, never_execed: stat.field(9) & PF_FORKNOEXEC != 0, shares: share.flags as u32, maker: share.maker }
}

pub(super) fn process_meta(s: &Stopped, body: Body, sharing: &Sharing) -> ProcessMeta {
    let stat = &s.who.stat;
    ProcessMeta {
        pid: stat.pid,
        ppid: stat.ppid,
        pgid: stat.pgid,
        sid: stat.sid,
        state: if s.job_stopped { RunState::Stopped } else { RunState::Running },
        name: stat.name.clone(),
        birth: birth(stat, sharing.get(stat.pid, stat.ppid)),
        stop_told: s.stop_told,
        started: stat.field(22),
        body: Some(body),
    }
}

pub(super) fn sid_of_agent() -> i32 {
    // SAFETY: only asks.
    unsafe { libc::getsid(0) }
}
