//! Hooks as child processes: one at a time, in the order of events; the event loop is never kept waiting.

use super::log::Log;
use crate::barrier::{ClientId, Micros, SECOND};
use crate::hooks::{HookOptions, HookPlan};
use ckpt_wire::{clip, HookEvent, HookReport, HookRequest};
use nix::sys::memfd::{memfd_create, MFdFlags};
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

/// More output than this from one hook is dropped.
const MAX_OUTPUT: usize = 64 << 10;

/// One program at one event.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hook {
    event: HookEvent,
    program: String,
    /// Relative paths mean what they meant where it was named.
    folder: Option<PathBuf>,
    seconds: u32,
}

/// One event whose hooks are to be run.
#[derive(Debug)]
struct Job {
    event: HookEvent,
    generation: u32,
    input: String,
    /// Hooks of the event that are still to run.
    left: VecDeque<Hook>,
    reports: Vec<HookReport>,
}

#[derive(Debug)]
struct Running {
    hook: Hook,
    child: Child,
    exited: OwnedFd,
    output: File,
    line: Vec<u8>,
    taken: usize,
    last_line: String,
    started: Micros,
    deadline: Micros,
    overdue: bool,
}

/// An event whose hooks are over.
#[derive(Debug)]
pub struct Ended {
    pub event: HookEvent,
    pub generation: u32,
    pub reports: Vec<HookReport>,
}

#[derive(Debug)]
pub struct HookRunner {
    /// The coordinator's own; live as long as it.
    own: Vec<Hook>,
    hold: bool,
    seconds: u32,
    /// Those that agents brought along.
    brought: BTreeMap<ClientId, (Vec<Hook>, bool)>,
    variables: Vec<(&'static str, String)>,
    /// Microseconds since 1970 at zero of the server's clock.
    epoch: Micros,
    queue: VecDeque<Job>,
    running: Option<Running>,
}

impl HookRunner {
    pub fn new(options: &HookOptions, folder: Option<PathBuf>, epoch: Micros, variables: Vec<(&'static str, String)>) -> HookRunner {
        let seconds = options.seconds();
        let own = |hook: &crate::hooks::Hook| Hook { event: hook.event, program: hook.program.clone(), folder: folder.clone(), seconds };
        HookRunner {
            own: options.hooks.iter().map(own).collect(),
            hold: options.hold,
            seconds,
            brought: BTreeMap::new(),
            variables,
            epoch,
            queue: VecDeque::new(),
            running: None,
        }
    }

    /// Those that an agent brings along; they go with it.
    pub fn bring(&mut self, client: ClientId, request: HookRequest) {
        let (folder, seconds) = (Some(PathBuf::from(request.folder)), request.timeout.unwrap_or(self.seconds).max(1));
        let hook = |(event, program)| Hook { event, program, folder: folder.clone(), seconds };
        self.brought.insert(client, (request.programs.into_iter().map(hook).collect(), request.hold));
    }

    pub fn drop_client(&mut self, client: ClientId) {
        self.brought.remove(&client);
    }

    pub fn plan(&self) -> HookPlan {
        let has = |event| self.of(event).next().is_some();
        HookPlan {
            pre_checkpoint: has(HookEvent::PreCheckpoint),
            post_write: has(HookEvent::PostWrite),
            resumed: has(HookEvent::Resumed),
            restarted: has(HookEvent::Restarted),
            hold: self.hold || self.brought.values().any(|(_, hold)| *hold),
        }
    }

    fn of(&self, event: HookEvent) -> impl Iterator<Item = &Hook> {
        self.own.iter().chain(self.brought.values().flat_map(|(hooks, _)| hooks)).filter(move |hook| hook.event == event)
    }

    pub fn is_busy(&self) -> bool {
        !self.queue.is_empty()
    }

    pub fn next_due(&self) -> Option<Micros> {
        self.running.as_ref().filter(|run| !run.overdue).map(|run| run.deadline)
    }

    /// `input` is the event in JSON.
    pub fn add(&mut self, event: HookEvent, generation: u32, input: String) {
        let mut left = VecDeque::new();
        // Several programs launched with the same hook in the environment: it runs once.
        for hook in self.of(event) {
            if !left.contains(hook) {
                left.push_back(hook.clone());
            }
        }
        self.queue.push_back(Job { event, generation, input, left, reports: Vec::new() });
    }

    /// What to watch while a hook runs: its end, its output.
    pub fn watched(&self) -> Option<(BorrowedFd<'_>, BorrowedFd<'_>)> {
        self.running.as_ref().map(|run| (run.exited.as_fd(), run.output.as_fd()))
    }

    /// Starts the next hook if none runs. True: `watched` is new. Events that have none left come out of `ended`.
    pub fn advance(&mut self, now: Micros, log: &mut Log) -> bool {
        while self.running.is_none() {
            let Some(job) = self.queue.front_mut() else { return false };
            let Some(hook) = job.left.pop_front() else { return false };
            let variables = [("CKPT_HOOK_EVENT", job.event.as_str().into()), ("CKPT_HOOK_GENERATION", job.generation.to_string())];
            log.line(&format!("hook {} of checkpoint {}: {}", job.event.as_str(), job.generation, hook.program));
            let started = spawn(&hook, &job.input, variables.iter().chain(&self.variables));
            match started {
                Ok((child, exited, output)) => {
                    let deadline = now + Micros::from(hook.seconds) * SECOND;
                    let (line, last_line) = (Vec::new(), String::new());
                    self.running = Some(Running { hook, child, exited, output, line, taken: 0, last_line, started: now, deadline, overdue: false });
                    return true;
                }
                Err(error) => {
                    let report = HookReport { event: job.event, program: hook.program, at_us: self.epoch + now, us: 0, failure: Some(format!("could not be started: {error}")) };
                    note(&report, log);
                    job.reports.push(report);
                }
            }
        }
        false
    }

    /// The first event all of whose hooks have ended.
    pub fn ended(&mut self) -> Option<Ended> {
        let done = self.running.is_none() && self.queue.front().is_some_and(|job| job.left.is_empty());
        let job = if done { self.queue.pop_front() } else { None }?;
        Some(Ended { event: job.event, generation: job.generation, reports: job.reports })
    }

    /// Takes what the hook has printed. True: there will be no more.
    pub fn read_output(&mut self, log: &mut Log) -> bool {
        let Some(run) = &mut self.running else { return true };
        let mut chunk = [0; 4096];
        loop {
            let len = match run.output.read(&mut chunk) {
                Ok(0) => return true,
                Ok(len) => len,
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            };
            let room = MAX_OUTPUT.saturating_sub(run.taken);
            run.taken += len;
            run.line.extend_from_slice(&chunk[..len.min(room)]);
            run.log_lines(log);
            if room > 0 && room < len {
                log.line("  | (more output is dropped)");
            }
        }
    }

    /// True when the hook has ended.
    pub fn reap(&mut self, now: Micros, log: &mut Log) -> bool {
        let Some(run) = &mut self.running else { return false };
        let Ok(Some(status)) = run.child.try_wait() else { return false };
        self.read_output(log);
        let Some(mut run) = self.running.take() else { return false };
        run.line.push(b'\n');
        run.log_lines(log);
        let failure = run.judge(status);
        let Some(job) = self.queue.front_mut() else { return true };
        let report = HookReport { event: job.event, program: run.hook.program, at_us: self.epoch + run.started, us: now - run.started, failure };
        note(&report, log);
        job.reports.push(report);
        true
    }

    /// Kills a hook that is late, with its children.
    pub fn kill_overdue(&mut self, now: Micros) {
        if self.running.as_ref().is_some_and(|run| !run.overdue && now >= run.deadline) {
            self.kill();
        }
    }

    pub fn kill(&mut self) {
        if let Some(run) = &mut self.running {
            run.overdue = true;
            // SAFETY: numbers only: the group that was made for this hook, whose leader has not been waited for.
            unsafe { libc::kill(-(run.child.id() as i32), libc::SIGKILL) };
        }
    }
}

impl Running {
    fn judge(&self, status: ExitStatus) -> Option<String> {
        let mut what = match (status.code(), status.signal()) {
            _ if self.overdue => format!("did not end within {} s and was killed", self.hook.seconds),
            (Some(0), _) => return None,
            (Some(code), _) => format!("exited with status {code}"),
            (_, Some(signal)) => format!("was killed by signal {signal}"),
            _ => "ended in an unknown way".into(),
        };
        if !self.last_line.is_empty() {
            what = format!("{what}: {}", self.last_line);
        }
        Some(what)
    }

