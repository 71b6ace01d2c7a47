//! The tree is forked; in its place in it each process takes its descriptors and becomes the program.

use super::Rebuild;
use super::prepare::Prepared;
use super::release::killed;
use crate::again::ID_TAKEN;
use crate::ids::{self, Ids};
use crate::gate::Gate;
use crate::session::{self, Tree};
use crate::{namespace, preflight, tree};
use ckpt_agent::launch::Failure;
use ckpt_agent::passes;
use ckpt_image::ProcessMeta;
use ckpt_objects::kinds::procfile::{self, ProcFileState};
use ckpt_objects::{Kind, Object, ObjectSet, Rebuilt, ipc};
use ckpt_sys::fault::{self, Effect, Stage};
use ckpt_sys::idtable::{RealPid, VirtualPid};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

impl Rebuild<'_> {
    /// Forks the tree; returns when every process of it has begun its exec.
    pub(super) fn start(&self, prepared: &[Prepared], rebuilt: &[Rebuilt], mapped: &[RawFd], gate: &'static Gate) -> Result<i32, Failure> {
        let mut processes: Vec<ProcessMeta> = Vec::new();
        for p in prepared {
            let q = self.process(p);
            processes.push(ProcessMeta { body: None, name: q.name.clone(), ..*q });
        }
        let outer = self.members[0].meta.agent;
        let late = self.family.late();
        // Those whom restorers make find their groups there.
        let live: Vec<ProcessMeta> = processes.iter().zip(&late).map(|(q, &late)| ProcessMeta { body: None, name: String::new(), pgid: if late { 0 } else { q.pgid }, ..*q }).collect();
        let groups = tree::leaderless_groups(&live, outer.pgid);
        let forest = tree::layout(&processes, &late, outer.sid);
        let become_process = |i: usize| self.become_process(i, prepared, rebuilt, mapped);
        let total = late.iter().filter(|late| !**late).count();
        if self.ids != Ids::Virtual {
            (0..late.len()).filter(|&i| late[i]).for_each(|i| gate.foretell(i, self.known.program_id(processes[i].pid)));
        }
        let tree = Tree {
            gate,
            processes: &processes,
            total,
            exact: self.ids != Ids::Virtual,
            wanted: &ids::wanted(self.members, &self.known),
            ids: self.shared_ids,
            known: &self.known,
            outer_group: outer.pgid,
            // SAFETY: only asks.
            new_group: unsafe { libc::getpgrp() },
            groups: &groups,
            become_process: &become_process,
        };
        passes(Stage::Fork)?;
        tree.fork_all(&forest).map_err(|e| fork_failed(&e))?;
        let dead = || (0..late.len()).find(|&i| !late[i] && gate.pid(i) > 0 && self.is_gone(i));
        if !gate.wait_created(total, &|| dead().is_some()) {
            if let Some(words) = gate.words() {
                return Err(Failure(words, 1));
            }
            let e = gate.failure().unwrap_or_else(|| io::ErrorKind::TimedOut.into());
            // Who fails says why, and ends.
            let killed_one = || dead().filter(|_| e.raw_os_error() == Some(libc::ETIMEDOUT)).map(|i| killed(&processes[i]));
            return Err(killed_one().or_else(|| self.late(gate)).unwrap_or_else(|| fork_failed(&e)));
        }
        fault::target(Effect::KillMember, gate.pid(late.iter().rposition(|late| !late).unwrap_or(0)));
        let is_program = |p: &ProcessMeta| self.known.program_id(p.pid) == self.known.program_id(outer.program);
        let program = processes.iter().position(is_program).or_else(|| processes.iter().position(|p| !processes.iter().any(|q| q.pid == p.ppid)));
        Ok(gate.pid(program.unwrap_or(0)))
    }

    /// Who was waited for in vain at the gate.
    pub(super) fn late(&self, gate: &Gate) -> Option<Failure> {
        const MOST: usize = 8;
        gate.failure().filter(|e| e.raw_os_error() == Some(libc::ETIMEDOUT))?;
        let made_later = self.family.late();
        let missing = gate.missing((0..made_later.len()).filter(|&i| !made_later[i]));
        let names = missing.iter().take(MOST).map(|&i| self.family.process(i)).map(|p| format!("process {} ({})", p.pid, p.name));
        let more = if missing.len() > MOST { format!(" and {} others", missing.len() - MOST) } else { String::new() };
        let names: Vec<String> = names.collect();
        Some(Failure(format!("not made within {} s: {}{more}; --stage-timeout gives them longer", self.options.patience().as_secs(), names.join(", ")), 1))
    }

    /// In the child, in its place in the tree.
    fn become_process(&self, i: usize, prepared: &[Prepared], rebuilt: &[Rebuilt], mapped: &[RawFd]) -> io::Error {
        let p = &prepared[i];
        let meta = self.process(p);
        let Some(body) = &meta.body else { return io::ErrorKind::InvalidData.into() };
        if let Err(e) = passes(Stage::Exec) {
            return e;
        }
        let objects = &self.members[p.member].meta.objects;
        self.controlling_terminal(meta, &rebuilt[p.rebuilt]);
        let _ = std::fs::write("/proc/self/oom_score_adj", body.oom_score_adj.to_string());
        let _ = std::fs::write("/proc/self/coredump_filter", format!("{:#x}", body.coredump_filter));
        if let Err(e) = ipc::redo(&self.members[p.member].meta.sysv.undo, meta.pid) {
            return e;
        }
        let cwd = preflight::mapped(&body.cwd, &self.options.map_path);
        let entered = match deleted_folder(objects, &rebuilt[p.rebuilt], &body.cwd) {
            None if self.is_member(procfile::pid_of(&body.cwd)) => self.enter_proc(&body.cwd),
            Some(fd) => nix::unistd::fchdir(fd).map_err(io::Error::from),
            None => change_directory(&cwd),
        };
        if let Err(e) = entered {
            return io::Error::new(e.kind(), format!("{}: cannot be made the working directory: {e}", cwd.display()));
        }
        if p.exe_named.is_none() && self.ids == Ids::Namespace && nix::unistd::geteuid().as_raw() != 0 {
            if let Err(e) = namespace::keep_capabilities() {
                return e;
            }
        }
        let Some(plan) = &p.plan else { return io::ErrorKind::InvalidData.into() };
        let own = prepared.iter().enumerate().filter(|(k, _)| self.family.root_of(*k) == i).flat_map(|(_, p)| p.descriptors());
        let keep: Vec<RawFd> = own.chain(mapped.iter().copied()).collect();
        if let Err(e) = rebuilt[p.rebuilt].install(objects, meta.pid, &keep) {
            return io::Error::other(e.to_string());
        }
        for fd in &keep {
            let _ = nix::fcntl::fcntl(borrow(*fd), nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()));
        }
        if let Some(restorer) = self.restorer.as_ref().filter(|_| p.exe_named.is_some()) {
            restorer.enter(plan.as_raw_fd());
        }
        if meta.birth.never_execed && self.ids == Ids::Virtual {
            self.shared_ids.table.set_forked(RealPid(std::process::id() as i32), true);
        }
        let mut env = vec![
            [b"LD_PRELOAD=", self.library.as_os_str().as_bytes()].concat(),
            format!("CKPT_RESTORE={}", plan.as_raw_fd()).into_bytes(),
        ];
        env.extend(p.library_path.clone());
        session::exec(&p.exe, &meta.name, &env)
    }

    fn is_member(&self, pid: Option<i32>) -> bool {
        let all = || self.members.iter().flat_map(|m| &m.meta.processes);
        pid.is_some_and(|pid| all().any(|p| p.pid == pid))
    }

    /// A folder of a process, which may have another id now.
    fn enter_proc(&self, cwd: &[u8]) -> io::Result<()> {
        let pid = procfile::pid_of(cwd).unwrap_or_default();
        let rest = cwd.strip_prefix(format!("/proc/{pid}").as_bytes()).unwrap_or_default();
        let state = ProcFileState { pid, rest: rest.strip_prefix(b"/").unwrap_or_default().into(), offset: 0, of_memory: false, dead: false, outside: false };
        let now = self.shared_ids.table.to_real(VirtualPid(self.known.program_id(pid))).0;
        let folder = procfile::open(&state, now, libc::O_RDONLY | libc::O_DIRECTORY)?;
        Ok(nix::unistd::fchdir(folder)?)
    }

    fn controlling_terminal(&self, meta: &ProcessMeta, rebuilt: &Rebuilt) {
        for t in rebuilt.terminals().iter().filter(|t| t.session == meta.pid && meta.sid == meta.pid) {
            let Some(fd) = t.slave.and_then(|id| rebuilt.fd(id)) else { continue };
            // SAFETY: ioctls on our own descriptor; SIGTTOU is blocked in the agent's children.
            unsafe {
                libc::ioctl(fd.as_raw_fd(), libc::TIOCSCTTY, 0);
                if t.foreground > 0 {
                    libc::ioctl(fd.as_raw_fd(), libc::TIOCSPGRP, &t.foreground);
                }
            }
        }
    }
}

