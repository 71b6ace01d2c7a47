//! Pipes and fifos: one buffer per inode, any number of ends. The content is copied by `tee` and stays where it is.

use crate::bytes::Bytes;
use crate::capture::Capturing;
use crate::model::ObjectId;
use crate::probe::Probe;
use crate::rebuild::Rebuilding;
use crate::sys;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct PipeEnd {
    /// Index into `ObjectSet::pipes`.
    pub pipe: u32,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct PipeBuffer {
    pub ino: (u64, u64),
    pub size: i32,
    /// What a reader would get, one entry per read: all but the last are packets.
    pub content: Vec<Bytes>,
    /// The last one is a packet too.
    pub packet_mode: bool,
    pub mode: u32,
    pub fifo: Option<Fifo>,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Fifo {
    pub path: Bytes,
    pub deleted: bool,
    /// Open for reading, and no writer has come yet: no hang-up either.
    pub awaits_writer: bool,
}

pub fn capture(probe: &Probe, cx: &mut Capturing) -> io::Result<PipeEnd> {
    let ino = (probe.stat.st_dev, probe.stat.st_ino);
    if let Some(known) = cx.set.pipes.iter().position(|p| p.ino == ino) {
        return Ok(PipeEnd { pipe: known as u32 });
    }
    let size = sys::fcntl(probe.fd, libc::F_GETPIPE_SZ, 0)?;
    let fifo = (!probe.link.starts_with(b"pipe:[")).then(|| fifo(probe));
    cx.set.pipes.push(PipeBuffer {
        ino,
        size,
        content: Vec::new(),
        packet_mode: false,
        mode: probe.stat.st_mode & 0o7777,
        fifo,
    });
    Ok(PipeEnd {
        pipe: cx.set.pipes.len() as u32 - 1,
    })
}

fn fifo(probe: &Probe) -> Fifo {
    let deleted = probe.stat.st_nlink == 0;
    let stem = probe.link.strip_suffix(b" (deleted)").filter(|_| deleted);
    Fifo {
        path: stem.unwrap_or(&probe.link).into(),
        deleted,
        awaits_writer: false,
    }
}

/// Ends of one pipe among the objects.
pub struct Ends {
    pub readers: Vec<ObjectId>,
    pub writers: Vec<ObjectId>,
}

pub fn ends(cx: &Capturing, pipe: u32) -> Ends {
    let of_pipe = |id: &ObjectId| matches!(cx.kind(*id), Some(crate::Kind::Pipe(end)) if end.pipe == pipe);
    let all: Vec<ObjectId> = cx.ids().filter(of_pipe).collect();
    Ends {
        readers: all.iter().copied().filter(|id| cx.probe(*id).readable()).collect(),
        writers: all.iter().copied().filter(|id| cx.probe(*id).writable()).collect(),
    }
}

/// Does someone outside the computation hold the end that the computation lacks?
pub fn other_end_outside(cx: &Capturing, ends: &Ends) -> io::Result<bool> {
    if let (Some(reader), true) = (ends.readers.first(), ends.writers.is_empty()) {
        let ready = sys::poll(cx.probe(*reader).fd, libc::POLLIN, 0)?;
        return Ok(ready & libc::POLLHUP == 0);
    }
    if let (Some(writer), true) = (ends.writers.first(), ends.readers.is_empty()) {
        let ready = sys::poll(cx.probe(*writer).fd, libc::POLLOUT, 0)?;
        return Ok(ready & libc::POLLERR == 0);
    }
    Ok(false)
}

/// Copies the content of a pipe whose reading end is ours.
pub fn save_content(cx: &mut Capturing, pipe: u32, ends: &Ends) -> io::Result<()> {
    let Some(reader) = ends.readers.first() else {
        return Ok(());
    };
    let fd = cx.probe(*reader).fd;
    let available = sys::readable_bytes(fd)?;
    if available == 0 {
        return Ok(());
    }
    let packets = ends.writers.iter().any(|w| cx.probe(*w).flags & libc::O_DIRECT != 0);
    let size = cx.set.pipes[pipe as usize].size;
    let content = match scratch(size) {
        Ok((from, to)) => {
            sys::tee(fd, to.as_raw_fd(), available)?;
            read_all(from.as_raw_fd(), available)?
        }
        Err(_) => drain_and_refill(fd, available, packets)?,
    };
    let buffer = &mut cx.set.pipes[pipe as usize];
    buffer.content = content;
    buffer.packet_mode = packets;
    Ok(())
}

/// A pipe as large as the one to copy; a user's quota of pipe pages may refuse it.
fn scratch(size: i32) -> io::Result<(OwnedFd, OwnedFd)> {
    let (from, to) = sys::pipe(libc::O_NONBLOCK)?;
    if sys::fcntl(to.as_raw_fd(), libc::F_GETPIPE_SZ, 0)? < size {
        sys::fcntl(to.as_raw_fd(), libc::F_SETPIPE_SZ, size)?;
    }
    Ok((from, to))
}

/// One entry per read: a read ends at a packet's end.
fn read_all(fd: RawFd, mut available: usize) -> io::Result<Vec<Bytes>> {
    let mut content = Vec::new();
    let mut buffer = vec![0; available];
    while available > 0 {
        let n = sys::read(fd, &mut buffer)?;
        if n == 0 {
            break;
        }
        content.push(buffer[..n].into());
        available = available.saturating_sub(n);
    }
    Ok(content)
}

fn drain_and_refill(fd: RawFd, available: usize, packets: bool) -> io::Result<Vec<Bytes>> {
    let writer = sys::reopen(fd, libc::O_WRONLY | libc::O_NONBLOCK)?;
    let reader = sys::reopen(fd, libc::O_RDONLY | libc::O_NONBLOCK)?;
    let content = read_all(reader.as_raw_fd(), available)?;
    refill(writer.as_raw_fd(), &content, packets)?;
    Ok(content)
}

/// Opening a pipe with O_DIRECT is refused, setting it is not.
fn refill(fd: RawFd, content: &[Bytes], packet_mode: bool) -> io::Result<()> {
    for (i, piece) in content.iter().enumerate() {
        let packet = packet_mode || i + 1 < content.len();
        let direct = if packet { libc::O_DIRECT } else { 0 };
        sys::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK | direct)?;
        sys::write_all(fd, piece)?;
    }
    Ok(())
}

/// As the kernel shows it; to a program of 64 bits it is 0 in C.
const O_LARGEFILE: i32 = 0o100000;

/// Makes the pipe, fills it, and opens every description of it.
pub fn rebuild(rb: &mut Rebuilding, pipe: u32, members: &[ObjectId]) -> io::Result<()> {
    let set = rb.set;
    let buffer = &set.pipes[pipe as usize];
    if let Some(fifo) = buffer.fifo.as_ref().filter(|f| f.awaits_writer && buffer.content.is_empty()) {
        return open_readers(fifo, buffer.mode, members, rb);
    }
    let (reader, writer) = create(buffer, rb)?;
    if sys::fcntl(writer.as_raw_fd(), libc::F_GETPIPE_SZ, 0)? != buffer.size {
        let set_size = sys::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, buffer.size);
        if set_size.is_err() {
            rb.risk(format!(
                "pipe of {} bytes has the default size now (limit on pipe pages)",
                buffer.size
            ));
        }
    }
    refill(writer.as_raw_fd(), &buffer.content, buffer.packet_mode)?;
    // What pipe(2) made has not O_LARGEFILE, which every open adds.
    let mut made = if buffer.fifo.is_none() { vec![(libc::O_RDONLY, sys::dup(reader.as_raw_fd())?), (libc::O_WRONLY, writer)] } else { Vec::new() };
    for id in members {
        let flags = set.object(*id).flags;
        let as_made = made.iter().position(|m| m.0 == flags & (libc::O_ACCMODE | O_LARGEFILE));
        let fd = match as_made {
            Some(index) => made.remove(index).1,
            // Both ends are held here, so no open blocks.
            None => sys::reopen(reader.as_raw_fd(), flags & (libc::O_ACCMODE | libc::O_NONBLOCK | libc::O_APPEND))?,
        };
        rb.put(*id, fd)?;
    }
    match buffer.fifo {
        Some(_) => narrow(buffer.mode, reader.as_raw_fd()),
        None => set_mode(buffer.mode, reader.as_raw_fd()),
    }
    Ok(())
}

