//! Running the layout: forks, sessions, groups, descriptors, exec.

use crate::gate::{Gate, Step};
use crate::ids::{Known, SharedIds, clone_as, clone_elsewhere, clone_with_pid};
use ckpt_sys::fault::Stage;
use ckpt_sys::idtable::VirtualPid;
use crate::tree::{Node, What};
use ckpt_agent::{foreground, passes};
use ckpt_image::{ProcessMeta, RunState};
use ckpt_agent::program::is_loader;
use std::ffi::CString;
use std::io;

pub struct Tree<'a> {
    pub gate: &'static Gate,
    pub processes: &'a [ProcessMeta],
    /// how many of them are made here
    pub total: usize,
    pub exact: bool,
    /// ids that processes of ours leave alone
    pub wanted: &'a [i32],
    pub ids: &'a SharedIds,
    pub known: &'a Known,
    pub outer_group: i32,
    pub new_group: i32,
    pub groups: &'a [(i32, usize)],
    /// in the child, when every process exists and is in its group: descriptors, terminal, directory, exec
    pub become_process: &'a dyn Fn(usize) -> io::Error,
}

impl Tree<'_> {
    /// Forks `nodes` from this process. Errors: EEXIST when an id is taken meanwhile.
    pub fn fork_all(&self, nodes: &[Node]) -> io::Result<()> {
        for node in nodes {
            let pid = match node.what {
                What::Process(i) => Some(self.known.program_id(self.processes[i].pid)),
                What::Leader(sid) => Some(self.known.program_id(sid)),
                What::Detour => None,
            };
            let (flags, exit_signal) = match node.what {
                What::Process(i) => self.birth(i),
                _ => (0, libc::SIGCHLD),
            };
            let child = match pid {
                None if self.exact => clone_elsewhere(self.wanted)?,
                _ => clone_as(pid.filter(|_| self.exact), flags, exit_signal)?,
            };
            if child == 0 {
                // Not its parent: it may be needed before that goes on.
                if let Err(e) = pid.map_or(Ok(()), |pid| self.ids.pair(pid, std::process::id() as i32)) {
                    self.fail(node, &e);
                }
                self.live(node);
            }
            if matches!(node.what, What::Detour | What::Leader(_)) {
                let mut status = 0;
                // SAFETY: status is an int.
                unsafe { libc::waitpid(child, &mut status, 0) };
            }
        }
        Ok(())
    }

    /// Flags of clone(2), and the signal of its end.
    fn birth(&self, i: usize) -> (i32, i32) {
        let birth = self.processes[i].birth;
        // Of others than those that this kernel knows, nothing is believed.
        let signal = if (0..=64).contains(&birth.exit_signal) { birth.exit_signal } else { libc::SIGCHLD };
        (birth.shares as i32 & libc::CLONE_FS, signal)
    }

    fn live(&self, node: &Node) -> ! {
        if node.adopts {
            // SAFETY: numbers only. The restorer says it again as it was.
            unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
        }
        if let Err(e) = self.fork_all(&node.early).and_then(|()| self.own(node)).and_then(|()| self.fork_all(&node.children)) {
            self.fail(node, &e);
        }
        match node.what {
            What::Process(i) => self.process(i, node),
            _ => exit(0),
        }
    }

    /// An id that is taken is the agent's matter.
    fn fail(&self, node: &Node, e: &io::Error) -> ! {
        let errno = e.raw_os_error().unwrap_or(libc::EIO);
        if let (What::Process(i), true) = (&node.what, errno != libc::EEXIST) {
            self.gate.say(&format!("process {}: {e}", self.processes[*i].pid));
        }
        self.gate.fail(errno);
        exit(1)
    }

    /// Session and group that start with this process.
    fn own(&self, node: &Node) -> io::Result<()> {
        let (leads_session, leads_group) = match node.what {
            What::Process(i) => {
                let p = &self.processes[i];
                self.gate.foretell(i, std::process::id() as i32);
                (p.sid == p.pid, p.pgid == p.pid)
            }
            What::Leader(_) => (true, false),
            What::Detour => (false, false),
        };
        // SAFETY: our own session and group.
        let done = unsafe {
            if leads_session {
                libc::setsid()
            } else if leads_group {
                libc::setpgid(0, 0)
            } else {
                0
            }
        };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn process(&self, i: usize, node: &Node) -> ! {
        let total = self.total;
        let gate = self.gate;
        if !gate.pass(Step::Created, i, total) {
            exit(1);
        }
        // Somebody is to wait for those who do not come.
        if i > 0 && passes(Stage::Join).is_err() {
            gate.fail(libc::EIO);
        }
        let stand_ins: Vec<i32> = self.groups.iter().filter(|g| g.1 == i).filter_map(|g| self.group_stand_in(g.0)).collect();
        if !gate.pass(Step::Grouped, i, total) {
            exit(1);
        }
        self.join_group(i);
        if !gate.pass(Step::Joined, i, total) {
            exit(1);
        }
        for pid in stand_ins {
            let mut status = 0;
            // SAFETY: our own child, which ends when all have joined.
            unsafe { libc::waitpid(pid, &mut status, 0) };
        }
        if let RunState::Zombie(status) = self.processes[i].state {
            foreground::end_as(status, exit);
        }
        self.wait_for_zombies(node);
        let e = (self.become_process)(i);
        self.fail(node, &e)
    }

    /// A process with the id of a group whose leader is gone, until all have joined.
    fn group_stand_in(&self, pgid: i32) -> Option<i32> {
        let id = self.known.program_id(pgid);
        let child = clone_with_pid(Some(id).filter(|_| self.exact)).ok()?;
        if child != 0 {
            self.ids.pair(id, child).ok()?;
            // SAFETY: our own child has not exec'ed.
            unsafe { libc::setpgid(child, child) };
            return Some(child);
        }
        // SAFETY: our own group.
        unsafe { libc::setpgid(0, 0) };
        self.gate.wait(Step::Joined, self.total);
        exit(0)
    }

    /// The group of a leader that is gone: what the table says its number means now.
    fn stand_in_of(&self, pgid: i32) -> i32 {
        self.ids.table.to_real(VirtualPid(self.known.program_id(pgid))).0
    }

    fn join_group(&self, i: usize) {
        let p = &self.processes[i];
        if p.pgid == p.pid || p.sid == p.pid {
            return;
        }
        let group = if p.pgid == self.outer_group {
            self.new_group
        } else {
            self.processes.iter().position(|q| q.pid == p.pgid).map_or_else(|| self.stand_in_of(p.pgid), |l| self.gate.pid(l))
        };
        // SAFETY: our own membership.
        unsafe { libc::setpgid(0, group) };
    }

    /// Their SIGCHLD must come while nobody listens.
    fn wait_for_zombies(&self, node: &Node) {
        for kid in node.children.iter().chain(&node.early) {
            if let What::Process(k) = kid.what {
                if matches!(self.processes[k].state, RunState::Zombie(_)) {
                    // SAFETY: info is a siginfo; WNOWAIT leaves the zombie.
                    unsafe {
                        let mut info: libc::siginfo_t = std::mem::zeroed();
                        libc::waitid(libc::P_PID, self.gate.pid(k) as u32, &mut info, libc::WEXITED | libc::WNOWAIT | libc::__WALL);
                    }
                }
            }
        }
    }
}

