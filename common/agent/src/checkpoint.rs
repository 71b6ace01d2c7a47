//! One checkpoint on this host, as its sentence reads: stop, capture, freeze, go on, write, commit.

mod collect;
mod freeze;
mod image;
mod refuse;

use crate::copies::{Copies, Pool};
use crate::events::{Events, Seen};
use crate::gather::{self, RawMap, VmFlags};
use crate::link::{Link, Listener};
use crate::members::{self, Candidate};
use crate::pace::Disk;
use crate::quiesce::{Quiesce, QuiesceError, Stopped};
use crate::records::Records;
use crate::settings::Settings;
use crate::sharing::Sharing;
use crate::track::{Ranges, Tracker};
use crate::write::{Taken, WriteError};
use crate::{ipc, lent, limits, passes, room, shared, stale, store, timings};
use ckpt_image::file::Blobs;
use ckpt_image::{Apart, Body, ImageWriter, SharedMemory};
use ckpt_objects::ipc::{IpcError, SysvSet};
use ckpt_objects::{CaptureContext, CaptureError, ObjectSet};
use ckpt_sys::fault::{self, Effect};
use ckpt_sys::flat::{Msg, msg};
use ckpt_sys::idtable::IdTable;
use ckpt_wire::{CheckpointStats, Overrides, PauseMode, ProcessEvents, Stage, Summary, Timing};
use collect::receive_records;
use refuse::refuse;
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError, atomic::{AtomicBool, Ordering}};
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

/// The other members' side: tell where we are, wait until all are there.
pub trait Barrier {
    /// Seconds after which a stopped process gives a silent agent up: until it is captured, and where it is held until
    /// its image is committed. Longer than the coordinator waits for what may come in between.
    fn silence(&self) -> (u32, u32);
    /// Err: another member failed. Ok: our place among the members.
    fn wait(&mut self, stage: Stage) -> Result<(u32, u32), String>;
    /// Has the work done on another thread and answers meanwhile. Err: it was called off, `give_up` was called.
    fn during(&mut self, work: &mut (dyn FnMut() + Send), give_up: &dyn Fn()) -> Result<(), String>;
    /// Our image has its name. Waits until all members' have.
    fn committed(&mut self, stats: CheckpointStats) -> Verdict;
    /// After `Verdict::Complete`: waits until post-write hooks have ended. What is to be noted beside the images.
    fn finish(&mut self) -> Option<Box<Summary>>;
    /// The programs run, or have been killed.
    fn resumed(&mut self, events: Vec<ProcessEvents>);
}

/// What this one checkpoint is to do.
#[derive(Clone, Copy)]
pub struct Asked {
    /// The program is to end with this checkpoint: it does not run again in between.
    pub kill: bool,
    /// It stands still until post-write hooks have ended.
    pub hold_for_hooks: bool,
    pub overrides: Overrides,
    /// seconds between checkpoints, 0: none by itself
    pub interval: u32,
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
    pub events: &'a Mutex<Events>,
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
    /// for copies of shared memory
    pool: Mutex<Pool>,
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
    /// its memory, where that was little enough to be copied in the pause
    taken: Option<Taken>,
    /// what the parent image holds; None: everything is written
    kept: Option<Ranges>,
    /// The frozen copy, or the process itself.
    frozen: i32,
    /// threads that share less than threads do
    apart: Vec<Apart>,
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

    /// What is done again and again is one stage: a message takes so many (MAX_TIMINGS).
    fn mark(&mut self, name: &str) {
        let now = Instant::now();
        let us = now.duration_since(self.last).as_micros() as u64;
        match self.stages.iter_mut().find(|stage| stage.name == name) {
            Some(known) => known.us += us,
            None => self.stages.push(Timing { name: name.into(), us }),
        }
        self.last = now;
    }
}

