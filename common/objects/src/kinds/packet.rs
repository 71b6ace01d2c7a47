//! Packet and raw sockets: made again where that is allowed. Packets on their way are lost, as networks may.

use super::multicast::{self, Membership};
use crate::bytes::Bytes;
use crate::probe::Probe;
use crate::sock::{self, Options, Stage};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct PacketState {
    pub domain: i32,
    pub kind: i32,
    pub protocol: i32,
    pub name: Bytes,
    pub peer: Option<Bytes>,
    pub groups: Vec<Membership>,
    pub options: Options,
}

pub fn capture(probe: &Probe, domain: i32, kind: i32, protocol: i32) -> io::Result<PacketState> {
    Ok(PacketState {
        domain,
        kind,
        protocol,
        name: sock::local_name(probe.fd)?,
        peer: sock::peer_name(probe.fd).ok(),
        groups: multicast::capture(probe.fd, domain),
        options: Options::read(probe.fd, domain, protocol),
    })
}

pub fn rebuild(state: &PacketState) -> io::Result<OwnedFd> {
    let fd = sock::socket(state.domain, state.kind, state.protocol)?;
    for stage in [Stage::Early, Stage::Late, Stage::Last] {
        state.options.apply(fd.as_raw_fd(), stage);
    }
    if state.name[2..].iter().any(|b| *b != 0) {
        let mut name = state.name.0.clone();
        if state.domain == libc::AF_PACKET {
            // getsockname leaves out what the hardware address does not fill.
            name.resize(name.len().max(size_of::<libc::sockaddr_ll>()), 0);
        }
        sock::bind(fd.as_raw_fd(), &name)?;
    }
    multicast::join(fd.as_raw_fd(), &state.groups)?;
    if let Some(peer) = &state.peer {
        sock::connect(fd.as_raw_fd(), peer)?;
    }
    Ok(fd)
}
