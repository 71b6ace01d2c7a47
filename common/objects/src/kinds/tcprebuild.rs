//! TCP sockets again, with the addresses they had. Connections come first, through listeners of the moment; then the
//! program's own listeners and their backlogs.

use super::tcp::{self, bind_again, is_bound, place, Over, Peer, TcpState};
use super::{tcpbacklog, tcpdata, tcpdiag};
use crate::bytes::Bytes;
use crate::model::{Kind, ObjectId};
use crate::rebuild::Rebuilding;
use crate::sock::{self, Options, Stage};
use crate::sys;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// Other ends of connections whose peer is not here, until their data is back.
#[derive(Default)]
pub struct Work {
    phantoms: HashMap<ObjectId, OwnedFd>,
}

type Failure = (ObjectId, io::Error);

/// On loopback the kernel lets `connect` take over from TIME_WAIT after a second.
const TIME_WAIT_REUSE: Duration = Duration::from_millis(1500);

fn sockets<'a>(rb: &Rebuilding<'a>) -> Vec<(ObjectId, &'a TcpState)> {
    let set = rb.set;
    let tcp = |(id, object): (ObjectId, &'a crate::Object)| match &object.kind {
        Kind::Tcp(state) => Some((id, state.as_ref())),
        _ => None,
    };
    set.ids().filter_map(tcp).collect()
}

pub fn rebuild(rb: &mut Rebuilding) -> Result<(), Failure> {
    let all = sockets(rb);
    for (id, state) in &all {
        connection(*id, state, rb).map_err(|e| (*id, e))?;
    }
    for (id, state) in all.iter()
        .filter(|s| s.1.over.is_some() && s.1.peer == Peer::None) {
        over(*id, state, rb).map_err(|e| (*id, e))?;
    }
    for (id, state) in all.iter().filter(|s| s.1.peer == Peer::None && s.1.over.is_none() && !is_connecting(s.1)) {
        single(*id, state, rb).map_err(|e| (*id, e))?;
    }
    let mut callers: Vec<_> = all.iter().map(|(id, s)| (s.backlog_order, *id, *s, None)).collect();
    callers.extend(all.iter().flat_map(|(id, s)| s.left.iter().map(|l| (l.order, *id, *s, Some(l)))));
    callers.sort_by_key(|c| c.0);
    for (_, id, state, left) in callers {
        match left {
            None => client(id, state, rb).map_err(|e| (id, e))?,
            Some(left) => tcpbacklog::call(left).unwrap_or_else(|e| rb.risk(format!("{}: what a caller left behind is lost: {e}", rb.name(id)))),
        }
    }
    // Only now: SO_REUSEADDR on all let them share ports while they were made.
    for (id, state) in &all {
        if let Ok(fd) = rb.raw(*id) {
            let reuse = state.options.get(libc::SOL_SOCKET, libc::SO_REUSEADDR).unwrap_or(0);
            sock::set_int(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, reuse).map_err(|e| (*id, e))?;
        }
    }
    Ok(())
}

/// One end of a connection to make. A phantom has no options.
#[derive(Clone, Copy)]
struct End<'a> {
    domain: i32,
    protocol: i32,
    name: &'a Bytes,
    options: Option<&'a Options>,
}

