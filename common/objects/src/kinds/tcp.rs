//! TCP: what each socket is and which one is its peer. Data is in tcpdata, the way back in tcprebuild.

use super::inherited::Inherited;
use super::{tcpbacklog, tcpdata, tcpdiag};
use crate::bytes::Bytes;
use crate::capture::Capturing;
use crate::model::{Kind, ObjectId};
use crate::probe::Probe;
use crate::sock::{self, Options, Turned};
use crate::sys;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io;
use std::os::fd::RawFd;

#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct TcpState {
    pub domain: i32,
    /// IPPROTO_TCP, or IPPROTO_MPTCP of what is not connected.
    pub protocol: i32,
    pub state: u8,
    pub name: Bytes,
    pub peer_name: Option<Bytes>,
    pub peer: Peer,
    pub backlog: i32,
    /// Connections waiting to be accepted.
    pub waiting: u32,
    /// An error is waiting to be reported; which one follows from `over`, as reading it would take it away.
    pub broken: bool,
    /// It is no connection any more, and holds no port.
    pub over: Option<Over>,
    /// shutdown(SHUT_RD).
    pub deaf: bool,
    /// What a reader would get: its receive queue and the peer's send queue.
    pub queue: Bytes,
    /// An urgent byte (MSG_OOB), and how many bytes of the queue come before it.
    pub urgent: Option<(u64, u8)>,
    /// What it has sent on a connection that is not accepted yet, and its place in the backlog.
    pub unaccepted: Bytes,
    pub backlog_order: u32,
    /// Of a listener: callers that had closed before they were accepted.
    pub left: Vec<tcpbacklog::Left>,
    pub options: Options,
}

#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// connect(2) failed.
    Refused,
    /// Both directions have ended, or it was reset.
    Ended,
}

#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    None,
    Object(ObjectId),
    /// Waits in the backlog of this listener.
    Backlog(ObjectId),
    /// Was connected to someone who is not here: will be reset.
    Outside,
    /// The other end has closed.
    Gone,
}

pub const ESTABLISHED: u8 = 1;
pub const SYN_SENT: u8 = 2;
pub const FIN_WAIT1: u8 = 4;
pub const FIN_WAIT2: u8 = 5;
pub const CLOSE: u8 = 7;
pub const CLOSE_WAIT: u8 = 8;
pub const LAST_ACK: u8 = 9;
pub const LISTEN: u8 = 10;
pub const CLOSING: u8 = 11;

impl TcpState {
    /// It is one end of a connection, or was.
    pub fn is_connection(&self) -> bool {
        self.over.is_some() || !matches!(self.state, CLOSE | LISTEN)
    }

    /// We have sent FIN.
    pub fn is_mute(&self) -> bool {
        matches!(self.state, FIN_WAIT1 | FIN_WAIT2 | CLOSING | LAST_ACK)
    }

    /// The peer's FIN has arrived.
    pub fn at_end(&self) -> bool {
        matches!(self.state, CLOSE_WAIT | LAST_ACK | CLOSING)
    }
}

pub fn capture(probe: &Probe, domain: i32, protocol: i32) -> io::Result<TcpState> {
    let info = sock::getsockopt(probe.fd, libc::IPPROTO_TCP, libc::TCP_INFO)?;
    let word = |at: usize| sys::from_bytes::<u32>(info.get(at..).unwrap_or_default());
    let state = info.first().copied().unwrap_or(CLOSE);
    let ready = sys::poll(probe.fd, libc::POLLIN | libc::POLLRDHUP, 0)?;
    let listening = state == LISTEN;
    let mut options = Options::read(probe.fd, domain, libc::IPPROTO_TCP);
    if !matches!(state, CLOSE | LISTEN) {
        // Of a connection it tells the size in use, not the one asked for.
        options.forget(libc::IPPROTO_TCP, libc::TCP_MAXSEG);
    }
    let peer_name = match state {
        SYN_SENT => tcpdiag::destination(domain, probe.stat.st_ino)?,
        _ => sock::peer_name(probe.fd).ok(),
    };
    Ok(TcpState {
        domain,
        protocol,
        state,
        name: sock::local_name(probe.fd)?,
        peer_name,
        peer: Peer::None,
        backlog: if listening { word(28) as i32 } else { 0 },
        waiting: if listening { word(24) } else { 0 },
        broken: ready & libc::POLLERR != 0,
        // tcpi_rtt: 0 where no handshake was ever completed.
        over: (state == CLOSE && ready & libc::POLLRDHUP != 0)
            .then_some(if word(68) == 0 { Over::Refused } else { Over::Ended }),
        deaf: false,
        queue: Bytes::default(),
        urgent: None,
        unaccepted: Bytes::default(),
        backlog_order: 0,
        left: Vec::new(),
        options,
    })
}

/// Address and port, IPv4 as mapped IPv6, so that both ends of a mixed connection agree.
pub type Place = ([u8; 16], u16);

pub fn place(name: &[u8]) -> Option<Place> {
    let port = u16::from_be_bytes(name.get(2..4)?.try_into().ok()?);
    match i32::from(sys::from_bytes::<u16>(name)) {
        libc::AF_INET => {
            let mut address = [0; 16];
            address[10..12].fill(0xff);
            address[12..].copy_from_slice(name.get(4..8)?);
            Some((address, port))
        }
        libc::AF_INET6 => Some((name.get(8..24)?.try_into().ok()?, port)),
        _ => None,
    }
}

