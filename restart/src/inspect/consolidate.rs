//! One image out of a chain. It is the newest one with its memory completed: everything else stays at its place, so
//! that nothing that refers to it changes.

use crate::chain::{Cache, Chain};
use crate::image_set::Member;
use ckpt_agent::codec::pack;
use ckpt_image::chain::Piece;
use ckpt_image::file::HEADER_LEN;
use ckpt_image::{Codec, ImageFile, ImageMeta, ImageWriter, Memory, UserKey};
use ckpt_objects::BlobRef;
use ckpt_sys::crc::crc32c;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

pub fn write(mut member: Member, out: &Path, key: Option<&UserKey>) -> io::Result<()> {
    let key = key.filter(|_| member.file.is_sealed());
    let out = std::path::absolute(out)?;
    let name = out.file_name().map(|n| n.to_string_lossy().into_owned()).ok_or(io::ErrorKind::InvalidInput)?;
    let mut image = ImageWriter::create(out.parent().unwrap_or(Path::new("/")), &name, key)?;
    match key {
        None => copy_data(&member.file, &image)?,
        Some(_) => seal_again(&member.file, &mut member.meta, &image)?,
    }
    let memories: Vec<Option<Memory>> =
        (0..member.meta.processes.len()).map(|i| Chain::of(&member, i).map(|c| complete(&c, &image)).transpose()).collect::<io::Result<_>>()?;
    for (process, memory) in member.meta.processes.iter_mut().zip(memories) {
        if let Some((body, memory)) = process.body.as_mut().zip(memory) {
            if key.is_none() {
                drop_data(&image, &body.memory)?;
            }
            body.memory = memory;
        }
    }
    member.meta.parent = None;
    image.finish(&member.meta, member.file.header)?;
    image.commit(&out)
}

fn copy_data(from: &ImageFile, to: &ImageWriter) -> io::Result<()> {
    let mut at = to.reserve(from.header.meta_at.saturating_sub(HEADER_LEN));
    let mut buffer = vec![0; 1 << 20];
    while at < from.header.meta_at {
        let n = (from.header.meta_at - at).min(buffer.len() as u64) as usize;
        from.file.read_exact_at(&mut buffer[..n], at)?;
        to.file.write_all_at(&buffer[..n], at)?;
        at += n as u64;
    }
    Ok(())
}

/// Each file has a key of its own: what is not memory is sealed anew, at its place.
fn seal_again(from: &ImageFile, meta: &mut ImageMeta, to: &ImageWriter) -> io::Result<()> {
    to.reserve(from.header.meta_at.saturating_sub(HEADER_LEN));
    let files = meta.files.iter_mut().flat_map(|f| &mut f.pieces).map(|(_, piece, crc)| (&*piece, crc));
    for (piece, crc) in files.chain(meta.sums.iter_mut().map(|(piece, crc)| (&*piece, crc))) {
        *crc = to.put_at(&from.read_blob(piece)?, piece.offset)?;
    }
    Ok(())
}

/// The incomplete memory becomes a hole, where the file system can make one; else zeros.
fn drop_data(image: &ImageWriter, old: &Memory) -> io::Result<()> {
    for p in &old.pieces {
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        // SAFETY: numbers only.
        let punched = unsafe { libc::fallocate(image.file.as_raw_fd(), mode, p.offset as i64, p.len as i64) } == 0;
        let zeros = [0; 4096];
        for at in (0..p.len).step_by(zeros.len()).filter(|_| !punched) {
            image.file.write_all_at(&zeros[..zeros.len().min((p.len - at) as usize)], p.offset + at)?;
        }
    }
    Ok(())
}

fn complete(chain: &Chain, image: &ImageWriter) -> io::Result<Memory> {
    let codec = chain.sources[0].memory.codec;
    let bytes = chain.pieces.iter().map(|p| p.len).sum();
    let guards = chain.sources[0].memory.guards.clone();
    let mut memory = Memory { runs: runs(&chain.pieces), guards, bytes, codec, pieces: Vec::new(), checksums: Vec::new(), kept: Vec::new() };
    let mut offset = 0;
    if codec == Codec::None {
        offset = image.reserve(bytes);
        memory.pieces.push(BlobRef { offset, len: bytes });
    }
    let mut cache = Cache::default();
    for window in chain.windows() {
        let chunk = chain.read(&window, &mut cache)?;
        if codec == Codec::None {
            image.file.write_all_at(&chunk, offset)?;
            offset += chunk.len() as u64;
            memory.checksums.push(crc32c(&chunk));
        } else {
            let packed = pack(codec, &chunk)?;
            let (piece, crc) = image.append(&packed)?;
            memory.pieces.push(piece);
            memory.checksums.push(crc);
        }
    }
    Ok(memory)
}

/// Neighbours are one.
fn runs(pieces: &[Piece]) -> Vec<(u64, u64)> {
    let mut out: Vec<(u64, u64)> = Vec::new();
    for p in pieces {
        match out.last_mut() {
            Some(last) if last.0 + last.1 == p.addr => last.1 += p.len,
            _ => out.push((p.addr, p.len)),
        }
    }
    out
}
