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
    for m in manifests {
        for image in m.images.iter().filter(|i| i.bytes > MIN_COPY_SOURCE) {
            for (sha, n) in image.parts.iter().zip(0..) {
                let offset = n * m.part_size;
                let len = m.part_size.min(image.bytes - offset);
                let place = Place { key: image.key.clone(), etag: image.etag.clone(), offset, len };
                known.entry(sha.clone()).or_insert(place);
            }
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

/// Parts have one size in a store, so that they can be compared; grown only for what would have more than 10,000.
pub fn size_for(bytes: u64, wanted: u64) -> u64 {
    let least = bytes.div_ceil(10_000);
    wanted.max(least.div_ceil(1 << 20) << 20)
}

/// Reads and hashes one part.
pub fn part(file: &File, bytes: u64, size: u64, index: u64) -> io::Result<Part> {
    let data = read(file, bytes, size, index)?;
    Ok(Part {
        number: index as i32 + 1,
        offset: index * size,
        len: data.len() as u64,
        sha256: sha256(&data),
        md5: Md5::digest(&data).iter().map(|b| format!("{b:02x}")).collect(),
    })
}

pub fn read(file: &File, bytes: u64, size: u64, index: u64) -> io::Result<Vec<u8>> {
    let offset = index * size;
    let mut data = vec![0; size.min(bytes.saturating_sub(offset)) as usize];
    file.read_exact_at(&mut data, offset)?;
    Ok(data)
}

pub fn sha256(data: &[u8]) -> String {
    base64::encode(Sha256::digest(data))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{tests::manifest, Stored};

    fn a_part(number: i32, sha: &str) -> Part {
        Part { number, offset: 0, len: 8 << 20, sha256: sha.into(), md5: "m".into() }
    }

    fn held(number: i32, etag: &str, sha256: Option<&str>) -> Held {
        Held { number, len: 8 << 20, etag: etag.into(), sha256: sha256.map(Into::into) }
    }

    fn stored() -> HashMap<String, Place> {
        let mut m = manifest(1, 1, &["f/a.img"]);
        m.part_size = 8 << 20;
        m.images[0] = Stored { bytes: 12 << 20, parts: vec!["one".into(), "two".into()], ..m.images[0].clone() };
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
        let last = part(&file, 10, 4, 2).unwrap();
        assert_eq!((last.number, last.offset, last.len), (3, 8, 2));
        assert_eq!(last.sha256, sha256(b"ij"));
        std::fs::remove_file(&path).unwrap();
    }
}
