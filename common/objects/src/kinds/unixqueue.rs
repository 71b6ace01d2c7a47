//! What waits in a UNIX socket, read with MSG_PEEK at a moving SO_PEEK_OFF that is put back afterwards.

use super::messages;
use crate::bytes::Bytes;
use crate::capture::Capturing;
use crate::model::ObjectId;
use crate::sock::{self, Cred, Turned};
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

/// A moving SO_PEEK_OFF, put back when dropped.
pub struct PeekOffset(Turned);

impl PeekOffset {
    pub fn start(fd: RawFd) -> io::Result<PeekOffset> {
        Turned::start(fd, libc::SOL_SOCKET, libc::SO_PEEK_OFF, 0).map(PeekOffset)
    }

    pub fn set(&self, offset: usize) -> io::Result<()> {
        self.0.set(offset as i32)
    }

    /// A peek shows what comes first, whatever it is.
    pub fn at_first(&self) -> io::Result<()> {
        self.0.set(-1)
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
    // With it an urgent byte is one of the others, and MSG_OOB is refused.
    let _apart = Turned::start(fd, libc::SOL_SOCKET, libc::SO_OOBINLINE, 0)?;
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
        let message = match sock::receive(fd, &mut buffer[at..], libc::MSG_PEEK) {
            // An urgent byte that a read has passed over is still counted.
            Err(e) if sock::would_block(&e) => break,
            message => message?,
        };
        let end = at + message.len;
        if message.len == 0 {
            break;
        }
        let start = if message.control.fds.is_empty() {
            end
        } else {
            start_of_fds(fd, &guard, &mut buffer, at, end)?
        };
        if start > at {
            append(&mut found, &buffer[at..start], message.control.cred);
        }
        if end > start {
            found.push(Found {
                data: buffer[start..end].into(),
                from: Bytes::default(),
                fds: message.control.fds,
                cred: message.control.cred,
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
    let messages = messages::peek(fd)?.into_iter();
    let found = |m: messages::Waiting| Found { data: m.data, from: m.from, fds: m.control.fds, cred: m.control.cred, urgent: false };
    Ok(messages.map(found).collect())
}
