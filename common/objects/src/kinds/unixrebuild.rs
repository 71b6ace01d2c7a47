//! UNIX sockets again: bind, listen, pair up through the listener whose name an end carries, refill, connect
//! datagram sockets, shut down.

use super::unix::{path_of, Diag, Peer, SocketFile, UnixState};
use super::unixbacklog;
use super::unixdial::{listen, pair, socketpair, WIDE};
use super::unixqueue::Queued;
use crate::bytes::Bytes;
use crate::model::{Kind, ObjectId};
use crate::rebuild::Rebuilding;
use crate::sock::{self, Stage};
use crate::sys::{self, Folder};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// How to reach a bound socket; its file goes by another name for now.
#[derive(Clone, Debug)]
pub struct Route {
    folder: PathBuf,
    address: Bytes,
}

impl Route {
    fn to(file: &Path) -> Route {
        Route {
            folder: file.parent().unwrap_or(Path::new("/")).into(),
            address: address_of(Path::new(file.file_name().unwrap_or_default())),
        }
    }
}

/// A program that tries again and again to connect must not get in between, so names come last.
#[derive(Debug)]
pub struct Hidden {
    pub now: PathBuf,
    pub then: PathBuf,
}

/// Kept between rebuild and refill.
#[derive(Default)]
pub struct Work {
    pub routes: HashMap<ObjectId, Route>,
    /// Listeners that exist only to give accepted sockets their name.
    pub helpers: HashMap<(i32, Bytes), (OwnedFd, Route)>,
    /// The other end of sockets whose peer is gone, until their data is back.
    orphans: HashMap<ObjectId, OwnedFd>,
    /// Clients that were gone before they were accepted, in order, until their data is back.
    pub gone: Vec<OwnedFd>,
    pub hidden: Vec<Hidden>,
    /// Names to remove at the end.
    unlink: Vec<PathBuf>,
    scratch: Option<PathBuf>,
    pub diag: Diag,
}

impl Drop for Work {
    fn drop(&mut self) {
        for path in self.hidden.iter().map(|h| &h.now).chain(&self.unlink) {
            let _ = std::fs::remove_file(path);
        }
        if let Some(scratch) = &self.scratch {
            let _ = std::fs::remove_dir_all(scratch);
        }
    }
}

type Failure = (ObjectId, io::Error);

pub fn sockets<'a>(rb: &Rebuilding<'a>) -> Vec<(ObjectId, &'a UnixState)> {
    let set = rb.set;
    let unix = |(id, object): (ObjectId, &'a crate::Object)| match &object.kind {
        Kind::Unix(state) => Some((id, state.as_ref())),
        _ => None,
    };
    set.ids().filter_map(unix).collect()
}

pub fn rebuild(rb: &mut Rebuilding) -> Result<(), Failure> {
    let all = sockets(rb);
    // Unlinked and renamed ones first, so that the ones that still exist are made last.
    let linked = |s: &UnixState| s.file.as_ref().is_some_and(|f| f.linked && f.moved.is_none());
    for wanted in [false, true] {
        for (id, state) in all.iter().filter(|s| linked(s.1) == wanted) {
            single(*id, state, rb).map_err(|e| (*id, e))?;
        }
    }
    for (id, state) in &all {
        connected(*id, state, rb).map_err(|e| (*id, e))?;
    }
    for (id, state) in &all {
        unixbacklog::rebuild(*id, state, rb).map_err(|e| (*id, e))?;
    }
    for (id, state) in &all {
        if let Ok(fd) = rb.raw(*id) {
            state.options.apply(fd, Stage::Late);
        }
    }
    Ok(())
}

/// Datagram sockets that are one socketpair: mutual peers, one of them without a name.
fn is_datagram_pair(id: ObjectId, state: &UnixState, rb: &Rebuilding) -> Option<ObjectId> {
    let Peer::Object(peer) = state.peer else { return None };
    let Kind::Unix(other) = &rb.set.object(peer).kind else {
        return None;
    };
    let mutual = state.is_datagram() && other.peer == Peer::Object(id) && peer != id;
    (mutual && !(state.is_named() && other.is_named())).then_some(peer)
}

