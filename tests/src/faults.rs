//! `cargo xtask faults`: every fault at every stage of a checkpoint and of a restart, on a program of several
//! processes. Each ends in one of two ways: the program runs on unharmed and an error is said, or the previous
//! checkpoint restarts. Never a hang, nothing left behind.

mod commit;
mod disk;
mod meanwhile;
mod power;
mod privilege;
mod shortage;

use crate::build::Paths;
use crate::leftovers;
use ckpt_sys::fault::{Effect, Stage};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Counts, has a child that counts, a pipe with something in it, shared memory.
const PROGRAM: &str = "import os, time, mmap, signal\nsignal.signal(signal.SIGINT, lambda *_: open('interrupted', 'w').close())\n\
r, w = os.pipe()\nos.write(w, b'in flight')\nshared = mmap.mmap(-1, 1 << 16)\nbig = bytearray(os.urandom(1 << 21))\n\
kid = os.fork()\nout = os.open('kid' if kid == 0 else 'main', os.O_RDWR | os.O_CREAT)\nn = 0\n\
while True:\n    n += 1\n    shared[0] = n % 256\n    os.pwrite(out, str(n).ljust(20).encode(), 0)\n\
\x20   if os.read(r, 9) != b'in flight': os._exit(9)\n    os.write(w, b'in flight')\n    time.sleep(0.01)\n";

const PATIENCE: Duration = Duration::from_secs(60);

struct Case {
    bin: PathBuf,
    dir: PathBuf,
    port: u16,
    foreground: Vec<Child>,
    /// the folder of images
    images: PathBuf,
}

/// One row of the table.
struct Row {
    stage: String,
    effect: String,
    said: Result<String, String>,
}

pub fn faults(filter: Option<&str>, no_build: bool, report: Option<&Path>) -> Result<bool, String> {
    let paths = Paths::find()?;
    let bin = if no_build { paths.target.join("faults/debug") } else { build(&paths)? };
    nix::sys::prctl::set_child_subreaper(true).map_err(|e| e.to_string())?;
    // Before a quarter of an hour goes into it.
    report.map_or(Ok(()), |path| write_report(path, &[]))?;
    let (mut rows, mut skipped) = (Vec::new(), 0);
    for (stage, effect, work) in all() {
        let name = format!("{stage}:{effect}");
        if filter.is_some_and(|f| !name.contains(f)) {
            continue;
        }
        if needs_root(&stage, &effect) && !nix::unistd::geteuid().is_root() {
            println!("skip {name}: it needs root");
            skipped += 1;
            continue;
        }
        let begun = Instant::now();
        let said = run(&bin, rows.len(), work);
        match &said {
            Ok(outcome) => println!("ok   {name} ({:.1} s): {outcome}", begun.elapsed().as_secs_f64()),
            Err(why) => println!("FAIL {name}: {why}"),
        }
        rows.push(Row { stage, effect, said });
    }
    let failed = rows.iter().filter(|r| r.said.is_err()).count();
    if let Some(path) = report {
        write_report(path, &rows)?;
    }
    println!("{} passed, {failed} failed, {skipped} skipped", rows.len() - failed);
    Ok(failed == 0)
}

/// File systems are mounted, a control group made, another user's process watched.
fn needs_root(stage: &str, effect: &str) -> bool {
    matches!(stage, "disk" | "power-cut" | "memory" | "security") && effect != "RLIMIT_FSIZE"
}

/// Stage, fault, what to do.
fn all() -> Vec<(String, String, Work)> {
    let rows = meanwhile::ROWS.iter().chain(&disk::ROWS).chain(&power::ROWS).chain(&shortage::ROWS).chain(&commit::ROWS).chain(&privilege::ROWS);
    let rows = rows.map(|row| (row.0.to_string(), row.1.to_string(), Work::Disk(row.2)));
    let faults = plan().into_iter().map(|(stage, effect)| (stage.name().to_string(), effect.name().to_string(), Work::Fault(stage, effect)));
    faults.chain(rows).collect()
}

