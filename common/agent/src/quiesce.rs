//! Stopping every member: ask, wait for its checkpoint thread to connect, tell it to park the threads.

use crate::events::Resumed;
use crate::limits::Raised;
use crate::link::{Link, Listener, poll};
use crate::members::{self, Candidate, Readiness};
use crate::mappings::{self, ARENA};
use crate::{obstacle, procfs};
use ckpt_sys::handler_stack::{Cramped, LOOKED_AT, cramped};
use ckpt_sys::flat::{Msg, PROTOCOL, Times, bytes_of, from_bytes, msg, stage};
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

#[derive(Debug, thiserror::Error)]
pub enum QuiesceError {
    #[error("process {pid} ({name}) does not carry libckpt.so: it is {why}; start it without that, or not under ckpt_launch")]
    NoLibrary { pid: i32, name: String, why: &'static str },
    #[error("process {pid} ({name}) did not answer within {seconds} s: {what}; try again, or end that process")]
    Silent { pid: i32, name: String, seconds: u64, what: String },
    #[error("thread {tid} of process {pid} ({name}) did not stop: {what}; try again later")]
    Thread { pid: i32, tid: i32, name: String, what: String },
    #[error("process {pid} ({name}) carries another version of libckpt.so; restart the program with this ckpt")]
    Version { pid: i32, name: String },
    #[error("process {pid} ({name}) is traced by process {tracer}, which is to be checkpointed too; a trace cannot be brought back: end the tracer, or let it detach")]
    Traced { pid: i32, name: String, tracer: i32 },
    #[error("process {pid} ({name}) refuses: {why}; put that right in the program or its plugin and try again")]
    Veto { pid: i32, name: String, why: String },
    #[error("process {pid} ({name}) has kept checkpoints off for {seconds} s, by ckpt_delay() or a blocked signal; try again when it has called ckpt_allow()")]
    Delayed { pid: i32, name: String, seconds: u64 },
    #[error("process {pid} ({name}): {what}")]
    Obstacle { pid: i32, name: String, what: String },
    #[error("there is no process to checkpoint: the program has ended")]
    Nobody,
    #[error("waiting for the processes: {0}")]
    Io(#[from] io::Error),
}

/// A stopped process.
pub struct Stopped {
    pub who: Candidate,
    pub raised: Raised,
    pub link: Link,
    /// It was stopped by job control.
    pub job_stopped: bool,
    /// Its parent has been told of that.
    pub stop_told: bool,
    pub stop_again: Option<StopAgain>,
    pub threads: u32,
    pub times: Times,
    pub resumed: Option<Resumed>,
}

/// A process that job control had stopped and we woke; dropped, it is stopped again, whatever came in between.
pub struct StopAgain(i32);

impl StopAgain {
    fn wake(pid: i32) -> StopAgain {
        // SAFETY: numbers only.
        unsafe { libc::kill(pid, libc::SIGCONT) };
        StopAgain(pid)
    }
}

impl Drop for StopAgain {
    fn drop(&mut self) {
        // SAFETY: numbers only.
        unsafe { libc::kill(self.0, libc::SIGSTOP) };
    }
}

/// The library is not loaded yet.
struct Early {
    since: Instant,
    /// Stopped by job control: woken until it is.
    stop_again: Option<StopAgain>,
    /// It was seen in a handler without room for the signal.
    crowded: bool,
}

impl Early {
    fn new() -> Early {
        Early { since: Instant::now(), stop_again: None, crowded: false }
    }
}

pub struct Stop {
    pub stopped: Vec<Stopped>,
    pub zombies: Vec<Candidate>,
}

struct Asked {
    who: Candidate,
    tid: i32,
    in_call: Option<[u64; 9]>,
    last_ran: u64,
    processor: u32,
    stop_told: bool,
    stop_again: Option<StopAgain>,
    raised: Raised,
    link: Option<Link>,
    asked: Instant,
    asked_again: Instant,
}

/// Until a limit is suspected to be in the way.
const ROOM_PATIENCE: Duration = Duration::from_millis(90);
const THREADS_PATIENCE: Duration = Duration::from_secs(8);
const CHECKED_EVERY: Duration = Duration::from_millis(5);
const LIBRARY_PATIENCE: Duration = Duration::from_millis(3000);

/// So many, while others of the computation's surroundings come and go, and then it is as it is.
const LOOKS: u32 = 1000;

pub struct Quiesce<'a> {
    pub agents: &'a [i32],
    pub signal: i32,
    pub listener: &'a Listener,
    pub writers: &'a HashSet<i32>,
    pub deadline: Instant,
    /// `Barrier::silence`
    pub silence: (u32, u32),
}

fn has_ended(pid: i32) -> bool {
    procfs::stat(pid).is_none_or(|stat| procfs::has_ended(&stat))
}

impl Quiesce<'_> {
    /// Stops all members. On failure those that were stopped go on (their links are dropped).
    pub fn run(&self) -> Result<Stop, QuiesceError> {
        let begun = Instant::now();
        let mut asked: HashMap<i32, Asked> = HashMap::new();
        let mut done: Vec<Stopped> = Vec::new();
        let mut early: HashMap<i32, Early> = HashMap::new();
        // Nobody was awaited: when the next look shows the same, all are there.
        let mut before: Option<Vec<i32>> = None;
        let mut looks = 0;
        let mut checked = begun;
        loop {
            let (all, members) = members::look(self.agents, self.writers);
            let alive: HashSet<i32> = members.iter().filter(|c| !members::is_dead(c)).map(|c| c.stat.pid).collect();
            asked.retain(|pid, _| alive.contains(pid) || !has_ended(*pid));
            done.retain(|s| alive.contains(&s.who.stat.pid) || !has_ended(s.who.stat.pid));
            let mut waiting = false;
            for c in members.iter().filter(|c| alive.contains(&c.stat.pid)) {
                if asked.contains_key(&c.stat.pid) || done.iter().any(|s| s.who.stat.pid == c.stat.pid) {
                    continue;
                }
                let parent = c.stat.ppid;
                let parent_done = done.iter().find(|s| s.who.stat.pid == parent);
                if c.stat.state == 'T' && parent_done.is_none() && alive.contains(&parent) {
                    waiting = true;
                    continue;
                }
                waiting |= self.ask(c, parent_done, &mut asked, &mut early, begun)?;
            }
            let quiet = asked.is_empty() && !waiting;
            if quiet && before.as_ref() != Some(&all) && looks < LOOKS {
                (before, looks) = (Some(all), looks + 1);
                continue;
            }
            if quiet {
                if done.is_empty() {
                    return Err(QuiesceError::Nobody);
                }
                let zombies = members.into_iter().filter(|c| !alive.contains(&c.stat.pid)).collect();
                done.iter_mut().for_each(look_again);
                return Ok(Stop { stopped: in_order(done), zombies });
            }
            before = None;
            // While answers come in nobody is looked for: what that costs they would wait for.
            let patience = Duration::from_millis(if waiting { 2 } else { 20 });
            while self.listen(&mut asked, &mut done, patience)? && !waiting && !asked.is_empty() {
                if checked.elapsed() > CHECKED_EVERY {
                    self.check_silent(&mut asked)?;
                    checked = Instant::now();
                }
            }
            self.check_silent(&mut asked)?;
        }
    }