/// Listeners, unconnected sockets, datagram sockets.
fn single(id: ObjectId, state: &UnixState, rb: &mut Rebuilding) -> io::Result<()> {
    if rb.fds[id.index()].is_some() || !(state.is_datagram() || state.peer == Peer::None) {
        return Ok(());
    }
    if let Some(peer) = is_datagram_pair(id, state, rb) {
        let (a, b) = socketpair(state, rb)?;
        state.options.apply(a.as_raw_fd(), Stage::Early);
        rb.put(id, a)?;
        if let Kind::Unix(other) = &rb.set.object(peer).kind {
            other.options.apply(b.as_raw_fd(), Stage::Early);
            rb.put(peer, b)?;
            name_it(peer, other, rb)?;
        }
        return name_it(id, state, rb);
    }
    let fd = sock::socket(libc::AF_UNIX, state.kind, 0)?;
    state.options.apply(fd.as_raw_fd(), Stage::Early);
    rb.put(id, fd)?;
    name_it(id, state, rb)?;
    match state.listening {
        Some(_) => listen(rb.raw(id)?, WIDE, state.peer_cred, rb),
        None => Ok(()),
    }
}

fn name_it(id: ObjectId, state: &UnixState, rb: &mut Rebuilding) -> io::Result<()> {
    if !state.is_named() {
        return Ok(());
    }
    let fd = rb.raw(id)?;
    let route = bind(fd, &state.name, state.file.as_ref(), rb)?;
    rb.unix.routes.insert(id, route);
    Ok(())
}

/// Binds under the exact name the program saw, in the folder it was relative to.
pub fn bind(fd: RawFd, name: &Bytes, file: Option<&SocketFile>, rb: &mut Rebuilding) -> io::Result<Route> {
    let Some(path) = path_of(name) else {
        sock::bind(fd, name)?;
        return Ok(Route {
            folder: "/".into(),
            address: name.clone(),
        });
    };
    let path = Bytes::from(path).as_path().to_path_buf();
    let linked = file.is_some_and(|f| f.linked);
    let folder = folder_for(&path, file, linked, rb)?;
    let _inside = Folder::enter(&folder)?;
    remove_stale(&path)?;
    sock::bind(fd, name)?;
    let spare = path.with_file_name(sys::spare_name());
    std::fs::rename(&path, &spare)?;
    let now = folder.join(&spare);
    let route = Route::to(&now);
    // One that the program had unlinked is reachable until all is connected.
    let Some(file) = file.filter(|f| f.linked) else {
        rb.unix.unlink.push(now);
        return Ok(route);
    };
    let moved = file.moved.as_ref().map(|m| rb.map_path(m));
    rb.unix.hidden.push(Hidden { now, then: folder.join(moved.as_ref().unwrap_or(&path)) });
    std::fs::set_permissions(&spare, std::fs::Permissions::from_mode(file.mode))?;
    moved.map_or(Ok(()), |m| remove_stale(&m)).map(|()| route)
}

/// A folder that is gone serves for names that were unlinked as well: any place gives the same relative name.
fn folder_for(path: &Path, file: Option<&SocketFile>, linked: bool, rb: &mut Rebuilding) -> io::Result<PathBuf> {
    if path.is_absolute() {
        return Ok("/".into());
    }
    let known = file.map(|f| rb.map_path(&f.folder)).filter(|f| f.is_dir());
    if let (Some(folder), true) = (known, linked) {
        return Ok(folder);
    }
    let scratch = match &rb.unix.scratch {
        Some(scratch) => scratch.clone(),
        None => {
            let made = std::env::temp_dir().join(sys::spare_name());
            std::fs::DirBuilder::new().mode(0o700).create(&made)?;
            made
        }
    };
    let depth = path.parent().unwrap_or(Path::new(""));
    std::fs::create_dir_all(scratch.join(depth))?;
    rb.unix.scratch = Some(scratch.clone());
    Ok(scratch)
}

pub fn address_of(path: &Path) -> Bytes {
    let mut address = (libc::AF_UNIX as u16).to_ne_bytes().to_vec();
    address.extend(path.as_os_str().as_bytes());
    address.push(0);
    Bytes(address)
}

/// The file that the killed program left behind.
fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(meta) = path.symlink_metadata() else {
        return Ok(());
    };
    if !meta.file_type().is_socket() {
        return Err(io::Error::other(format!(
            "{} is taken by something that is no socket; move it away",
            path.display()
        )));
    }
    for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET] {
        let probe = sock::socket(libc::AF_UNIX, kind | libc::SOCK_NONBLOCK, 0)?;
        let answer = sock::connect(probe.as_raw_fd(), &address_of(path));
        if answer.is_ok() || answer.is_err_and(|e| sock::would_block(&e)) {
            return Err(io::Error::other(format!(
                "{} is in use by a running program; stop it",
                path.display()
            )));
        }
    }
    std::fs::remove_file(path)
}