const STOP_PATIENCE: Duration = Duration::from_secs(10);
const CAPTURE_PATIENCE: Duration = Duration::from_secs(60);
const PASSING_PATIENCE: Duration = Duration::from_secs(3);
/// What is left to write when the program runs again.
struct Snapshot {
    processes: Vec<(Process, Option<Body>)>,
    zombies: Vec<Candidate>,
    /// processes that share memory, descriptors or folders
    sharing: Sharing,
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
        let done = self.take(barrier, kill)?;
        // Nobody waits for this: to free a large file takes its time.
        match self.settings.unique_dirs {
            true => store::remove_old_folders(&self.settings.folder, &self.computation, self.settings.keep),
            false => store::remove_old(&self.settings.folder, &self.computation, self.generation, self.settings.keep),
        }
        Ok(done)
    }

    fn take(&self, barrier: &mut dyn Barrier, kill: &dyn Fn()) -> Result<PathBuf, CheckpointError> {
        let mut clock = Clock::new();
        let image = self.create()?;
        self.tracker().begin();
        let flags = self.read_flags();
        self.choose_pause(&flags);
        if let Some(mut pool) = self.choices.pool.lock().ok().filter(|_| !self.holds()) {
            *pool = Pool::prepare(flags.iter().map(|f| f.1.2).sum());
        }
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
            barrier.resumed(self.tell(&snapshot));
            return Ok(to);
        }
        self.resume(&mut snapshot, &mut clock);
        let pause = pause.elapsed();
        let bytes = self.write(&mut snapshot, barrier, &mut clock)?;
        let done = self.commit(&mut snapshot, bytes, pause, barrier, clock)?;
        let to = self.settle(done, barrier)?;
        self.finish(barrier);
        barrier.resumed(self.tell(&snapshot));
        Ok(to)
    }

    /// What happened to the processes, for the coordinator and beside the images.
    fn tell(&self, snapshot: &Snapshot) -> Vec<ProcessEvents> {
        let seen = snapshot.processes.iter().map(|(p, _)| &p.stopped);
        let seen: Vec<Seen> = seen.map(|s| Seen { stat: &s.who.stat, times: &s.times, resumed: s.resumed }).collect();
        let told = self.listener.hear();
        let rows = self.events.lock().unwrap_or_else(PoisonError::into_inner).report(&seen, &told);
        timings::note(&self.settings.folder, timings::processes(&self.computation, self.generation, &rows));
        rows
    }

    /// Where this checkpoint's images go.
    fn folder(&self) -> PathBuf {
        match self.settings.unique_dirs {
            true => self.settings.folder.join(store::folder_name(&self.computation, self.generation)),
            false => self.settings.folder.clone(),
        }
    }

    /// After a failure: a folder of its own that stayed empty goes.
    pub fn leave_folder(&self) {
        if self.settings.unique_dirs {
            let _ = std::fs::remove_dir(self.folder());
        }
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
        let folder = &self.folder();
        let failed = |e| CheckpointError::Folder(folder.clone(), e);
        store::make(folder).map_err(failed)?;
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
        let members = members::find(&self.listener.agents(), &self.writers.known());
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
            agents: &self.listener.agents(),
            signal: self.settings.signal,
            listener: self.listener,
            writers: &self.writers.known(),
            deadline: Instant::now() + STOP_PATIENCE,
            silence: barrier.silence(),
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
            let sheet = limits::sheet_for(pid);
            let given = sheet.iter().map(AsRawFd::as_raw_fd).collect::<Vec<_>>();
            stopped.link.send_with(Msg { kind: msg::CAPTURE, ..Msg::default() }, &[], &given).map_err(ended)?;
        }
        passes(fault::Stage::Capture)?;
        for stopped in stop.stopped {
            let pid = stopped.who.stat.pid;
            let known = flags.iter().position(|f| f.0 == pid);
            let flags = known.map_or_else(|| VmFlags::read(pid), |i| flags.swap_remove(i).1);
            let records = receive_records(&stopped)?;
            let frozen = stopped.who.stat.pid;
            processes.push(Process { stopped, flags, records, writer: None, taken: None, kept: None, frozen, apart: Vec::new() });
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
        let sharing = refuse::sharing(&processes)?;
        for p in &mut processes {
            p.apart = refuse::apart(p)?;
        }
        collect::unite(&mut processes, &sharing);
        let tables = collect::tables(&mut processes, &sharing)?;
        let std = [0, 1, 2].map(|fd: RawFd| is_open(fd).then_some(fd));
        let mut blobs = Blobs(&image);
        let others_std = self.listener.followers.std();
        let mut ctx = CaptureContext { std, others_std: &others_std, save_open_files: self.settings.save_open_files, blobs: &mut blobs };
        let mut objects = ckpt_objects::capture(&tables, &mut ctx)?;
        ipc::complete(&mut objects, processes.iter().map(|p| (p.stopped.who.stat.pid, &p.records)));
        drop(tables);
        refuse::made_late(&processes, &sharing, &objects)?;
        passes(fault::Stage::Refill)?;
        clock.mark("objects");
        let mut maps: Vec<Vec<RawMap>> = processes.iter().map(|p| collect::maps(p, &processes, &sharing)).collect();
        // A process writes plain bytes: where they are to be encrypted, not to the image.
        let aside = image.is_sealed().then(shared::Aside::new).transpose()?;
        let reserve = |len| aside.as_ref().map_or_else(|| image.reserve(len), |a| a.reserve(len));
        let there = |i: usize, m: &RawMap| lent::reaches(processes[i].stopped.who.stat.pid, m);
        let (mut shared, work) = shared::plan(&mut maps, &objects, &reserve, &there);
        let mut sysv = ipc::capture(processes.iter().map(|p| (p.stopped.who.stat.pid, &p.records)), &shared, &mut Blobs(&image))?;
        if let Some(table) = self.id_table {
            ipc::known_ids(&mut sysv, &mut shared, &table.names);
        }
        let mut bodies = Vec::new();
        for (p, maps) in processes.iter().zip(&maps) {
            let mut body = gather::body(p.stopped.who.stat.pid, &p.records, maps)?;
            p.stopped.raised.correct(&mut body.rlimits);
            let who = &p.stopped.who.stat;
            let share = sharing.get(who.pid, who.ppid);
            (body.memory_of, body.files_of, body.apart) = (share.memory_of, share.files_of, p.apart.clone());
            refuse(p, &body)?;
            bodies.push(body);
        }
        clock.mark("look");
        let copies = self.copy_shared(&processes, &work, aside.as_ref().map_or(&image.file, |a| &a.file))?;
        clock.mark("shared memory");
        passes(fault::Stage::Freeze)?;
        self.freeze_all(&mut processes, &maps, &sharing)?;
        clock.mark("freeze");
        let notified = objects.queues.iter().filter_map(|q| q.notify.as_ref()).map(|n| n.pid).collect();
        let processes = processes.into_iter().zip(bodies.into_iter().map(Some)).collect();
        Ok(Snapshot { processes, zombies, sharing, objects, shared, aside, sysv, notified, image, place, copies })
    }
}

pub(crate) fn is_open(fd: RawFd) -> bool {
    // SAFETY: only asks.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

pub fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

fn now_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
