//! From descriptors to an [`ObjectSet`]. First everything is recognised and read without a change; only when nothing
//! is refused are the kinds drained that cannot be peeked, and refilled at once.

use crate::error::{CaptureError, Refusal};
use crate::intern::{same_object, Intern};
use crate::kinds::inherited::Inherited;
use crate::kinds::{self, *};
use crate::model::*;
use crate::probe::Probe;
use crate::{locks, sock, sys};
use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;

/// One table of descriptors. Processes that share one (CLONE_FILES) are given once. Pid 0 stands for files that are
/// only mapped: they become objects, but no process installs them.
pub struct ProcessFds {
    pub pid: i32,
    pub fds: Vec<ProcessFd>,
}

pub struct ProcessFd {
    pub number: i32,
    pub cloexec: bool,
    /// The agent's duplicate.
    pub fd: OwnedFd,
}

/// Takes content that is too big for records; it goes into the image's data section.
pub trait BlobSink {
    fn write_blob(&mut self, data: &mut dyn Read) -> io::Result<BlobRef>;
}

pub struct CaptureContext<'a> {
    /// The agent's own standard streams: objects that are the same open file are inherited at a restart.
    pub std: [Option<RawFd>; 3],
    /// those of other agents whose programs are captured, too
    pub others_std: &'a [[Option<RawFd>; 3]],
    pub save_open_files: bool,
    pub blobs: &'a mut dyn BlobSink,
}

/// Objects as far as they are known. `probes` and `kinds` grow while descriptors in flight are found.
pub struct Capturing<'a, 'b> {
    pub ctx: &'a mut CaptureContext<'b>,
    pub set: ObjectSet,
    pub unix: unix::Diag,
    /// Listeners whose backlog has unread data.
    pub tcp_backlogs: Vec<ObjectId>,
    probes: Vec<Rc<Probe>>,
    kinds: Vec<Option<Kind>>,
    intern: Intern,
    in_flight: Vec<OwnedFd>,
    /// What messages on their way bring.
    flying: Vec<ObjectId>,
    inodes: HashSet<(u64, u64)>,
    numbers: HashMap<i32, Vec<ObjectId>>,
    refusals: Vec<Refusal>,
}

pub fn capture(tables: &[ProcessFds], ctx: &mut CaptureContext) -> Result<ObjectSet, CaptureError> {
    let mut cx = Capturing::new(ctx);
    cx.intern_tables(tables)?;
    cx.read_all()?;
    cx.relate()?;
    if !cx.refusals.is_empty() {
        return Err(CaptureError::Refused(cx.refusals));
    }
    cx.drain_all()?;
    cx.finish()
}

impl<'a, 'b> Capturing<'a, 'b> {
    fn new(ctx: &'a mut CaptureContext<'b>) -> Self {
        Capturing {
            ctx,
            set: ObjectSet::default(),
            unix: unix::Diag::default(),
            tcp_backlogs: Vec::new(),
            probes: Vec::new(),
            kinds: Vec::new(),
            intern: Intern::default(),
            in_flight: Vec::new(),
            flying: Vec::new(),
            inodes: HashSet::new(),
            numbers: HashMap::new(),
            refusals: Vec::new(),
        }
    }

    fn intern_tables(&mut self, tables: &[ProcessFds]) -> Result<(), CaptureError> {
        for table in tables {
            let mut entries = Vec::with_capacity(table.fds.len());
            for fd in &table.fds {
                let object = self.intern(fd.fd.as_raw_fd()).map_err(|error| CaptureError::Object {
                    pid: table.pid,
                    number: fd.number,
                    what: "descriptor".into(),
                    step: "recognising it",
                    error,
                })?;
                entries.push(FdEntry {
                    number: fd.number,
                    cloexec: fd.cloexec,
                    object,
                });
                let at_number = self.numbers.entry(fd.number).or_default();
                if !at_number.contains(&object) {
                    at_number.push(object);
                }
            }
            self.set.processes.push((table.pid, entries));
        }
        Ok(())
    }

    /// The object behind a descriptor of the agent's; a new one is read later by the caller's loop.
    fn intern(&mut self, fd: RawFd) -> io::Result<ObjectId> {
        let stat = sys::fstat(fd)?;
        if let Some(known) = self.intern.lookup(fd, &stat) {
            return Ok(known);
        }
        let id = ObjectId(self.probes.len() as u32);
        self.probes.push(Rc::new(Probe::new(fd, stat)?));
        self.kinds.push(None);
        self.intern.insert(fd, &stat, id);
        Ok(id)
    }

    /// A descriptor found in a message on its way.
    pub fn intern_in_flight(&mut self, fd: OwnedFd) -> io::Result<ObjectId> {
        let id = self.intern(fd.as_raw_fd())?;
        if self.probe(id).fd == fd.as_raw_fd() {
            self.in_flight.push(fd);
        }
        self.flying.push(id);
        Ok(id)
    }

