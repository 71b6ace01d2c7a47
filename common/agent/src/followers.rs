//! One agent looks after the computation on a host: those that come later hand their programs over to it, so that what
//! the programs share (connections, memory, locks) is in one image. When it ends, one of the others takes its place.

use crate::checkpoint::is_open;
use crate::link::{Link, poll};
use crate::{obstacle, procfs};
use ckpt_sys::flat::{Msg, msg};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Who connects says at once what it wants.
const GREETING: Duration = Duration::from_millis(200);

/// What an agent that follows says, in `Msg::arg` of FOLLOW; and the leader's answer.
pub mod follow {
    /// agent: may I? Body: what it was launched with; carries its listener and its standard streams
    pub const ASK: u64 = 1;
    /// leader: yes; carries the table that processes share
    pub const WELCOME: u64 = 2;
    /// agent: from now on
    pub const BEGIN: u64 = 3;
    /// leader: generation `arg2` is the newest
    pub const GENERATION: u64 = 4;
    /// leader: it ends; who has found another, or leads, closes
    pub const END: u64 = 5;
}

/// An agent that follows this one.
struct Follower {
    link: Link,
    pid: i32,
    /// while it lives its id is nobody else's
    pidfd: OwnedFd,
    listener: OwnedFd,
    std: [Option<OwnedFd>; 3],
    begun: bool,
}

impl Follower {
    /// It has handed its programs over, and is there to look after what it started.
    fn counts(&self) -> bool {
        self.begun && poll(&[self.pidfd.as_raw_fd()], Duration::ZERO).is_ok_and(|ended| ended.is_empty())
    }
}

#[derive(Default)]
pub struct Followers {
    door: Mutex<Option<OwnedFd>>,
    all: Mutex<Vec<Follower>>,
}

/// Ids of an agent that follows: its programs' parent, group and session outside.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings {
    pub pid: i32,
    pub pgid: i32,
    pub sid: i32,
}

fn address(computation: &[u8; 16]) -> io::Result<UnixAddr> {
    let hex: String = computation.iter().map(|b| format!("{b:02x}")).collect();
    Ok(UnixAddr::new_abstract(format!("ckpt-leads-{hex}").as_bytes())?)
}

fn socket() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socket::socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?)
}

/// Asks who leads on this host. None: nobody does.
pub fn ask(computation: &[u8; 16], kinship: &str, listener: RawFd) -> io::Result<Option<Link>> {
    let fd = socket()?;
    match socket::connect(fd.as_raw_fd(), &address(computation)?) {
        Err(nix::Error::ECONNREFUSED) => return Ok(None),
        done => done?,
    }
    // Anybody may take a name.
    if socket::getsockopt(&fd, socket::sockopt::PeerCredentials)?.uid() != nix::unistd::geteuid().as_raw() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let std: Vec<RawFd> = (0..3).filter(|&fd| is_open(fd)).collect();
    let which = std.iter().fold(0u64, |all, fd| all | 1 << fd);
    let fds: Vec<RawFd> = [listener].into_iter().chain(std).collect();
    let link = Link(fd);
    link.send_with(Msg { kind: msg::FOLLOW, arg: follow::ASK, arg2: which, ..Msg::default() }, kinship.as_bytes(), &fds)?;
    Ok(Some(link))
}

impl Followers {
    fn all(&self) -> MutexGuard<'_, Vec<Follower>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn door(&self) -> MutexGuard<'_, Option<OwnedFd>> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leads from now on. False: another one does.
    pub fn lead(&self, computation: &[u8; 16]) -> io::Result<bool> {
        let fd = socket()?;
        match socket::bind(fd.as_raw_fd(), &address(computation)?) {
            Err(nix::Error::EADDRINUSE) => return Ok(false),
            done => done?,
        }
        socket::listen(&fd, socket::Backlog::new(64).unwrap_or(socket::Backlog::MAXCONN))?;
        *self.door() = Some(fd);
        Ok(true)
    }

    /// The door, and those who came through it.
    pub fn links(&self) -> Vec<RawFd> {
        let door = self.door().as_ref().map(AsRawFd::as_raw_fd);
        door.into_iter().chain(self.all().iter().map(|f| f.link.fd())).collect()
    }

