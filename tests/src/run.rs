//! One guest, one mode: in a process of its own that is the subreaper of everything the run starts.

use crate::guests::Expect;
use crate::leftovers;
use crate::product::Product;
use crate::timings::Expected;
use nix::fcntl::{fcntl, FcntlArg, FdFlag};
use std::fmt;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, clap::ValueEnum)]
pub enum Mode {
    /// Without the product
    Native,
    /// Under ckpt_launch, no checkpoint
    Launched,
    /// Checkpoint, and on
    Resume,
    /// Checkpoint, kill, restart
    Restart,
    /// Restart, and the same again
    Twice,
}

impl Mode {
    pub const ALL: [Mode; 5] = [Mode::Native, Mode::Launched, Mode::Resume, Mode::Restart, Mode::Twice];

    pub fn name(self) -> &'static str {
        match self {
            Mode::Native => "native",
            Mode::Launched => "launched",
            Mode::Resume => "resume",
            Mode::Restart => "restart",
            Mode::Twice => "twice",
        }
    }

    fn checkpoints(self) -> usize {
        match self {
            Mode::Native | Mode::Launched => 0,
            Mode::Resume | Mode::Restart => 1,
            Mode::Twice => 2,
        }
    }
}

/// How a run ended. On a line: `pass`, `fail WHY` or `skip WHY`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Pass,
    Fail(String),
    Skip(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Outcome::Pass => write!(f, "pass"),
            Outcome::Fail(why) => write!(f, "fail {why}"),
            Outcome::Skip(why) => write!(f, "skip {why}"),
        }
    }
}

impl Outcome {
    pub fn parse(line: &str) -> Outcome {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("pass", _) => Outcome::Pass,
            ("skip", why) => Outcome::Skip(why.into()),
            ("fail", why) => Outcome::Fail(why.into()),
            _ => Outcome::Fail(format!("the run said {line:?}")),
        }
    }
}

/// Everything `run-one` needs to know.
#[derive(clap::Args, Clone)]
pub struct Spec {
    #[arg(long)]
    pub mode: Mode,
    /// Folder of the product's programs
    #[arg(long)]
    pub bin: PathBuf,
    /// An empty folder for this run
    #[arg(long)]
    pub dir: PathBuf,
    #[arg(long)]
    pub port: u16,
    #[arg(long)]
    pub ids: Option<String>,
    #[arg(long, default_value_t = 1)]
    pub checkpoints: usize,
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    pub launch_args: String,
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    pub restart_args: String,
    /// Microseconds that each callback takes at least
    #[arg(long)]
    pub callbacks: Option<u64>,
    /// Exit code, or minus the signal
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    pub expect: i32,
    #[arg(long)]
    pub detached: bool,
    /// The program is a script of tests/programs with phases
    #[arg(long)]
    pub phases: bool,
    #[arg(long)]
    pub deadline: u64,
    pub program: PathBuf,
    pub args: Vec<String>,
}

pub fn nap() {
    std::thread::sleep(Duration::from_millis(2));
}

pub struct Run {
    pub spec: Spec,
    pub product: Product,
    foreground: Option<Child>,
    pings: usize,
    deadline: Instant,
}

/// Why a run did not pass.
pub enum Stop {
    Failed(String),
    Skipped(String),
}

impl From<String> for Stop {
    fn from(why: String) -> Stop {
        Stop::Failed(why)
    }
}

pub fn run_one(spec: Spec) -> Outcome {
    let mut run = match Run::prepare(spec) {
        Ok(run) => run,
        Err(why) => return Outcome::Fail(why),
    };
    let done = run.whole().and_then(|()| run.timings());
    let left = run.leave();
    match (done, left) {
        (Err(Stop::Skipped(why)), _) => Outcome::Skip(why),
        (Err(Stop::Failed(why)), _) => Outcome::Fail(why),
        (Ok(()), Some(left)) => Outcome::Fail(left),
        (Ok(()), None) => Outcome::Pass,
    }
}

