//! Netlink sockets: the port id and groups; replies on their way are lost, programs ask again.

use crate::bytes::Bytes;
use crate::probe::Probe;
use crate::rebuild::Rebuilding;
use crate::sock::{self, Options, Stage};
use crate::sys;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct NetlinkState {
    pub kind: i32,
    pub protocol: i32,
    pub name: Bytes,
    /// Those that bind cannot name: one bit each, from group 1 on.
    pub groups: Bytes,
    pub options: Options,
}

const NETLINK_ADD_MEMBERSHIP: i32 = 1;
const NETLINK_LIST_MEMBERSHIPS: i32 = 9;

pub fn capture(probe: &Probe, kind: i32, protocol: i32) -> io::Result<NetlinkState> {
    let options = Options::read(probe.fd, libc::AF_NETLINK, 0);
    Ok(NetlinkState {
        kind,
        protocol,
        name: sock::local_name(probe.fd)?,
        groups: Bytes(sock::getsockopt(probe.fd, libc::SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS).unwrap_or_default()),
        options,
    })
}

pub fn rebuild(state: &NetlinkState, rb: &mut Rebuilding) -> io::Result<OwnedFd> {
    let fd = sock::socket(libc::AF_NETLINK, state.kind, state.protocol)?;
    for stage in [Stage::Early, Stage::Late, Stage::Last] {
        state.options.apply(fd.as_raw_fd(), stage);
    }
    // sockaddr_nl: family, pad, port id, groups. Port id 0 was never bound.
    let (port, groups) = (
        sys::from_bytes::<u32>(&state.name[4..]),
        sys::from_bytes::<u32>(&state.name[8..]),
    );
    if port != 0 || groups != 0 {
        bind(&fd, state, rb)?;
    }
    join(&fd, state, rb);
    Ok(fd)
}

fn join(fd: &OwnedFd, state: &NetlinkState, rb: &mut Rebuilding) {
    let beyond = 32..state.groups.len() * 8;
    for bit in beyond.filter(|bit| state.groups[bit / 8] & 1 << (bit % 8) != 0) {
        if let Err(e) = sock::set_int(fd.as_raw_fd(), libc::SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, bit as i32 + 1) {
            rb.risk(format!("a netlink socket could not join group {} again: {e}", bit + 1));
        }
    }
}

fn bind(fd: &OwnedFd, state: &NetlinkState, rb: &mut Rebuilding) -> io::Result<()> {
    if sock::bind(fd.as_raw_fd(), &state.name).is_ok() {
        return Ok(());
    }
    rb.risk("a netlink socket has another port id now".into());
    let mut any = state.name.0.clone();
    any[4..8].fill(0);
    sock::bind(fd.as_raw_fd(), &any)
}
