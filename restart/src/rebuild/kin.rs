//! Who makes whom. ckpt_restart forks the tree; a process that shares memory or descriptors with another is made by that
//! one's restorer, since an exec would end the sharing, and so are its children.

use super::prepare::Prepared;
use super::{Rebuild, move_up};
use crate::image_set::Member;
use crate::preflight;
use ckpt_agent::launch::Failure;
use ckpt_image::{ProcessMeta, RunState};
use ckpt_objects::{ObjectId, Rebuilt};
use ckpt_sys::flat::plan::{self, Kin, SharedFiles, Take};
use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

const MEMORY: u32 = libc::CLONE_VM as u32;
const FILES: u32 = libc::CLONE_FILES as u32;
const FOLDER: u32 = libc::CLONE_FS as u32;

/// All processes by their place in one list.
pub struct Family<'a> {
    all: Vec<(usize, &'a ProcessMeta)>,
    /// the one whose restorer makes it; None: ckpt_restart does
    makers: Vec<Option<usize>>,
}

/// What a plan says of it.
#[derive(Default)]
pub struct Relations {
    pub kin: Vec<Kin>,
    pub takes: Vec<Take>,
    /// with the path of the folder
    pub apart: Vec<(plan::Apart, Vec<u8>)>,
    pub cwd: Vec<u8>,
    pub files: SharedFiles,
    /// kernel's ids then of group and session, where its maker's restorer makes it
    pub place: (i32, i32),
    pub own_files: bool,
}

impl<'a> Family<'a> {
    pub fn of(members: &'a [Member]) -> Family<'a> {
        let all: Vec<_> = members.iter().enumerate().flat_map(|(m, x)| x.meta.processes.iter().map(move |p| (m, p))).collect();
        let mut family = Family { makers: vec![None; all.len()], all };
        // Makers come before those they make, but zombies last.
        for i in 0..family.all.len() {
            let (member, p) = family.all[i];
            let maker = family.all[..i].iter().position(|q| q.0 == member && q.1.pid == p.birth.maker);
            let shares = p.birth.shares & (MEMORY | FILES) != 0;
            family.makers[i] = maker.filter(|&m| shares || family.makers[m].is_some());
        }
        family
    }

    pub fn is_late(&self, i: usize) -> bool {
        self.makers[i].is_some()
    }

    pub fn process(&self, i: usize) -> &ProcessMeta {
        self.all[i].1
    }

    /// Processes of the same image.
    pub fn neighbours(&self, i: usize) -> impl Iterator<Item = &ProcessMeta> {
        let member = self.all[i].0;
        self.all.iter().filter(move |q| q.0 == member).map(|q| q.1)
    }

    /// The process whose memory one begins with that a restorer forks.
    pub fn lender(&self, i: usize) -> Option<usize> {
        self.makers[i].map(|maker| self.memory_of(maker))
    }

    pub fn same_binary(&self, a: usize, b: usize) -> bool {
        let exe = |i: usize| self.all[i].1.body.as_ref().map(|body| &body.exe.path);
        exe(a) == exe(b)
    }

    pub fn late(&self) -> Vec<bool> {
        self.makers.iter().map(Option::is_some).collect()
    }

    fn shares(&self, i: usize, what: u32) -> bool {
        self.is_late(i) && self.all[i].1.birth.shares & what != 0
    }

    pub fn owns_memory(&self, i: usize) -> bool {
        !self.shares(i, MEMORY)
    }

    /// The process that has the memory of `i`.
    fn memory_of(&self, mut i: usize) -> usize {
        while let (true, Some(maker)) = (self.shares(i, MEMORY), self.makers[i]) {
            i = maker;
        }
        i
    }

    /// The process in the tree from which `i` descends by restorers.
    pub fn root_of(&self, mut i: usize) -> usize {
        while let Some(maker) = self.makers[i] {
            i = maker;
        }
        i
    }

    /// Whom the processes in the memory of `i` make, in the order of the plan's table.
    fn made_in(&self, i: usize) -> Vec<usize> {
        if !self.owns_memory(i) {
            return Vec::new();
        }
        (0..self.all.len()).filter(|&k| self.makers[k].is_some_and(|m| self.memory_of(m) == i)).collect()
    }

    /// The table of those who are made; `plan` says the descriptor of one's plan.
    fn kin(&self, i: usize, plan: &dyn Fn(usize) -> Option<RawFd>, program_id: &dyn Fn(i32) -> i32) -> Vec<Kin> {
        let made = self.made_in(i);
        let place = |m: usize| made.iter().position(|&k| k == m).map_or(0, |at| at as u32 + 1);
        let entry = |&k: &usize| {
            let p = self.all[k].1;
            let status = if let RunState::Zombie(status) = p.state { status } else { 0 };
            let signal = if (0..=64).contains(&p.birth.exit_signal) { p.birth.exit_signal } else { libc::SIGCHLD };
            let known = (libc::CLONE_VM | libc::CLONE_FILES | libc::CLONE_FS | libc::CLONE_SIGHAND | libc::CLONE_PARENT) as u32;
            let maker = self.makers[k].map_or(0, place);
            Kin { pid: program_id(p.pid), maker, flags: p.birth.shares & known, exit_signal: signal, plan: plan(k).unwrap_or(-1), status }
        };
        made.iter().map(entry).collect()
    }

    /// Those who have the same table of descriptors, and its number.
    fn table(&self, i: usize) -> (usize, Vec<usize>) {
        let head = |mut i: usize| {
            while let (true, Some(maker)) = (self.shares(i, FILES), self.makers[i]) {
                i = maker;
            }
            i
        };
        let own = head(i);
        (own, (0..self.all.len()).filter(|&k| head(k) == own && self.all[k].1.body.is_some()).collect())
    }

    /// Who drops our descriptors from a shared table, and whose list of descriptors it sees to.
    pub fn files(&self, i: usize) -> (SharedFiles, Option<i32>) {
        let (head, all) = self.table(i);
        if all.len() < 2 {
            return (SharedFiles::default(), Some(self.all[i].1.pid));
        }
        let runs = |k: &&usize| self.all[**k].1.state == RunState::Running;
        let closer = all.iter().find(runs).copied().unwrap_or(head);
        let others = all.iter().filter(runs).filter(|&&k| k != closer).count() as u32;
        let number = (0..head).filter(|&k| self.table(k).0 == k && self.table(k).1.len() > 1).count() as u32;
        let role = if i == closer { 1 } else { 2 };
        (SharedFiles { number, others, role, pad: 0 }, (i == closer).then_some(self.all[head].1.pid))
    }
}

impl Rebuild<'_> {
    /// What the plan of process `i` says of relatives, and of threads that are on their own.
    pub(super) fn relations(&self, i: usize, out: &mut Prepared, rebuilt: &Rebuilt, prepared: &[Option<Prepared>], base: i32) -> Result<Relations, Failure> {
        let (meta, late) = (self.process(out), self.family.is_late(i));
        let Some(body) = &meta.body else { return Ok(Relations::default()) };
        let plan = |k: usize| prepared[k].as_ref()?.plan.as_ref().map(AsRawFd::as_raw_fd);
        let mut takes = Vec::new();
        let own_files = late && !self.family.shares(i, FILES);
        if own_files {
            self.takes(0, meta.pid, out, rebuilt, base, &mut takes)?;
        }
        let mut apart = Vec::new();
        for a in &body.apart {
            let tid = self.known.program_id(a.tid);
            if a.own & FILES != 0 {
                self.takes(tid, a.tid, out, rebuilt, base, &mut takes)?;
            }
            let maker = self.known.program_id(a.maker);
            apart.push((plan::Apart { tid, maker, own: a.own, umask: a.umask, ..plan::Apart::default() }, self.folder(&a.cwd)));
        }
        let stays = !late || self.family.shares(i, FOLDER);
        Ok(Relations {
            kin: self.family.kin(i, &plan, &|then| self.known.program_id(then)),
            takes,
            apart,
            cwd: if stays { Vec::new() } else { self.folder(&body.cwd) },
            files: self.family.files(i).0,
            place: if late { (meta.pgid, meta.sid) } else { (0, 0) },
            own_files,
        })
    }

