//! The agent's life: one thread looks after children and signals, one after the coordinator and checkpoints.

mod session;

use crate::checkpoint::{Asked, Barrier, Checkpoint, Choices, Verdict, Writers};
use crate::events::Events;
use crate::filling::Filling;
use crate::foreground::{FORWARDED, StatusPipe};
use crate::link::{Listener, poll};
use crate::pace::Disk;
use crate::settings::Settings;
use crate::table::Table;
use crate::track::Tracker;
use crate::{members, procfs, timings};
use ckpt_coordinator::client::{Client, Polled};
use ckpt_coordinator::launch::{self, LaunchOptions};
use ckpt_sys::idtable::IdTable;
use ckpt_wire::{AgentMessage, CheckpointStats, CoordinatorMessage, Hello, HookEvent, HookReport, Moment, ProcessEvents, ProcessRow, Stage, Summary, Welcome};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::collections::{HashMap, HashSet};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
pub use session::Session;
use session::aim_at_coordinator;
use std::time::{Duration, Instant};

pub struct Agent {
    pub settings: Settings,
    pub listener: Listener,
    pub launch: LaunchOptions,
    pub hello: Hello,
    pub quiet: bool,
    writers: WriterSet,
    disk: Disk,
    tracker: Mutex<Tracker>,
    pub events: Mutex<Events>,
    pub filling: Filling,
    pub table: Table,
    ended: AtomicBool,
    checkpointing: AtomicBool,
    /// Killed by us: after `--checkpoint --kill`, `--kill`.
    killed: AtomicBool,
    program: AtomicI32,
    id_table: Option<&'static IdTable>,
    outer: Option<[i32; 3]>,
    /// Where the images are that it was brought back from.
    restarted_from: Option<PathBuf>,
}

/// By pidfd, since another agent may reap them; none where descriptors are short.
#[derive(Default)]
struct WriterSet(Mutex<HashMap<i32, Option<OwnedFd>>>);

impl Writers for WriterSet {
    fn known(&self) -> HashSet<i32> {
        let Ok(mut all) = self.0.lock() else { return HashSet::new() };
        all.retain(|&pid, pidfd| match pidfd {
            Some(pidfd) => poll(&[pidfd.as_raw_fd()], Duration::ZERO).is_ok_and(|ready| ready.is_empty()),
            None => procfs::stat(pid).is_some(),
        });
        all.keys().copied().collect()
    }

    fn add(&self, pid: i32) {
        // The copy is frozen, so its pid is its own.
        if let Ok(mut all) = self.0.lock() {
            all.insert(pid, procfs::pidfd(pid).ok());
        }
    }

    fn kill(&self) {
        for pidfd in self.0.lock().iter().flat_map(|all| all.values().flatten()) {
            // SAFETY: numbers only.
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), libc::SIGKILL, 0, 0) };
        }
    }
}

/// Signals that the supervising thread takes.
pub fn signal_set() -> SigSet {
    let mut set = SigSet::empty();
    FORWARDED.iter().chain([Signal::SIGCHLD, Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU].iter()).for_each(|&s| set.add(s));
    set
}

impl Agent {
    pub fn new(settings: Settings, listener: Listener, launch: LaunchOptions, hello: Hello, table: Table, quiet: bool) -> Agent {
        let tracker = Mutex::new(Tracker::new(settings.incremental, quiet));
        Agent {
            settings,
            listener,
            launch,
            hello,
            quiet,
            writers: WriterSet::default(),
            disk: Disk::default(),
            tracker,
            events: Mutex::default(),
            filling: Filling::default(),
            table,
            ended: AtomicBool::new(false),
            checkpointing: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            program: AtomicI32::new(0),
            id_table: None,
            outer: None,
            restarted_from: None,
        }
    }

    /// After a restart: what ids mean to the program.
    pub fn with_ids(self, table: &'static IdTable, outer: [i32; 3]) -> Agent {
        Agent { id_table: Some(table), outer: Some(outer), ..self }
    }

    pub fn restarted_from(self, folder: Option<PathBuf>) -> Agent {
        Agent { restarted_from: folder, ..self }
    }

