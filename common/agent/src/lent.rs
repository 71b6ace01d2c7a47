//! Memory that a frozen copy lends us: read by each thread that has use for a chunk, or, where we may not
//! (process_vm_readv(2) needs a tracer's rights), through a pipe.

use crate::link::Link;
use crate::write::{Fault, Job, Ranges, Said};
use ckpt_image::{CHUNK, Memory};
use ckpt_sys::flat::{Msg, msg};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
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

/// May we read the memory of this process? Nothing is there to be read.
pub fn may_read(pid: i32) -> bool {
    read_remote(pid, &[(8, 8)], &mut [0; 8]).is_err_and(|e| e.raw_os_error() == Some(libc::EFAULT))
}

/// All of it or an error.
pub fn read_remote(pid: i32, segments: &[(u64, u64)], mut out: &mut [u8]) -> io::Result<()> {
    const IOV_MAX: usize = 1024;
    for part in segments.chunks(IOV_MAX) {
        let bytes: u64 = part.iter().map(|s| s.1).sum();
        let (now, later) = out.split_at_mut_checked(bytes as usize).ok_or(io::ErrorKind::InvalidInput)?;
        let local = libc::iovec { iov_base: now.as_mut_ptr().cast(), iov_len: now.len() };
        let remote: Vec<libc::iovec> = part.iter().map(|s| libc::iovec { iov_base: s.0 as *mut _, iov_len: s.1 as usize }).collect();
        // SAFETY: local is writable for its length; the kernel checks remote.
        let got = unsafe { libc::process_vm_readv(pid, &local, 1, remote.as_ptr(), remote.len() as u64, 0) };
        match got {
            -1 => return Err(io::Error::last_os_error()),
            n if n as u64 == bytes => out = later,
            _ => return Err(io::Error::other("memory of the frozen copy could not be read")),
        }
    }
    Ok(())
}
