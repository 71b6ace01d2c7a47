//! What happens to each process, in the order of `ProcessEvent`: for the status and `timings.jsonl`. Births are looked up
//! when a checkpoint comes by, ends are told by pidfds: no program announces anything.

use crate::procfs::{self, Stat};
use crate::requests::{TOLD_EXIT, TOLD_RESTART, Told};
use ckpt_sys::flat::Times;
use ckpt_wire::{MAX_NAME, ProcessEvent, ProcessEvents, ProcessMoment, clip};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{SystemTime, UNIX_EPOCH};

/// A process that is known from a report, or from the start.
#[derive(Debug)]
struct Known {
    /// proc(5), field 22
    started: u64,
    name: String,
    /// When its program began, as it said last.
    init: u64,
    /// `ckpt_launch` started it, and no report has said so.
    is_launched: bool,
    /// Readable when it has ended. None: it is not watched.
    ended: Option<OwnedFd>,
    is_gone: bool,
    /// Its callbacks have been told that it ends: when, and what they took.
    exiting: Option<(u64, u32)>,
}

/// Processes of this agent, and what has happened to them since the last report.
#[derive(Debug)]
pub struct Events {
    known: HashMap<i32, Known>,
    /// Known, and in no report yet.
    told: Vec<ProcessEvents>,
    begun_us: u64,
    watch: Option<Epoll>,
}

/// How a process was stopped and went on.
pub struct Seen<'a> {
    pub stat: &'a Stat,
    pub times: &'a Times,
    /// None: it was killed instead.
    pub resumed: Option<Resumed>,
}

/// All in microseconds, `at_us` since 1970: told to go on, until it had, callbacks in between.
#[derive(Clone, Copy, Debug)]
pub struct Resumed {
    pub at_us: u64,
    pub us: u64,
    pub plugins_us: u64,
}

impl Default for Events {
    fn default() -> Events {
        Events { known: HashMap::new(), told: Vec::new(), begun_us: now_us(), watch: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).ok() }
    }
}

impl Events {
    /// `ckpt_launch` has started this one.
    pub fn launched(&mut self, pid: i32) {
        if let Some(stat) = procfs::stat(pid) {
            self.know(&stat, 0, true);
        }
    }

    /// `ckpt_restart` has brought this one back, which it began when this was made; how it came into being is no news.
    pub fn restarted(&mut self, pid: i32) {
        let Some(stat) = procfs::stat(pid) else { return };
        self.know(&stat, 0, false);
        let event = moment(ProcessEvent::Restart, self.begun_us, now_us().saturating_sub(self.begun_us), 0);
        self.told.push(ProcessEvents { pid, name: clip(&stat.name, MAX_NAME), events: vec![event] });
    }

    /// Callbacks that have said what they took.
    pub fn heard(&mut self, told: &[Told]) {
        for one in told {
            match one.event {
                TOLD_EXIT => {
                    if let Some(known) = self.known.get_mut(&one.pid) {
                        known.exiting = Some((one.at_us, one.us));
                    }
                }
                TOLD_RESTART => {
                    let rows = self.told.iter_mut().filter(|row| row.pid == one.pid);
                    for event in rows.flat_map(|row| &mut row.events).filter(|event| event.event == ProcessEvent::Restart) {
                        event.plugins_us = one.us.into();
                        event.us = (one.at_us + event.plugins_us).saturating_sub(event.at_us);
                    }
                }
                _ => {}
            }
        }
    }

    /// Readable when somebody has ended.
    pub fn fd(&self) -> Option<RawFd> {
        self.watch.as_ref().map(|watch| watch.0.as_raw_fd())
    }

    /// Who has ended by now.
    pub fn look(&mut self) {
        let Some(watch) = &self.watch else { return };
        let mut ready = [EpollEvent::empty(); 64];
        while let Ok(count @ 1..) = watch.wait(&mut ready, EpollTimeout::ZERO) {
            for event in &ready[..count] {
                let pid = event.data() as i32;
                // Its descriptor is closed, and so watched no more; what was told of it is known until the next report.
                let Some(known) = self.known.get_mut(&pid).filter(|known| !known.is_gone) else { continue };
                (known.is_gone, known.ended) = (true, None);
                let (at, told_us) = known.exiting.unwrap_or((now_us(), 0));
                let event = moment(ProcessEvent::Exit, at, now_us().saturating_sub(at), told_us);
                self.told.push(ProcessEvents { pid, name: known.name.clone(), events: vec![event] });
            }
        }
    }

    /// What happened since the last report, up to this stop.
    pub fn report(&mut self, seen: &[Seen], told: &[Told]) -> Vec<ProcessEvents> {
        self.heard(told);
        let mut rows = self.rest();
        rows.extend(seen.iter().map(|one| self.row(one)));
        self.known.retain(|_, known| !known.is_gone);
        rows
    }

    /// Ends and restarts that no report has told yet.
    pub fn rest(&mut self) -> Vec<ProcessEvents> {
        self.look();
        std::mem::take(&mut self.told)
    }