pub fn is_any(address: &[u8; 16]) -> bool {
    address[..10].iter().all(|b| *b == 0) && address[12..].iter().all(|b| *b == 0)
}

pub fn is_bound(name: &[u8]) -> bool {
    place(name).is_some_and(|(address, port)| port != 0 || !is_any(&address))
}

/// An address without a port is one whose port connect chooses.
pub fn bind_again(fd: RawFd, name: &[u8]) -> io::Result<()> {
    let later = place(name).is_some_and(|p| p.1 == 0);
    let _later = later.then(|| Turned::start(fd, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1));
    sock::bind(fd, name)
}

fn states(cx: &Capturing) -> Vec<(ObjectId, TcpState)> {
    let tcp = |id: ObjectId| match cx.kind(id) {
        Some(Kind::Tcp(state)) => Some((id, state.as_ref().clone())),
        _ => None,
    };
    cx.ids().filter_map(tcp).collect()
}

/// Peers by address; clients that wait in a backlog of ours.
pub fn relate(cx: &mut Capturing) {
    let all = states(cx);
    if all.is_empty() {
        return;
    }
    let signed = tcpdiag::signed().unwrap_or_default();
    for (id, _) in &all {
        if signed.contains(&cx.probe(*id).stat.st_ino) {
            cx.refuse(*id, "it signs what it sends (TCP_MD5SIG), with a key that cannot be read back; close it and try again");
        }
    }
    let mut by_ends: HashMap<(Place, Place), ObjectId> = HashMap::new();
    for (id, state) in &all {
        if let Some((local, remote)) = ends(state) {
            by_ends.insert((local, remote), *id);
        }
    }
    for (id, state) in &all {
        let Some((local, remote)) = ends(state) else { continue };
        let found = by_ends.get(&(remote, local)).copied();
        let peer = match (found, state.state) {
            (Some(peer), _) => Peer::Object(peer),
            (None, CLOSE | SYN_SENT) => Peer::None,
            (None, CLOSE_WAIT | LAST_ACK | CLOSING) => Peer::Gone,
            (None, _) => backlog_of(&all, remote).map_or(Peer::Outside, Peer::Backlog),
        };
        relate_one(*id, peer, cx);
    }
    cx.tcp_backlogs = tcpbacklog::check(&all, cx);
}

fn ends(state: &TcpState) -> Option<(Place, Place)> {
    Some((place(&state.name)?, place(state.peer_name.as_ref()?)?))
}

fn backlog_of(all: &[(ObjectId, TcpState)], remote: Place) -> Option<ObjectId> {
    let listens = |s: &&(ObjectId, TcpState)| {
        let Some((address, port)) = place(&s.1.name) else {
            return false;
        };
        // A client that has said nothing yet waits beside the backlog (TCP_DEFER_ACCEPT).
        let defers = s.1.options.get(libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT).unwrap_or(0) > 0;
        s.1.state == LISTEN && (s.1.waiting > 0 || defers) && port == remote.1 && (address == remote.0 || is_any(&address))
    };
    all.iter().find(listens).map(|s| s.0)
}

fn relate_one(id: ObjectId, peer: Peer, cx: &mut Capturing) {
    let like = cx.std_number(id);
    if let (Peer::Outside, Some(like)) = (peer, like) {
        if let Some(kind) = cx.kind_mut(id) {
            *kind = Kind::Inherited(Inherited::OuterSocket { like });
        }
        return;
    }
    if peer == Peer::Outside {
        cx.risk(format!(
            "{}: its peer is outside the computation; the connection will be reset",
            cx.describe(id)
        ));
    }
    if let Some(Kind::Tcp(state)) = cx.kind_mut(id) {
        state.peer = peer;
    }
}

/// Data of every connection; the only step that moves bytes.
pub fn drain(cx: &mut Capturing) -> Result<(), (ObjectId, io::Error)> {
    for listener in std::mem::take(&mut cx.tcp_backlogs) {
        tcpbacklog::drain(listener, cx).map_err(|e| (listener, e))?;
    }
    for (id, state) in states(cx) {
        let reader = cx.probe(id).fd;
        let writer = match state.peer {
            Peer::Object(peer) => Some((cx.probe(peer).fd, is_mute(cx, peer))),
            Peer::Gone | Peer::Outside | Peer::Backlog(_) => None,
            Peer::None if state.over.is_some() => None,
            Peer::None => continue,
        };
        let data = tcpdata::collect(reader, writer).map_err(|e| (id, e))?;
        let deaf = !state.at_end() && tcpdata::is_deaf(reader).map_err(|e| (id, e))?;
        if let Some(Kind::Tcp(state)) = cx.kind_mut(id) {
            state.queue = Bytes(data.bytes);
            state.urgent = data.urgent;
            state.deaf = deaf;
        }
    }
    Ok(())
}

fn is_mute(cx: &Capturing, id: ObjectId) -> bool {
    matches!(cx.kind(id), Some(Kind::Tcp(state)) if state.is_mute())
}