fn fork_failed(e: &io::Error) -> Failure {
    match e.raw_os_error() {
        Some(libc::EEXIST) => Failure("an id of the program is in use by another process; wait until it has ended, or give --ids namespace".into(), ID_TAKEN),
        _ => Failure(format!("the processes could not be made: {e}"), 1),
    }
}

/// A directory that had no name any more and is open somewhere is that one.
fn deleted_folder<'a>(objects: &ObjectSet, rebuilt: &'a Rebuilt, cwd: &[u8]) -> Option<std::os::fd::BorrowedFd<'a>> {
    let is_folder = |o: &Object| matches!(&o.kind, Kind::Directory(_) | Kind::Reopen(_)) && *o.name == *cwd;
    let gone = cwd.ends_with(b" (deleted)");
    objects.ids().find(|(_, o)| gone && is_folder(o)).and_then(|(id, _)| rebuilt.fd(id))
}

/// A directory that had no name any more is made again for the moment.
fn change_directory(cwd: &Path) -> io::Result<()> {
    let Some(gone) = cwd.as_os_str().as_bytes().strip_suffix(b" (deleted)") else { return std::env::set_current_dir(cwd) };
    let gone = Path::new(std::ffi::OsStr::from_bytes(gone));
    let made = std::fs::create_dir_all(gone).is_ok();
    std::env::set_current_dir(gone)?;
    if made { std::fs::remove_dir(gone) } else { Ok(()) }
}

fn borrow(fd: RawFd) -> std::os::fd::BorrowedFd<'static> {
    // SAFETY: callers checked that it is open; the process is about to exec.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) }
}
