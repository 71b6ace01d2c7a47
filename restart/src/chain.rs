//! A process's memory over all the images that hold parts of it.

use crate::image_set::Member;
use ckpt_agent::codec::unpack;
use ckpt_image::chain::{self, Piece};
use ckpt_image::verify::chunk_place;
use ckpt_image::{CHUNK, Codec, ImageFile, Memory};
use ckpt_objects::BlobRef;
use ckpt_sys::crc::crc32c;
use std::io;

/// What one image holds of it.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub file: &'a ImageFile,
    pub memory: &'a Memory,
}

impl Source<'_> {
    /// The bytes of one chunk, decoded; its checksum, or its seal, must be right.
    pub fn chunk(&self, i: usize) -> io::Result<Vec<u8>> {
        let (offset, len) = chunk_place(self.memory, i).ok_or(io::ErrorKind::InvalidData)?;
        let packed = self.file.read_blob(&BlobRef { offset, len })?;
        if !self.file.is_sealed() && self.memory.checksums.get(i) != Some(&crc32c(&packed)) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{}: memory does not match its checksum", self.file.path.display())));
        }
        let raw = CHUNK.min(self.memory.bytes - i as u64 * CHUNK) as usize;
        unpack(self.memory.codec, &packed, raw)
    }
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

/// The chunks decoded last: neighbouring windows share some.
#[derive(Default)]
pub struct Cache(Vec<((usize, usize), Vec<u8>)>);

impl Cache {
    const MOST: usize = 12;

    fn chunk(&mut self, chain: &Chain, image: usize, i: usize) -> io::Result<&[u8]> {
        let found = match self.0.iter().position(|c| c.0 == (image, i)) {
            Some(at) => self.0.remove(at),
            None => {
                self.0.truncate(Cache::MOST - 1);
                ((image, i), chain.sources[image].chunk(i)?)
            }
        };
        self.0.insert(0, found);
        Ok(&self.0[0].1)
    }
}
