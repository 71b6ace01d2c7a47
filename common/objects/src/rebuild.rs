//! From an [`ObjectSet`] to open descriptors at high numbers, which the forked children inherit.

use crate::bytes::Bytes;
use crate::error::RebuildError;
use crate::kinds::*;
use crate::model::*;
use crate::sock::Cred;
use crate::{locks, sys};
use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub trait BlobSource {
    fn open_blob(&self, r: &BlobRef) -> io::Result<Box<dyn Read + '_>>;
}

/// Old pid to new pid.
pub type PidMap = Rc<dyn Fn(i32) -> i32>;

/// Runs its second argument as a process that has this old pid and shares our descriptors. Ok(None): there can be no
/// such process, and nothing was done.
pub type AsProcess<'a> = dyn Fn(i32, &dyn Fn() -> io::Result<[RawFd; 2]>) -> io::Result<Option<[RawFd; 2]>> + 'a;

pub struct RebuildContext<'a> {
    /// ckpt_restart's own standard streams, for inherited objects.
    pub std: [Option<RawFd>; 3],
    /// Objects instead of which the program gets one of these, as was asked for.
    pub given: Vec<(ObjectId, u8)>,
    /// OLD=NEW prefixes.
    pub path_map: Vec<(PathBuf, PathBuf)>,
    pub blobs: &'a dyn BlobSource,
    pub pid_of: PidMap,
    /// Numbers that the caller will use in the children; no object is put there.
    pub reserved: Vec<RawFd>,
    /// What `open_outside` opened.
    pub outside: &'a HashMap<ObjectId, OwnedFd>,
    /// None: pids are not ours to choose.
    pub as_process: Option<&'a AsProcess<'a>>,
}

/// A rebuilt pseudo terminal. Its session leader makes it the controlling terminal (TIOCSCTTY) and sets the
/// foreground group, when groups exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terminal {
    pub old_path: PathBuf,
    pub new_path: PathBuf,
    pub master: Option<ObjectId>,
    pub slave: Option<ObjectId>,
    pub session: i32,
    pub foreground: i32,
}

pub struct Rebuilt {
    pub(crate) fds: Vec<Option<OwnedFd>>,
    pub(crate) pid_of: PidMap,
    risks: Vec<String>,
    terminals: Vec<Terminal>,
}

/// The work in progress.
pub struct Rebuilding<'a> {
    pub set: &'a ObjectSet,
    pub ctx: &'a RebuildContext<'a>,
    pub fds: Vec<Option<OwnedFd>>,
    pub risks: Vec<String>,
    pub terminals: Vec<Terminal>,
    /// Numbers some program uses; nothing may lie there when the children install.
    taken: HashSet<RawFd>,
    base: RawFd,
    deleted: HashMap<usize, OwnedFd>,
    deleted_folders: HashMap<(u64, u64), OwnedFd>,
    memfds: HashMap<(u64, u64), OwnedFd>,
    pub unix: unixrebuild::Work,
    pub tcp: tcprebuild::Work,
}

/// What belongs to processes that are not of the computation. Before a namespace is entered, in which they have no
/// numbers. Who has gone meanwhile is left out.
pub fn open_outside(set: &ObjectSet) -> HashMap<ObjectId, OwnedFd> {
    let open = |(id, object): (ObjectId, &Object)| {
        let fd = match &object.kind {
            Kind::Pidfd(state) if state.outside => pidfd::open_outside(state, object.flags).ok()?,
            Kind::ProcFile(state) if state.outside => procfile::open_outside(state, object.flags).ok()?,
            _ => return None,
        };
        Some((id, fd))
    };
    set.ids().filter_map(open).collect()
}

pub fn rebuild(set: &ObjectSet, ctx: &RebuildContext) -> Result<Rebuilt, RebuildError> {
    sys::raise_file_limit();
    let mut rb = Rebuilding::new(set, ctx);
    rb.reserve()?;
    rb.open_independent()?;
    rb.open_related()?;
    rb.refill()?;
    rb.finish_inodes()?;
    // Whatever a watch could see has been done.
    rb.watch()?;
    rb.apply_common();
    if let Some(terminal) = &set.terminal {
        outer::restore(terminal, &ctx.std);
    }
    let Rebuilding {
        fds, risks, terminals, ..
    } = rb;
    Ok(Rebuilt {
        fds,
        pid_of: ctx.pid_of.clone(),
        risks,
        terminals,
    })
}

