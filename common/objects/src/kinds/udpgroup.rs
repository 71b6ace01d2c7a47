//! Datagrams that were sent to a multicast group or by broadcast: each socket has its own in its queue and is to get no
//! other's.

use super::tcp::place;
use super::udp::{port, Datagram, UdpState};
use super::udphold;
use crate::model::Kind;
use crate::rebuild::Rebuilding;
use crate::sock::{self, Turned};
use crate::sys;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

/// Sends it once more, from where it came, over the interface where the group was joined, so that it does not leave the host.
pub fn deliver(fd: RawFd, datagram: &Datagram, state: &UdpState, rb: &Rebuilding) -> io::Result<()> {
    let sockets = || rb.set.ids().filter_map(|(id, o)| match &o.kind {
        Kind::Udp(other) => Some((rb.raw(id).ok()?, other.as_ref())),
        _ => None,
    });
    let sender = sock::socket(state.domain, libc::SOCK_DGRAM, state.protocol)?;
    let raw = sender.as_raw_fd();
    for name in [libc::SO_REUSEADDR, libc::SO_REUSEPORT, libc::SO_BROADCAST] {
        sock::set_int(raw, libc::SOL_SOCKET, name, 1)?;
    }
    let _shared: Vec<Turned> = sockets().filter(|s| port(&s.1.name) == port(&datagram.from)).filter_map(|s| udphold::share(s.0)).collect();
    sock::bind(raw, &datagram.from)?;
    let joined = sockets().flat_map(|s| &s.1.groups).find(|g| g.filter.get(8..).and_then(place).zip(place(&datagram.to)).is_some_and(|(a, b)| a.0 == b.0));
    let interface = joined.map_or(0, |g| sys::from_bytes::<i32>(&g.filter));
    if state.domain == libc::AF_INET {
        sock::set_int(raw, libc::IPPROTO_IP, libc::IP_MULTICAST_TTL, 0)?;
        let which = libc::ip_mreqn { imr_multiaddr: libc::in_addr { s_addr: 0 }, imr_address: libc::in_addr { s_addr: 0 }, imr_ifindex: interface };
        sock::setsockopt(raw, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, sys::bytes_of(&which))?;
    } else {
        sock::set_int(raw, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS, 0)?;
        sock::set_int(raw, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF, interface)?;
    }
    let others = sockets().filter(|s| s.0 != fd && port(&s.1.name) == port(&datagram.to));
    let _deaf: Vec<Deaf> = others.map(|s| Deaf::make(s.0)).collect();
    sock::send(raw, &datagram.data, Some(&datagram.to), &[])?;
    // The others let it pass meanwhile.
    sys::poll(fd, libc::POLLIN, 100).map(drop)
}

/// A socket that takes nothing until this is dropped. Its own filter is attached last.
struct Deaf(RawFd);

impl Deaf {
    fn make(fd: RawFd) -> Deaf {
        let nothing = libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: 0 };
        sock::attach(fd, sys::bytes_of(&nothing));
        Deaf(fd)
    }
}

impl Drop for Deaf {
    fn drop(&mut self) {
        let _ = sock::set_int(self.0, libc::SOL_SOCKET, libc::SO_DETACH_FILTER, 0);
    }
}
