//! Data on connections that nobody has accepted yet. Only an accept can reach it, and nothing goes back into a
//! backlog but by a connect: so the whole backlog is accepted and read, and every client connects and sends again.
//! Done only where all those clients are ours, or were on this host and have closed: for them we call again.

use super::tcp::{place, Peer, Place, TcpState, CLOSE_WAIT};
use super::{tcpdata, tcpdiag, tcprebuild};
use crate::bytes::Bytes;
use crate::capture::Capturing;
use crate::model::{Kind, ObjectId};
use crate::sock::{self, Turned};
use crate::sys;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// A caller that had closed again; nobody can tell its new port from the old one.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Its place in the backlog.
    pub order: u32,
    pub target: Bytes,
    pub data: Bytes,
}

/// Listeners with unread data in their backlog, after refusing those that have clients from outside.
pub fn check(all: &[(ObjectId, TcpState)], cx: &mut Capturing) -> Vec<ObjectId> {
    let mut found = Vec::new();
    for (listener, state) in all.iter().filter(|s| s.1.waiting > 0) {
        let clients = clients_of(*listener, cx);
        let unread = |id: &ObjectId| matches!(cx.kind(*id), Some(Kind::Tcp(s)) if s.is_mute() || tcpdiag::unread_in_backlog(s).unwrap_or(false));
        let (unread, left) = (clients.iter().any(unread), left_behind(state, &clients, cx));
        // Who has closed without a word is not missed.
        let wanted = unread || left.iter().any(|l| l.data);
        if wanted && (clients.len() + left.len()) as u32 == state.waiting {
            found.push(*listener);
        } else if unread {
            cx.refuse_for_now(
                *listener,
                "unread data waits in its backlog beside clients from outside; try again when they are accepted",
            );
        }
    }
    found
}

/// Callers on this host that have closed.
fn left_behind(listener: &TcpState, clients: &[ObjectId], cx: &Capturing) -> Vec<tcpdiag::Closed> {
    let port = place(&listener.name).map_or(0, |p| p.1);
    let is_client = |caller: &Place| clients.iter().any(|id| matches!(cx.kind(*id), Some(Kind::Tcp(s)) if place(&s.name) == Some(*caller)));
    let mut left = tcpdiag::closed_callers(port).unwrap_or_default();
    left.retain(|l| l.local.0 == l.remote.0 && !is_client(&l.remote));
    left
}

fn clients_of(listener: ObjectId, cx: &Capturing) -> Vec<ObjectId> {
    let waits = |id: &ObjectId| matches!(cx.kind(*id), Some(Kind::Tcp(s)) if s.peer == Peer::Backlog(listener));
    cx.ids().filter(waits).collect()
}

/// Reads the backlog of a listener and makes it again; the data ends up with the clients' states.
pub fn drain(listener: ObjectId, cx: &mut Capturing) -> io::Result<()> {
    let clients = clients_of(listener, cx);
    let Some(Kind::Tcp(state)) = cx.kind(listener) else { return Ok(()) };
    let count = state.waiting as usize;
    let mut accepted = Vec::with_capacity(count);
    let mut result = accept_all(cx.probe(listener).fd, &clients, count, cx, &mut accepted);
    // Whatever was accepted goes back, also when a later step failed.
    for (order, (id, server)) in accepted.into_iter().enumerate() {
        let Some(id) = id else {
            let again = read_and_call(order as u32, server).map(|left| {
                if let Some(Kind::Tcp(state)) = cx.kind_mut(listener) {
                    state.left.push(left);
                }
            });
            result = result.and(again);
            continue;
        };
        let Some(Kind::Tcp(state)) = cx.kind(id) else { continue };
        let mut state = state.clone();
        let again = read_and_reconnect(cx.probe(id).fd, server, &mut state);
        state.backlog_order = order as u32;
        if let Some(Kind::Tcp(kept)) = cx.kind_mut(id) {
            *kept = state;
        }
        result = result.and(again);
    }
    result
}

