//! What an image says, for people and as JSON.

use ckpt_image::{Body, Codec, ImageFile, ImageMeta, MapKind, MapMeta, ProcessMeta, RunState};
use ckpt_objects::{Kind, ObjectSet};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

pub fn text(file: &ImageFile, meta: &ImageMeta, maps: bool) -> String {
    let h = &file.header;
    let mut out = String::new();
    let _ = writeln!(out, "{}", file.path.display());
    let mut line = |name: &str, what: String| {
        let _ = writeln!(out, "  {name:<12} {what}");
    };
    line("program", meta.program.clone());
    line("computation", format!("{}, generation {}, member {} of {}", hex(&h.computation), h.generation, h.member_index + 1, h.member_count));
    line("made", format!("{} on {}", utc(meta.created), meta.host));
    line("size", format!("{}: memory {} ({}), shared memory {}, programs and libraries {}", size(h.total), size(stored(meta)), codecs(meta), size(shared(meta)), size(files(meta))));
    if let Some(p) = &meta.parent {
        line("builds on", format!("generation {} of {}; {} of memory are in it", p.generation, utc(p.created / 1000), size(kept(meta))));
    }
    for p in &meta.processes {
        let _ = write!(out, "{}", process(p, &meta.objects, maps));
    }
    out
}

fn process(p: &ProcessMeta, objects: &ObjectSet, maps: bool) -> String {
    let mut out = format!("  process {:<4} {}, {}, parent {}, group {}, session {}\n", p.pid, p.name, state(p.state), p.ppid, p.pgid, p.sid);
    let Some(body) = &p.body else { return out };
    let m = &body.memory;
    let _ = writeln!(out, "    threads     {}: {}", body.threads.len(), list(body.threads.iter().map(|t| format!("{} {}", t.0.tid, name(&t.0.name)))));
    let _ = writeln!(out, "    memory      {} in {} runs, {} mappings{}", size(m.bytes), m.runs.len(), body.maps.len(), kept_of(body));
    let kinds = kinds(p.pid, objects);
    let _ = writeln!(out, "    descriptors {}: {}", kinds.values().sum::<usize>(), list(kinds.iter().map(|(k, n)| format!("{n} {k}"))));
    for m in body.maps.iter().filter(|_| maps) {
        let _ = writeln!(out, "    {:012x}-{:012x} {} {}", m.start, m.end, permissions(m), backing(m));
    }
    out
}

fn kept_of(body: &Body) -> String {
    let kept: u64 = body.memory.kept.iter().map(|k| k.1).sum();
    if kept == 0 { String::new() } else { format!(", {} more in the parent", size(kept)) }
}

/// A long list ends with dots.
fn list(items: impl Iterator<Item = String>) -> String {
    let mut all: Vec<String> = items.take(9).collect();
    if all.len() == 9 {
        all[8] = "...".into();
    }
    all.join(", ")
}

pub fn json(file: &ImageFile, meta: &ImageMeta) -> Value {
    let h = &file.header;
    let parent = meta.parent.as_ref().map(|p| json!({ "generation": p.generation, "created": p.created / 1000, "checksum": p.checksum }));
    json!({
        "image": file.path.display().to_string(),
        "program": meta.program,
        "computation": hex(&h.computation),
        "generation": h.generation,
        "member": h.member_index + 1,
        "members": h.member_count,
        "host": meta.host,
        "created": meta.created,
        "bytes": h.total,
        "memory_bytes": stored(meta),
        "kept_bytes": kept(meta),
        "shared_bytes": shared(meta),
        "file_bytes": files(meta),
        "codec": codecs(meta),
        "parent": parent,
        "processes": meta.processes.iter().map(|p| process_json(p, &meta.objects)).collect::<Vec<_>>(),
    })
}

fn process_json(p: &ProcessMeta, objects: &ObjectSet) -> Value {
    let mut out = json!({ "pid": p.pid, "ppid": p.ppid, "group": p.pgid, "session": p.sid, "name": p.name, "state": state(p.state) });
    if let Some(body) = &p.body {
        let thread = |t: &ckpt_image::Flat<ckpt_sys::flat::ThreadRecord>| json!({ "tid": t.0.tid, "name": name(&t.0.name) });
        let map = |m: &MapMeta| json!({ "start": m.start, "end": m.end, "permissions": permissions(m), "backing": backing(m) });
        out["executable"] = json!(String::from_utf8_lossy(&body.exe.path));
        out["memory_bytes"] = json!(body.memory.bytes);
        out["kept_bytes"] = json!(body.memory.kept.iter().map(|k| k.1).sum::<u64>());
        out["runs"] = json!(body.memory.runs.len());
        out["threads"] = body.threads.iter().map(thread).collect();
        out["descriptors"] = json!(kinds(p.pid, objects));
        out["maps"] = body.maps.iter().map(map).collect();
    }
    out
}