fn exit(code: i32) -> ! {
    // SAFETY: ends this child without the parent's exit handlers.
    unsafe { libc::_exit(code) }
}

/// The restorer without an exec: libckpt.so is loaded into this process, and its entry for that called.
pub struct Restorer(unsafe extern "C" fn(libc::c_int) -> !);

impl Restorer {
    /// None: the library cannot be loaded; an exec will say why.
    pub fn load(library: &std::path::Path) -> Option<Restorer> {
        use std::os::unix::ffi::OsStrExt;
        let path = CString::new(library.as_os_str().as_bytes()).ok()?;
        // SAFETY: the library's constructor does nothing without its variables; the symbol has that signature.
        unsafe {
            let handle = libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
            let entry = if handle.is_null() { handle } else { libc::dlsym(handle, c"ckpt_restore".as_ptr()) };
            (!entry.is_null()).then(|| Restorer(std::mem::transmute::<*mut libc::c_void, unsafe extern "C" fn(libc::c_int) -> !>(entry)))
        }
    }

    /// Replaces this process by what the plan in descriptor `plan` says.
    pub fn enter(&self, plan: i32) -> ! {
        // SAFETY: a forked child with one thread, which gives up everything.
        unsafe { (self.0)(plan) }
    }
}

/// The program's own binary, with the library as restorer in it.
pub fn exec(exe: &std::path::Path, name: &str, env: &[Vec<u8>]) -> io::Error {
    use std::os::unix::ffi::OsStrExt;
    let c = |b: &[u8]| CString::new(b).unwrap_or_default();
    let (path, argv0) = (c(exe.as_os_str().as_bytes()), c(name.as_bytes()));
    let env: Vec<CString> = env.iter().map(|e| c(e)).collect();
    let envp: Vec<*const libc::c_char> = env.iter().map(|e| e.as_ptr()).chain([std::ptr::null()]).collect();
    // The loader as a program wants one to load. This one does nothing without arguments, should it come to that.
    let loaded = if is_loader(exe) { std::env::current_exe().ok() } else { None }.map(|own| c(own.as_os_str().as_bytes()));
    let argv = [argv0.as_ptr(), loaded.as_ref().map_or(std::ptr::null(), |own| own.as_ptr()), std::ptr::null()];
    // SAFETY: NUL-terminated strings, NULL-terminated lists.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
}
