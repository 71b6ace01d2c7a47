//! Socket options: what getsockopt can read is set again, in the order that a rebuild needs.

use crate::bytes::Bytes;
use crate::sys;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::RawFd;

/// `(level, name, value)` as getsockopt gave it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Options(pub Vec<(i32, i32, Bytes)>);

pub const IP_LOCAL_PORT_RANGE: i32 = 51;
const IP_RECVERR_RFC4884: i32 = 26;
const IPV6_RECVERR_RFC4884: i32 = 31;
const SO_BUF_LOCK: i32 = 72;
const SO_PASSPIDFD: i32 = 76;
const SO_SNDBUFFORCE: i32 = 32;
const SO_RCVBUFFORCE: i32 = 33;
const SO_TXTIME: i32 = 61;
const SO_PREFER_BUSY_POLL: i32 = 69;
const SO_RESERVE_MEM: i32 = 73;
const SO_TXREHASH: i32 = 74;
const SO_RCVMARK: i32 = 75;
pub const SO_TIMESTAMP_NEW: i32 = 63;
pub const SO_TIMESTAMPNS_NEW: i32 = 64;
pub const SO_TIMESTAMPING_NEW: i32 = 65;
const SO_RCVPRIORITY: i32 = 82;
const SO_PASSRIGHTS: i32 = 83;
const SO_INQ: i32 = 84;

