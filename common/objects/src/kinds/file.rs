//! Regular files, directories, and content that has no name any more.

use crate::bytes::Bytes;
use crate::capture::Capturing;
use crate::model::BlobRef;
use crate::probe::Probe;
use crate::rebuild::{BlobSource, Rebuilding};
use crate::sys;
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct FileState {
    pub path: Bytes,
    pub offset: u64,
    /// At the checkpoint; a restart says so when they changed.
    pub size: u64,
    pub mtime: (i64, i64),
    pub mode: u32,
    /// Index into `ObjectSet::deleted`: the file has no name.
    pub deleted: Option<u32>,
    /// With `--save-open-files`, in the first description of the file.
    pub content: Option<Content>,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct DirectoryState {
    pub path: Bytes,
    pub offset: u64,
    pub deleted: bool,
}

/// An open file without a name, saved once for all its descriptions.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct DeletedFile {
    pub ino: (u64, u64),
    pub path: Bytes,
    pub mode: u32,
    pub owner: (u32, u32),
    /// Last access and last change.
    pub times: [(i64, i64); 2],
    /// Extended attributes that this user may read.
    pub attributes: Vec<(Bytes, Bytes)>,
    /// Made with O_TMPFILE: it may still be given a name.
    pub unnamed: bool,
    pub content: Content,
}

/// A sparse file: the extents that have data, one after the other in the blob.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Content {
    pub size: u64,
    pub extents: Vec<(u64, u64)>,
    pub blob: BlobRef,
}

const DELETED: &[u8] = b" (deleted)";
/// O_TMPFILE without O_DIRECTORY, which it includes.
const UNNAMED: i32 = libc::O_TMPFILE & !libc::O_DIRECTORY;

pub fn capture(probe: &Probe, cx: &mut Capturing) -> io::Result<FileState> {
    let (path, deleted) = real_name(probe, cx);
    let deleted = if deleted {
        Some(save_deleted(probe, &path, cx)?)
    } else {
        None
    };
    let save = cx.ctx.save_open_files && deleted.is_none() && probe.file_type() == libc::S_IFREG;
    let content = if save && cx.first_of_inode(&probe.stat) {
        Some(save_content(probe, cx)?)
    } else {
        None
    };
    Ok(FileState {
        path,
        offset: sys::lseek(probe.fd, 0, libc::SEEK_CUR).unwrap_or(0),
        size: probe.stat.st_size as u64,
        mtime: (probe.stat.st_mtime, probe.stat.st_mtime_nsec),
        mode: probe.stat.st_mode & 0o7777,
        deleted,
        content,
    })
}

/// The name, and whether the file lost it. A file may be called `x (deleted)`; one of its hard links may be left.
fn real_name(probe: &Probe, cx: &Capturing) -> (Bytes, bool) {
    let Some(stem) = probe.link.strip_suffix(DELETED) else {
        return (probe.link.as_slice().into(), false);
    };
    let same =
        |path: &Path| sys::stat(path).is_ok_and(|s| s.st_ino == probe.stat.st_ino && s.st_dev == probe.stat.st_dev);
    let literal = Bytes::from(probe.link.as_slice());
    if same(literal.as_path()) {
        return (literal, false);
    }
    let stem = Bytes::from(stem);
    if probe.stat.st_nlink > 0 {
        if let Some(other) = other_link(stem.as_path(), probe.stat.st_dev, &same, cx) {
            return (Bytes::from(other.as_path()), false);
        }
    }
    (stem, true)
}

/// Another hard link of the file: where it was, below, and below the processes' folders. A search has an end.
fn other_link(path: &Path, device: u64, same: &dyn Fn(&Path) -> bool, cx: &Capturing) -> Option<PathBuf> {
    const ENTRIES: usize = 20_000;
    let mut folders = vec![path.parent()?.to_path_buf()];
    folders.extend(cx.set.processes.iter().filter_map(|p| std::fs::read_link(format!("/proc/{}/cwd", p.0)).ok()));
    let mut seen = 0;
    let mut next = 0;
    while let Some(folder) = folders.get(next).cloned() {
        next += 1;
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            seen += 1;
            let path = entry.path();
            let is_folder = entry.file_type().is_ok_and(|t| t.is_dir());
            if is_folder && sys::stat(&path).is_ok_and(|s| s.st_dev == device) && !folders.contains(&path) {
                folders.push(path);
            } else if !is_folder && same(&path) {
                return Some(path);
            }
            if seen > ENTRIES {
                return None;
            }
        }
    }
    None
}

