//! Kernel objects, files and shared memory opened once for the whole tree; then prepare, birth, release.

mod birth;
mod kin;
mod libraries;
mod prepare;
mod release;

use crate::forward::Forwarding;
use crate::gate::Gate;
use crate::ids::{Ids, Known, SharedIds};
use crate::image_set::Member;
use crate::loosen::Loosened;
use crate::options::Options;
use crate::session::Restorer;
use crate::stand_in::{self, As};
use crate::{memory, plan, preflight, sysv};
use ckpt_agent::agent::Agent;
use ckpt_agent::launch::Failure;
use ckpt_agent::libraries::is_same;
use ckpt_agent::passes;
use ckpt_image::{FileIdentity, MapKind, MapMeta, ProcessMeta, SharedKind};
use ckpt_objects::ipc::Restored;
use ckpt_objects::{AsProcess, Kind, ObjectId, PidMap, RebuildContext, Rebuilt};
use ckpt_sys::fault::Stage;
use ckpt_sys::flat::Outer;
use ckpt_sys::idtable::{RealPid, VirtualPid};
pub use kin::{Family, Relations};
use prepare::Prepared;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub struct Rebuild<'a> {
    pub options: &'a Options,
    pub members: &'a [Member],
    pub ids: Ids,
    pub known: Known,
    pub shared_ids: &'a SharedIds,
    pub library: PathBuf,
    /// Changes to it, as `PlanHead::environment` has them.
    pub environment: Vec<u8>,
    pub agent: &'a Agent,
    /// by member, where its kernel was another one
    pub forwards: Vec<Option<Forwarding>>,
    /// `memory::huge_on_request`
    pub collapse: bool,
    /// memory is filled while the program runs
    pub lazy: bool,
    /// started by nohup(1)
    pub no_hangup: bool,
    /// for processes that had not exec'ed either, where the kernel lets us name their binary
    pub restorer: Option<Restorer>,
    pub family: Family<'a>,
    pub loosened: &'a RefCell<Loosened>,
}

/// Files to map, by path and whether they may be written through.
type MapFiles = HashMap<(Vec<u8>, bool), OwnedFd>;

/// Shared memory, by member, index, and whether it may be written through.
type SharedSources = HashMap<(usize, u32, bool), Source>;

