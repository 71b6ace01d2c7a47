//! Whole messages that wait in a socket, read with MSG_PEEK. To a peek at an offset the kernel shows an empty message
//! once, and from then on only as the first of all. So those that were met are remembered until they are read, and each
//! message is told by its time, which stays with it when it was asked for once.

use super::unixqueue::PeekOffset;
use crate::bytes::Bytes;
use crate::sock::{self, Control, SO_TIMESTAMPING_NEW, SO_TIMESTAMPNS_NEW, SO_TIMESTAMP_NEW};
use crate::sys;
use std::collections::HashMap;
use std::io;
use std::os::fd::RawFd;
use std::sync::{Mutex, PoisonError};

pub struct Waiting {
    pub data: Bytes,
    pub from: Bytes,
    pub control: Control,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.data.is_empty()
    }
}

/// A message that an earlier checkpoint has met.
struct Met {
    stamp: Option<[i64; 2]>,
    empty: Option<Empty>,
}

struct Empty {
    from: Bytes,
    cred: Option<sock::Cred>,
    to: Bytes,
    has_fds: bool,
}

/// The queues of the last checkpoint with empty messages in them, by the socket's inode.
static MET: Mutex<Option<HashMap<u64, Vec<Met>>>> = Mutex::new(None);

/// The queue must not be empty: a peek would take away a pending error.
pub fn peek(fd: RawFd) -> io::Result<Vec<Waiting>> {
    let _stamps = Stamps::start(fd)?;
    let offset = PeekOffset::start(fd)?;
    let mut buffer = vec![0; 256 << 10];
    offset.at_first()?;
    let first = next(fd, &mut buffer)?;
    let mut visible = Vec::new();
    let mut at = 0;
    loop {
        offset.set(at)?;
        let Some(message) = next(fd, &mut buffer)? else { break };
        at += message.data.len();
        visible.push(message);
        if visible.len() > 1 << 20 {
            return Err(io::Error::other("the queue does not end"));
        }
    }
    let ino = sys::fstat(fd)?.st_ino;
    let mut met = MET.lock().unwrap_or_else(PoisonError::into_inner);
    let met = met.get_or_insert_default();
    let found = merge(first, visible, met.remove(&ino).unwrap_or_default())?;
    if found.iter().any(Waiting::is_empty) {
        met.insert(ino, found.iter().map(remember).collect());
    }
    Ok(found)
}

/// What was met and is still there comes before all else. Of it the peek shows what is not empty.
fn merge(first: Option<Waiting>, visible: Vec<Waiting>, met: Vec<Met>) -> io::Result<Vec<Waiting>> {
    let Some(first) = first else { return Ok(Vec::new()) };
    let mut visible = visible.into_iter();
    let mut found = Vec::new();
    match met.iter().position(|m| m.stamp == first.control.stamp) {
        Some(start) => {
            for old in met.into_iter().skip(start) {
                match old.empty {
                    Some(empty) => found.push(again(old.stamp, empty)?),
                    None => found.extend(visible.next()),
                }
            }
        }
        None if first.is_empty() => found.push(first),
        None => {}
    }
    found.extend(visible);
    Ok(found)
}

fn again(stamp: Option<[i64; 2]>, empty: Empty) -> io::Result<Waiting> {
    if empty.has_fds {
        return Err(io::Error::other("an empty message that brings descriptors can be looked at only once; try again when it is read"));
    }
    let control = Control { stamp, cred: empty.cred, to: empty.to, ..Control::default() };
    Ok(Waiting { data: Bytes::default(), from: empty.from, control })
}

fn remember(message: &Waiting) -> Met {
    let empty = || Empty {
        from: message.from.clone(),
        cred: message.control.cred,
        to: message.control.to.clone(),
        has_fds: !message.control.fds.is_empty(),
    };
    Met { stamp: message.control.stamp, empty: message.is_empty().then(empty) }
}

/// None: there is no more.
fn next(fd: RawFd, buffer: &mut Vec<u8>) -> io::Result<Option<Waiting>> {
    loop {
        let message = match sock::receive(fd, buffer, libc::MSG_PEEK) {
            Ok(message) => message,
            Err(e) if sock::would_block(&e) => return Ok(None),
            Err(e) => return Err(e),
        };
        if message.flags & libc::MSG_TRUNC != 0 {
            buffer.resize(buffer.len() * 4, 0);
            continue;
        }
        let data = buffer[..message.len].into();
        // The end of a sequence of packets whose writer has closed looks like an empty one, but never came.
        let came = message.control.stamp.is_some();
        return Ok(came.then_some(Waiting { data, from: message.from, control: message.control }));
    }
}

/// Every message says when it came, in ns; put back when dropped.
struct Stamps {
    fd: RawFd,
    name: i32,
    before: Option<i32>,
}

impl Stamps {
    fn start(fd: RawFd) -> io::Result<Stamps> {
        let on = |name: &i32| sock::getsockopt_int(fd, libc::SOL_SOCKET, *name).is_ok_and(|v| v != 0);
        let before = [libc::SO_TIMESTAMP, libc::SO_TIMESTAMPNS, SO_TIMESTAMP_NEW, SO_TIMESTAMPNS_NEW].into_iter().find(on);
        // Old and new is one setting for all of these.
        let new = matches!(before, Some(SO_TIMESTAMP_NEW | SO_TIMESTAMPNS_NEW)) || on(&SO_TIMESTAMPING_NEW);
        let name = if new { SO_TIMESTAMPNS_NEW } else { libc::SO_TIMESTAMPNS };
        sock::set_int(fd, libc::SOL_SOCKET, name, 1)?;
        Ok(Stamps { fd, name, before })
    }
}

impl Drop for Stamps {
    fn drop(&mut self) {
        let (name, value) = self.before.map_or((self.name, 0), |before| (before, 1));
        let _ = sock::set_int(self.fd, libc::SOL_SOCKET, name, value);
    }
}
