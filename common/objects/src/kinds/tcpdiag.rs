//! inet_diag: sockets that have no descriptor, in a backlog or in TIME_WAIT.

use super::tcp::{place, Place, TcpState, CLOSE_WAIT};
use crate::bytes::Bytes;
use crate::sock;
use crate::sys;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

const NETLINK_SOCK_DIAG: i32 = 4;
pub(super) const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
const TIME_WAIT: u8 = 6;

/// Has a connection in a backlog unread data?
pub fn unread_in_backlog(client: &TcpState) -> io::Result<bool> {
    let missing = || io::Error::from(io::ErrorKind::NotConnected);
    let peer = client.peer_name.as_ref().ok_or_else(missing)?;
    for family in [libc::AF_INET, libc::AF_INET6] {
        if let Some(reply) = ask(SOCK_DIAG_BY_FAMILY, family, peer, &client.name)? {
            // nlmsghdr (16), inet_diag_msg: 4 + 48 id + expires, then rqueue.
            return Ok(sys::from_bytes::<u32>(&reply[72..76]) > 0);
        }
    }
    Ok(false)
}

/// What the killed program's connection left in TIME_WAIT goes at once, with CAP_NET_ADMIN; a live connection of the
/// same ends is not touched.
pub fn end_time_wait(from: &[u8], to: &[u8]) -> io::Result<()> {
    for family in [libc::AF_INET, libc::AF_INET6] {
        let reply = ask(SOCK_DIAG_BY_FAMILY, family, from, to)?;
        if reply.is_some_and(|r| r[17] == TIME_WAIT) {
            ask(SOCK_DESTROY, family, from, to)?;
        }
    }
    Ok(())
}

/// How long the kernel keeps a port after a connection has ended.
pub const TIME_WAIT_ENDS: Duration = Duration::from_secs(65);
const FIN_WAIT1: u8 = 4;
const FIN_WAIT2: u8 = 5;
const LAST_ACK: u8 = 9;
const CLOSING: u8 = 11;

/// Is the port held only by what is left of connections, by no program? `end`: and end them, as far as we may.
pub fn only_remains(port: u16, end: bool) -> io::Result<bool> {
    let mut all = true;
    for family in [libc::AF_INET, libc::AF_INET6] {
        for message in dump(family)? {
            // nlmsghdr (16), inet_diag_msg: family, state, timer, retrans, id; the inode is its last word.
            let (state, id) = (message[17], &message[20..68]);
            let inode = sys::from_bytes::<u32>(&message[84..88]);
            if u16::from_be_bytes([id[0], id[1]]) != port {
                continue;
            }
            let ended = matches!(state, TIME_WAIT | FIN_WAIT1 | FIN_WAIT2 | LAST_ACK | CLOSING) && inode == 0;
            all &= ended;
            if ended && end {
                let asked = request(SOCK_DESTROY, libc::NLM_F_ACK, family, id);
                let _ = exchange(&asked);
            }
        }
    }
    Ok(all)
}

/// A connection to a port that nobody has accepted and the caller has closed.
pub struct Closed {
    pub local: Place,
    pub remote: Place,
    /// It has sent something.
    pub data: bool,
}

pub fn closed_callers(port: u16) -> io::Result<Vec<Closed>> {
    let mut found = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        for message in dump(family)? {
            let waits = message[17] == CLOSE_WAIT && sys::from_bytes::<u32>(&message[84..88]) == 0;
            let local = place(&name(family, &message[20..22], &message[24..40]));
            let remote = place(&name(family, &message[22..24], &message[40..56]));
            if let (true, Some(local), Some(remote)) = (waits, local.filter(|l| l.1 == port), remote) {
                // The end of the stream counts as one byte.
                found.push(Closed { local, remote, data: sys::from_bytes::<u32>(&message[72..76]) > 1 });
            }
        }
    }
    Ok(found)
}

/// An address as getsockname gives it.
fn name(family: i32, port: &[u8], address: &[u8]) -> Bytes {
    let mut name = (family as u16).to_ne_bytes().to_vec();
    name.extend_from_slice(port);
    match family {
        libc::AF_INET => name.extend_from_slice(&[&address[..4], &[0; 8]].concat()),
        _ => name.extend_from_slice(&[&[0; 4], address, &[0; 4]].concat()),
    }
    Bytes(name)
}

/// Inodes of sockets that sign their segments (TCP_MD5SIG), which the kernel tells root only.
pub fn signed() -> io::Result<Vec<u64>> {
    const INFO: u8 = 1 << 1;
    const MD5SIG: u16 = 18;
    let mut found = Vec::new();
    // SAFETY: no memory involved.
    if unsafe { libc::geteuid() } != 0 {
        return Ok(found);
    }
    for family in [libc::AF_INET, libc::AF_INET6] {
        // The keys come with the struct tcp_info.
        let all = dump_with(INFO, family)?;
        let signs = all.iter().filter(|m| attributes(&m[88..]).any(|a| a.0 == MD5SIG));
        found.extend(signs.map(|m| u64::from(sys::from_bytes::<u32>(&m[84..88]))));
    }
    Ok(found)
}

/// Kind and content of each.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(sys::from_bytes::<u16>(bytes));
        if len < 4 || len > bytes.len() {
            return None;
        }
        let found = (sys::from_bytes::<u16>(&bytes[2..]), &bytes[4..len]);
        bytes = &bytes[len.next_multiple_of(4).min(bytes.len())..];
        Some(found)
    })
}