impl Rebuild<'_> {
    /// The pid whose status is the foreground part's.
    pub fn run(&self) -> Result<i32, Failure> {
        let base = self.first_own();
        self.pair_surroundings()?;
        self.note_then()?;
        let all: Vec<(usize, usize)> =
            self.members.iter().enumerate().flat_map(|(m, x)| (0..x.meta.processes.len()).map(move |p| (m, p))).collect();
        let gate = Gate::new(all.len(), self.options.patience())?;
        let pids: Vec<i32> = all.iter().map(|&(m, p)| self.members[m].meta.processes[p].pid).collect();
        let surroundings = self.surroundings_now();
        let pid_of: PidMap = Rc::new(move |then| pids.iter().position(|&p| p == then).map_or_else(|| surroundings(then), |i| gate.pid(i)));
        passes(Stage::Rebuild)?;
        let rebuilt: Vec<Rebuilt> = self.members.iter().map(|m| self.objects(m, &pid_of)).collect::<Result<_, _>>()?;
        for risk in rebuilt.iter().flat_map(|r| r.risks()).filter(|_| !self.options.checkpoint.quiet) {
            eprintln!("ckpt_restart: risk: {risk}");
        }
        let files = self.map_files(base)?;
        let sysv: Vec<Restored> = self.members.iter().map(|m| sysv::restore(m, self.ids, &self.known, self.shared_ids)).collect::<Result<_, _>>()?;
        let shared = self.shared_memory(base, &rebuilt, &sysv)?;
        let bodies = self.members.iter().flat_map(|m| &m.meta.processes).filter_map(|p| p.body.as_ref());
        let table = move_up(self.shared_ids.fd.try_clone()?, base)?;
        let id_table = (plan::free_address(bodies), table.as_raw_fd());
        let libraries = self.libraries(&files)?;
        let given = prepare::Given { base, files: &files, shared: &shared, libraries: &libraries, id_table };
        // From the last: the plan of a maker names the plans of those it makes.
        let mut prepared: Vec<Option<Prepared>> = all.iter().map(|_| None).collect();
        for (i, &place) in all.iter().enumerate().rev() {
            prepared[i] = Some(self.prepare(i, place, &rebuilt[place.0], &prepared, &given)?);
        }
        let mut prepared: Vec<Prepared> = prepared.into_iter().flatten().collect();
        let mapped: Vec<RawFd> = files.values().map(AsRawFd::as_raw_fd).chain(shared.values().filter_map(Source::fd)).chain([id_table.1]).collect();
        let program = self.start(&prepared, &rebuilt, &mapped, gate)?;
        drop((rebuilt, files, shared, table));
        let restored = self.wait_restored(&mut prepared, sysv).map_err(|failure| gate.words().map(|words| Failure(words, 1)).or_else(|| self.late(gate)).unwrap_or(failure));
        // Who waits at the gate for one that is gone would do so until the deadline.
        restored.inspect_err(|_| gate.fail(libc::ECANCELED))?;
        drop(libraries);
        Ok(program)
    }

    fn process(&self, p: &Prepared) -> &ProcessMeta {
        &self.members[p.member].meta.processes[p.process]
    }

    /// Above every number that the program uses.
    fn first_own(&self) -> i32 {
        let highest = self.members.iter().map(|m| m.meta.objects.highest_fd()).max().unwrap_or(2);
        ckpt_objects::raise_file_limit();
        // SAFETY: limit is a struct rlimit.
        let most = unsafe {
            let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
            limit.rlim_cur.min(1 << 20) as i32
        };
        // Under a low limit there is no room to keep a distance.
        (highest + 1).max(400.min(most / 2))
    }

    /// The program's surroundings, as it knows them and as they are.
    fn outer(&self) -> Outer {
        let [agent, group, session] = self.members[0].meta.agent.known;
        // SAFETY: only ask.
        let (real_group, real_session) = unsafe { (libc::getpgrp(), libc::getsid(0)) };
        Outer { agent, group, real_group, session, real_session }
    }

    /// What the program knew as its surroundings has other ids now.
    fn pair_surroundings(&self) -> Result<(), Failure> {
        let [agent, group, session] = self.members[0].meta.agent.known;
        // SAFETY: only ask.
        let (pgid, sid) = unsafe { (libc::getpgrp(), libc::getsid(0)) };
        for (known, now) in [(session, sid), (agent, std::process::id() as i32), (group, pgid)] {
            self.shared_ids.pair(known, now)?;
        }
        Ok(())
    }

    /// A parent may have been told of a child and not have looked yet.
    fn note_then(&self) -> Result<(), Failure> {
        for p in self.members.iter().flat_map(|m| &m.meta.processes) {
            let known = VirtualPid(self.known.program_id(p.pid));
            self.shared_ids.table.note_then(RealPid(p.pid), known).map_err(|_| Failure("more processes than the table of ids holds".into(), 1))?;
        }
        // The kernel goes on to name those who used a System V object.
        for maker in self.members.iter().flat_map(|m| m.meta.sysv.makers()) {
            let _ = self.shared_ids.table.note_then(RealPid(maker), VirtualPid(self.known.program_id(maker)));
        }
        // A child that was waited for at that moment is no process any more, and its id on its way to the parent.
        for r in self.known.list() {
            let _ = self.shared_ids.table.note_then(RealPid(r.then), VirtualPid(r.program));
        }
        Ok(())
    }

    /// Ids that belong to no process of ours, such as the group that the program was started in.
    fn surroundings_now(&self) -> impl Fn(i32) -> i32 + 'static {
        let (renamed, table) = (self.known.list(), self.shared_ids.table);
        move |then| {
            let program = renamed.iter().find(|r| r.then == then).map_or(then, |r| r.program);
            table.to_real(VirtualPid(program)).0
        }
    }

    fn objects(&self, m: &Member, pid_of: &PidMap) -> Result<Rebuilt, Failure> {
        let as_process: &AsProcess = &|then, work| {
            let known = self.known.program_id(then);
            if self.ids != Ids::Virtual {
                return stand_in::run(As::Exactly(known), work);
            }
            let named = |real: i32| -> io::Result<()> {
                self.shared_ids.table.alias(RealPid(real), VirtualPid(known)).map_err(|_| io::ErrorKind::OutOfMemory.into())
            };
            stand_in::run(As::Anybody(&named), work)
        };
        let ctx = RebuildContext {
            std: [0, 1, 2].map(|fd| is_open(fd).then_some(fd)),
            given: self.given(m),
            path_map: self.options.map_path.clone(),
            blobs: &m.file,
            pid_of: Rc::clone(pid_of),
            reserved: Vec::new(),
            outside: &m.outside,
            as_process: Some(as_process),
        };
        Ok(ckpt_objects::rebuild(&m.meta.objects, &ctx)?)
    }

    /// Files and devices that are standard streams of the launched program, where --stdin and the like name others.
    fn given(&self, m: &Member) -> Vec<(ObjectId, u8)> {
        let o = self.options;
        let set = &m.meta.objects;
        let fds = set.descriptors(m.meta.agent.program).unwrap_or_default();
        let asked = (0..).zip([&o.stdin, &o.stdout, &o.stderr]).filter(|(_, file)| file.is_some());
        let stream = |(number, _): (u8, _)| Some((fds.iter().find(|e| e.number == i32::from(number))?.object, number));
        asked.filter_map(stream).filter(|(id, _)| matches!(set.object(*id).kind, Kind::File(_) | Kind::Reopen(_))).collect()
    }

    fn map_files(&self, base: i32) -> Result<MapFiles, Failure> {
        let mut files = MapFiles::new();
        for m in self.members.iter().flat_map(|m| &m.meta.processes).filter_map(|p| p.body.as_ref()).flat_map(|b| &b.maps) {
            let MapKind::File(f) = &m.kind else { continue };
            let key = file_key(m, f);
            if anonymous_now(m, f) || files.contains_key(&key) {
                continue;
            }
            let path = preflight::mapped(&f.path, &self.options.map_path);
            let failed = |e: io::Error| Failure(format!("{}: {e}", path.display()), 1);
            let file = match self.saved_instead(m, f, &path) {
                Some(saved) => saved.map_err(failed)?,
                None => std::fs::File::options().read(true).write(key.1).open(&path).map_err(failed)?.into(),
            };
            files.insert(key, move_up(file, base)?);
        }
        Ok(files)
    }

    /// A library that was upgraded or removed since comes from the image.
    fn saved_instead(&self, m: &MapMeta, f: &FileIdentity, path: &Path) -> Option<io::Result<OwnedFd>> {
        if m.shared || std::fs::metadata(path).is_ok_and(|now| is_same(&now, f)) {
            return None;
        }
        let saved = |m: &'_ Member| m.meta.files.iter().position(|s| s.identity == *f);
        let (member, i) = self.members.iter().find_map(|m| Some((m, saved(m)?)))?;
        Some(memory::saved_file(member, &member.meta.files[i]))
    }

    /// Descriptor (or SysV id) of each piece of shared memory.
    fn shared_memory(&self, base: i32, rebuilt: &[Rebuilt], sysv: &[Restored]) -> Result<SharedSources, Failure> {
        let mut out = HashMap::new();
        for (mi, m) in self.members.iter().enumerate() {
            for (i, s) in m.meta.shared.iter().enumerate() {
                let name = String::from_utf8_lossy(&s.name);
                let failed = |e: io::Error| Failure(format!("shared memory {name}: {e}"), 1);
                let made;
                let object = match s.kind {
                    SharedKind::Object => {
                        let object = m.meta.objects.inode_object(s.dev, s.ino).and_then(|id| rebuilt[mi].fd(id));
                        Ok(object.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?)
                    }
                    SharedKind::SysV { id, .. } => Err(sysv::id_now(&sysv[mi], id)),
                    _ => {
                        made = memory::shared(m, s).map_err(failed)?;
                        Ok(made.as_fd())
                    }
                };
                for written in [false, true].into_iter().filter(|&written| is_mapped(m, i as u32, written)) {
                    let source = match object {
                        Ok(object) => Source::Fd(move_up(for_mapping(object, written).map_err(failed)?, base)?),
                        Err(id) => Source::SysV(id),
                    };
                    out.insert((mi, i as u32, written), source);
                }
            }
        }
        Ok(out)
    }
}

