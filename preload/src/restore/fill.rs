//! Memory filled from the images by all processors: files are read into place, what was decoded is copied there.

use super::{Failure, Ground, Outcome, step};
use crate::asm;
use ckpt_sys::calls::*;
use ckpt_sys::flat::plan::{self, Feed, Map, PlanHead, Read};
use ckpt_sys::raw::*;
use core::sync::atomic::{AtomicI64, AtomicU64, Ordering::*};

/// Helpers at most; their stacks are those of threads that do not exist yet.
pub const HELPERS: usize = 15;
/// Bytes that one helper takes at a time: neighbours meet in few page tables.
const SPAN: u64 = 8 << 20;
/// Bytes that are made present, then read: they stay in the cache in between.
const STEP: u64 = 512 << 10;
const HUGE: u64 = 2 << 20;
/// Enough to clear a huge page. What takes longer is looking for one, or a hypervisor that has to.
const HUGE_NS: u64 = 1_000_000;
/// So much of that in all, then pages are small.
const PATIENCE_NS: i64 = 10_000_000;
const MADV_COLLAPSE: i32 = 25;

pub fn read(g: &Ground, head: &PlanHead) -> Outcome {
    let reads = g.table::<Read>(head.reads);
    let Some(last) = reads.last() else { return Ok(()) };
    let total = last.before + last.len;
    let work = Work { reads, maps: g.table(head.maps), patience_ns: AtomicI64::new(PATIENCE_NS), feed: head.feed, total, next: AtomicU64::new(0), failed: AtomicU64::new(0), failed_at: AtomicU64::new(0) };
    let mut helpers = [0; HELPERS];
    let share = if work.is_fed() { plan::WINDOW } else { SPAN };
    let wanted = processors().saturating_sub(1).min(total.div_ceil(share) as usize - 1).min(HELPERS);
    for (i, helper) in helpers[..wanted].iter_mut().enumerate() {
        *helper = spawn_helper(g, i, &work);
    }
    work.run();
    for helper in helpers.into_iter().filter(|&pid| pid > 0) {
        reap(helper);
    }
    if work.is_fed() {
        [head.feed.memory, head.feed.ready, head.feed.free].into_iter().for_each(close);
    }
    match work.failed.load(Acquire) {
        0 if work.next.load(Acquire) >= work.total => Ok(()),
        0 => Err(Failure { step: step::READ, errno: Errno(libc::ENODATA), at: 0 }),
        errno => Err(Failure { step: step::READ, errno: Errno(errno as i32), at: work.failed_at.load(Acquire) }),
    }
}

/// The bytes of all reads, laid end to end: where each goes, and who does what.
struct Work<'a> {
    reads: &'a [Read],
    maps: &'a [Map],
    patience_ns: AtomicI64,
    feed: Feed,
    total: u64,
    next: AtomicU64,
    failed: AtomicU64,
    failed_at: AtomicU64,
}

/// Some of the bytes, and where they are now; None: where their `Read` says.
struct Span {
    from: u64,
    to: u64,
    slot: Option<u32>,
}

impl Work<'_> {
    fn is_fed(&self) -> bool {
        self.feed.memory >= 0
    }

    fn run(&self) {
        while self.failed.load(Relaxed) == 0 {
            let done = match self.take() {
                Ok(None) => break,
                Ok(Some(span)) => self.span(&span),
                Err(errno) => Err((errno, 0)),
            };
            if let Err((errno, at)) = done {
                self.failed_at.store(at, Release);
                self.failed.store(errno.0 as u64, Release);
            }
        }
    }

    fn take(&self) -> Result<Option<Span>> {
        if !self.is_fed() {
            let from = self.next.fetch_add(SPAN, Relaxed);
            return Ok((from < self.total).then_some(Span { from, to: (from + SPAN).min(self.total), slot: None }));
        }
        let mut token = [0u8; 8];
        match read_full(self.feed.ready, &mut token)? {
            8 => {}
            // Others may be about to count what they took: whether it was all is seen when they are done.
            0 => return Ok(None),
            _ => return Err(Errno(libc::ENODATA)),
        }
        let [a, b, c, d, e, f, g, h] = token;
        let from = u32::from_le_bytes([a, b, c, d]) as u64 * plan::WINDOW;
        let to = (from + plan::WINDOW).min(self.total);
        self.next.fetch_add(to.saturating_sub(from), AcqRel);
        Ok(Some(Span { from, to, slot: Some(u32::from_le_bytes([e, f, g, h])) }))
    }

    /// Errors: why, and the address that has not got its bytes.
    fn span(&self, s: &Span) -> core::result::Result<(), (Errno, u64)> {
        let mut from = s.from;
        let mut i = self.reads.partition_point(|r| r.before + r.len <= from);
        while from < s.to {
            let r = &self.reads[i];
            let len = (r.before + r.len).min(s.to) - from;
            let skip = from - r.before;
            let (fd, offset) = match s.slot {
                None => (r.fd, r.offset + skip),
                Some(slot) => (self.feed.memory, slot as u64 * plan::WINDOW + (from - s.from)),
            };
            let addr = r.addr + skip;
            self.make_huge(addr, len, r.addr + r.len);
            fill(addr, len, (fd, offset)).map_err(|errno| (errno, addr))?;
            from += len;
            i += 1;
        }
        s.slot.map_or(Ok(()), |slot| write_all(self.feed.free, &slot.to_le_bytes())).map_err(|errno| (errno, 0))
    }
}

