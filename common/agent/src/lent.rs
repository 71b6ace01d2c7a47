//! Memory that a frozen copy lends us: read by each thread that has use for a chunk, or, where we may not
//! (/proc/PID/mem needs a tracer's rights), through a pipe.
//!
//! Not by process_vm_readv(2): it pins pages, and a page that the copy still shares with the program is copied for that,
//! at our request and on the account of the program's control group. Where that is full, the kernel ends the copy, whose
//! memory our call holds on to, and then the program.

use crate::gather::RawMap;
use crate::link::Link;
use crate::write::{Fault, Job, Ranges, Said};
use ckpt_image::{CHUNK, Memory};
use ckpt_sys::PAGE;
use ckpt_sys::flat::{Msg, msg};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub enum Origin<'a> {
    Memory { pid: i32, runs: Ranges, writer: &'a Link },
    /// None: given up
    Pipe(Option<File>),
}

impl<'a> Origin<'a> {
    pub fn of(job: &Job, writer: &'a Link, memory: &Memory) -> Said<Origin<'a>> {
        if may_read(job.frozen) {
            return Ok(Origin::Memory { pid: job.frozen, runs: memory.runs.clone(), writer });
        }
        let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(|e| Fault::Link(e.into()))?;
        let _ = nix::fcntl::fcntl(&read, nix::fcntl::FcntlArg::F_SETPIPE_SZ(1 << 20));
        writer.send_with(Msg { kind: msg::WRITE, arg: u64::MAX, ..Msg::default() }, &[], &[write.as_raw_fd()]).map_err(Fault::Link)?;
        Ok(Origin::Pipe(Some(read.into())))
    }
}

/// The rest of one process's memory.
pub struct Source<'a> {
    origin: Origin<'a>,
    left: u64,
    index: usize,
    /// the run that comes next, and how much of it was taken
    run: (usize, u64),
    /// chunks that were read, but the first `low`
    read: BTreeSet<usize>,
    low: usize,
    told: usize,
}

/// Chunks after which the copy is told to give up what was read.
const TELL: usize = 16;

