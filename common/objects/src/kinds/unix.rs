//! UNIX sockets: what they are and who their peer is. Peers come from sock_diag, data by MSG_PEEK (see unixqueue).

use super::inherited::Inherited;
use super::unixbacklog::{self, Listener, Waiting};
use super::unixqueue::{self, Queued};
use crate::bytes::Bytes;
use crate::capture::Capturing;
use crate::model::{Kind, ObjectId};
use crate::probe::Probe;
use crate::sock::{self, Cred, Options};
use crate::sys;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct UnixState {
    /// SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET.
    pub kind: i32,
    /// As getsockname gives it; two bytes when it has no name.
    pub name: Bytes,
    pub peer_name: Bytes,
    pub file: Option<SocketFile>,
    pub peer: Peer,
    /// Who is at the other end; of a listening socket, who listens.
    pub peer_cred: Option<Cred>,
    /// The backlog, for a listening socket.
    pub listening: Option<i32>,
    /// Clients that wait to be accepted, in order.
    pub pending: Vec<Waiting>,
    /// Bit 0: no more reading, bit 1: no more writing.
    pub shutdown: u8,
    pub queue: Vec<Queued>,
    /// The peer closed with something unread: ECONNRESET waits.
    pub reset: bool,
    pub options: Options,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    None,
    Object(ObjectId),
    /// Waits in the backlog of a listener of ours.
    Backlog(ObjectId),
    Outside,
    Gone,
}

/// The name in the file system.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SocketFile {
    /// Where a relative name was bound.
    pub folder: Bytes,
    /// False: it was unlinked since.
    pub linked: bool,
    /// Renamed: its name now.
    pub moved: Option<Bytes>,
    pub mode: u32,
}

impl UnixState {
    /// Every other object that it names.
    pub fn refers_to(&self) -> impl Iterator<Item = ObjectId> + '_ {
        let peer = match self.peer {
            Peer::Object(id) | Peer::Backlog(id) => Some(id),
            _ => None,
        };
        let messages = self.queue.iter().chain(self.pending.iter().flat_map(|w| &w.queue));
        let clients = self.pending.iter().filter_map(|w| w.client);
        peer.into_iter().chain(clients).chain(messages.flat_map(|q| q.fds.iter().copied()))
    }

    pub fn is_datagram(&self) -> bool {
        self.kind == libc::SOCK_DGRAM
    }

    pub fn is_named(&self) -> bool {
        self.name.len() > 2
    }
}

/// The path in a socket address, without the NUL that may end it.
pub fn path_of(name: &[u8]) -> Option<&[u8]> {
    let path = name.get(2..)?;
    let end = path.iter().position(|b| *b == 0).unwrap_or(path.len());
    (end > 0).then_some(&path[..end])
}

/// What sock_diag says of one socket.
#[derive(Default)]
pub struct Info {
    listening: bool,
    pub backlog: u32,
    pub peer: Option<u32>,
    pub vfs: Option<(u32, u32)>,
    /// Inodes of clients that wait to be accepted, in order.
    pub pending: Vec<u32>,
    shutdown: u8,
    /// Memory of what it sent and its peer has not read.
    pub unread_by_peer: u32,
}

/// A netlink socket, opened when the first UNIX socket is met, and what relates sockets by inode.
#[derive(Default)]
pub struct Diag {
    netlink: Option<OwnedFd>,
    infos: Vec<(ObjectId, Info)>,
}

const NETLINK_SOCK_DIAG: i32 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SHOW_ALL: u32 = 0x3f;

