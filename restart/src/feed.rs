//! Memory that has to be decoded: all processors decode into slots that the restorer's helpers copy from. See `plan::Feed`.

use crate::chain::{Cache, Chain};
use crate::memory::memfd;
use ckpt_agent::link::poll;
use ckpt_image::chain::Piece;
use ckpt_sys::flat::plan::WINDOW;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Our side of one process's feed.
pub struct Feed {
    /// Kept to the end: a restorer that hands a slot back must not find it closed.
    free: File,
    open: Mutex<Option<Unmapped>>,
}

struct Unmapped {
    memory: File,
    ready: File,
}

/// The restorer's side: memory, ready, free.
pub type Theirs = [OwnedFd; 3];

impl Feed {
    pub fn new() -> io::Result<(Feed, Theirs)> {
        let memory = memfd(b"ckpt-feed")?;
        let slots = slots() as u32;
        memory.set_len(u64::from(slots) * WINDOW)?;
        let (ready_theirs, ready) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let (free, free_theirs) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        nix::fcntl::fcntl(&free, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
        let mut all_free = File::from(free_theirs);
        (0..slots).try_for_each(|slot| all_free.write_all(&slot.to_le_bytes()))?;
        let theirs = [memory.try_clone()?.into(), ready_theirs, all_free.into()];
        Ok((Feed { free: free.into(), open: Mutex::new(Some(Unmapped { memory, ready: ready.into() })) }, theirs))
    }

    /// The number of a slot that is free; waits. Others may hold the pipe of a process that has been killed, so its end
    /// is not all that ends the wait.
    fn slot(&self, over: &AtomicBool) -> io::Result<[u8; 4]> {
        let mut slot = [0; 4];
        loop {
            match (&self.free).read_exact(&mut slot) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && !over.load(Relaxed) => {
                    poll(&[self.free.as_raw_fd()], Duration::from_millis(200))?;
                }
                done => return done.map(|()| slot),
            }
        }
    }
}

/// Two of each processor: one is decoded while the other is copied.
fn slots() -> usize {
    2 * std::thread::available_parallelism().map_or(1, |n| n.get()).min(64)
}

/// Serves the processes one after another, each by all processors; returns when all are served or have ended, or it is
/// over.
pub fn serve(all: &[(Chain, &Feed)], over: &AtomicBool) {
    let meals: Vec<Meal> = all.iter().map(|(chain, feed)| Meal::new(chain, feed)).collect();
    let ends: Vec<usize> = meals.iter().scan(0, |end, meal| { *end += meal.windows.len(); Some(*end) }).collect();
    let total = ends.last().copied().unwrap_or(0);
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(total);
    let work = || {
        let (mut last, mut cache) = (usize::MAX, Cache::default());
        loop {
            let i = next.fetch_add(1, Relaxed);
            if i >= total || over.load(Relaxed) {
                return;
            }
            let of = ends.partition_point(|&end| end <= i);
            if last != of {
                last = of;
                cache.forget();
            }
            meals[of].serve(i + meals[of].windows.len() - ends[of], &mut cache, over);
        }
    };
    std::thread::scope(|s| (0..threads).for_each(|_| drop(s.spawn(work))));
}

/// What one process gets.
struct Meal<'a> {
    chain: &'a Chain<'a>,
    feed: &'a Feed,
    windows: Vec<Vec<Piece>>,
    served: AtomicUsize,
    table: Mutex<Option<Arc<Table>>>,
}

struct Table {
    slots: Slots,
    ready: File,
}

impl<'a> Meal<'a> {
    fn new(chain: &'a Chain<'a>, feed: &'a Feed) -> Meal<'a> {
        Meal { chain, feed, windows: chain.windows(), served: AtomicUsize::new(0), table: Mutex::new(None) }
    }

    fn serve(&self, window: usize, cache: &mut Cache, over: &AtomicBool) {
        let Some(table) = self.table() else { return };
        let served = self.feed.slot(over).and_then(|slot| self.one(&table, window, slot, cache));
        let all = self.served.fetch_add(1, Relaxed) + 1 == self.windows.len();
        if all || served.is_err() {
            // The end of the pipe is the end of the meal; if it comes too early, the restorer says so.
            *lock(&self.table) = None;
        }
    }

    /// None: it has ended.
    fn table(&self) -> Option<Arc<Table>> {
        let mut table = lock(&self.table);
        if let Some(Unmapped { memory, ready }) = lock(&self.feed.open).take() {
            *table = Slots::map(&memory).ok().map(|slots| Arc::new(Table { slots, ready }));
        }
        table.clone()
    }

    fn one(&self, table: &Table, window: usize, slot: [u8; 4], cache: &mut Cache) -> io::Result<()> {
        let pieces = &self.windows[window];
        let len = pieces.iter().map(|p| p.len as usize).sum();
        let out = table.slots.slot(u32::from_le_bytes(slot), len).ok_or(io::ErrorKind::InvalidData)?;
        self.chain.read_into(pieces, out, cache)?;
        let mut token = [0; 8];
        token[..4].copy_from_slice(&(window as u32).to_le_bytes());
        token[4..].copy_from_slice(&slot);
        (&table.ready).write_all(&token)
    }
}

/// The slots, mapped.
struct Slots {
    at: usize,
    len: usize,
}

impl Slots {
    fn map(memory: &File) -> io::Result<Slots> {
        let len = memory.metadata()?.len() as usize;
        // SAFETY: a fresh shared mapping of our own memfd.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, memory.as_raw_fd(), 0) };
        if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Slots { at: at as usize, len }) }
    }

    /// None: there is no such slot.
    #[allow(clippy::mut_from_ref)]
    fn slot(&self, slot: u32, len: usize) -> Option<&mut [u8]> {
        let from = slot as usize * WINDOW as usize;
        // SAFETY: inside the mapping. Who has the slot's number has it alone until the restorer gives it back.
        (len <= WINDOW as usize && from + len <= self.len).then(|| unsafe { std::slice::from_raw_parts_mut((self.at + from) as *mut u8, len) })
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        // SAFETY: our own mapping, of which nothing is borrowed.
        unsafe { libc::munmap(self.at as *mut _, self.len) };
    }
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}
