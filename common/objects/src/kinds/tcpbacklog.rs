//! Data on connections that nobody has accepted yet. Only an accept can reach it, and nothing goes back into a
//! backlog but by a connect: so the whole backlog is accepted and read, and every client connects and sends again.
//! Done only where all those clients are ours.

use super::tcp::{place, Peer, TcpState};
use super::{tcpdata, tcpdiag, tcprebuild};
use crate::bytes::Bytes;
use crate::capture::Capturing;
use crate::model::{Kind, ObjectId};
use crate::sock;
use crate::sys;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// Listeners with unread data in their backlog, after refusing those that have clients from outside.
pub fn check(all: &[(ObjectId, TcpState)], cx: &mut Capturing) -> Vec<ObjectId> {
    let mut found = Vec::new();
    for (listener, state) in all.iter().filter(|s| s.1.waiting > 0) {
        let clients = clients_of(*listener, cx);
        let unread = |id: &ObjectId| matches!(cx.kind(*id), Some(Kind::Tcp(s)) if s.is_mute() || tcpdiag::unread_in_backlog(s).unwrap_or(false));
        if !clients.iter().any(unread) {
            continue;
        }
        if clients.len() as u32 == state.waiting {
            found.push(*listener);
        } else {
            cx.refuse_for_now(
                *listener,
                "unread data waits in its backlog beside clients from outside; try again when they are accepted",
            );
        }
    }
    found
}

fn clients_of(listener: ObjectId, cx: &Capturing) -> Vec<ObjectId> {
    let waits = |id: &ObjectId| matches!(cx.kind(*id), Some(Kind::Tcp(s)) if s.peer == Peer::Backlog(listener));
    cx.ids().filter(waits).collect()
}

/// Reads the backlog of a listener and makes it again; the data ends up with the clients' states.
pub fn drain(listener: ObjectId, cx: &mut Capturing) -> io::Result<()> {
    let clients = clients_of(listener, cx);
    let mut accepted: Vec<(ObjectId, OwnedFd)> = Vec::new();
    let mut result = accept_all(cx.probe(listener).fd, &clients, cx, &mut accepted);
    // Whatever was accepted goes back, also when a later step failed.
    for (order, (id, server)) in accepted.into_iter().enumerate() {
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
    cx: &Capturing,
    accepted: &mut Vec<(ObjectId, OwnedFd)>,
) -> io::Result<()> {
    while accepted.len() < clients.len() {
        if sys::poll(listener, libc::POLLIN, 0)? & libc::POLLIN == 0 {
            return Err(io::Error::other("a waiting connection has gone"));
        }
        let server = sock::accept(listener)?;
        let from = place(&sock::peer_name(server.as_raw_fd())?);
        let is_from = |id: &&ObjectId| matches!(cx.kind(**id), Some(Kind::Tcp(s)) if place(&s.name) == from);
        match clients.iter().find(is_from) {
            Some(id) => accepted.push((*id, server)),
            None => {
                return Err(io::Error::other(
                    "a client from outside was in the backlog and is cut off",
                ))
            }
        }
    }
    Ok(())
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
    let connected = tcprebuild::narrow(client, name).and_then(|()| tcprebuild::connect(client, target));
    tcprebuild::widen_range(client);
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
