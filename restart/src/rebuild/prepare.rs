//! What each process needs to start: its plan, its binary, what fills its memory.

use super::libraries::Libraries;
use super::{MapFiles, Rebuild, SharedSources, Source, anonymous_now, file_key, move_up};
use crate::chain::Chain;
use crate::ids::Ids;
use crate::image_set::Member;
use crate::lazy::{self, Share, Split};
use crate::feed::Feed;
use crate::{memory, plan as restore_plan, preflight};
use ckpt_agent::launch::{Failure, agent_variable};
use ckpt_agent::link::{self, Link};
use ckpt_agent::passes;
use ckpt_image::chain::Piece;
use ckpt_image::{Body, Credentials, MapKind, MapMeta, ProcessMeta, RunState, SharedKind};
use ckpt_objects::{FdEntry, Kind, ObjectSet, Rebuilt, ipc};
use ckpt_sys::fault::Stage;
use ckpt_sys::flat::plan::{self, MqNotify, Read, ThreadFd};
use ckpt_sys::flat::{Run, SemUndo};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What one process needs to start.
pub(super) struct Prepared {
    pub member: usize,
    pub process: usize,
    pub rebuilt: usize,
    pub link: Option<Link>,
    pub theirs: Option<OwnedFd>,
    pub plan: Option<OwnedFd>,
    pub images: Vec<OwnedFd>,
    pub feed: Option<Feed>,
    /// what is restored before the start, where the rest is not
    pub eager: Option<Vec<Piece>>,
    pub share: Option<Share>,
    pub exe: PathBuf,
    /// an environment variable
    pub library_path: Option<Vec<u8>>,
    pub exe_copy: Option<OwnedFd>,
    /// the binary, for a process that is restored without an exec
    pub exe_named: Option<OwnedFd>,
    /// files for a table of descriptors that a restorer fills
    pub takes: Vec<OwnedFd>,
}

impl Prepared {
    fn new(member: usize, process: usize) -> Prepared {
        Prepared { member, process, rebuilt: member, link: None, theirs: None, plan: None, images: Vec::new(), feed: None, eager: None, share: None, exe: PathBuf::new(), library_path: None, exe_copy: None, exe_named: None, takes: Vec::new() }
    }

    /// What its restorer takes over.
    pub fn descriptors(&self) -> impl Iterator<Item = RawFd> + '_ {
        let one = [&self.plan, &self.theirs, &self.exe_copy, &self.exe_named].into_iter().flatten();
        one.chain(&self.images).chain(&self.takes).map(AsRawFd::as_raw_fd)
    }
}

/// The same for all.
pub(super) struct Given<'a> {
    /// first number that no process of the program uses
    pub base: i32,
    pub files: &'a MapFiles,
    pub shared: &'a SharedSources,
    pub libraries: &'a Libraries,
    pub id_table: (u64, i32),
}

