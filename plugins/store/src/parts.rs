//! Which parts of an image must be sent, as a pure decision: what the store has, in an unfinished upload or in an older
//! object, is not sent again.

use crate::manifest::Manifest;
use aws_smithy_types::base64;
use md5::Md5;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

/// A part of a local file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// From 1, as S3 counts.
    pub number: i32,
    pub offset: u64,
    pub len: u64,
    /// base64
    pub sha256: String,
    /// hex
    pub md5: String,
}

/// A part of an upload that was not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub number: i32,
    pub len: u64,
    pub etag: String,
    /// Not every store tells it.
    pub sha256: Option<String>,
}

/// Bytes of an object that a manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub key: String,
    pub etag: String,
    pub offset: u64,
    pub len: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// In the unfinished upload already.
    Held { etag: String },
    /// The store copies it from one of its own objects.
    Copy(Place),
    Send,
}

/// S3 copies only from objects larger than this.
const MIN_COPY_SOURCE: u64 = 5 << 20;

/// Where the store has parts, by their SHA-256.
pub fn known(manifests: &[Manifest]) -> HashMap<String, Place> {
    let mut known = HashMap::new();
    for image in manifests.iter().flat_map(|m| &m.images).filter(|i| i.bytes > MIN_COPY_SOURCE) {
        for (offset, part) in image.placed() {
            let place = Place { key: image.key.clone(), etag: image.etag.clone(), offset, len: part.bytes };
            known.entry(part.sha256.clone()).or_insert(place);
        }
    }
    known
}

pub fn way(part: &Part, held: &[Held], known: &HashMap<String, Place>) -> Way {
    let same = |h: &&Held| match &h.sha256 {
        Some(sha) => *sha == part.sha256,
        // The entity tag of a part is its MD5, unless the store encrypts with a key of its own: then it never agrees.
        None => h.etag.trim_matches('"') == part.md5,
    };
    if let Some(h) = held.iter().filter(|h| h.number == part.number && h.len == part.len).find(same) {
        return Way::Held { etag: h.etag.clone() };
    }
    match known.get(&part.sha256) {
        Some(place) if place.len == part.len => Way::Copy(place.clone()),
        _ => Way::Send,
    }
}

/// The least size of a part: grown only for what would have more than 10,000.
pub fn size_for(bytes: u64, wanted: u64) -> u64 {
    let least = bytes.div_ceil(10_000);
    wanted.max(least.div_ceil(1 << 20) << 20)
}

/// Bits of the rolling sum that are zero where a part may end: once in a MiB.
const CUT: u64 = ((1 << 20) - 1) << 44;
/// Bytes that the rolling sum looks back on.
const WINDOW: u64 = 64;

/// Where parts begin and how long they are: of `least` bytes to twice that. They end where the content says so, so that
/// what has moved in the next image (a page more in front of it is enough) is still found in parts of the one before.
pub fn cut(file: &File, bytes: u64, least: u64) -> io::Result<Vec<(u64, u64)>> {
    let mut parts = Vec::new();
    let mut begin = 0;
    while bytes - begin > 2 * least {
        let end = end_of(file, begin + least, begin + 2 * least)?;
        parts.push((begin, end - begin));
        begin = end;
    }
    parts.push((begin, bytes - begin));
    Ok(parts)
}

