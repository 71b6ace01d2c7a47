//! `cargo xtask test`: plans the runs, keeps some of them going at a time, and sums up.

use crate::build::{self, Paths};
use crate::guests::{Expect, Guest};
use crate::report::{self, Gaps, Results, Verdict};
use crate::run::{Mode, Outcome};
use crate::{Group, TestArgs};
use nix::unistd::{chown, User};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What all runs have in common.
struct Suite<'a> {
    args: &'a TestArgs,
    paths: Paths,
    /// Programs of the product, and `guests` below or beside it.
    bin: PathBuf,
    guests: PathBuf,
    user: Option<User>,
}

pub fn test(args: &TestArgs) -> Result<bool, String> {
    let paths = Paths::find()?;
    let mut guests = match args.group {
        Group::Guests => crate::guests::all(&paths.root)?,
        Group::Programs => crate::programs::all(&paths.root)?,
    };
    if let Some(part) = &args.filter {
        guests.retain(|g| g.name.contains(part.as_str()));
    }
    if !args.no_build {
        build::product(&paths)?;
    }
    if args.group == Group::Guests {
        build::guests(&paths, &guests)?;
    }
    let gaps = Gaps::read(&paths.root)?;
    let public = PathBuf::from(format!("/tmp/ckpt-test-bin-{}", std::process::id()));
    let suite = Suite::new(args, paths, &guests, &public)?;
    let results = suite.run_all(&guests, &gaps);
    let _ = fs::remove_dir_all(&public);
    if let Some(path) = &args.report {
        fs::write(path, report::support(&guests, &results)).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(sum_up(&results, &args.modes))
}

fn sum_up(results: &Results, modes: &[Mode]) -> bool {
    let (passed, failed, skipped, gaps) = report::count(results);
    println!("\n{}\n", report::matrix(results, modes));
    if gaps > 0 {
        println!("{gaps} known gaps (tests/known-gaps.txt)");
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    failed == 0
}

impl<'a> Suite<'a> {
    fn new(args: &'a TestArgs, paths: Paths, guests: &[Guest], public: &Path) -> Result<Suite<'a>, String> {
        let Some(name) = &args.user else {
            let (bin, guests) = (paths.bin(), paths.guests());
            return Ok(Suite { args, paths, bin, guests, user: None });
        };
        let user = User::from_name(name).ok().flatten().ok_or_else(|| format!("there is no user {name}"))?;
        fs::create_dir(public).map_err(|e| format!("cannot make {}: {e}", public.display()))?;
        let _ = fs::set_permissions(public, fs::Permissions::from_mode(0o755));
        let mut copied = guests.to_vec();
        copied.retain(|g| !g.program.starts_with('/'));
        build::publish(&paths, &copied, public)?;
        Ok(Suite { args, paths, bin: public.into(), guests: public.join("guests"), user: Some(user) })
    }

    fn is_root(&self) -> bool {
        self.user.as_ref().map_or_else(|| nix::unistd::geteuid().is_root(), |user| user.uid.is_root())
    }

    fn run_all(&self, guests: &[Guest], gaps: &Gaps) -> Results {
        let mut plan: Vec<(&Guest, Mode)> = Vec::new();
        for _ in 0..self.args.repeat {
            plan.extend(guests.iter().flat_map(|g| self.args.modes.iter().map(move |m| (g, *m))));
        }
        let (next, results) = (AtomicUsize::new(0), Mutex::new(Results::new()));
        std::thread::scope(|scope| {
            for _ in 0..self.args.jobs.max(1) {
                scope.spawn(|| {
                    while let Some((guest, mode)) = plan.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let gap = gaps.reason(&guest.name, *mode, self.args.ids.as_deref(), self.is_root());
                        let verdict = Verdict::of(self.run(guest, *mode), gap);
                        tell(guest, *mode, &verdict);
                        record(&results, guest, *mode, verdict);
                    }
                });
            }
        });
        results.into_inner().unwrap_or_default()
    }

    fn run(&self, guest: &Guest, mode: Mode) -> Outcome {
        let (port, dir) = match self.run_folder() {
            Ok(found) => found,
            Err(why) => return Outcome::Fail(why),
        };
        let outcome = match self.spawn(guest, mode, port, &dir) {
            Ok(child) => self.await_outcome(child),
            Err(why) => Outcome::Fail(why),
        };
        if matches!(outcome, Outcome::Fail(_)) {
            self.save_logs(&dir, guest, mode);
        }
        // The last of the killed may still be writing.
        for _ in 0..100 {
            if self.args.keep || fs::remove_dir_all(&dir).is_ok() {
                break;
            }
            crate::run::nap();
        }
        outcome
    }

    /// A folder of the run's own; its name reserves the port, among several suites at a time too.
    fn run_folder(&self) -> Result<(u16, PathBuf), String> {
        static TRIED: AtomicUsize = AtomicUsize::new(0);
        for _ in 0..40_000 {
            let n = std::process::id() as usize * 61 + TRIED.fetch_add(1, Ordering::Relaxed);
            // Its programs take 11,000 more, still below the ports that the kernel gives away.
            let port = (10_000 + n % 11_000) as u16;
            let dir = PathBuf::from(format!("/tmp/ckpt-test-{port}"));
            if fs::create_dir(&dir).is_err() {
                continue;
            }
            if let Some(user) = &self.user {
                chown(&dir, Some(user.uid), Some(user.gid)).map_err(|e| format!("cannot give {dir:?} away: {e}"))?;
            }
            return Ok((port, dir));
        }
        Err("no folder left in /tmp/ckpt-test-*; remove old ones".into())
    }

    fn spawn(&self, guest: &Guest, mode: Mode, port: u16, dir: &Path) -> Result<Child, String> {
        let expect = match guest.expect {
            Expect::Exit(code) => code,
            Expect::Signal(n) => -n,
        };
        let mut helper = Command::new(self.bin.join("xtask"));
        helper.args(["run-one", "--mode", mode.name(), &format!("--port={port}"), &format!("--expect={expect}")]);
        helper.arg(format!("--deadline={}", self.args.deadline));
        helper.arg("--bin").arg(&self.bin).arg("--dir").arg(dir);
        if guest.detached {
            helper.arg("--detached");
        }
        if self.args.group == Group::Programs {
            helper.arg("--phases");
        }
        if let Some(ids) = &self.args.ids {
            helper.arg("--ids").arg(ids);
        }
        helper.arg(format!("--checkpoints={}", self.args.checkpoints));
        let (launch, restart) = (&self.args.launch_args, &self.args.restart_args);
        for (option, words, own) in [("--launch-args", launch, &guest.launch), ("--restart-args", restart, &guest.restart)] {
            let all = [words.as_deref().unwrap_or(""), own].join(" ");
            helper.arg(option).arg(all.trim());
        }
        if let Some(us) = guest.callbacks {
            helper.arg(format!("--callbacks={us}"));
        }
        helper.arg("--").arg(self.guests.join(&guest.program)).args(&guest.argument);
        helper.stdin(Stdio::null()).stdout(Stdio::piped()).current_dir(dir);
        if let Some(user) = &self.user {
            helper.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        helper.spawn().map_err(|e| format!("cannot start the run: {e}"))
    }

    /// The run has its own deadline; this one is for the run itself.
    fn await_outcome(&self, mut child: Child) -> Outcome {
        let end = Instant::now() + Duration::from_secs(self.args.deadline + 15);
        loop {
            match child.try_wait() {
                Ok(None) if Instant::now() > end => {
                    let _ = child.kill();
                }
                Ok(None) => crate::run::nap(),
                _ => break,
            }
        }
        let output = child.wait_with_output().map(|o| o.stdout).unwrap_or_default();
        let text = String::from_utf8_lossy(&output);
        text.lines().last().map_or_else(|| Outcome::Fail("the run was lost".into()), Outcome::parse)
    }

    fn save_logs(&self, dir: &Path, guest: &Guest, mode: Mode) {
        let to = self.paths.target.join("test-logs").join(format!("{}-{}", guest.name.replace('/', "-"), mode.name()));
        let _ = fs::remove_dir_all(&to);
        let _ = fs::create_dir_all(&to);
        for from in crate::guests::entries(&dir.join("logs")).unwrap_or_default() {
            let _ = fs::copy(&from, to.join(from.file_name().unwrap_or_default()));
        }
    }
}

fn tell(guest: &Guest, mode: Mode, verdict: &Verdict) {
    let head = format!("{} {}", guest.name, mode.name());
    match verdict {
        Verdict::Failed(why) => println!("FAIL {head}: {why}"),
        Verdict::Gap(why) => println!("known gap {head}: {why}"),
        Verdict::Surprise => println!("known gap passed {head}: take it off tests/known-gaps.txt"),
        Verdict::Skipped(why) if mode == Mode::Native => println!("skip {}: {why}", guest.name),
        Verdict::Skipped(_) | Verdict::Passed => {}
    }
}

/// Of repeated runs the worst counts.
fn record(results: &Mutex<Results>, guest: &Guest, mode: Mode, verdict: Verdict) {
    let Ok(mut results) = results.lock() else { return };
    let slot = results.entry((guest.name.clone(), mode)).or_insert_with(|| verdict.clone());
    if matches!(verdict, Verdict::Failed(_)) {
        *slot = verdict;
    }
}
