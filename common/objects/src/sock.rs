//! What all sockets share: names, options, messages with descriptors.

use crate::bytes::Bytes;
use crate::capture::Capturing;
use crate::kinds::{netlink, packet, tcp, udp, unix};
use crate::model::{Kind, ObjectId};
use crate::probe::Probe;
use crate::sys;
use serde::{Deserialize, Serialize};
use std::io;
use std::mem;
use std::os::fd::{OwnedFd, RawFd};

/// `(level, name, value)` as getsockopt gave it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Options(pub Vec<(i32, i32, Bytes)>);

const SO_BUF_LOCK: i32 = 72;
const SO_PASSPIDFD: i32 = 76;
const SO_SNDBUFFORCE: i32 = 32;
const SO_RCVBUFFORCE: i32 = 33;

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
    libc::SO_MARK,
    libc::SO_NO_CHECK,
    libc::SO_DONTROUTE,
    libc::SO_BUSY_POLL,
    libc::SO_ZEROCOPY,
    libc::SO_BINDTODEVICE,
    libc::SO_PEEK_OFF,
    libc::SO_RXQ_OVFL,
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
    libc::TCP_SAVE_SYN,
];
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
];

/// Set when connected and bound: they change what a send or a refill does.
const LATE: &[(i32, i32)] = &[
    (libc::SOL_SOCKET, libc::SO_PASSCRED),
    (libc::SOL_SOCKET, libc::SO_PASSSEC),
    (libc::SOL_SOCKET, SO_PASSPIDFD),
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
    let mut value = [0u8; 64];
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

impl Options {
    pub fn read(fd: RawFd, domain: i32, protocol: i32) -> Options {
        let mut names: Vec<(i32, i32)> = SOCKET.iter().map(|n| (libc::SOL_SOCKET, *n)).collect();
        if protocol == libc::IPPROTO_TCP {
            names.extend(TCP.iter().map(|n| (libc::IPPROTO_TCP, *n)));
        }
        if matches!(domain, libc::AF_INET | libc::AF_INET6) {
            names.extend(IP.iter().map(|n| (libc::IPPROTO_IP, *n)));
        }
        if domain == libc::AF_INET6 {
            names.extend(IPV6.iter().map(|n| (libc::IPPROTO_IPV6, *n)));
        }
        let value = |(level, name)| Some((level, name, Bytes(getsockopt(fd, level, name).ok()?)));
        Options(names.into_iter().filter_map(value).collect())
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
            let same = getsockopt(fd, *level, *name).is_ok_and(|now| now == value.0);
            if same {
                continue;
            }
            match (*level, *name) {
                (libc::SOL_SOCKET, libc::SO_SNDBUF) => set_buffer(fd, SO_SNDBUFFORCE, *name, value),
                (libc::SOL_SOCKET, libc::SO_RCVBUF) => set_buffer(fd, SO_RCVBUFFORCE, *name, value),
                _ => drop(setsockopt(fd, *level, *name, value)),
            }
        }
    }
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

type NameCall = unsafe extern "C" fn(i32, *mut libc::sockaddr, *mut u32) -> i32;

fn name_by(call: NameCall, fd: RawFd) -> io::Result<Bytes> {
    let mut storage = [0u8; mem::size_of::<libc::sockaddr_storage>()];
    let mut len = storage.len() as u32;
    // SAFETY: the buffer is as long as said; the kernel writes the length it used.
    sys::cvt(unsafe { call(fd, storage.as_mut_ptr().cast(), &mut len) })?;
    Ok(storage[..(len as usize).min(storage.len())].into())
}

pub fn local_name(fd: RawFd) -> io::Result<Bytes> {
    name_by(libc::getsockname, fd)
}

pub fn peer_name(fd: RawFd) -> io::Result<Bytes> {
    name_by(libc::getpeername, fd)
}

pub fn socket(domain: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: no memory involved.
    sys::own(unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) })
}

pub fn socketpair(kind: i32) -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: the array has room for both ends.
    sys::cvt(unsafe { libc::socketpair(libc::AF_UNIX, kind | libc::SOCK_CLOEXEC, 0, fds.as_mut_ptr()) })?;
    Ok((sys::own(fds[0])?, sys::own(fds[1])?))
}

pub fn bind(fd: RawFd, name: &[u8]) -> io::Result<()> {
    // SAFETY: an address of the length given.
    sys::cvt(unsafe { libc::bind(fd, name.as_ptr().cast(), name.len() as u32) }).map(drop)
}