/// What can go wrong where: a kill of the writer needs one, a restart writes nothing. What is stopped in a restart is waited
/// for ten times `--stage-timeout` at most.
fn plan() -> Vec<(Stage, Effect)> {
    let mut all = Vec::new();
    for stage in Stage::CHECKPOINT {
        let has_writer = [Stage::Write, Stage::Sync].contains(&stage);
        let waits = [Stage::Quiesce, Stage::Write, Stage::Committed].contains(&stage);
        let fits = |e: &Effect| match e {
            Effect::KillWriter => has_writer,
            Effect::StopCoordinator => waits,
            _ => true,
        };
        all.extend(Effect::ALL.into_iter().filter(fits).map(|e| (stage, e)));
    }
    for stage in Stage::INSIDE {
        all.extend([Effect::Eio, Effect::Enospc, Effect::Stall, Effect::KillSelf, Effect::StopSelf].map(|e| (stage, e)));
    }
    for stage in Stage::RESTART {
        let has_member = [Stage::Restore, Stage::Barrier].contains(&stage);
        let has_agent = has_member || stage == Stage::Map;
        let in_member = [Stage::Join, Stage::Exec].contains(&stage);
        let fits = |e: &Effect| match e {
            Effect::Eio | Effect::Stall | Effect::KillSelf => true,
            Effect::KillMember | Effect::StopMember => has_member,
            Effect::KillCoordinator | Effect::StopCoordinator | Effect::KillForeground => has_agent,
            // Who stops ckpt_restart wants it to stand still.
            Effect::StopSelf => in_member,
            _ => false,
        };
        all.extend(Effect::ALL.into_iter().filter(fits).map(|e| (stage, e)));
    }
    all
}

/// Programs and library with faults compiled in; the library, which has no libc under it, as it is released.
fn build(paths: &Paths) -> Result<PathBuf, String> {
    let target = paths.target.join("faults");
    let build = |words: &[&str]| {
        let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
        cargo.current_dir(&paths.root).args(["build", "--quiet", "--features", "ckpt-sys/faults", "-p", "ckpt-sys"]);
        cargo.args(words).arg("--target-dir").arg(&target);
        if cargo.status().is_ok_and(|s| s.success()) { Ok(()) } else { Err("the build failed; its messages are above".to_string()) }
    };
    build(&["-p", "ckpt-agent", "-p", "ckpt-coordinator", "-p", "ckpt-restart"])?;
    build(&["--release", "-p", "ckpt-preload"])?;
    let (bin, library) = (target.join("debug"), target.join("release/libckpt.so"));
    fs::copy(&library, bin.join("libckpt.so")).map_err(|e| format!("{}: {e}", library.display()))?;
    Ok(bin)
}

enum Work {
    Fault(Stage, Effect),
    Disk(disk::Row),
}

fn run(bin: &Path, number: usize, work: Work) -> Result<String, String> {
    let port = (41_000 + (std::process::id() as usize * 97 + number) % 20_000) as u16;
    let dir = std::env::temp_dir().join(format!("ckpt-faults-{port}"));
    fs::create_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    fs::write(dir.join("program.py"), PROGRAM).map_err(|e| e.to_string())?;
    let images = dir.join("images");
    let mut case = Case { bin: bin.into(), dir, port, foreground: Vec::new(), images };
    let done = match work {
        Work::Disk(work) => work(&mut case),
        Work::Fault(stage, effect) => {
            if Stage::CHECKPOINT.contains(&stage) || Stage::INSIDE.contains(&stage) { case.checkpoint(stage, effect) } else { case.restart(&format!("{}:{}", stage.name(), effect.name()), effect) }
        }
    };
    let tidy = case.leave();
    done.and_then(|said| tidy.map(|()| said))
}

/// Exit status and what was said.
type Answer = (i32, String);

impl Case {
    fn command(&self, tool: &str, args: &[&str]) -> Command {
        let mut command = Command::new(self.bin.join(tool));
        command.args(["--coord-port", &self.port.to_string(), "--tmpdir"]).arg(&self.dir).args(args);
        command.current_dir(&self.dir).stdin(Stdio::null()).env_remove("XDG_RUNTIME_DIR");
        command
    }

    /// Runs to its end; never longer than `PATIENCE`.
    fn ask(&self, mut command: Command) -> Result<Answer, String> {
        let log = self.dir.join("answer");
        let file = fs::File::create(&log).map_err(|e| e.to_string())?;
        let errors = file.try_clone().map_err(|e| e.to_string())?;
        let mut child = command.stdout(file).stderr(errors).spawn().map_err(|e| e.to_string())?;
        let status = wait(&mut child).ok_or_else(|| format!("hangs: {command:?}"))?;
        Ok((status, fs::read_to_string(log).unwrap_or_default().trim().replace('\n', " / ")))
    }

