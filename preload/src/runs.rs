//! Which pages exist (PAGEMAP_SCAN, Documentation/admin-guide/mm/pagemap.rst) and writing them in order.

use crate::arena::Arena;
use crate::channel::Channel;
use crate::kept::Kept;
use crate::maps::{self, Vma};
use crate::run_table::RunTable;
use crate::sheet::Sheet;
use crate::{state, writer};
use ckpt_sys::flat::*;
use ckpt_sys::PAGE;
use ckpt_sys::calls::*;
use ckpt_sys::pagemap::{FILE, GUARD, PAGEMAP_SCAN, PFNZERO, PRESENT, SWAPPED, ScanArg};
use ckpt_sys::raw::*;
use ckpt_sys::sched::Turn;

/// Unit of checksums.
pub const CHUNK: u64 = 1 << 20;
const BATCH: usize = 4096;

/// Memory that was made readable for us, and its protection before: `Was`, one after another.
struct Opened {
    list: Fd,
}

/// Address, bytes, protection.
type Was = [usize; 3];

impl Opened {
    /// However many there are: what is not noted stays as it is.
    fn open(&mut self, at: usize, len: usize, prot: usize) -> Result<()> {
        if self.list < 0 {
            self.list = Sheet::new(c"ckpt-opened", -1)?.fd;
        }
        write_all(self.list, bytes_of::<Was>(&[at, len, prot]))?;
        protect(at, len, prot | libc::PROT_READ as usize)
    }

    fn close_again(&self) {
        let mut entry = [0; size_of::<Was>()];
        let mut offset = 0;
        // SAFETY: entry is writable for its length.
        while unsafe { syscall4(libc::SYS_pread64, self.list as usize, entry.as_mut_ptr() as usize, entry.len(), offset) } == Ok(entry.len()) {
            if let Some([at, len, prot]) = from_bytes::<Was>(&entry) {
                let _ = protect(at, len, prot);
            }
            offset += entry.len();
        }
    }
}

/// Scan, tell the agent how much there is, learn where it goes, write.
///
/// `given`: where the agent wants the table of runs, or -1. `ranges`: what it says of mappings (`SharedRange`s).
pub fn write_snapshot(a: &Arena, ch: &Channel, hold: bool, incremental: bool, given: Fd, ranges: &[u8]) -> Result<()> {
    let mut kept = if incremental { Kept::receive(ch)? } else { Kept::nothing() };
    if !hold {
        // A copy that set to work at once would keep the program's threads from the processors.
        ch.recv().filter(|(m, _)| m.kind == msg::GO).ok_or(Errno(libc::ECANCELED))?;
    }
    let mut table = RunTable::new(given)?;
    let mut turn = (!hold).then(Turn::begin);
    let mut opened = Opened { list: -1 };
    // SAFETY: this thread alone uses the scratch, and the scan is over when it is written from.
    let aside = hold.then(|| unsafe { a.scratch() });
    let done = scan(a, ranges, &mut table, &mut opened, &mut kept, &mut turn).and_then(|()| announce_and_write(ch, &mut table, aside, turn));
    if hold && opened.list >= 0 {
        opened.close_again();
        close(opened.list);
    }
    if table.sheet.fd != given {
        close(table.sheet.fd);
    }
    done
}

fn announce_and_write(ch: &Channel, table: &mut RunTable, aside: Option<&mut [u8]>, turn: Option<Turn>) -> Result<()> {
    table.sheet.cut()?;
    let m = Msg { kind: msg::RUNS, pid: getpid(), arg: table.bytes, arg2: table.count, ..Msg::default() };
    ch.send_with(m, &[], &[table.sheet.fd])?;
    let (m, fds) = lend(ch, table, aside.is_none())?;
    match m.kind {
        msg::WRITE => {
            let mut sink = Sink { fd: fds[0], offset: m.arg, begun: m.arg, crc: !0, in_chunk: 0, table: &mut table.sheet, aside, turn };
            let written = write_runs(table.count, &mut sink);
            close(fds[0]);
            written?;
        }
        msg::DONE => {}
        _ => return Err(Errno(libc::ECANCELED)),
    }
    ch.send(Msg { kind: msg::WRITTEN, pid: getpid(), arg: table.bytes, ..Msg::default() });
    Ok(())
}

/// While the agent reads our memory itself. The message after.
fn lend(ch: &Channel, table: &RunTable, frozen: bool) -> Result<(Msg, [Fd; 4])> {
    let mut dropped = Dropped { runs: 0, in_run: 0, bytes: 0 };
    loop {
        let Some((m, fds)) = ch.recv() else { return Err(Errno(libc::EPIPE)) };
        if m.kind != msg::DROP {
            return Ok((m, fds));
        }
        if frozen {
            dropped.up_to(table, m.arg)?;
        }
    }
}

