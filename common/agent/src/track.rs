//! Incremental images: which pages of each process are as the last image has them.
//!
//! Each process makes a userfaultfd and passes it on; it works as long as the agent holds it, and no table of the
//! program's shows it. Private anonymous memory is registered and its pages write-protected in the pause; the kernel
//! takes the protection off at the first write and notes it. What a process maps anew, moves or inherits is not
//! registered, so it is saved whole, once.

use crate::gather::RawMap;
use crate::link::Link;
use crate::pagemap;
use ckpt_image::{ImageFile, MapKind, Parent};
use ckpt_sys::flat::{Msg, ProcessRecord, Run, bytes_of, msg, plan};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Sorted ranges: address, bytes.
pub type Ranges = Vec<(u64, u64)>;

/// Smaller mappings are saved whole: that costs less than to ask for them.
const SMALLEST: u64 = 256 << 10;
const PATIENCE: Duration = Duration::from_secs(10);

/// The last complete image.
struct Base {
    path: PathBuf,
    parent: Parent,
    /// incremental images since the last full one
    depth: u32,
}

struct Tracked {
    /// when the process began: its pid may be another's by now
    started: u64,
    uffd: OwnedFd,
    /// generation in whose pause the pages were last write-protected
    armed: u32,
}

#[derive(Default)]
pub struct Tracker {
    /// a full image every so many; 0: always
    every: u32,
    quiet: bool,
    base: Option<Base>,
    /// what the checkpoint under way builds on
    current: Option<Base>,
    processes: HashMap<i32, Tracked>,
    refused: bool,
}

/// One process in the pause.
pub struct Subject<'a> {
    pub pid: i32,
    pub started: u64,
    pub link: &'a Link,
    pub maps: &'a [RawMap],
    pub record: &'a ProcessRecord,
}

impl Tracker {
    pub fn new(every: u32, quiet: bool) -> Tracker {
        Tracker { every, quiet, ..Tracker::default() }
    }

    /// A checkpoint begins. If it fails the next image is a full one: the notes of this one are lost.
    pub fn begin(&mut self) {
        let base = self.base.take().filter(|b| b.depth + 1 < self.every);
        self.current = base.filter(|b| ImageFile::open(&b.path).is_ok_and(|i| i.as_parent() == b.parent));
    }

    /// What the image under way builds on.
    pub fn parent(&self) -> Option<Parent> {
        self.current.as_ref().map(|b| b.parent)
    }

    /// The image is complete.
    pub fn complete(&mut self, path: &Path) {
        let depth = self.current.take().map_or(0, |b| b.depth + 1);
        let image = ImageFile::open(path).ok().filter(|_| self.every != 0);
        self.base = image.map(|i| Base { path: path.into(), parent: i.as_parent(), depth: if i.header.parent == 0 { 0 } else { depth } });
        let generation = self.base.as_ref().map_or(0, |b| b.parent.generation);
        self.processes.retain(|_, t| t.armed == generation);
    }

    /// Write-protects the process's memory anew. Some: what was not written to since the image that the one under
    /// way builds on.
    pub fn arm(&mut self, s: &Subject, generation: u32) -> Option<Ranges> {
        if self.every < 2 || self.refused {
            return None;
        }
        match self.try_arm(s, generation) {
            Ok(kept) => kept,
            Err(e) => {
                self.processes.remove(&s.pid);
                self.explain(&e);
                None
            }
        }
    }

    fn explain(&mut self, e: &io::Error) {
        self.refused = matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EPERM | libc::EINVAL | libc::ENOTTY));
        if self.refused && !self.quiet {
            eprintln!("ckpt: note: every image is a full one: --incremental needs userfaultfd and Linux 6.7, and here it is refused ({e})");
        }
    }

    fn try_arm(&mut self, s: &Subject, generation: u32) -> io::Result<Option<Ranges>> {
        let base = self.current.as_ref().map(|b| b.parent.generation);
        let mut tracked = match self.processes.remove(&s.pid).filter(|t| t.started == s.started) {
            Some(t) => t,
            None => Tracked { started: s.started, uffd: obtain(s.link)?, armed: 0 },
        };
        let pagemap = File::open(format!("/proc/{}/pagemap", s.pid))?;
        let mut kept = Ranges::new();
        for range in eligible(s, false) {
            pagemap::written(&pagemap, range, true, |from, to, written| {
                if !written {
                    push(&mut kept, from, to);
                }
            })?;
        }
        for range in eligible(s, true) {
            let (mut fresh, mut stale) = (None, None);
            pagemap::unregistered(&pagemap, range, |from, to, marked| {
                fresh = hull(fresh, from, to);
                stale = if marked { hull(stale, from, to) } else { stale };
            })?;
            let uffd = tracked.uffd.as_fd();
            match pagemap::register(uffd, range) {
                Ok(()) => {
                    stale.map_or(Ok(()), |range| pagemap::clear(uffd, range))?;
                    fresh.map_or(Ok(()), |range| pagemap::written(&pagemap, range, true, |_, _, _| {}))?;
                }
                // An exec has replaced the memory that it was made for.
                Err(e) if e.raw_os_error() == Some(libc::ESRCH) && tracked.armed != 0 => return self.try_arm(s, generation),
                // The program's own userfaultfd has precedence.
                Err(_) => {}
            }
        }
        let known = base.is_some() && base == Some(tracked.armed);
        tracked.armed = generation;
        self.processes.insert(s.pid, tracked);
        Ok(known.then_some(kept))
    }
}