    fn start(&mut self, mut command: Command, log: &str) -> Result<(), String> {
        let file = fs::File::create(self.dir.join(log)).map_err(|e| e.to_string())?;
        let errors = file.try_clone().map_err(|e| e.to_string())?;
        // A group of their own: some faults signal it.
        command.process_group(0);
        self.foreground.push(command.stdout(file).stderr(errors).spawn().map_err(|e| e.to_string())?);
        Ok(())
    }

    fn said(&self, log: &str) -> String {
        fs::read_to_string(self.dir.join(log)).unwrap_or_default().trim().replace('\n', " / ")
    }

    fn launch(&mut self, fault: Option<&str>) -> Result<(), String> {
        // The coordinator's deadline is shorter than a stall; where nobody stands still a busy machine has time.
        let seconds = if fault.is_some_and(|f| f.contains(":st")) { "2" } else { "30" };
        self.launch_with(&[], fault, seconds)
    }

    /// `seconds`: the coordinator's deadlines.
    fn launch_with(&mut self, options: &[&str], fault: Option<&str>, seconds: &str) -> Result<(), String> {
        let mut command = self.command("ckpt_launch", options);
        command.arg("--ckptdir").arg(&self.images).args(["python3", "program.py"]);
        command.env("CKPT_STAGE_TIMEOUT", seconds).env("CKPT_WRITE_TIMEOUT", seconds);
        if let Some(fault) = fault {
            command.env("CKPT_FAULT", fault);
        }
        self.start(command, "launch")?;
        self.counts(&["main", "kid"])
    }

    /// Do these processes go on?
    fn counts(&self, names: &[&str]) -> Result<(), String> {
        let read = |name: &str| fs::read_to_string(self.dir.join(name)).ok()?.trim().parse::<u64>().ok();
        for name in names {
            let (before, end) = (read(name), Instant::now() + PATIENCE);
            while read(name).is_none() || read(name) == before {
                if Instant::now() > end {
                    return Err(format!("process {name} does not go on; launch: {}; restart: {}", self.said("launch"), self.said("restart")));
                }
                crate::run::nap();
            }
        }
        Ok(())
    }

    fn checkpoint(&mut self, stage: Stage, effect: Effect) -> Result<String, String> {
        self.launch(Some(&format!("{}:{}:2", stage.name(), effect.name())))?;
        let first = self.ask(self.command("ckpt_command", &["--checkpoint"]))?;
        if first.0 != 0 {
            return Err(format!("the first checkpoint failed: {}", first.1));
        }
        let (status, said) = match effect {
            Effect::StopCoordinator => self.ask_a_stopped_one()?,
            _ => self.ask(self.command("ckpt_command", &["--checkpoint"]))?,
        };
        if status != 0 && said.is_empty() {
            return Err("the failed checkpoint says nothing".into());
        }
        let in_kid = [Stage::InQuiesce, Stage::InCapture, Stage::InFreeze].contains(&stage);
        let killed = effect == Effect::KillMember || in_kid && effect == Effect::KillSelf;
        let survivors: &[&str] = if killed { &["main"] } else { &["main", "kid"] };
        if in_kid && effect == Effect::StopSelf || effect == Effect::StopMember {
            self.counts(&["main"])?;
            wake_stopped();
        }
        self.counts(survivors)?;
        match effect {
            Effect::KillCoordinator => self.a_coordinator_answers()?,
            Effect::StopSelf => wake_stopped(),
            Effect::Interrupt if !self.dir.join("interrupted").exists() => return Err("the signal was lost".into()),
            _ => {}
        }
        let (after, words) = self.next(effect)?;
        match (after, effect) {
            (0, _) | (_, Effect::KillSelf) => {}
            _ => return Err(format!("no checkpoint is possible any more: {words} (before: {said})")),
        }
        if after == 0 {
            self.no_temporaries()?;
        }
        self.kill_all()?;
        self.restart_all(None)?;
        self.counts(if after == 0 { survivors } else { &["main", "kid"] })?;
        let outcome = if status == 0 { "complete".into() } else { format!("runs on; \"{}\"", cut(&said)) };
        Ok(if after == 0 { format!("{outcome}; next checkpoint restarts") } else { format!("{outcome}; previous checkpoint restarts") })
    }