    fn row(&mut self, seen: &Seen) -> ProcessEvents {
        let (stat, times) = (seen.stat, seen.times);
        let known = self.known.get(&stat.pid).filter(|known| known.started == stat.field(22));
        let mut events = beginnings(stat, times, known);
        if known.is_none() {
            self.know(stat, times.init, false);
        } else if let Some(known) = self.known.get_mut(&stat.pid) {
            (known.init, known.is_launched, known.name) = (times.init, false, clip(&stat.name, MAX_NAME));
        }
        let suspended = times.suspended / 1_000;
        let stood = suspended + u64::from(times.suspend_us);
        let went_on = seen.resumed.map_or_else(now_us, |resumed| resumed.at_us).max(stood);
        events.push(moment(ProcessEvent::PreSuspend, suspended, times.suspend_us.into(), times.suspend_told_us));
        events.push(moment(ProcessEvent::PreCheckpoint, stood, went_on - stood, times.checkpoint_told_us));
        let resume = |r: Resumed| ProcessMoment { event: ProcessEvent::Resume, at_us: went_on, us: r.us, plugins_us: r.plugins_us };
        events.extend(seen.resumed.map(resume));
        ProcessEvents { pid: stat.pid, name: clip(&stat.name, MAX_NAME), events }
    }

    fn know(&mut self, stat: &Stat, init: u64, is_launched: bool) {
        let ended = self.watch.as_ref().and_then(|watch| {
            let ended = procfs::pidfd(stat.pid).ok()?;
            let event = EpollEvent::new(EpollFlags::EPOLLIN, stat.pid as u64);
            watch.add(&ended, event).ok().map(|()| ended)
        });
        let known = Known { started: stat.field(22), name: clip(&stat.name, MAX_NAME), init, is_launched, ended, is_gone: false, exiting: None };
        self.known.insert(stat.pid, known);
    }
}

/// How the process, and the program that it runs, came into being: what no report has said before.
fn beginnings(stat: &Stat, times: &Times, known: Option<&Known>) -> Vec<ProcessMoment> {
    let (exec, init, init_us) = (times.exec / 1_000, times.init / 1_000, u64::from(times.init_us));
    let born = || procfs::start_us(stat).unwrap_or(0);
    let mut events = Vec::new();
    match known {
        Some(known) if known.is_launched && exec == 0 => events.push(moment(ProcessEvent::Init, init, init_us, 0)),
        Some(known) if known.is_launched => events.push(moment(ProcessEvent::Init, born(), 0, 0)),
        Some(_) => {}
        None => {
            // The kernel counts in hundredths of a second, and begins of the program are told to the microsecond.
            let limit = [exec, init, times.suspended / 1_000].into_iter().find(|&at| at != 0).unwrap_or(0);
            events.push(moment(ProcessEvent::Fork, born().min(limit), times.fork_told_us.into(), times.fork_told_us));
        }
    }
    let is_new = known.is_none_or(|known| known.init != times.init);
    if exec != 0 && is_new {
        let init = init.max(exec);
        events.push(moment(ProcessEvent::PreExec, exec, init - exec, times.exec_told_us));
        events.push(moment(ProcessEvent::PostExec, init, init_us, 0));
    }
    events
}

pub fn moment(event: ProcessEvent, at_us: u64, us: u64, plugins_us: u32) -> ProcessMoment {
    ProcessMoment { event, at_us, us, plugins_us: plugins_us.into() }
}

/// Microseconds since 1970.
pub fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Stat {
        procfs::stat(std::process::id() as i32).unwrap()
    }

    fn order(row: &ProcessEvents) -> Vec<ProcessEvent> {
        assert!(row.events.is_sorted_by_key(|e| e.event) && row.events.is_sorted_by_key(|e| e.at_us), "{row:?}");
        row.events.iter().map(|e| e.event).collect()
    }

    #[test]
    fn a_beginning_is_told_once_and_an_exec_when_it_comes() {
        use ProcessEvent::*;
        let (stat, now) = (own(), now_us() * 1_000);
        let resumed = Some(Resumed { at_us: now / 1_000 + 9, us: 1, plugins_us: 0 });
        let mut events = Events::default();
        events.launched(stat.pid);
        let first = Times { init: now - 9_000, suspended: now, suspend_us: 3, ..Times::default() };
        let mut report = |times: &Times| order(&events.report(&[Seen { stat: &stat, times, resumed }], &[])[0]);
        assert_eq!(report(&first), [Init, PreSuspend, PreCheckpoint, Resume]);
        assert_eq!(report(&first), [PreSuspend, PreCheckpoint, Resume]);
        let other = Times { exec: now - 5_000, init: now - 4_000, ..first };
        assert_eq!(report(&other), [PreExec, PostExec, PreSuspend, PreCheckpoint, Resume]);
        assert_eq!(report(&other), [PreSuspend, PreCheckpoint, Resume]);
    }

    #[test]
    fn births_and_ends_are_looked_up() {
        use ProcessEvent::*;
        let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let (stat, now) = (procfs::stat(child.id() as i32).unwrap(), now_us() * 1_000);
        let times = Times { exec: now, init: now, suspended: now, ..Times::default() };
        let mut events = Events::default();
        let rows = events.report(&[Seen { stat: &stat, times: &times, resumed: None }], &[]);
        assert_eq!(order(&rows[0]), [Fork, PreExec, PostExec, PreSuspend, PreCheckpoint]);
        assert!(rows[0].events[0].at_us + 60_000_000 > now / 1_000, "{rows:?}");
        events.heard(&[Told { pid: stat.pid, event: TOLD_EXIT, at_us: now_us() - 9, us: 7 }]);
        drop(child.stdin.take());
        child.wait().unwrap();
        let rest = events.rest();
        assert_eq!((rest.len(), rest[0].pid, order(&rest[0])), (1, stat.pid, vec![Exit]));
        assert!(rest[0].events[0].plugins_us == 7 && rest[0].events[0].us >= 9, "{rest:?}");
    }
}
