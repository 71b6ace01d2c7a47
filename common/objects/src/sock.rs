//! What all sockets share: names, messages with descriptors; options are in sockopt.

use crate::bytes::Bytes;
use crate::capture::Capturing;
use crate::kinds::{netlink, packet, tcp, udp, unix};
use crate::model::{Kind, ObjectId};
use crate::probe::Probe;
use crate::sys;
pub use crate::sockopt::*;
use serde::{Deserialize, Serialize};
use std::io;
use std::mem;
use std::os::fd::{OwnedFd, RawFd};

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

/// getsockname counts a NUL behind a UNIX name that fills its room; bind and connect do not take it.
fn length(name: &[u8]) -> u32 {
    let unix = i32::from(sys::from_bytes::<u16>(name)) == libc::AF_UNIX;
    (if unix { name.len().min(mem::size_of::<libc::sockaddr_un>()) } else { name.len() }) as u32
}

pub fn bind(fd: RawFd, name: &[u8]) -> io::Result<()> {
    // SAFETY: an address of the length given.
    sys::cvt(unsafe { libc::bind(fd, name.as_ptr().cast(), length(name)) }).map(drop)
}

pub fn connect(fd: RawFd, name: &[u8]) -> io::Result<()> {
    // SAFETY: an address of the length given.
    sys::cvt(unsafe { libc::connect(fd, name.as_ptr().cast(), length(name)) }).map(drop)
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
    pub flags: i32,
    pub control: Control,
}