pub fn connect(fd: RawFd, name: &[u8]) -> io::Result<()> {
    // SAFETY: an address of the length given.
    sys::cvt(unsafe { libc::connect(fd, name.as_ptr().cast(), name.len() as u32) }).map(drop)
}

pub fn listen(fd: RawFd, backlog: i32) -> io::Result<()> {
    // SAFETY: no memory involved.
    sys::cvt(unsafe { libc::listen(fd, backlog) }).map(drop)
}

pub fn accept(fd: RawFd) -> io::Result<OwnedFd> {
    let null = std::ptr::null_mut();
    // SAFETY: no address is asked for.
    sys::own(unsafe { libc::accept4(fd, null, null.cast(), libc::SOCK_CLOEXEC) })
}

pub fn shutdown(fd: RawFd, how: i32) -> io::Result<()> {
    // SAFETY: no memory involved.
    sys::cvt(unsafe { libc::shutdown(fd, how) }).map(drop)
}

/// Who is at the other end, or sent a message, as the kernel attests it.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cred {
    pub pid: i32,
    pub uid: u32,
    pub gid: u32,
}

impl Cred {
    /// `struct ucred`; None when it names no process.
    fn parse(bytes: &[u8]) -> Option<Cred> {
        let [pid, uid, gid] = sys::from_bytes::<[i32; 3]>(bytes);
        (pid > 0).then_some(Cred { pid, uid: uid as u32, gid: gid as u32 })
    }

    fn bytes(&self) -> Vec<u8> {
        [self.pid as u32, self.uid, self.gid].iter().flat_map(|word| word.to_ne_bytes()).collect()
    }
}

/// Whoever connected, listened or made the pair.
pub fn peer_cred(fd: RawFd) -> Option<Cred> {
    Cred::parse(&getsockopt(fd, libc::SOL_SOCKET, libc::SO_PEERCRED).ok()?)
}

pub struct Message {
    pub len: usize,
    pub from: Bytes,
    pub fds: Vec<OwnedFd>,
    pub cred: Option<Cred>,
    pub flags: i32,
}

/// Room for SCM_MAX_FD descriptors, credentials and a label.
const CONTROL: usize = 4096;

/// Never waits.
pub fn receive(fd: RawFd, buffer: &mut [u8], flags: i32) -> io::Result<Message> {
    let mut name = [0u8; mem::size_of::<libc::sockaddr_storage>()];
    let mut control = [0u64; CONTROL / 8];
    let mut iov = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: all zeroes are a valid msghdr.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_name = name.as_mut_ptr().cast();
    header.msg_namelen = name.len() as u32;
    header.msg_iov = &mut iov;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = CONTROL;
    let flags = flags | libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: every buffer of the header is as long as it says.
    let len = unsafe { libc::recvmsg(fd, &mut header, flags) };
    let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
    let (fds, cred) = received_control(&header)?;
    let named = (header.msg_namelen as usize).min(name.len());
    Ok(Message {
        len,
        from: name[..named].into(),
        fds,
        cred,
        flags: header.msg_flags,
    })
}

/// Peeks with memory for all but the last byte of `buffer`; descriptors are not taken.
pub fn peek_but_last(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    let none = std::ptr::without_provenance_mut(8);
    let mut iov = [
        libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len() - 1,
        },
        libc::iovec {
            iov_base: none,
            iov_len: 1,
        },
    ];
    // SAFETY: all zeroes are a valid msghdr.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = iov.as_mut_ptr();
    header.msg_iovlen = 2;
    // SAFETY: the first buffer is as long as said; nothing is mapped at the second, which the kernel finds out.
    let n = unsafe { libc::recvmsg(fd, &mut header, libc::MSG_PEEK | libc::MSG_DONTWAIT) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

fn received_control(header: &libc::msghdr) -> io::Result<(Vec<OwnedFd>, Option<Cred>)> {
    const SCM_PIDFD: i32 = 4;
    let (mut fds, mut cred) = (Vec::new(), None);
    // SAFETY: walks the control buffer that the kernel has just filled.
    unsafe {
        let mut cmsg = libc::CMSG_FIRSTHDR(header);
        while !cmsg.is_null() {
            let len = (*cmsg).cmsg_len - libc::CMSG_LEN(0) as usize;
            let data = std::slice::from_raw_parts(libc::CMSG_DATA(cmsg), len);
            let numbers = data.chunks_exact(4).map(sys::from_bytes::<i32>);
            match ((*cmsg).cmsg_level, (*cmsg).cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) => numbers.map(sys::own).try_for_each(|fd| fd.map(|fd| fds.push(fd)))?,
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) => cred = Cred::parse(data),
                // The kernel makes a new one for whoever reads.
                (libc::SOL_SOCKET, SCM_PIDFD) => numbers.for_each(|fd| drop(sys::own(fd))),
                _ => {}
            }
            cmsg = libc::CMSG_NXTHDR(header, cmsg);
        }
    }
    Ok((fds, cred))
}