impl Work<'_> {
    /// Huge pages that begin in these bytes and are filled whole; `end`: as far as there is something to fill.
    fn make_huge(&self, addr: u64, len: u64, end: u64) {
        let wanted = |m: &&Map| addr < m.addr + m.len && m.advice & plan::MAP_COLLAPSE != 0;
        let Some(m) = self.maps.get(self.maps.partition_point(|m| m.addr <= addr).wrapping_sub(1)).filter(wanted) else { return };
        let end = end.min(m.addr + m.len);
        let mut at = addr.next_multiple_of(HUGE);
        while at < addr + len && at + HUGE <= end && self.patience_ns.load(Relaxed) > 0 {
            let begun = monotonic_ns();
            // Where there is no page at all nothing can be collapsed.
            let made = madvise(at as usize, ckpt_sys::PAGE, libc::MADV_POPULATE_WRITE).and_then(|()| madvise(at as usize, HUGE as usize, MADV_COLLAPSE));
            let lost = if made.is_ok() { (monotonic_ns() - begun).saturating_sub(HUGE_NS) as i64 } else { PATIENCE_NS };
            self.patience_ns.fetch_sub(lost, Relaxed);
            at += HUGE;
        }
    }
}

/// Makes memory present where it is, a step at a time, and reads into it.
fn fill(addr: u64, len: u64, (fd, offset): (Fd, u64)) -> Result<()> {
    let mut done = 0;
    while done < len {
        let (to, n) = (addr + done, (len - done).min(STEP));
        if n as usize > ckpt_sys::PAGE {
            // A fault for each page costs more; where this fails, the read says why.
            let _ = madvise(to as usize, n as usize, libc::MADV_POPULATE_WRITE);
        }
        copy(to, n, (fd, offset + done))?;
        done += n;
    }
    Ok(())
}

fn copy(addr: u64, len: u64, (fd, offset): (Fd, u64)) -> Result<()> {
    let mut done = 0;
    while done < len {
        let (to, n) = ((addr + done) as usize, (len - done) as usize);
        // SAFETY: ckpt_restart checked that every run lies in a private mapping of the plan.
        match unsafe { syscall4(libc::SYS_pread64, fd as usize, to, n, (offset + done) as usize) } {
            Ok(0) => return Err(Errno(libc::ENODATA)),
            Ok(n) => done += n as u64,
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Processors that this process may use.
fn processors() -> usize {
    let mut mask = [0u64; 128];
    // SAFETY: mask is writable for its size.
    let n = unsafe { syscall3(libc::SYS_sched_getaffinity, 0, size_of_val(&mask), mask.as_mut_ptr() as usize) };
    mask[..n.unwrap_or(0) / 8].iter().map(|w| w.count_ones() as usize).sum()
}

/// A process in our memory rather than a thread: once waited for, its id is free again for a thread of the program.
/// 0: there is none, which is slower, no more.
fn spawn_helper(g: &Ground, index: usize, work: &Work) -> i32 {
    let flags = libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES;
    let arg = core::ptr::from_ref(work) as usize;
    // SAFETY: the stack is unused until the program's threads are made; `work` outlives the helper, which is waited for.
    let made = unsafe { asm::clone_thread(flags as usize, g.thread_stack_top(index), help, arg) };
    check(made).unwrap_or(0) as i32
}

unsafe extern "C" fn help(work: usize) -> ! {
    // SAFETY: spawn_helper passes its Work.
    unsafe { (*(work as *const Work)).run() };
    exit_group(0)
}

fn reap(pid: i32) {
    const WALL: usize = 0x4000_0000;
    // SAFETY: numbers only.
    while unsafe { syscall4(libc::SYS_wait4, pid as usize, 0, WALL, 0) } == Err(Errno::INTR) {}
}
