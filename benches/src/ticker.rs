//! The program that measures its own gaps, and the page it shares with us.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::*};
use std::time::{Duration, Instant};

/// As `struct stats` in ticker.c.
#[repr(C)]
pub struct Stats {
    pub beats: AtomicU64,
    pub largest_gap: AtomicU64,
    pub second_gap: AtomicU64,
    pub armed: AtomicU64,
    pub resumed_at: AtomicU64,
    pub full_at: AtomicU64,
    pub pass: AtomicU64,
    pub ask_fork: AtomicU64,
    pub fork: AtomicU64,
}

/// `mib` and `kind` are the program's arguments behind the page.
pub struct Ticker {
    pub stats: &'static Stats,
    path: PathBuf,
    mib: u32,
    kind: &'static str,
}

const PATIENCE: Duration = Duration::from_secs(120);

impl Ticker {
    pub fn new(dir: &Path, mib: u32, kind: &'static str) -> io::Result<Ticker> {
        let path = dir.join("stats");
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        file.set_len(4096)?;
        // SAFETY: a shared mapping of our own file, never unmapped; Stats is atomics only.
        let stats = unsafe {
            let at = libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, file.as_raw_fd(), 0);
            if at == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            &*(at as *const Stats)
        };
        Ok(Ticker { stats, path, mib, kind })
    }

    /// Program and arguments, appended to a launcher's.
    pub fn arguments(&self, program: &Path, command: &mut Command) {
        command.arg(program).arg(&self.path).arg(self.mib.to_string()).arg(self.kind);
    }

    /// Waits until it runs, and forgets the gaps of its start.
    pub fn wait_running(&self) -> io::Result<()> {
        let from = self.stats.beats.load(Relaxed);
        wait_for(|| self.stats.beats.load(Relaxed) > from + 1000)?;
        self.settle();
        Ok(())
    }

    /// Gaps from now on, after a quiet moment in which writers of before have ended.
    pub fn settle(&self) {
        std::thread::sleep(Duration::from_millis(300));
        self.stats.largest_gap.store(0, Relaxed);
        self.stats.second_gap.store(0, Relaxed);
    }

    pub fn gap(&self) -> f64 {
        self.stats.largest_gap.load(Relaxed) as f64 / 1e9
    }

    /// The largest but one: while the image is written.
    pub fn second_gap(&self) -> f64 {
        self.stats.second_gap.load(Relaxed) as f64 / 1e9
    }

    /// Seconds that a fork takes the program itself, the least of some.
    pub fn fork(&self) -> io::Result<f64> {
        let mut least = f64::INFINITY;
        for _ in 0..3 {
            self.stats.ask_fork.store(1, Relaxed);
            wait_for(|| self.stats.ask_fork.load(Relaxed) == 0)?;
            least = least.min(self.stats.fork.load(Relaxed) as f64 / 1e9);
        }
        Ok(least)
    }

    pub fn arm(&self) {
        self.stats.resumed_at.store(0, Relaxed);
        self.stats.full_at.store(0, Relaxed);
        self.stats.armed.store(1, Relaxed);
    }

    /// Seconds from `begun` (CLOCK_MONOTONIC, ns) to its next step, and to the end of a pass over its memory less what
    /// such a pass takes anyway.
    pub fn resumed(&self, begun: u64) -> io::Result<(f64, f64)> {
        wait_for(|| self.stats.full_at.load(Relaxed) != 0)?;
        let step = self.stats.resumed_at.load(Relaxed) - begun;
        let full = (self.stats.full_at.load(Relaxed) - begun).saturating_sub(self.stats.pass.load(Relaxed));
        Ok((step as f64 / 1e9, full.max(step) as f64 / 1e9))
    }
}

fn wait_for(mut done: impl FnMut() -> bool) -> io::Result<()> {
    let begun = Instant::now();
    while !done() {
        if begun.elapsed() > PATIENCE {
            return Err(io::Error::other("the program did not go on"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

pub fn monotonic_ns() -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: t is a struct timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}