impl Rebuild<'_> {
    pub(super) fn prepare(&self, i: usize, (member, process): (usize, usize), rebuilt: &Rebuilt, prepared: &[Option<Prepared>], given: &Given) -> Result<Prepared, Failure> {
        let &Given { base, files, shared, libraries, id_table } = given;
        let m = &self.members[member];
        let mut out = Prepared::new(member, process);
        let Some(body) = &m.meta.processes[process].body else { return Ok(out) };
        let (link, theirs) = link::pair()?;
        let theirs = move_up(theirs, base)?;
        if self.lazy {
            self.split(&mut out, body);
        }
        let lazy: Vec<Run> = out.share.iter().flat_map(|s| &s.ranges).map(|&(addr, bytes)| Run { addr, bytes }).collect();
        let (reads, feed) = self.reads(&mut out, base)?;
        let map_fd = |map: &MapMeta| -> Option<i32> {
            match &map.kind {
                MapKind::File(f) if !anonymous_now(map, f) => files.get(&file_key(map, f)).map(AsRawFd::as_raw_fd),
                MapKind::Shared(i) => match shared.get(&(member, *i, map.writes_through()))? {
                    Source::Fd(fd) => Some(fd.as_raw_fd()),
                    Source::SysV(id) => Some(*id),
                },
                _ => None,
            }
        };
        let body_maps = self.mark_sysv(m, body);
        let body = body_maps.as_ref().unwrap_or(body);
        let signal = self.agent.settings.signal;
        let program = self.known.program_id(m.meta.agent.program);
        let agent_name = agent_variable(&self.agent.listener.name, program, Some((self.shared_ids.fd.as_raw_fd(), self.ids == Ids::Virtual)), self.outer(), signal);
        if self.family.owns_memory(i) {
            self.check_binary(i)?;
            (out.exe, out.exe_copy) = self.executable(m, body, base)?;
            out.exe_named = self.binary(i, &out.exe, base)?;
            out.library_path = self.library_path(&out, body, libraries);
        }
        let relations = self.relations(i, &mut out, rebuilt, prepared, base)?;
        let descriptors = self.family.files(i).1.and_then(|of| m.meta.objects.descriptors(of));
        let preload = [b"LD_PRELOAD=", self.library.as_os_str().as_bytes()].concat();
        let own = |u: &&ipc::Undo| u.pid == m.meta.processes[process].pid;
        let undo = m.meta.sysv.undo.iter().filter(own).map(|u| SemUndo { id: u.id, number: u.number, adjust: u.adjust });
        let undo: Vec<SemUndo> = undo.collect();
        let given = restore_plan::Given {
            map_fd: &map_fd,
            agent: theirs.as_raw_fd(),
            exe: out.exe_named.as_ref().map_or(-1, AsRawFd::as_raw_fd),
            reads: &reads,
            feed,
            lazy: &lazy,
            first_own: base,
            exact: self.ids != Ids::Virtual,
            collapse: self.collapse && body.record.0.thp_disable == 0,
            keep_ids: &keep_ids,
            agent_name: agent_name.as_bytes(),
            preload: &preload,
            environment: &self.environment,
            undo: &undo,
            told: &told_stops(m, m.meta.processes[process].pid),
            notifies: &notifies(&m.meta.objects, m.meta.processes[process].pid),
            thread_fds: &thread_fds(&m.meta.objects, descriptors.unwrap_or(&[]), body),
            fds: descriptors.unwrap_or(&[]),
            relations: &relations,
            late: &|id| m.meta.objects.late(id, m.meta.processes[process].pid),
            id_table: if body.id_table != 0 { (body.id_table, id_table.1) } else { id_table },
            agent_pid: std::process::id() as i32,
            no_hangup: self.no_hangup,
            vdso: self.forwards[member].as_ref(),
            outer: self.outer(),
            renamed: &self.known.list(),
            program_id: &|then| self.known.program_id(then),
        };
        let mut bytes = restore_plan::build(body, &given);
        if passes(Stage::Map).is_err() {
            restore_plan::spoil(&mut bytes);
        }
        out.plan = Some(move_up(plan_file(&bytes)?, base)?);
        (out.link, out.theirs) = (Some(link), Some(theirs));
        Ok(out)
    }

    /// What of the process's memory is filled later.
    fn split(&self, p: &mut Prepared, body: &Body) {
        let Some(chain) = Chain::of(&self.members[p.member], p.process) else { return };
        let Split { eager, lazy, ranges } = lazy::split(&chain, body);
        p.eager = Some(eager);
        p.share = (!ranges.is_empty()).then_some(Share { member: p.member, process: p.process, lazy, ranges });
    }

    /// The memory that is there when the process starts.
    pub(super) fn chain(&self, p: &Prepared) -> Option<Chain<'_>> {
        let chain = Chain::of(&self.members[p.member], p.process)?;
        Some(match &p.eager {
            Some(eager) => Chain { pieces: eager.clone(), ..chain },
            None => chain,
        })
    }

    /// What fills the process's memory: places in the images, or, where there is something to decode, a feed.
    fn reads(&self, p: &mut Prepared, base: i32) -> Result<(Vec<Read>, plan::Feed), Failure> {
        let Some(chain) = self.chain(p) else { return Ok((Vec::new(), plan::Feed::NONE)) };
        let mut fed = plan::Feed::NONE;
        // What is read in advance in a lazy restore is verified on the way.
        if chain.is_compressed() || self.lazy {
            let (feed, theirs) = Feed::new()?;
            p.images = theirs.into_iter().map(|fd| move_up(fd, base)).collect::<io::Result<_>>()?;
            let fd = |i: usize| p.images[i].as_raw_fd();
            fed = plan::Feed { memory: fd(0), ready: fd(1), free: fd(2), pad: 0 };
            p.feed = Some(feed);
        } else {
            let files = chain.sources.iter().map(|s| move_up(s.file.file.try_clone()?.into(), base));
            p.images = files.collect::<io::Result<_>>()?;
        }
        let mut before = 0;
        let read = |piece: &Piece| {
            let (fd, offset) = match p.feed {
                Some(_) => (-1, 0),
                None => (p.images[piece.image].as_raw_fd(), chain.sources[piece.image].memory.pieces[0].offset + piece.at),
            };
            before += piece.len;
            Read { addr: piece.addr, len: piece.len, offset, before: before - piece.len, fd, pad: 0 }
        };
        Ok((chain.pieces.iter().map(read).collect(), fed))
    }

    /// SysV mappings are attached, not mapped: said in the plan by a flag.
    fn mark_sysv(&self, m: &Member, body: &Body) -> Option<Body> {
        let is_sysv = |k: &MapKind| matches!(k, MapKind::Shared(i) if matches!(m.meta.shared[*i as usize].kind, SharedKind::SysV { .. }));
        if !body.maps.iter().any(|x| is_sysv(&x.kind)) {
            return None;
        }
        let bytes = bincode::serde::encode_to_vec(body, bincode::config::standard()).ok()?;
        let (mut copy, _): (Body, usize) = bincode::serde::decode_from_slice(&bytes, bincode::config::standard()).ok()?;
        copy.maps.iter_mut().filter(|x| is_sysv(&x.kind)).for_each(|x| x.advice |= ckpt_sys::flat::plan::MAP_SHM);
        Some(copy)
    }

    /// The program's own binary, when it is still that; else its copy in the image.
    fn executable(&self, member: &Member, body: &Body, base: i32) -> Result<(PathBuf, Option<OwnedFd>), Failure> {
        let path = preflight::mapped(&body.exe.path, &self.options.map_path);
        let same = std::fs::metadata(&path).is_ok_and(|m| m.size() == body.exe.size);
        let runs = nix::unistd::access(&path, nix::unistd::AccessFlags::X_OK).is_ok();
        if same && runs && !body.exe.deleted {
            return Ok((path, None));
        }
        let saved = member.meta.files.iter().find(|s| s.identity.path == body.exe.path);
        let saved = saved.ok_or_else(|| Failure(format!("{}: gone, and not in the image; put it back", path.display()), 1))?;
        let own_name = body.exe.deleted && !body.exe.path.starts_with(b"/memfd:");
        let nameless = own_name.then(|| memory::saved_nameless(member, saved).ok()).flatten();
        let file = nameless.map_or_else(|| memory::saved_file(member, saved), Ok)?;
        let fd = move_up(file, base)?;
        Ok((PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd())), Some(fd)))
    }

    /// The binary of a process that needs no exec, where the kernel is to name it.
    fn binary(&self, i: usize, exe: &Path, base: i32) -> Result<Option<OwnedFd>, Failure> {
        if !self.names_binary(i) {
            return Ok(None);
        }
        let file = std::fs::File::open(exe).map_err(|e| Failure(format!("{}: {e}", exe.display()), 1))?;
        Ok(Some(move_up(file.into(), base)?))
    }

    /// It had not called exec, or a child of its would lose its exit signal. One that a restorer makes has its maker's.
    fn names_binary(&self, i: usize) -> bool {
        let p = self.family.process(i);
        let odd_child = |q: &ProcessMeta| q.ppid == p.pid && q.birth.exit_signal != libc::SIGCHLD;
        match self.family.lender(i) {
            _ if self.restorer.is_none() => false,
            Some(lender) => !self.family.same_binary(i, lender) || self.names_binary(lender),
            None => p.birth.never_execed || self.family.neighbours(i).any(odd_child),
        }
    }
}

