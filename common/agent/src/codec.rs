//! How a chunk of memory is stored. Numbers compress far better, and faster, with their bytes sorted by weight
//! (sign and exponent beside sign and exponent); whether that helps is tried on a part of each chunk.
//!
//! ```text
//!     packed chunk: form (1 byte), data
//!         0  compressed
//!         1  compressed; the bytes of each 8-byte word lie in 8 planes, what is left of 64 bytes follows them
//!         2  as it is
//! ```

use ckpt_image::{CHUNK, Codec};
use std::borrow::Cow;
use std::io::{self, Read};

const PLAIN: u8 = 0;
const PLANES: u8 = 1;
const AS_IS: u8 = 2;

/// Bytes of the groups in which planes are made.
const GROUP: usize = 64;
/// Parts of a chunk on which planes are tried.
const TRIALS: usize = 3;
const TRIAL: usize = 8 << 10;

/// A codec with its memory, which is made once.
pub struct Packer {
    codec: Codec,
    zstd: Option<zstd::bulk::Compressor<'static>>,
    planes: Vec<u8>,
    out: Vec<u8>,
}

impl Packer {
    pub fn new(codec: Codec) -> io::Result<Packer> {
        let zstd = (codec == Codec::Zstd).then(|| zstd::bulk::Compressor::new(1)).transpose()?;
        let most = lz4_flex::block::get_maximum_output_size(CHUNK as usize).max(zstd::zstd_safe::compress_bound(CHUNK as usize));
        Ok(Packer { codec, zstd, planes: vec![0; CHUNK as usize], out: vec![0; most + 1] })
    }

    /// At most `CHUNK` bytes, compressed; valid until the next call.
    pub fn pack<'a>(&'a mut self, chunk: &'a [u8]) -> io::Result<Cow<'a, [u8]>> {
        if matches!(self.codec, Codec::None | Codec::Stored) {
            return Ok(chunk.into());
        }
        let mut planes = std::mem::take(&mut self.planes);
        let form = if self.planes_help(chunk, &mut planes) { PLANES } else { PLAIN };
        let source = if form == PLANES {
            to_planes(chunk, &mut planes[..chunk.len()]);
            &planes[..chunk.len()]
        } else {
            chunk
        };
        let n = self.compress(source);
        self.planes = planes;
        let n = n?;
        if n >= chunk.len() {
            self.out.resize(self.out.len().max(chunk.len() + 1), 0);
            self.out[0] = AS_IS;
            self.out[1..=chunk.len()].copy_from_slice(chunk);
            return Ok(self.out[..=chunk.len()].into());
        }
        self.out[0] = form;
        Ok(self.out[..=n].into())
    }

    /// Into `out`, behind the form; bytes.
    fn compress(&mut self, source: &[u8]) -> io::Result<usize> {
        let out = &mut self.out[1..];
        Ok(match (self.codec, &mut self.zstd) {
            (Codec::Lz4, _) => lz4_flex::block::compress_into(source, out).map_err(io::Error::other)?,
            (_, Some(zstd)) => zstd.compress_to_buffer(source, out)?,
            _ => {
                let mut rest = &mut *out;
                let most = rest.len();
                let mut encoder = flate2::read::GzEncoder::new(source, flate2::Compression::fast());
                io::copy(&mut encoder, &mut rest)?;
                most - rest.len()
            }
        })
    }

    /// lz4 is the quickest judge of both.
    fn planes_help(&mut self, chunk: &[u8], planes: &mut [u8]) -> bool {
        if chunk.len() < TRIALS * TRIAL {
            return false;
        }
        let step = (chunk.len() / TRIALS) & !(GROUP - 1);
        let (mut plain, mut sorted) = (0, 0);
        for part in (0..TRIALS).map(|i| &chunk[i * step..i * step + TRIAL]) {
            let planes = &mut planes[..TRIAL];
            to_planes(part, planes);
            let size = |out: &mut [u8], of: &[u8]| lz4_flex::block::compress_into(of, out).unwrap_or(usize::MAX / TRIALS);
            plain += size(&mut self.out, part);
            sorted += size(&mut self.out, planes);
        }
        sorted < plain - plain / 8
    }
}

/// One chunk as it is stored.
pub fn pack(codec: Codec, chunk: &[u8]) -> io::Result<Vec<u8>> {
    Packer::new(codec)?.pack(chunk).map(Cow::into_owned)
}

/// The inverse of `pack`; `len` bytes come out or it is an error.
pub fn unpack(codec: Codec, packed: &[u8], len: usize) -> io::Result<Vec<u8>> {
    let mut out = vec![0; len];
    Unpacker::default().unpack(codec, packed, &mut out).map(|()| out)
}

/// Memory that decoding needs, kept from chunk to chunk.
#[derive(Default)]
pub struct Unpacker {
    planes: Vec<u8>,
    zstd: Option<zstd::bulk::Decompressor<'static>>,
}

impl Unpacker {
    /// Fills `out` or it is an error.
    pub fn unpack(&mut self, codec: Codec, packed: &[u8], out: &mut [u8]) -> io::Result<()> {
        if matches!(codec, Codec::None | Codec::Stored) {
            return whole(packed, out);
        }
        match packed.split_first() {
            Some((&AS_IS, data)) => whole(data, out),
            Some((&PLAIN, data)) => self.decompress(codec, data, out),
            Some((&PLANES, data)) => {
                let mut planes = std::mem::take(&mut self.planes);
                planes.resize(out.len(), 0);
                let done = self.decompress(codec, data, &mut planes);
                done.inspect(|()| from_planes(&planes, out))?;
                self.planes = planes;
                Ok(())
            }
            _ => Err(bad("a chunk has a form that is not known")),
        }
    }

