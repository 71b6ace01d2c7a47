//! Packet and raw sockets: made again where that is allowed. Packets on their way are lost, as networks may.

use super::multicast::{self, Membership};
use super::packetdiag;
use crate::bytes::Bytes;
use crate::capture::Capturing;
use crate::model::ObjectId;
use crate::probe::Probe;
use crate::sock::{self, Options, Stage};
use crate::sys;
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

/// None: packets come or go by a ring.
pub fn capture(probe: &Probe, domain: i32, kind: i32, protocol: i32) -> io::Result<Option<PacketState>> {
    let mut options = Options::read(probe.fd, domain, protocol);
    match domain {
        libc::AF_PACKET => {
            let extras = packetdiag::extras(probe.stat.st_ino).unwrap_or_default();
            if extras.ring {
                return Ok(None);
            }
            let joined = extras.memberships.into_iter().map(|m| (libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, m));
            options.0.extend(joined);
        }
        _ => options.read_more(probe.fd, RAW),
    }
    Ok(Some(PacketState {
        domain,
        kind,
        protocol,
        name: sock::local_name(probe.fd)?,
        peer: sock::peer_name(probe.fd).ok(),
        groups: multicast::capture(probe.fd, domain),
        options,
    }))
}

/// Nobody can send them once more as they came.
pub fn warn_of_unread(probe: &Probe, id: ObjectId, cx: &mut Capturing) -> io::Result<()> {
    if sys::poll(probe.fd, libc::POLLIN, 0)? & libc::POLLIN != 0 {
        cx.risk(format!("{}: packets that wait in it to be read are lost at a restart", cx.describe(id)));
    }
    Ok(())
}

const SOL_RAW: i32 = 255;
const SOL_ICMPV6: i32 = 58;
/// ICMP_FILTER, IPV6_CHECKSUM, ICMPV6_FILTER
const RAW: &[(i32, i32)] = &[(SOL_RAW, 1), (SOL_RAW, libc::IPV6_CHECKSUM), (SOL_ICMPV6, 1)];

pub fn rebuild(state: &PacketState) -> io::Result<OwnedFd> {
    let fd = sock::socket(state.domain, state.kind, state.protocol)?;
    state.options.apply(fd.as_raw_fd(), Stage::Early);
    if state.name[2..].iter().any(|b| *b != 0) {
        let mut name = state.name.0.clone();
        if state.domain == libc::AF_PACKET {
            // getsockname leaves out what the hardware address does not fill.
            name.resize(name.len().max(size_of::<libc::sockaddr_ll>()), 0);
        }
        sock::bind(fd.as_raw_fd(), &name)?;
    }
    multicast::join(fd.as_raw_fd(), &state.groups)?;
    state.options.apply(fd.as_raw_fd(), Stage::Late);
    if let Some(peer) = &state.peer {
        sock::connect(fd.as_raw_fd(), peer)?;
    }
    state.options.apply(fd.as_raw_fd(), Stage::Last);
    Ok(fd)
}