/// Never waits, raises no SIGPIPE.
pub fn send(fd: RawFd, data: &[u8], to: Option<&[u8]>, fds: &[RawFd]) -> io::Result<usize> {
    let rights: Vec<u8> = fds.iter().flat_map(|fd| fd.to_ne_bytes()).collect();
    let control = if fds.is_empty() { Vec::new() } else { control_message(libc::SCM_RIGHTS, &rights) };
    send_with(fd, data, to, control)
}

/// As `send`, in the name of `cred` as far as the kernel believes us.
pub fn send_as(fd: RawFd, data: &[u8], to: Option<&[u8]>, fds: &[RawFd], cred: Option<Cred>) -> io::Result<usize> {
    let Some(cred) = cred else { return send(fd, data, to, fds) };
    let mut control = control_message(libc::SCM_CREDENTIALS, &cred.bytes());
    if !fds.is_empty() {
        let rights: Vec<u8> = fds.iter().flat_map(|fd| fd.to_ne_bytes()).collect();
        control.extend(control_message(libc::SCM_RIGHTS, &rights));
    }
    match send_with(fd, data, to, control) {
        Err(e) if matches!(e.raw_os_error(), Some(libc::EPERM | libc::ESRCH | libc::EINVAL)) => send(fd, data, to, fds),
        sent => sent,
    }
}

/// `struct cmsghdr` and what follows it.
fn control_message(kind: i32, payload: &[u8]) -> Vec<u8> {
    let mut out = (mem::size_of::<libc::cmsghdr>() + payload.len()).to_ne_bytes().to_vec();
    out.extend(libc::SOL_SOCKET.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(payload);
    out.resize(out.len().next_multiple_of(mem::size_of::<usize>()), 0);
    out
}

fn send_with(fd: RawFd, data: &[u8], to: Option<&[u8]>, mut control: Vec<u8>) -> io::Result<usize> {
    let mut iov = libc::iovec {
        iov_base: data.as_ptr().cast_mut().cast(),
        iov_len: data.len(),
    };
    // SAFETY: all zeroes are a valid msghdr.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = &mut iov;
    header.msg_iovlen = 1;
    if let Some(to) = to {
        header.msg_name = to.as_ptr().cast_mut().cast();
        header.msg_namelen = to.len() as u32;
    }
    if !control.is_empty() {
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = control.len();
    }
    // SAFETY: every buffer of the header is as long as it says.
    let sent = unsafe { libc::sendmsg(fd, &header, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

pub fn would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

pub fn capture(probe: &Probe, id: ObjectId, cx: &mut Capturing) -> io::Result<Option<Kind>> {
    let get = |name| getsockopt_int(probe.fd, libc::SOL_SOCKET, name);
    let (domain, kind, protocol) = (get(libc::SO_DOMAIN)?, get(libc::SO_TYPE)?, get(libc::SO_PROTOCOL)?);
    let inet = matches!(domain, libc::AF_INET | libc::AF_INET6);
    Ok(Some(match (domain, kind, protocol) {
        (libc::AF_UNIX, _, _) => Kind::Unix(Box::new(unix::capture(probe, id, kind, cx)?)),
        (_, libc::SOCK_STREAM, libc::IPPROTO_TCP) if inet => Kind::Tcp(Box::new(tcp::capture(probe, domain)?)),
        (_, libc::SOCK_DGRAM, _) if inet => Kind::Udp(Box::new(udp::capture(probe, domain, protocol)?)),
        (libc::AF_NETLINK, _, _) => Kind::Netlink(netlink::capture(probe, kind, protocol)?),
        (libc::AF_PACKET, _, _) => Kind::Packet(packet::capture(probe, domain, kind, protocol)?),
        (_, libc::SOCK_RAW, _) if inet => Kind::Packet(packet::capture(probe, domain, kind, protocol)?),
        _ => {
            cx.refuse(
                id,
                format!("sockets of family {domain}, type {kind}, protocol {protocol} are not supported"),
            );
            return Ok(None);
        }
    }))
}
