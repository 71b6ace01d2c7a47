//! inotify: watches with their numbers. fdinfo names the watched inode; its path is searched. Events that were not
//! read yet stay where they are; no call tells what they are without taking them. After a restart one event stands for
//! them, which says that some were lost (IN_Q_OVERFLOW), so that the program looks for itself.

use crate::bytes::Bytes;
use crate::capture::Capturing;
use crate::model::ObjectId;
use crate::probe::Probe;
use crate::rebuild::Rebuilding;
use crate::sys;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct InotifyState {
    pub watches: Vec<Watch>,
    /// Events waited to be read.
    pub unread: bool,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    pub wd: i32,
    pub mask: u32,
    pub path: Option<Bytes>,
    /// What is watched has no name any more, but is open here.
    pub object: Option<ObjectId>,
}

pub(crate) struct Line {
    wd: i32,
    ino: u64,
    dev: u64,
    mask: u32,
    handle_type: i32,
    handle: Vec<u8>,
}

/// `inotify wd:1 ino:7a0003 sdev:fe00000 mask:fce ignored_mask:0 fhandle-bytes:8 fhandle-type:1 f_handle:03007a00`
pub(crate) fn parse(line: &str) -> Option<Line> {
    let value = |key: &str| {
        line.split_whitespace()
            .find_map(|w| w.strip_prefix(key)?.strip_prefix(':'))
    };
    let hex = |key: &str| u64::from_str_radix(value(key)?, 16).ok();
    line.starts_with("inotify").then_some(())?;
    let dev = hex("sdev")?;
    let text = value("f_handle").unwrap_or_default();
    let handle = (0..text.len() / 2).filter_map(|i| u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok());
    Some(Line {
        wd: hex("wd")? as i32,
        ino: hex("ino")?,
        dev: libc::makedev((dev >> 20) as u32, (dev & 0xfffff) as u32),
        mask: hex("mask")? as u32,
        handle_type: hex("fhandle-type").unwrap_or(0) as i32,
        handle: handle.collect(),
    })
}

pub fn capture(probe: &Probe, id: ObjectId, cx: &mut Capturing) -> io::Result<InotifyState> {
    let lines: Vec<Line> = probe.fdinfo()?.lines().filter_map(parse).collect();
    let folders = search_folders(cx);
    let mut watches = Vec::new();
    for line in lines {
        let path = by_handle(&line, &folders).or_else(|| by_search(&line, &folders));
        let same = |id: &ObjectId| cx.probe(*id).stat.st_ino == line.ino && cx.probe(*id).stat.st_dev == line.dev;
        let object = if path.is_none() { cx.ids().find(same) } else { None };
        if path.is_none() && object.is_none() {
            cx.risk(format!(
                "{}: the path of watch {} was not found; it is lost",
                cx.describe(id),
                line.wd
            ));
        }
        let path = path.map(|p| Bytes::from(p.as_path()));
        watches.push(Watch {
            wd: line.wd,
            mask: line.mask,
            path,
            object,
        });
    }
    let unread = sys::readable_bytes(probe.fd)? > 0;
    if unread {
        let what = cx.describe(id);
        cx.risk(format!("{what}: after a restart IN_Q_OVERFLOW stands for events that it has not read yet"));
    }
    watches.sort_by_key(|w| w.wd);
    Ok(InotifyState { watches, unread })
}

/// Where watched things usually are: the processes' folders, what they have open, the places for temporary files.
fn search_folders(cx: &Capturing) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for (pid, _) in &cx.set.processes {
        folders.extend(std::fs::read_link(format!("/proc/{pid}/cwd")));
    }
    for id in cx.ids() {
        let name = Bytes::from(cx.probe(id).link.as_slice());
        let path = name.as_path();
        if path.is_absolute() {
            folders.push(path.to_path_buf());
            folders.extend(path.parent().map(Path::to_path_buf));
        }
    }
    folders.extend(["/", "/tmp", "/dev/shm", "/etc", "/var/tmp"].map(PathBuf::from));
    folders.extend(std::env::var_os("HOME").map(PathBuf::from));
    folders.sort();
    folders.dedup();
    folders
}

fn is_it(path: &Path, line: &Line) -> bool {
    sys::stat(path).is_ok_and(|s| s.st_ino == line.ino && s.st_dev == line.dev)
}

#[repr(C)]
struct Handle {
    bytes: u32,
    kind: i32,
    data: [u8; 128],
}

/// With CAP_DAC_READ_SEARCH the kernel itself finds the name.
fn by_handle(line: &Line, folders: &[PathBuf]) -> Option<PathBuf> {
    let mut handle = Handle {
        bytes: line.handle.len() as u32,
        kind: line.handle_type,
        data: [0; 128],
    };
    handle.data.get_mut(..line.handle.len())?.copy_from_slice(&line.handle);
    let on_device = |folder: &&PathBuf| sys::stat(folder).is_ok_and(|s| s.st_dev == line.dev);
    let mount = sys::open(folders.iter().find(on_device)?, libc::O_RDONLY, 0).ok()?;
    let flags = libc::O_PATH | libc::O_CLOEXEC;
    // SAFETY: a handle of the length it says.
    let fd = unsafe { libc::syscall(libc::SYS_open_by_handle_at, mount.as_raw_fd(), &handle, flags) };
    let fd = sys::own(fd as i32).ok()?;
    let path = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()?;
    is_it(&path, line).then_some(path)
}

