//! The helper that fills memory: a process of its own, so that a killed agent leaves the program running.

use super::space::{Segment, Space};
use super::uffd::{Event, Uffd};
use crate::chain::{Cache, Chain};
use crate::image_set::Member;
use ckpt_agent::link::{self, Link};
use ckpt_image::chain::Piece;
use ckpt_sys::flat::{Msg, msg};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const PAGE: u64 = ckpt_sys::PAGE as u64;

/// The agent's side.
pub struct Filler {
    link: Link,
    /// If the helper is killed nobody is to see zeros: these stay open until all is filled or ended.
    held: Vec<OwnedFd>,
}

/// What one process waits for, as `Split` has it.
pub struct Share {
    pub member: usize,
    pub process: usize,
    pub lazy: Vec<Piece>,
    pub ranges: Vec<(u64, u64)>,
}

impl Filler {
    /// Forks the helper. Called while there is one thread only.
    pub fn start(members: &[Member], shares: &[&Share]) -> io::Result<Filler> {
        let (ours, theirs) = link::pair()?;
        // SAFETY: single-threaded.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                drop(ours);
                keep_only(&theirs, members);
                // SAFETY: settings of the allocator: the same few MiB are used again and again.
                unsafe {
                    libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20);
                    libc::mallopt(libc::M_TRIM_THRESHOLD, 64 << 20);
                }
                // SAFETY: a session of its own: what a terminal sends is not for it. It ends without exit handlers.
                unsafe {
                    libc::setsid();
                    let sound = serve(&Link(theirs), members, shares);
                    libc::_exit(if sound { 0 } else { 1 })
                }
            }
            _ => Ok(Filler { link: ours, held: Vec::new() }),
        }
    }

    /// Hands over the userfaultfd of a process, by member and number.
    pub fn add(&mut self, share: (usize, usize), pid: i32, uffd: OwnedFd) -> io::Result<()> {
        self.link.send_with(Msg { kind: msg::LAZY, pid, arg: share.0 as u64, arg2: share.1 as u64, ..Msg::default() }, &[], &[uffd.as_raw_fd()])?;
        self.held.push(uffd);
        Ok(())
    }

    /// All processes have been added. What remains tells when everything is filled.
    pub fn close(self) -> io::Result<(Link, Vec<OwnedFd>)> {
        self.link.send(msg::GO)?;
        Ok((self.link, self.held))
    }
}

/// Ends of pipes and sockets of the program must not live on in here.
fn keep_only(link: &OwnedFd, members: &[Member]) {
    let files = members.iter().flat_map(|m| std::iter::once(&m.file).chain(m.parents.iter().map(|p| &p.0)));
    let mut keep: Vec<u32> = files.map(|f| f.file.as_raw_fd() as u32).chain([2, link.as_raw_fd() as u32]).collect();
    keep.sort_unstable();
    let mut from = 0;
    for fd in keep.into_iter().chain([u32::MAX]) {
        if from < fd {
            // SAFETY: whoever owns these is not used in this process any more.
            unsafe { libc::syscall(libc::SYS_close_range, from, fd - 1, 0) };
        }
        from = fd.saturating_add(1);
    }
}

/// True: every page is in place, or nobody wants it any more.
fn serve(link: &Link, members: &[Member], shares: &[&Share]) -> bool {
    let broken = AtomicBool::new(false);
    std::thread::scope(|scope| {
        while let Ok(p) = link.recv() {
            let share = shares.iter().find(|s| (s.member as u64, s.process as u64) == (p.msg.arg, p.msg.arg2));
            let (Some(share), Some(fd)) = (share, p.fds.into_iter().next()) else { break };
            if p.msg.kind != msg::LAZY {
                break;
            }
            let Some(whole) = Chain::of(&members[share.member], share.process) else { continue };
            let chain = Chain { sources: whole.sources, pieces: share.lazy.clone() };
            let windows = chain.windows();
            let work = Work { chain: Arc::new(chain), done: vec![false; windows.len()], windows: Arc::new(windows), space: Space::new(&share.ranges), uffd: Uffd::new(fd), waiting: Vec::new(), cache: Cache::default(), pid: p.msg.pid };
            let broken = &broken;
            scope.spawn(move || work.run(scope, broken));
        }
    });
    let sound = !broken.load(Ordering::Acquire);
    let _ = link.send(if sound { msg::FILLED } else { msg::FAILED });
    sound
}

/// One address space.
struct Work<'a> {
    chain: Arc<Chain<'a>>,
    windows: Arc<Vec<Vec<Piece>>>,
    done: Vec<bool>,
    space: Space,
    uffd: Uffd,
    /// pages that threads wait for
    waiting: Vec<u64>,
    cache: Cache,
    pid: i32,
}

enum Stop {
    /// the process is gone
    Orphaned,
    Broken(io::Error),
}