fn create(buffer: &PipeBuffer, rb: &Rebuilding) -> io::Result<(OwnedFd, OwnedFd)> {
    let Some(fifo) = &buffer.fifo else { return sys::pipe(0) };
    // Reading and writing at once never waits for the other end.
    let both = open_fifo(fifo, buffer.mode, libc::O_RDWR | libc::O_NONBLOCK, rb)?;
    let writer = sys::reopen(both.as_raw_fd(), libc::O_WRONLY | libc::O_NONBLOCK)?;
    Ok((both, writer))
}

/// No writer is there at any time, or the readers would see it hang up.
fn open_readers(fifo: &Fifo, mode: u32, members: &[ObjectId], rb: &mut Rebuilding) -> io::Result<()> {
    let first = open_fifo(fifo, mode, libc::O_RDONLY | libc::O_NONBLOCK, rb)?;
    for id in members {
        let fd = sys::reopen(first.as_raw_fd(), libc::O_RDONLY | libc::O_NONBLOCK)?;
        rb.put(*id, fd)?;
    }
    narrow(mode, first.as_raw_fd());
    Ok(())
}

/// One that was made again could be opened by us until now, whatever its mode.
fn narrow(mode: u32, fd: RawFd) {
    let widened = mode & USABLE != USABLE && sys::fstat(fd).is_ok_and(|now| now.st_mode & 0o7777 == mode | USABLE);
    if widened {
        set_mode(mode, fd);
    }
}