    /// Hears those who come and those who go. `kinship`: what the others must have been launched with, too; None: nobody
    /// may follow. `table`: what processes share.
    pub fn attend(&self, kinship: Option<&str>, table: RawFd) {
        loop {
            let came = self.door().as_ref().map(|d| socket::accept4(d.as_raw_fd(), SockFlag::SOCK_CLOEXEC));
            let Some(Ok(fd)) = came else { break };
            // SAFETY: accept4 returned a new descriptor that nobody else owns.
            let link = Link(unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) });
            self.all().extend(greet(link, kinship, table));
        }
        self.all().retain_mut(|f| {
            while poll(&[f.link.fd()], Duration::ZERO).is_ok_and(|ready| !ready.is_empty()) {
                match f.link.recv() {
                    Ok(p) if p.msg.kind == msg::FOLLOW && p.msg.arg == follow::BEGIN => f.begun = true,
                    Ok(_) => {}
                    Err(_) => return false,
                }
            }
            true
        });
    }

    /// Should one of them have to take over, it must not give this number again.
    pub fn tell_generation(&self, generation: u32) {
        for f in self.all().iter() {
            let _ = f.link.send_with(Msg { kind: msg::FOLLOW, arg: follow::GENERATION, arg2: generation.into(), ..Msg::default() }, &[], &[]);
        }
    }

    /// Leads no more. Waits for the others, for at most `patience`: one of them is to be known to the coordinator
    /// before this agent leaves it, or it may take the computation for ended.
    pub fn dismiss(&self, patience: Duration) {
        // First, so that who asks again finds it closed.
        *self.door() = None;
        let heirs = std::mem::take(&mut *self.all());
        let end = Msg { kind: msg::FOLLOW, arg: follow::END, ..Msg::default() };
        let told: Vec<Follower> = heirs.into_iter().filter(|f| f.counts() && f.link.send_with(end, &[], &[]).is_ok()).collect();
        let deadline = Instant::now() + patience;
        for f in told {
            while f.link.recv_within(deadline.saturating_duration_since(Instant::now())).is_ok() {}
        }
    }

    pub fn pids(&self) -> Vec<i32> {
        self.all().iter().filter(|f| f.counts()).map(|f| f.pid).collect()
    }

    /// Where their processes connect to.
    pub fn listeners(&self) -> Vec<RawFd> {
        self.all().iter().filter(|f| f.counts()).map(|f| f.listener.as_raw_fd()).collect()
    }

    pub fn std(&self) -> Vec<[Option<RawFd>; 3]> {
        let raw = |fd: &Option<OwnedFd>| fd.as_ref().map(AsRawFd::as_raw_fd);
        self.all().iter().filter(|f| f.counts()).map(|f| [raw(&f.std[0]), raw(&f.std[1]), raw(&f.std[2])]).collect()
    }

    pub fn surroundings(&self) -> Vec<Surroundings> {
        let of = |pid: i32| {
            // SAFETY: only asks.
            let (pgid, sid) = unsafe { (libc::getpgid(pid), libc::getsid(pid)) };
            Surroundings { pid, pgid, sid }
        };
        self.pids().into_iter().map(of).collect()
    }
}

fn greet(link: Link, kinship: Option<&str>, table: RawFd) -> Option<Follower> {
    let cred = socket::getsockopt(&link.0, socket::sockopt::PeerCredentials).ok()?;
    // Another user's word is not waited for.
    if cred.uid() != nix::unistd::geteuid().as_raw() {
        return None;
    }
    let asked = link.recv_within(GREETING).ok()?;
    let kin = kinship.is_some_and(|k| k.as_bytes() == asked.body);
    // Who has no id here is in another pid namespace.
    let near = cred.pid() > 0 && obstacle::of(cred.pid()).is_none();
    let mut fds = asked.fds.into_iter();
    let (listener, pidfd) = (fds.next(), procfs::pidfd(cred.pid()).ok());
    let (true, Some(listener), Some(pidfd)) = (kin && near && asked.msg.kind == msg::FOLLOW && asked.msg.arg == follow::ASK, listener, pidfd) else {
        let _ = link.send(msg::CANCEL);
        return None;
    };
    let std = [0, 1, 2].map(|n| (asked.msg.arg2 >> n & 1 == 1).then(|| fds.next()).flatten());
    link.send_with(Msg { kind: msg::FOLLOW, arg: follow::WELCOME, ..Msg::default() }, &[], &[table]).ok()?;
    Some(Follower { link, pid: cred.pid(), pidfd, listener, std, begun: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_launched_otherwise_does_not_follow() -> io::Result<()> {
        let (leader, computation) = (Followers::default(), *b"0123456789abcdef");
        let listener = crate::link::Listener::new()?;
        assert!(ask(&computation, "a", listener.fd.as_raw_fd())?.is_none());
        assert!(leader.lead(&computation)?);
        assert!(!Followers::default().lead(&computation)?);
        for (kinship, answer) in [("b", msg::CANCEL), ("a", msg::FOLLOW)] {
            let link = ask(&computation, kinship, listener.fd.as_raw_fd())?.ok_or(io::ErrorKind::NotFound)?;
            leader.attend(Some("a"), 0);
            assert_eq!(link.recv()?.msg.kind, answer);
            assert!(leader.pids().is_empty());
            if answer == msg::FOLLOW {
                link.send_with(Msg { kind: msg::FOLLOW, arg: follow::BEGIN, ..Msg::default() }, &[], &[])?;
                leader.attend(Some("a"), 0);
                assert_eq!(leader.pids(), [std::process::id() as i32]);
                drop(link);
                leader.attend(Some("a"), 0);
                assert!(leader.pids().is_empty());
            }
        }
        leader.dismiss(Duration::ZERO);
        assert!(ask(&computation, "a", listener.fd.as_raw_fd())?.is_none());
        Ok(())
    }

    #[test]
    fn the_leader_stays_until_its_followers_have_closed() -> io::Result<()> {
        let (leader, computation) = (Followers::default(), *b"an heir is there");
        let listener = crate::link::Listener::new()?;
        assert!(leader.lead(&computation)?);
        let link = ask(&computation, "a", listener.fd.as_raw_fd())?.ok_or(io::ErrorKind::NotFound)?;
        leader.attend(Some("a"), 0);
        assert_eq!(link.recv()?.msg.arg, follow::WELCOME);
        link.send_with(Msg { kind: msg::FOLLOW, arg: follow::BEGIN, ..Msg::default() }, &[], &[])?;
        leader.attend(Some("a"), 0);
        std::thread::scope(|scope| {
            let leaving = scope.spawn(|| leader.dismiss(Duration::from_secs(3600)));
            assert_eq!(link.recv_within(Duration::from_secs(60))?.msg.arg, follow::END);
            // The name is free already: the heir leads before it lets the other go.
            assert!(Followers::default().lead(&computation)?);
            assert!(!leaving.is_finished());
            drop(link);
            Ok(())
        })
    }
}
