//! UNIX connections again: who made a pair, who listened and who connected is remembered by the kernel.

use super::unix::{SocketFile, UnixState};
use super::unixrebuild::{bind, connect, sockets, Route};
use crate::bytes::Bytes;
use crate::rebuild::Rebuilding;
use crate::sock::{self, Cred};
use crate::sys;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};

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
    backlog: i32,
    cred: Option<Cred>,
}

fn listener(kind: i32, name: &Bytes, rb: &Rebuilding) -> Option<Listener> {
    let (id, state, backlog) = sockets(rb)
        .into_iter()
        .filter_map(|(id, s)| Some((id, s, s.listening?)))
        .find(|(_, s, _)| s.kind == kind && s.name == *name)?;
    Some(Listener {
        fd: rb.raw(id).ok()?,
        route: rb.unix.routes.get(&id)?.clone(),
        backlog,
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
        listen(at.fd, at.backlog, server.seen_as, rb)?;
    }
    connect_as(fd.as_raw_fd(), &at.route, client.seen_as, rb)?;
    let accepted = sock::accept(at.fd)?;
    if another && at.cred.is_some() {
        listen(at.fd, at.backlog, at.cred, rb)?;
    }
    Ok((fd, accepted))
}

pub fn connect_as(fd: RawFd, route: &Route, who: Option<Cred>, rb: &Rebuilding) -> io::Result<()> {
    rb.in_person(who, &|| connect(fd, route).map(|()| [fd; 2])).map(drop)
}

fn helper(kind: i32, server: End, rb: &mut Rebuilding) -> io::Result<Listener> {
    let key = (kind, server.name.clone());
    if !rb.unix.helpers.contains_key(&key) {
        let fd = sock::socket(libc::AF_UNIX, kind, 0)?;
        let route = bind(fd.as_raw_fd(), server.name, server.file, rb)?;
        sock::listen(fd.as_raw_fd(), 1)?;
        rb.unix.helpers.insert(key.clone(), (fd, route));
    }
    let (fd, route) = &rb.unix.helpers[&key];
    Ok(Listener {
        fd: fd.as_raw_fd(),
        route: route.clone(),
        backlog: 1,
        cred: None,
    })
}