fn set_mode(mode: u32, fd: RawFd) {
    // SAFETY: numbers only.
    unsafe { libc::fchmod(fd, mode) };
}

/// Under its name, made again if it is gone. One that the program had unlinked gets a name for a moment.
fn open_fifo(fifo: &Fifo, mode: u32, flags: i32, rb: &Rebuilding) -> io::Result<OwnedFd> {
    let path = rb.map_path(&fifo.path);
    if fifo.deleted {
        let folder = path.parent().unwrap_or(Path::new("/"));
        let spare = sys::spare_name();
        let places = [path.clone(), folder.join(&spare), std::env::temp_dir().join(&spare)];
        let made = places.iter().find(|p| make_fifo(p, mode).is_ok());
        let place = made.ok_or_else(|| io::Error::other("no place to make an unlinked fifo again"))?;
        let opened = sys::open(place, flags, 0);
        std::fs::remove_file(place)?;
        return opened;
    }
    // EEXIST: it is still there.
    let _ = make_fifo(&path, mode);
    let fd = sys::open(&path, flags, 0)?;
    match sys::fstat(fd.as_raw_fd())?.st_mode & libc::S_IFMT {
        libc::S_IFIFO => Ok(fd),
        _ => Err(io::Error::other("the name is taken by something that is no fifo; move it away")),
    }
}

/// To be opened by its owner.
const USABLE: u32 = 0o600;

fn make_fifo(path: &Path, mode: u32) -> io::Result<()> {
    let name = sys::cstring(path)?;
    // SAFETY: a NUL-terminated path.
    sys::cvt(unsafe { libc::mkfifo(name.as_ptr(), mode) })?;
    // The umask is not the program's.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode | USABLE))
}
