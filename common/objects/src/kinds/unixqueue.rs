//! Messages waiting in a UNIX socket, read with MSG_PEEK at a moving SO_PEEK_OFF that is put back afterwards.

use crate::bytes::Bytes;
use crate::capture::Capturing;
use crate::model::ObjectId;
use crate::sock::{self, Cred};
use crate::sys;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{OwnedFd, RawFd};

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    pub data: Bytes,
    /// Descriptors on their way (SCM_RIGHTS).
    pub fds: Vec<ObjectId>,
    /// The sender's address, for datagrams.
    pub from: Bytes,
    /// The sender, where the socket asks for it (SO_PASSCRED).
    pub cred: Option<Cred>,
    /// One byte that was sent with MSG_OOB.
    pub urgent: bool,
}

/// SO_PEEK_OFF, put back when dropped.
pub struct PeekOffset {
    fd: RawFd,
    before: i32,
}

impl PeekOffset {
    pub fn start(fd: RawFd) -> io::Result<PeekOffset> {
        let before = sock::getsockopt_int(fd, libc::SOL_SOCKET, libc::SO_PEEK_OFF)?;
        let guard = PeekOffset { fd, before };
        guard.set(0)?;
        Ok(guard)
    }

    pub fn set(&self, offset: usize) -> io::Result<()> {
        sock::set_int(self.fd, libc::SOL_SOCKET, libc::SO_PEEK_OFF, offset as i32)
    }
}

impl Drop for PeekOffset {
    fn drop(&mut self) {
        // It was readable, so it can be set.
        let _ = sock::set_int(self.fd, libc::SOL_SOCKET, libc::SO_PEEK_OFF, self.before);
    }
}

pub fn peek(fd: RawFd, kind: i32, cx: &mut Capturing) -> io::Result<Vec<Queued>> {
    // An empty queue is not touched: a peek would consume a pending error.
    if sys::poll(fd, libc::POLLIN, 0)? & libc::POLLIN == 0 {
        return Ok(Vec::new());
    }
    let found = match kind {
        libc::SOCK_STREAM => peek_stream(fd)?,
        _ => peek_messages(fd)?,
    };
    let mut queue = Vec::with_capacity(found.len());
    for piece in found {
        let fds: io::Result<Vec<ObjectId>> = piece.fds.into_iter().map(|fd| cx.intern_in_flight(fd)).collect();
        queue.push(Queued {
            data: piece.data,
            fds: fds?,
            from: piece.from,
            cred: piece.cred,
            urgent: piece.urgent,
        });
    }
    Ok(queue)
}

struct Found {
    data: Bytes,
    from: Bytes,
    fds: Vec<OwnedFd>,
    cred: Option<Cred>,
    urgent: bool,
}

/// A peek ends behind a piece with descriptors; where that piece begins is searched, so that they arrive with the
/// same bytes.
fn peek_stream(fd: RawFd) -> io::Result<Vec<Found>> {
    let total = sys::readable_bytes(fd)?;
    let mut buffer = vec![0; total];
    let guard = PeekOffset::start(fd)?;
    let mut found: Vec<Found> = Vec::new();
    let mut at = 0;
    let mut urgent = sock::peek_urgent(fd);
    // An urgent byte that comes first is not there for a peek.
    let hidden = usize::from(urgent.is_some() && sock::at_mark(fd));
    while at < total {
        // A first peek ends at the urgent byte; from there on it counts like any other.
        if let Some(byte) = urgent.filter(|_| at > 0 || hidden > 0) {
            found.push(Found { data: [byte].as_slice().into(), from: Bytes::default(), fds: Vec::new(), cred: None, urgent: true });
            at += 1;
            urgent = None;
            continue;
        }
        guard.set(at - hidden)?;
        let message = sock::receive(fd, &mut buffer[at..], libc::MSG_PEEK)?;
        let end = at + message.len;
        if message.len == 0 {
            break;
        }
        let start = if message.fds.is_empty() {
            end
        } else {
            start_of_fds(fd, &guard, &mut buffer, at, end)?
        };
        if start > at {
            append(&mut found, &buffer[at..start], message.cred);
        }
        if end > start {
            found.push(Found {
                data: buffer[start..end].into(),
                from: Bytes::default(),
                fds: message.fds,
                cred: message.cred,
                urgent: false,
            });
        }
        at = end;
    }
    Ok(found)
}

fn append(found: &mut Vec<Found>, data: &[u8], cred: Option<Cred>) {
    match found.last_mut() {
        Some(last) if last.fds.is_empty() && last.cred == cred && !last.urgent => last.data.0.extend_from_slice(data),
        _ => found.push(Found {
            data: data.into(),
            from: Bytes::default(),
            fds: Vec::new(),
            cred,
            urgent: false,
        }),
    }
}

/// Where the piece with descriptors begins that ends at `end`. A peek reports them for whatever lies before as well,
/// so the last byte gets no memory: the kernel copies piece by piece and gives back only the whole ones.
fn start_of_fds(fd: RawFd, guard: &PeekOffset, buffer: &mut [u8], at: usize, end: usize) -> io::Result<usize> {
    guard.set(at)?;
    match sock::peek_but_last(fd, &mut buffer[at..end]) {
        Ok(before) => Ok(at + before),
        // The first piece itself did not fit.
        Err(e) if e.raw_os_error() == Some(libc::EFAULT) => Ok(at),
        Err(e) => Err(e),
    }
}

fn peek_messages(fd: RawFd) -> io::Result<Vec<Found>> {
    let guard = PeekOffset::start(fd)?;
    let mut found = Vec::new();
    let mut buffer = vec![0; 256 << 10];
    let mut at = 0;
    loop {
        guard.set(at)?;
        let message = match sock::receive(fd, &mut buffer, libc::MSG_PEEK) {
            Ok(message) => message,
            Err(e) if sock::would_block(&e) => return Ok(found),
            Err(e) => return Err(e),
        };
        if message.flags & libc::MSG_TRUNC != 0 {
            buffer.resize(buffer.len() * 4, 0);
            continue;
        }
        // The end of a sequence of packets whose writer has closed looks like an empty one.
        if message.len == 0 && at_end(fd)? {
            return Ok(found);
        }
        at += message.len;
        found.push(Found {
            data: buffer[..message.len].into(),
            from: message.from,
            fds: message.fds,
            cred: message.cred,
            urgent: false,
        });
        if found.len() > 1 << 20 {
            return Err(io::Error::other("the queue does not end"));
        }
    }
}

fn at_end(fd: RawFd) -> io::Result<bool> {
    Ok(sys::poll(fd, libc::POLLRDHUP, 0)? & (libc::POLLRDHUP | libc::POLLHUP) != 0)
}
