//! Every byte of an image against its checksum, on all processors, before anything is started.

use crate::file::{HEADER_LEN, ImageError, ImageFile};
use crate::meta::{CHUNK, Codec, ImageMeta, Memory};
use crate::seal::OVERHEAD;
use ckpt_sys::crc::crc32c;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is stored at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stored {
    pub offset: u64,
    pub len: u64,
    pub crc: u32,
    owner: Owner,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    /// index into `processes`
    Memory(usize),
    /// index into `files`
    File(usize),
    Other,
}

/// Where chunk `i` of a process's memory is stored: offset and length without the seal; None: nowhere.
pub fn chunk_place(m: &Memory, i: usize) -> Option<(u64, u64)> {
    match m.codec {
        Codec::None => {
            let from = (i as u64).checked_mul(CHUNK)?;
            let left = m.bytes.checked_sub(from)?;
            Some((m.pieces.first()?.offset.checked_add(from)?, CHUNK.min(left)))
        }
        _ => m.pieces.get(i).map(|p| (p.offset, p.len)),
    }
}

/// All that the metadata knows to be stored, in the order of the file.
pub fn stored(meta: &ImageMeta, sealed: bool) -> Option<Vec<Stored>> {
    let seal = if sealed { OVERHEAD } else { 0 };
    let mut all = Vec::new();
    for (p, body) in meta.processes.iter().enumerate().filter_map(|(p, m)| Some((p, m.body.as_ref()?))) {
        for (i, &crc) in body.memory.checksums.iter().enumerate() {
            let (offset, len) = chunk_place(&body.memory, i)?;
            all.push(Stored { offset, len: len.checked_add(seal)?, crc, owner: Owner::Memory(p) });
        }
    }
    for (f, file) in meta.files.iter().enumerate() {
        for (_, piece, crc) in &file.pieces {
            all.push(Stored { offset: piece.offset, len: piece.len.checked_add(seal)?, crc: *crc, owner: Owner::File(f) });
        }
    }
    for (piece, crc) in &meta.sums {
        all.push(Stored { offset: piece.offset, len: piece.len.checked_add(seal)?, crc: *crc, owner: Owner::Other });
    }
    all.sort_unstable();
    Some(all)
}

/// Checks what is stored against its checksums, that nothing overlaps, and that nothing but zeros lies between.
/// Sealed pieces are opened too. `memory_later`: that of processes is left to those who read it. Errors name the image and what of it is damaged.
pub fn verify(image: &ImageFile, meta: &ImageMeta, memory_later: bool) -> Result<(), ImageError> {
    let damaged = |what: String| ImageError::Damaged(image.path.clone(), what);
    let all = stored(meta, image.is_sealed()).ok_or_else(|| damaged("a place in the file".into()))?;
    let mut gaps = Vec::new();
    let mut end = HEADER_LEN;
    for s in &all {
        let next = s.offset.checked_add(s.len).filter(|&next| s.offset >= end && next <= image.header.meta_at);
        let next = next.ok_or_else(|| damaged(format!("the place of {}", name(meta, s.owner))))?;
        gaps.push((end, s.offset));
        end = next;
    }
    gaps.push((end, image.header.meta_at));
    let (next, bad) = (AtomicUsize::new(0), Mutex::new(None));
    let check = || {
        while let Some(s) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            if memory_later && matches!(s.owner, Owner::Memory(_)) {
                continue;
            }
            let sound = with(image, s.offset, s.len, |bytes| {
                crc32c(bytes) == s.crc && (!image.is_sealed() || image.open_piece(s.offset, bytes).is_ok())
            });
            if !sound.unwrap_or(false) {
                bad.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(s.owner);
                return;
            }
        }
    };
    on_all_cores(all.len().div_ceil(8), check);
    if let Some(owner) = bad.into_inner().unwrap_or_else(|e| e.into_inner()) {
        return Err(damaged(name(meta, owner)));
    }
    for (from, to) in gaps.into_iter().filter(|g| g.0 < g.1) {
        let zero = (from..to).step_by(CHUNK as usize).try_fold(true, |zero, at| {
            with(image, at, CHUNK.min(to - at), |bytes| zero && bytes.iter().all(|&b| b == 0))
        });
        if !zero.unwrap_or(false) {
            return Err(damaged(format!("the padding at {from}")));
        }
    }
    Ok(())
}

fn name(meta: &ImageMeta, owner: Owner) -> String {
    match owner {
        Owner::Memory(p) => format!("memory of process {} ({})", meta.processes[p].pid, meta.processes[p].name),
        Owner::File(f) => format!("its copy of {}", String::from_utf8_lossy(&meta.files[f].identity.path)),
        Owner::Other => "the content of a kernel object or of shared memory".into(),
    }
}

/// Runs `work` here and on up to `most - 1` other threads.
fn on_all_cores(most: usize, work: impl Fn() + Sync) {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(most);
    std::thread::scope(|s| {
        (1..threads).for_each(|_| drop(s.spawn(&work)));
        work();
    });
}

/// Less than this is read.
const SMALL: u64 = 64 << 10;

/// Part of the image, mapped to be looked at: half the time of reading it.
fn with<T>(image: &ImageFile, offset: u64, len: u64, look: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
    if offset.checked_add(len).is_none_or(|end| end > image.header.total) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if len >= SMALL {
        if let Some(view) = View::new(image, offset, len) {
            return Ok(look(view.bytes()));
        }
    }
    let mut bytes = vec![0; len as usize];
    image.file.read_exact_at(&mut bytes, offset)?;
    Ok(look(&bytes))
}

/// Unmapped by the thread that mapped it: a whole image at the end would take one thread a while.
struct View {
    at: usize,
    /// of the first byte in its page
    skip: usize,
    len: usize,
}

impl View {
    /// Pages are made present first: a disk error is an error there, but a signal in the checksum.
    fn new(image: &ImageFile, offset: u64, len: u64) -> Option<View> {
        let skip = offset as usize % ckpt_sys::PAGE;
        let (fd, from, whole) = (image.file.as_raw_fd(), offset as i64 - skip as i64, skip + len as usize);
        // SAFETY: a fresh read-only mapping.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), whole, libc::PROT_READ, libc::MAP_SHARED, fd, from) };
        if at == libc::MAP_FAILED {
            return None;
        }
        let view = View { at: at as usize, skip, len: whole };
        // SAFETY: the mapping of above.
        let there = unsafe { libc::madvise(at, whole, libc::MADV_POPULATE_READ) } == 0;
        there.then_some(view)
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: inside the mapping, whose pages are there.
        unsafe { std::slice::from_raw_parts((self.at + self.skip) as *const u8, self.len - self.skip) }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: our own mapping, of which nothing is borrowed.
        unsafe { libc::munmap(self.at as *mut _, self.len) };
    }
}