pub fn connect(fd: RawFd, route: &Route) -> io::Result<()> {
    let _inside = match path_of(&route.address) {
        Some(_) => Some(Folder::enter(&route.folder)?),
        None => None,
    };
    sock::connect(fd, &route.address)
}

/// Both ends of a connection; the other end of one whose peer is gone is kept aside.
fn connected(id: ObjectId, state: &UnixState, rb: &mut Rebuilding) -> io::Result<()> {
    if rb.fds[id.index()].is_some() || state.is_datagram() {
        return Ok(());
    }
    let peer = match state.peer {
        Peer::Object(peer) if peer != id => Some(peer),
        Peer::Gone | Peer::Outside => None,
        _ => return Ok(()),
    };
    let set = rb.set;
    let other = peer.and_then(|p| match &set.object(p).kind {
        Kind::Unix(other) => Some(other.as_ref()),
        _ => None,
    });
    let (ours, theirs) = pair(state, other, rb).or_else(|e| {
        rb.risk(format!("{}: it is connected without its names: {e}", rb.name(id)));
        socketpair(state, rb)
    })?;
    state.options.apply(ours.as_raw_fd(), Stage::Early);
    rb.put(id, ours)?;
    match (peer, other) {
        (Some(peer), Some(other)) => {
            other.options.apply(theirs.as_raw_fd(), Stage::Early);
            rb.put(peer, theirs)
        }
        _ => {
            rb.unix.orphans.insert(id, theirs);
            Ok(())
        }
    }
}

pub fn refill(rb: &mut Rebuilding) -> Result<(), Failure> {
    let all = sockets(rb);
    for (id, state) in all.iter().filter(|s| !s.1.queue.is_empty()) {
        refill_one(*id, state, rb).map_err(|e| (*id, e))?;
    }
    for (id, state) in &all {
        unixbacklog::refill(state, rb).map_err(|e| (*id, e))?;
    }
    for (id, state) in in_connecting_order(&all) {
        reconnect_datagram(id, state, rb).map_err(|e| (id, e))?;
    }
    for (id, orphan) in std::mem::take(&mut rb.unix.orphans) {
        let reset = all.iter().any(|s| s.0 == id && s.1.reset);
        if let (true, Ok(fd)) = (reset, rb.raw(id)) {
            // Closed with something unread: that is what a reset is here.
            let _ = sock::send(fd, b"x", None, &[]);
        }
        drop(orphan);
    }
    rb.unix.helpers.clear();
    for (id, state) in &all {
        let Ok(fd) = rb.raw(*id) else { continue };
        if (1..=3).contains(&state.shutdown) {
            // ENOTCONN where closing the other end said it all.
            let _ = sock::shutdown(fd, i32::from(state.shutdown) - 1);
        }
        state.options.apply(fd, Stage::Last);
        if let Some(backlog) = state.listening {
            listen(fd, backlog, state.peer_cred, rb).map_err(|e| (*id, e))?;
        }
    }
    publish(&mut rb.unix)
}

/// A connected datagram socket takes connections from its peer only: all others come before its own connect.
fn in_connecting_order<'a>(all: &[(ObjectId, &'a UnixState)]) -> Vec<(ObjectId, &'a UnixState)> {
    let mut left: Vec<_> = all.iter().copied().filter(|s| s.1.is_datagram()).collect();
    let mut order = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let wanted = |id: ObjectId, state: &UnixState| {
            let by = |s: &&(ObjectId, &UnixState)| s.0 != id && s.1.peer == Peer::Object(id) && state.peer != Peer::Object(s.0);
            left.iter().any(|s| by(&s))
        };
        let (now, later): (Vec<_>, Vec<_>) = left.iter().copied().partition(|s| s.1.peer == Peer::None || !wanted(s.0, s.1));
        if now.is_empty() {
            order.extend(later);
            break;
        }
        order.extend(now);
        left = later;
    }
    order
}