const SOCKET: &[i32] = &[
    libc::SO_REUSEADDR,
    libc::SO_REUSEPORT,
    libc::SO_KEEPALIVE,
    libc::SO_BROADCAST,
    libc::SO_OOBINLINE,
    libc::SO_LINGER,
    libc::SO_PRIORITY,
    libc::SO_RCVLOWAT,
    libc::SO_RCVTIMEO,
    libc::SO_SNDTIMEO,
    libc::SO_RCVBUF,
    libc::SO_SNDBUF,
    SO_BUF_LOCK,
    libc::SO_PASSCRED,
    libc::SO_PASSSEC,
    SO_PASSPIDFD,
    libc::SO_TIMESTAMP,
    libc::SO_TIMESTAMPNS,
    libc::SO_TIMESTAMPING,
    SO_TIMESTAMP_NEW,
    SO_TIMESTAMPNS_NEW,
    SO_TIMESTAMPING_NEW,
    libc::SO_MARK,
    libc::SO_NO_CHECK,
    libc::SO_DONTROUTE,
    libc::SO_BUSY_POLL,
    libc::SO_ZEROCOPY,
    libc::SO_BINDTODEVICE,
    libc::SO_PEEK_OFF,
    libc::SO_RXQ_OVFL,
    libc::SO_SELECT_ERR_QUEUE,
    libc::SO_WIFI_STATUS,
    libc::SO_NOFCS,
    libc::SO_MAX_PACING_RATE,
    libc::SO_INCOMING_CPU,
    SO_TXTIME,
    SO_PREFER_BUSY_POLL,
    SO_RESERVE_MEM,
    SO_TXREHASH,
    SO_RCVMARK,
    SO_RCVPRIORITY,
    SO_PASSRIGHTS,
    SO_INQ,
    // These two in this order.
    libc::SO_ATTACH_FILTER,
    libc::SO_LOCK_FILTER,
];
const TCP: &[i32] = &[
    libc::TCP_NODELAY,
    libc::TCP_CORK,
    libc::TCP_KEEPIDLE,
    libc::TCP_KEEPINTVL,
    libc::TCP_KEEPCNT,
    libc::TCP_SYNCNT,
    libc::TCP_LINGER2,
    libc::TCP_DEFER_ACCEPT,
    libc::TCP_WINDOW_CLAMP,
    libc::TCP_CONGESTION,
    libc::TCP_USER_TIMEOUT,
    libc::TCP_NOTSENT_LOWAT,
    libc::TCP_THIN_LINEAR_TIMEOUTS,
    libc::TCP_FASTOPEN,
    TCP_FASTOPEN_KEY,
    libc::TCP_SAVE_SYN,
    libc::TCP_MAXSEG,
    libc::TCP_THIN_DUPACK,
    libc::TCP_FASTOPEN_CONNECT,
    libc::TCP_FASTOPEN_NO_COOKIE,
    libc::TCP_INQ,
    TCP_TX_DELAY,
    TCP_RTO_MAX_MS,
    libc::TCP_QUICKACK,
];
const TCP_FASTOPEN_KEY: i32 = 33;
const TCP_TX_DELAY: i32 = 37;
const TCP_RTO_MAX_MS: i32 = 44;
/// UDP_ENCAP, UDP_NO_CHECK6_TX, UDP_NO_CHECK6_RX, UDP_SEGMENT, UDP_GRO
const UDP: &[i32] = &[libc::UDP_CORK, 100, 101, 102, 103, 104];
/// UDPLITE_SEND_CSCOV, UDPLITE_RECV_CSCOV
const UDPLITE: &[i32] = &[libc::UDP_CORK, 10, 11];
/// PACKET_AUXDATA, PACKET_ORIGDEV, PACKET_VERSION, PACKET_RESERVE, PACKET_LOSS, PACKET_VNET_HDR, PACKET_TIMESTAMP,
/// PACKET_TX_HAS_OFF, PACKET_QDISC_BYPASS, PACKET_IGNORE_OUTGOING, PACKET_VNET_HDR_SZ
const PACKET: &[i32] = &[8, 9, 10, 12, 14, 15, 17, PACKET_FANOUT, 19, 20, 23, 24];
const PACKET_FANOUT: i32 = 18;
/// NETLINK_PKTINFO to NETLINK_GET_STRICT_CHK, without the rings and what cannot be set.
const NETLINK: &[i32] = &[3, 4, 5, 8, 10, 11, 12];
const IP: &[i32] = &[
    libc::IP_TOS,
    libc::IP_TTL,
    libc::IP_MTU_DISCOVER,
    libc::IP_RECVERR,
    libc::IP_PKTINFO,
    libc::IP_RECVTTL,
    libc::IP_RECVTOS,
    libc::IP_MULTICAST_TTL,
    libc::IP_MULTICAST_LOOP,
    libc::IP_MULTICAST_IF,
    libc::IP_FREEBIND,
    libc::IP_TRANSPARENT,
    libc::IP_MINTTL,
    libc::IP_BIND_ADDRESS_NO_PORT,
    libc::IP_MULTICAST_ALL,
    libc::IP_RECVORIGDSTADDR,
    libc::IP_HDRINCL,
    libc::IP_OPTIONS,
    libc::IP_RECVOPTS,
    libc::IP_RETOPTS,
    libc::IP_NODEFRAG,
    libc::IP_CHECKSUM,
    libc::IP_RECVFRAGSIZE,
    libc::IP_PASSSEC,
    libc::IP_UNICAST_IF,
    IP_LOCAL_PORT_RANGE,
    IP_RECVERR_RFC4884,
];
const IPV6: &[i32] = &[
    libc::IPV6_V6ONLY,
    libc::IPV6_UNICAST_HOPS,
    libc::IPV6_MULTICAST_HOPS,
    libc::IPV6_MULTICAST_LOOP,
    libc::IPV6_MULTICAST_IF,
    libc::IPV6_MTU_DISCOVER,
    libc::IPV6_RECVERR,
    libc::IPV6_RECVPKTINFO,
    libc::IPV6_RECVHOPLIMIT,
    libc::IPV6_TCLASS,
    libc::IPV6_RECVTCLASS,
    libc::IPV6_FREEBIND,
    libc::IPV6_TRANSPARENT,
    libc::IPV6_CHECKSUM,
    libc::IPV6_DONTFRAG,
    libc::IPV6_FLOWINFO,
    libc::IPV6_MULTICAST_ALL,
    libc::IPV6_MINHOPCOUNT,
    libc::IPV6_RECVHOPOPTS,
    libc::IPV6_HOPOPTS,
    libc::IPV6_RECVRTHDR,
    libc::IPV6_RTHDR,
    libc::IPV6_RECVDSTOPTS,
    libc::IPV6_DSTOPTS,
    libc::IPV6_RECVPATHMTU,
    libc::IPV6_RECVFRAGSIZE,
    libc::IPV6_AUTOFLOWLABEL,
    libc::IPV6_ADDR_PREFERENCES,
    libc::IPV6_RECVORIGDSTADDR,
    libc::IPV6_UNICAST_IF,
    libc::IPV6_FLOWINFO_SEND,
    IPV6_RECVERR_RFC4884,
];