enum Source {
    Fd(OwnedFd),
    SysV(i32),
}

impl Source {
    fn fd(&self) -> Option<RawFd> {
        match self {
            Source::Fd(fd) => Some(fd.as_raw_fd()),
            Source::SysV(_) => None,
        }
    }
}

fn is_mapped(m: &Member, shared: u32, written: bool) -> bool {
    let mut maps = m.meta.processes.iter().filter_map(|p| p.body.as_ref()).flat_map(|b| &b.maps);
    maps.any(|map| map.kind == MapKind::Shared(shared) && map.writes_through() == written)
}

/// The rights of the description decide what mprotect grants later; a program need not have kept the one that it mapped.
fn for_mapping(object: BorrowedFd, written: bool) -> io::Result<OwnedFd> {
    // SAFETY: only asks.
    let rights = unsafe { libc::fcntl(object.as_raw_fd(), libc::F_GETFL) } & libc::O_ACCMODE;
    if rights == if written { libc::O_RDWR } else { libc::O_RDONLY } {
        return object.try_clone_to_owned();
    }
    let path = format!("/proc/self/fd/{}", object.as_raw_fd());
    match std::fs::File::options().read(true).write(written).open(path) {
        Ok(file) => Ok(file.into()),
        // A mode that lets nobody open it any more: too many rights are better than none.
        Err(_) if !written && rights == libc::O_RDWR => object.try_clone_to_owned(),
        Err(e) => Err(e),
    }
}

/// Private mappings of files that are gone were saved whole and come back without a file.
fn anonymous_now(m: &MapMeta, f: &FileIdentity) -> bool {
    !m.shared && f.deleted
}

fn file_key(m: &MapMeta, f: &FileIdentity) -> (Vec<u8>, bool) {
    (f.path.clone(), m.writes_through())
}

/// To a number that no process of the program uses.
fn move_up(fd: OwnedFd, base: i32) -> io::Result<OwnedFd> {
    // SAFETY: fcntl on our own descriptor; the new one is ours alone.
    unsafe {
        let up = libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, base);
        if up < 0 { Err(none_left(io::Error::last_os_error())) } else { Ok(OwnedFd::from_raw_fd(up)) }
    }
}

/// A limit below `base` reads EINVAL.
fn none_left(e: io::Error) -> io::Error {
    match e.raw_os_error() {
        Some(libc::EINVAL | libc::EMFILE) => io::Error::other(ckpt_objects::RebuildError::TooManyDescriptors(io::Error::from_raw_os_error(libc::EMFILE))),
        _ => e,
    }
}

fn is_open(fd: RawFd) -> bool {
    // SAFETY: only asks.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}