impl Rebuilt {
    /// None for objects that `install` opens: pidfds and files of processes under /proc.
    pub fn fd(&self, id: ObjectId) -> Option<BorrowedFd<'_>> {
        self.fds.get(id.index())?.as_ref().map(|fd| fd.as_fd())
    }

    /// What is not as it was, one line each.
    pub fn risks(&self) -> &[String] {
        &self.risks
    }

    pub fn terminals(&self) -> &[Terminal] {
        &self.terminals
    }
}

impl<'a> Rebuilding<'a> {
    fn new(set: &'a ObjectSet, ctx: &'a RebuildContext<'a>) -> Self {
        let numbers = set.processes.iter().flat_map(|p| p.1.iter().map(|e| e.number));
        let taken: HashSet<RawFd> = numbers.chain(ctx.reserved.iter().copied()).collect();
        Rebuilding {
            set,
            ctx,
            fds: set.objects.iter().map(|_| None).collect(),
            risks: Vec::new(),
            terminals: Vec::new(),
            taken,
            base: (set.highest_fd() + 1).max(64),
            deleted: HashMap::new(),
            deleted_folders: HashMap::new(),
            memfds: HashMap::new(),
            unix: unixrebuild::Work::default(),
            tcp: tcprebuild::Work::default(),
        }
    }

    /// Is there room above the programs' numbers? If not, gaps between them are used.
    fn reserve(&mut self) -> Result<(), RebuildError> {
        if sys::fcntl(self.any_fd()?.as_raw_fd(), libc::F_DUPFD_CLOEXEC, self.base)
            .map(sys::close_raw)
            .is_err()
        {
            self.base = 3;
        }
        Ok(())
    }

    fn any_fd(&self) -> Result<OwnedFd, RebuildError> {
        sys::open(Path::new("/"), libc::O_PATH, 0).map_err(RebuildError::TooManyDescriptors)
    }

    pub fn risk(&mut self, line: String) {
        self.risks.push(line);
    }