fn prepare(dir: &Path) -> Result<(), String> {
    // One session and one subreaper per run: nothing of it escapes, nothing of others is counted.
    let _ = nix::unistd::setsid();
    nix::sys::prctl::set_child_subreaper(true).map_err(|e| format!("cannot become a subreaper: {e}"))?;
    close_on_exec();
    for name in ["work", "logs"] {
        fs::create_dir(dir.join(name)).map_err(|e| format!("cannot make {}/{name}: {e}", dir.display()))?;
    }
    Ok(())
}

/// What this process inherited, from a terminal or a CI system, is not for the guests.
fn close_on_exec() {
    let entries = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let descriptors = entries.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    for fd in descriptors.filter(|fd| *fd > 2) {
        // SAFETY: only the flag of a number in the table is changed; one closed meanwhile gives EBADF.
        let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
        let _ = fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    }
}

impl Run {
    /// Makes this process the subreaper of the run to come.
    pub fn prepare(spec: Spec) -> Result<Run, String> {
        prepare(&spec.dir)?;
        let deadline = Instant::now() + Duration::from_secs(spec.deadline);
        let here = spec.dir.display().to_string();
        let product = Product {
            bin: spec.bin.clone(),
            port: spec.port,
            dir: spec.dir.clone(),
            work: spec.dir.join("work"),
            logs: spec.dir.join("logs"),
            ids: spec.ids.clone(),
            launch_args: spec.launch_args.replace("@DIR@", &here),
            restart_args: spec.restart_args.replace("@DIR@", &here),
        };
        Ok(Run { spec, product, foreground: None, pings: 0, deadline })
    }

    fn whole(&mut self) -> Result<(), Stop> {
        if self.spec.phases {
            return crate::programs::whole(self);
        }
        self.start()?;
        self.await_note("ready")?;
        for round in 1..=self.spec.mode.checkpoints() {
            self.checkpoint_round(round)?;
            self.ping()?;
            if self.spec.mode != Mode::Resume {
                self.product.remove_images()?;
            }
        }
        self.note("go")?;
        if self.spec.detached {
            self.await_note("ok")?;
        }
        self.finish()
    }

    /// What is noted beside the images.
    fn timings(&self) -> Result<(), Stop> {
        let rounds = self.spec.mode.checkpoints();
        if rounds == 0 || self.launch_elsewhere() || self.refusal().is_some() {
            return Ok(());
        }
        let kills = self.spec.mode != Mode::Resume;
        let extra = rounds * (self.spec.checkpoints.max(1) - 1);
        let expected = Expected {
            checkpoints: rounds + extra,
            resumed: if kills { extra } else { rounds + extra },
            restarts: if kills { rounds } else { 0 },
            callbacks: self.spec.callbacks,
        };
        Ok(crate::timings::check(&self.product.dir.join("images"), &expected)?)
    }

    fn launch_elsewhere(&self) -> bool {
        self.product.launch_args.contains("--ckptdir")
    }

    /// A note for the program.
    pub fn note(&self, name: &str) -> Result<(), Stop> {
        fs::write(self.product.work.join(name), "").map_err(|e| Stop::Failed(format!("cannot write {name}: {e}")))
    }

    /// Starts the program: natively or under ckpt_launch.
    pub fn start(&mut self) -> Result<(), Stop> {
        let spec = &self.spec;
        let mut command = if spec.mode == Mode::Native {
            let mut command = self.product.command(&spec.program, "native");
            command.args(&spec.args);
            command
        } else {
            self.product.launch(&spec.program, &spec.args)
        };
        self.foreground = Some(command.spawn().map_err(|e| format!("cannot start {command:?}: {e}"))?);
        Ok(())
    }

    pub fn rounds(&self) -> usize {
        self.spec.mode.checkpoints()
    }

    /// One checkpoint and, unless the mode is resume, kill and restart.
    pub fn checkpoint_round(&mut self, round: usize) -> Result<(), Stop> {
        if let Some(words) = self.refusal() {
            return self.be_refused(&words);
        }
        for _ in 1..self.spec.checkpoints {
            self.ask(&["--checkpoint"])?;
            if !self.spec.phases {
                self.ping()?;
            }
        }
        if self.spec.mode == Mode::Resume {
            return self.ask(&["--checkpoint"]);
        }
        self.ask(&["--checkpoint", "--kill"])?;
        self.await_death()?;
        let mut command = self.product.restart(round)?;
        self.foreground = Some(command.spawn().map_err(|e| format!("cannot start ckpt_restart: {e}"))?);
        Ok(())
    }

