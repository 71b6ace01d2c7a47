//! One checkpoint on this host, as its sentence reads: stop, capture, freeze, go on, write, commit.

use crate::copies::{self, Copies};
use crate::gather::{self, RawMap, VmFlags};
use crate::link::{self, Link, Listener};
use crate::members::{self, Candidate};
use crate::quiesce::{Quiesce, QuiesceError, Stopped};
use crate::records::Records;
use crate::pace::Disk;
use crate::track::{self, Ranges, Subject, Tracker};
use crate::write::{self, How, WriteError};
use crate::{ipc, libraries, passes, procfs, room, script, shared, sharing, stale, store, timings};
use ckpt_image::file::Blobs;
use ckpt_image::{Birth, Body, Codec, Header, ImageFile, ImageMeta, ImageWriter, Machine, Memory, ProcessMeta, RunState, SavedFile, SharedMemory, Surroundings, UserKey};
use ckpt_objects::ipc::{IpcError, SysvSet};
use ckpt_objects::{CaptureContext, CaptureError, ObjectSet, ProcessFd, ProcessFds};
use ckpt_sys::fault::{self, Effect};
use ckpt_sys::flat::{FdEntry, Msg, SharedRange, bytes_of, from_bytes, msg, stage};
use ckpt_sys::idtable::{IdTable, RealPid};
use ckpt_wire::{CheckpointStats, Compression, ImageInfo, Overrides, PauseMode, Stage, Summary, Timing};
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error(transparent)]
    Quiesce(#[from] QuiesceError),
    #[error("process {pid}: {what}")]
    Process { pid: i32, what: String },
    #[error("{0}")]
    Capture(#[from] CaptureError),
    #[error(transparent)]
    Ipc(#[from] IpcError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("{path}: {source}; choose another --ckptdir", path = .0.display(), source = .1)]
    Folder(PathBuf, #[source] io::Error),
    #[error("{0}")]
    Aborted(String),
    #[error("checkpoint: {0}")]
    Io(#[from] io::Error),
}

/// What a checkpoint needs to know that does not change between checkpoints.
pub struct Settings {
    pub folder: PathBuf,
    pub program: String,
    pub signal: i32,
    pub compression: Compression,
    pub pause: PauseMode,
    pub keep: u32,
    pub unique_names: bool,
    pub save_open_files: bool,
    /// a full image every so many, 0: always
    pub incremental: u32,
    /// images are encrypted with it
    pub key: Option<UserKey>,
}

/// The other members' side: tell where we are, wait until all are there.
pub trait Barrier {
    /// Err: another member failed. Ok: our place among the members.
    fn wait(&mut self, stage: Stage) -> Result<(u32, u32), String>;
    /// Has the work done on another thread and answers meanwhile. Err: it was called off, `give_up` was called.
    fn during(&mut self, work: &mut (dyn FnMut() + Send), give_up: &dyn Fn()) -> Result<(), String>;
    /// Our image has its name. Waits until all members' have.
    fn committed(&mut self, stats: CheckpointStats) -> Verdict;
    /// After `Verdict::Complete`: waits until post-write hooks have ended. What is to be noted beside the images.
    fn finish(&mut self) -> Option<Box<Summary>>;
    /// The programs run, or have been killed.
    fn resumed(&mut self);
}

/// What this one checkpoint is to do.
#[derive(Clone, Copy)]
pub struct Asked {
    /// The program is to end with this checkpoint: it does not run again in between.
    pub kill: bool,
    /// It stands still until post-write hooks have ended.
    pub hold_for_hooks: bool,
    pub overrides: Overrides,
}

/// What became of a generation whose image here is committed.
pub enum Verdict {
    /// It is complete on all hosts: older ones may go, and so may the program.
    Complete,
    /// Another member failed: this image goes too.
    Aborted(String),
    /// Nobody can say: the image stays, a restart finds out whether all are there.
    Unknown(String),
}

pub struct Checkpoint<'a> {
    pub settings: &'a Settings,
    pub listener: &'a Listener,
    pub computation: [u8; 16],
    pub generation: u32,
    /// the same in all images of one checkpoint, and in no other
    pub attempt: u64,
    pub asked: Asked,
    pub disk: &'a Disk,
    pub choices: Choices,
    pub program: i32,
    /// after a restart
    pub id_table: Option<&'a IdTable>,
    pub outer: Option<[i32; 3]>,
    pub writers: &'a dyn Writers,
    pub tracker: &'a Mutex<Tracker>,
}

/// The frozen copies are children of the agent but not of the program.
pub trait Writers: Sync {
    fn known(&self) -> HashSet<i32>;
    fn add(&self, pid: i32);
    fn kill(&self);
}

/// What was decided on the way.
#[derive(Default)]
pub struct Choices {
    hold: AtomicBool,
    /// what the status says about it
    notes: Mutex<Vec<String>>,
}

impl Choices {
    fn note(&self, note: String) {
        if let Ok(mut notes) = self.notes.lock() {
            notes.push(ckpt_wire::clip(&note, ckpt_wire::MAX_NAME));
        }
    }

    fn hold(&self, why: String) {
        if !self.hold.swap(true, Ordering::Relaxed) {
            self.note(why);
        }
    }
}

struct Process {
    stopped: Stopped,
    flags: VmFlags,
    records: Records,
    writer: Option<Link>,
    /// what the parent image holds; None: everything is written
    kept: Option<Ranges>,
    /// The frozen copy, or the process itself.
    frozen: i32,
}

struct Clock {
    last: Instant,
    stages: Vec<Timing>,
}

impl Clock {
    fn new() -> Clock {
        let now = Instant::now();
        Clock { last: now, stages: Vec::new() }
    }

    fn mark(&mut self, name: &str) {
        let now = Instant::now();
        self.stages.push(Timing { name: name.into(), us: now.duration_since(self.last).as_micros() as u64 });
        self.last = now;
    }
}

const STOP_PATIENCE: Duration = Duration::from_secs(10);
const CAPTURE_PATIENCE: Duration = Duration::from_secs(60);
const PASSING_PATIENCE: Duration = Duration::from_secs(3);
/// Bytes of a process from which it is worth knowing how fast the disk is.
const PROBE_FROM: u64 = 64 << 20;

/// What is left to write when the program runs again.
struct Snapshot {
    processes: Vec<(Process, Option<Body>)>,
    zombies: Vec<Candidate>,
    /// processes that share working directory and umask with their parent
    sharers: HashSet<i32>,
    objects: ObjectSet,
    shared: Vec<SharedMemory>,
    aside: Option<shared::Aside>,
    sysv: SysvSet,
    /// processes that wait for a message in a POSIX queue
    notified: Vec<i32>,
    image: ImageWriter,
    place: (u32, u32),
    copies: Copies,
}

impl Checkpoint<'_> {
    /// Returns when the image is committed by all members, or has failed and everything is as before.
    pub fn run(&self, barrier: &mut dyn Barrier, kill: &dyn Fn()) -> Result<PathBuf, CheckpointError> {
        let mut clock = Clock::new();
        let image = self.create()?;
        self.tracker().begin();
        let flags = self.read_flags();
        self.choose_pause(&flags);
        clock.mark("prepare");
        let pause = Instant::now();
        let mut snapshot = self.capture(image, flags, barrier, &mut clock)?;
        if self.holds() {
            let bytes = self.write(&mut snapshot, barrier, &mut clock)?;
            let done = self.commit(&mut snapshot, bytes, pause.elapsed(), barrier, clock)?;
            let done = self.settle(done, barrier);
            match &done {
                Ok(_) if self.asked.kill && !self.asked.hold_for_hooks => kill(),
                Ok(_) if self.asked.hold_for_hooks => {}
                _ => self.resume(&mut snapshot, &mut Clock::new()),
            }
            let to = done?;
            self.finish(barrier);
            match self.asked {
                Asked { hold_for_hooks: true, kill: true, .. } => kill(),
                Asked { hold_for_hooks: true, .. } => self.resume(&mut snapshot, &mut Clock::new()),
                _ => {}
            }
            barrier.resumed();
            return Ok(to);
        }
        self.resume(&mut snapshot, &mut clock);
        let pause = pause.elapsed();
        let bytes = self.write(&mut snapshot, barrier, &mut clock)?;
        let done = self.commit(&mut snapshot, bytes, pause, barrier, clock)?;
        let to = self.settle(done, barrier)?;
        self.finish(barrier);
        barrier.resumed();
        Ok(to)
    }

    fn finish(&self, barrier: &mut dyn Barrier) {
        if let Some(summary) = barrier.finish() {
            timings::note(&self.settings.folder, timings::checkpoint(&self.computation, &summary));
        }
    }

    fn tracker(&self) -> MutexGuard<'_, Tracker> {
        self.tracker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn holds(&self) -> bool {
        self.asked.kill || self.asked.hold_for_hooks || self.choices.hold.load(Ordering::Relaxed)
    }

    fn pause_mode(&self) -> PauseMode {
        self.asked.overrides.pause.unwrap_or(self.settings.pause)
    }

    fn choose_pause(&self, flags: &[(i32, VmFlags)]) {
        match self.pause_mode() {
            PauseMode::Cow => {}
            PauseMode::Hold => self.choices.hold.store(true, Ordering::Relaxed),
            PauseMode::Auto => {
                if let Some(why) = room::is_short(flags.iter().map(|f| f.1.1).sum()) {
                    self.choices.hold(why);
                }
            }
        }
    }

    /// A generation is complete or it is gone: what one member cannot commit no other keeps, and older ones are
    /// removed when all have committed, not before.
    fn settle(&self, (to, stats): (PathBuf, CheckpointStats), barrier: &mut dyn Barrier) -> Result<PathBuf, CheckpointError> {
        if let Err(e) = passes(fault::Stage::Committed) {
            let _ = std::fs::remove_file(&to);
            return Err(e.into());
        }
        match barrier.committed(stats) {
            Verdict::Complete => {
                self.tracker().complete(&to);
                store::remove_old(&self.settings.folder, &self.computation, self.generation, self.settings.keep);
                Ok(to)
            }
            Verdict::Aborted(reason) => {
                let _ = std::fs::remove_file(&to);
                Err(CheckpointError::Aborted(reason))
            }
            Verdict::Unknown(reason) => Err(CheckpointError::Aborted(format!("{reason}; {} is written and stays", to.display()))),
        }
    }

    fn create(&self) -> Result<ImageWriter, CheckpointError> {
        let folder = &self.settings.folder;
        let failed = |e| CheckpointError::Folder(folder.clone(), e);
        if !folder.is_dir() {
            use std::os::unix::fs::DirBuilderExt;
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        }
        stale::remove(folder, &self.computation, self.generation);
        ImageWriter::create(folder, &self.name((0, 1)), self.settings.key.as_ref()).map_err(failed)
    }

    fn name(&self, place: (u32, u32)) -> String {
        let mut member = if place.1 > 1 { format!("-m{}", place.0) } else { String::new() };
        if self.settings.unique_names {
            member += &format!("-{}-{}-{}", host_name(), std::process::id(), now_seconds());
        }
        store::image_name(&self.settings.program, &self.computation, &member, self.generation)
    }

    fn read_flags(&self) -> Vec<(i32, VmFlags)> {
        let members = members::find(std::process::id() as i32, &self.writers.known());
        members.iter().map(|c| (c.stat.pid, VmFlags::read(c.stat.pid))).collect()
    }

    /// What passes (a connection that is about to be accepted) is given time to, unless others stand still meanwhile.
    fn capture(
        &self,
        mut image: ImageWriter,
        mut flags: Vec<(i32, VmFlags)>,
        barrier: &mut dyn Barrier,
        clock: &mut Clock,
    ) -> Result<Snapshot, CheckpointError> {
        let mut place = None;
        let patience = Instant::now() + PASSING_PATIENCE;
        let snapshot = loop {
            match self.stop_and_look(image, flags, &mut place, barrier, clock) {
                Err(CheckpointError::Capture(e)) if e.passes() && place.is_some_and(|p| p.1 == 1) && Instant::now() < patience => {
                    std::thread::sleep(Duration::from_millis(10));
                    image = self.create()?;
                    flags = self.read_flags();
                }
                done => break done?,
            }
        };
        barrier.wait(Stage::Captured).map_err(CheckpointError::Aborted)?;
        clock.mark("barrier captured");
        Ok(snapshot)
    }

    fn stop_and_look(
        &self,
        image: ImageWriter,
        mut flags: Vec<(i32, VmFlags)>,
        place: &mut Option<(u32, u32)>,
        barrier: &mut dyn Barrier,
        clock: &mut Clock,
    ) -> Result<Snapshot, CheckpointError> {
        let quiesce = Quiesce {
            agent: std::process::id() as i32,
            signal: self.settings.signal,
            listener: self.listener,
            writers: &self.writers.known(),
            deadline: Instant::now() + STOP_PATIENCE,
        };
        let stop = quiesce.run()?;
        if let Some(last) = stop.stopped.last() {
            fault::target(Effect::KillMember, last.who.stat.pid);
        }
        passes(fault::Stage::Quiesce)?;
        clock.mark("quiesce");
        let place = match *place {
            Some(known) => known,
            None => *place.insert(barrier.wait(Stage::Quiesced).map_err(CheckpointError::Aborted)?),
        };
        clock.mark("barrier quiesced");
        let mut processes = Vec::new();
        for stopped in &stop.stopped {
            let pid = stopped.who.stat.pid;
            let ended = |_| CheckpointError::Process { pid, what: "it ended during the checkpoint; try again".into() };
            stopped.link.send(msg::CAPTURE).map_err(ended)?;
        }
        passes(fault::Stage::Capture)?;
        for stopped in stop.stopped {
            let pid = stopped.who.stat.pid;
            let known = flags.iter().position(|f| f.0 == pid);
            let flags = known.map_or_else(|| VmFlags::read(pid), |i| flags.swap_remove(i).1);
            let records = receive_records(&stopped)?;
            let frozen = stopped.who.stat.pid;
            processes.push(Process { stopped, flags, records, writer: None, kept: None, frozen });
        }
        clock.mark("records");
        self.look(processes, stop.zombies, image, place, clock)
    }

    /// Descriptors, shared memory, then the frozen copies.
    fn look(
        &self,
        mut processes: Vec<Process>,
        zombies: Vec<Candidate>,
        image: ImageWriter,
        place: (u32, u32),
        clock: &mut Clock,
    ) -> Result<Snapshot, CheckpointError> {
        let sharers = sharers(&processes)?;
        let tables: Vec<ProcessFds> = processes.iter_mut().map(take_descriptors).collect();
        let std = [0, 1, 2].map(|fd: RawFd| is_open(fd).then_some(fd));
        let mut blobs = Blobs(&image);
        let mut ctx = CaptureContext { std, save_open_files: self.settings.save_open_files, blobs: &mut blobs };
        let mut objects = ckpt_objects::capture(&tables, &mut ctx)?;
        ipc::complete(&mut objects, processes.iter().map(|p| (p.stopped.who.stat.pid, &p.records)));
        drop(tables);
        passes(fault::Stage::Refill)?;
        clock.mark("objects");
        let mut maps: Vec<Vec<RawMap>> =
            processes.iter().map(|p| gather::parse_maps(&p.records.maps, &p.flags, p.stopped.who.stat.pid)).collect();
        // A process writes plain bytes: where they are to be encrypted, not to the image.
        let aside = image.is_sealed().then(shared::Aside::new).transpose()?;
        let (shared, work) = shared::plan(&mut maps, &objects, &|len| aside.as_ref().map_or_else(|| image.reserve(len), |a| a.reserve(len)));
        let sysv = ipc::capture(processes.iter().map(|p| (p.stopped.who.stat.pid, &p.records)), &shared, &mut Blobs(&image))?;
        let mut bodies = Vec::new();
        for (p, maps) in processes.iter().zip(&maps) {
            let mut body = gather::body(p.stopped.who.stat.pid, &p.records, maps)?;
            p.stopped.raised.correct(&mut body.rlimits);
            refuse(p, &body)?;
            bodies.push(body);
        }
        clock.mark("look");
        let copies = self.copy_shared(&processes, &work, aside.as_ref().map_or(&image.file, |a| &a.file))?;
        clock.mark("shared memory");
        passes(fault::Stage::Freeze)?;
        for (p, maps) in processes.iter_mut().zip(&maps) {
            p.kept = self.track(p, maps);
            self.freeze_or_hold(p)?;
        }
        clock.mark("freeze");
        let notified = objects.queues.iter().filter_map(|q| q.notify.as_ref()).map(|n| n.pid).collect();
        let processes = processes.into_iter().zip(bodies.into_iter().map(Some)).collect();
        Ok(Snapshot { processes, zombies, sharers, objects, shared, aside, sysv, notified, image, place, copies })
    }

    /// A program that is held writes its shared memory itself.
    fn copy_shared(&self, processes: &[Process], work: &shared::Assignments, to: &std::fs::File) -> Result<Copies, CheckpointError> {
        let pids = processes.iter().map(|p| p.stopped.who.stat.pid);
        let ranges: Vec<_> = pids.zip(work).flat_map(|(pid, ranges)| ranges.iter().map(move |&r| (pid, r))).collect();
        let copies = if self.holds() { None } else { copies::take(&ranges) };
        match copies {
            Some(copies) => Ok(copies),
            None => write_shared(processes, work, to).map(|()| Copies::default()),
        }
    }

    /// Starts or renews the tracking of what the process writes to.
    fn track(&self, p: &Process, maps: &[RawMap]) -> Option<Ranges> {
        let Stopped { who, link, .. } = &p.stopped;
        let started = who.stat.field(22);
        self.tracker().arm(&Subject { pid: who.stat.pid, started, link, maps, record: &p.records.process }, self.generation)
    }

    /// Where there is no room for a copy (ENOMEM, RLIMIT_NPROC), the program waits.
    fn freeze_or_hold(&self, p: &mut Process) -> Result<(), CheckpointError> {
        match self.freeze(p) {
            Err(e) if self.pause_mode() == PauseMode::Auto && !self.holds() => {
                self.choices.hold(format!("held: {e}"));
                self.freeze(p)
            }
            other => other,
        }
    }

    fn freeze(&self, p: &mut Process) -> Result<(), CheckpointError> {
        let pid = p.stopped.who.stat.pid;
        let (writer, theirs) = link::pair()?;
        let ranges: Vec<u8> = p
            .flags
            .forkless()
            .iter()
            .flat_map(|&(addr, len, offset)| bytes_of(&SharedRange { addr, len, offset }).to_vec())
            .take(4000)
            .collect();
        let freeze = Msg { kind: msg::FREEZE, arg: self.holds() as u64, arg2: p.kept.is_some() as u64, ..Msg::default() };
        p.stopped.link.send_with(freeze, &ranges, &[theirs.as_raw_fd()])?;
        drop(theirs);
        p.writer = Some(writer);
        if self.holds() {
            return tell_kept(p);
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
    fn resume(&self, snapshot: &mut Snapshot, clock: &mut Clock) {
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
        for (p, _) in &snapshot.processes {
            if !p.stopped.job_stopped {
                let _ = p.stopped.link.recv_within(Duration::from_secs(2));
            }
        }
        clock.mark("resume");
    }

    /// Parents that had been told of a child's stop are not told of the new one.
    fn hide_stops(&self, snapshot: &Snapshot) {
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

    /// The coordinator is answered meanwhile; when it calls the checkpoint off, so are the writers.
    fn write(&self, snapshot: &mut Snapshot, barrier: &mut dyn Barrier, clock: &mut Clock) -> Result<u64, CheckpointError> {
        let mut written = Err(CheckpointError::Io(io::Error::other("the writing thread ended")));
        barrier.during(&mut || written = self.write_image(snapshot, clock), &|| self.writers.kill()).map_err(CheckpointError::Aborted)?;
        written
    }

    fn write_image(&self, snapshot: &mut Snapshot, clock: &mut Clock) -> Result<u64, CheckpointError> {
        passes(fault::Stage::Write)?;
        let (image, begun) = (&snapshot.image, Instant::now());
        let folder = |e| CheckpointError::Folder(self.settings.folder.clone(), e);
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
            let copying = scope.spawn(|| copies.write(image, aside.as_ref()));
            let saving = files.is_none().then(|| scope.spawn(|| libraries::save(bodies, image)));
            let jobs = snapshot.processes.iter().map(|(p, _)| write::Job { pid: p.stopped.who.stat.pid, frozen: p.frozen, writer: p.writer.as_ref() });
            let memories = write::all(&jobs.collect::<Vec<_>>(), image, &how);
            let saved = saving.map(|s| s.join().unwrap_or_else(|_| Err(io::Error::other("a writing thread ended"))));
            let copied = copying.join().unwrap_or_else(|_| Err(io::Error::other("a writing thread ended")));
            (copied.and(files.map_or_else(|| saved.unwrap_or_else(|| Ok(Vec::new())), Ok)), memories)
        });
        let (files, memories) = (files.map_err(folder)?, memories?);
        let straight = memories.iter().all(|m| m.codec == Codec::None);
        for ((p, body), memory) in snapshot.processes.iter_mut().zip(memories) {
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
        let total = snapshot.image.finish(&meta, header).map_err(|e| CheckpointError::Folder(self.settings.folder.clone(), e))?;
        clock.mark("sync");
        if straight {
            self.disk.saw(total, begun.elapsed());
        } else {
            self.disk.forget();
        }
        Ok(total)
    }

    fn meta(&self, snapshot: &mut Snapshot, files: Vec<SavedFile>) -> ImageMeta {
        let zombies = snapshot.zombies.iter().map(|z| ProcessMeta {
            pid: z.stat.pid,
            ppid: z.stat.ppid,
            pgid: z.stat.pgid,
            sid: z.stat.sid,
            state: RunState::Zombie(z.stat.field(52) as i32),
            name: z.stat.name.clone(),
            birth: birth(&z.stat, false),
            stop_told: false,
            body: None,
        });
        let bodies = snapshot.processes.iter_mut().map(|(p, body)| (&p.stopped, body.take()));
        let mut processes: Vec<ProcessMeta> = bodies.filter_map(|(s, body)| Some(process_meta(s, body?, &snapshot.sharers))).collect();
        processes.extend(zombies);
        let ids = self.changed_ids(&processes);
        let foreground = processes.iter().find(|p| p.sid == sid_of_agent()).map_or(0, |p| procfs::stat(p.pid).map_or(0, |s| s.field(8) as i32));
        // SAFETY: getpgrp and getsid only ask.
        let (pgid, sid) = unsafe { (libc::getpgrp(), libc::getsid(0)) };
        ImageMeta {
            parent: self.tracker().parent().filter(|_| leaves_out(&processes)),
            program: self.settings.program.clone(),
            host: host_name(),
            boot_id: std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned(),
            created: now_seconds(),
            monotonic: ckpt_sys::calls::monotonic_ns(),
            agent: Surroundings { pid: std::process::id() as i32, pgid, sid, program: self.program, foreground, known: self.known_outer(pgid, sid) },
            ids,
            processes,
            objects: std::mem::take(&mut snapshot.objects),
            files,
            shared: std::mem::take(&mut snapshot.shared),
            sysv: std::mem::take(&mut snapshot.sysv),
            sums: snapshot.image.take_sums(),
            machine: Machine::here(),
        }
    }

    /// Ids that mean something else to the program than to the kernel.
    fn changed_ids(&self, processes: &[ProcessMeta]) -> Vec<(i32, i32)> {
        let Some(table) = self.id_table else { return Vec::new() };
        let mut all = Vec::new();
        for p in processes {
            all.extend([p.pid, p.ppid, p.pgid, p.sid]);
            all.extend(p.body.iter().flat_map(|b| b.threads.iter().map(|t| t.0.tid)));
        }
        all.sort_unstable();
        all.dedup();
        all.into_iter().map(|real| (real, table.to_virtual(RealPid(real)).0)).filter(|(r, v)| r != v).collect()
    }

    /// What the program calls its agent, group and session: as it has since it was launched.
    fn known_outer(&self, pgid: i32, sid: i32) -> [i32; 3] {
        self.outer.unwrap_or([std::process::id() as i32, pgid, sid])
    }

    fn commit(
        &self,
        snapshot: &mut Snapshot,
        bytes: u64,
        pause: Duration,
        barrier: &mut dyn Barrier,
        mut clock: Clock,
    ) -> Result<(PathBuf, CheckpointStats), CheckpointError> {
        barrier.wait(Stage::Written).map_err(CheckpointError::Aborted)?;
        let to = self.settings.folder.join(self.name(snapshot.place));
        snapshot.image.commit(&to).map_err(|e| CheckpointError::Folder(to.clone(), e))?;
        let undone = |_: &io::Error| drop(std::fs::remove_file(&to));
        let script = self.settings.folder.join(script::NAME);
        script::write(&self.settings.folder, &self.settings.program, &self.computation)
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

/// The frozen copy waits for what it is to leave out.
fn tell_kept(p: &mut Process) -> Result<(), CheckpointError> {
    let Some((kept, writer)) = p.kept.take().zip(p.writer.as_ref()) else { return Ok(()) };
    let kept = track::still_kept(p.stopped.who.stat.pid, kept).unwrap_or_default();
    track::tell(writer, &kept)?;
    p.kept = Some(kept);
    Ok(())
}

fn leaves_out(processes: &[ProcessMeta]) -> bool {
    processes.iter().filter_map(|p| p.body.as_ref()).any(|b| !b.memory.kept.is_empty())
}

/// Cut to what a message may carry.
fn shown(path: &std::path::Path) -> String {
    ckpt_wire::clip(&path.display().to_string(), 4000).to_string()
}

/// proc(5): flags 9, exit_signal 38.
fn birth(stat: &procfs::Stat, shares_directory: bool) -> Birth {
    const PF_FORKNOEXEC: u64 = 0x40;
    Birth { exit_signal: stat.field(38) as i32, never_execed: stat.field(9) & PF_FORKNOEXEC != 0, shares_directory }
}

/// Who shares working directory and umask with its parent. Sharing that a fork cannot make again is refused.
fn sharers(processes: &[Process]) -> Result<HashSet<i32>, CheckpointError> {
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

fn process_meta(s: &Stopped, body: Body, sharers: &HashSet<i32>) -> ProcessMeta {
    let stat = &s.who.stat;
    ProcessMeta {
        pid: stat.pid,
        ppid: stat.ppid,
        pgid: stat.pgid,
        sid: stat.sid,
        state: if s.job_stopped { RunState::Stopped } else { RunState::Running },
        name: stat.name.clone(),
        birth: birth(stat, sharers.contains(&stat.pid)),
        stop_told: s.stop_told,
        body: Some(body),
    }
}

/// What cannot be brought back is said now.
fn refuse(p: &Process, body: &Body) -> Result<(), CheckpointError> {
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
fn has_odd_thread(body: &Body) -> bool {
    const KCMP_FILES: i32 = 2;
    const KCMP_FS: i32 = 3;
    let Some((first, others)) = body.threads.split_first() else { return false };
    // SAFETY: kcmp only compares; an error (-1, where it is denied) tells nothing.
    let differ = |tid: i32, what: i32| unsafe { libc::syscall(libc::SYS_kcmp, first.0.tid, tid, what, 0, 0) } > 0;
    others.iter().any(|t| differ(t.0.tid, KCMP_FILES) || differ(t.0.tid, KCMP_FS))
}

fn write_shared(processes: &[Process], work: &shared::Assignments, to: &std::fs::File) -> Result<(), CheckpointError> {
    const PER_MESSAGE: usize = 128;
    let busy = || processes.iter().zip(work).filter(|(_, w)| !w.is_empty());
    for (p, ranges) in busy() {
        for part in ranges.chunks(PER_MESSAGE) {
            let body: Vec<u8> = part.iter().flat_map(|r| bytes_of(r).to_vec()).collect();
            p.stopped.link.send_with(Msg { kind: msg::SHARED, ..Msg::default() }, &body, &[to.as_raw_fd()])?;
        }
    }
    for (p, ranges) in busy() {
        for _ in ranges.chunks(PER_MESSAGE) {
            expect(&p.stopped.link, p.stopped.who.stat.pid, msg::SHARED_DONE)?;
        }
    }
    Ok(())
}

fn expect(link: &Link, pid: i32, kind: u32) -> Result<Msg, CheckpointError> {
    let gone = |e: io::Error| CheckpointError::Process { pid, what: format!("it does not answer ({e})") };
    let p = link.recv_within(CAPTURE_PATIENCE).map_err(gone)?;
    if p.msg.kind == kind { Ok(p.msg) } else { Err(CheckpointError::Process { pid, what: reason(&p.msg) }) }
}

fn reason(m: &Msg) -> String {
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

fn receive_records(s: &Stopped) -> Result<Records, CheckpointError> {
    let pid = s.who.stat.pid;
    let mut records = None;
    let mut fds = Vec::new();
    loop {
        let p = s.link.recv_within(CAPTURE_PATIENCE).map_err(|e| CheckpointError::Process { pid, what: format!("it does not answer ({e})") })?;
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
fn uring(pid: i32) -> Option<String> {
    let mut open = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    let uring = open.find(|fd| std::fs::read_link(fd.path()).is_ok_and(|l| l.as_os_str() == "anon_inode:[io_uring]"))?;
    let number = uring.file_name();
    Some(format!("descriptor {} is an io_uring, which cannot be read back; start it with its option against io_uring", number.display()))
}

fn take_descriptors(p: &mut Process) -> ProcessFds {
    let fds = std::mem::take(&mut p.records.fds);
    let fds = fds.into_iter().map(|(e, fd)| ProcessFd { number: e.number, cloexec: e.cloexec != 0, fd }).collect();
    ProcessFds { pid: p.stopped.who.stat.pid, fds }
}

fn is_open(fd: RawFd) -> bool {
    // SAFETY: only asks.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

fn sid_of_agent() -> i32 {
    // SAFETY: only asks.
    unsafe { libc::getsid(0) }
}

pub fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

fn now_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