    /// Sends the signal where that is safe. True: not yet, look again soon.
    ///
    /// A stopped one is woken only when its parent stands still, which then is not told.
    fn ask(
        &self,
        c: &Candidate,
        parent: Option<&Stopped>,
        asked: &mut HashMap<i32, Asked>,
        early: &mut HashMap<i32, Early>,
        begun: Instant,
    ) -> Result<bool, QuiesceError> {
        let pid = c.stat.pid;
        match members::readiness(c, self.agents, self.signal) {
            Readiness::Gone => Ok(false),
            Readiness::Traced { tracer } => Err(QuiesceError::Traced { pid, name: c.stat.name.clone(), tracer }),
            Readiness::Vfork if Instant::now() < self.deadline => Ok(true),
            Readiness::Vfork => Err(silent(c, begun, "it has not exec'ed since vfork".into())),
            Readiness::Young => Ok(true),
            // It waits for the end of the section; where the thread is now says nothing of where it will be then.
            Readiness::NoHandler if c.stat.state != 'T' && members::handles(pid, self.signal) => {
                if let Some(what) = obstacle::of(pid) {
                    return Err(QuiesceError::Obstacle { pid, name: c.stat.name.clone(), what });
                }
                // SAFETY: numbers only.
                if unsafe { libc::syscall(libc::SYS_tgkill, pid, pid, self.signal) } == 0 {
                    let processor = c.stat.field(39) as u32;
                    asked.insert(pid, Asked { who: c.clone(), tid: pid, in_call: None, last_ran: 0, processor, stop_told: false, stop_again: None, raised: Raised::none(pid), link: None, asked: Instant::now(), asked_again: Instant::now() });
                }
                Ok(false)
            }
            // How long the others took does not count: it may have waited in vfork until now.
            Readiness::NoHandler if early.entry(pid).or_insert_with(Early::new).since.elapsed() < LIBRARY_PATIENCE => {
                if let Some(e) = early.get_mut(&pid).filter(|_| c.stat.state == 'T') {
                    e.stop_again.get_or_insert_with(|| StopAgain::wake(pid));
                }
                Ok(true)
            }
            Readiness::NoHandler => Err(QuiesceError::NoLibrary { pid, name: c.stat.name.clone(), why: why_no_library(pid) }),
            Readiness::Ready { tid } => {
                if let Some(what) = obstacle::of(pid) {
                    return Err(QuiesceError::Obstacle { pid, name: c.stat.name.clone(), what });
                }
                let stack = stack_of(pid, tid);
                let crowded = matches!(stack, HandlerStack::Crowded(_));
                if crowded || matches!(stack, HandlerStack::Unknown) && early.get(&pid).is_some_and(|e| e.crowded) {
                    early.entry(pid).or_insert_with(Early::new).crowded = true;
                    return if Instant::now() < self.deadline { Ok(true) } else { Err(silent(c, begun, where_is(pid, tid))) };
                }
                let raised = Raised::none(pid);
                let in_call = procfs::in_call(pid, tid);
                let last_ran = procfs::last_ran(pid, tid).unwrap_or(0);
                let processor = c.stat.field(39) as u32;
                let is_stopped = c.stat.state == 'T';
                let stop_told = is_stopped && parent.is_none_or(|p| !has_stop_to_tell(p, pid));
                if signal(pid, tid, self.signal) {
                    let stop_again = early.remove(&pid).and_then(|e| e.stop_again).or_else(|| is_stopped.then(|| StopAgain::wake(pid)));
                    let now = Instant::now();
                    asked.insert(pid, Asked { who: c.clone(), tid, in_call, last_ran, processor, stop_told, stop_again, raised, link: None, asked: now, asked_again: now });
                    return Ok(false);
                }
                // That thread has ended, perhaps.
                match has_ended(pid) {
                    true => Ok(false),
                    false if Instant::now() < self.deadline => Ok(true),
                    false => Err(silent(c, begun, "no signal can be sent to it".into())),
                }
            }
        }
    }

