//! UNIX connections again: who made a pair, who listened and who connected is remembered by the kernel.

use super::unix::{path_of, SocketFile, UnixState};
use super::unixrebuild::{bind, connect, sockets, Route};
use crate::bytes::Bytes;
use crate::rebuild::Rebuilding;
use crate::sock::{self, Cred};
use crate::sys;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};

/// The backlog of a listener until all is connected: strangers may take room in it.
pub const WIDE: i32 = i32::MAX;

pub fn listen(fd: RawFd, backlog: i32, who: Option<Cred>, rb: &Rebuilding) -> io::Result<()> {
    rb.in_person(who, &|| sock::listen(fd, backlog).map(|()| [fd; 2])).map(drop)
}

pub fn socketpair(state: &UnixState, rb: &Rebuilding) -> io::Result<(OwnedFd, OwnedFd)> {
    let made = rb.in_person(state.peer_cred, &|| {
        let (a, b) = sock::socketpair(state.kind)?;
        Ok([a.into_raw_fd(), b.into_raw_fd()])
    });
    let [a, b] = made?;
    Ok((sys::own(a)?, sys::own(b)?))
}

/// One end gets its name from the listener it was accepted from, the other from a bind of its own.
pub fn pair(state: &UnixState, other: Option<&UnixState>, rb: &mut Rebuilding) -> io::Result<(OwnedFd, OwnedFd)> {
    let ours = End {
        name: &state.name,
        file: state.file.as_ref(),
        seen_as: other.and_then(|o| o.peer_cred),
    };
    let theirs = End {
        name: other.map_or(&state.peer_name, |o| &o.name),
        file: other.and_then(|o| o.file.as_ref()),
        seen_as: state.peer_cred,
    };
    if !ours.is_named() && !theirs.is_named() {
        return socketpair(state, rb);
    }
    let we_accept = match (ours.is_named(), theirs.is_named()) {
        (true, true) => listener(state.kind, ours.name, rb).is_some(),
        (named, _) => named,
    };
    if we_accept {
        let (client, server) = dial(state.kind, ours, theirs, rb)?;
        return Ok((server, client));
    }
    dial(state.kind, theirs, ours, rb)
}

/// One end of a connection to be.
#[derive(Clone, Copy)]
struct End<'a> {
    name: &'a Bytes,
    file: Option<&'a SocketFile>,
    /// What the other end says who it is.
    seen_as: Option<Cred>,
}

impl End<'_> {
    fn is_named(&self) -> bool {
        self.name.len() > 2
    }
}

struct Listener {
    fd: RawFd,
    route: Route,
    cred: Option<Cred>,
}

fn listener(kind: i32, name: &Bytes, rb: &Rebuilding) -> Option<Listener> {
    let (id, state) = sockets(rb).into_iter().find(|(_, s)| s.listening.is_some() && s.kind == kind && s.name == *name)?;
    Some(Listener {
        fd: rb.raw(id).ok()?,
        route: rb.unix.routes.get(&id)?.clone(),
        cred: state.peer_cred,
    })
}

/// Client and accepted socket.
fn dial(kind: i32, server: End, client: End, rb: &mut Rebuilding) -> io::Result<(OwnedFd, OwnedFd)> {
    let at = match listener(kind, server.name, rb) {
        Some(found) => found,
        None => helper(kind, server, rb)?,
    };
    let fd = sock::socket(libc::AF_UNIX, kind, 0)?;
    if client.is_named() {
        bind(fd.as_raw_fd(), client.name, client.file, rb)?;
    }
    // The client sees who listened last.
    let another = server.seen_as.is_some() && server.seen_as != at.cred;
    if another {
        listen(at.fd, WIDE, server.seen_as, rb)?;
    }
    connect_as(fd.as_raw_fd(), &at.route, client.seen_as, rb)?;
    let accepted = accept_from(fd.as_raw_fd(), &at, server.name, rb)?;
    if another && at.cred.is_some() {
        listen(at.fd, WIDE, at.cred, rb)?;
    }
    Ok((fd, accepted))
}

/// An abstract name cannot be hidden: whoever else got in there finds the connection closed.
fn accept_from(client: RawFd, at: &Listener, name: &Bytes, rb: &mut Rebuilding) -> io::Result<OwnedFd> {
    let wanted = sys::fstat(client)?.st_ino as u32;
    loop {
        let accepted = sock::accept(at.fd)?;
        if path_of(name).is_some() {
            return Ok(accepted);
        }
        let peer = rb.unix.diag.ask(sys::fstat(accepted.as_raw_fd())?.st_ino as u32)?.peer;
        if peer == Some(wanted) {
            return Ok(accepted);
        }
    }
}

pub fn connect_as(fd: RawFd, route: &Route, who: Option<Cred>, rb: &Rebuilding) -> io::Result<()> {
    rb.in_person(who, &|| connect(fd, route).map(|()| [fd; 2])).map(drop)
}

fn helper(kind: i32, server: End, rb: &mut Rebuilding) -> io::Result<Listener> {
    let key = (kind, server.name.clone());
    if !rb.unix.helpers.contains_key(&key) {
        let fd = sock::socket(libc::AF_UNIX, kind, 0)?;
        let route = bind(fd.as_raw_fd(), server.name, server.file, rb)?;
        sock::listen(fd.as_raw_fd(), WIDE)?;
        rb.unix.helpers.insert(key.clone(), (fd, route));
    }
    let (fd, route) = &rb.unix.helpers[&key];
    Ok(Listener {
        fd: fd.as_raw_fd(),
        route: route.clone(),
        cred: None,
    })
}
