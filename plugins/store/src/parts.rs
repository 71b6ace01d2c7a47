//! Which parts of an image must be sent, as a pure decision: what the store has, in an unfinished upload or in an older
//! object, is not sent again.

use crate::pieces::{Cut, Place};
use aws_smithy_types::base64;
use md5::Md5;
use sha2::{Digest, Sha256};
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
    /// where the store has the same bytes
    pub source: Option<Place>,
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// In the unfinished upload already.
    Held { etag: String },
    /// The store copies it from one of its own objects.
    Copy(Place),
    Send,
}

pub fn way(part: &Part, held: &[Held]) -> Way {
    let same = |h: &&Held| match &h.sha256 {
        Some(sha) => *sha == part.sha256,
        // The entity tag of a part is its MD5, unless the store encrypts with a key of its own: then it never agrees.
        None => h.etag.trim_matches('"') == part.md5,
    };
    let held = held.iter().filter(|h| h.number == part.number && h.len == part.len).find(same);
    match (held, &part.source) {
        (Some(h), _) => Way::Held { etag: h.etag.clone() },
        (None, Some(place)) => Way::Copy(place.clone()),
        (None, None) => Way::Send,
    }
}

/// The least size of a part: grown only for what would have more than 10,000.
pub fn size_for(bytes: u64, wanted: u64) -> u64 {
    let least = bytes.div_ceil(10_000);
    wanted.max(least.div_ceil(1 << 20) << 20)
}

/// Reads and hashes one part.
pub fn part(file: &File, index: usize, cut: Cut) -> io::Result<Part> {
    let Cut { offset, len, source } = cut;
    let data = read(file, offset, len)?;
    Ok(Part {
        number: index as i32 + 1,
        offset,
        len,
        sha256: sha256(&data),
        md5: Md5::digest(&data).iter().map(|b| format!("{b:02x}")).collect(),
        source,
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

    fn a_part(number: i32, sha: &str) -> Part {
        Part { number, offset: 0, len: 8 << 20, sha256: sha.into(), md5: "m".into(), source: None }
    }

    fn held(number: i32, etag: &str, sha256: Option<&str>) -> Held {
        Held { number, len: 8 << 20, etag: etag.into(), sha256: sha256.map(Into::into) }
    }

    #[test]
    fn what_was_sent_before_the_cut_is_not_sent_again() {
        assert_eq!(way(&a_part(1, "x"), &[held(1, "t", Some("x"))]), Way::Held { etag: "t".into() });
        assert_eq!(way(&a_part(1, "x"), &[held(1, "\"m\"", None)]), Way::Held { etag: "\"m\"".into() });
        assert_eq!(way(&a_part(1, "x"), &[held(1, "t", Some("y"))]), Way::Send);
        assert_eq!(way(&a_part(2, "x"), &[held(1, "t", Some("x"))]), Way::Send);
    }

    #[test]
    fn what_an_older_image_has_is_copied_there() {
        let place = Place { key: "f/a.img".into(), etag: "e".into(), offset: 0, len: 8 << 20 };
        let part = Part { source: Some(place.clone()), ..a_part(5, "one") };
        assert_eq!(way(&part, &[]), Way::Copy(place));
        assert_eq!(way(&part, &[held(5, "t", Some("one"))]), Way::Held { etag: "t".into() });
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
        let last = part(&file, 2, Cut { offset: 8, len: 2, source: None }).unwrap();
        assert_eq!((last.number, last.offset, last.len), (3, 8, 2));
        assert_eq!(last.sha256, sha256(b"ij"));
        std::fs::remove_file(&path).unwrap();
    }
}