    fn decompress(&mut self, codec: Codec, data: &[u8], out: &mut [u8]) -> io::Result<()> {
        let n = match codec {
            Codec::Lz4 => lz4_flex::block::decompress_into(data, out).map_err(|e| bad(&e.to_string()))?,
            Codec::Zstd => self.zstd()?.decompress_to_buffer(data, out)?,
            _ => {
                let mut decoder = flate2::read::GzDecoder::new(data);
                decoder.read_exact(out)?;
                if decoder.read(&mut [0])? == 0 { out.len() } else { usize::MAX }
            }
        };
        if n == out.len() { Ok(()) } else { Err(bad("a chunk has another length than the image says")) }
    }

    fn zstd(&mut self) -> io::Result<&mut zstd::bulk::Decompressor<'static>> {
        if self.zstd.is_none() {
            self.zstd = Some(zstd::bulk::Decompressor::new()?);
        }
        self.zstd.as_mut().ok_or_else(|| bad("no decoder"))
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn whole(data: &[u8], out: &mut [u8]) -> io::Result<()> {
    if data.len() != out.len() {
        return Err(bad("a chunk has another length than the image says"));
    }
    out.copy_from_slice(data);
    Ok(())
}

/// 8 by 8 bytes, rows for columns; its own inverse.
#[inline]
fn turn(w: &mut [u64; 8]) {
    const STEPS: [(usize, u32, u64); 3] = [(4, 32, 0xffff_ffff), (2, 16, 0x0000_ffff_0000_ffff), (1, 8, 0x00ff_00ff_00ff_00ff)];
    for (apart, shift, mask) in STEPS {
        for i in (0..8).filter(|i| i & apart == 0) {
            let t = ((w[i] >> shift) ^ w[i + apart]) & mask;
            w[i + apart] ^= t;
            w[i] ^= t << shift;
        }
    }
}

fn word(from: &[u8], at: usize) -> u64 {
    from[at..at + 8].try_into().map_or(0, u64::from_le_bytes)
}

fn to_planes(from: &[u8], to: &mut [u8]) {
    let plane = from.len() / GROUP * 8;
    for g in 0..plane / 8 {
        let mut w = std::array::from_fn(|i| word(from, g * GROUP + i * 8));
        turn(&mut w);
        w.iter().enumerate().for_each(|(k, w)| to[k * plane + g * 8..][..8].copy_from_slice(&w.to_le_bytes()));
    }
    to[plane * 8..].copy_from_slice(&from[plane * 8..]);
}

fn from_planes(from: &[u8], to: &mut [u8]) {
    let plane = from.len() / GROUP * 8;
    for g in 0..plane / 8 {
        let mut w = std::array::from_fn(|k| word(from, k * plane + g * 8));
        turn(&mut w);
        w.iter().enumerate().for_each(|(i, w)| to[g * GROUP + i * 8..][..8].copy_from_slice(&w.to_le_bytes()));
    }
    to[plane * 8..].copy_from_slice(&from[plane * 8..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Codec; 4] = [Codec::Stored, Codec::Lz4, Codec::Zstd, Codec::Gzip];

    fn floats(n: usize) -> Vec<u8> {
        (0..n / 8 + 1).flat_map(|i| (i as f64 * 0.5).to_le_bytes()).take(n).collect()
    }

    fn noise(n: usize) -> Vec<u8> {
        let mut x = 88_172_645_463_325_252u64;
        let mut next = || {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x as u8
        };
        (0..n).map(|_| next()).collect()
    }

    #[test]
    fn what_is_packed_comes_back() {
        for n in [1, 63, 64, 4096, 24 << 10, (1 << 20) - 4096 + 13, 1 << 20] {
            for data in [floats(n), noise(n), vec![7; n]] {
                for codec in ALL {
                    let packed = pack(codec, &data).unwrap();
                    assert!(packed.len() <= n + 1, "{codec:?} {n}");
                    assert_eq!(unpack(codec, &packed, n).unwrap(), data, "{codec:?} {n}");
                    assert!(unpack(codec, &packed, n + 1).is_err());
                    assert!(unpack(codec, &packed, n - 1).is_err());
                }
            }
        }
    }

    #[test]
    fn numbers_are_sorted_by_weight_and_code_is_not() {
        assert_eq!(pack(Codec::Lz4, &floats(1 << 20)).unwrap()[0], PLANES);
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let text = maps.lines().find(|l| l.contains(" r-xp ") && l.contains("/libc.so")).unwrap();
        let words: Vec<&str> = text.split_whitespace().collect();
        let (from, library) = (u64::from_str_radix(words[2], 16).unwrap(), std::fs::File::open(words[5]).unwrap());
        let mut code = vec![0; 1 << 20];
        std::os::unix::fs::FileExt::read_exact_at(&library, &mut code, from).unwrap();
        assert_eq!(pack(Codec::Lz4, &code).unwrap()[0], PLAIN);
        assert_eq!(pack(Codec::Zstd, &noise(1 << 20)).unwrap()[0], AS_IS);
    }

    #[test]
    fn a_foreign_form_or_nothing_is_an_error() {
        assert!(unpack(Codec::Lz4, &[], 10).is_err());
        assert!(unpack(Codec::Zstd, &[9, 1, 2], 10).is_err());
        assert!(unpack(Codec::Lz4, &[PLANES, 1, 2], 128).is_err());
    }
}
