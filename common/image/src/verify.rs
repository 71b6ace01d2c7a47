//! Every byte of an image against its checksum, on all processors, before anything is started.

use crate::file::{HEADER_LEN, ImageError, ImageFile, at_line};
use crate::meta::{CHUNK, Codec, ImageMeta, Memory};
use crate::seal::OVERHEAD;
use ckpt_sys::crc::{crc32c, update};
use std::io;
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
        let mut buf = Vec::new();
        while let Some(s) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            if memory_later && matches!(s.owner, Owner::Memory(_)) {
                continue;
            }
            if !is_sound(image, s, &mut buf) {
                bad.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(s.owner);
                return;
            }
        }
    };
    on_all_cores(all.len().div_ceil(8), check);
    if let Some(owner) = bad.into_inner().unwrap_or_else(|e| e.into_inner()) {
        return Err(damaged(name(meta, owner)));
    }
    let mut buf = Vec::new();
    for (from, to) in gaps.into_iter().filter(|g| g.0 < g.1) {
        let mut parts = (from..to).step_by(CHUNK as usize);
        if !parts.all(|at| look(image, at, CHUNK.min(to - at), &mut buf).is_ok_and(|bytes| bytes.iter().all(|&b| b == 0))) {
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

fn is_sound(image: &ImageFile, s: &Stored, buf: &mut Vec<u8>) -> bool {
    if image.is_sealed() {
        return look(image, s.offset, s.len, buf).is_ok_and(|bytes| crc32c(bytes) == s.crc && image.open_piece(s.offset, bytes).is_ok());
    }
    let mut parts = (s.offset..s.offset + s.len).step_by(CHUNK as usize);
    let crc = parts.try_fold(!0, |crc, at| look(image, at, CHUNK.min(s.offset + s.len - at), buf).map(|bytes| update(crc, bytes)));
    crc.is_ok_and(|crc| !crc == s.crc)
}

/// Part of the image, read into `buf`: memory that is used again stays in the cache, a mapping of each part costs more.
fn look<'a>(image: &ImageFile, offset: u64, len: u64, buf: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
    if offset.checked_add(len).is_none_or(|end| end > image.header.total) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let part = at_line(buf, len as usize);
    image.file.read_exact_at(part, offset)?;
    Ok(part)
}
