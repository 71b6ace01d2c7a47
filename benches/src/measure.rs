//! What is measured, one function per question.

use crate::ticker::Ticker;
use crate::tool::{Run, Tool};
use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

pub struct Bench {
    /// the product's commands
    pub bin: PathBuf,
    pub dir: PathBuf,
    pub rounds: usize,
    /// of the last checkpoint of each program, as `ckpt_command --status` shows them
    pub stages: RefCell<Vec<String>>,
}

/// Seconds, the median of the rounds; bytes of the image.
#[derive(Default, Clone, Copy)]
pub struct Figures {
    pub pause: f64,
    /// the program's longest gap after the pause
    pub gap: f64,
    pub command: f64,
    pub step: f64,
    pub full: f64,
    pub bytes: u64,
}

pub fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

impl Bench {
    pub fn compile(&self) -> io::Result<()> {
        let from = Path::new("benches/programs").to_path_buf();
        for name in ["ticker", "calls", "many"] {
            let built = Command::new("cc").args(["-O2", "-pthread", "-o"]).arg(self.dir.join(name)).arg(from.join(format!("{name}.c"))).status()?;
            if !built.success() {
                return Err(io::Error::other(format!("{name}.c does not compile; is gcc installed?")));
            }
        }
        Ok(())
    }

    /// An empty folder.
    pub fn fresh(&self, name: &str) -> io::Result<PathBuf> {
        let dir = self.dir.join(name);
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).map(|()| dir)
    }

    /// Checkpoints and restarts of one program.
    pub fn cycle(&self, tool: Tool, mib: u32, kind: &'static str, options: &[&str]) -> io::Result<Figures> {
        let dir = format!("{}-{mib}-{kind}{}", tool.name(), options.concat());
        let dir = self.fresh(&dir)?;
        let ticker = Ticker::new(&dir, mib, kind)?;
        let mut run = tool.start(&self.bin, &dir, &self.dir.join("ticker"), &ticker, options)?;
        let (mut pauses, mut gaps, mut commands, mut steps, mut fulls) = (vec![], vec![], vec![], vec![], vec![]);
        for _ in 0..self.rounds {
            ticker.settle();
            commands.push(run.checkpoint()?);
            pauses.push(ticker.gap());
            gaps.push(ticker.second_gap());
        }
        let bytes = run.image_bytes() / self.kept(tool, &run);
        if let Some(stages) = run.stages() {
            self.stages.borrow_mut().push(format!("| {mib} MiB {kind} {} | {stages} |", options.join(" ")));
        }
        for _ in 0..self.rounds {
            run.stop()?;
            ticker.arm();
            let begun = run.restart()?;
            let (step, full) = ticker.resumed(begun)?;
            steps.push(step);
            fulls.push(full);
            if tool != Tool::Ckpt {
                break;
            }
        }
        drop(run);
        let _ = std::fs::remove_dir_all(&dir);
        Ok(Figures { pause: median(pauses), gap: median(gaps), command: median(commands), step: median(steps), full: median(fulls), bytes })
    }

    /// ckpt keeps two generations.
    fn kept(&self, tool: Tool, _run: &Run) -> u64 {
        if tool == Tool::Ckpt { self.rounds.min(2) as u64 } else { 1 }
    }

    /// `dd conv=fsync` of as many incompressible bytes; seconds.
    pub fn dd(&self, mib: usize) -> io::Result<f64> {
        let source = self.dir.join("source");
        let mut random = vec![0; 1 << 20];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
        let mut file = std::fs::File::create(&source)?;
        (0..mib).try_for_each(|_| file.write_all(&random))?;
        file.sync_all()?;
        let target = self.dir.join("target");
        let mut all = Vec::new();
        for _ in 0..self.rounds {
            let _ = std::fs::remove_file(&target);
            let begun = Instant::now();
            let mut c = Command::new("dd");
            c.arg(format!("if={}", source.display())).arg(format!("of={}", target.display())).args(["bs=1M", "conv=fsync", "status=none"]);
            if !c.status()?.success() {
                return Err(io::Error::other("dd failed; is the disk full?"));
            }
            all.push(begun.elapsed().as_secs_f64());
        }
        let _ = std::fs::remove_file(&target);
        let _ = std::fs::remove_file(&source);
        Ok(median(all))
    }

    /// A plain fork of as much memory in 4 KiB pages; seconds.
    pub fn fork(&self, mib: usize) -> f64 {
        let memory = vec![1u8; mib << 20];
        let one = |_| {
            let begun = Instant::now();
            // SAFETY: the child does nothing but end.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                // SAFETY: as above.
                unsafe { libc::_exit(0) };
            }
            let took = begun.elapsed().as_secs_f64();
            // SAFETY: our own child.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
            took
        };
        let took = median((0..self.rounds.max(5)).map(one).collect());
        std::hint::black_box(&memory);
        took
    }

    /// Cost of each call under ckpt, as a ratio to native: the least of interleaved rounds on both sides.
    pub fn calls(&self) -> io::Result<Vec<(String, f64)>> {
        let program = self.dir.join("calls");
        let port = (20000 + std::process::id() % 20000).to_string();
        let (mut native, mut under) = (HashMap::new(), HashMap::new());
        let mut names = Vec::new();
        for _ in 0..self.rounds {
            names = keep_least(&mut native, &mut Command::new(&program))?;
            let mut launched = Command::new(self.bin.join("ckpt_launch"));
            launched.args(["-q", "-p", &port]).arg(&program).current_dir(&self.dir);
            keep_least(&mut under, &mut launched)?;
        }
        let _ = Command::new(self.bin.join("ckpt_command")).args(["-p", &port, "-q"]).output();
        Ok(names.into_iter().map(|n| (under[&n] / native[&n], n)).map(|(r, n)| (n, r)).collect())
    }
}

/// `name ns` lines.
fn keep_least(into: &mut HashMap<String, f64>, c: &mut Command) -> io::Result<Vec<String>> {
    let out = c.output()?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let pairs = text.lines().filter_map(|l| l.split_once(' ')).filter_map(|(n, v)| Some((n.to_owned(), v.parse::<f64>().ok()?)));
    let mut names = Vec::new();
    for (name, ns) in pairs {
        let least = into.entry(name.clone()).or_insert(ns);
        *least = least.min(ns);
        names.push(name);
    }
    if names.is_empty() { Err(io::Error::other("the call bench printed nothing")) } else { Ok(names) }
}