    pub fn ids(&self) -> impl Iterator<Item = ObjectId> + use<> {
        (0..self.probes.len() as u32).map(ObjectId)
    }

    pub fn probe(&self, id: ObjectId) -> Rc<Probe> {
        self.probes[id.index()].clone()
    }

    pub fn kind(&self, id: ObjectId) -> Option<&Kind> {
        self.kinds[id.index()].as_ref()
    }

    pub fn kind_mut(&mut self, id: ObjectId) -> Option<&mut Kind> {
        self.kinds[id.index()].as_mut()
    }

    pub fn at_number(&self, number: i32) -> Vec<ObjectId> {
        self.numbers.get(&number).cloned().unwrap_or_default()
    }

    /// True once per inode: its shared content is saved by the first description.
    pub fn first_of_inode(&mut self, stat: &libc::stat) -> bool {
        self.inodes.insert((stat.st_dev, stat.st_ino))
    }

    pub fn risk(&mut self, line: String) {
        self.set.risks.push(line);
    }

    /// Standard stream 0..2 as which some process has the object.
    pub fn std_number(&self, id: ObjectId) -> Option<u8> {
        (0..3)
            .find(|n| self.numbers.get(n).is_some_and(|ids| ids.contains(&id)))
            .map(|n| n as u8)
    }

    pub fn refuse(&mut self, id: ObjectId, why: impl Into<String>) {
        self.refuse_with(id, why.into(), false);
    }

    /// What the program itself will soon have changed.
    pub fn refuse_for_now(&mut self, id: ObjectId, why: impl Into<String>) {
        self.refuse_with(id, why.into(), true);
    }

    fn refuse_with(&mut self, id: ObjectId, why: String, passing: bool) {
        let (pid, number) = self.set.holder(id).unwrap_or((0, -1));
        let what = self.probe(id).describe();
        self.refusals.push(Refusal {
            pid,
            number,
            what,
            why,
            passing,
        });
    }

    /// Neither a process of the computation nor one that looks after it.
    pub fn is_outside(&self, pid: i32) -> bool {
        let mut pid = pid;
        while pid > 0 {
            if pid as u32 == std::process::id() || self.set.processes.iter().any(|p| p.0 == pid) {
                return false;
            }
            pid = parent(pid).unwrap_or(0);
        }
        true
    }

    /// `process 7: descriptor 3 (pipe:[17])`
    pub fn describe(&self, id: ObjectId) -> String {
        let what = self.probe(id).describe();
        match self.set.holder(id) {
            Some((pid, number)) => format!("process {pid}: descriptor {number} ({what})"),
            None => format!("descriptor in flight ({what})"),
        }
    }

    fn fail(&self, id: ObjectId, step: &'static str, error: io::Error) -> CaptureError {
        let (pid, number) = self.set.holder(id).unwrap_or((0, -1));
        CaptureError::Object {
            pid,
            number,
            what: self.probe(id).describe(),
            step,
            error,
        }
    }

    fn read_all(&mut self) -> Result<(), CaptureError> {
        let mut next = 0;
        // Messages in flight add objects behind the last one.
        while next < self.probes.len() {
            let id = ObjectId(next as u32);
            let kind = self.read_one(id).map_err(|e| self.fail(id, "reading its state", e))?;
            self.kinds[next] = kind;
            next += 1;
        }
        Ok(())
    }

    fn read_one(&mut self, id: ObjectId) -> io::Result<Option<Kind>> {
        let probe = self.probe(id);
        let probe = probe.as_ref();
        if let Some(kind) = self.as_standard_stream(probe) {
            return Ok(Some(kind));
        }
        let kind = match kinds::recognise(probe) {
            Class::File => Kind::File(file::capture(probe, self)?),
            Class::Directory => Kind::Directory(file::capture_directory(probe)?),
            Class::ProcFile => Kind::ProcFile(procfile::capture(probe, id, self)?),
            Class::Reopen => Kind::Reopen(reopen::capture(probe, id, self)?),
            Class::Memfd => Kind::Memfd(memfd::capture(probe, self)?),
            Class::Pipe => Kind::Pipe(pipe::capture(probe, self)?),
            Class::Eventfd => Kind::Eventfd(eventfd::capture(probe)?),
            Class::Timerfd => Kind::Timerfd(timerfd::capture(probe)?),
            Class::Signalfd => Kind::Signalfd(signalfd::capture(probe)?),
            Class::Epoll => Kind::Epoll(epoll::EpollState::default()),
            Class::Inotify => Kind::Inotify(inotify::capture(probe, id, self)?),
            Class::Pidfd => Kind::Pidfd(pidfd::capture(probe, id, self)?),
            Class::Socket => return sock::capture(probe, id, self),
            Class::PtyMaster => Kind::Pty(pty::capture_master(probe, self)?),
            Class::PtySlave => pty::capture_slave(probe, self)?,
            Class::Terminal => match pty::capture_controlling(probe, self) {
                Some(end) => Kind::Pty(end),
                None => Kind::Inherited(Inherited::Terminal {
                    like: self.std_number(id),
                }),
            },
            Class::Mqueue => Kind::Mqueue(mqueue::capture(probe, self)?),
            Class::Refused(why) => {
                self.refuse(id, why);
                return Ok(None);
            }
        };
        Ok(Some(kind))
    }