impl Diag {
    pub fn ask(&mut self, ino: u32) -> io::Result<Info> {
        if self.netlink.is_none() {
            self.netlink = Some(sock::socket(libc::AF_NETLINK, libc::SOCK_DGRAM, NETLINK_SOCK_DIAG)?);
        }
        let fd = self.netlink.as_ref().map(|fd| fd.as_raw_fd()).unwrap_or(-1);
        let mut request = Vec::with_capacity(40);
        request.extend(40u32.to_ne_bytes());
        request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        request.extend((libc::NLM_F_REQUEST as u16).to_ne_bytes());
        request.extend([0; 8]);
        request.extend([libc::AF_UNIX as u8, 0, 0, 0]);
        for word in [u32::MAX, ino, SHOW_ALL, u32::MAX, u32::MAX] {
            request.extend(word.to_ne_bytes());
        }
        sock::send(fd, &request, None, &[])?;
        let mut reply = [0; 8192];
        let n = sock::receive(fd, &mut reply, 0)?.len;
        parse(&reply[..n])
    }
}

fn parse(reply: &[u8]) -> io::Result<Info> {
    let word = |at: usize| sys::from_bytes::<u32>(reply.get(at..at + 4).unwrap_or_default());
    let kind = sys::from_bytes::<u16>(reply.get(4..6).unwrap_or_default());
    if kind != SOCK_DIAG_BY_FAMILY {
        let error = word(16) as i32;
        return Err(io::Error::from_raw_os_error(-error));
    }
    // nlmsghdr (16), unix_diag_msg (16), attributes.
    let mut info = Info {
        listening: reply.get(18) == Some(&10),
        ..Info::default()
    };
    let mut at = 32;
    while at + 4 <= reply.len() {
        let len = sys::from_bytes::<u16>(&reply[at..]) as usize;
        let attribute = sys::from_bytes::<u16>(&reply[at + 2..]);
        if len < 4 || at + len > reply.len() {
            break;
        }
        let value = &reply[at + 4..at + len];
        match attribute {
            1 => info.vfs = Some((word(at + 4), word(at + 8))),
            2 => info.peer = Some(word(at + 4)),
            3 => info.pending = value.chunks_exact(4).map(sys::from_bytes::<u32>).collect(),
            4 => (info.backlog, info.unread_by_peer) = (word(at + 8), word(at + 8)),
            6 => info.shutdown = value.first().copied().unwrap_or(0),
            _ => {}
        }
        at += len.next_multiple_of(4);
    }
    Ok(info)
}

pub fn capture(probe: &Probe, id: ObjectId, kind: i32, cx: &mut Capturing) -> io::Result<UnixState> {
    let mut info = cx.unix.ask(probe.stat.st_ino as u32)?;
    let name = sock::local_name(probe.fd)?;
    let file = path_of(&name).map(|path| socket_file(path, &info, cx));
    let at = Listener { id, fd: probe.fd, kind, name: &name, file: file.as_ref() };
    let pending = unixbacklog::capture(&at, &mut info, cx)?;
    let queue = if info.listening {
        Vec::new()
    } else {
        unixqueue::peek(probe.fd, kind, cx)?
    };
    let state = UnixState {
        kind,
        name,
        peer_name: sock::peer_name(probe.fd).unwrap_or_default(),
        file,
        peer: Peer::None,
        peer_cred: sock::peer_cred(probe.fd),
        listening: info.listening.then_some(info.backlog as i32),
        pending,
        shutdown: info.shutdown,
        queue,
        reset: sys::poll(probe.fd, 0, 0)? & libc::POLLERR != 0,
        options: Options::read(probe.fd, libc::AF_UNIX, 0),
    };
    cx.unix.infos.push((id, info));
    Ok(state)
}