    /// Before there is a program: the computation may have an agent here that will look after it.
    pub fn begin(&self, client: Client, welcome: Welcome) -> Session<'_> {
        aim_at_coordinator(&client);
        let mut session = Session { agent: self, client: Some(client), next: None, computation: welcome.computation.0, generation: welcome.next_generation.saturating_sub(1), interval: None, awaits_event: self.restarted_from.is_some(), leader: None, exchange: None };
        session.find_leader();
        session.await_leader();
        session
    }

    /// Runs until every member has ended. `program` is the process whose status is the foreground part's.
    pub fn run(&self, session: Session<'_>, program: i32, mut status: StatusPipe) {
        self.program.store(program, Ordering::Release);
        let Ok((stop_read, stop_write)) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC) else { return };
        let coordinator = session.coordinator().filter(|_| status.takes_all_along());
        std::thread::scope(|scope| {
            let worker = scope.spawn(move || self.serve(session, stop_read));
            let program_status = self.supervise(program, &mut status);
            self.ended.store(true, Ordering::Release);
            drop(stop_write);
            let _ = worker.join();
            if let Some(coordinator) = coordinator.filter(|_| self.killed.load(Ordering::Acquire)) {
                // Who had the programs ended gets an answer.
                let _ = poll(&[coordinator.as_raw_fd()], session::MOMENT);
            }
            status.ended(program_status);
        });
    }

    /// Reaps, forwards signals; returns when the program and all its descendants are gone. A program that ended
    /// while daemons of its live on is reported at once.
    fn supervise(&self, program: i32, status: &mut StatusPipe) -> i32 {
        let Ok(signals) = SignalFd::with_flags(&signal_set(), SfdFlags::SFD_CLOEXEC) else { return 1 << 8 };
        let mut program_status = None;
        let mut reported = false;
        loop {
            while let Some((pid, st)) = reap() {
                if libc::WIFSTOPPED(st) || libc::WIFCONTINUED(st) {
                    if pid == program {
                        self.mirror(st, status);
                    }
                    continue;
                }
                if pid == program {
                    program_status = Some(st);
                }
            }
            if let Some(st) = program_status {
                let left = members::find_all(&[std::process::id() as i32], &self.writers.known());
                let left = left.iter().any(|c| !members::is_dead(c));
                if !left {
                    // Whoever takes over our children may be slow to wait for them, and their ids are wanted again.
                    while reap().is_some() {}
                    return st;
                }
                if !reported && !self.killed.load(Ordering::Acquire) {
                    status.ended(st);
                    reported = true;
                }
            }
            if let Ok(Some(s)) = signals.read_signal() {
                let terminal = [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU].iter().any(|&t| t as u32 == s.ssi_signo);
                if s.ssi_code <= 0 && s.ssi_signo != libc::SIGCHLD as u32 && !terminal && program_status.is_none() {
                    // SAFETY: numbers only.
                    unsafe { libc::kill(program, s.ssi_signo as i32) };
                }
            }
        }
    }

    /// A shell waits for the foreground part: it stops and goes on as the program does. A checkpoint wakes stopped
    /// processes for a moment; that is not shown.
    fn mirror(&self, status: i32, to: &StatusPipe) {
        if libc::WIFSTOPPED(status) {
            to.stopped();
        } else if !self.checkpointing.load(Ordering::Acquire) {
            to.continued();
        }
    }

    /// The coordinator's side, until the program has ended.
    fn serve(&self, mut session: Session<'_>, stop: OwnedFd) {
        loop {
            session.exchange();
            let mut fds = vec![stop.as_raw_fd()];
            if !session.follows() {
                fds.extend(self.listener.fds());
            }
            fds.extend(session.leader_fd());
            fds.extend(session.exchange_fd());
            let followers = self.listener.followers.links();
            fds.extend(&followers);
            fds.extend(session.client.as_ref().map(AsRawFd::as_raw_fd));
            let filling = self.filling.fd();
            fds.extend(filling);
            let ends = self.with_events(|events| events.fd());
            fds.extend(ends);
            let patience = if session.client.is_some() || session.follows() { Duration::from_secs(3600) } else { Duration::from_millis(200) };
            let patience = self.listener.requests.deliver(self.settings.signal).unwrap_or(patience).min(patience);
            let ready = poll(&fds, patience).unwrap_or_default();
            // Who said something before it ended is heard before its end is seen.
            if !session.follows() {
                let told = self.listener.hear();
                self.with_events(|events| events.heard(&told));
            }
            if followers.iter().any(|fd| ready.contains(fd)) {
                self.attend();
            }
            if session.leader_fd().is_some_and(|fd| ready.contains(&fd)) {
                session.hear_leader();
            }
            if ends.is_some_and(|fd| ready.contains(&fd)) {
                self.with_events(Events::look);
            }
            if ready.contains(&stop.as_raw_fd()) {
                if !session.follows() {
                    session.hear_last();
                    self.note_ends(&session);
                }
                self.listener.followers.dismiss(session::MOMENT);
                session.send(AgentMessage::Leave);
                return;
            }
            if filling.is_some_and(|fd| ready.contains(&fd)) {
                self.await_filling();
            }
            session.serve_coordinator();
            if self.listener.requests.take_new() {
                session.send(AgentMessage::Request);
            }
        }
    }

    /// Hears agents that come to follow this one. Ids that are not the kernel's are this one's affair alone.
    fn attend(&self) {
        let plain = self.id_table.is_none_or(|t| t.real_ids().all(|id| t.to_virtual(id).0 == id.0));
        self.listener.followers.attend(self.settings.kinship().filter(|_| plain).as_deref(), self.table.0.as_raw_fd());
    }

    pub fn with_events<T>(&self, work: impl FnOnce(&mut Events) -> T) -> T {
        work(&mut self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The last line beside the images, where there are any.
    fn note_ends(&self, session: &Session) {
        let rows = self.with_events(Events::rest);
        if session.generation > 0 && self.settings.folder.join(timings::NAME).exists() && !rows.is_empty() {
            timings::note(&self.settings.folder, timings::processes(&session.computation, session.generation, &rows));
        }
    }

    /// Memory that is still missing is there afterwards, or the program is ended: it must not see zeros instead.
    fn await_filling(&self) {
        self.filling.settle(|| {
            eprintln!("ckpt: the program's memory could not be filled from the image; it is ended");
            self.kill_all();
        });
    }

    /// Ends every member.
    fn kill_all(&self) {
        self.killed.store(true, Ordering::Release);
        let members = members::find_all(&self.listener.agents(), &self.writers.known());
        let pids: Vec<i32> = members.iter().filter(|c| !members::is_dead(c)).map(|c| c.stat.pid).collect();
        ckpt_objects::end_without_trace(&pids);
        loop {
            let left = members::find_all(&self.listener.agents(), &self.writers.known());
            let alive: Vec<i32> = left.iter().filter(|c| !members::is_dead(c)).map(|c| c.stat.pid).collect();
            if alive.is_empty() {
                return;
            }
            for pid in alive {
                // SAFETY: numbers only.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// One child that ended, stopped or went on.
fn reap() -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: status is an int.
    let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED | libc::__WALL) };
    (pid > 0).then_some((pid, status))
}
