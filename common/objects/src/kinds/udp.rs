//! UDP (and ping) sockets: name, peer, options; waiting datagrams by MSG_PEEK, sent again at restart.

use super::multicast::{self, Membership};
use super::tcp::place;
use super::tcprebuild::in_domain;
use super::udphold;
use super::unixqueue::PeekOffset;
use crate::bytes::Bytes;
use crate::model::{Kind, ObjectId};
use crate::probe::Probe;
use crate::rebuild::Rebuilding;
use crate::sock::{self, Options, Stage};
use crate::sys;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct UdpState {
    pub domain: i32,
    pub protocol: i32,
    pub name: Bytes,
    pub peer: Option<Bytes>,
    /// `(data, sender)`.
    pub queue: Vec<(Bytes, Bytes)>,
    pub groups: Vec<Membership>,
    /// UDP_CORK; set again when everything else is as it was.
    pub corked: bool,
    /// An error waits (SO_ERROR): nobody listened where it is connected to.
    pub refused: bool,
    pub holds_back: bool,
    /// What it holds back.
    pub held: Option<Bytes>,
    pub options: Options,
}

pub fn capture(probe: &Probe, domain: i32, protocol: i32) -> io::Result<UdpState> {
    let mut options = Options::read(probe.fd, domain, protocol);
    let corked = options.get(protocol, libc::UDP_CORK).unwrap_or(0) != 0;
    options.forget(protocol, libc::UDP_CORK);
    let mut state = UdpState {
        domain,
        protocol,
        name: sock::local_name(probe.fd)?,
        peer: sock::peer_name(probe.fd).ok(),
        queue: peek(probe.fd)?,
        groups: multicast::capture(probe.fd, domain),
        corked,
        refused: sys::poll(probe.fd, 0, 0)? & libc::POLLERR != 0,
        holds_back: false,
        held: None,
        options,
    };
    state.holds_back = udphold::holds_back(probe.fd, &state);
    Ok(state)
}

fn peek(fd: RawFd) -> io::Result<Vec<(Bytes, Bytes)>> {
    let mut queue = Vec::new();
    if sys::poll(fd, libc::POLLIN, 0)? & libc::POLLIN == 0 {
        return Ok(queue);
    }
    let guard = PeekOffset::start(fd)?;
    let mut buffer = vec![0; 65536];
    let mut at = 0;
    loop {
        guard.set(at)?;
        match sock::receive(fd, &mut buffer, libc::MSG_PEEK) {
            Ok(message) => {
                at += message.len;
                queue.push((buffer[..message.len].into(), message.from));
            }
            Err(e) if sock::would_block(&e) => return Ok(queue),
            Err(e) => return Err(e),
        }
    }
}

pub fn port(name: &[u8]) -> u16 {
    name.get(2..4).map_or(0, |p| u16::from_be_bytes([p[0], p[1]]))
}

pub fn rebuild(state: &UdpState, rb: &mut Rebuilding) -> io::Result<OwnedFd> {
    let fd = sock::socket(state.domain, libc::SOCK_DGRAM, state.protocol)?;
    let raw = fd.as_raw_fd();
    state.options.apply(raw, Stage::Early);
    if port(&state.name) != 0 {
        bind(raw, state, rb)?;
    }
    if let Err(e) = multicast::join(raw, &state.groups) {
        rb.risk(format!("a UDP socket could not join its multicast group again: {e}"));
    }
    if state.queue.is_empty() {
        finish(raw, state, rb);
    }
    Ok(fd)
}

fn bind(fd: RawFd, state: &UdpState, rb: &mut Rebuilding) -> io::Result<()> {
    let Err(error) = sock::bind(fd, &state.name) else {
        return Ok(());
    };
    match error.raw_os_error() {
        // A client's source address on another host: the port is what counts.
        Some(libc::EADDRNOTAVAIL) if state.peer.is_some() => {
            rb.risk("a UDP socket keeps its port but not its address, which this host does not have".into());
            let mut any = state.name.0.clone();
            let address = if state.domain == libc::AF_INET { 4..8 } else { 8..24 };
            any[address].fill(0);
            sock::bind(fd, &any)
        }
        _ => Err(io::Error::other(format!(
            "UDP port {}: {error}; free it and try again",
            port(&state.name)
        ))),
    }
}

/// A connected socket takes datagrams from its peer only, so this follows the refill.
fn finish(fd: RawFd, state: &UdpState, rb: &mut Rebuilding) {
    if let Some(peer) = &state.peer {
        if let Err(e) = sock::connect(fd, peer) {
            rb.risk(format!("a UDP socket could not be connected again: {e}"));
        }
    }
    state.options.apply(fd, Stage::Late);
    state.options.apply(fd, Stage::Last);
}

pub fn refill(rb: &mut Rebuilding) -> Result<(), (ObjectId, io::Error)> {
    let set = rb.set;
    for (id, object) in set.ids() {
        let Kind::Udp(state) = &object.kind else { continue };
        if state.queue.is_empty() {
            continue;
        }
        let fd = rb.raw(id).map_err(|e| (id, e))?;
        let lost = state
            .queue
            .iter()
            .filter(|(data, from)| deliver(fd, data, from, state, rb).is_err())
            .count();
        if lost > 0 {
            rb.risk(format!(
                "{}: {lost} datagrams from senders elsewhere are lost",
                rb.name(id)
            ));
        }
        finish(fd, state, rb);
    }
    hold_back(rb)
}

/// A corked socket sends nothing, so this comes last.
fn hold_back(rb: &mut Rebuilding) -> Result<(), (ObjectId, io::Error)> {
    for (id, object) in rb.set.ids() {
        let Kind::Udp(state) = &object.kind else { continue };
        let fd = rb.raw(id).map_err(|e| (id, e))?;
        if state.refused {
            if let Err(e) = udphold::be_refused(fd, state) {
                rb.risk(format!("{}: an error that waited in it is lost: {e}", rb.name(id)));
            }
        }
        udphold::begin(fd, state, state.held.as_ref()).map_err(|e| (id, e))?;
    }
    Ok(())
}

fn deliver(fd: RawFd, data: &Bytes, from: &Bytes, state: &UdpState, rb: &Rebuilding) -> io::Result<()> {
    let mut to = sock::local_name(fd)?.0;
    fill_loopback(&mut to, from);
    let ours = rb.set.ids().find_map(|(id, o)| match &o.kind {
        Kind::Udp(sender) if port(&sender.name) == port(from) => Some((rb.raw(id).ok()?, sender.domain)),
        _ => None,
    });
    // One of IPv4 may be connected to one of IPv6.
    let free = |s: RawFd| sock::peer_name(s).map_or(true, |p| place(&p) == place(&to));
    let stand_in = sock::socket(state.domain, libc::SOCK_DGRAM, state.protocol)?;
    let sender = match ours.filter(|s| free(s.0)) {
        Some((sender, domain)) => {
            to = in_domain(&Bytes(to), domain).0;
            sender
        }
        None => {
            let stand_in = stand_in.as_raw_fd();
            sock::set_int(stand_in, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
            sock::set_int(stand_in, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
            sock::bind(stand_in, from)?;
            stand_in
        }
    };
    sock::send(sender, data, Some(&to), &[]).map(drop)
}

/// A socket bound to any address is reached at the sender's.
fn fill_loopback(to: &mut [u8], from: &[u8]) {
    let address = if to.len() > 16 { 8..24 } else { 4..8 };
    if let (Some(to), Some(from)) = (to.get_mut(address.clone()), from.get(address)) {
        if to.iter().all(|b| *b == 0) {
            to.copy_from_slice(from);
        }
    }
}
