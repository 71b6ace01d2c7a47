//! An image as pieces that end where their content says so, a few hundred KiB each. What has moved in the next image (a
//! page more in front of it is enough) consists of the same pieces, and whole runs of them are found in older objects.

use crate::manifest::Manifest;
use aws_smithy_types::base64;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub len: u32,
    /// The beginning of its SHA-256: parts that are copied are checked by the whole of theirs.
    pub sum: [u8; 16],
}

/// Bytes of an object that a manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub key: String,
    pub etag: String,
    pub offset: u64,
    pub len: u64,
}

/// Bytes of a local image that become one part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    pub offset: u64,
    pub len: u64,
    /// where the store has them
    pub source: Option<Place>,
}

/// As a manifest has them: base64 of lengths (4 bytes, little endian) and sums.
pub fn pack(pieces: &[Piece]) -> String {
    base64::encode(pieces.iter().flat_map(|p| p.len.to_le_bytes().into_iter().chain(p.sum)).collect::<Vec<u8>>())
}

/// None but of an image of this length.
pub fn unpack(packed: &str, bytes: u64) -> Vec<Piece> {
    let raw = base64::decode(packed).unwrap_or_default();
    let piece = |p: &[u8; 20]| Piece { len: u32::from_le_bytes([p[0], p[1], p[2], p[3]]), sum: std::array::from_fn(|i| p[4 + i]) };
    let all: Vec<Piece> = raw.chunks_exact(20).filter_map(|p| p.try_into().ok().map(piece)).collect();
    let sum: u64 = all.iter().map(|p| u64::from(p.len)).sum();
    if sum == bytes { all } else { Vec::new() }
}

/// Bytes that the rolling sum looks back on.
const WINDOW: u64 = 64;

/// How long pieces are: they grow with huge images, by powers of two, so that those of the next are of the same kind.
fn bits_for(bytes: u64) -> u32 {
    18 + (bytes >> 32).checked_ilog2().map_or(0, |log| log + 1)
}

/// Where pieces begin and how long they are.
pub fn cut(file: &File, bytes: u64) -> io::Result<Vec<(u64, u32)>> {
    let bits = bits_for(bytes);
    let (least, most) = (1u64 << (bits - 2), 1u64 << (bits + 3));
    let ends = ((1u64 << bits) - 1) << (64 - bits);
    let gear = gear();
    let mut block = vec![0; 256 << 10];
    let mut all = Vec::new();
    let mut begin = 0;
    while bytes - begin > least {
        let (mut at, last) = (begin + least - WINDOW, bytes.min(begin + most));
        let mut sum = 0u64;
        let mut end = last;
        'piece: while at < last {
            let len = (block.len() as u64).min(last - at) as usize;
            file.read_exact_at(&mut block[..len], at)?;
            for &byte in &block[..len] {
                sum = (sum << 1).wrapping_add(gear[usize::from(byte)]);
                at += 1;
                if sum & ends == 0 && at >= begin + least {
                    end = at;
                    break 'piece;
                }
            }
        }
        all.push((begin, (end - begin) as u32));
        begin = end;
    }
    if bytes > begin {
        all.push((begin, (bytes - begin) as u32));
    }
    Ok(all)
}

pub fn piece(file: &File, offset: u64, len: u32) -> io::Result<Piece> {
    let digest = Sha256::digest(crate::parts::read(file, offset, u64::from(len))?);
    Ok(Piece { len, sum: std::array::from_fn(|i| digest[i]) })
}

/// A random number for each byte, the same everywhere (splitmix64).
fn gear() -> &'static [u64; 256] {
    static GEAR: OnceLock<[u64; 256]> = OnceLock::new();
    GEAR.get_or_init(|| {
        let mut state = 0u64;
        std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ mixed >> 31
        })
    })
}

/// S3 copies only from objects larger than this.
const MIN_COPY_SOURCE: u64 = 5 << 20;
/// Of pieces that are there more than once so many are looked at.
const ALIKE: usize = 16;

/// All pieces that the store has.
#[derive(Default)]
pub struct Known {
    /// key, entity tag
    objects: Vec<(String, String)>,
    /// object, offset, the piece; in their order
    pieces: Vec<(usize, u64, Piece)>,
    by_sum: HashMap<[u8; 16], Vec<usize>>,
}

impl Known {
    pub fn of(manifests: &[Manifest]) -> Known {
        let mut known = Known::default();
        for image in manifests.iter().flat_map(|m| &m.images).filter(|i| i.bytes > MIN_COPY_SOURCE) {
            if known.objects.iter().any(|(key, _)| *key == image.key) {
                continue;
            }
            known.objects.push((image.key.clone(), image.etag.clone()));
            known.add(unpack(&image.pieces, image.bytes));
        }
        known
    }

    fn add(&mut self, pieces: Vec<Piece>) {
        let mut offset = 0;
        for piece in pieces {
            self.by_sum.entry(piece.sum).or_default().push(self.pieces.len());
            self.pieces.push((self.objects.len() - 1, offset, piece));
            offset += u64::from(piece.len);
        }
    }

    /// How many of `pieces` are there one after the other from number `at` on.
    fn run(&self, pieces: &[Piece], at: usize) -> usize {
        let object = self.pieces[at].0;
        let there = self.pieces[at..].iter().take_while(|p| p.0 == object);
        pieces.iter().zip(there).take_while(|(wanted, p)| **wanted == p.2).count()
    }

    /// The longest run that `pieces` begin with.
    fn longest(&self, pieces: &[Piece]) -> Option<(usize, usize)> {
        let places = self.by_sum.get(&pieces.first()?.sum)?;
        places.iter().take(ALIKE).map(|&at| (self.run(pieces, at), at)).filter(|run| run.0 > 0).max_by_key(|run| run.0)
    }

