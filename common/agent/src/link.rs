//! Seqpacket sockets to processes: one message each, descriptors beside it.

use crate::followers::Followers;
use crate::requests::{Requests, Told};
use ckpt_sys::flat::{Msg, bytes_of, from_bytes};
use nix::cmsg_space;
use nix::sys::socket::{self, AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

pub struct Link(pub OwnedFd);

pub struct Packet {
    pub msg: Msg,
    pub body: Vec<u8>,
    pub fds: Vec<OwnedFd>,
}

/// A listener at an abstract name that only processes of this computation are told.
pub struct Listener {
    pub fd: OwnedFd,
    pub name: String,
    pub requests: Requests,
    /// agents that have handed their programs over
    pub followers: Followers,
}

impl Listener {
    pub fn new() -> io::Result<Listener> {
        let mut random = [0u8; 12];
        getrandom(&mut random)?;
        let name = format!("ckpt-{}", random.iter().map(|b| format!("{b:02x}")).collect::<String>());
        let fd = socket::socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
        socket::bind(fd.as_raw_fd(), &UnixAddr::new_abstract(name.as_bytes())?)?;
        socket::listen(&fd, socket::Backlog::new(4096).unwrap_or(socket::Backlog::MAXCONN))?;
        Ok(Listener { fd, name, requests: Requests::default(), followers: Followers::default() })
    }

    /// A process that connected, with the pid the kernel says it has; None when nobody waits.
    pub fn accept(&self) -> Option<(Link, i32)> {
        let fd = self.fds().into_iter().find_map(|fd| socket::accept4(fd, SockFlag::SOCK_CLOEXEC).ok())?;
        // SAFETY: accept4 returned a new descriptor that nobody else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let cred = socket::getsockopt(&fd, socket::sockopt::PeerCredentials).ok()?;
        let own = nix::unistd::geteuid().as_raw();
        (own == 0 || cred.uid() == own || cred.uid() == 0).then_some((Link(fd), cred.pid()))
    }
}

impl Listener {
    /// Where processes connect to.
    pub fn fds(&self) -> Vec<RawFd> {
        [self.fd.as_raw_fd()].into_iter().chain(self.followers.listeners()).collect()
    }

    /// The agents whose descendants the members are.
    pub fn agents(&self) -> Vec<i32> {
        [std::process::id() as i32].into_iter().chain(self.followers.pids()).collect()
    }

    /// Hears those who came by themselves. What callbacks took, of those that said so.
    pub fn hear(&self) -> Vec<Told> {
        while let Some((link, pid)) = self.accept() {
            self.requests.greet(&link, pid);
        }
        self.requests.take_told()
    }
}

fn getrandom(buf: &mut [u8]) -> io::Result<()> {
    // SAFETY: buf is writable for its length.
    let n = unsafe { libc::getrandom(buf.as_mut_ptr().cast(), buf.len(), 0) };
    if n == buf.len() as isize { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Two connected ends.
pub fn pair() -> io::Result<(Link, OwnedFd)> {
    let (a, b) = socket::socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    Ok((Link(a), b))
}

impl Link {
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    pub fn send(&self, kind: u32) -> io::Result<()> {
        self.send_with(Msg { kind, ..Msg::default() }, &[], &[])
    }

    pub fn send_with(&self, msg: Msg, body: &[u8], fds: &[RawFd]) -> io::Result<()> {
        let iov = [IoSlice::new(bytes_of(&msg)), IoSlice::new(body)];
        let rights = [ControlMessage::ScmRights(fds)];
        let control = if fds.is_empty() { &rights[..0] } else { &rights[..] };
        loop {
            match socket::sendmsg::<()>(self.fd(), &iov, control, MsgFlags::MSG_NOSIGNAL, None) {
                Err(nix::Error::EINTR) => {}
                other => return other.map(drop).map_err(io::Error::from),
            }
        }
    }

    /// The next message; waits. Errors: UnexpectedEof when the other side is gone.
    pub fn recv(&self) -> io::Result<Packet> {
        let mut buf = vec![0u8; 16 << 10];
        let mut space = cmsg_space!([RawFd; 253]);
        let mut iov = [IoSliceMut::new(&mut buf)];
        let mut reset = false;
        let (n, fds) = loop {
            match socket::recvmsg::<()>(self.fd(), &mut iov, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
                Err(nix::Error::EINTR) => {}
                // Closed with a message of ours unread: that is told first, and once; its last words come after.
                Err(nix::Error::ECONNRESET) if !reset => reset = true,
                Err(e) => return Err(e.into()),
                Ok(r) => break (r.bytes, owned(&r)?),
            }
        };
        let msg = from_bytes(&buf[..n]).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Packet { msg, body: buf[size_of::<Msg>()..n].to_vec(), fds })
    }

    /// As `recv`, but Errors: TimedOut after `patience`.
    pub fn recv_within(&self, patience: Duration) -> io::Result<Packet> {
        if poll(&[self.fd()], patience)?.is_empty() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.recv()
    }
}

fn owned(r: &socket::RecvMsg<'_, '_, ()>) -> io::Result<Vec<OwnedFd>> {
    let mut fds = Vec::new();
    for c in r.cmsgs()? {
        if let ControlMessageOwned::ScmRights(list) = c {
            // SAFETY: the kernel installed these descriptors for us.
            fds.extend(list.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    Ok(fds)
}

/// Those of `fds` that are readable or closed, after at most `patience`.
pub fn poll(fds: &[RawFd], patience: Duration) -> io::Result<Vec<RawFd>> {
    let mut list: Vec<libc::pollfd> = fds.iter().map(|&fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect();
    let ms = patience.as_millis().min(i32::MAX as u128) as i32;
    // SAFETY: list is an array of pollfd of the length given.
    let n = unsafe { libc::poll(list.as_mut_ptr(), list.len() as libc::nfds_t, ms) };
    if n < 0 {
        let e = io::Error::last_os_error();
        return if e.kind() == io::ErrorKind::Interrupted { Ok(Vec::new()) } else { Err(e) };
    }
    Ok(list.iter().filter(|p| p.revents != 0).map(|p| p.fd).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ckpt_sys::flat::msg;

    #[test]
    fn last_words_are_heard_though_the_other_side_left_ours_unread() -> io::Result<()> {
        let (ours, theirs) = pair()?;
        let theirs = Link(theirs);
        ours.send(msg::PROCEED)?;
        theirs.send(msg::FAILED)?;
        drop(theirs);
        assert_eq!(ours.recv()?.msg.kind, msg::FAILED);
        assert!(ours.recv().is_err());
        Ok(())
    }
}
