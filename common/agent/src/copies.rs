//! Shared memory cannot be frozen: it is copied in the pause, by all processors, and written when the programs run on.

use crate::{hands, room};
use crate::shared::Aside;
use ckpt_image::ImageWriter;
use ckpt_sys::flat::SharedRange;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Copies whose place in the image is reserved.
#[derive(Default)]
pub struct Copies(Vec<Copy>);

struct Copy {
    /// where it goes
    offset: u64,
    at: usize,
    len: usize,
}

impl Drop for Copy {
    fn drop(&mut self) {
        // SAFETY: our own mapping, of which nothing is borrowed.
        unsafe { libc::munmap(self.at as *mut _, self.len) };
    }
}

/// Memory for copies, made before the pause: to make a page takes longer than to copy one.
#[derive(Default)]
pub struct Pool(Vec<Copy>);

impl Pool {
    pub fn prepare(bytes: u64) -> Pool {
        if bytes < LEAST || room::is_short(bytes).is_some() {
            return Pool::default();
        }
        let Some(copy) = Copy::new(&SharedRange { addr: 0, len: bytes.next_multiple_of(PIECE as u64), offset: 0 }) else { return Pool::default() };
        // SAFETY: our own mapping; where the kernel cannot do it, pages come later.
        on_all((0..copy.len).step_by(PIECE).collect(), |at| unsafe {
            libc::madvise((copy.at + at) as *mut _, PIECE.min(copy.len - at), libc::MADV_POPULATE_WRITE);
        });
        Pool(vec![copy])
    }

    /// A part of it, or new memory.
    fn take(&mut self, r: &SharedRange) -> Option<Copy> {
        let len = r.len as usize;
        let Some(rest) = self.0.first_mut().filter(|rest| rest.len >= len && len > 0) else { return Copy::new(r) };
        let copy = Copy { offset: r.offset, at: rest.at, len };
        (rest.at, rest.len) = (rest.at + len, rest.len - len);
        if rest.len == 0 {
            self.0.clear();
        }
        Some(copy)
    }
}

fn on_all<T: Sync + std::marker::Copy>(pieces: Vec<T>, work: impl Fn(T) + Sync) {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(&piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(piece);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(pieces.len());
    std::thread::scope(|s| {
        (1..threads).for_each(|_| drop(hands::start(s, work)));
        work();
    });
}

/// Less than this is written at once.
const LEAST: u64 = 4 << 20;
/// What one thread copies at a time.
const PIECE: usize = 4 << 20;

/// Copies ranges of processes. None: there is no room, or a range cannot be read from here; the processes write them
/// to the image themselves.
pub fn take(ranges: &[(i32, SharedRange)], pool: &mut Pool) -> Option<Copies> {
    let total: u64 = ranges.iter().map(|r| r.1.len).sum();
    if total < LEAST || (pool.0.is_empty() && room::is_short(total).is_some()) {
        return None;
    }
    let copies: Vec<Copy> = ranges.iter().map(|(_, r)| pool.take(r)).collect::<Option<_>>()?;
    let pieces: Vec<(usize, usize)> = copies.iter().enumerate().flat_map(|(i, c)| (0..c.len).step_by(PIECE).map(move |at| (i, at))).collect();
    let failed = AtomicBool::new(false);
    on_all(pieces, |(i, at)| {
        if !failed.load(Ordering::Relaxed) && !copies[i].fill(ranges[i].0, ranges[i].1.addr as usize, at) {
            failed.store(true, Ordering::Relaxed);
        }
    });
    (!failed.into_inner()).then_some(Copies(copies))
}

impl Copy {
    fn new(r: &SharedRange) -> Option<Copy> {
        let (len, prot) = (r.len as usize, libc::PROT_READ | libc::PROT_WRITE);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh mapping, of huge pages where there are some.
        unsafe {
            let at = libc::mmap(std::ptr::null_mut(), len, prot, flags, -1, 0);
            if at == libc::MAP_FAILED {
                return None;
            }
            libc::madvise(at, len, libc::MADV_HUGEPAGE);
            Some(Copy { offset: r.offset, at: at as usize, len })
        }
    }

    /// One piece, from `at` on.
    fn fill(&self, pid: i32, from: usize, at: usize) -> bool {
        let len = PIECE.min(self.len - at);
        let local = libc::iovec { iov_base: (self.at + at) as *mut _, iov_len: len };
        let remote = libc::iovec { iov_base: (from + at) as *mut _, iov_len: len };
        // SAFETY: local lies in our mapping, no other thread has this piece; the kernel checks remote.
        unsafe { libc::process_vm_readv(pid, &local, 1, &remote, 1, 0) == len as isize }
    }
}

impl Copies {
    /// To the image, or to where it is encrypted from; the memory goes.
    pub fn write(&mut self, image: &ImageWriter, aside: Option<&Aside>) -> io::Result<()> {
        let to = aside.map_or(&image.file, |a| &a.file);
        for copy in self.0.drain(..) {
            // SAFETY: our mapping, which nobody writes to any more.
            let bytes = unsafe { std::slice::from_raw_parts(copy.at as *const u8, copy.len) };
            for (i, piece) in bytes.chunks(2 * PIECE).enumerate() {
                let offset = copy.offset + (i * 2 * PIECE) as u64;
                to.write_all_at(piece, offset)?;
                if aside.is_none() {
                    image.write_back(offset, piece.len() as u64);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_copied_is_what_was_there() {
        let memory: Vec<u8> = (0..9 << 20).map(|i| (i >> 8) as u8).collect();
        let range = SharedRange { addr: memory.as_ptr() as u64, len: memory.len() as u64, offset: 4096 };
        let folder = std::env::temp_dir().join(format!("ckpt-copies-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let image = ImageWriter::create(&folder, "copies", None).unwrap();
        take(&[(std::process::id() as i32, range)], &mut Pool::prepare(4 << 20)).unwrap().write(&image, None).unwrap();
        let mut back = vec![0; memory.len()];
        image.file.read_exact_at(&mut back, 4096).unwrap();
        assert!(back == memory);
        drop(image);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn memory_that_is_not_there_is_left_to_the_process() {
        let range = SharedRange { addr: 4096, len: 8 << 20, offset: 4096 };
        assert!(take(&[(std::process::id() as i32, range)], &mut Pool::default()).is_none());
    }
}