/// The folders themselves, what is in them, and what is below; a search has an end.
fn by_search(line: &Line, folders: &[PathBuf]) -> Option<PathBuf> {
    const ENTRIES: usize = 20_000;
    if let Some(found) = folders.iter().find(|f| is_it(f, line)) {
        return Some(found.clone());
    }
    let mut level = folders.to_vec();
    let mut seen = 0;
    while !level.is_empty() {
        let mut below = Vec::new();
        for entry in level.iter().filter_map(|f| std::fs::read_dir(f).ok()).flatten().flatten() {
            let path = entry.path();
            if is_it(&path, line) {
                return Some(path);
            }
            seen += 1;
            if seen > ENTRIES {
                return None;
            }
            if entry.file_type().is_ok_and(|t| t.is_dir()) && sys::stat(&path).is_ok_and(|s| s.st_dev == line.dev) {
                below.push(path);
            }
        }
        level = below;
    }
    None
}

pub fn rebuild() -> io::Result<OwnedFd> {
    // SAFETY: no memory involved.
    sys::own(unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) })
}

/// When there is nothing left to do that a watch could see.
pub fn watch(fd: RawFd, state: &InotifyState, rb: &mut Rebuilding) {
    for watch in &state.watches {
        let open = watch.object.and_then(|id| rb.raw(id).ok()).map(|fd| PathBuf::from(format!("/proc/self/fd/{fd}")));
        let Some(path) = open.or(watch.path.as_ref().map(|p| rb.map_path(p))) else { continue };
        if let Err(e) = add_numbered(fd, &path, watch) {
            rb.risk(format!("inotify watch on {} is lost: {e}", path.display()));
        }
    }
    // Watches removed to reach a number have left IN_IGNORED events.
    let mut buffer = [0; 4096];
    while sys::read(fd, &mut buffer).is_ok_and(|n| n > 0) {}
    if state.unread {
        if let Err(e) = overflow(fd) {
            rb.risk(format!("inotify events that were not read are lost: {e}"));
        }
    }
}

const EVENT: usize = size_of::<libc::inotify_event>();

/// Leaves IN_Q_OVERFLOW in the queue: it is filled from a file of ours, whose watch goes while there is no room for
/// a word about that, and all but the last event are read away.
fn overflow(fd: RawFd) -> io::Result<()> {
    const MOST: usize = 1 << 20;
    let limit = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")?;
    let limit = limit.trim().parse().unwrap_or(usize::MAX);
    if limit > MOST {
        return Err(io::Error::other("fs.inotify.max_queued_events is very large"));
    }
    // SAFETY: a NUL-terminated name.
    let file = sys::own(unsafe { libc::memfd_create(c"ckpt".as_ptr(), libc::MFD_CLOEXEC) })?;
    let file = sys::reopen(file.as_raw_fd(), libc::O_RDWR)?;
    let name = sys::cstring(Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd())))?;
    // SAFETY: a NUL-terminated path.
    let wd = sys::cvt(unsafe { libc::inotify_add_watch(fd, name.as_ptr(), libc::IN_MODIFY | libc::IN_ACCESS) })?;
    // Two like events in a row would be one.
    for _ in 0..limit / 2 + 1 {
        sys::write(file.as_raw_fd(), b"x")?;
        sys::lseek(file.as_raw_fd(), 0, libc::SEEK_SET)?;
        sys::read(file.as_raw_fd(), &mut [0])?;
    }
    // SAFETY: no memory involved.
    sys::cvt(unsafe { libc::inotify_rm_watch(fd, wd) })?;
    let mut rest = sys::readable_bytes(fd)?.saturating_sub(EVENT);
    let mut buffer = vec![0; 64 << 10];
    while rest > 0 {
        let room = rest.min(buffer.len());
        rest -= sys::read(fd, &mut buffer[..room])?;
    }
    Ok(())
}

const INOTIFY_IOC_SETNEXTWD: u64 = 0x4004_4900;

/// Numbers only grow: watches are added and removed until it is the wanted one's turn.
fn add_numbered(fd: RawFd, path: &Path, watch: &Watch) -> io::Result<()> {
    const FLAGS: u32 = libc::IN_EXCL_UNLINK | libc::IN_ONESHOT;
    let mask = watch.mask & (libc::IN_ALL_EVENTS | FLAGS);
    let name = sys::cstring(path)?;
    // Where the kernel is made for it (CONFIG_CHECKPOINT_RESTORE) it takes the number at once.
    let _ = sys::ioctl_value(fd, INOTIFY_IOC_SETNEXTWD, i64::from(watch.wd));
    loop {
        // SAFETY: a NUL-terminated path.
        let wd = sys::cvt(unsafe { libc::inotify_add_watch(fd, name.as_ptr(), mask) })?;
        match wd.cmp(&watch.wd) {
            std::cmp::Ordering::Equal => return Ok(()),
            // SAFETY: no memory involved.
            std::cmp::Ordering::Less => drop(unsafe { libc::inotify_rm_watch(fd, wd) }),
            std::cmp::Ordering::Greater => return Err(io::Error::other("its number is taken")),
        }
        let mut buffer = [0; 4096];
        let _ = sys::read(fd, &mut buffer);
    }
}