fn state(s: RunState) -> String {
    match s {
        RunState::Running => "running".into(),
        RunState::Stopped => "stopped".into(),
        RunState::Zombie(status) => format!("zombie (status {status})"),
    }
}

fn name(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|&b| b == 0).next().unwrap_or(b"")).into_owned()
}

fn bodies(meta: &ImageMeta) -> impl Iterator<Item = &Body> {
    meta.processes.iter().filter_map(|p| p.body.as_ref())
}

fn stored(meta: &ImageMeta) -> u64 {
    bodies(meta).flat_map(|b| &b.memory.pieces).map(|p| p.len).sum()
}

fn kept(meta: &ImageMeta) -> u64 {
    bodies(meta).flat_map(|b| &b.memory.kept).map(|k| k.1).sum()
}

fn shared(meta: &ImageMeta) -> u64 {
    meta.shared.iter().flat_map(|s| &s.pieces).map(|p| p.1.len).sum()
}

fn files(meta: &ImageMeta) -> u64 {
    meta.files.iter().flat_map(|f| &f.pieces).map(|p| p.1.len).sum()
}

fn codecs(meta: &ImageMeta) -> &'static str {
    match bodies(meta).next().map(|b| b.memory.codec) {
        Some(Codec::Lz4) => "lz4",
        Some(Codec::Zstd) => "zstd",
        Some(Codec::Gzip) => "gzip",
        _ => "not compressed",
    }
}

/// How many descriptors of each kind the process has.
fn kinds(pid: i32, objects: &ObjectSet) -> BTreeMap<String, usize> {
    let mut out = BTreeMap::new();
    for e in objects.descriptors(pid).unwrap_or(&[]) {
        *out.entry(kind(&objects.object(e.object).kind)).or_insert(0) += 1;
    }
    out
}

/// The variant's name.
fn kind(k: &Kind) -> String {
    let text = format!("{k:?}");
    text.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or("").to_ascii_lowercase()
}

fn permissions(m: &MapMeta) -> String {
    let bit = |b: i32, c: char| if m.prot & b as u32 != 0 { c } else { '-' };
    [bit(libc::PROT_READ, 'r'), bit(libc::PROT_WRITE, 'w'), bit(libc::PROT_EXEC, 'x'), if m.shared { 's' } else { 'p' }].iter().collect()
}

fn backing(m: &MapMeta) -> String {
    match &m.kind {
        MapKind::Anonymous => "anonymous".into(),
        MapKind::Heap => "[heap]".into(),
        MapKind::Stack => "[stack]".into(),
        MapKind::File(f) => String::from_utf8_lossy(&f.path).into_owned(),
        MapKind::Shared(i) => format!("shared memory {i}"),
        MapKind::Vdso => "[vdso]".into(),
        MapKind::Vvar => "[vvar]".into(),
        MapKind::Kernel => "kernel".into(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        _ => format!("{value:.1} {}", UNITS[unit]),
    }
}

/// `seconds` since 1970 as a date, by the rules of the proleptic Gregorian calendar.
fn utc(seconds: u64) -> String {
    let (days, second) = (seconds / 86400, seconds % 86400);
    let mut year = 1970;
    let mut left = days;
    let leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
    while left >= 365 + leap(year) as u64 {
        left -= 365 + leap(year) as u64;
        year += 1;
    }
    let lengths = [31, 28 + leap(year) as u64, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while left >= lengths[month] {
        left -= lengths[month];
        month += 1;
    }
    format!("{year}-{:02}-{:02} {:02}:{:02}:{:02} UTC", month + 1, left + 1, second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(utc(1_763_683_199), "2025-11-20 23:59:59 UTC");
    }

    #[test]
    fn sizes() {
        assert_eq!((size(12), size(4096), size(3 << 30)), ("12 bytes".into(), "4.0 KiB".into(), "3.0 GiB".into()));
    }
}
