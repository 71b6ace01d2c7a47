//! A datagram that a UDP socket holds back (UDP_CORK, MSG_MORE). Nothing reads it there: it is let go to a socket of
//! ours, which takes it from the one that it is for, and is begun anew in the same words.

use super::tcprebuild::in_domain;
use super::udp::{port, UdpState};
use crate::bytes::Bytes;
use crate::capture::Capturing;
use crate::model::{Kind, ObjectId};
use crate::sock::{self, Turned};
use crate::sys;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// Nothing that goes over loopback takes this long, in ms.
const ARRIVAL: i32 = 1000;

/// Does it hold something back? A network card may still have what an ordinary send left to it.
pub fn holds_back(fd: RawFd, state: &UdpState) -> bool {
    let pending = || sys::ioctl_get::<i32>(fd, libc::TIOCOUTQ).is_ok_and(|n| n > 0);
    let passing = || !state.corked && (0..20).any(|_| !pending() || sys::poll(fd, 0, 1).is_err());
    pending() && !passing()
}

/// Refused where it could not be taken out again, before anything changes.
pub fn relate(cx: &mut Capturing) {
    for id in cx.ids() {
        let Some(Kind::Udp(state)) = cx.kind(id) else { continue };
        if !state.holds_back {
            continue;
        }
        let state = state.clone();
        if stand_in(&state, &namesakes(cx, &state)).is_err() {
            let why = "it holds back a datagram (UDP_CORK, MSG_MORE), which can be read only where the socket is connected to one on this host; try again when it is sent";
            cx.refuse_for_now(id, why);
        }
    }
}

pub fn drain(cx: &mut Capturing) -> Result<(), (ObjectId, io::Error)> {
    for id in cx.ids() {
        let Some(Kind::Udp(state)) = cx.kind(id) else { continue };
        if !state.holds_back {
            continue;
        }
        let state = state.clone();
        let namesakes = namesakes(cx, &state);
        let held = drain_and_refill(cx.probe(id).fd, &state, &namesakes, &mut |_| Ok(())).map_err(|e| (id, e))?;
        if let Some(Kind::Udp(state)) = cx.kind_mut(id) {
            state.held = Some(held);
        }
    }
    Ok(())
}

/// Members' sockets with the port that the datagram is for.
fn namesakes(cx: &Capturing, state: &UdpState) -> Vec<RawFd> {
    let wanted = state.peer.as_ref().map_or(0, |peer| port(peer));
    let same = |id: &ObjectId| matches!(cx.kind(*id), Some(Kind::Udp(s)) if port(&s.name) == wanted);
    cx.ids().filter(same).map(|id| cx.probe(id).fd).collect()
}

