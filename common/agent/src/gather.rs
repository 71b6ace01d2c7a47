//! From records and /proc to what the image says about one process.

use crate::limits;
use crate::procfs;
use crate::records::Records;
use ckpt_image::{Body, Codec, Credentials, FileIdentity, Flat, MapKind, MapMeta, Memory};
use ckpt_sys::flat::plan;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

/// VmFlags of smaps by the start of the mapping, how many bytes are the process's own, and its part of the memory that it
/// shares and no file system keeps.
pub struct VmFlags(Vec<Flagged>, pub u64, pub u64);

struct Flagged {
    start: u64,
    end: u64,
    what: What,
    flags: Vec<String>,
}

/// Is it shared; device; inode.
type What = (bool, u64, u64);

impl VmFlags {
    /// Before the pause: smaps walks the page tables.
    pub fn read(pid: i32) -> VmFlags {
        VmFlags::parse(&fs::read(format!("/proc/{pid}/smaps")).unwrap_or_default())
    }

    pub fn parse(smaps: &[u8]) -> VmFlags {
        let text = String::from_utf8_lossy(smaps);
        let mut out = Vec::new();
        let (mut head, mut anonymous, mut shared, mut is_shared) = (((0, 0), (false, 0, 0)), 0, 0, false);
        let kilobytes = |line: &str, key: &str| line.strip_prefix(key).and_then(|l| l.trim_end_matches("kB").trim().parse::<u64>().ok());
        for line in text.lines() {
            if let Some(flags) = line.strip_prefix("VmFlags:") {
                let ((start, end), what) = head;
                out.push(Flagged { start, end, what, flags: flags.split_ascii_whitespace().map(str::to_owned).collect() });
            } else if let Some(kb) = kilobytes(line, "Anonymous:") {
                anonymous = u64::saturating_add(anonymous, kb.saturating_mul(1024));
            } else if let Some(kb) = kilobytes(line, "Pss:").filter(|_| is_shared) {
                shared = u64::saturating_add(shared, kb.saturating_mul(1024));
            } else if let Some(l) = Line::parse(line.as_bytes()) {
                head = ((l.start, l.end), l.what());
                let without_file = ["/dev/zero (deleted)", "/SYSV", "/dev/shm/", "/memfd:"];
                is_shared = line.contains("s ") && without_file.iter().any(|name| line.contains(name));
            }
        }
        VmFlags(out, anonymous, shared)
    }

    /// The arena may have come since, and have been merged with what lies above it; and something else may be there now.
    fn of(&self, l: &Line) -> &[String] {
        // In the order of addresses, and there may be 65,530.
        let next = self.0.partition_point(|r| r.end <= l.start);
        self.0.get(next).filter(|r| r.start < l.end && r.what == l.what()).map_or(&[], |r| &r.flags)
    }

    /// Ranges that a fork leaves out (0) or wipes (1).
    pub fn forkless(&self) -> Vec<(u64, u64, u64)> {
        let has = |f: &[String], n: &str| f.iter().any(|x| x == n);
        let pick = |r: &Flagged| match () {
            _ if has(&r.flags, "dc") && !has(&r.flags, "io") && !has(&r.flags, "pf") => Some((r.start, r.end - r.start, 0)),
            _ if has(&r.flags, "wf") => Some((r.start, r.end - r.start, 1)),
            _ => None,
        };
        self.0.iter().filter_map(pick).collect()
    }
}

fn parse_range(word: &str) -> Option<(u64, u64)> {
    let (a, b) = word.split_once('-')?;
    Some((u64::from_str_radix(a, 16).ok()?, u64::from_str_radix(b, 16).ok()?))
}

fn advice(flags: &[String]) -> u32 {
    const WORDS: [(&str, u32); 13] = [
        ("lo", plan::MAP_LOCKED),
        ("hg", plan::MAP_HUGE),
        ("nh", plan::MAP_NOHUGE),
        ("dc", plan::MAP_DONTFORK),
        ("wf", plan::MAP_WIPEONFORK),
        ("dd", plan::MAP_DONTDUMP),
        ("sr", plan::MAP_SEQ),
        ("rr", plan::MAP_RAND),
        ("mg", plan::MAP_MERGEABLE),
        ("sl", plan::MAP_SEALED),
        ("dp", plan::MAP_DROPPABLE),
        ("lf", plan::MAP_ONFAULT),
        ("mw", plan::MAP_MAY_WRITE),
    ];
    WORDS.iter().filter(|(w, _)| flags.iter().any(|f| f == w)).fold(0, |n, (_, bit)| n | bit)
}

