//! Programs and libraries go into the image, once each: of their mappings only the changed pages are memory, and an
//! upgrade before the restart must not matter.

use ckpt_image::{Body, FileIdentity, ImageWriter, MapKind, MapMeta, SavedFile};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};

/// Larger ones are data rather than code.
const LARGEST: u64 = 512 << 20;

/// A mapped file: its name, the mapped parts, whether there is code in it.
type Mapped<'a> = (&'a FileIdentity, Vec<(u64, u64)>, bool);

/// Saves what is mapped of each file that has code mapped. A file that has changed already is left out: its pages
/// would not be those that the program sees.
pub fn save<'a>(bodies: impl Iterator<Item = &'a Body> + Clone, image: &ImageWriter) -> io::Result<Vec<SavedFile>> {
    let gone = bodies.clone().filter(|b| b.exe.deleted).map(|b| save_deleted(b, image));
    let gone = gone.collect::<io::Result<Vec<_>>>()?;
    let mut found: BTreeMap<(u64, u64), Mapped> = BTreeMap::new();
    for m in bodies.flat_map(|b| &b.maps).filter(|m| !m.shared) {
        let MapKind::File(f) = &m.kind else { continue };
        let entry = found.entry((f.dev, f.ino)).or_insert((f, Vec::new(), false));
        entry.1.push((m.offset, m.offset + (m.end - m.start)));
        entry.2 |= is_code(m);
    }
    let code = found.into_values().filter(|(f, _, code)| *code && !f.deleted && f.size <= LARGEST);
    let kept = code.filter_map(|(f, ranges, _)| save_one(f, ranges, image).transpose());
    kept.chain(gone.into_iter().flatten().map(Ok)).collect()
}

/// A program whose file is gone can still be read through /proc.
fn save_deleted(b: &Body, image: &ImageWriter) -> io::Result<Option<SavedFile>> {
    match std::fs::read(format!("/proc/{}/exe", b.record.0.pid)) {
        Ok(bytes) => {
            let (piece, crc) = image.append(&bytes)?;
            Ok(Some(SavedFile { identity: b.exe.clone(), pieces: vec![(0, piece, crc)] }))
        }
        Err(_) => Ok(None),
    }
}

fn is_code(m: &MapMeta) -> bool {
    m.prot & libc::PROT_EXEC as u32 != 0
}

fn save_one(f: &FileIdentity, mut ranges: Vec<(u64, u64)>, image: &ImageWriter) -> io::Result<Option<SavedFile>> {
    let Ok(file) = File::open(OsStr::from_bytes(&f.path)) else { return Ok(None) };
    if !file.metadata().is_ok_and(|m| is_same(&m, f)) {
        return Ok(None);
    }
    ranges.sort_unstable();
    let mut pieces = Vec::new();
    let mut done = 0;
    for (from, to) in ranges {
        let (from, to) = (from.max(done), to.min(f.size));
        if from < to {
            let mut bytes = vec![0; (to - from) as usize];
            file.read_exact_at(&mut bytes, from)?;
            let (piece, crc) = image.append(&bytes)?;
            pieces.push((from, piece, crc));
            done = to;
        }
    }
    Ok(Some(SavedFile { identity: f.clone(), pieces }))
}

/// Is it still the file that was mapped, unchanged?
pub fn is_same(now: &std::fs::Metadata, then: &FileIdentity) -> bool {
    now.size() == then.size && now.mtime() * 1_000_000_000 + now.mtime_nsec() == then.mtime_ns
}
