//! Memory that several processes share and no file holds: each piece is written once, in the pause, by one
//! process that maps it.

use crate::gather::RawMap;
use ckpt_image::{CHUNK, ImageWriter, MapKind, SharedKind, SharedMemory};
use ckpt_objects::{BlobRef, ObjectSet};
use ckpt_sys::flat::SharedRange;
use std::cell::LazyCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirEntryExt, FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where processes write what is encrypted afterwards: a file in memory.
pub struct Aside {
    pub file: File,
    next: AtomicU64,
}

impl Aside {
    pub fn new() -> std::io::Result<Aside> {
        let flags = nix::sys::memfd::MFdFlags::MFD_CLOEXEC;
        Ok(Aside { file: nix::sys::memfd::memfd_create(c"ckpt-shared", flags)?.into(), next: AtomicU64::new(0) })
    }

    pub fn reserve(&self, len: u64) -> u64 {
        self.next.fetch_add(len, Ordering::Relaxed)
    }
}

/// When the program runs again: checksums of what was written, or encryption of what was put aside.
pub fn finish(all: &mut [SharedMemory], aside: Option<Aside>, image: &ImageWriter) -> std::io::Result<()> {
    for pieces in all.iter_mut().map(|s| &mut s.pieces) {
        let Some(aside) = &aside else {
            pieces.iter().try_for_each(|(_, place)| image.list_written(place))?;
            continue;
        };
        let mut sealed = Vec::new();
        for (at, place) in pieces.iter() {
            for from in (0..place.len).step_by(CHUNK as usize) {
                let mut bytes = vec![0; CHUNK.min(place.len - from) as usize];
                aside.file.read_exact_at(&mut bytes, place.offset + from)?;
                sealed.push((at + from, image.append_listed(&bytes)?));
            }
        }
        *pieces = sealed;
    }
    Ok(())
}

/// Who writes what: per process, in the order given to `plan`.
pub type Assignments = Vec<Vec<SharedRange>>;

/// Finds shared memory in the maps of all processes, points the maps at it and divides the work. `there`: the bytes of a
/// mapping, of the process with this number, that lie before the end of what it maps.
pub fn plan(maps: &mut [Vec<RawMap>], objects: &ObjectSet, reserve: &dyn Fn(u64) -> u64, there: &dyn Fn(usize, &RawMap) -> u64) -> (Vec<SharedMemory>, Assignments) {
    let mut found: Vec<SharedMemory> = Vec::new();
    let mut index: HashMap<(u64, u64), u32> = HashMap::new();
    let mut work: Assignments = maps.iter().map(|_| Vec::new()).collect();
    let names = LazyCell::new(names_of_shm);
    for (process, maps) in maps.iter_mut().enumerate() {
        for m in maps.iter_mut() {
            let Some(kind) = kind_of(m, objects) else { continue };
            let at = *index.entry((m.dev, m.ino)).or_insert_with(|| match kind {
                SharedKind::Anonymous => nameless(&mut found, m, &names),
                kind => add(&mut found, m, kind),
            });
            let object = &mut found[at as usize];
            m.meta.kind = MapKind::Shared(at);
            let bytes = if object.kind == SharedKind::Object { 0 } else { there(process, m) };
            if bytes > 0 {
                let end = m.meta.offset + bytes;
                object.size = object.size.max(end);
                work[process].extend(missing(object, m, end, reserve));
            }
        }
    }
    for (process, maps) in maps.iter_mut().enumerate() {
        for m in maps.iter_mut().filter(|m| is_private_nameless(m)) {
            let holds_all = |s: &SharedMemory| s.kind == SharedKind::Object || holds(s, m.meta.offset, m.meta.offset + there(process, m));
            match index.get(&(m.dev, m.ino)) {
                Some(&at) if holds_all(&found[at as usize]) => m.meta.kind = MapKind::Shared(at),
                None if objects.inode_object(m.dev, m.ino).is_some() => {
                    let at = add(&mut found, m, SharedKind::Object);
                    index.insert((m.dev, m.ino), at);
                    m.meta.kind = MapKind::Shared(at);
                }
                _ => {}
            }
        }
    }
    (found, work)
}

