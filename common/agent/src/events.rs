//! What happens to each process, in the order of `ProcessEvent`: for the status and `timings.jsonl`. Births are looked up
//! when a checkpoint comes by, ends are told by pidfds: nothing is announced by the program.

use crate::procfs;
use crate::procfs::Stat;
use ckpt_sys::flat::Times;
use ckpt_wire::{MAX_NAME, ProcessEvent, ProcessEvents, ProcessMoment, clip};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::collections::HashMap;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A process that was reported before.
struct Known {
    started: u64,
    name: String,
    /// Readable when it has ended. None: it will be found missing.
    ended: Option<OwnedFd>,
}

pub struct Events {
    known: HashMap<i32, Known>,
    gone: Vec<ProcessEvents>,
    watch: Option<Epoll>,
}

/// How a process was stopped and went on.
pub struct Seen {
    pub stat: Stat,
    pub times: Times,
    /// When it was told to go on, how long until it had, and the callbacks in between; None: it was killed.
    pub resumed: Option<(u64, u64, u64)>,
}

impl Default for Events {
    fn default() -> Events {
        Events { known: HashMap::new(), gone: Vec::new(), watch: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).ok() }
    }
}

impl Events {
    /// The program was launched or restarted: its processes are no news.
    pub fn begin(&mut self, pids: &[i32]) {
        for stat in pids.iter().filter_map(|&pid| procfs::stat(pid)) {
            self.know(&stat);
        }
    }

    /// Readable when somebody has ended.
    pub fn fd(&self) -> Option<RawFd> {
        self.watch.as_ref().map(|watch| watch.0.as_raw_fd())
    }

    /// Notes who has ended by now.
    pub fn look(&mut self) {
        let Some(watch) = &self.watch else { return };
        let mut ready = [EpollEvent::empty(); 64];
        while let Ok(count @ 1..) = watch.wait(&mut ready, EpollTimeout::ZERO) {
            for event in &ready[..count] {
                let pid = event.data() as i32;
                let Some(known) = self.known.remove(&pid) else { continue };
                self.gone.push(ended(pid, known.name));
            }
        }
    }

    /// All that happened since the report before, and this stop.
    pub fn report(&mut self, seen: &[Seen]) -> Vec<ProcessEvents> {
        self.look();
        let mut rows = std::mem::take(&mut self.gone);
        rows.extend(seen.iter().map(|one| self.row(one)));
        rows
    }

    /// What is left to say when all is over.
    pub fn rest(&mut self) -> Vec<ProcessEvents> {
        self.look();
        std::mem::take(&mut self.gone)
    }

    fn row(&mut self, seen: &Seen) -> ProcessEvents {
        let (pid, times) = (seen.stat.pid, &seen.times);
        let started = seen.stat.field(22);
        let known = self.known.get(&pid).is_some_and(|known| known.started == started);
        let since = |known: &Known| (known.name != seen.stat.name).then_some(());
        let renamed = self.known.get(&pid).and_then(since).is_some();
        let mut events = beginnings(seen, known);
        let suspend_us = u64::from(times.suspend_us);
        let at_us = times.suspended / 1_000;
        events.push(moment(ProcessEvent::PreSuspend, at_us, suspend_us, times.suspend_told_us.into()));
        let stood = at_us + suspend_us;
        let go_on = seen.resumed.map_or_else(now_us, |resumed| resumed.0).max(stood);
        events.push(moment(ProcessEvent::PreCheckpoint, stood, go_on - stood, times.checkpoint_told_us.into()));
        events.extend(seen.resumed.map(|(_, us, told)| moment(ProcessEvent::Resume, go_on, us, told)));
        if !known || renamed {
            self.know(&seen.stat);
        }
        ProcessEvents { pid, name: clip(&seen.stat.name, MAX_NAME), events }
    }

    fn know(&mut self, stat: &Stat) {
        let ended = self.watch.as_ref().and_then(|watch| {
            let ended = pidfd(stat.pid)?;
            watch.add(&ended, EpollEvent::new(EpollFlags::EPOLLIN, stat.pid as u64)).ok().map(|()| ended)
        });
        self.known.insert(stat.pid, Known { started: stat.field(22), name: clip(&stat.name, MAX_NAME), ended });
    }
}