/// How far memory is given back, in the order of the runs.
struct Dropped {
    runs: u64,
    in_run: u64,
    bytes: u64,
}

impl Dropped {
    fn up_to(&mut self, table: &RunTable, bytes: u64) -> Result<()> {
        while self.bytes < bytes && self.runs < table.count {
            let run = table.run(self.runs)?;
            let len = if run.is_guard() { 0 } else { run.bytes };
            let n = (len - self.in_run).min(bytes - self.bytes);
            let from = run.addr + self.in_run;
            if self.in_run + n == len {
                (self.runs, self.in_run) = (self.runs + 1, 0);
                self.bytes += n;
                drop_written(from, from + n);
            } else {
                // The rest of a huge page goes with what follows it.
                let edge = (from + n) & !(DROP - 1);
                if edge > from {
                    self.in_run += edge - from;
                    self.bytes += edge - from;
                    drop_written(from, edge);
                }
                return Ok(());
            }
        }
        Ok(())
    }
}

fn protect(at: usize, len: usize, prot: usize) -> Result<()> {
    // SAFETY: only adds read permission to the snapshot's own memory, or puts back what was.
    unsafe { syscall3(libc::SYS_mprotect, at, len, prot) }.map(drop)
}

fn scan(a: &Arena, ranges: &[u8], table: &mut RunTable, opened: &mut Opened, kept: &mut Kept, turn: &mut Option<Turn>) -> Result<()> {
    let pagemap = open(c"/proc/thread-self/pagemap", libc::O_RDONLY | libc::O_CLOEXEC)
        .or_else(|_| open(c"/proc/self/pagemap", libc::O_RDONLY | libc::O_CLOEXEC))?;
    let state = state::state_page_addr() as u64;
    // SAFETY: this thread alone uses the scratch.
    let scratch = unsafe { a.scratch() };
    let mut done = 0;
    let result = maps::each(scratch, |vma| {
        // What was made readable may have merged with what comes next before that was listed.
        let start = vma.start.max(done);
        // Its file comes back, from a descriptor or a shared mapping.
        let has_file = |r: SharedRange| r.offset == 2 && r.addr <= start && vma.end <= r.addr + r.len;
        let deleted = vma.deleted && !writer::ranges(ranges).any(has_file);
        let vma = &Vma { start, deleted, ..*vma };
        if vma.shared || vma.special || vma.start == state || vma.start >= vma.end {
            return Ok(());
        }
        done = vma.end;
        // The kernel may have merged an arena with its neighbours.
        a.around_holes(vma.start, vma.end, |start, end| scan_vma(pagemap, &Vma { start, end, ..*vma }, table, opened, kept, turn))
    });
    close(pagemap);
    result?;
    table.end()
}

fn scan_vma(pagemap: Fd, vma: &Vma, table: &mut RunTable, opened: &mut Opened, kept: &mut Kept, turn: &mut Option<Turn>) -> Result<()> {
    let mut readable = vma.prot & libc::PROT_READ != 0;
    if vma.deleted {
        if !readable {
            make_readable(vma, opened)?;
        }
        return add_all(table, vma);
    }
    let mut at = vma.start;
    while let Some((from, to)) = kept.stretch(at, vma.end) {
        at = from;
        while at < to {
            let mut regions = [[0u64; 3]; 128];
            let (n, next) = regions_of(pagemap, at, to, &mut regions)?;
            for r in &regions[..n] {
                if r[2] & GUARD != 0 {
                    table.add_guard(r[0], r[1] - r[0])?;
                    continue;
                }
                if !readable {
                    make_readable(vma, opened)?;
                    readable = true;
                }
                kept.without(r[0], r[1], |from, to| add_region(table, from, to, vma.file, turn))?;
            }
            at = next.max(at + PAGE as u64);
        }
    }
    Ok(())
}

/// Every page there is, whether it was touched or not; what lies beyond the end of the file is left out.
fn add_all(table: &mut RunTable, vma: &Vma) -> Result<()> {
    let len = (vma.end - vma.start) as usize;
    if madvise(vma.start as usize, len, libc::MADV_POPULATE_READ).is_ok() {
        return table.add(vma.start, len as u64);
    }
    let pages = (vma.start..vma.end).step_by(PAGE);
    pages.filter(|&p| madvise(p as usize, PAGE, libc::MADV_POPULATE_READ).is_ok()).try_for_each(|p| table.add(p, PAGE as u64))
}