/// A mapping as the process itself read it, and the identity of what it maps.
#[derive(Clone)]
pub struct RawMap {
    pub meta: MapMeta,
    pub dev: u64,
    pub ino: u64,
    pub path: Vec<u8>,
}

impl RawMap {
    /// What is left of anonymous memory when a range is cut out of it.
    pub fn without(self, hole: (u64, u64)) -> Vec<RawMap> {
        let (start, end) = (self.meta.start, self.meta.end);
        let part = |start: u64, end: u64| RawMap { meta: MapMeta { start, end, ..self.meta.clone() }, ..self.clone() };
        let parts = [(start, hole.0.clamp(start, end)), (hole.1.clamp(start, end), end)];
        parts.into_iter().filter(|p| p.0 < p.1).map(|p| part(p.0, p.1)).collect()
    }
}

pub fn parse_maps(text: &[u8], flags: &VmFlags, pid: i32) -> Vec<RawMap> {
    // The table of ids is the agent's; a restart brings its own.
    let lines = text.split(|&b| b == b'\n').filter(|l| !is_id_table(l));
    lines.filter_map(|l| parse_map(l, flags, pid)).collect()
}

fn is_id_table(line: &[u8]) -> bool {
    line.ends_with(b"/memfd:ckpt-ids (deleted)")
}

fn id_table(maps: &[u8]) -> u64 {
    let line = maps.split(|&b| b == b'\n').find(|l| is_id_table(l));
    let start = line.and_then(|l| std::str::from_utf8(l.split(|&b| b == b'-').next()?).ok());
    start.and_then(|s| u64::from_str_radix(s, 16).ok()).unwrap_or(0)
}

/// One of maps or, as a head, of smaps (proc(5)).
struct Line<'a> {
    start: u64,
    end: u64,
    prot: u32,
    shared: bool,
    offset: u64,
    dev: u64,
    ino: u64,
    path: &'a [u8],
}

