//! UDP (and ping) sockets: name, peer, options; waiting datagrams by MSG_PEEK, sent again at restart.

use super::multicast::{self, Membership};
use super::messages;
use super::tcp::{bind_again, is_any, is_bound, place};
use super::tcprebuild::in_domain;
use super::{tcpdiag, udpgroup, udphold};
use crate::bytes::Bytes;
use crate::model::{Kind, ObjectId};
use crate::probe::Probe;
use crate::rebuild::Rebuilding;
use crate::sock::{self, Options, Stage, Turned};
use crate::sys;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Datagram {
    pub data: Bytes,
    pub from: Bytes,
    /// Where it was sent to; empty where the kernel does not say.
    pub to: Bytes,
}

#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct UdpState {
    pub domain: i32,
    pub protocol: i32,
    pub name: Bytes,
    pub peer: Option<Bytes>,
    /// Bit 0: no more reading, bit 1: no more writing.
    pub shutdown: u8,
    pub queue: Vec<Datagram>,
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
        shutdown: shutdown(probe, domain, protocol)?,
        queue: peek(probe.fd, domain, protocol)?,
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

/// What inet_diag says; where it does not know the protocol, what poll does, which is nothing of writing alone.
fn shutdown(probe: &Probe, domain: i32, protocol: i32) -> io::Result<u8> {
    let ready = sys::poll(probe.fd, libc::POLLRDHUP, 0)?;
    let told = if ready & libc::POLLHUP != 0 { 3 } else { u8::from(ready & libc::POLLRDHUP != 0) };
    // A program that shuts an unconnected one down gets ENOTCONN.
    let may_be = told == 1 || told == 0 && sock::peer_name(probe.fd).is_ok();
    let name = sock::local_name(probe.fd)?;
    let known = || tcpdiag::shutdown(domain, protocol, &name, probe.stat.st_ino).ok().flatten();
    Ok(may_be.then(known).flatten().unwrap_or(told))
}

fn peek(fd: RawFd, domain: i32, protocol: i32) -> io::Result<Vec<Datagram>> {
    // Of a ping socket a peek shows the first for ever.
    let peekable = !matches!(protocol, libc::IPPROTO_ICMP | libc::IPPROTO_ICMPV6);
    if !peekable || sys::poll(fd, libc::POLLIN, 0)? & libc::POLLIN == 0 {
        return Ok(Vec::new());
    }
    let _told = [
        Turned::start(fd, libc::IPPROTO_IP, libc::IP_RECVORIGDSTADDR, 1).ok(),
        (domain == libc::AF_INET6).then(|| Turned::start(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVORIGDSTADDR, 1).ok()).flatten(),
    ];
    let messages = messages::peek(fd)?.into_iter();
    Ok(messages.map(|m| Datagram { data: m.data, from: m.from, to: m.control.to }).collect())
}

pub fn port(name: &[u8]) -> u16 {
    name.get(2..4).map_or(0, |p| u16::from_be_bytes([p[0], p[1]]))
}

pub fn rebuild(state: &UdpState, rb: &mut Rebuilding) -> io::Result<OwnedFd> {
    let fd = sock::socket(state.domain, libc::SOCK_DGRAM, state.protocol)?;
    let raw = fd.as_raw_fd();
    state.options.apply(raw, Stage::Early);
    if is_bound(&state.name) {
        bind(raw, state, rb)?;
    }
    if let Err(e) = multicast::join(raw, &state.groups) {
        rb.risk(format!("a UDP socket could not join its multicast group again: {e}"));
    }
    Ok(fd)
}

fn bind(fd: RawFd, state: &UdpState, rb: &mut Rebuilding) -> io::Result<()> {
    let Err(error) = bind_again(fd, &state.name) else {
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

/// A connected socket takes datagrams from its peer only, and sends to it only, so this follows the refill of all.
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
        let fd = rb.raw(id).map_err(|e| (id, e))?;
        let lost = state.queue.iter().filter(|datagram| deliver(fd, datagram, state, rb).is_err()).count();
        if lost > 0 {
            rb.risk(format!(
                "{}: {lost} datagrams from senders elsewhere are lost",
                rb.name(id)
            ));
        }
    }
    for (id, object) in set.ids() {
        if let Kind::Udp(state) = &object.kind {
            finish(rb.raw(id).map_err(|e| (id, e))?, state, rb);
        }
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
        if let Some(how) = [libc::SHUT_RD, libc::SHUT_WR, libc::SHUT_RDWR].get(usize::from(state.shutdown).wrapping_sub(1)) {
            // ENOTCONN where it is not connected: it is shut down all the same.
            let _ = sock::shutdown(fd, *how);
        }
    }
    Ok(())
}

fn deliver(fd: RawFd, datagram: &Datagram, state: &UdpState, rb: &Rebuilding) -> io::Result<()> {
    let Datagram { data, from, to } = datagram;
    let to = match reach(to) {
        Some(Reach::Many) => return udpgroup::deliver(fd, datagram, state, rb),
        Some(Reach::One) => to.clone(),
        None => {
            let mut to = sock::local_name(fd)?;
            fill_loopback(&mut to.0, from);
            to
        }
    };
    let source = place(from);
    let is_source = |s: &UdpState| place(&s.name).zip(source).is_some_and(|(a, b)| a.1 == b.1 && (a.0 == b.0 || is_any(&a.0)));
    let ours = rb.set.ids().find_map(|(id, o)| match &o.kind {
        Kind::Udp(sender) if is_source(sender) => Some((rb.raw(id).ok()?, sender.domain)),
        _ => None,
    });
    let stand_in = sock::socket(state.domain, libc::SOCK_DGRAM, state.protocol)?;
    let (sender, domain) = match ours {
        Some(ours) => ours,
        None => {
            let stand_in = stand_in.as_raw_fd();
            sock::set_int(stand_in, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
            sock::set_int(stand_in, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
            sock::bind(stand_in, from)?;
            (stand_in, state.domain)
        }
    };
    sock::send(sender, data, Some(&in_domain(&to, domain)), &[]).map(drop)
}

/// How many sockets a datagram to an address of this host may come to.
enum Reach {
    One,
    Many,
}

/// None: it is not an address of this host, or a broadcast would leave it again.
fn reach(to: &[u8]) -> Option<Reach> {
    let (address, _) = place(to)?;
    let fd = sock::socket(i32::from(sys::from_bytes::<u16>(to)), libc::SOCK_DGRAM, 0).ok()?;
    let mut any_port = to.to_vec();
    any_port[2..4].fill(0);
    sock::bind(fd.as_raw_fd(), &any_port).ok()?;
    if udphold::is_multicast(to) {
        return Some(Reach::Many);
    }
    // Without SO_BROADCAST.
    match sock::connect(fd.as_raw_fd(), to) {
        Err(e) if e.raw_os_error() == Some(libc::EACCES) => (address[12] == 127).then_some(Reach::Many),
        _ => Some(Reach::One),
    }
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