    /// Another checkpoint; a stall may last into it.
    fn next(&self, effect: Effect) -> Result<Answer, String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask(self.command("ckpt_command", &["--checkpoint"]))?;
            if answer.0 == 0 || effect != Effect::Stall || Instant::now() > end {
                return Ok(answer);
            }
        }
    }

    /// The coordinator stands still: the program does not, a second question is told so, and when the coordinator goes on
    /// the first one is answered.
    fn ask_a_stopped_one(&mut self) -> Result<Answer, String> {
        self.start(self.command("ckpt_command", &["--checkpoint"]), "answer-1")?;
        await_stopped("the coordinator")?;
        self.counts(&["main", "kid"])?;
        let (status, said) = self.ask(self.command("ckpt_command", &["--list"]))?;
        if status != 2 || !said.contains("is it stopped?") {
            return Err(format!("ckpt_command does not say that the coordinator is stopped: {said}"));
        }
        wake_stopped();
        let mut asked = self.foreground.pop().ok_or("no question")?;
        let status = wait(&mut asked).ok_or("ckpt_command hangs")?;
        Ok((status, self.said("answer-1")))
    }

    /// The agent starts another one.
    fn a_coordinator_answers(&self) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let (status, said) = self.ask(self.command("ckpt_command", &["--list"]))?;
            if status == 0 && said.contains("python3") {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!("no new coordinator: {said}"));
            }
            crate::run::nap();
        }
    }

    fn restart(&mut self, fault: &str, effect: Effect) -> Result<String, String> {
        self.launch(None)?;
        let (status, said) = self.ask(self.command("ckpt_command", &["--checkpoint", "--kill"]))?;
        if status != 0 {
            return Err(format!("the checkpoint failed: {said}"));
        }
        self.kill_all()?;
        let mut command = self.restart_command()?;
        let seconds = if fault.contains(":st") { "2" } else { "30" };
        command.env("CKPT_FAULT", fault).env("CKPT_STAGE_TIMEOUT", seconds);
        self.start(command, "restart")?;
        let mut outcome = "goes on".to_string();
        // The shell's part may be gone: the program is not.
        if effect != Effect::KillForeground && self.counts_or_ends()? {
            let said = self.said("restart");
            let error = said.split(" / ").filter(|line| !line.contains("risk:")).last().unwrap_or_default();
            outcome = format!("nothing runs; \"{}\"", cut(error));
            if self.said("restart").is_empty() && !fault.contains("kill-self") {
                return Err("the failed restart says nothing".into());
            }
            self.nothing_left()?;
            self.kill_all()?;
            self.restart_all(None)?;
            self.counts(&["main", "kid"])?;
            outcome += "; the same image restarts";
        }
        if [Effect::StopMember, Effect::StopCoordinator].contains(&effect) {
            self.counts(&["main"])?;
            wake_stopped();
        }
        // A member that was killed when all had been restored is missing; nobody else is.
        self.counts(if effect == Effect::KillMember { &["main"] } else { &["main", "kid"] })?;
        Ok(outcome)
    }

    /// True: the restart has ended without a program that goes on.
    fn counts_or_ends(&mut self) -> Result<bool, String> {
        let Some(child) = self.foreground.last_mut() else { return Ok(true) };
        let end = Instant::now() + PATIENCE;
        let before = fs::read_to_string(self.dir.join("main")).unwrap_or_default();
        loop {
            if child.try_wait().ok().flatten().is_some() {
                return Ok(true);
            }
            if fs::read_to_string(self.dir.join("main")).unwrap_or_default() != before {
                return Ok(false);
            }
            if Instant::now() > end {
                return Err("ckpt_restart hangs".into());
            }
            crate::run::nap();
        }
    }

    fn restart_command(&self) -> Result<Command, String> {
        let images = self.images("img")?;
        let mut command = self.command("ckpt_restart", &[]);
        command.args(images);
        Ok(command)
    }

    fn restart_all(&mut self, fault: Option<&str>) -> Result<(), String> {
        let mut command = self.restart_command()?;
        if let Some(fault) = fault {
            command.env("CKPT_FAULT", fault);
        }
        self.start(command, "restart")
    }

    fn images(&self, extension: &str) -> Result<Vec<PathBuf>, String> {
        let mut images = crate::guests::entries(&self.images)?;
        images.retain(|p| p.extension().is_some_and(|e| e == extension));
        Ok(images)
    }

    fn no_temporaries(&self) -> Result<(), String> {
        let left = self.images("tmp")?;
        if left.is_empty() { Ok(()) } else { Err(format!("left behind: {left:?}")) }
    }

    /// Of a restart that failed: no process but the coordinator.
    fn nothing_left(&self) -> Result<(), String> {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            leftovers::reap();
            let mut alive = leftovers::descendants();
            alive.retain(|p| !p.name.starts_with("ckpt_coord"));
            if alive.is_empty() {
                return Ok(());
            }
            if Instant::now() > end {
                let names: Vec<String> = alive.iter().map(|p| format!("{} {}", p.name, p.pid)).collect();
                return Err(format!("left behind: {}; restart: {}", names.join(", "), self.said("restart")));
            }
            crate::run::nap();
        }
    }

    fn kill_all(&mut self) -> Result<(), String> {
        leftovers::kill_all();
        self.foreground.drain(..).for_each(|mut child| drop(child.wait()));
        Ok(())
    }

    fn leave(&mut self) -> Result<(), String> {
        let _ = self.ask(self.command("ckpt_command", &["--quit"]));
        self.kill_all()?;
        let _ = fs::remove_dir_all(&self.dir);
        Ok(())
    }
}