/// What comes with a message, as far as it is asked for.
#[derive(Default)]
pub struct Control {
    pub fds: Vec<OwnedFd>,
    pub cred: Option<Cred>,
    /// When it came (SO_TIMESTAMPNS).
    pub stamp: Option<[i64; 2]>,
    /// The address that it was sent to (IP_RECVORIGDSTADDR).
    pub to: Bytes,
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
    let named = (header.msg_namelen as usize).min(name.len());
    Ok(Message {
        len,
        from: name[..named].into(),
        flags: header.msg_flags,
        control: received_control(&header)?,
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

fn received_control(header: &libc::msghdr) -> io::Result<Control> {
    const SCM_PIDFD: i32 = 4;
    let mut control = Control::default();
    // SAFETY: walks the control buffer that the kernel has just filled.
    unsafe {
        let mut cmsg = libc::CMSG_FIRSTHDR(header);
        while !cmsg.is_null() {
            let len = (*cmsg).cmsg_len - libc::CMSG_LEN(0) as usize;
            let data = std::slice::from_raw_parts(libc::CMSG_DATA(cmsg), len);
            let numbers = data.chunks_exact(4).map(sys::from_bytes::<i32>);
            match ((*cmsg).cmsg_level, (*cmsg).cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) => numbers.map(sys::own).try_for_each(|fd| fd.map(|fd| control.fds.push(fd)))?,
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) => control.cred = Cred::parse(data),
                // The kernel makes a new one for whoever reads.
                (libc::SOL_SOCKET, SCM_PIDFD) => numbers.for_each(|fd| drop(sys::own(fd))),
                (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS | SO_TIMESTAMPNS_NEW) => control.stamp = Some(sys::from_bytes(data)),
                (libc::IPPROTO_IP, libc::IP_ORIGDSTADDR) | (libc::IPPROTO_IPV6, libc::IPV6_ORIGDSTADDR) => control.to = data.into(),
                _ => {}
            }
            cmsg = libc::CMSG_NXTHDR(header, cmsg);
        }
    }
    Ok(control)
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

/// The beginning of a datagram (MSG_MORE).
pub fn send_more(fd: RawFd, data: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_MORE | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: a buffer of the length given.
    let sent = unsafe { libc::send(fd, data.as_ptr().cast(), data.len(), flags) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// One byte beside the stream (MSG_OOB).
pub fn send_urgent(fd: RawFd, byte: u8) -> io::Result<()> {
    let flags = libc::MSG_OOB | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: one readable byte.
    match unsafe { libc::send(fd, (&raw const byte).cast(), 1, flags) } {
        1 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The urgent byte that waits, if there is one.
pub fn peek_urgent(fd: RawFd) -> Option<u8> {
    let mut byte = [0];
    let got = receive(fd, &mut byte, libc::MSG_OOB | libc::MSG_PEEK);
    got.is_ok_and(|m| m.len == 1).then_some(byte[0])
}

/// Is it the next byte?
pub fn at_mark(fd: RawFd) -> bool {
    const SIOCATMARK: u64 = 0x8905;
    sys::ioctl_get::<i32>(fd, SIOCATMARK).is_ok_and(|at| at != 0)
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
        header.msg_namelen = length(to);
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
    if let Err(e) = filter(probe.fd) {
        if e.raw_os_error() == Some(libc::EACCES) {
            cx.refuse(id, "the eBPF filter attached to it cannot be read back");
            return Ok(None);
        }
    }
    if protocol == libc::IPPROTO_TCP && getsockopt(probe.fd, protocol, libc::TCP_ULP).is_ok_and(|name| !name.is_empty()) {
        cx.refuse(id, "it encrypts in the kernel (TCP_ULP), whose keys cannot be read back");
        return Ok(None);
    }
    Ok(Some(match (domain, kind, protocol) {
        (libc::AF_UNIX, _, _) => Kind::Unix(Box::new(unix::capture(probe, id, kind, cx)?)),
        (_, libc::SOCK_STREAM, libc::IPPROTO_TCP | libc::IPPROTO_MPTCP) if inet => {
            let state = tcp::capture(probe, domain, protocol)?;
            if protocol == libc::IPPROTO_MPTCP && state.is_connection() {
                cx.refuse(id, "a connection by MPTCP cannot be made again; close it, or start the program without MPTCP");
                return Ok(None);
            }
            Kind::Tcp(Box::new(state))
        }
        (_, libc::SOCK_DGRAM, libc::IPPROTO_ICMP | libc::IPPROTO_ICMPV6) if inet => {
            packet::warn_of_unread(probe, id, cx)?;
            Kind::Udp(Box::new(udp::capture(probe, domain, protocol)?))
        }
        (_, libc::SOCK_DGRAM, _) if inet => Kind::Udp(Box::new(udp::capture(probe, domain, protocol)?)),
        (libc::AF_NETLINK, _, _) if sys::poll(probe.fd, libc::POLLIN, 0)? & libc::POLLIN != 0 => {
            cx.refuse_for_now(id, "a message of the kernel waits in it, which cannot be put back; try again when it is read");
            return Ok(None);
        }
        (libc::AF_NETLINK, _, _) => Kind::Netlink(netlink::capture(probe, kind, protocol)?),
        (domain, kind, protocol) if domain == libc::AF_PACKET || inet && kind == libc::SOCK_RAW => {
            let Some(state) = packet::capture(probe, domain, kind, protocol)? else {
                cx.refuse(id, "packets come or go by memory that it shares with the kernel (PACKET_RX_RING, PACKET_TX_RING), which cannot be put back; close it, or do without the ring");
                return Ok(None);
            };
            packet::warn_of_unread(probe, id, cx)?;
            Kind::Packet(state)
        }
        _ => {
            cx.refuse(id, format!("{} cannot be made again as they were; close it and try again", kind_name(domain, kind, protocol)));
            return Ok(None);
        }
    }))
}

fn kind_name(domain: i32, kind: i32, protocol: i32) -> String {
    const DCCP: i32 = 33;
    let known = match (domain, protocol) {
        (libc::AF_INET | libc::AF_INET6, libc::IPPROTO_SCTP) => "SCTP sockets",
        (libc::AF_INET | libc::AF_INET6, DCCP) => "DCCP sockets",
        (libc::AF_VSOCK, _) => "sockets to virtual machines (AF_VSOCK)",
        (libc::AF_ALG, _) => "sockets of the kernel's cryptography (AF_ALG)",
        (libc::AF_XDP, _) => "rings of a network card (AF_XDP)",
        (libc::AF_BLUETOOTH, _) => "Bluetooth sockets (AF_BLUETOOTH)",
        (libc::AF_CAN, _) => "CAN sockets (AF_CAN)",
        (libc::AF_KEY, _) => "IPsec key sockets (AF_KEY)",
        (libc::AF_TIPC, _) => "TIPC sockets (AF_TIPC)",
        (libc::AF_RDS, _) => "RDS sockets (AF_RDS)",
        _ => return format!("sockets of family {domain}, type {kind}, protocol {protocol}"),
    };
    known.into()
}