fn make_readable(vma: &Vma, opened: &mut Opened) -> Result<()> {
    opened.open(vma.start as usize, (vma.end - vma.start) as usize, vma.prot as usize)
}

/// Existing pages of [at, end) that are not the file's own, as [start, end, _]; and where the walk stopped.
fn regions_of(pagemap: Fd, at: u64, end: u64, out: &mut [[u64; 3]; 128]) -> Result<(usize, u64)> {
    let mut arg = ScanArg {
        size: size_of::<ScanArg>() as u64,
        start: at,
        end,
        vec: out.as_mut_ptr() as u64,
        vec_len: out.len() as u64,
        inverted: PFNZERO | FILE,
        mask: PFNZERO | FILE,
        anyof: PRESENT | SWAPPED,
        ..ScanArg::default()
    };
    let mut ask = |ret: u64| {
        arg.ret = ret;
        // SAFETY: arg has the kernel's layout, vec is writable for vec_len regions.
        unsafe { syscall3(libc::SYS_ioctl, pagemap as usize, PAGEMAP_SCAN, &raw mut arg as usize) }
    };
    let found = match ask(PRESENT | GUARD) {
        Err(Errno::INVAL) => ask(PRESENT),
        found => found,
    };
    match found {
        Ok(n) => Ok((n, arg.walk_end)),
        Err(Errno(libc::ENOTTY | libc::EINVAL)) => regions_by_entry(pagemap, at, end, out),
        Err(e) => Err(e),
    }
}

/// Kernels before 6.7: one 64-bit entry per page (bit 63 present, 62 swapped, 61 file page or shared, 58 guard).
fn regions_by_entry(pagemap: Fd, at: u64, end: u64, out: &mut [[u64; 3]; 128]) -> Result<(usize, u64)> {
    let mut entries = [0u64; 64];
    let pages = ((end - at) / PAGE as u64).min(64) as usize;
    // SAFETY: entries is writable for 8 bytes a page.
    let got = unsafe {
        syscall4(libc::SYS_pread64, pagemap as usize, entries.as_mut_ptr() as usize, pages * 8, at as usize / PAGE * 8)
    }? / 8;
    let mut n = 0;
    for (i, e) in entries[..got].iter().enumerate() {
        if e >> 62 != 0 && e >> 61 & 1 == 0 {
            let start = at + (i * PAGE) as u64;
            out[n] = [start, start + PAGE as u64, if e >> 58 & 1 != 0 { GUARD } else { PRESENT }];
            n += 1;
        }
    }
    Ok((n, at + (got * PAGE) as u64))
}

/// A page of zeros need not be saved where missing pages read as zeros.
fn add_region(table: &mut RunTable, start: u64, end: u64, file: bool, turn: &mut Option<Turn>) -> Result<()> {
    if file {
        return table.add(start, end - start);
    }
    let mut at = start;
    while at < end {
        // SAFETY: the page exists and is readable in this snapshot.
        let words = unsafe { core::slice::from_raw_parts(at as *const u64, PAGE / 8) };
        if words.iter().any(|&w| w != 0) {
            table.add(at, PAGE as u64)?;
        }
        at += PAGE as u64;
        if at.is_multiple_of(PIECE) {
            give_way(turn);
        }
    }
    Ok(())
}

fn give_way(turn: &mut Option<Turn>) {
    if let Some(turn) = turn {
        turn.give_way();
    }
}

struct Sink<'a> {
    fd: Fd,
    /// u64::MAX: a pipe
    offset: u64,
    /// what lies before is on its way to the disk
    begun: u64,
    crc: u32,
    in_chunk: u64,
    table: &'a mut Sheet,
    /// None: the memory is a copy that nobody needs once it is written. Else what is written goes through here: a thread on
    /// its way to sleep may still write to its stack, and the checksum is to be that of the bytes in the image.
    aside: Option<&'a mut [u8]>,
    /// of a copy, whose program runs
    turn: Option<Turn>,
}

/// Written together: what is checked is still in the cache when it is copied.
const PIECE: u64 = 256 << 10;
/// The disk is set to work after so much, so that the fsync at the end waits for little.
const WRITE_BACK: u64 = 2 << 20;
/// A huge page is dropped whole.
const DROP: u64 = 2 << 20;