impl<'a> Source<'a> {
    pub fn new(origin: Origin<'a>, memory: &Memory) -> Source<'a> {
        Source { origin, left: memory.bytes, index: 0, run: (0, 0), read: BTreeSet::new(), low: 0, told: 0 }
    }

    pub fn give_up(&mut self) {
        self.left = 0;
        if let Origin::Pipe(pipe) = &mut self.origin {
            *pipe = None;
        }
    }

    /// The addresses of the next chunk.
    fn segments(&mut self, bytes: u64) -> Ranges {
        let Origin::Memory { runs, .. } = &self.origin else { return Vec::new() };
        let mut out = Vec::new();
        let mut left = bytes;
        while let Some(&(addr, len)) = runs.get(self.run.0).filter(|_| left > 0) {
            let n = (len - self.run.1).min(left);
            out.push((addr + self.run.1, n));
            left -= n;
            self.run = if self.run.1 + n == len { (self.run.0 + 1, 0) } else { (self.run.0, self.run.1 + n) };
        }
        out
    }

    fn was_read(&mut self, index: usize) {
        self.read.insert(index);
        while self.read.remove(&self.low) {
            self.low += 1;
        }
        let Origin::Memory { writer, .. } = &self.origin else { return };
        if self.low >= self.told + TELL {
            self.told = self.low;
            let _ = writer.send_with(Msg { kind: msg::DROP, arg: self.low as u64 * CHUNK, ..Msg::default() }, &[], &[]);
        }
    }
}

pub fn lock<'a, 'b>(source: &'a Mutex<Source<'b>>) -> MutexGuard<'a, Source<'b>> {
    source.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fills `chunk`; its number and length, or None at the end.
pub fn take(source: &Mutex<Source>, chunk: &mut [u8]) -> io::Result<Option<(usize, usize)>> {
    let mut s = lock(source);
    let n = s.left.min(CHUNK);
    if n == 0 {
        return Ok(None);
    }
    let (index, chunk) = (s.index, &mut chunk[..n as usize]);
    s.left -= n;
    s.index += 1;
    let pid = match &mut s.origin {
        Origin::Memory { pid, .. } => *pid,
        Origin::Pipe(pipe) => {
            let Some(open) = pipe else { return Ok(None) };
            open.read_exact(chunk).inspect_err(|_| *pipe = None)?;
            return Ok(Some((index, chunk.len())));
        }
    };
    let segments = s.segments(n);
    drop(s);
    read_remote(pid, &segments, chunk).inspect_err(|_| lock(source).give_up())?;
    lock(source).was_read(index);
    Ok(Some((index, chunk.len())))
}

/// May we read the memory of this process?
pub fn may_read(pid: i32) -> bool {
    memory_of(pid).is_ok()
}

/// Bytes of a mapping up to the end of what it maps: mremap may have made it longer, and what is mapped shorter.
pub fn reaches(pid: i32, m: &RawMap) -> u64 {
    let (start, page_size) = (m.meta.start, PAGE as u64);
    let pages = (m.meta.end - start) / page_size;
    let memory = memory_of(pid).ok().filter(|_| m.meta.prot & libc::PROT_READ as u32 != 0);
    let is_there = |page: u64| memory.as_ref().is_none_or(|memory| memory.read_exact_at(&mut [0], start + page * page_size).is_ok());
    let (mut reached, mut beyond) = (0, pages);
    // Nearly always all of it is there.
    let mut page = pages.saturating_sub(1);
    while reached < beyond {
        if is_there(page) { reached = page + 1 } else { beyond = page }
        page = reached.midpoint(beyond);
    }
    reached * page_size
}

fn memory_of(pid: i32) -> io::Result<File> {
    File::open(format!("/proc/{pid}/mem"))
}

/// All of it or an error; UnexpectedEof: the process has ended.
pub fn read_remote(pid: i32, segments: &[(u64, u64)], mut out: &mut [u8]) -> io::Result<()> {
    let memory = memory_of(pid)?;
    for &(addr, len) in segments {
        let (now, later) = out.split_at_mut_checked(len as usize).ok_or(io::ErrorKind::InvalidInput)?;
        memory.read_exact_at(now, addr)?;
        out = later;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::{ForkResult, fork};

    /// KiB of the mapping at `address` that this process shares with no other.
    fn private(pid: i32, address: u64) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
        let holds = |line: &str| {
            let (from, to) = line.split_once(' ')?.0.split_once('-')?;
            let number = |hex| u64::from_str_radix(hex, 16).ok();
            Some((number(from)?..number(to)?).contains(&address))
        };
        let lines = text.lines().skip_while(|l| holds(l) != Some(true)).skip(1).take_while(|l| holds(l).is_none());
        let lines = lines.filter(|l| l.starts_with("Private_Clean:") || l.starts_with("Private_Dirty:"));
        lines.filter_map(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
    }

    #[test]
    fn what_a_copy_shares_it_shares_still_when_it_was_read() {
        const LEN: usize = 8 << 20;
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        // A mapping that no other test's memory is joined with: what they give back would be the copy's alone.
        // SAFETY: new memory of this length, which stays.
        let memory = unsafe {
            let at = libc::mmap(std::ptr::null_mut(), LEN, prot, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
            assert_eq!(libc::madvise(at, LEN, libc::MADV_DONTDUMP), 0);
            std::slice::from_raw_parts_mut(at.cast::<u8>(), LEN)
        };
        memory.fill(7);
        // SAFETY: the child does nothing but wait for its end, which is the end of the test too.
        let child = match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => child,
            ForkResult::Child => loop {
                // SAFETY: numbers only.
                unsafe {
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                    libc::pause();
                }
            },
        };
        let (pid, address, mut out) = (child.as_raw(), memory.as_ptr() as u64, vec![0; LEN]);
        let before = private(pid, address);
        let half = LEN as u64 / 2;
        read_remote(pid, &[(address, half), (address + half, half)], &mut out).unwrap();
        assert!(out == *memory && may_read(pid));
        assert!(private(pid, address) < before + (LEN >> 12) as u64, "it was copied");
        assert!(read_remote(pid, &[(8, 8)], &mut [0; 8]).is_err());
        kill(child, Signal::SIGKILL).unwrap();
        nix::sys::wait::waitpid(child, None).unwrap();
        assert!(!may_read(pid));
    }
}
