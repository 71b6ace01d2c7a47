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
    pub options: Options,
}

pub fn capture(probe: &Probe, kind: i32, protocol: i32) -> io::Result<NetlinkState> {
    let options = Options::read(probe.fd, libc::AF_NETLINK, 0);
    Ok(NetlinkState {
        kind,
        protocol,
        name: sock::local_name(probe.fd)?,
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
    Ok(fd)
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