impl<'a> End<'a> {
    fn of(state: &'a TcpState) -> End<'a> {
        End {
            domain: state.domain,
            protocol: state.protocol,
            name: &state.name,
            options: Some(&state.options),
        }
    }

    fn socket(&self) -> io::Result<OwnedFd> {
        let fd = sock::socket(self.domain, libc::SOCK_STREAM, self.protocol)?;
        self.apply(fd.as_raw_fd())?;
        Ok(fd)
    }

    fn apply(&self, fd: RawFd) -> io::Result<()> {
        if let Some(options) = self.options {
            options.apply(fd, Stage::Early);
        }
        sock::set_int(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)
    }

    /// Takes back what `take_port` has set.
    fn let_go(&self, fd: RawFd) {
        for name in [libc::IP_BIND_ADDRESS_NO_PORT, sock::IP_LOCAL_PORT_RANGE] {
            let before = self.options.and_then(|o| o.get(libc::IPPROTO_IP, name)).unwrap_or(0);
            let _ = sock::set_int(fd, libc::IPPROTO_IP, name, before);
        }
    }
}

fn connection(id: ObjectId, state: &TcpState, rb: &mut Rebuilding) -> io::Result<()> {
    if rb.fds[id.index()].is_some() {
        return Ok(());
    }
    let set = rb.set;
    match state.peer {
        Peer::Object(peer) if peer == id => to_itself(id, state, rb),
        Peer::Object(peer) => {
            let Kind::Tcp(other) = &set.object(peer).kind else {
                return Err(io::ErrorKind::InvalidInput.into());
            };
            let (ours, theirs) = join(id, End::of(state), End::of(other), rb)?;
            rb.put(id, ours)?;
            rb.put(peer, theirs)
        }
        Peer::Gone | Peer::Outside => {
            let none = Bytes::default();
            let name = state.peer_name.as_ref().unwrap_or(&none);
            let phantom = End {
                domain: state.domain,
                protocol: libc::IPPROTO_TCP,
                name,
                options: None,
            };
            let (ours, theirs) = join(id, End::of(state), phantom, rb)?;
            rb.put(id, ours)?;
            rb.tcp.phantoms.insert(id, theirs);
            Ok(())
        }
        Peer::None | Peer::Backlog(_) => Ok(()),
    }
}

/// A socket connected to its own address (simultaneous open).
fn to_itself(id: ObjectId, state: &TcpState, rb: &mut Rebuilding) -> io::Result<()> {
    let fd = End::of(state).socket()?;
    sock::bind(fd.as_raw_fd(), &state.name)?;
    sock::connect(fd.as_raw_fd(), &state.name)?;
    rb.put(id, fd)
}

/// The end whose port a listener of ours has was the server. The other one may be in TIME_WAIT from the killed
/// program: then the roles are changed, a listener may take over from TIME_WAIT at once.
fn join(id: ObjectId, ours: End, theirs: End, rb: &mut Rebuilding) -> io::Result<(OwnedFd, OwnedFd)> {
    let same_port = |name: &Bytes| place(name).map(|p| p.1);
    let has_listener = |name: &Bytes| {
        sockets(rb)
            .iter()
            .any(|s| s.1.state == tcp::LISTEN && same_port(&s.1.name) == same_port(name))
    };
    let they_serve = has_listener(theirs.name) && !has_listener(ours.name);
    let phantom = theirs.options.is_none();
    let patience = if phantom { Duration::ZERO } else { TIME_WAIT_REUSE };
    let deadline = Instant::now() + patience;
    let mut tried = false;
    loop {
        for swapped in [they_serve, !they_serve] {
            for choose in [Port::Range, Port::Bind] {
                let made = match swapped {
                    true => meet(theirs, ours, choose).map(|(server, client)| (client, server)),
                    false => meet(ours, theirs, choose),
                };
                if made.is_ok() {
                    return made;
                }
            }
        }
        if Instant::now() >= deadline {
            break;
        }
        wait_for(ours.name, theirs.name, &mut tried);
    }
    if !phantom {
        rb.risk(format!(
            "{}: its addresses are taken; it is connected under others",
            rb.name(id)
        ));
    }
    anywhere(ours, theirs)
}

/// The second try is made at once if TIME_WAIT could be ended; otherwise time does it.
fn wait_for(one: &Bytes, other: &Bytes, tried: &mut bool) {
    if *tried {
        std::thread::sleep(Duration::from_millis(50));
        return;
    }
    *tried = true;
    // EPERM for ordinary users.
    let _ = tcpdiag::end_time_wait(one, other);
    let _ = tcpdiag::end_time_wait(other, one);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Port {
    /// As `connect` chooses one: it may take over from TIME_WAIT, now and after the next restart, where `bind` may not.
    Range,
    Bind,
    Any,
}

/// `(server, client)` with exactly their names.
fn meet(server: End, client: End, choose: Port) -> io::Result<(OwnedFd, OwnedFd)> {
    let listener = server.socket()?;
    sock::bind(listener.as_raw_fd(), server.name)?;
    sock::listen(listener.as_raw_fd(), i32::MAX)?;
    let fd = client.socket()?;
    take_port(fd.as_raw_fd(), client, choose)?;
    connect(fd.as_raw_fd(), &in_domain(server.name, client.domain))?;
    let accepted = accept_soon(listener.as_raw_fd(), fd.as_raw_fd())?;
    server.apply(accepted.as_raw_fd())?;
    client.let_go(fd.as_raw_fd());
    Ok((accepted, fd))
}

fn take_port(fd: RawFd, end: End, choose: Port) -> io::Result<()> {
    match choose {
        Port::Any => Ok(()),
        Port::Bind => sock::bind(fd, end.name),
        Port::Range => {
            let mut address = end.name.0.clone();
            address[2..4].fill(0);
            sock::set_int(fd, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
            sock::bind(fd, &address)?;
            sock::set_int(fd, libc::IPPROTO_IP, sock::IP_LOCAL_PORT_RANGE, only_port_of(end.name)?)
        }
    }
}

/// The range of ports with which `connect` will choose exactly this one (Linux 6.3).
pub fn only_port_of(name: &Bytes) -> io::Result<i32> {
    let port = u32::from(place(name).ok_or(io::ErrorKind::InvalidInput)?.1);
    Ok((port << 16 | port) as i32)
}

/// Loopback answers at once; anything else is not where the listener is.
pub fn connect(fd: RawFd, name: &[u8]) -> io::Result<()> {
    let before = sys::fcntl(fd, libc::F_GETFL, 0)?;
    sys::fcntl(fd, libc::F_SETFL, before | libc::O_NONBLOCK)?;
    let result = match sock::connect(fd, name) {
        Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => {
            let ready = sys::poll(fd, libc::POLLOUT, 1000)?;
            match ready & (libc::POLLERR | libc::POLLHUP | libc::POLLOUT) {
                libc::POLLOUT => Ok(()),
                0 => Err(io::ErrorKind::TimedOut.into()),
                _ => Err(io::ErrorKind::ConnectionRefused.into()),
            }
        }
        result => result,
    };
    sys::fcntl(fd, libc::F_SETFL, before)?;
    result
}

/// The handshake's end may be a moment behind connect's; a wait without end is none. Strangers that try to reach the
/// program just now are turned away.
fn accept_soon(listener: RawFd, client: RawFd) -> io::Result<OwnedFd> {
    let wanted = place(&sock::local_name(client)?);
    loop {
        if sys::poll(listener, libc::POLLIN, 1000)? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let accepted = sock::accept(listener)?;
        // One that has gone again has no name.
        if sock::peer_name(accepted.as_raw_fd()).is_ok_and(|name| place(&name) == wanted) {
            return Ok(accepted);
        }
    }
}

/// The address as a socket of `domain` writes it.
pub fn in_domain(name: &Bytes, domain: i32) -> Bytes {
    let family = i32::from(sys::from_bytes::<u16>(name));
    let Some((address, port)) = place(name).filter(|_| family != domain) else {
        return name.clone();
    };
    let mut other = (domain as u16).to_ne_bytes().to_vec();
    other.extend(port.to_be_bytes());
    if domain == libc::AF_INET {
        other.extend_from_slice(&address[12..]);
        other.extend([0; 8]);
    } else {
        other.extend([0; 4]);
        other.extend_from_slice(&address);
        other.extend([0; 4]);
    }
    Bytes(other)
}

/// Loopback, any port, for the first end; the second keeps its own port where it can.
fn anywhere(ours: End, theirs: End) -> io::Result<(OwnedFd, OwnedFd)> {
    let loopback = in_domain(&Bytes(ipv4_loopback()), ours.domain);
    for choose in [Port::Bind, Port::Any] {
        let listener = sock::socket(ours.domain, libc::SOCK_STREAM, 0)?;
        let lo = if ours.domain == libc::AF_INET6 {
            ipv6_loopback()
        } else {
            loopback.0.clone()
        };
        sock::bind(listener.as_raw_fd(), &lo)?;
        sock::listen(listener.as_raw_fd(), i32::MAX)?;
        let name = sock::local_name(listener.as_raw_fd())?;
        let fd = ours.socket()?;
        let made = take_port(fd.as_raw_fd(), ours, choose).and_then(|()| connect(fd.as_raw_fd(), &name));
        if made.is_ok() {
            let accepted = accept_soon(listener.as_raw_fd(), fd.as_raw_fd())?;
            theirs.apply(accepted.as_raw_fd())?;
            return Ok((fd, accepted));
        }
    }
    Err(io::Error::other("no loopback connection can be made"))
}

fn ipv4_loopback() -> Vec<u8> {
    let mut name = (libc::AF_INET as u16).to_ne_bytes().to_vec();
    name.extend([0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    name
}

fn ipv6_loopback() -> Vec<u8> {
    let mut name = (libc::AF_INET6 as u16).to_ne_bytes().to_vec();
    name.extend([0; 6]);
    name.extend([0; 15]);
    name.extend([1, 0, 0, 0, 0]);
    name
}

/// A connection of which both ends have said all, or that failed: what is left to read, and the error, are in it.
fn over(id: ObjectId, state: &TcpState, rb: &mut Rebuilding) -> io::Result<()> {
    let end = End::of(state);
    if state.over == Some(Over::Refused) {
        let fd = end.socket()?;
        // Nobody listens on a port that is only bound.
        let closed = sock::socket(state.domain, libc::SOCK_STREAM, 0)?;
        let address = if state.domain == libc::AF_INET6 { ipv6_loopback() } else { ipv4_loopback() };
        sock::bind(closed.as_raw_fd(), &address)?;
        let refused = connect_and_leave(fd.as_raw_fd(), &sock::local_name(closed.as_raw_fd())?);
        if !state.broken {
            sock::getsockopt_int(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ERROR)?;
        }
        return refused.and_then(|()| rb.put(id, fd));
    }
    let none = Bytes::default();
    let phantom = End { domain: state.domain, protocol: libc::IPPROTO_TCP, name: &none, options: None };
    let (ours, theirs) = anywhere(end, phantom)?;
    rb.put(id, ours)?;
    rb.tcp.phantoms.insert(id, theirs);
    Ok(())
}

/// The answer, good or bad, is for the program.
fn connect_and_leave(fd: RawFd, target: &[u8]) -> io::Result<()> {
    let before = sys::fcntl(fd, libc::F_GETFL, 0)?;
    sys::fcntl(fd, libc::F_SETFL, before | libc::O_NONBLOCK)?;
    let _ = sock::connect(fd, target);
    sys::poll(fd, libc::POLLOUT, 1000)?;
    sys::fcntl(fd, libc::F_SETFL, before).map(drop)
}

/// Listeners, bound and fresh sockets.
fn single(id: ObjectId, state: &TcpState, rb: &mut Rebuilding) -> io::Result<()> {
    let fd = End::of(state).socket()?;
    if is_bound(&state.name) {
        let port = place(&state.name).map_or(0, |p| p.1);
        bind_patiently(fd.as_raw_fd(), &state.name, port)
            .map_err(|e| io::Error::other(format!("TCP port {port}: {e}; free it and try again")))?;
    }
    if state.state == tcp::LISTEN {
        sock::listen(fd.as_raw_fd(), state.backlog)?;
    }
    rb.put(id, fd)
}

/// What the killed program's connections hold back goes at once for root, else in a minute.
fn bind_patiently(fd: RawFd, name: &Bytes, port: u16) -> io::Result<()> {
    let deadline = Instant::now() + tcpdiag::TIME_WAIT_ENDS;
    loop {
        let error = match bind_again(fd, name) {
            Err(e) if e.raw_os_error() == Some(libc::EADDRINUSE) => e,
            done => return done,
        };
        if Instant::now() > deadline || !tcpdiag::only_remains(port, true)? {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn is_connecting(state: &TcpState) -> bool {
    state.state == tcp::SYN_SENT && state.peer_name.is_some()
}

/// Clients that wait to be accepted, and those whose connect is under way.
fn client(id: ObjectId, state: &TcpState, rb: &mut Rebuilding) -> io::Result<()> {
    let waiting = matches!(state.peer, Peer::Backlog(_)) || is_connecting(state);
    let Some(target) = state.peer_name.as_ref().filter(|_| waiting) else {
        return Ok(());
    };
    let deadline = Instant::now() + TIME_WAIT_REUSE;
    let mut tried = false;
    while Instant::now() < deadline {
        for choose in [Port::Range, Port::Bind] {
            if let Ok(fd) = reach(state, target, choose) {
                return rb.put(id, fd);
            }
        }
        wait_for(&state.name, target, &mut tried);
    }
    rb.risk(format!("{}: its port is taken; it has another one", rb.name(id)));
    let fd = reach(state, target, Port::Any)?;
    rb.put(id, fd)
}

fn reach(state: &TcpState, target: &Bytes, choose: Port) -> io::Result<OwnedFd> {
    let end = End::of(state);
    let fd = end.socket()?;
    take_port(fd.as_raw_fd(), end, choose)?;
    if state.state == tcp::SYN_SENT {
        sys::fcntl(fd.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK)?;
        // The answer, good or bad, is for the program.
        let _ = sock::connect(fd.as_raw_fd(), target);
    } else {
        connect(fd.as_raw_fd(), target)?;
    }
    end.let_go(fd.as_raw_fd());
    Ok(fd)
}

pub fn refill(rb: &mut Rebuilding) -> Result<(), Failure> {
    let all = sockets(rb);
    for (id, state) in all.iter().filter(|s| !s.1.queue.is_empty() || s.1.urgent.is_some()) {
        fill(*id, state, rb).map_err(|e| (*id, e))?;
    }
    for (id, state) in &all {
        if let Ok(fd) = rb.raw(*id) {
            tcpbacklog::refill(fd, state).map_err(|e| (*id, e))?;
            if state.is_mute() || state.over.is_some() && !state.broken {
                let _ = sock::shutdown(fd, libc::SHUT_WR);
            }
            if state.deaf {
                let _ = sock::shutdown(fd, libc::SHUT_RD);
            }
        }
    }
    for (id, state) in &all {
        if let Some(phantom) = rb.tcp.phantoms.remove(id) {
            leave(phantom, state).map_err(|e| (*id, e))?;
        }
        if let Ok(fd) = rb.raw(*id) {
            state.options.apply(fd, Stage::Late);
            state.options.apply(fd, Stage::Last);
        }
    }
    Ok(())
}

fn fill(id: ObjectId, state: &TcpState, rb: &mut Rebuilding) -> io::Result<()> {
    let reader = rb.raw(id)?;
    let writer = match (rb.tcp.phantoms.get(&id), state.peer) {
        (Some(phantom), _) => phantom.as_raw_fd(),
        (None, Peer::Object(peer)) => rb.raw(peer)?,
        _ => return Ok(()),
    };
    tcpdata::fill_new(writer, reader, &state.queue, state.urgent)
}

/// A peer that has closed says FIN; one that is elsewhere is gone for good: RST.
fn leave(phantom: OwnedFd, state: &TcpState) -> io::Result<()> {
    if state.peer == Peer::Outside || state.broken {
        let now = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        sock::setsockopt(
            phantom.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            sys::bytes_of(&now),
        )?;
    }
    drop(phantom);
    Ok(())
}
