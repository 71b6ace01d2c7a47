//! Hooks as child processes: one at a time, in the order of events; the event loop is never kept waiting.

use super::log::Log;
use crate::barrier::{Micros, SECOND};
use crate::hooks::{Hook, HookOptions};
use ckpt_wire::{clip, HookEvent, HookReport};
use nix::sys::memfd::{memfd_create, MFdFlags};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

/// More output than this from one hook is dropped.
const MAX_OUTPUT: usize = 64 << 10;

/// One event whose hooks are to be run.
#[derive(Debug)]
struct Job {
    event: HookEvent,
    generation: u32,
    input: String,
    /// Hooks of the event that are still to run.
    left: VecDeque<String>,
    reports: Vec<HookReport>,
}

#[derive(Debug)]
struct Running {
    program: String,
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
    hooks: Vec<Hook>,
    patience: Micros,
    patience_seconds: u32,
    /// Where the coordinator was started: relative paths mean what they meant there.
    folder: Option<PathBuf>,
    variables: Vec<(&'static str, String)>,
    /// Microseconds since 1970 at zero of the server's clock.
    epoch: Micros,
    queue: VecDeque<Job>,
    running: Option<Running>,
}

impl HookRunner {
    pub fn new(options: &HookOptions, folder: Option<PathBuf>, epoch: Micros, variables: Vec<(&'static str, String)>) -> HookRunner {
        let patience_seconds = options.seconds();
        HookRunner {
            hooks: options.hooks.clone(),
            patience: Micros::from(patience_seconds) * SECOND,
            patience_seconds,
            folder,
            variables,
            epoch,
            queue: VecDeque::new(),
            running: None,
        }
    }

    pub fn is_busy(&self) -> bool {
        !self.queue.is_empty()
    }

    pub fn next_due(&self) -> Option<Micros> {
        self.running.as_ref().filter(|run| !run.overdue).map(|run| run.deadline)
    }

    /// `input` is the event in JSON.
    pub fn add(&mut self, event: HookEvent, generation: u32, input: String) {
        let left = self.hooks.iter().filter(|hook| hook.event == event).map(|hook| hook.program.clone()).collect();
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
            let Some(program) = job.left.pop_front() else { return false };
            let variables = [("CKPT_HOOK_EVENT", job.event.as_str().into()), ("CKPT_HOOK_GENERATION", job.generation.to_string())];
            log.line(&format!("hook {} of checkpoint {}: {program}", job.event.as_str(), job.generation));
            let started = spawn(&program, &job.input, self.folder.as_deref(), variables.iter().chain(&self.variables));
            match started {
                Ok((child, exited, output)) => {
                    let deadline = now + self.patience;
                    let (line, last_line) = (Vec::new(), String::new());
                    self.running = Some(Running { program, child, exited, output, line, taken: 0, last_line, started: now, deadline, overdue: false });
                    return true;
                }
                Err(error) => {
                    let report = HookReport { event: job.event, program, at_us: self.epoch + now, us: 0, failure: Some(format!("could not be started: {error}")) };
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
        let failure = self.judge(&run, status);
        let Some(job) = self.queue.front_mut() else { return true };
        let report = HookReport { event: job.event, program: run.program, at_us: self.epoch + run.started, us: now - run.started, failure };
        note(&report, log);
        job.reports.push(report);
        true
    }

    fn judge(&self, run: &Running, status: ExitStatus) -> Option<String> {
        let mut what = match (status.code(), status.signal()) {
            _ if run.overdue => format!("did not end within {} s and was killed", self.patience_seconds),
            (Some(0), _) => return None,
            (Some(code), _) => format!("exited with status {code}"),
            (_, Some(signal)) => format!("was killed by signal {signal}"),
            _ => "ended in an unknown way".into(),
        };
        if !run.last_line.is_empty() {
            what = format!("{what}: {}", run.last_line);
        }
        Some(what)
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
    program: &str,
    input: &str,
    folder: Option<&std::path::Path>,
    variables: impl Iterator<Item = &'a (&'static str, String)>,
) -> io::Result<Started> {
    let mut event = File::from(memfd_create(c"ckpt-event", MFdFlags::MFD_CLOEXEC)?);
    writeln!(event, "{input}")?;
    event.rewind()?;
    let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    // Our end only: a hook expects an ordinary pipe.
    nix::fcntl::fcntl(&read, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
    let mut command = Command::new("/bin/sh");
    command.args(["-c", program]).stdin(event).stdout(write.try_clone()?).stderr(Stdio::from(write)).process_group(0);
    for ours in ["CKPT_HOOK", "CKPT_HOLD", "CKPT_HOOK_TIMEOUT", "CKPT_COORD_HOST"] {
        command.env_remove(ours);
    }
    command.envs(variables.map(|(name, value)| (name, value)));
    if let Some(folder) = folder.filter(|folder| folder.is_dir()) {
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
