//! UNIX connections that wait to be accepted, and what was sent on them. Only an accept shows that, and nothing goes
//! back into a backlog but by a connect. So a *stand-in* takes the place of what was accepted: a connection of ours
//! with one message, which holds the real one. The hook of accept(2) takes it out (`preload/src/hooks/accept.rs`).

use super::unix::{path_of, Info, SocketFile, UnixState};
use super::unixdial::connect_as;
use super::unixqueue::{self, Queued};
use super::unixrebuild::{address_of, bind, in_flight, put_back};
use crate::bytes::Bytes;
use crate::capture::Capturing;
use crate::model::{Kind, ObjectId};
use crate::rebuild::Rebuilding;
use crate::sock::{self, Cred, Stage};
use crate::sys;
use ckpt_sys::stand_in;
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// None: it has closed its end, or is outside.
    pub client: Option<ObjectId>,
    /// The client's name.
    pub from: Bytes,
    pub cred: Option<Cred>,
    pub queue: Vec<Queued>,
}

/// A listener as it was met.
pub struct Listener<'a> {
    pub id: ObjectId,
    pub fd: RawFd,
    pub kind: i32,
    pub name: &'a Bytes,
    pub file: Option<&'a SocketFile>,
}

/// Who waits, in order. `info.pending` names the clients afterwards, 0 for one that is gone.
pub fn capture(at: &Listener, info: &mut Info, cx: &mut Capturing) -> io::Result<Vec<Waiting>> {
    if !has_unread(info, cx)? {
        return Ok(vec![Waiting::default(); info.pending.len()]);
    }
    if cx.set.holders(at.id).any(makes_its_own_calls) {
        cx.refuse_for_now(at.id, "what a client sent before it was accepted cannot be handed back to a Go program; try again when it is accepted");
        return Ok(Vec::new());
    }
    let Some(door) = Door::find(at, info) else {
        cx.refuse_for_now(at.id, "what a client sent before it was accepted cannot be put back, since its name is gone; try again when it is accepted");
        return Ok(Vec::new());
    };
    let mut accepted = Vec::new();
    let found = accept_all(at.fd, info.pending.len(), &mut accepted).and_then(|()| {
        info.pending.clear();
        accepted.iter().map(|fd| read(fd.as_raw_fd(), at.kind, info, cx)).collect()
    });
    // Whatever was accepted goes back, also when a later step failed.
    let back = accepted.iter().map(|fd| stand_in_for(fd.as_raw_fd(), at, &door, info.backlog));
    back.fold(Ok(()), io::Result::and).and(found)
}