impl<'a> Work<'a> {
    fn run<'s>(mut self, scope: &'s std::thread::Scope<'s, '_>, broken: &'s AtomicBool)
    where
        'a: 's,
    {
        let Err(Stop::Broken(e)) = self.fill_all(scope, broken) else { return };
        eprintln!("ckpt_restart: process {}: {e}; it cannot go on and is ended", self.pid);
        broken.store(true, Ordering::Release);
        // Its threads must not see zeros: the descriptor stays until they are gone.
        // SAFETY: numbers only.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
        while !self.uffd.is_orphan() {
            self.uffd.wait(20);
        }
    }

    fn fill_all<'s>(&mut self, scope: &'s std::thread::Scope<'s, '_>, broken: &'s AtomicBool) -> Result<(), Stop>
    where
        'a: 's,
    {
        for i in 0..self.windows.len() {
            self.events(scope, broken)?;
            self.fill(i, scope, broken)?;
        }
        Ok(())
    }

    /// Notes what becomes of the memory; who waits for a page waits a little longer.
    fn changes<'s>(&mut self, scope: &'s std::thread::Scope<'s, '_>, broken: &'s AtomicBool)
    where
        'a: 's,
    {
        while let Some(event) = self.uffd.next() {
            match event {
                Event::Fault(at) => self.waiting.push(at),
                Event::Remap { from, to, len } => self.space.remap(from, to, len),
                Event::Remove { start, end } => self.space.remove(start, end),
                Event::Fork(fd) => {
                    let child = Work {
                        chain: Arc::clone(&self.chain),
                        windows: Arc::clone(&self.windows),
                        done: self.done.clone(),
                        space: self.space.clone(),
                        uffd: Uffd::new(fd),
                        waiting: Vec::new(),
                        cache: Cache::default(),
                        pid: self.pid,
                    };
                    scope.spawn(move || child.run(scope, broken));
                }
            }
        }
    }

    /// Answers all that is asked now.
    fn events<'s>(&mut self, scope: &'s std::thread::Scope<'s, '_>, broken: &'s AtomicBool) -> Result<(), Stop>
    where
        'a: 's,
    {
        self.changes(scope, broken);
        while let Some(at) = self.waiting.pop() {
            self.fault(at, scope, broken)?;
            self.changes(scope, broken);
        }
        Ok(())
    }

    fn fault<'s>(&mut self, at: u64, scope: &'s std::thread::Scope<'s, '_>, broken: &'s AtomicBool) -> Result<(), Stop>
    where
        'a: 's,
    {
        if let Some(i) = self.space.then(at).and_then(|then| self.window_of(then)) {
            self.fill(i, scope, broken)?;
            self.uffd.wake(at);
            return Ok(());
        }
        match self.uffd.zero(at) {
            Some(libc::ESRCH) => Err(Stop::Orphaned),
            Some(_) => {
                // Somebody was faster, or the memory changes this moment: whoever waits asks again.
                self.uffd.wake(at);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The window that holds the page, unless it is filled.
    fn window_of(&self, then: u64) -> Option<usize> {
        let after = self.windows.partition_point(|w| w.first().is_some_and(|p| p.addr <= then));
        let i = after.checked_sub(1)?;
        let holds = self.windows[i].iter().any(|p| p.addr <= then && then < p.addr + p.len);
        (holds && !self.done[i]).then_some(i)
    }

    fn fill<'s>(&mut self, i: usize, scope: &'s std::thread::Scope<'s, '_>, broken: &'s AtomicBool) -> Result<(), Stop>
    where
        'a: 's,
    {
        if self.done[i] {
            return Ok(());
        }
        self.done[i] = true;
        let windows = Arc::clone(&self.windows);
        let bytes = self.chain.read(&windows[i], &mut self.cache).map_err(Stop::Broken)?;
        let mut from = 0;
        for p in &windows[i] {
            let mut done = 0;
            while done < p.len {
                let wanted = self.space.find(p.addr + done, p.len - done);
                // Moved parts may be out of order: the first by its old address goes first.
                let Some(s) = wanted.into_iter().min_by_key(|s| s.then) else { break };
                let skip = (s.then - p.addr) as usize + from;
                let put = self.put(&s, &bytes[skip..skip + s.len as usize])?;
                done = s.then - p.addr + put;
                if put < s.len {
                    // Until it is done, children that are told of now have to fill it themselves.
                    self.done[i] = false;
                    self.changes(scope, broken);
                    self.done[i] = true;
                }
            }
            from += p.len as usize;
        }
        Ok(())
    }

    /// Bytes that are settled; fewer than asked for when the memory is being changed.
    fn put(&self, s: &Segment, bytes: &[u8]) -> Result<u64, Stop> {
        let (done, why) = self.uffd.copy(s.now, bytes);
        match why {
            None => Ok(done),
            Some(libc::ESRCH) => Err(Stop::Orphaned),
            Some(libc::EAGAIN) => Ok(done),
            // There already, or not there any more.
            Some(libc::EEXIST | libc::ENOENT | libc::EINVAL | libc::EFAULT) => {
                self.uffd.wake(s.now);
                Ok(done + PAGE)
            }
            Some(e) => Err(Stop::Broken(io::Error::from_raw_os_error(e))),
        }
    }
}