    /// As a string of C. A folder that is gone cannot be entered by its name: the maker's stays.
    fn folder(&self, cwd: &[u8]) -> Vec<u8> {
        use std::os::unix::ffi::OsStrExt;
        if cwd.ends_with(b" (deleted)") {
            return Vec::new();
        }
        let path = preflight::mapped(cwd, &self.options.map_path);
        path.as_os_str().as_bytes().iter().copied().chain([0]).collect()
    }

    /// Descriptors that table `of` has, for the restorer to put into place: for thread `tid`, or 0 for the process.
    fn takes(&self, tid: i32, of: i32, out: &mut Prepared, rebuilt: &Rebuilt, base: i32, takes: &mut Vec<Take>) -> Result<(), Failure> {
        let mut sources: HashMap<ObjectId, RawFd> = HashMap::new();
        for entry in self.members[out.member].meta.objects.descriptors(of).unwrap_or(&[]) {
            let Some(fd) = rebuilt.fd(entry.object) else {
                eprintln!("ckpt_restart: risk: descriptor {} of task {of}, which shares memory, is not opened again: a pidfd or a file below /proc", entry.number);
                continue;
            };
            let source = match sources.get(&entry.object) {
                Some(&known) => known,
                None => {
                    let up: OwnedFd = move_up(fd.try_clone_to_owned()?, base)?;
                    let number = up.as_raw_fd();
                    out.takes.push(up);
                    *sources.entry(entry.object).or_insert(number)
                }
            };
            // The process's own flags come last, from its list of descriptors.
            let cloexec = tid != 0 && entry.cloexec;
            takes.push(Take { tid, number: entry.number, source, cloexec: cloexec as u32 });
        }
        Ok(())
    }

    /// A process that its maker's restorer makes has no exec: its binary is its maker's, or one that the kernel lets us name.
    pub(super) fn check_binary(&self, i: usize) -> Result<(), Failure> {
        let who = self.family.process(i);
        match self.family.lender(i) {
            Some(lender) if self.restorer.is_none() && !self.family.same_binary(i, lender) => {
                let what = "is the child of one that shares memory or descriptors, with a binary of its own; restart as root or with --ids namespace";
                Err(Failure(format!("process {} ({}) {what}", who.pid, who.name), 1))
            }
            _ => Ok(()),
        }
    }
}