    /// One round of messages. False: there were none.
    fn listen(&self, asked: &mut HashMap<i32, Asked>, done: &mut Vec<Stopped>, patience: Duration) -> Result<bool, QuiesceError> {
        let doors = self.listener.fds();
        let mut fds = doors.clone();
        fds.extend(asked.values().filter_map(|a| a.link.as_ref().map(Link::fd)));
        let ready = poll(&fds, patience)?;
        if doors.iter().any(|door| ready.contains(door)) {
            while let Some((link, pid)) = self.listener.accept() {
                self.greet(link, pid, asked)?;
            }
        }
        let answered: Vec<i32> = asked.iter().filter(|(_, a)| a.link.as_ref().is_some_and(|l| ready.contains(&l.fd()))).map(|(&p, _)| p).collect();
        for pid in answered {
            self.answer(pid, asked, done)?;
        }
        Ok(!ready.is_empty())
    }

    /// HELLO: of a process we asked, or of one that got the signal from somebody else.
    fn greet(&self, link: Link, pid: i32, asked: &mut HashMap<i32, Asked>) -> Result<(), QuiesceError> {
        let Ok(hello) = link.recv_within(Duration::from_secs(2)) else { return Ok(()) };
        if self.listener.requests.note(pid, &hello) {
            return Ok(());
        }
        // One that has been greeted got a second signal: what it says by the first link counts.
        let Some(a) = asked.get_mut(&pid).filter(|a| a.link.is_none()) else {
            let _ = link.send(msg::CANCEL);
            return Ok(());
        };
        if hello.msg.kind != msg::HELLO || hello.msg.arg != PROTOCOL as u64 {
            return Err(QuiesceError::Version { pid, name: a.who.stat.name.clone() });
        }
        let body = a.in_call.map(|c| bytes_of(&c).to_vec()).unwrap_or_default();
        let silence = Msg { kind: msg::SILENCE, arg: self.silence.0.into(), arg2: self.silence.1.into(), ..Msg::default() };
        let proceed = Msg { kind: msg::PROCEED, tid: a.tid, arg: THREADS_PATIENCE.as_millis() as u64, arg2: a.last_ran, count: a.processor, ..Msg::default() };
        if link.send_with(proceed, &body, &[]).is_ok() && link.send_with(silence, &[], &[]).is_ok() {
            a.link = Some(link);
        }
        Ok(())
    }