/// A client that is gone may have sent something; the kernel says of others what they sent.
fn has_unread(info: &Info, cx: &mut Capturing) -> io::Result<bool> {
    for client in &info.pending {
        if *client == 0 || cx.unix.ask(*client).map_or(true, |c| c.unread_by_peer > 0) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Go goes round libc, and so round the hook. Its binaries begin with a note of its own.
fn makes_its_own_calls(pid: i32) -> bool {
    const NOTE: &[u8] = b"\x04\0\0\0Go\0\0";
    let mut head = [0; 8192];
    let read = std::fs::File::open(format!("/proc/{pid}/exe")).and_then(|mut f| f.read(&mut head));
    head[..read.unwrap_or(0)].windows(NOTE.len()).any(|w| w == NOTE)
}

fn accept_all(listener: RawFd, count: usize, accepted: &mut Vec<OwnedFd>) -> io::Result<()> {
    while accepted.len() < count {
        if sys::poll(listener, libc::POLLIN, 0)? & libc::POLLIN == 0 {
            return Err(io::Error::other("a waiting connection has gone"));
        }
        let fd = sock::accept(listener)?;
        accepted.push(real(&fd)?.unwrap_or(fd));
    }
    Ok(())
}

/// What a stand-in of an earlier checkpoint holds.
fn real(fd: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    if !stand_in::is_name(&sock::peer_name(fd.as_raw_fd())?) {
        return Ok(None);
    }
    Ok(sock::receive(fd.as_raw_fd(), &mut [0], libc::MSG_PEEK)?.control.fds.pop())
}

fn read(fd: RawFd, kind: i32, info: &mut Info, cx: &mut Capturing) -> io::Result<Waiting> {
    let peer = cx.unix.ask(sys::fstat(fd)?.st_ino as u32)?.peer;
    info.pending.push(peer.unwrap_or(0));
    Ok(Waiting {
        client: None,
        from: sock::peer_name(fd)?,
        cred: sock::peer_cred(fd),
        queue: unixqueue::peek(fd, kind, cx)?,
    })
}

/// How to connect to a listener.
struct Door {
    address: Bytes,
    /// What the address goes by.
    _file: Option<OwnedFd>,
}

impl Door {
    fn find(at: &Listener, info: &Info) -> Option<Door> {
        const SIOCUNIXFILE: u64 = 0x89e0;
        let Some(path) = path_of(at.name) else {
            return (at.name.len() > 2).then(|| Door { address: at.name.clone(), _file: None });
        };
        let by_name = || {
            let file = at.file.filter(|f| f.linked)?;
            let place = file.moved.clone().map_or_else(|| file.folder.as_path().join(Bytes::from(path).as_path()), |m| m.as_path().to_path_buf());
            sys::open(&place, libc::O_PATH | libc::O_NOFOLLOW, 0).ok()
        };
        // With CAP_NET_ADMIN the kernel names it, even where it is unlinked.
        let asked = sys::ioctl_value(at.fd, SIOCUNIXFILE, 0).and_then(sys::own).ok();
        let file = asked.or_else(by_name)?;
        let is_it = sys::fstat(file.as_raw_fd()).is_ok_and(|s| info.vfs.is_some_and(|(ino, _)| u64::from(ino) == s.st_ino & 0xffff_ffff));
        let link = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        (is_it && may_write(&link)).then(|| Door { address: address_of(&link), _file: Some(file) })
    }
}

fn may_write(path: &Path) -> bool {
    // SAFETY: a NUL-terminated path.
    sys::cstring(path).is_ok_and(|p| unsafe { libc::access(p.as_ptr(), libc::W_OK) } == 0)
}

fn stand_in_for(fd: RawFd, at: &Listener, door: &Door, backlog: u32) -> io::Result<()> {
    let ours = sock::socket(libc::AF_UNIX, at.kind | libc::SOCK_NONBLOCK, 0)?;
    sock::bind(ours.as_raw_fd(), &stand_in::name(sys::fstat(ours.as_raw_fd())?.st_ino))?;
    if let Err(e) = sock::connect(ours.as_raw_fd(), &door.address) {
        if !sock::would_block(&e) {
            return Err(e);
        }
        // Clients from outside have taken the room.
        sock::listen(at.fd, i32::MAX)?;
        let connected = sock::connect(ours.as_raw_fd(), &door.address);
        sock::listen(at.fd, backlog as i32)?;
        connected?;
    }
    sock::send(ours.as_raw_fd(), b"x", None, &[fd]).map(drop)
}

/// After a restart: clients wait again, in the same order.
pub fn rebuild(id: ObjectId, state: &UnixState, rb: &mut Rebuilding) -> io::Result<()> {
    if state.pending.is_empty() {
        return Ok(());
    }
    let set = rb.set;
    // What is accepted takes SO_PASSCRED and its like from the listener when it is connected.
    state.options.apply(rb.raw(id)?, Stage::Late);
    for waiting in &state.pending {
        let client = waiting.client.and_then(|c| match &set.object(c).kind {
            Kind::Unix(other) => Some((c, other.as_ref())),
            _ => None,
        });
        let fd = sock::socket(libc::AF_UNIX, state.kind | libc::SOCK_NONBLOCK, 0)?;
        let (name, file) = client.map_or((&waiting.from, None), |(_, other)| (&other.name, other.file.as_ref()));
        if let Some((_, other)) = client {
            other.options.apply(fd.as_raw_fd(), Stage::Early);
        }
        if name.len() > 2 {
            bind(fd.as_raw_fd(), name, file, rb)?;
        }
        let route = rb.unix.routes.get(&id).cloned().ok_or_else(|| io::Error::other("the listener has no name"))?;
        let holder = waiting.client.and_then(|c| set.holder(c));
        let who = waiting.cred.or(holder.map(|(pid, _)| Cred { pid, uid: u32::MAX, gid: u32::MAX }));
        connect_as(fd.as_raw_fd(), &route, who, rb)?;
        match client {
            Some((client, _)) => rb.put(client, fd)?,
            None => rb.unix.gone.push(fd),
        }
    }
    Ok(())
}

/// What they had sent; those that are gone close their ends again.
pub fn refill(state: &UnixState, rb: &mut Rebuilding) -> io::Result<()> {
    for waiting in &state.pending {
        let gone = waiting.client.is_none().then(|| rb.unix.gone.remove(0));
        let writer = match (&gone, waiting.client) {
            (None, Some(client)) => rb.raw(client)?,
            (gone, _) => gone.as_ref().map_or(-1, |fd| fd.as_raw_fd()),
        };
        for message in &waiting.queue {
            let fds = in_flight(message, rb);
            rb.in_person(message.cred, &|| put_back(writer, state.kind, message, &fds).map(|()| [writer; 2]))?;
        }
    }
    Ok(())
}