/// Set when connected and bound: they change what a send or a refill does, or (the priority) another one changes them.
const LATE: &[(i32, i32)] = &[
    (libc::SOL_SOCKET, libc::SO_PRIORITY),
    (libc::SOL_SOCKET, libc::SO_PASSCRED),
    (libc::SOL_SOCKET, libc::SO_PASSSEC),
    (libc::SOL_SOCKET, SO_PASSPIDFD),
    // Only what is bound joins others.
    (libc::SOL_PACKET, PACKET_FANOUT),
];
/// Set when the data is back.
const LAST: &[(i32, i32)] = &[
    (libc::SOL_SOCKET, libc::SO_PEEK_OFF),
    (libc::SOL_SOCKET, libc::SO_RCVLOWAT),
    (libc::SOL_SOCKET, libc::SO_SNDBUF),
    (libc::SOL_SOCKET, libc::SO_RCVBUF),
    (libc::SOL_SOCKET, SO_BUF_LOCK),
    (libc::IPPROTO_TCP, libc::TCP_CORK),
    (libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP),
    (libc::IPPROTO_TCP, libc::TCP_QUICKACK),
    (libc::SOL_SOCKET, libc::SO_INCOMING_CPU),
    (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER),
    (libc::SOL_SOCKET, libc::SO_LOCK_FILTER),
];

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Early,
    Late,
    Last,
}

fn stage(level: i32, name: i32) -> Stage {
    if LATE.contains(&(level, name)) {
        Stage::Late
    } else if LAST.contains(&(level, name)) {
        Stage::Last
    } else {
        Stage::Early
    }
}

pub fn getsockopt(fd: RawFd, level: i32, name: i32) -> io::Result<Vec<u8>> {
    // The largest that is read: struct tcp_info.
    let mut value = [0u8; 512];
    let mut len = value.len() as u32;
    // SAFETY: the buffer is as long as said; the kernel shortens `len`.
    sys::cvt(unsafe { libc::getsockopt(fd, level, name, value.as_mut_ptr().cast(), &mut len) })?;
    Ok(value[..len as usize].to_vec())
}

pub fn getsockopt_int(fd: RawFd, level: i32, name: i32) -> io::Result<i32> {
    getsockopt(fd, level, name).map(|v| sys::from_bytes(&v))
}

pub fn setsockopt(fd: RawFd, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
    // SAFETY: the buffer is as long as said.
    sys::cvt(unsafe { libc::setsockopt(fd, level, name, value.as_ptr().cast(), value.len() as u32) }).map(drop)
}

pub fn set_int(fd: RawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    setsockopt(fd, level, name, &value.to_ne_bytes())
}

/// An option that has another value for a while; put back when dropped.
pub struct Turned {
    fd: RawFd,
    level: i32,
    name: i32,
    before: i32,
}

impl Turned {
    pub fn start(fd: RawFd, level: i32, name: i32, value: i32) -> io::Result<Turned> {
        let turned = Turned { fd, level, name, before: getsockopt_int(fd, level, name)? };
        turned.set(value)?;
        Ok(turned)
    }

    pub fn set(&self, value: i32) -> io::Result<()> {
        set_int(self.fd, self.level, self.name, value)
    }
}

impl Drop for Turned {
    fn drop(&mut self) {
        // It was readable, so it can be set.
        let _ = self.set(self.before);
    }
}

impl Options {
    pub fn read(fd: RawFd, domain: i32, protocol: i32) -> Options {
        let mut names: Vec<(i32, i32)> = SOCKET.iter().map(|n| (libc::SOL_SOCKET, *n)).collect();
        let own = match (domain, protocol) {
            (libc::AF_NETLINK, _) => (libc::SOL_NETLINK, NETLINK),
            (libc::AF_PACKET, _) => (libc::SOL_PACKET, PACKET),
            (_, libc::IPPROTO_TCP) => (protocol, TCP),
            (_, libc::IPPROTO_UDP) => (protocol, UDP),
            (_, libc::IPPROTO_UDPLITE) => (protocol, UDPLITE),
            _ => (0, &[] as &[i32]),
        };
        names.extend(own.1.iter().map(|n| (own.0, *n)));
        if matches!(domain, libc::AF_INET | libc::AF_INET6) {
            names.extend(IP.iter().map(|n| (libc::IPPROTO_IP, *n)));
        }
        if domain == libc::AF_INET6 {
            names.extend(IPV6.iter().map(|n| (libc::IPPROTO_IPV6, *n)));
        }
        let mut options = Options::default();
        options.read_more(fd, &names);
        options
    }