    fn answer(&self, pid: i32, asked: &mut HashMap<i32, Asked>, done: &mut Vec<Stopped>) -> Result<(), QuiesceError> {
        let Some(a) = asked.remove(&pid) else { return Ok(()) };
        let Some(link) = a.link else { return Ok(()) };
        match link.recv() {
            Ok(p) if p.msg.kind == msg::QUIESCED => {
                let job_stopped = a.stop_again.is_some();
                let mut raised = a.raised;
                raised.raise();
                let times = from_bytes(&p.body).unwrap_or_default();
                done.push(Stopped { who: a.who, raised, link, job_stopped, stop_told: a.stop_told, stop_again: a.stop_again, threads: p.msg.count, times, resumed: None });
                Ok(())
            }
            // All its threads ended before they could stand still: it is ending.
            Ok(p) if p.msg.kind == msg::RESUME => Ok(()),
            Ok(p) if p.msg.stage == stage::PLUGIN => {
                let why = String::from_utf8_lossy(&p.body).into_owned();
                Err(QuiesceError::Veto { pid, name: a.who.stat.name.clone(), why })
            }
            Ok(p) if p.msg.stage == stage::DELAYED => Err(delayed(&a.who, a.asked)),
            Ok(p) => Err(QuiesceError::Thread { pid, tid: p.msg.tid, name: a.who.stat.name.clone(), what: where_is(pid, p.msg.tid) }),
            // It ended or exec'ed meanwhile: the next look at the members tells.
            Err(_) => Ok(()),
        }
    }