/// The first place from `least` on where a part may end, `most` if there is none.
fn end_of(file: &File, least: u64, most: u64) -> io::Result<u64> {
    let gear = gear();
    let mut sum = 0u64;
    let mut at = least - WINDOW;
    let mut block = vec![0; 256 << 10];
    while at < most {
        let len = (block.len() as u64).min(most - at) as usize;
        file.read_exact_at(&mut block[..len], at)?;
        for &byte in &block[..len] {
            sum = (sum << 1).wrapping_add(gear[usize::from(byte)]);
            at += 1;
            if sum & CUT == 0 && at >= least {
                return Ok(at);
            }
        }
    }
    Ok(most)
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

/// Reads and hashes one part.
pub fn part(file: &File, index: usize, (offset, len): (u64, u64)) -> io::Result<Part> {
    let data = read(file, offset, len)?;
    Ok(Part {
        number: index as i32 + 1,
        offset,
        len,
        sha256: sha256(&data),
        md5: Md5::digest(&data).iter().map(|b| format!("{b:02x}")).collect(),
    })
}

pub fn read(file: &File, offset: u64, len: u64) -> io::Result<Vec<u8>> {
    let mut data = vec![0; len as usize];
    file.read_exact_at(&mut data, offset)?;
    Ok(data)
}

pub fn sha256(data: &[u8]) -> String {
    base64::encode(Sha256::digest(data))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{tests::manifest, Stored, StoredPart};

    fn a_part(number: i32, sha: &str) -> Part {
        Part { number, offset: 0, len: 8 << 20, sha256: sha.into(), md5: "m".into() }
    }

    fn held(number: i32, etag: &str, sha256: Option<&str>) -> Held {
        Held { number, len: 8 << 20, etag: etag.into(), sha256: sha256.map(Into::into) }
    }

    fn stored() -> HashMap<String, Place> {
        let mut m = manifest(1, 1, &["f/a.img"]);
        let part = |mib: u64, sha: &str| StoredPart { bytes: mib << 20, sha256: sha.into() };
        m.images[0] = Stored { bytes: 12 << 20, parts: vec![part(8, "one"), part(4, "two")], ..m.images[0].clone() };
        known(&[m])
    }

    #[test]
    fn what_was_sent_before_the_cut_is_not_sent_again() {
        assert_eq!(way(&a_part(1, "x"), &[held(1, "t", Some("x"))], &stored()), Way::Held { etag: "t".into() });
        assert_eq!(way(&a_part(1, "x"), &[held(1, "\"m\"", None)], &stored()), Way::Held { etag: "\"m\"".into() });
        assert_eq!(way(&a_part(1, "x"), &[held(1, "t", Some("y"))], &stored()), Way::Send);
        assert_eq!(way(&a_part(2, "x"), &[held(1, "t", Some("x"))], &stored()), Way::Send);
    }

    #[test]
    fn what_an_older_image_has_is_copied_there() {
        let place = Place { key: "f/a.img".into(), etag: "e".into(), offset: 0, len: 8 << 20 };
        assert_eq!(way(&a_part(5, "one"), &[], &stored()), Way::Copy(place));
        // The last part is shorter: an equal checksum of another length is not believed.
        assert_eq!(way(&a_part(2, "two"), &[], &stored()), Way::Send);
    }

    #[test]
    fn small_objects_are_no_source() {
        assert!(known(&[manifest(1, 1, &["f/a.img"])]).is_empty());
    }

    #[test]
    fn parts_grow_with_huge_images_only() {
        assert_eq!(size_for(1 << 30, 8 << 20), 8 << 20);
        assert_eq!(size_for(1 << 40, 8 << 20), 105 << 20);
        assert!((1u64 << 40).div_ceil(size_for(1 << 40, 8 << 20)) <= 10_000);
    }

    #[test]
    fn parts_of_a_file() {
        let path = std::env::temp_dir().join(format!("ckpt-parts-{}", std::process::id()));
        std::fs::write(&path, b"abcdefghij").unwrap();
        let file = File::open(&path).unwrap();
        let last = part(&file, 2, (8, 2)).unwrap();
        assert_eq!((last.number, last.offset, last.len), (3, 8, 2));
        assert_eq!(last.sha256, sha256(b"ij"));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn parts_are_found_again_where_all_has_moved() {
        let mut state = 7u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        let memory: Vec<u8> = (0..48 << 20).map(|_| random()).collect();
        let parts = |name: &str, front: &[u8]| {
            let path = std::env::temp_dir().join(format!("ckpt-cut-{name}-{}", std::process::id()));
            std::fs::write(&path, [front, &memory].concat()).unwrap();
            let file = File::open(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            let (bytes, least) = ((front.len() + memory.len()) as u64, 5 << 20);
            let cuts = cut(&file, bytes, least).unwrap();
            assert_eq!(cuts.iter().map(|c| c.1).sum::<u64>(), bytes);
            let (last, others) = cuts.split_last().unwrap();
            assert!(others.iter().chain([last]).all(|c| c.1 <= 2 * least) && others.iter().all(|c| c.1 >= least), "{cuts:?}");
            cuts.iter().enumerate().map(|(n, &c)| part(&file, n, c).unwrap().sha256).collect::<Vec<_>>()
        };
        let (one, moved) = (parts("one", &[1; 4096]), parts("moved", &[2; 3 * 4096 + 17]));
        let same = moved.iter().filter(|sha| one.contains(sha)).count();
        assert!(same + 2 >= one.len(), "{same} of {}", one.len());
    }
}