pub fn save_deleted(probe: &Probe, path: &Bytes, cx: &mut Capturing) -> io::Result<u32> {
    let ino = (probe.stat.st_dev, probe.stat.st_ino);
    if let Some(known) = cx.set.deleted.iter().position(|d| d.ino == ino) {
        return Ok(known as u32);
    }
    let content = save_content(probe, cx)?;
    let attributes = super::attributes::of(probe.fd);
    let stat = &probe.stat;
    cx.set.deleted.push(DeletedFile {
        ino,
        path: path.clone(),
        mode: stat.st_mode & 0o7777,
        owner: (stat.st_uid, stat.st_gid),
        times: times(stat),
        attributes,
        unnamed: probe.flags & UNNAMED != 0 || is_unnamed(path, stat.st_ino),
        content,
    });
    Ok(cx.set.deleted.len() as u32 - 1)
}

/// Last access and last change.
pub fn times(stat: &libc::stat) -> [(i64, i64); 2] {
    [(stat.st_atime, stat.st_atime_nsec), (stat.st_mtime, stat.st_mtime_nsec)]
}

/// What O_TMPFILE makes goes by its number until it is linked.
fn is_unnamed(path: &Bytes, ino: u64) -> bool {
    path.as_path().file_name().is_some_and(|name| name.as_encoded_bytes() == format!("#{ino}").as_bytes())
}

/// Saves the data extents; holes cost nothing.
pub fn save_content(probe: &Probe, cx: &mut Capturing) -> io::Result<Content> {
    // A description of our own: SEEK_DATA moves an offset, and the program's may be write-only.
    if probe.fdinfo().is_ok_and(|text| text.contains("LEASE")) {
        return Err(io::Error::other("it has a lease, which reading its content would break; release it (F_UNLCK) first"));
    }
    let own = open_to_read(probe)?;
    let size = probe.stat.st_size as u64;
    let extents = data_extents(own.as_raw_fd(), size);
    let mut reader = ExtentReader {
        fd: own.as_raw_fd(),
        extents: &extents,
        at: 0,
        done: 0,
    };
    let blob = cx.ctx.blobs.write_blob(&mut reader)?;
    let wanted: u64 = extents.iter().map(|e| e.1).sum();
    if blob.len != wanted {
        return Err(io::Error::other(format!("saved {} of {wanted} bytes", blob.len)));
    }
    Ok(Content { size, extents, blob })
}

/// A file whose mode forbids its owner to read it is made readable for the moment.
fn open_to_read(probe: &Probe) -> io::Result<OwnedFd> {
    // Where it is ours the time of the last access stays.
    let opened = sys::reopen(probe.fd, libc::O_RDONLY | libc::O_NOATIME).or_else(|_| sys::reopen(probe.fd, libc::O_RDONLY));
    let mode = probe.stat.st_mode & 0o7777;
    let denied = matches!(&opened, Err(e) if e.raw_os_error() == Some(libc::EACCES));
    // SAFETY: numbers only.
    if !denied || unsafe { libc::fchmod(probe.fd, mode | libc::S_IRUSR) } != 0 {
        return opened;
    }
    let opened = sys::reopen(probe.fd, libc::O_RDONLY);
    // SAFETY: as above.
    unsafe { libc::fchmod(probe.fd, mode) };
    opened
}

fn data_extents(fd: RawFd, size: u64) -> Vec<(u64, u64)> {
    let mut extents = Vec::new();
    let mut at = 0;
    while at < size {
        match sys::lseek(fd, at as i64, libc::SEEK_DATA) {
            Ok(start) => {
                let end = sys::lseek(fd, start as i64, libc::SEEK_HOLE).unwrap_or(size).min(size);
                extents.push((start, end - start));
                at = end;
            }
            // Only a hole is left.
            Err(e) if e.raw_os_error() == Some(libc::ENXIO) => break,
            // No holes on this file system.
            Err(_) => return vec![(0, size)],
        }
    }
    extents
}

struct ExtentReader<'a> {
    fd: RawFd,
    extents: &'a [(u64, u64)],
    at: usize,
    done: u64,
}