    fn check_silent(&self, asked: &mut HashMap<i32, Asked>) -> Result<(), QuiesceError> {
        let now = Instant::now();
        for (&pid, a) in asked.iter_mut().filter(|(_, a)| a.link.is_none()) {
            if now > self.deadline && members::in_vfork(pid) {
                return Err(silent(&a.who, a.asked, uninterruptible(pid)));
            }
            if now > self.deadline && still_pending(pid, a.tid, self.signal) {
                return Err(delayed(&a.who, a.asked));
            }
            if now > self.deadline {
                return Err(silent(&a.who, a.asked, where_is(pid, a.tid)));
            }
            // Stopped since we looked, or woken and stopped again by its terminal before it took the signal.
            if procfs::stat(pid).is_some_and(|s| s.state == 'T') {
                match a.stop_again {
                    // SAFETY: numbers only.
                    Some(_) => unsafe { libc::kill(pid, libc::SIGCONT); },
                    None => a.stop_again = Some(StopAgain::wake(pid)),
                }
            }
            // An exec may have swallowed the signal (it ignores it meanwhile); a thread may have ended with it.
            if now.duration_since(a.asked_again) > Duration::from_millis(50) && !still_pending(pid, a.tid, self.signal) {
                a.asked_again = now;
                // No room for the arena, the thread or the signal, perhaps.
                if now.duration_since(a.asked) > ROOM_PATIENCE {
                    a.raised.raise();
                }
                if let Readiness::Ready { tid } = members::readiness(&a.who, self.agents, self.signal) {
                    a.tid = tid;
                    a.in_call = procfs::in_call(pid, tid);
                    a.last_ran = procfs::last_ran(pid, tid).unwrap_or(0);
                    signal(pid, tid, self.signal);
                }
            }
        }
        Ok(())
    }
}

/// Would the parent's wait(2) report the stop of `child`?
fn has_stop_to_tell(parent: &Stopped, child: i32) -> bool {
    let ask = Msg { kind: msg::ASK_STOP, arg: child as u64, ..Msg::default() };
    let sent = parent.link.send_with(ask, &[], &[]).is_ok();
    sent && parent.link.recv_within(Duration::from_secs(2)).is_ok_and(|p| p.msg.kind == msg::ASK_STOP && p.msg.arg == 1)
}

/// To a thread; where its queue of signals is full (RLIMIT_SIGPENDING), to any, since kill(2) needs no room in it.
fn signal(pid: i32, tid: i32, signal: i32) -> bool {
    // SAFETY: numbers only.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, signal) } == 0;
    let full = !sent && io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN);
    // SAFETY: as above.
    sent || full && unsafe { libc::kill(pid, signal) } == 0
}

/// Since it stood still its parent may have ended, or have moved it to another group.
fn look_again(s: &mut Stopped) {
    if let Some(now) = procfs::stat(s.who.stat.pid) {
        let stat = &mut s.who.stat;
        (stat.ppid, stat.pgid, stat.sid) = (now.ppid, now.pgid, now.sid);
    }
}

/// Parents before children, as they were found.
fn in_order(mut stopped: Vec<Stopped>) -> Vec<Stopped> {
    let order: Vec<(i32, i32)> = stopped.iter().map(|s| (s.who.stat.pid, s.who.stat.ppid)).collect();
    let depth = |mut pid: i32| {
        let mut d = 0;
        while let Some(&(_, parent)) = order.iter().find(|o| o.0 == pid) {
            d += 1;
            pid = parent;
        }
        d
    };
    stopped.sort_by_key(|s| (depth(s.who.stat.pid), s.who.stat.pid));
    stopped
}

fn still_pending(pid: i32, tid: i32, signal: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/status")).unwrap_or_default();
    (procfs::status_hex(&status, "SigPnd") | procfs::status_hex(&status, "ShdPnd")) & 1 << (signal - 1) != 0
}

fn silent(c: &Candidate, since: Instant, what: String) -> QuiesceError {
    QuiesceError::Silent { pid: c.stat.pid, name: c.stat.name.clone(), seconds: since.elapsed().as_secs(), what }
}

fn delayed(c: &Candidate, since: Instant) -> QuiesceError {
    QuiesceError::Delayed { pid: c.stat.pid, name: c.stat.name.clone(), seconds: since.elapsed().as_secs() }
}

/// A thread that sleeps so waits for its vfork child, or for a disk.
fn uninterruptible(pid: i32) -> String {
    let calls = procfs::sleeping_calls(pid);
    match calls.iter().find(|&&call| ![libc::SYS_vfork, libc::SYS_clone, libc::SYS_clone3].contains(&call)) {
        Some(call) => format!("it waits in system call {call} for a disk or another device (state D)"),
        None => "it waits in vfork for a child that neither execs nor ends".into(),
    }
}