    /// A file at a standard stream is opened again by its name; anything else there is the agent's own.
    fn as_standard_stream(&self, probe: &Probe) -> Option<Kind> {
        if matches!(probe.file_type(), libc::S_IFREG | libc::S_IFDIR) || !self.maybe_std(probe) {
            return None;
        }
        let same = |i: &usize| self.streams().any(|std| std[*i].is_some_and(|fd| same_object(fd, probe.fd)));
        let is_null = probe.link == b"/dev/null";
        let index = (0..3).find(same).filter(|_| !is_null)?;
        Some(Kind::Inherited(Inherited::Std(index as u8)))
    }

    fn maybe_std(&self, probe: &Probe) -> bool {
        let same_inode = |fd: &RawFd| sys::fstat(*fd).is_ok_and(|s| s.st_ino == probe.stat.st_ino);
        self.streams().flatten().flatten().any(same_inode)
    }

    fn streams(&self) -> impl Iterator<Item = &[Option<RawFd>; 3]> {
        [&self.ctx.std].into_iter().chain(self.ctx.others_std)
    }

    /// What needs the whole computation in view, still without changing anything.
    fn relate(&mut self) -> Result<(), CaptureError> {
        pty::relate(self);
        self.set.terminal = outer::capture(self);
        for index in 0..self.set.pipes.len() {
            self.relate_pipe(index as u32)?;
        }
        for id in self.ids() {
            if let Some(Kind::Epoll(_)) = self.kind(id) {
                let probe = self.probe(id);
                let state = epoll::capture(&probe, self).map_err(|e| self.fail(id, "reading what it watches", e))?;
                self.kinds[id.index()] = Some(Kind::Epoll(state));
            }
        }
        for id in std::mem::take(&mut self.flying) {
            if matches!(self.kind(id), Some(Kind::Pidfd(_) | Kind::ProcFile(_))) {
                self.refuse_for_now(id, "a message on its way brings it, and it can be opened again only when its process is there; try again when it is received");
            }
        }
        unix::relate(self);
        tcp::relate(self);
        udphold::relate(self);
        Ok(())
    }

    fn relate_pipe(&mut self, index: u32) -> Result<(), CaptureError> {
        let ends = pipe::ends(self, index);
        let Some(first) = ends.readers.first().or(ends.writers.first()).copied() else {
            return Ok(());
        };
        let named = self.set.pipes[index as usize].fifo.is_some();
        let outside = pipe::other_end_outside(self, &ends).map_err(|e| self.fail(first, "looking at its ends", e))?;
        if outside && !named {
            for id in ends.readers.iter().chain(&ends.writers) {
                let like = self.std_number(*id);
                self.kinds[id.index()] = Some(Kind::Inherited(Inherited::OuterPipe { like }));
            }
            return Ok(());
        }
        if let Some(fifo) = &mut self.set.pipes[index as usize].fifo {
            fifo.awaits_writer = outside && ends.writers.is_empty();
        }
        pipe::save_content(self, index, &ends).map_err(|e| self.fail(first, "copying its content", e))
    }

    fn drain_all(&mut self) -> Result<(), CaptureError> {
        tcp::drain(self).map_err(|(id, e)| self.fail(id, "reading and putting back its data", e))?;
        udphold::drain(self).map_err(|(id, e)| self.fail(id, "reading and putting back its data", e))?;
        pty::drain(self).map_err(|(id, e)| self.fail(id, "reading and putting back its data", e))?;
        mqueue::drain(self).map_err(|(id, e)| self.fail(id, "reading and putting back its messages", e))
    }

    fn finish(mut self) -> Result<ObjectSet, CaptureError> {
        let kinds = std::mem::take(&mut self.kinds);
        for (probe, kind) in self.probes.iter().zip(kinds) {
            let Some(kind) = kind else { continue };
            self.set.objects.push(Object {
                dev: probe.stat.st_dev,
                ino: probe.stat.st_ino,
                flags: probe.flags,
                owner: locks::signal_owner(probe),
                flock: None,
                lease: None,
                ofd_locks: Vec::new(),
                name: probe.link.as_slice().into(),
                kind,
            });
        }
        if let Err((id, why)) = locks::capture(&mut self.set, &self.probes) {
            self.refuse(id, why);
            return Err(CaptureError::Refused(self.refusals));
        }
        Ok(self.set)
    }
}

fn parent(pid: i32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}