impl<'a> Line<'a> {
    fn parse(line: &'a [u8]) -> Option<Line<'a>> {
        let mut words = line.splitn(6, |&b| b == b' ');
        let text = |w| std::str::from_utf8(w).ok();
        let (start, end) = parse_range(text(words.next()?)?)?;
        let perms = words.next()?;
        let offset = u64::from_str_radix(text(words.next()?)?, 16).ok()?;
        let (major, minor) = text(words.next()?)?.split_once(':')?;
        let dev = libc::makedev(u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?);
        let ino: u64 = text(words.next()?)?.parse().ok()?;
        let path = words.next().unwrap_or(b"").trim_ascii_start();
        let bits = [(b'r', libc::PROT_READ), (b'w', libc::PROT_WRITE), (b'x', libc::PROT_EXEC)];
        let prot = bits.iter().zip(perms).filter(|((c, _), p)| c == *p).fold(0, |n, ((_, bit), _)| n | *bit as u32);
        Some(Line { start, end, prot, shared: perms.get(3) == Some(&b's'), offset, dev, ino, path })
    }

    fn what(&self) -> What {
        (self.shared, self.dev, self.ino)
    }
}

fn parse_map(line: &[u8], flags: &VmFlags, pid: i32) -> Option<RawMap> {
    let l = Line::parse(line)?;
    let vm = flags.of(&l);
    let has = |n: &str| vm.iter().any(|f| f == n);
    let kind = kind_of(l.path, l.dev, l.ino, pid, l.start, l.end);
    let asked = || vm.is_empty() && l.shared && may_write(&kind, pid, l.start, l.end);
    let unknown = if asked() { plan::MAP_MAY_WRITE } else { 0 };
    Some(RawMap {
        meta: MapMeta {
            start: l.start,
            end: l.end,
            prot: l.prot,
            shared: l.shared,
            offset: l.offset,
            advice: advice(vm) | unknown,
            grows_down: has("gd"),
            no_reserve: has("nr"),
            kind,
        },
        dev: l.dev,
        ino: l.ino,
        path: l.path.to_vec(),
    })
}

/// The rights of the link are those of the file (`proc_map_files_instantiate`). Of a process that is not dumpable nothing is
/// told: shared memory is open to be written, as a rule, other files are not.
fn may_write(kind: &MapKind, pid: i32, start: u64, end: u64) -> bool {
    let named = matches!(kind, MapKind::File(f) if !f.deleted);
    fs::symlink_metadata(format!("/proc/{pid}/map_files/{start:x}-{end:x}")).map_or(!named, |m| m.mode() & libc::S_IWUSR != 0)
}

fn kind_of(path: &[u8], dev: u64, ino: u64, pid: i32, start: u64, end: u64) -> MapKind {
    match path {
        b"[heap]" => MapKind::Heap,
        b"[stack]" => MapKind::Stack,
        b"[vdso]" => MapKind::Vdso,
        p if p.starts_with(b"[vvar") => MapKind::Vvar,
        p if p == crate::aio::RING_NAME || p.starts_with(b"[vsyscall") || p.starts_with(b"[uprobes") => MapKind::Kernel,
        _ if ino == 0 => MapKind::Anonymous,
        p => MapKind::File(identity(p, dev, ino, pid, start, end)),
    }
}

fn identity(path: &[u8], dev: u64, ino: u64, pid: i32, start: u64, end: u64) -> FileIdentity {
    let (name, deleted) = stem(unescape(path), (dev, ino));
    let meta = fs::metadata(std::ffi::OsStr::from_bytes(&name))
        .or_else(|_| fs::metadata(format!("/proc/{pid}/map_files/{start:x}-{end:x}")));
    let (size, mtime_ns) = meta.map_or((0, 0), |m| (m.size(), m.mtime() * 1_000_000_000 + m.mtime_nsec()));
    FileIdentity { path: name, dev, ino, size, mtime_ns, deleted }
}

/// The name, and whether the file has lost it: a file may be called `x (deleted)`.
fn stem(path: Vec<u8>, (dev, ino): (u64, u64)) -> (Vec<u8>, bool) {
    let Some(stem) = path.strip_suffix(b" (deleted)") else { return (path, false) };
    let literal = fs::metadata(std::ffi::OsStr::from_bytes(&path)).is_ok_and(|m| (m.dev(), m.ino()) == (dev, ino));
    if literal { (path, false) } else { (stem.to_vec(), true) }
}

/// maps writes a newline as \012.
fn unescape(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut i = 0;
    while i < path.len() {
        if path[i..].starts_with(b"\\012") {
            out.push(b'\n');
            i += 4;
        } else {
            out.push(path[i]);
            i += 1;
        }
    }
    out
}

/// core(5)
const DEFAULT_DUMP_FILTER: u32 = 0x33;

/// Everything but the contents of memory.
pub fn body(pid: i32, r: &Records, maps: &[RawMap]) -> io::Result<Body> {
    // A main thread that has ended shows nothing of the process any more.
    let task = r.threads.first().map_or(pid, |t| t.tid);
    let task = format!("{pid}/task/{task}");
    let status = procfs::status_of(&task).ok_or_else(|| io::Error::other(format!("process {pid} vanished")))?;
    let stat = procfs::parse_stat(&r.stat).ok_or_else(|| io::Error::other("damaged stat record"))?;
    let path = |name: &str| procfs::link_of(&task, name).map(|p| p.as_os_str().as_bytes().to_vec()).unwrap_or_default();
    let f = |n| stat.field(n);
    Ok(Body {
        record: Flat(r.process),
        threads: r.threads.iter().copied().map(Flat).collect(),
        sigactions: r.sigactions.iter().copied().map(Flat).collect(),
        pendings: r.pendings.iter().copied().map(Flat).collect(),
        timers: r.timers.iter().copied().map(Flat).collect(),
        // proc(5): startcode 26, endcode 27, startstack 28, start_data 45, end_data 46, start_brk 47, arg_start 48,
        // arg_end 49, env_start 50, env_end 51
        mm: [f(26), f(27), f(45), f(46), f(47), r.process.brk, f(28), f(48), f(49), f(50), f(51)],
        auxv: r.auxv.clone(),
        exe: exe(&task),
        cwd: path("cwd"),
        root: path("root"),
        umask: procfs::status_value(&status, "Umask").and_then(|v| u32::from_str_radix(v, 8).ok()).unwrap_or(0o022),
        credentials: credentials(&status),
        thread_credentials: thread_credentials(pid, r),
        rlimits: (0..16).map(|n| rlimit(pid, n)).collect(),
        oom_score_adj: fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).ok().and_then(|t| t.trim().parse().ok()).unwrap_or(0),
        coredump_filter: fs::read_to_string(format!("/proc/{pid}/coredump_filter"))
            .ok()
            .and_then(|t| u32::from_str_radix(t.trim(), 16).ok())
            .unwrap_or(DEFAULT_DUMP_FILTER),
        policies: r.policies.iter().copied().map(Flat).collect(),
        aio: crate::aio::capture(pid, maps)?,
        maps: maps.iter().map(|m| m.meta.clone()).collect(),
        memory: Memory { runs: Vec::new(), guards: Vec::new(), bytes: 0, codec: Codec::None, pieces: Vec::new(), checksums: Vec::new(), kept: Vec::new() },
        id_table: id_table(&r.maps),
        files_of: pid,
        memory_of: pid,
        apart: Vec::new(),
    })
}