impl Sink<'_> {
    fn put(&mut self, mut at: u64, len: u64) -> Result<()> {
        let (mut kept, end) = (at, at + len);
        while at < end {
            let n = (end - at).min(CHUNK - self.in_chunk).min(PIECE);
            // SAFETY: the run exists and is readable in this snapshot.
            let bytes = unsafe { core::slice::from_raw_parts(at as *const u8, n as usize) };
            if self.offset == u64::MAX {
                splice(self.fd, bytes)?;
            } else {
                self.check_and_write(bytes)?;
            }
            self.in_chunk += n;
            at += n;
            give_way(&mut self.turn);
            let edge = if at == end { end } else { at & !(DROP - 1) };
            if edge > kept {
                if self.aside.is_none() {
                    drop_written(kept, edge);
                }
                kept = edge;
            }
            if self.in_chunk == CHUNK {
                self.end_chunk()?;
            }
        }
        Ok(())
    }

    fn check_and_write(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(aside) = self.aside.take() else {
            self.crc = ckpt_sys::crc::update(self.crc, bytes);
            return self.write_at(bytes);
        };
        let mut done = Ok(());
        for part in bytes.chunks(aside.len().max(1)) {
            let copy = &mut aside[..part.len()];
            copy.copy_from_slice(part);
            self.crc = ckpt_sys::crc::update(self.crc, copy);
            done = done.and_then(|()| self.write_at(copy));
        }
        self.aside = Some(aside);
        done
    }

    fn write_at(&mut self, bytes: &[u8]) -> Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let rest = &bytes[done..];
            // SAFETY: rest is readable.
            match unsafe { syscall4(libc::SYS_pwrite64, self.fd as usize, rest.as_ptr() as usize, rest.len(), self.offset as usize) } {
                Ok(0) => return Err(Errno(libc::EIO)),
                Ok(n) => {
                    done += n;
                    self.offset += n as u64;
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(e),
            }
        }
        if self.offset - self.begun >= WRITE_BACK {
            self.write_back();
        }
        Ok(())
    }

    /// A hint: errors come back from fsync.
    fn write_back(&mut self) {
        const SYNC_FILE_RANGE_WRITE: usize = 2;
        let (from, len) = (self.begun as usize, (self.offset - self.begun) as usize);
        // SAFETY: numbers only.
        let _ = unsafe { syscall4(libc::SYS_sync_file_range, self.fd as usize, from, len, SYNC_FILE_RANGE_WRITE) };
        self.begun = self.offset;
    }

    /// Checksums follow the runs in their memfd.
    fn end_chunk(&mut self) -> Result<()> {
        if self.in_chunk > 0 && self.offset != u64::MAX {
            self.table.put(&(!self.crc).to_ne_bytes())?;
        }
        self.crc = !0;
        self.in_chunk = 0;
        Ok(())
    }
}

/// A page that the copy has no more is the program's alone: writing to it costs the program no copy.
fn drop_written(from: u64, to: u64) {
    let (own, own_len) = crate::restore::own_image();
    let apart = to <= own as u64 || (own + own_len) as u64 <= from;
    if apart && to - from >= PIECE {
        let _ = madvise(from as usize, (to - from) as usize, libc::MADV_DONTNEED);
    }
}

fn write_runs(count: u64, sink: &mut Sink<'_>) -> Result<()> {
    let mut index = 0;
    while index < count {
        let mut batch = [Run::default(); BATCH / size_of::<Run>()];
        let want = size_of_val(&batch).min((count - index) as usize * size_of::<Run>());
        let at = index as usize * size_of::<Run>();
        // SAFETY: batch is writable for `want` bytes.
        let got = unsafe { syscall4(libc::SYS_pread64, sink.table.fd as usize, batch.as_mut_ptr() as usize, want, at) }?;
        let runs = got / size_of::<Run>();
        for run in batch[..runs].iter().filter(|r| !r.is_guard()) {
            sink.put(run.addr, run.bytes)?;
        }
        if runs == 0 {
            return Err(Errno(libc::EIO));
        }
        index += runs as u64;
    }
    if sink.offset != u64::MAX {
        sink.write_back();
    }
    sink.end_chunk()
}

/// Lends the pages to the pipe where that is allowed: one copy less.
fn splice(pipe: Fd, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        let iov = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        // SAFETY: one iovec of readable bytes, which do not change before they are read: the copy is frozen, and a
        // program that is held goes on after the commit.
        match unsafe { syscall4(libc::SYS_vmsplice, pipe as usize, &raw const iov as usize, 1, 0) } {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            Err(Errno(libc::EPIPE)) => return Err(Errno(libc::EPIPE)),
            Err(_) => return write_all(pipe, bytes),
        }
    }
    Ok(())
}