    /// What the guest says that a checkpoint of it will say.
    fn refusal(&self) -> Option<String> {
        fs::read_to_string(self.product.work.join("refused")).ok()
    }

    /// The program runs on.
    fn be_refused(&mut self, words: &str) -> Result<(), Stop> {
        let mut child = self.product.ask(&["--checkpoint"])?;
        let status = self.await_exit(&mut child, "ckpt_command")?;
        let said = self.words("command").unwrap_or_default();
        if status.code() == Some(1) && said.contains(words) {
            return Ok(());
        }
        Err(Stop::Failed(format!("ckpt_command --checkpoint: {status}: {said}; expected a refusal with {words:?}")))
    }

    pub fn ask(&mut self, options: &[&str]) -> Result<(), Stop> {
        let mut child = self.product.ask(options)?;
        let status = self.await_exit(&mut child, "ckpt_command")?;
        if status.success() {
            return Ok(());
        }
        let said = self.words("command").unwrap_or_default();
        Err(Stop::Failed(format!("ckpt_command {}: {status}: {said}", options.join(" "))))
    }

    /// After `--kill` nothing but the coordinator may live.
    fn await_death(&mut self) -> Result<(), Stop> {
        if let Some(mut child) = self.foreground.take() {
            self.await_exit(&mut child, "the killed launcher")?;
        }
        let patience = Instant::now() + Duration::from_secs(2);
        loop {
            let mut alive = leftovers::descendants();
            // A script's program outside the computation goes by that name.
            alive.retain(|p| !p.name.starts_with("ckpt_coord") && p.name != "outside");
            if alive.is_empty() {
                return Ok(());
            }
            if Instant::now() > patience {
                let names: Vec<String> = alive.iter().map(|p| format!("{} {}", p.name, p.pid)).collect();
                return Err(Stop::Failed(format!("alive after --kill: {}", names.join(", "))));
            }
            nap();
        }
    }

    pub fn ping(&mut self) -> Result<(), Stop> {
        self.pings += 1;
        self.note(&format!("ping.{}", self.pings))?;
        self.await_note(&format!("pong.{}", self.pings))
    }

    pub fn await_note(&mut self, name: &str) -> Result<(), Stop> {
        let path = self.product.work.join(name);
        loop {
            if path.exists() {
                return Ok(());
            }
            let ended = match &mut self.foreground {
                Some(child) => child.try_wait().map_err(|e| format!("cannot wait: {e}"))?,
                None => None,
            };
            if let Some(status) = ended {
                self.foreground = None;
                if !(self.spec.detached && status.success()) {
                    return Err(self.verdict(status, &format!("ended before {name}")));
                }
            }
            self.in_time(&format!("waiting for {name}"))?;
            nap();
        }
    }

    /// Says so when the foreground process has ended, whatever its status.
    pub fn still_there(&mut self, when: &str) -> Result<(), Stop> {
        let Some(child) = &mut self.foreground else { return Ok(()) };
        match child.try_wait() {
            Ok(Some(status)) => {
                self.foreground = None;
                Err(self.verdict(status, when))
            }
            _ => Ok(()),
        }
    }

    pub fn in_time(&self, doing: &str) -> Result<(), Stop> {
        if Instant::now() < self.deadline {
            return Ok(());
        }
        let _ = fs::write(self.product.logs.join("hang.txt"), leftovers::where_they_are());
        let said = self.complaint().map(|c| format!(" ({c})")).unwrap_or_default();
        Err(Stop::Failed(format!("hangs {doing}{said}")))
    }

