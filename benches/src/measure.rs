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
    /// a fork of the same process
    pub fork: f64,
    /// two threads that read the image
    pub read: f64,
}

/// A port of this run's own.
pub fn port() -> String {
    (20000 + std::process::id() % 20000).to_string()
}

/// What one reader takes at a time.
const SPAN: usize = 8 << 20;

/// Memory that nobody has touched yet.
struct Fresh {
    at: usize,
    len: usize,
}

impl Fresh {
    fn new(len: usize) -> io::Result<Fresh> {
        // SAFETY: a fresh mapping; the advice is a hint.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let at = libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            if at == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            libc::madvise(at, len, libc::MADV_HUGEPAGE);
            Ok(Fresh { at: at as usize, len })
        }
    }

    fn read(&self, file: &std::fs::File, at: usize) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        // SAFETY: inside the mapping; each part has one reader.
        let part = unsafe { std::slice::from_raw_parts_mut((self.at + at) as *mut u8, SPAN.min(self.len - at)) };
        file.read_exact_at(part, at as u64)
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // SAFETY: our own mapping, of which nothing is borrowed.
        unsafe { libc::munmap(self.at as *mut _, self.len) };
    }
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
        let (mut pauses, mut gaps, mut commands, mut steps, mut fulls, mut forks) = (vec![], vec![], vec![], vec![], vec![], vec![]);
        for _ in 0..self.rounds {
            forks.push(ticker.fork()?);
            ticker.settle();
            commands.push(run.checkpoint()?);
            pauses.push(ticker.gap());
            gaps.push(ticker.second_gap());
        }
        let bytes = run.image_bytes() / self.kept(tool, &run);
        if let Some(stages) = run.stages() {
            self.stages.borrow_mut().push(format!("| {mib} MiB {kind} {} | {stages} |", options.join(" ")));
        }
        let read = run.newest().map_or(Ok(f64::NAN), |image| self.read_fresh(&image))?;
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
        Ok(Figures { pause: median(pauses), gap: median(gaps), command: median(commands), step: median(steps), full: median(fulls), bytes, fork: median(forks), read })
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

    /// Two threads read a file into fresh memory, of huge pages where there are some; seconds.
    pub fn read_fresh(&self, file: &Path) -> io::Result<f64> {
        let len = file.metadata()?.len() as usize & !(SPAN - 1);
        if len == 0 {
            return Ok(f64::NAN);
        }
        let file = std::fs::File::open(file)?;
        let one = |_| -> io::Result<f64> {
            let begun = Instant::now();
            let memory = Fresh::new(len)?;
            std::thread::scope(|scope| {
                let readers = [0, 1].map(|first| {
                    let (file, memory) = (&file, &memory);
                    scope.spawn(move || (first..len / SPAN).step_by(2).try_for_each(|i| memory.read(file, i * SPAN)))
                });
                readers.into_iter().try_for_each(|r| r.join().unwrap_or_else(|_| Err(io::Error::other("a reader ended"))))
            })?;
            Ok(begun.elapsed().as_secs_f64())
        };
        (0..self.rounds).map(one).collect::<io::Result<Vec<_>>>().map(median)
    }

    /// Pauses of a program of so much memory, beside what a fork takes it; seconds.
    pub fn pause(&self, mib: u32) -> io::Result<(f64, f64)> {
        let dir = self.fresh(&format!("pause-{mib}"))?;
        let ticker = Ticker::new(&dir, mib, "random")?;
        let mut run = Tool::Ckpt.start(&self.bin, &dir, &self.dir.join("ticker"), &ticker, &["--keep", "1"])?;
        let (mut pauses, mut forks) = (vec![], vec![]);
        for _ in 0..self.rounds.min(3) {
            forks.push(ticker.fork()?);
            ticker.settle();
            run.checkpoint()?;
            pauses.push(ticker.gap());
        }
        drop(run);
        let _ = std::fs::remove_dir_all(&dir);
        Ok((median(pauses), median(forks)))
    }

    /// Bytes that a program has in memory more under ckpt than without.
    pub fn memory(&self) -> io::Result<u64> {
        let (port, program) = (port(), self.dir.join("calls"));
        let (mut native, mut under) = (HashMap::new(), HashMap::new());
        for _ in 0..self.rounds {
            keep_least(&mut native, Command::new(&program).arg("memory"))?;
            let mut launched = Command::new(self.bin.join("ckpt_launch"));
            keep_least(&mut under, launched.args(["-q", "-p", &port]).arg(&program).arg("memory").current_dir(&self.dir))?;
        }
        Ok((under["memory"] - native["memory"]).max(0.0) as u64)
    }

    /// Cost of each call under ckpt, as a ratio to native: the least of interleaved rounds on both sides.
    pub fn calls(&self) -> io::Result<Vec<(String, f64)>> {
        let program = self.dir.join("calls");
        let port = port();
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