    pub fn read_more(&mut self, fd: RawFd, names: &[(i32, i32)]) {
        let value = |&(level, name): &(i32, i32)| Some((level, name, Bytes(get(fd, level, name).ok()?)));
        self.0.extend(names.iter().filter_map(value));
    }

    pub fn get(&self, level: i32, name: i32) -> Option<i32> {
        self.0
            .iter()
            .find(|o| o.0 == level && o.1 == name)
            .map(|o| sys::from_bytes(&o.2))
    }

    /// Sets what differs from a fresh socket. Options this kernel lacks or forbids stay at their defaults.
    pub fn apply(&self, fd: RawFd, when: Stage) {
        for (level, name, value) in self.0.iter().filter(|o| stage(o.0, o.1) == when) {
            let same = get(fd, *level, *name).is_ok_and(|now| now == value.0);
            if same {
                continue;
            }
            match (*level, *name) {
                (libc::SOL_SOCKET, libc::SO_SNDBUF) => set_buffer(fd, SO_SNDBUFFORCE, *name, value),
                (libc::SOL_SOCKET, libc::SO_RCVBUF) => set_buffer(fd, SO_RCVBUFFORCE, *name, value),
                (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER) => attach(fd, value),
                _ => drop(setsockopt(fd, *level, *name, value)),
            }
        }
    }

    pub fn forget(&mut self, level: i32, name: i32) {
        self.0.retain(|o| (o.0, o.1) != (level, name));
    }
}

fn get(fd: RawFd, level: i32, name: i32) -> io::Result<Vec<u8>> {
    match (level, name) {
        (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER) => filter(fd),
        _ => getsockopt(fd, level, name),
    }
}

/// The instructions of a classic filter, none without one. EACCES: it is an eBPF program.
pub fn filter(fd: RawFd) -> io::Result<Vec<u8>> {
    let ask = |room: *mut libc::c_void, mut count: u32| -> io::Result<usize> {
        // SAFETY: room for `count` instructions, which is what the length means here.
        sys::cvt(unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_GET_FILTER, room, &mut count) })?;
        Ok(count as usize)
    };
    let count = ask(std::ptr::null_mut(), 0)?;
    let mut code = vec![0u8; count * INSTRUCTION];
    if count > 0 {
        ask(code.as_mut_ptr().cast(), count as u32)?;
    }
    Ok(code)
}

const INSTRUCTION: usize = size_of::<libc::sock_filter>();

pub fn attach(fd: RawFd, code: &[u8]) {
    if code.is_empty() {
        return;
    }
    let program = libc::sock_fprog {
        len: (code.len() / INSTRUCTION) as u16,
        filter: code.as_ptr().cast_mut().cast(),
    };
    let len = size_of::<libc::sock_fprog>() as u32;
    // SAFETY: the kernel copies the instructions from where `program` says they are.
    unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, (&raw const program).cast(), len) };
}

/// The kernel doubles what is set.
fn set_buffer(fd: RawFd, force: i32, name: i32, value: &[u8]) {
    let half = sys::from_bytes::<i32>(value) / 2;
    if set_int(fd, libc::SOL_SOCKET, force, half).is_err() {
        // Beyond net.core.*mem_max an ordinary user gets the maximum.
        let _ = set_int(fd, libc::SOL_SOCKET, name, half);
    }
}

/// Room for a refill: the original had it, whatever its limits are now. `apply(Last)` puts the size back.
pub fn widen(fd: RawFd) {
    for (force, name) in [(SO_SNDBUFFORCE, libc::SO_SNDBUF), (SO_RCVBUFFORCE, libc::SO_RCVBUF)] {
        set_buffer(fd, force, name, &(64i32 << 20).to_ne_bytes());
    }
}