    fn log_lines(&mut self, log: &mut Log) {
        while let Some(end) = self.line.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            let text = String::from_utf8_lossy(&line[..end]).into_owned();
            if !text.trim().is_empty() {
                log.line(&format!("  | {text}"));
                self.last_line = clip(text.trim(), 300);
            }
        }
    }
}

fn note(report: &HookReport, log: &mut Log) {
    let how = report.failure.as_deref().unwrap_or("ended well");
    log.line(&format!("hook {} {how} after {} ms", report.event.as_str(), report.us / 1_000));
}

type Started = (Child, OwnedFd, File);

/// A shell in a process group of its own; the event on its standard input, both outputs in one pipe.
fn spawn<'a>(
    hook: &Hook,
    input: &str,
    variables: impl Iterator<Item = &'a (&'static str, String)>,
) -> io::Result<Started> {
    let mut event = File::from(memfd_create(c"ckpt-event", MFdFlags::MFD_CLOEXEC)?);
    writeln!(event, "{input}")?;
    event.rewind()?;
    let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    // Our end only: a hook expects an ordinary pipe.
    nix::fcntl::fcntl(&read, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &hook.program]).stdin(event).stdout(write.try_clone()?).stderr(Stdio::from(write)).process_group(0);
    for ours in ["CKPT_HOOK", "CKPT_HOLD", "CKPT_HOOK_TIMEOUT", "CKPT_COORD_HOST"] {
        command.env_remove(ours);
    }
    command.envs(variables.map(|(name, value)| (name, value)));
    if let Some(folder) = hook.folder.as_deref().filter(|folder| folder.is_dir()) {
        command.current_dir(folder);
    }
    // SAFETY: only a system call between fork and exec: the server's signals are not to stay blocked.
    unsafe {
        command.pre_exec(|| {
            let mut none = std::mem::zeroed();
            libc::sigemptyset(&mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
            Ok(())
        });
    }
    let mut child = command.spawn()?;
    match pidfd(&child) {
        Ok(exited) => Ok((child, exited, read.into())),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

fn pidfd(child: &Child) -> io::Result<OwnedFd> {
    // SAFETY: numbers only; the descriptor is new and nobody else's.
    unsafe {
        match libc::syscall(libc::SYS_pidfd_open, child.id(), 0) {
            fd if fd >= 0 => Ok(OwnedFd::from_raw_fd(fd as i32)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