/// What was written to after all since `arm`, by the kernel or by ourselves, is not kept.
pub fn still_kept(pid: i32, kept: Ranges) -> io::Result<Ranges> {
    let Some(range) = kept.first().zip(kept.last()).map(|(a, b)| (a.0, b.0 + b.1)) else { return Ok(kept) };
    let pagemap = File::open(format!("/proc/{pid}/pagemap"))?;
    let mut clean = Ranges::new();
    pagemap::written(&pagemap, range, false, |from, to, written| {
        if !written {
            push(&mut clean, from, to);
        }
    })?;
    let mut both = Ranges::new();
    for (_, from, bytes) in ckpt_image::chain::common(&kept, &clean) {
        push(&mut both, from, from + bytes);
    }
    Ok(both)
}

/// Tells the frozen copy what to leave out.
pub fn tell(writer: &Link, kept: &Ranges) -> io::Result<()> {
    let runs: Vec<u8> = kept.iter().flat_map(|&(addr, bytes)| bytes_of(&Run { addr, bytes }).to_vec()).collect();
    // SAFETY: a literal name; the descriptor is new.
    let fd = unsafe { libc::memfd_create(c"ckpt-kept".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made.
    let mut file = unsafe { File::from_raw_fd(fd) };
    io::Write::write_all(&mut file, &runs)?;
    writer.send_with(Msg { kind: msg::KEPT, arg: kept.len() as u64, ..Msg::default() }, &[], &[file.as_raw_fd()])
}

fn obtain(link: &Link) -> io::Result<OwnedFd> {
    link.send(msg::TRACK)?;
    let p = link.recv_within(PATIENCE)?;
    if p.msg.kind != msg::TRACKED {
        return Err(io::Error::other("unexpected answer"));
    }
    let uffd = p.fds.into_iter().next().ok_or_else(|| io::Error::from_raw_os_error(p.msg.errno))?;
    pagemap::begin(uffd.as_fd())?;
    Ok(uffd)
}

/// Private anonymous memory that a fork passes on; `writable`: to be registered. Without the arena of the pause.
fn eligible(s: &Subject, writable: bool) -> Vec<(u64, u64)> {
    let (arena, arena_end) = (s.record.arena, s.record.arena + s.record.arena_len);
    let mut out: Vec<(u64, u64)> = Vec::new();
    for m in s.maps.iter().map(|m| &m.meta) {
        let anonymous = matches!(m.kind, MapKind::Anonymous | MapKind::Heap) && !m.shared && !m.grows_down;
        let passed_on = m.advice & (plan::MAP_DONTFORK | plan::MAP_WIPEONFORK) == 0;
        if !anonymous || !passed_on || (writable && m.prot & libc::PROT_WRITE as u32 == 0) {
            continue;
        }
        for (from, to) in [(m.start, m.end.min(arena)), (m.start.max(arena_end), m.end)] {
            match out.last_mut() {
                Some(last) if last.1 == from && from < to => last.1 = to,
                _ if from < to => out.push((from, to)),
                _ => {}
            }
        }
    }
    out.retain(|r| r.1 - r.0 >= SMALLEST);
    out
}

/// With [from, to) too.
fn hull(whole: Option<(u64, u64)>, from: u64, to: u64) -> Option<(u64, u64)> {
    Some(whole.map_or((from, to), |w| (w.0.min(from), w.1.max(to))))
}

fn push(ranges: &mut Ranges, from: u64, to: u64) {
    match ranges.last_mut() {
        Some(last) if last.0 + last.1 == from => last.1 += to - from,
        _ => ranges.push((from, to - from)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_join() {
        let mut r = Ranges::new();
        [(0, 4), (4, 6), (8, 9)].iter().for_each(|&(a, b)| push(&mut r, a, b));
        assert_eq!(r, [(0, 6), (8, 1)]);
    }
}
