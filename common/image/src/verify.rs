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
    let view = View::new(image)?;
    let (next, bad) = (AtomicUsize::new(0), Mutex::new(None));
    let check = || {
        while let Some(s) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            if memory_later && matches!(s.owner, Owner::Memory(_)) {
                continue;
            }
            let sound = view.with(image, s.offset, s.len, |bytes| {
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
            view.with(image, at, CHUNK.min(to - at), |bytes| zero && bytes.iter().all(|&b| b == 0))
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

/// An image mapped to be looked at: half the time of reading it.
struct View {
    at: usize,
    len: usize,
}

const PROT_READ: i32 = libc::PROT_READ;

impl View {
    fn new(image: &ImageFile) -> Result<View, ImageError> {
        let len = image.header.total as usize;
        let fd = image.file.as_raw_fd();
        // SAFETY: a fresh read-only mapping.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), len, PROT_READ, libc::MAP_SHARED, fd, 0) };
        if at == libc::MAP_FAILED {
            return Err(ImageError::Io(image.path.clone(), io::Error::last_os_error()));
        }
        // SAFETY: the mapping of above.
        unsafe { libc::madvise(at, len, libc::MADV_SEQUENTIAL) };
        Ok(View { at: at as usize, len })
    }

    /// Pages are made present first: a disk error is an error there, but a signal in the checksum.
    fn with<T>(&self, image: &ImageFile, offset: u64, len: u64, look: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
        let page = offset as usize % ckpt_sys::PAGE;
        let (from, whole) = (self.at + offset as usize - page, page + len as usize);
        if (offset as usize).checked_add(len as usize).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // SAFETY: inside the mapping.
        if unsafe { libc::madvise(from as *mut _, whole, libc::MADV_POPULATE_READ) } == 0 {
            // SAFETY: as above, and the pages are there.
            return Ok(look(unsafe { std::slice::from_raw_parts((from + page) as *const u8, len as usize) }));
        }
        let mut bytes = vec![0; len as usize];
        image.file.read_exact_at(&mut bytes, offset)?;
        Ok(look(&bytes))
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: our own mapping, of which nothing is borrowed.
        unsafe { libc::munmap(self.at as *mut _, self.len) };
    }
}