    /// Gives an object its descriptor, moved to a number no program uses.
    pub fn put(&mut self, id: ObjectId, fd: OwnedFd) -> io::Result<()> {
        let mut from = self.base;
        let high = loop {
            let high = sys::own(sys::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, from)?)?;
            if !self.taken.contains(&high.as_raw_fd()) {
                break high;
            }
            from = high.as_raw_fd() + 1;
        };
        self.base = self.base.max(high.as_raw_fd());
        self.fds[id.index()] = Some(high);
        Ok(())
    }

    pub fn raw(&self, id: ObjectId) -> io::Result<RawFd> {
        let missing = || io::Error::other("an object it refers to was not rebuilt");
        self.fds[id.index()]
            .as_ref()
            .map(|fd| fd.as_raw_fd())
            .ok_or_else(missing)
    }

    /// Does something that the kernel remembers the doer of.
    pub fn in_person(&self, who: Option<Cred>, work: &dyn Fn() -> io::Result<[RawFd; 2]>) -> io::Result<[RawFd; 2]> {
        let (Some(who), Some(as_process)) = (who, self.ctx.as_process) else {
            return work();
        };
        let as_user = || {
            sys::become_user(who.uid, who.gid);
            work()
        };
        as_process(who.pid, &as_user)?.map_or_else(work, Ok)
    }

    pub fn name(&self, id: ObjectId) -> String {
        let what = String::from_utf8_lossy(&self.set.object(id).name).into_owned();
        match self.set.holder(id) {
            Some((pid, number)) => format!("process {pid}: descriptor {number} ({what})"),
            None => what,
        }
    }

    pub fn map_path(&self, path: &Bytes) -> PathBuf {
        map_path(path.as_path(), &self.ctx.path_map)
    }

    /// The nameless file, created on first use.
    pub fn deleted_file(&mut self, index: usize) -> io::Result<RawFd> {
        if !self.deleted.contains_key(&index) {
            let fd = file::create_deleted(&self.set.deleted[index], self)?;
            self.deleted.insert(index, fd);
        }
        Ok(self.deleted[&index].as_raw_fd())
    }

    /// The nameless folder, made on first use.
    pub fn deleted_folder(&mut self, inode: (u64, u64), path: &Path) -> io::Result<RawFd> {
        if let Some(fd) = self.deleted_folders.get(&inode) {
            return Ok(fd.as_raw_fd());
        }
        let fd = file::create_deleted_folder(path)?;
        Ok(self.deleted_folders.entry(inode).or_insert(fd).as_raw_fd())
    }

    fn memfd(&mut self, id: ObjectId) -> io::Result<OwnedFd> {
        let object = self.set.object(id);
        let key = (object.dev, object.ino);
        let Kind::Memfd(state) = &object.kind else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        if !self.memfds.contains_key(&key) {
            let with_content =
                |o: &&Object| (o.dev, o.ino) == key && matches!(&o.kind, Kind::Memfd(m) if m.content.is_some());
            let owner = self.set.objects.iter().find(with_content).map(|o| &o.kind);
            let owner = if let Some(Kind::Memfd(m)) = owner { m } else { state };
            let fd = memfd::create(owner, self)?;
            self.memfds.insert(key, fd);
        }
        let flags = object.flags & !libc::O_CREAT;
        let fd = sys::reopen(self.memfds[&key].as_raw_fd(), flags)?;
        file::seek(&fd, state.offset)?;
        Ok(fd)
    }

    fn error(&self, id: ObjectId, step: &'static str, error: io::Error) -> RebuildError {
        RebuildError::Object {
            what: self.name(id),
            step,
            error,
        }
    }

    fn open_independent(&mut self) -> Result<(), RebuildError> {
        let set = self.set;
        for (id, object) in set.ids() {
            let fd = self
                .open_one(id, object)
                .map_err(|e| self.error(id, "opening it again", e))?;
            if let Some(fd) = fd {
                self.put(id, fd).map_err(RebuildError::TooManyDescriptors)?;
            }
        }
        Ok(())
    }

    /// A file that was a standard stream and cannot be opened again (another user's, or gone): ours of that number.
    fn stream_instead(&mut self, id: ObjectId, flags: i32, error: io::Error) -> io::Result<OwnedFd> {
        match self.set.holder(id) {
            Some((_, number @ 0..=2)) => {
                let name = self.name(id);
                inherited::rebuild(&inherited::Inherited::Std(number as u8), flags, &name, self)
            }
            _ => Err(error),
        }
    }

    fn open_one(&mut self, id: ObjectId, object: &Object) -> io::Result<Option<OwnedFd>> {
        let flags = object.flags;
        if let Some((_, number)) = self.ctx.given.iter().find(|(given, _)| *given == id) {
            let name = self.name(id);
            return inherited::rebuild(&inherited::Inherited::Std(*number), flags, &name, self).map(Some);
        }
        let fd = match &object.kind {
            Kind::Inherited(state) => {
                let name = self.name(id);
                inherited::rebuild(state, flags, &name, self)?
            }
            Kind::File(state) => match file::rebuild(state, flags, self) {
                Err(e) => self.stream_instead(id, flags, e)?,
                Ok(fd) => fd,
            },
            Kind::Directory(state) => file::rebuild_directory(state, flags, (object.dev, object.ino), self)?,
            // Opened when the socket is bound.
            Kind::Reopen(state) if state.socket => return Ok(None),
            Kind::Reopen(state) => reopen::rebuild(state, flags, (object.dev, object.ino), self)?,
            Kind::Memfd(_) => self.memfd(id)?,
            Kind::Eventfd(state) => eventfd::rebuild(state)?,
            Kind::Timerfd(state) => timerfd::rebuild(state)?,
            Kind::Signalfd(state) => signalfd::rebuild(state)?,
            Kind::Epoll(state) => epoll::rebuild(state)?,
            Kind::Netlink(state) => netlink::rebuild(state, self)?,
            Kind::Packet(state) => packet::rebuild(state)?,
            Kind::Udp(state) => udp::rebuild(state, self)?,
            Kind::Mqueue(state) => mqueue::open(state, flags, self)?,
            Kind::Inotify(_) => inotify::rebuild()?,
            Kind::Pidfd(pidfd::PidfdState { outside: true, .. }) | Kind::ProcFile(procfile::ProcFileState { outside: true, .. }) => {
                return self.ctx.outside.get(&id).map(OwnedFd::try_clone).transpose();
            }
            // Opened with their relatives, or by `install`.
            Kind::Pipe(_)
            | Kind::Pty(_)
            | Kind::Unix(_)
            | Kind::Tcp(_)
            | Kind::Pidfd(_)
            | Kind::ProcFile(_) => return Ok(None),
        };
        Ok(Some(fd))
    }

    fn open_related(&mut self) -> Result<(), RebuildError> {
        for index in 0..self.set.pipes.len() as u32 {
            let member = |o: &(ObjectId, &Object)| matches!(&o.1.kind, Kind::Pipe(end) if end.pipe == index);
            let members: Vec<ObjectId> = self.set.ids().filter(member).map(|o| o.0).collect();
            let Some(first) = members.first().copied() else {
                continue;
            };
            pipe::rebuild(self, index, &members).map_err(|e| self.error(first, "rebuilding the pipe", e))?;
        }
        pty::rebuild(self).map_err(|(id, e)| self.error(id, "rebuilding the terminal", e))?;
        tcprebuild::rebuild(self).map_err(|(id, e)| self.error(id, "rebuilding the TCP socket", e))?;
        unixrebuild::rebuild(self).map_err(|(id, e)| self.error(id, "rebuilding the UNIX socket", e))?;
        self.open_socket_files()
    }

    /// `O_PATH` descriptors of sockets' names.
    fn open_socket_files(&mut self) -> Result<(), RebuildError> {
        let set = self.set;
        for (id, object) in set.ids() {
            let Kind::Reopen(state) = &object.kind else { continue };
            if state.socket {
                let path = self.map_path(&state.path);
                let hidden = self.unix.hidden.iter().find(|h| h.then == path && !state.deleted);
                let fd = match hidden {
                    Some(hidden) => sys::open(&hidden.now, object.flags & !libc::O_CREAT, 0),
                    None => reopen::rebuild(state, object.flags, (object.dev, object.ino), self),
                };
                let fd = fd.map_err(|e| self.error(id, "opening it again", e))?;
                self.put(id, fd).map_err(RebuildError::TooManyDescriptors)?;
            }
        }
        Ok(())
    }

    fn refill(&mut self) -> Result<(), RebuildError> {
        tcprebuild::refill(self).map_err(|(id, e)| self.error(id, "putting back its data", e))?;
        udp::refill(self).map_err(|(id, e)| self.error(id, "putting back its data", e))?;
        unixrebuild::refill(self).map_err(|(id, e)| self.error(id, "putting back its data", e))?;
        mqueue::refill(self).map_err(|(id, e)| self.error(id, "putting back its messages", e))
    }

    fn watch(&mut self) -> Result<(), RebuildError> {
        let set = self.set;
        for (id, object) in set.ids() {
            let Kind::Inotify(state) = &object.kind else { continue };
            let fd = self.raw(id).map_err(|e| self.error(id, "watching again", e))?;
            inotify::watch(fd, state, self);
        }
        Ok(())
    }

    /// Flags that `open` and `socket` did not set, and locks.
    fn apply_common(&mut self) {
        const SETTABLE: i32 = libc::O_APPEND | libc::O_ASYNC | libc::O_DIRECT | libc::O_NOATIME | libc::O_NONBLOCK;
        let set = self.set;
        for (id, object) in set.ids() {
            let Ok(fd) = self.raw(id) else { continue };
            if object.flags & libc::O_PATH != 0 || matches!(object.kind, Kind::Inherited(_)) {
                continue;
            }
            let wanted = object.flags & SETTABLE & !libc::O_ASYNC;
            let have = sys::fcntl(fd, libc::F_GETFL, 0).unwrap_or(wanted) & SETTABLE;
            if have != wanted && sys::fcntl(fd, libc::F_SETFL, wanted).is_err() {
                self.risk(format!("{}: its flags could not be set again", self.name(id)));
            }
            if let Err(e) = locks::take(object, fd) {
                self.risk(format!("{}: its lock could not be taken again: {e}", self.name(id)));
            }
        }
    }

    /// Seals and modes come when every description is open and filled.
    fn finish_inodes(&mut self) -> Result<(), RebuildError> {
        let set = self.set;
        for (id, object) in set.ids() {
            let Kind::Memfd(state) = &object.kind else { continue };
            let Some(fd) = self.memfds.get(&(object.dev, object.ino)) else {
                continue;
            };
            file::set_times(fd.as_raw_fd(), &state.attributes, state.times);
            memfd::seal(state, fd, self.is_installed(object.dev, object.ino)).map_err(|e| self.error(id, "sealing it", e))?;
        }
        for (index, fd) in &self.deleted {
            file::finish_deleted(&set.deleted[*index], fd.as_raw_fd());
        }
        Ok(())
    }
}

impl Rebuilding<'_> {
    /// Does a process have a descriptor of it?
    fn is_installed(&self, dev: u64, ino: u64) -> bool {
        let entries = self.set.processes.iter().filter(|p| p.0 != 0).flat_map(|p| &p.1);
        entries.map(|e| self.set.object(e.object)).any(|o| (o.dev, o.ino) == (dev, ino))
    }
}

pub fn map_path(path: &Path, map: &[(PathBuf, PathBuf)]) -> PathBuf {
    let mapped = |(old, new): &(PathBuf, PathBuf)| path.strip_prefix(old).ok().map(|rest| new.join(rest));
    let joined = map.iter().find_map(mapped).unwrap_or_else(|| path.to_path_buf());
    // `join("")` leaves a slash at the end, which a file cannot have.
    match joined.to_str().and_then(|s| s.strip_suffix('/')) {
        Some(stem) if !stem.is_empty() => PathBuf::from(stem),
        _ => joined,
    }
}