/// Until the fault has stopped it.
fn await_stopped(who: &str) -> Result<(), String> {
    let end = Instant::now() + PATIENCE;
    while !leftovers::descendants().iter().any(|p| p.state == 'T') {
        if Instant::now() > end {
            return Err(format!("{who} was not stopped"));
        }
        crate::run::nap();
    }
    Ok(())
}

/// Agent or coordinator, stopped by a fault.
fn wake_stopped() {
    for process in leftovers::descendants().iter().filter(|p| p.state == 'T') {
        // A process that is gone needs none.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(process.pid), nix::sys::signal::Signal::SIGCONT);
    }
}

fn wait(child: &mut Child) -> Option<i32> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status.code().unwrap_or(128));
        }
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        crate::run::nap();
    }
}

/// Names that change from run to run are left out.
fn cut(said: &str) -> String {
    let first = said.split(" / ").next().unwrap_or_default();
    let words: Vec<String> = first.split(' ').map(plain).collect();
    words.join(" ").chars().take(150).collect()
}

fn plain(word: &str) -> String {
    let tail: String = word.chars().rev().take_while(|c| ".,:;)".contains(*c)).collect::<Vec<_>>().into_iter().rev().collect();
    let body = &word[..word.len() - tail.len()];
    match () {
        _ if body.contains("/ckpt-faults-") => format!("DIR{tail}"),
        _ if body.len() > 2 && body.bytes().all(|b| b.is_ascii_digit()) => format!("N{tail}"),
        _ => word.to_string(),
    }
}

const MARK: &str = "<!-- faults -->";

/// Between the two marks of the file the table is renewed; with a filter, its rows that were run.
fn write_report(path: &Path, rows: &[Row]) -> Result<(), String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let parts: Vec<&str> = text.split(MARK).collect();
    let [before, old, after] = parts[..] else { return Err(format!("{}: two lines {MARK} are missing", path.display())) };
    let order: Vec<String> = all().into_iter().map(|(stage, effect, _)| format!("| {stage} | {effect} |")).collect();
    let mut table = String::from("\n| stage | fault | outcome |\n|---|---|---|\n");
    for head in &order {
        let now = rows.iter().find(|r| *head == format!("| {} | {} |", r.stage, r.effect));
        let now = now.map(|r| r.said.as_ref().map_or_else(|e| format!("**FAILED**: {e}"), |o| o.replace('|', "/")));
        match (now, old.lines().find(|line| line.starts_with(head.as_str()))) {
            (Some(outcome), _) => _ = writeln!(table, "{head} {outcome} |"),
            (None, Some(line)) => _ = writeln!(table, "{line}"),
            (None, None) => {}
        }
    }
    fs::write(path, format!("{before}{MARK}{table}{MARK}{after}")).map_err(|e| format!("{}: {e}", path.display()))
}