    /// Parts of at least `least` bytes (but the last) and less than twice that: runs that the store has, and what is
    /// between them.
    pub fn parts(&self, pieces: &[Piece], least: u64) -> Vec<Cut> {
        let mut runs: Vec<Cut> = Vec::new();
        let (mut at, mut offset) = (0, 0);
        while at < pieces.len() {
            let found = self.longest(&pieces[at..]);
            let count = found.map_or(1, |(count, _)| count);
            let len = pieces[at..at + count].iter().map(|p| u64::from(p.len)).sum();
            let source = found.filter(|_| len >= least).map(|(_, first)| {
                let (object, offset, _) = self.pieces[first];
                let (key, etag) = self.objects[object].clone();
                Place { key, etag, offset, len }
            });
            add(&mut runs, Cut { offset, len, source }, least);
            (at, offset) = (at + count, offset + len);
        }
        runs.iter().flat_map(|run| split(run, least)).collect()
    }
}

/// To what is there: what must be sent is one stretch, and takes what it lacks from the run behind it.
fn add(runs: &mut Vec<Cut>, mut next: Cut, least: u64) {
    match runs.last_mut() {
        Some(last) if last.source.is_none() && next.source.is_none() => last.len += next.len,
        Some(last) if last.source.is_none() && last.len < least => {
            let lacks = least - last.len;
            if next.len < lacks + least {
                last.len += next.len;
                return;
            }
            last.len += lacks;
            next.offset += lacks;
            next.len -= lacks;
            if let Some(place) = &mut next.source {
                place.offset += lacks;
                place.len -= lacks;
            }
            runs.push(next);
        }
        _ => runs.push(next),
    }
}

fn split(run: &Cut, least: u64) -> Vec<Cut> {
    let count = (run.len / least).max(1);
    let cut = |n: u64| {
        let (from, to) = (run.len * n / count, run.len * (n + 1) / count);
        let source = run.source.as_ref().map(|p| Place { offset: p.offset + from, len: to - from, ..p.clone() });
        Cut { offset: run.offset + from, len: to - from, source }
    };
    (0..count).map(cut).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(bytes: usize, mut state: u64) -> Vec<u8> {
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        std::iter::repeat_with(next).take(bytes).collect()
    }

    fn pieces(data: &[u8]) -> Vec<Piece> {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ckpt-pieces-{number}-{}", std::process::id()));
        std::fs::write(&path, data).unwrap();
        let file = File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        cut(&file, data.len() as u64).unwrap().iter().map(|&(at, len)| piece(&file, at, len).unwrap()).collect()
    }

    fn known(data: &[u8]) -> Known {
        let mut known = Known { objects: vec![("f/a.img".into(), "e".into())], ..Known::default() };
        known.add(pieces(data));
        known
    }

    const LEAST: u64 = 5 << 20;

    /// Bytes that must be sent; all else is what it says.
    fn sent(old: &[u8], new: &[u8]) -> u64 {
        let cuts = known(old).parts(&pieces(new), LEAST);
        assert_eq!(cuts.iter().map(|c| c.len).sum::<u64>(), new.len() as u64);
        assert!(cuts.windows(2).all(|two| two[0].offset + two[0].len == two[1].offset), "{cuts:?}");
        let (last, others) = cuts.split_last().unwrap();
        assert!(others.iter().all(|c| c.len >= LEAST) && cuts.iter().all(|c| c.len < 2 * LEAST), "{cuts:?}");
        assert!(last.source.is_none() || last.len >= LEAST);
        for (cut, place) in cuts.iter().filter_map(|c| Some((c, c.source.as_ref()?))) {
            let range = |offset: u64| offset as usize..(offset + cut.len) as usize;
            assert_eq!(cut.len, place.len);
            assert!(old[range(place.offset)] == new[range(cut.offset)], "{cut:?}");
        }
        cuts.iter().filter(|c| c.source.is_none()).map(|c| c.len).sum()
    }

    #[test]
    fn what_has_moved_is_found_again() {
        let memory = random(48 << 20, 7);
        assert_eq!(sent(&memory, &memory), 0);
        for front in [1, 4096, 3 * 4096 + 17, 1 << 20] {
            let moved = [&random(front, 9), memory.as_slice()].concat();
            assert!(sent(&memory, &moved) <= LEAST + (1 << 20), "{front}");
        }
        // A change in the midst of it costs one part, and so does every seam.
        let mut changed = memory.clone();
        changed[20 << 20] ^= 1;
        assert!(sent(&memory, &changed) <= LEAST + (1 << 20));
        let swapped = [&memory[24 << 20..], &memory[..24 << 20]].concat();
        assert!(sent(&memory, &swapped) <= 2 * LEAST + (3 << 20));
    }

    #[test]
    fn what_is_new_or_of_one_byte_is_no_trouble() {
        assert_eq!(sent(&random(12 << 20, 1), &random(13 << 20, 2)), 13 << 20);
        assert!(sent(&vec![0; 24 << 20], &vec![0; 31 << 20]) <= 2 * LEAST);
        assert_eq!(sent(&random(12 << 20, 1), b"small"), 5);
    }

    #[test]
    fn pieces_survive_the_manifest() {
        let all = pieces(&random(3 << 20, 3));
        assert!(all.len() > 3);
        assert_eq!(unpack(&pack(&all), 3 << 20), all);
        assert!(unpack(&pack(&all), 1).is_empty() && unpack("no base64!", 1).is_empty());
    }

    #[test]
    fn pieces_grow_with_huge_images_only() {
        assert_eq!((bits_for(1), bits_for((4 << 30) - 1), bits_for(4 << 30), bits_for(64 << 30)), (18, 18, 19, 23));
    }
}