/// Stopped children of a process whose stop it was told of.
fn told_stops(m: &Member, parent: i32) -> Vec<i32> {
    let told = m.meta.processes.iter().filter(|p| p.ppid == parent && p.state == RunState::Stopped && p.stop_told);
    told.map(|p| p.pid).collect()
}

/// A thread is there only when the restorer has made it.
fn thread_fds(set: &ObjectSet, descriptors: &[FdEntry], body: &Body) -> Vec<ThreadFd> {
    let of_thread = |e: &FdEntry| {
        let object = set.object(e.object);
        let Kind::Pidfd(state) = &object.kind else { return None };
        let ours = state.thread && body.threads.iter().any(|t| t.0.tid == state.pid) && state.pid != body.record.0.pid;
        let flags = (libc::O_EXCL | object.flags & libc::O_NONBLOCK) as u32;
        ours.then_some(ThreadFd { fd: e.number, tid: state.pid, flags, cloexec: e.cloexec.into() })
    };
    descriptors.iter().filter_map(of_thread).collect()
}

/// Which queues the process waits for. An exec makes the kernel forget (`self_exec_id`), so the restorer asks again.
fn notifies(set: &ObjectSet, pid: i32) -> Vec<MqNotify> {
    let mine = |e: &FdEntry| {
        let Kind::Mqueue(end) = &set.object(e.object).kind else { return None };
        let notify = set.queues[end.queue as usize].notify.as_ref().filter(|n| n.pid == pid)?;
        let signal = if notify.how == libc::SIGEV_THREAD { glibc_listens_at(set, pid)? } else { notify.signal };
        let of_queue = MqNotify { fd: e.number, how: notify.how, signal, pad: 0, value: notify.value, function: notify.function };
        Some((end.queue, of_queue))
    };
    let all: HashMap<u32, MqNotify> = set.descriptors(pid).unwrap_or(&[]).iter().filter_map(mine).collect();
    all.into_values().collect()
}

/// glibc has one netlink socket and one thread for all notifications of a process by SIGEV_THREAD.
fn glibc_listens_at(set: &ObjectSet, pid: i32) -> Option<i32> {
    let is_it = |e: &&FdEntry| {
        let Kind::Netlink(socket) = &set.object(e.object).kind else { return false };
        e.cloexec && socket.kind == libc::SOCK_RAW && socket.protocol == 0
    };
    set.descriptors(pid)?.iter().rfind(is_it).map(|e| e.number)
}

fn keep_ids(c: &Credentials) -> bool {
    // SAFETY: only ask.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    let own = c.uid.iter().all(|&u| u == uid) && c.gid.iter().all(|&g| g == gid);
    own || uid != 0
}

fn plan_file(bytes: &[u8]) -> io::Result<OwnedFd> {
    // SAFETY: a literal name; the descriptor is new.
    let fd = unsafe { libc::memfd_create(c"ckpt-plan".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made.
    let mut file = unsafe { std::fs::File::from_raw_fd(fd) };
    io::Write::write_all(&mut file, bytes)?;
    Ok(file.into())
}