fn exe(task: &str) -> FileIdentity {
    let path = procfs::link_of(task, "exe").map(|p| p.as_os_str().as_bytes().to_vec()).unwrap_or_default();
    let meta = fs::metadata(format!("/proc/{task}/exe"));
    let (path, deleted) = stem(path, meta.as_ref().map_or((0, 0), |m| (m.dev(), m.ino())));
    match meta {
        Ok(m) => FileIdentity {
            path,
            dev: m.dev(),
            ino: m.ino(),
            size: m.size(),
            mtime_ns: m.mtime() * 1_000_000_000 + m.mtime_nsec(),
            deleted,
        },
        Err(_) => FileIdentity { path, deleted, ..FileIdentity::default() },
    }
}

fn credentials(status: &str) -> Credentials {
    let four = |key| {
        let mut out = [0; 4];
        let words = procfs::status_value(status, key).unwrap_or("");
        out.iter_mut().zip(words.split_ascii_whitespace()).for_each(|(o, w)| *o = w.parse().unwrap_or(0));
        out
    };
    Credentials {
        uid: four("Uid"),
        gid: four("Gid"),
        groups: procfs::status_value(status, "Groups").unwrap_or("").split_ascii_whitespace().filter_map(|w| w.parse().ok()).collect(),
        caps: ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|k| procfs::status_hex(status, k)),
        seccomp: procfs::status_value(status, "Seccomp").and_then(|v| v.parse().ok()).unwrap_or(0),
    }
}

/// Of threads whose user, groups or capabilities are not those of the first.
fn thread_credentials(pid: i32, r: &Records) -> Vec<(i32, Credentials)> {
    let first = r.threads.first().map_or(0, |t| t.credentials);
    let own = r.threads.iter().filter(|t| t.credentials != first);
    own.filter_map(|t| Some((t.tid, credentials(&procfs::status_of(&format!("{pid}/task/{}", t.tid))?)))).collect()
}

fn rlimit(pid: i32, resource: u32) -> (u64, u64) {
    limits::of(pid, resource).map_or((u64::MAX, u64::MAX), |l| (l.rlim_cur, l.rlim_max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::path::Path;

    /// Is a page of the file (two, where it is open to write), mapped to be read, said to be open to write?
    fn writes_through(path: &Path, writable: bool, flags: impl Fn(u64) -> VmFlags) -> bool {
        // The kernel keeps the link, with its rights, while there is a mapping of just that range.
        let len = if writable { 8192 } else { 4096 };
        let file = fs::File::options().read(true).write(writable).open(path).unwrap();
        // SAFETY: a mapping of its own, gone again before the end.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        assert_ne!(at, libc::MAP_FAILED);
        let maps = parse_maps(&fs::read("/proc/self/maps").unwrap(), &flags(at as u64), std::process::id() as i32);
        // SAFETY: as above.
        unsafe { libc::munmap(at, len) };
        maps.into_iter().find(|m| m.meta.start == at as u64).unwrap().meta.writes_through()
    }

    #[test]
    fn flags_of_what_was_there_before_are_not_taken() {
        let path = std::env::temp_dir().join(format!("ckpt-gather-{}", std::process::id()));
        fs::write(&path, [7; 8192]).unwrap();
        let none = |_| VmFlags(Vec::new(), 0, 0);
        let now = |_| VmFlags::read(std::process::id() as i32);
        let before = |at: u64| {
            VmFlags::parse(format!("{at:x}-{:x} r--p 00000000 00:00 0 \nVmFlags: rd mr mw me sd \n", at + 4096).as_bytes())
        };
        for writable in [false, true] {
            assert_eq!(writes_through(&path, writable, none), writable, "none");
            assert_eq!(writes_through(&path, writable, now), writable, "now");
            assert_eq!(writes_through(&path, writable, before), writable, "before");
        }
        fs::remove_file(path).unwrap();
    }
}