fn add(found: &mut Vec<SharedMemory>, m: &RawMap, kind: SharedKind) -> u32 {
    found.push(SharedMemory { dev: m.dev, ino: m.ino, name: m.path.clone(), size: 0, kind, pieces: Vec::new() });
    found.len() as u32 - 1
}

const SHM: &str = "/dev/shm/";

/// sem_open(3) makes a semaphore under a name that it removes when it has linked it to the wanted one.
fn nameless(found: &mut Vec<SharedMemory>, m: &RawMap, names: &HashMap<u64, OsString>) -> u32 {
    let other = names.get(&m.ino).filter(|_| m.path.starts_with(SHM.as_bytes())).map(|name| Path::new(SHM).join(name));
    let other = other.filter(|path| fs::metadata(path).is_ok_and(|f| (f.dev(), f.ino()) == (m.dev, m.ino)));
    let at = add(found, m, if other.is_some() { SharedKind::Named } else { SharedKind::Anonymous });
    if let (Some(path), Some(object)) = (other, found.last_mut()) {
        object.name = path.into_os_string().into_vec();
    }
    at
}

fn names_of_shm() -> HashMap<u64, OsString> {
    fs::read_dir(SHM).into_iter().flatten().flatten().map(|e| (e.ino(), e.file_name())).collect()
}

/// A private map of a file without a name: where somebody else holds that file, it comes back as one of it.
fn is_private_nameless(m: &RawMap) -> bool {
    !m.meta.shared && matches!(&m.meta.kind, MapKind::File(f) if f.deleted)
}

/// Private maps that come back with what they map: of them only the changed pages are the process's own.
pub fn of_shared(maps: &[RawMap]) -> impl Iterator<Item = (u64, u64)> + '_ {
    let private = maps.iter().map(|m| &m.meta).filter(|m| !m.shared && matches!(m.kind, MapKind::Shared(_)));
    private.map(|m| (m.start, m.end - m.start))
}

fn kind_of(m: &RawMap, objects: &ObjectSet) -> Option<SharedKind> {
    let MapKind::File(file) = &m.meta.kind else { return None };
    if !m.meta.shared {
        return None;
    }
    if objects.inode_object(m.dev, m.ino).is_some() && (file.deleted || m.path.starts_with(b"/memfd:")) {
        return Some(SharedKind::Object);
    }
    if let Some(key) = m.path.strip_prefix(b"/SYSV").filter(|_| file.deleted) {
        let key = std::str::from_utf8(key).ok().and_then(|k| u32::from_str_radix(k.get(..8)?, 16).ok()).unwrap_or(0);
        return Some(SharedKind::SysV { id: m.ino as i32, key: key as i32 });
    }
    match () {
        _ if file.path == b"/secretmem" => None,
        _ if file.deleted => Some(SharedKind::Anonymous),
        _ if m.path.starts_with(b"/dev/shm/") => Some(SharedKind::Named),
        // A JVM's counters: the next JVM to start removes them when their process is gone.
        _ if m.path.starts_with(b"/tmp/hsperfdata_") => Some(SharedKind::Named),
        _ => None,
    }
}

/// The part of the mapping that no process writes yet, up to `end` of the object.
fn missing(object: &mut SharedMemory, m: &RawMap, end: u64, reserve: &dyn Fn(u64) -> u64) -> Vec<SharedRange> {
    let mut out = Vec::new();
    for (from, to) in gaps(object, m.meta.offset, end) {
        let (len, offset) = (to - from, reserve(to - from));
        out.push(SharedRange { addr: m.meta.start + (from - m.meta.offset), len, offset });
        object.pieces.push((from, BlobRef { offset, len }));
    }
    out
}

fn holds(object: &SharedMemory, from: u64, end: u64) -> bool {
    gaps(object, from, end).is_empty()
}

/// What of a range of the object is in none of its pieces.
fn gaps(object: &SharedMemory, mut from: u64, end: u64) -> Vec<(u64, u64)> {
    let mut covered: Vec<(u64, u64)> = object.pieces.iter().map(|(at, b)| (*at, at + b.len)).collect();
    covered.sort_unstable();
    covered.push((end, end));
    let mut out = Vec::new();
    for (start, stop) in covered {
        if start > from && from < end {
            out.push((from, start.min(end)));
        }
        from = from.max(stop);
    }
    out
}