fn socket_file(path: &[u8], info: &Info, cx: &Capturing) -> SocketFile {
    let path = Bytes::from(path);
    let unlinked = SocketFile {
        folder: Bytes::default(),
        linked: false,
        moved: None,
        mode: 0o777,
    };
    let is_it = |stat: &libc::stat| info.vfs.is_some_and(|(ino, _)| u64::from(ino) == stat.st_ino & 0xffff_ffff);
    let found = |folder: &Path| -> Option<SocketFile> {
        let full = folder.join(path.as_path());
        let linked = |stat: libc::stat, moved: Option<Bytes>| SocketFile {
            folder: folder.into(),
            linked: true,
            moved,
            mode: stat.st_mode & 0o7777,
        };
        if let Some(stat) = sys::stat(&full).ok().filter(is_it) {
            return Some(linked(stat, None));
        }
        // It may go by another name there.
        let entries = std::fs::read_dir(full.parent()?).ok()?.flatten().take(20_000);
        let sockets = entries.filter(|e| e.file_type().is_ok_and(|t| t.is_socket())).map(|e| e.path());
        let other = |p: PathBuf| Some((sys::stat(&p).ok().filter(is_it)?, p));
        sockets.filter_map(other).next().map(|(stat, p)| linked(stat, Some(Bytes::from(p.as_path()))))
    };
    if path.as_path().is_absolute() {
        return found(Path::new("/")).unwrap_or(unlinked);
    }
    // A relative name: some process's folder, as long as nobody has changed it since.
    let folder = |pid: &i32| std::fs::read_link(format!("/proc/{pid}/cwd")).ok();
    let folders: Vec<_> = cx.set.processes.iter().filter_map(|p| folder(&p.0)).collect();
    folders.iter().find_map(|f| found(f)).unwrap_or_else(|| SocketFile {
        folder: folders.first().map(|f| f.as_path().into()).unwrap_or_default(),
        ..unlinked
    })
}

/// Peers become objects, now that all are known.
pub fn relate(cx: &mut Capturing) {
    let infos = std::mem::take(&mut cx.unix.infos);
    let inodes: Vec<u32> = infos.iter().map(|(id, _)| cx.probe(*id).stat.st_ino as u32).collect();
    let by_inode: HashMap<u32, ObjectId> = inodes.iter().copied().zip(infos.iter().map(|i| i.0)).collect();
    let waits_at = |ino: u32| infos.iter().find(|l| l.1.pending.contains(&ino)).map(|l| l.0);
    for ((id, info), inode) in infos.iter().zip(inodes) {
        let clients: Vec<Option<ObjectId>> = info.pending.iter().map(|ino| by_inode.get(ino).copied()).collect();
        let outside = |(ino, client): (&u32, &Option<ObjectId>)| *ino != 0 && client.is_none();
        if info.pending.iter().zip(&clients).any(outside) {
            cx.risk(format!("{}: a client from outside waits in its backlog; it will find the connection closed", cx.describe(*id)));
        }
        let peer = match (info.peer, waits_at(inode)) {
            (None, _) => Peer::None,
            (Some(_), Some(listener)) => Peer::Backlog(listener),
            (Some(0), None) if info.shutdown == 3 => Peer::Gone,
            (Some(ino), None) => by_inode.get(&ino).copied().map_or(Peer::Outside, Peer::Object),
        };
        relate_one(*id, peer, clients, cx);
    }
}

fn relate_one(id: ObjectId, peer: Peer, clients: Vec<Option<ObjectId>>, cx: &mut Capturing) {
    let like = cx.std_number(id);
    let Some(Kind::Unix(state)) = cx.kind_mut(id) else {
        return;
    };
    state.peer = peer;
    for (waiting, client) in state.pending.iter_mut().zip(clients) {
        waiting.client = client;
    }
    if let (Peer::Outside, Some(like), false) = (&state.peer, like, state.is_datagram()) {
        set_inherited(id, like, cx);
        return;
    }
    if matches!(state.peer, Peer::Outside) && !state.is_datagram() {
        cx.risk(format!(
            "{}: its peer is outside the computation; it will find the connection closed",
            cx.describe(id)
        ));
    }
}

fn set_inherited(id: ObjectId, like: u8, cx: &mut Capturing) {
    if let Some(kind) = cx.kind_mut(id) {
        *kind = Kind::Inherited(Inherited::OuterSocket { like });
    }
}