/// Where a socket connects to; getpeername tells only when it is connected.
pub fn destination(family: i32, inode: u64) -> io::Result<Option<Bytes>> {
    let is_it = |m: &&Vec<u8>| u64::from(sys::from_bytes::<u32>(&m[84..88])) == inode;
    let all = dump(family)?;
    Ok(all.iter().find(is_it).map(|message| name(family, &message[22..24], &message[40..56])))
}

/// Which ways the socket is shut down. None: the kernel does not know it, or says nothing of the protocol.
pub fn shutdown(family: i32, protocol: i32, name: &[u8], inode: u64) -> io::Result<Option<u8>> {
    const SHUTDOWN: u16 = 8;
    let mut id = [0; 48];
    id[..2].copy_from_slice(name.get(2..4).unwrap_or(&[0; 2]));
    let mut asked = request(SOCK_DIAG_BY_FAMILY, libc::NLM_F_ROOT | libc::NLM_F_MATCH, family, &id);
    asked[17] = protocol as u8;
    let all = answers(&asked)?;
    let of_it = all.iter().find(|m| m.len() >= 88 && u64::from(sys::from_bytes::<u32>(&m[84..88])) == inode);
    Ok(of_it.and_then(|m| attributes(&m[88..]).find(|a| a.0 == SHUTDOWN)).and_then(|a| a.1.first().copied()))
}

/// One message for each TCP socket of the family.
fn dump(family: i32) -> io::Result<Vec<Vec<u8>>> {
    dump_with(0, family)
}

/// `extensions`: a bit for each kind of attribute.
fn dump_with(extensions: u8, family: i32) -> io::Result<Vec<Vec<u8>>> {
    let mut asked = request(SOCK_DIAG_BY_FAMILY, libc::NLM_F_ROOT | libc::NLM_F_MATCH, family, &[0; 48]);
    asked[18] = extensions;
    let mut found = answers(&asked)?;
    found.retain(|message| message.len() >= 88);
    Ok(found)
}

/// What the kernel says of each socket that is asked for.
pub(super) fn answers(asked: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    const DONE: u16 = 3;
    let fd = sock::socket(libc::AF_NETLINK, libc::SOCK_DGRAM, NETLINK_SOCK_DIAG)?;
    sock::send(fd.as_raw_fd(), asked, None, &[])?;
    let mut found = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let n = sock::receive(fd.as_raw_fd(), &mut buffer, 0)?.len;
        let mut at = 0;
        while at + 16 <= n {
            let len = sys::from_bytes::<u32>(&buffer[at..]) as usize;
            let kind = sys::from_bytes::<u16>(&buffer[at + 4..]);
            if len < 16 || at + len > n || kind == DONE {
                return Ok(found);
            }
            if kind == SOCK_DIAG_BY_FAMILY {
                found.push(buffer[at..at + len].to_vec());
            }
            at += len.next_multiple_of(4);
        }
    }
}

/// `id`: struct inet_diag_sockid.
fn request(kind: u16, flags: i32, family: i32, id: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(72);
    message.extend(72u32.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(((libc::NLM_F_REQUEST | flags) as u16).to_ne_bytes());
    message.extend([0; 8]);
    message.extend([family as u8, libc::IPPROTO_TCP as u8, 0, 0]);
    message.extend(u32::MAX.to_ne_bytes());
    message.extend_from_slice(id);
    message
}

fn exchange(message: &[u8]) -> io::Result<Vec<u8>> {
    let fd = sock::socket(libc::AF_NETLINK, libc::SOCK_DGRAM, NETLINK_SOCK_DIAG)?;
    sock::send(fd.as_raw_fd(), message, None, &[])?;
    let mut reply = vec![0; 8192];
    let n = sock::receive(fd.as_raw_fd(), &mut reply, 0)?.len;
    reply.truncate(n);
    Ok(reply)
}

/// The answer about the socket `from` -> `to`, None where there is none of this family.
fn ask(kind: u16, family: i32, from: &[u8], to: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let (Some(source), Some(target)) = (address(family, from), address(family, to)) else {
        return Ok(None);
    };
    // Acknowledged, so that every request has an answer.
    let acknowledged = if kind == SOCK_DESTROY { libc::NLM_F_ACK } else { 0 };
    let mut id = [&from[2..4], &to[2..4], &source, &target].concat();
    id.extend(0u32.to_ne_bytes());
    id.extend([0xff; 8]);
    let reply = exchange(&request(kind, acknowledged, family, &id))?;
    let answers = reply.len() >= 76 && sys::from_bytes::<u16>(&reply[4..6]) == SOCK_DIAG_BY_FAMILY;
    Ok(answers.then_some(reply))
}

fn address(family: i32, name: &[u8]) -> Option<[u8; 16]> {
    let (mapped, _) = place(name)?;
    let is_v4 = mapped[..10].iter().all(|b| *b == 0) && mapped[10..12] == [0xff, 0xff];
    match (family, is_v4) {
        (libc::AF_INET, true) => {
            let mut v4 = [0; 16];
            v4[..4].copy_from_slice(&mapped[12..]);
            Some(v4)
        }
        (libc::AF_INET6, _) => Some(mapped),
        _ => None,
    }
}
