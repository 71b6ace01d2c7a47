use crate::bytes::Bytes;
use crate::kinds::*;
use serde::{Deserialize, Serialize};

/// Index into [`ObjectSet::objects`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct ObjectId(pub u32);

impl ObjectId {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where large content lies in the image's data section.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct BlobRef {
    pub offset: u64,
    pub len: u64,
}

/// One descriptor number of one process.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct FdEntry {
    pub number: i32,
    pub cloexec: bool,
    pub object: ObjectId,
}

/// `F_SETOWN`, `F_SETSIG`: who gets SIGIO.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SignalOwner {
    /// F_OWNER_TID, F_OWNER_PID or F_OWNER_PGRP.
    pub kind: i32,
    pub id: i32,
    pub signal: i32,
}

/// A byte range as `fcntl` wants it; length 0 reaches the end of the file for ever.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct RangeLock {
    pub exclusive: bool,
    pub start: i64,
    pub len: i64,
}

/// A POSIX record lock; it belongs to a process, not to an object.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct RecordLock {
    pub pid: i32,
    pub object: ObjectId,
    pub range: RangeLock,
}

/// One open file description.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Object {
    pub dev: u64,
    pub ino: u64,
    /// `F_GETFL`.
    pub flags: i32,
    pub owner: Option<SignalOwner>,
    /// `flock`: LOCK_SH or LOCK_EX.
    pub flock: Option<i32>,
    /// `fcntl(F_SETLEASE)`: F_RDLCK or F_WRLCK.
    pub lease: Option<i32>,
    pub ofd_locks: Vec<RangeLock>,
    /// How messages name it: a path, `pipe:[17]`, ...
    pub name: Bytes,
    pub kind: Kind,
}

#[derive(Serialize, Deserialize, Clone, Debug)]
pub enum Kind {
    Inherited(inherited::Inherited),
    File(file::FileState),
    Directory(file::DirectoryState),
    /// `O_PATH`, a device node, a namespace: opening the name again is all there is to it.
    Reopen(reopen::ReopenState),
    Memfd(memfd::MemfdState),
    /// Index into `pipes`.
    Pipe(pipe::PipeEnd),
    Eventfd(eventfd::EventfdState),
    Timerfd(timerfd::TimerfdState),
    Signalfd(signalfd::SignalfdState),
    Epoll(epoll::EpollState),
    Inotify(inotify::InotifyState),
    Pidfd(pidfd::PidfdState),
    Unix(Box<unix::UnixState>),
    Tcp(Box<tcp::TcpState>),
    Udp(Box<udp::UdpState>),
    Netlink(netlink::NetlinkState),
    Packet(packet::PacketState),
    Pty(pty::PtyEnd),
    Mqueue(mqueue::MqueueEnd),
    /// A file under `/proc/PID`: opened by `install`, when the process exists.
    ProcFile(procfile::ProcFileState),
}

/// All descriptors of a computation on this host, as they were at the checkpoint.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
pub struct ObjectSet {
    pub objects: Vec<Object>,
    /// `(pid, descriptors)`, one per distinct table, in the order given to `capture`.
    pub processes: Vec<(i32, Vec<FdEntry>)>,
    pub pipes: Vec<pipe::PipeBuffer>,
    pub ptys: Vec<pty::PtyState>,
    pub queues: Vec<mqueue::MqueueState>,
    pub deleted: Vec<file::DeletedFile>,
    pub record_locks: Vec<RecordLock>,
    pub terminal: Option<outer::OuterTerminal>,
    /// What a restart will not bring back exactly, one line each.
    pub risks: Vec<String>,
}

#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Late {
    /// `F_ADD_SEALS`.
    pub seals: i32,
    /// The thread that its signals go to, by the kernel's id then; 0: none.
    pub owner: i32,
    /// A file of /proc that shows the process's memory.
    pub reopen: bool,
}

impl ObjectSet {
    /// The object that a mapping of this file can be made from. Any description of the inode is as good as another
    /// for reading; one open for writing is preferred.
    pub fn inode_object(&self, dev: u64, ino: u64) -> Option<ObjectId> {
        let same = |o: &&(usize, &Object)| o.1.dev == dev && o.1.ino == ino && o.1.flags & libc::O_PATH == 0;
        let all: Vec<(usize, &Object)> = self.objects.iter().enumerate().collect();
        let writable = all
            .iter()
            .filter(same)
            .find(|o| o.1.flags & libc::O_ACCMODE == libc::O_RDWR);
        writable.or_else(|| all.iter().find(same)).map(|o| ObjectId(o.0 as u32))
    }

    /// What process `pid`, which has the descriptor, does to it when all processes have their mappings and threads.
    pub fn late(&self, id: ObjectId, pid: i32) -> Late {
        const F_OWNER_TID: i32 = 0;
        let object = self.object(id);
        let mut late = Late::default();
        match &object.kind {
            Kind::Memfd(state) => late.seals = memfd::late_seals(state),
            Kind::ProcFile(state) => late.reopen = state.of_memory && state.pid == pid,
            _ => {}
        }
        if let Some(owner) = object.owner.as_ref().filter(|o| o.kind == F_OWNER_TID) {
            late.owner = owner.id;
        }
        late
    }

    pub fn object(&self, id: ObjectId) -> &Object {
        &self.objects[id.index()]
    }

    pub fn descriptors(&self, pid: i32) -> Option<&[FdEntry]> {
        self.processes.iter().find(|p| p.0 == pid).map(|p| p.1.as_slice())
    }

    /// The highest descriptor number that any process uses.
    pub fn highest_fd(&self) -> i32 {
        let numbers = self.processes.iter().flat_map(|p| p.1.iter().map(|e| e.number));
        numbers.max().unwrap_or(2)
    }

    /// The first process that holds the object, and the number it has there.
    pub fn holder(&self, id: ObjectId) -> Option<(i32, i32)> {
        let find = |p: &(i32, Vec<FdEntry>)| p.1.iter().find(|e| e.object == id).map(|e| (p.0, e.number));
        self.processes.iter().find_map(find)
    }

    /// Every process that holds it.
    pub fn holders(&self, id: ObjectId) -> impl Iterator<Item = i32> + '_ {
        let holds = move |p: &&(i32, Vec<FdEntry>)| p.1.iter().any(|e| e.object == id);
        self.processes.iter().filter(holds).map(|p| p.0)
    }

    pub fn ids(&self) -> impl Iterator<Item = (ObjectId, &Object)> {
        self.objects.iter().enumerate().map(|(i, o)| (ObjectId(i as u32), o))
    }
}
