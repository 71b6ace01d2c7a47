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

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct PipeEnd {
    /// Index into `ObjectSet::pipes`.
    pub pipe: u32,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct PipeBuffer {
    pub ino: (u64, u64),
    pub size: i32,
    /// What a reader would get, one entry per packet in packet mode.
    pub content: Vec<Bytes>,
    pub fifo: Option<Fifo>,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Fifo {
    pub path: Bytes,
    pub deleted: bool,
    pub mode: u32,
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
        mode: probe.stat.st_mode & 0o7777,
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
    let content = if packets {
        content
    } else {
        vec![Bytes(content.into_iter().flat_map(|b| b.0).collect())]
    };
    cx.set.pipes[pipe as usize].content = content;
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
    // Opening a pipe with O_DIRECT is refused, setting it is not.
    let direct = if packets { libc::O_DIRECT } else { 0 };
    sys::fcntl(writer.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK | direct)?;
    let reader = sys::reopen(fd, libc::O_RDONLY | libc::O_NONBLOCK)?;
    let content = read_all(reader.as_raw_fd(), available)?;
    refill(writer.as_raw_fd(), &content)?;
    Ok(content)
}

fn refill(fd: RawFd, content: &[Bytes]) -> io::Result<()> {
    content.iter().try_for_each(|packet| sys::write_all(fd, packet))
}

/// Makes the pipe, fills it, and opens every description of it.
pub fn rebuild(rb: &mut Rebuilding, pipe: u32, members: &[ObjectId]) -> io::Result<()> {
    let set = rb.set;
    let buffer = &set.pipes[pipe as usize];
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
    let packets = buffer.content.len() > 1;
    let direct = if packets { libc::O_DIRECT } else { 0 };
    sys::fcntl(writer.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK | direct)?;
    refill(writer.as_raw_fd(), &buffer.content)?;
    for id in members {
        let flags = set.object(*id).flags & (libc::O_ACCMODE | libc::O_NONBLOCK | libc::O_APPEND);
        // Both ends are held here, so no open blocks.
        let fd = sys::reopen(reader.as_raw_fd(), flags)?;
        rb.put(*id, fd)?;
    }
    Ok(())
}

fn create(buffer: &PipeBuffer, rb: &Rebuilding) -> io::Result<(OwnedFd, OwnedFd)> {
    let Some(fifo) = &buffer.fifo else { return sys::pipe(0) };
    let path = rb.map_path(&fifo.path);
    let name = sys::cstring(&path)?;
    // SAFETY: a NUL-terminated path.
    let made = sys::cvt(unsafe { libc::mkfifo(name.as_ptr(), fifo.mode) }).is_ok();
    // Reading and writing at once never waits for the other end.
    let both = sys::open(&path, libc::O_RDWR | libc::O_NONBLOCK, 0)?;
    if sys::fstat(both.as_raw_fd())?.st_mode & libc::S_IFMT != libc::S_IFIFO {
        return Err(io::Error::other(
            "the name is taken by something that is no fifo; move it away",
        ));
    }
    if fifo.deleted && made {
        std::fs::remove_file(&path)?;
    }
    let writer = sys::reopen(both.as_raw_fd(), libc::O_WRONLY | libc::O_NONBLOCK)?;
    Ok((both, writer))
}