impl Read for ExtentReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some((start, len)) = self.extents.get(self.at).copied() else {
            return Ok(0);
        };
        let want = buffer.len().min((len - self.done) as usize);
        let n = sys::pread(self.fd, &mut buffer[..want], start + self.done)?;
        if n == 0 && want > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.done += n as u64;
        if self.done == len {
            self.at += 1;
            self.done = 0;
        }
        Ok(n)
    }
}

/// Writes saved content into an empty file. `mapped`: hugetlbfs knows no write().
pub fn load_content(content: &Content, fd: &OwnedFd, blobs: &dyn BlobSource, mapped: bool) -> io::Result<()> {
    let mut blob = blobs.open_blob(&content.blob)?;
    let mut buffer = vec![0; 1 << 20];
    for (start, len) in &content.extents {
        let mut done = 0;
        while done < *len {
            let want = buffer.len().min((len - done) as usize);
            blob.read_exact(&mut buffer[..want])?;
            let at = start + done;
            match mapped {
                true => write_mapped(fd.as_raw_fd(), &buffer[..want], at, content.size)?,
                false => as_file(fd)?.write_all_at(&buffer[..want], at)?,
            }
            done += want as u64;
        }
    }
    Ok(())
}

fn as_file(fd: &OwnedFd) -> io::Result<std::fs::File> {
    fd.try_clone().map(std::fs::File::from)
}