fn publish(work: &mut Work) -> Result<(), Failure> {
    while let Some(Hidden { now, then }) = work.hidden.pop() {
        if let Err(e) = sys::rename_new(&now, &then) {
            let _ = std::fs::remove_file(&now);
            let address = Route::to(&now).address;
            let id = work.routes.iter().find(|r| r.1.address == address).map_or(ObjectId(0), |r| *r.0);
            return Err((id, io::Error::other(format!("{} cannot get its name back: {e}; stop what took it", then.display()))));
        }
    }
    *work = Work::default();
    Ok(())
}

fn refill_one(id: ObjectId, state: &UnixState, rb: &mut Rebuilding) -> io::Result<()> {
    let writer = match (rb.unix.orphans.get(&id), &state.peer) {
        (Some(orphan), _) => Some(orphan.as_raw_fd()),
        (None, Peer::Object(peer)) if !state.is_datagram() || is_datagram_pair(id, state, rb).is_some() => {
            Some(rb.raw(*peer)?)
        }
        _ => None,
    };
    for message in &state.queue {
        let fds = in_flight(message, rb);
        match writer {
            Some(writer) => drop(rb.in_person(message.cred, &|| {
                put_back(writer, state.kind, message, &fds).map(|()| [writer; 2])
            })?),
            None => send_datagram(id, message, &fds, rb)?,
        }
    }
    Ok(())
}

pub fn in_flight(message: &Queued, rb: &mut Rebuilding) -> Vec<RawFd> {
    let mut fds = Vec::with_capacity(message.fds.len());
    for id in &message.fds {
        match rb.raw(*id) {
            Ok(fd) => fds.push(fd),
            Err(_) => rb.risk(format!(
                "{}: a descriptor of its kind in a message on its way is lost",
                rb.name(*id)
            )),
        }
    }
    fds
}

pub fn put_back(writer: RawFd, kind: i32, message: &Queued, fds: &[RawFd]) -> io::Result<()> {
    let mut data: &[u8] = &message.data;
    let mut fds = fds;
    if message.urgent {
        return data.iter().try_for_each(|byte| sock::send_urgent(writer, *byte));
    }
    loop {
        let sent = match sock::send_as(writer, data, None, fds, message.cred) {
            Err(e) if sock::would_block(&e) => {
                sock::widen(writer);
                sock::send_as(writer, data, None, fds, message.cred)?
            }
            sent => sent?,
        };
        data = &data[sent..];
        fds = &[];
        if data.is_empty() || kind != libc::SOCK_STREAM {
            return Ok(());
        }
    }
}

/// From the socket that has the sender's name: one of ours, or a stand-in for one that is gone.
fn send_datagram(id: ObjectId, message: &Queued, fds: &[RawFd], rb: &mut Rebuilding) -> io::Result<()> {
    let Some(route) = rb.unix.routes.get(&id).cloned() else {
        rb.risk(format!("{}: a datagram in its queue is lost", rb.name(id)));
        return Ok(());
    };
    let named = |s: &(ObjectId, &UnixState)| message.from.len() > 2 && s.1.is_datagram() && s.1.name == message.from;
    let ours = sockets(rb).into_iter().find(named).and_then(|s| rb.raw(s.0).ok());
    let stand_in = sock::socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0)?;
    let sender = match ours {
        Some(fd) => fd,
        None => {
            if message.from.len() > 2 {
                bind(stand_in.as_raw_fd(), &message.from, None, rb)?;
            }
            sock::widen(stand_in.as_raw_fd());
            stand_in.as_raw_fd()
        }
    };
    let _inside = Folder::enter(&route.folder)?;
    let to = Some(route.address.0.as_slice());
    let send = || sock::send_as(sender, &message.data, to, fds, message.cred).map(|_| [sender; 2]);
    rb.in_person(message.cred, &send).map(drop)
}

fn reconnect_datagram(id: ObjectId, state: &UnixState, rb: &mut Rebuilding) -> io::Result<()> {
    if is_datagram_pair(id, state, rb).is_some() {
        return Ok(());
    }
    let fd = rb.raw(id)?;
    match &state.peer {
        Peer::Object(peer) => match rb.unix.routes.get(peer).cloned() {
            Some(route) => connect(fd, &route),
            None => {
                rb.risk(format!("{}: its peer has no name to connect to", rb.name(id)));
                Ok(())
            }
        },
        Peer::Outside if state.peer_name.len() > 2 => {
            if let Err(e) = sock::connect(fd, &state.peer_name) {
                rb.risk(format!("{}: its peer outside does not answer: {e}", rb.name(id)));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}
