//! A process's memory over all the images that hold parts of it.

use crate::image_set::Member;
use ckpt_agent::codec::Unpacker;
use ckpt_image::chain::{self, Piece};
use ckpt_image::verify::chunk_place;
use ckpt_image::{CHUNK, Codec, ImageFile, Memory, at_line};
use ckpt_objects::BlobRef;
use ckpt_sys::crc::crc32c;
use std::io;
use std::os::unix::fs::FileExt;

/// What one image holds of it.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub file: &'a ImageFile,
    pub memory: &'a Memory,
}

impl Source<'_> {
    fn chunk_len(&self, i: usize) -> usize {
        CHUNK.min(self.memory.bytes.saturating_sub(i as u64 * CHUNK)) as usize
    }

    /// The bytes of one chunk, decoded into place: `out` is as long as the chunk. Its checksum, or its seal, must be right.
    fn chunk_into(&self, i: usize, out: &mut [u8], tools: &mut Tools) -> io::Result<()> {
        let (offset, len) = chunk_place(self.memory, i).ok_or(io::ErrorKind::InvalidData)?;
        let Tools { packed: buf, opened, unpacker } = tools;
        let packed = if self.file.is_sealed() {
            *opened = self.file.read_blob(&BlobRef { offset, len })?;
            opened.as_slice()
        } else {
            if offset.checked_add(len).is_none_or(|end| end > self.file.header.total) {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let packed = at_line(buf, len as usize);
            self.file.file.read_exact_at(packed, offset)?;
            if self.memory.checksums.get(i) != Some(&crc32c(packed)) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{}: memory does not match its checksum", self.file.path.display())));
            }
            packed
        };
        unpacker.unpack(self.memory.codec, packed, out)
    }
}

/// Memory that decoding needs, kept from chunk to chunk.
#[derive(Default)]
struct Tools {
    packed: Vec<u8>,
    opened: Vec<u8>,
    unpacker: Unpacker,
}

/// The sources of a process's memory, the newest first, and its pieces in order of address.
pub struct Chain<'a> {
    pub sources: Vec<Source<'a>>,
    pub pieces: Vec<Piece>,
}

impl<'a> Chain<'a> {
    /// None for a process that has no memory any more.
    pub fn of(member: &'a Member, process: usize) -> Option<Chain<'a>> {
        let p = &member.meta.processes[process];
        let mut sources = vec![Source { file: &member.file, memory: &p.body.as_ref()?.memory }];
        for (file, meta) in &member.parents {
            let Some(body) = meta.processes.iter().find(|q| q.pid == p.pid).and_then(|q| q.body.as_ref()) else { break };
            sources.push(Source { file, memory: &body.memory });
        }
        let memories: Vec<&Memory> = sources.iter().map(|s| s.memory).collect();
        let pieces = chain::pieces(&memories);
        Some(Chain { sources, pieces })
    }

    pub fn is_compressed(&self) -> bool {
        self.pieces.iter().any(|p| self.sources[p.image].memory.codec != Codec::None)
    }

    /// Bytes of memory at an address, where they are in the images.
    pub fn peek(&self, addr: u64, len: u64) -> Option<Vec<u8>> {
        let end = addr.checked_add(len)?;
        let mut out = Vec::new();
        let mut cache = Cache::default();
        for p in &self.pieces[self.pieces.partition_point(|p| p.addr + p.len <= addr)..] {
            let from = addr + out.len() as u64;
            if p.addr > from || from >= end {
                break;
            }
            let part = Piece { addr: from, len: (p.addr + p.len).min(end) - from, at: p.at + (from - p.addr), ..*p };
            out.extend(self.read(&[part], &mut cache).ok()?);
        }
        (out.len() as u64 == len).then_some(out)
    }

    /// The pieces cut into windows of `CHUNK` bytes, the last one shorter.
    pub fn windows(&self) -> Vec<Vec<Piece>> {
        let mut out: Vec<Vec<Piece>> = Vec::new();
        let mut room = 0;
        for p in &self.pieces {
            let mut done = 0;
            while done < p.len {
                if room == 0 {
                    out.push(Vec::new());
                    room = CHUNK;
                }
                let len = (p.len - done).min(room);
                if let Some(window) = out.last_mut() {
                    window.push(Piece { addr: p.addr + done, len, at: p.at + done, ..*p });
                }
                room -= len;
                done += len;
            }
        }
        out
    }

    /// The bytes of some pieces, end to end, into place: `out` is as long as they are.
    pub fn read_into(&self, pieces: &[Piece], out: &mut [u8], cache: &mut Cache) -> io::Result<()> {
        if let Some((image, chunk)) = self.whole_chunk(pieces, out.len()) {
            return self.sources[image].chunk_into(chunk, out, &mut cache.tools);
        }
        out.copy_from_slice(&self.read(pieces, cache)?);
        Ok(())
    }

    /// The chunk that these pieces are: so it is in a full image.
    fn whole_chunk(&self, pieces: &[Piece], len: usize) -> Option<(usize, usize)> {
        let first = pieces.first()?;
        let follow = |w: &[Piece]| w[0].image == w[1].image && w[0].at + w[0].len == w[1].at;
        let chunk = (first.at / CHUNK) as usize;
        let whole = first.at % CHUNK == 0 && pieces.windows(2).all(follow) && self.sources[first.image].chunk_len(chunk) == len;
        whole.then_some((first.image, chunk))
    }

    /// The bytes of some pieces, end to end.
    pub fn read(&self, pieces: &[Piece], cache: &mut Cache) -> io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(pieces.iter().map(|p| p.len as usize).sum());
        for p in pieces {
            let (mut at, end) = (p.at, p.at + p.len);
            while at < end {
                let chunk = cache.chunk(self, p.image, (at / CHUNK) as usize)?;
                let from = (at % CHUNK) as usize;
                let to = ((end - at) as usize + from).min(chunk.len());
                let bytes = chunk.get(from..to).filter(|b| !b.is_empty()).ok_or(io::ErrorKind::UnexpectedEof)?;
                out.extend_from_slice(bytes);
                at += bytes.len() as u64;
            }
        }
        Ok(out)
    }
}

/// The chunks decoded last: neighbouring windows share some. And what decodes them.
#[derive(Default)]
pub struct Cache {
    chunks: Vec<((usize, usize), Vec<u8>)>,
    tools: Tools,
}

impl Cache {
    const MOST: usize = 12;

    /// What comes next is another process's.
    pub fn forget(&mut self) {
        self.chunks.clear();
    }

    fn chunk(&mut self, chain: &Chain, image: usize, i: usize) -> io::Result<&[u8]> {
        let found = match self.chunks.iter().position(|c| c.0 == (image, i)) {
            Some(at) => self.chunks.remove(at),
            None => {
                self.chunks.truncate(Cache::MOST - 1);
                let source = &chain.sources[image];
                let mut out = vec![0; source.chunk_len(i)];
                source.chunk_into(i, &mut out, &mut self.tools)?;
                ((image, i), out)
            }
        };
        self.chunks.insert(0, found);
        Ok(&self.chunks[0].1)
    }
}