fn write_mapped(fd: RawFd, data: &[u8], at: u64, size: u64) -> io::Result<()> {
    let len = size as usize;
    // SAFETY: a fresh mapping of the whole file, used and removed here; `at + data.len() <= size`.
    unsafe {
        let map = libc::mmap(
            std::ptr::null_mut(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            fd,
            0,
        );
        if map == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        std::ptr::copy_nonoverlapping(data.as_ptr(), map.cast::<u8>().add(at as usize), data.len());
        libc::munmap(map, len);
    }
    Ok(())
}

pub fn capture_directory(probe: &Probe) -> io::Result<DirectoryState> {
    let deleted = probe.stat.st_nlink == 0;
    let path = if deleted {
        probe.link.strip_suffix(DELETED).unwrap_or(&probe.link)
    } else {
        &probe.link
    };
    let offset = sys::lseek(probe.fd, 0, libc::SEEK_CUR).unwrap_or(0);
    Ok(DirectoryState {
        path: path.into(),
        offset,
        deleted,
    })
}

/// Creation flags are not state; what remains is opened again.
pub fn open_flags(flags: i32) -> i32 {
    flags & !(libc::O_CREAT | libc::O_EXCL | libc::O_TRUNC) | libc::O_NOCTTY
}

pub fn seek(fd: &OwnedFd, offset: u64) -> io::Result<()> {
    match offset {
        0 => Ok(()),
        _ => sys::lseek(fd.as_raw_fd(), offset as i64, libc::SEEK_SET).map(drop),
    }
}

pub fn rebuild(state: &FileState, flags: i32, rb: &mut Rebuilding) -> io::Result<OwnedFd> {
    // O_TMPFILE includes O_DIRECTORY; what is opened now is a plain file.
    let flags = open_flags(flags) & !(libc::O_TMPFILE & !libc::O_DIRECTORY) & !libc::O_DIRECTORY;
    let fd = match state.deleted {
        Some(index) => sys::reopen(rb.deleted_file(index as usize)?, flags)?,
        None => {
            let path = rb.map_path(&state.path);
            if let Err(e) = restore_saved(state, &path, rb) {
                rb.risk(format!("{}: its saved content could not be put back: {e}", path.display()));
            }
            sys::open(&path, flags, 0)?
        }
    };
    seek(&fd, state.offset)?;
    Ok(fd)
}

/// With `--save-open-files`: the content of the checkpoint, when the file is gone or changed.
fn restore_saved(state: &FileState, path: &Path, rb: &Rebuilding) -> io::Result<()> {
    let Some(content) = &state.content else { return Ok(()) };
    if !has_changed(state, path) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let fd = sys::open(path, libc::O_CREAT | libc::O_RDWR | libc::O_TRUNC, 0o600)?;
    as_file(&fd)?.set_len(content.size)?;
    load_content(content, &fd, rb.ctx.blobs, false)?;
    let time = libc::timespec { tv_sec: state.mtime.0, tv_nsec: state.mtime.1 };
    // SAFETY: numbers, and an array of two times; unchanged also for the next restart.
    unsafe {
        libc::fchmod(fd.as_raw_fd(), state.mode);
        libc::futimens(fd.as_raw_fd(), [time; 2].as_ptr());
    }
    Ok(())
}

/// Or gone.
pub fn has_changed(state: &FileState, path: &Path) -> bool {
    let same = |s: libc::stat| (s.st_mtime, s.st_mtime_nsec) == state.mtime && s.st_size as u64 == state.size;
    !sys::stat(path).is_ok_and(same)
}

/// `inode`: device and number it had.
pub fn rebuild_directory(state: &DirectoryState, flags: i32, inode: (u64, u64), rb: &mut Rebuilding) -> io::Result<OwnedFd> {
    let path = rb.map_path(&state.path);
    if state.deleted {
        return sys::reopen(rb.deleted_folder(inode, &path)?, open_flags(flags));
    }
    let fd = sys::open(&path, open_flags(flags), 0)?;
    if state.offset > 0 {
        read_some_entries(&fd);
    }
    seek(&fd, state.offset)?;
    Ok(fd)
}

/// ext4 sets its cursor up at the first read; set up at the end, it would find nothing after a rewind.
fn read_some_entries(fd: &OwnedFd) {
    let mut buffer = [0u8; 4096];
    // SAFETY: the buffer is as long as said; what comes is not wanted.
    unsafe { libc::syscall(libc::SYS_getdents64, fd.as_raw_fd(), buffer.as_mut_ptr(), buffer.len()) };
}

/// A folder without a name; one in its place is not touched.
pub fn create_deleted_folder(path: &Path) -> io::Result<OwnedFd> {
    let spare = sys::spare_name();
    let places = [path.to_path_buf(), path.with_file_name(&spare), std::env::temp_dir().join(&spare)];
    let made = places.iter().find(|p| std::fs::create_dir(p).is_ok());
    let path = made.ok_or_else(|| io::Error::other("it cannot be made again for the moment"))?;
    let fd = sys::open(path, libc::O_DIRECTORY | libc::O_RDONLY, 0);
    std::fs::remove_dir(path)?;
    fd
}

/// Content back into a file without a name. It gets its old name for a moment, so that /proc shows it as before.
pub fn create_deleted(file: &DeletedFile, rb: &Rebuilding) -> io::Result<OwnedFd> {
    let path = rb.map_path(&file.path);
    let fd = unlinked_file(&path, file.unnamed)?;
    as_file(&fd)?.set_len(file.content.size)?;
    load_content(&file.content, &fd, rb.ctx.blobs, false)?;
    Ok(fd)
}

/// Owner, mode and times, when all is written. What is refused stays ours, and private.
pub fn finish_deleted(file: &DeletedFile, fd: RawFd) {
    // SAFETY: numbers only.
    unsafe {
        libc::fchown(fd, file.owner.0, file.owner.1);
        libc::fchmod(fd, file.mode);
    }
    set_times(fd, &file.attributes, file.times);
}

/// Extended attributes, and the times, which these would change.
pub fn set_times(fd: RawFd, attributes: &[(Bytes, Bytes)], times: [(i64, i64); 2]) {
    super::attributes::set(fd, attributes);
    let times = times.map(|(tv_sec, tv_nsec)| libc::timespec { tv_sec, tv_nsec });
    // SAFETY: an array of two times.
    unsafe { libc::futimens(fd, times.as_ptr()) };
}

fn unlinked_file(path: &Path, unnamed: bool) -> io::Result<OwnedFd> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    if unnamed {
        if let Ok(fd) = sys::open(folder, libc::O_TMPFILE | libc::O_RDWR, 0o600) {
            return Ok(fd);
        }
    }
    let candidates = [path.to_path_buf(), folder.join(sys::spare_name())];
    for name in candidates {
        if let Ok(fd) = sys::open(&name, libc::O_CREAT | libc::O_EXCL | libc::O_RDWR, 0o600) {
            std::fs::remove_file(&name)?;
            return Ok(fd);
        }
    }
    // The folder is gone or closed to us: any place for temporary files serves.
    sys::open(&std::env::temp_dir(), libc::O_TMPFILE | libc::O_RDWR, 0o600)
}