/// A socket at the peer's address that takes what this one sends, and only that: the kernel prefers one that is
/// connected to the sender, and of several the newest.
fn stand_in(state: &UdpState, namesakes: &[RawFd]) -> io::Result<OwnedFd> {
    let peer = state.peer.as_ref().ok_or(io::ErrorKind::NotConnected)?;
    let (peer, sender) = (unmapped(peer), unmapped(&state.name));
    let broadcast = state.options.get(libc::SOL_SOCKET, libc::SO_BROADCAST).unwrap_or(0) != 0;
    if is_multicast(&peer) || broadcast {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let domain = i32::from(sys::from_bytes::<u16>(&peer));
    let fd = sock::socket(domain, libc::SOCK_DGRAM, state.protocol)?;
    sock::set_int(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    let _shared: Vec<Turned> = namesakes.iter().filter_map(|fd| share(*fd)).collect();
    sock::bind(fd.as_raw_fd(), &peer)?;
    sock::connect(fd.as_raw_fd(), &sender)?;
    Ok(fd)
}

/// Lets another bind the same address until it is dropped.
pub fn share(fd: RawFd) -> Option<Turned> {
    Turned::start(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1).ok()
}

/// An IPv4 address is as such in both families.
fn unmapped(name: &Bytes) -> Bytes {
    const PREFIX: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
    match name.get(8..20) == Some(&PREFIX) && name.len() > 16 {
        true => in_domain(name, libc::AF_INET),
        false => name.clone(),
    }
}

pub fn is_multicast(name: &[u8]) -> bool {
    match name.len() {
        0..=16 => name.get(4).is_none_or(|first| *first >= 224),
        _ => name[8] == 0xff,
    }
}

/// `check` stands for whatever may fail in between; the datagram is begun again also then.
fn drain_and_refill(fd: RawFd, state: &UdpState, namesakes: &[RawFd], check: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<Bytes> {
    let stand_in = stand_in(state, namesakes)?;
    // This sends also what MSG_MORE holds back.
    sock::set_int(fd, state.protocol, libc::UDP_CORK, 0)?;
    let drained = take(stand_in.as_raw_fd());
    let result = match &drained {
        Ok(data) => check(data),
        Err(_) => Ok(()),
    };
    begin(fd, state, drained.as_ref().ok())?;
    result.and(drained)
}

fn take(stand_in: RawFd) -> io::Result<Bytes> {
    if sys::poll(stand_in, libc::POLLIN, ARRIVAL)? & libc::POLLIN == 0 {
        return Err(io::Error::other("what it held back (UDP_CORK) did not arrive where it is connected to"));
    }
    let mut buffer = vec![0; 1 << 16];
    let len = sock::receive(stand_in, &mut buffer, 0)?.len;
    Ok(buffer[..len].into())
}

/// Corks the socket and starts a datagram.
pub fn begin(fd: RawFd, state: &UdpState, held: Option<&Bytes>) -> io::Result<()> {
    if state.corked {
        sock::set_int(fd, state.protocol, libc::UDP_CORK, 1)?;
    }
    match held {
        Some(data) => sock::send_more(fd, data).map(drop),
        None => Ok(()),
    }
}

/// Has the socket an error waiting, as before: it sends to a port where nobody is, then gets its peer back.
pub fn be_refused(fd: RawFd, state: &UdpState) -> io::Result<()> {
    let Some(peer) = state.peer.as_ref().filter(|_| state.queue.is_empty()) else { return Ok(()) };
    let nobody = sock::socket(state.domain, libc::SOCK_DGRAM, state.protocol)?;
    let mut loopback = vec![0; state.name.len()];
    loopback[..2].copy_from_slice(&state.name[..2]);
    match state.domain {
        libc::AF_INET => loopback[4..8].copy_from_slice(&[127, 0, 0, 1]),
        _ => loopback[23] = 1,
    }
    sock::bind(nobody.as_raw_fd(), &loopback)?;
    let dead = sock::local_name(nobody.as_raw_fd())?;
    drop(nobody);
    let refused = sock::connect(fd, &dead).and_then(|()| sock::send(fd, b"", None, &[]));
    let waits = sys::poll(fd, 0, ARRIVAL);
    sock::connect(fd, peer)?;
    refused.and(waits).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn a_failure_between_drain_and_refill_loses_nothing() -> io::Result<()> {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (receiver, sender) = (UdpSocket::bind(address)?, UdpSocket::bind(address)?);
            sender.connect(receiver.local_addr()?)?;
            sender.send(b"before")?;
            let fd = sender.as_raw_fd();
            sock::set_int(fd, libc::IPPROTO_UDP, libc::UDP_CORK, 1)?;
            sender.send(b"held")?;
            let domain = if address.starts_with('[') { libc::AF_INET6 } else { libc::AF_INET };
            let probe = crate::probe::Probe::new(fd, sys::fstat(fd)?)?;
            let state = super::super::udp::capture(&probe, domain, libc::IPPROTO_UDP)?;
            assert!(state.corked && state.holds_back);
            let mut fail = |data: &[u8]| match data {
                b"held" => Err(io::Error::other("injected")),
                _ => Err(io::Error::other("another datagram")),
            };
            let result = drain_and_refill(fd, &state, &[receiver.as_raw_fd()], &mut fail);
            assert_eq!(result.err().map(|e| e.to_string()).as_deref(), Some("injected"));
            sender.send(b" more")?;
            sock::set_int(fd, libc::IPPROTO_UDP, libc::UDP_CORK, 0)?;
            let mut buffer = [0; 64];
            for expected in [b"before".as_slice(), b"held more"] {
                let n = receiver.recv(&mut buffer)?;
                assert_eq!(&buffer[..n], expected);
            }
            assert!(UdpSocket::bind(receiver.local_addr()?).is_err(), "the address is not shared");
        }
        Ok(())
    }
}