fn where_is(pid: i32, tid: i32) -> String {
    /// that a checkpoint without a thread of its own needs
    const DESCRIPTORS: u64 = 8;
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count) as u64;
    if let Some(limit) = soft_limit(pid, "Max open files").filter(|&l| open + DESCRIPTORS > l) {
        return format!("it has {open} of {limit} descriptors open (RLIMIT_NOFILE), of which a checkpoint needs {DESCRIPTORS} in a program that may start no thread; start it with a higher limit");
    }
    if let Some(limit) = soft_limit(pid, "Max address space").filter(|&l| procfs::stat(pid).is_some_and(|s| l < s.field(23) + ARENA)) {
        return format!("it may map no more memory, of which a checkpoint needs {} MB: its RLIMIT_AS is {limit}; start it with a higher one", ARENA >> 20);
    }
    if let HandlerStack::Crowded(c) = stack_of(pid, tid) {
        return format!("thread {tid} is in a signal handler on an alternate stack of {} bytes, of which {} are free and a checkpoint needs {}; give it a larger one (sigaltstack), or wait until it has returned", c.size, c.free, c.needed);
    }
    if let Some(what) = mappings::no_room(pid) {
        return what;
    }
    let state = procfs::stat(pid).map_or('?', |s| s.state);
    match procfs::in_call(pid, tid) {
        Some(c) => format!("it is in system call {} (state {state})", c[0] as i64),
        None => format!("its state is {state}"),
    }
}

/// Where the checkpoint signal would go.
enum HandlerStack {
    /// An alternate one without room for it: the kernel would kill the process.
    Crowded(Cramped),
    /// It runs, and may be in a handler.
    Unknown,
    Roomy,
}

/// Of a thread that runs nobody knows where its stack is: it is looked at again while it may be in a handler.
fn stack_of(pid: i32, tid: i32) -> HandlerStack {
    const LOOKS: u32 = 50;
    const MOMENT: Duration = Duration::from_micros(200);
    let mut call = procfs::in_call(pid, tid);
    for _ in 0..LOOKS {
        if call.is_some() || !may_be_in_handler(pid, tid) {
            break;
        }
        std::thread::sleep(MOMENT);
        call = procfs::in_call(pid, tid);
    }
    let Some(call) = call else { return if may_be_in_handler(pid, tid) { HandlerStack::Unknown } else { HandlerStack::Roomy } };
    let mut above = vec![0; LOOKED_AT];
    let read = std::fs::File::open(format!("/proc/{pid}/mem")).and_then(|m| m.read_at(&mut above, call[7])).unwrap_or(0);
    // SAFETY: asks for a number.
    let frame = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) };
    above.get(..read).and_then(|above| cramped(call[7], above, frame)).map_or(HandlerStack::Roomy, HandlerStack::Crowded)
}

/// It blocks a signal that has a handler.
fn may_be_in_handler(pid: i32, tid: i32) -> bool {
    procfs::status_of(&format!("{pid}/task/{tid}")).is_some_and(|s| procfs::status_hex(&s, "SigBlk") & procfs::status_hex(&s, "SigCgt") != 0)
}

/// A line of /proc/PID/limits, unless there is no limit. What could be raised has been.
fn soft_limit(pid: i32, name: &str) -> Option<u64> {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    limits.lines().find_map(|l| l.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

fn why_no_library(pid: i32) -> &'static str {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    match () {
        _ if maps.is_empty() => "another user's or protected",
        _ if maps.contains("libckpt.so") => "blocking or replacing ckpt's signal",
        _ if !maps.contains("/ld-linux") && !maps.contains("/ld-") => "statically linked",
        _ if procfs::is_secure(pid) => "setuid, or was exec'ed with another real than effective user or group",
        _ => "setuid, or was exec'ed by a system call of its own with another environment",
    }
}