fn accept_all(
    listener: RawFd,
    clients: &[ObjectId],
    count: usize,
    cx: &Capturing,
    accepted: &mut Vec<(Option<ObjectId>, OwnedFd)>,
) -> io::Result<()> {
    while accepted.len() < count {
        if sys::poll(listener, libc::POLLIN, 0)? & libc::POLLIN == 0 {
            return Err(io::Error::other("a waiting connection has gone"));
        }
        let server = sock::accept(listener)?;
        let from = place(&sock::peer_name(server.as_raw_fd())?);
        let is_from = |id: &&ObjectId| matches!(cx.kind(**id), Some(Kind::Tcp(s)) if place(&s.name) == from);
        match clients.iter().find(is_from) {
            Some(id) => accepted.push((Some(*id), server)),
            None if has_closed(server.as_raw_fd()) => accepted.push((None, server)),
            None => {
                return Err(io::Error::other(
                    "a client from outside was in the backlog and is cut off",
                ))
            }
        }
    }
    Ok(())
}

fn has_closed(server: RawFd) -> bool {
    sock::getsockopt(server, libc::IPPROTO_TCP, libc::TCP_INFO).is_ok_and(|info| info.first() == Some(&CLOSE_WAIT))
}

fn read_and_call(order: u32, server: OwnedFd) -> io::Result<Left> {
    let data = tcpdata::collect(server.as_raw_fd(), None)?.bytes;
    let left = Left { order, target: sock::local_name(server.as_raw_fd())?, data: Bytes(data) };
    drop(server);
    call(&left).map(|()| left)
}

/// Connects, says what it had said, and closes.
pub fn call(left: &Left) -> io::Result<()> {
    let family = i32::from(sys::from_bytes::<u16>(&left.target));
    let caller = sock::socket(family, libc::SOCK_STREAM, 0)?;
    tcprebuild::connect(caller.as_raw_fd(), &left.target)?;
    tcpdata::put_back(caller.as_raw_fd(), &left.data)
}

fn read_and_reconnect(client: RawFd, server: OwnedFd, state: &mut TcpState) -> io::Result<()> {
    let data = tcpdata::collect(server.as_raw_fd(), Some((client, state.is_mute())));
    let data = data?.bytes;
    disconnect(client)?;
    drop(server);
    let target = state.peer_name.clone().ok_or(io::ErrorKind::NotConnected)?;
    reconnect(client, &state.name, &target)?;
    tcpdata::put_back(client, &data)?;
    if state.is_mute() {
        sock::shutdown(client, libc::SHUT_WR)?;
    }
    state.unaccepted = Bytes(data);
    Ok(())
}

/// connect(AF_UNSPEC) makes a fresh socket of it, options kept; the reset it reports is our own.
fn disconnect(client: RawFd) -> io::Result<()> {
    sock::connect(client, &[0; 16])?;
    sock::getsockopt_int(client, libc::SOL_SOCKET, libc::SO_ERROR).map(drop)
}

fn reconnect(client: RawFd, name: &Bytes, target: &Bytes) -> io::Result<()> {
    let narrow = |port| Turned::start(client, libc::IPPROTO_IP, sock::IP_LOCAL_PORT_RANGE, port);
    let connected = tcprebuild::only_port_of(name).and_then(narrow).and_then(|_narrow| tcprebuild::connect(client, target));
    connected.or_else(|_| {
        rebind(client, name)?;
        tcprebuild::connect(client, target)
    })
}

/// A port that `connect` chose was given back; one that the program bound is still held (EINVAL).
fn rebind(client: RawFd, name: &Bytes) -> io::Result<()> {
    let reuse = sock::getsockopt_int(client, libc::SOL_SOCKET, libc::SO_REUSEADDR)?;
    sock::set_int(client, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    let bound = sock::bind(client, name);
    sock::set_int(client, libc::SOL_SOCKET, libc::SO_REUSEADDR, reuse)?;
    match bound {
        Err(e) if e.raw_os_error() != Some(libc::EINVAL) => Err(e),
        _ => Ok(()),
    }
}

/// After a restart: what the client had sent before it was accepted.
pub fn refill(client: RawFd, state: &TcpState) -> io::Result<()> {
    match state.peer {
        Peer::Backlog(_) if !state.unaccepted.is_empty() => tcpdata::put_back(client, &state.unaccepted),
        _ => Ok(()),
    }
}
