//! inet_diag: sockets that have no descriptor, in a backlog or in TIME_WAIT.

use super::tcp::{place, TcpState};
use crate::sock;
use crate::sys;
use std::io;
use std::os::fd::AsRawFd;

const NETLINK_SOCK_DIAG: i32 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
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

/// The answer about the socket `from` -> `to`, None where there is none of this family.
fn ask(request: u16, family: i32, from: &[u8], to: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let (Some(source), Some(target)) = (address(family, from), address(family, to)) else {
        return Ok(None);
    };
    let fd = sock::socket(libc::AF_NETLINK, libc::SOCK_DGRAM, NETLINK_SOCK_DIAG)?;
    let mut message = Vec::with_capacity(72);
    message.extend(72u32.to_ne_bytes());
    message.extend(request.to_ne_bytes());
    // Acknowledged, so that every request has an answer.
    let acknowledged = if request == SOCK_DESTROY { libc::NLM_F_ACK } else { 0 };
    message.extend(((libc::NLM_F_REQUEST | acknowledged) as u16).to_ne_bytes());
    message.extend([0; 8]);
    message.extend([family as u8, libc::IPPROTO_TCP as u8, 0, 0]);
    message.extend(u32::MAX.to_ne_bytes());
    message.extend_from_slice(&from[2..4]);
    message.extend_from_slice(&to[2..4]);
    message.extend_from_slice(&source);
    message.extend_from_slice(&target);
    message.extend(0u32.to_ne_bytes());
    message.extend([0xff; 8]);
    sock::send(fd.as_raw_fd(), &message, None, &[])?;
    let mut reply = vec![0; 8192];
    let n = sock::receive(fd.as_raw_fd(), &mut reply, 0)?.len;
    let kind = sys::from_bytes::<u16>(&reply[4..6]);
    Ok((kind == SOCK_DIAG_BY_FAMILY && n >= 76).then_some(reply))
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