    pub fn await_exit(&mut self, child: &mut Child, who: &str) -> Result<ExitStatus, Stop> {
        loop {
            if let Some(status) = child.try_wait().map_err(|e| format!("cannot wait for {who}: {e}"))? {
                return Ok(status);
            }
            if let Err(hang) = self.in_time(&format!("waiting for the end of {who}")) {
                let _ = child.kill();
                return Err(hang);
            }
            nap();
        }
    }

    /// Waits for the end of the foreground process and judges its status.
    pub fn finish(&mut self) -> Result<(), Stop> {
        let Some(mut child) = self.foreground.take() else { return Ok(()) };
        let status = self.await_exit(&mut child, "the program")?;
        let expect = match self.spec.expect {
            code if code >= 0 => Expect::Exit(code),
            signal => Expect::Signal(-signal),
        };
        let met = match expect {
            Expect::Exit(code) => status.code() == Some(code),
            Expect::Signal(n) => status.signal() == Some(n) || status.code() == Some(128 + n),
        };
        // A word of a child that failed counts, whatever the first process says.
        if met && self.complaint().is_none() {
            return Ok(());
        }
        Err(self.verdict(status, "ended"))
    }

    fn verdict(&self, status: ExitStatus, when: &str) -> Stop {
        let said = self.complaint();
        if status.code() == Some(77) {
            let why = said.unwrap_or_default();
            return Stop::Skipped(why.trim_start_matches("SKIP: ").into());
        }
        let tool = ["restart2", "restart1", "launch"].iter().find_map(|log| self.words(log));
        let why = said.or(tool).map(|w| format!(": {w}")).unwrap_or_default();
        Stop::Failed(format!("{when} with {status}{why}"))
    }

    /// The first FAIL or SKIP line in any log.
    fn complaint(&self) -> Option<String> {
        let logs = crate::guests::entries(&self.product.logs).ok()?;
        let texts = logs.iter().filter_map(|p| fs::read(p).ok());
        texts.filter_map(|t| find_complaint(&String::from_utf8_lossy(&t))).next()
    }

    /// What a tool said on standard error, on one line.
    fn words(&self, log: &str) -> Option<String> {
        let text = fs::read(self.product.logs.join(format!("{log}.err"))).ok()?;
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        let joined: String = lines.join(" / ").chars().take(400).collect();
        (!joined.is_empty()).then_some(joined)
    }

    /// Ends the coordinator and says what is left of the run, after killing it.
    pub fn leave(&mut self) -> Option<String> {
        if self.spec.mode != Mode::Native {
            if let Ok(mut child) = self.product.ask(&["--quit"]) {
                self.deadline = self.deadline.max(Instant::now() + Duration::from_secs(3));
                let _ = self.await_exit(&mut child, "ckpt_command --quit");
            }
        }
        let patience = Instant::now() + Duration::from_secs(2);
        while !leftovers::descendants().is_empty() && Instant::now() < patience {
            nap();
        }
        let alive = leftovers::descendants();
        let mut left: Vec<String> = alive.iter().map(|p| format!("process {} {}", p.name, p.pid)).collect();
        if !alive.is_empty() && !self.product.logs.join("hang.txt").exists() {
            let _ = fs::write(self.product.logs.join("hang.txt"), leftovers::where_they_are());
        }
        leftovers::kill_all();
        if let Some(child) = &mut self.foreground {
            let _ = child.kill();
        }
        left.extend(leftovers::objects(self.spec.port));
        (!left.is_empty()).then(|| format!("left behind: {}", left.join(", ")))
    }
}

fn find_complaint(text: &str) -> Option<String> {
    text.lines().find(|l| l.starts_with("FAIL: ") || l.starts_with("SKIP: ")).map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_survive_the_line() {
        for outcome in [Outcome::Pass, Outcome::Fail("a b: c".into()), Outcome::Skip("no x".into())] {
            assert_eq!(Outcome::parse(&outcome.to_string()), outcome);
        }
        assert!(matches!(Outcome::parse(""), Outcome::Fail(_)));
    }

    #[test]
    fn complaints_are_found_anywhere() {
        assert_eq!(find_complaint("x\nFAIL: y\n"), Some("FAIL: y".into()));
        assert_eq!(find_complaint("x FAIL: y\n"), None);
    }
}
