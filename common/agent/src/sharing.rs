//! Processes that share with each other what processes usually have for themselves (clone(2) with CLONE_VM, CLONE_FILES,
//! CLONE_FS, CLONE_SIGHAND): found by kcmp(2). A restart has each made again by one that it shares with.

use crate::procfs;
use std::cmp::Ordering;
use std::collections::HashMap;

const KCMP_VM: libc::c_int = 1;
pub const KCMP_FILES: libc::c_int = 2;
pub const KCMP_FS: libc::c_int = 3;
const KCMP_SIGHAND: libc::c_int = 4;

/// A process, and its parent.
pub type Who = (i32, i32);

/// What one process shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// `CLONE_*`: what it has in common with its maker
    pub flags: i32,
    /// its parent; with CLONE_PARENT in the flags, a sibling
    pub maker: i32,
    /// the first process with the same memory, and with the same table of descriptors: itself, if it shares neither
    pub memory_of: i32,
    pub files_of: i32,
}

#[derive(Default)]
pub struct Sharing(HashMap<i32, Share>);

impl Sharing {
    /// `all`: parents before children. Err: a process that no other can make again, and what it shares.
    pub fn of(all: &[Who]) -> Result<Sharing, (i32, &'static str)> {
        let task: HashMap<i32, i32> = all.iter().map(|w| (w.0, procfs::living_task(w.0))).collect();
        let process: HashMap<i32, i32> = task.iter().map(|(&pid, &task)| (task, pid)).collect();
        let tasks: Vec<i32> = all.iter().map(|w| task[&w.0]).collect();
        let [memory, files, folder]: [HashMap<i32, i32>; 3] = [KCMP_VM, KCMP_FILES, KCMP_FS]
            .map(|what| heads(&tasks, what).iter().map(|(task, head)| (process[task], process[head])).collect());
        let mut out = HashMap::new();
        for (i, &(pid, parent)) in all.iter().enumerate() {
            let [shares_memory, shares_files, shares_folder] = [&memory, &files, &folder].map(|h| h[&pid] != pid);
            let same = |heads: &HashMap<i32, i32>, other: i32| heads.get(&other) == heads.get(&pid);
            let fits = |w: &&Who| (!shares_memory || same(&memory, w.0)) && (!shares_files || same(&files, w.0));
            let maker = match shares_memory || shares_files {
                false => parent,
                true => {
                    let relatives = || all[..i].iter().filter(fits);
                    let found = relatives().find(|w| w.0 == parent).or_else(|| relatives().find(|w| w.1 == parent));
                    found.ok_or((pid, if shares_memory { "memory" } else { "descriptors" }))?.0
                }
            };
            if shares_folder && !same(&folder, maker) {
                return Err((pid, "its working directory"));
            }
            let flags = [
                (shares_memory, libc::CLONE_VM),
                (shares_files, libc::CLONE_FILES),
                (shares_folder, libc::CLONE_FS),
                (shares_memory && compare(task[&pid], task[&maker], KCMP_SIGHAND) == Ordering::Equal, libc::CLONE_SIGHAND),
                (maker != parent, libc::CLONE_PARENT),
            ];
            let flags = flags.iter().filter(|f| f.0).fold(0, |all, f| all | f.1);
            out.insert(pid, Share { flags, maker, memory_of: memory[&pid], files_of: files[&pid] });
        }
        Ok(Sharing(out))
    }

    pub fn get(&self, pid: i32, parent: i32) -> Share {
        self.0.get(&pid).copied().unwrap_or(Share { flags: 0, maker: parent, memory_of: pid, files_of: pid })
    }

    /// Its memory is not that of a process before it.
    pub fn owns_memory(&self, pid: i32) -> bool {
        self.0.get(&pid).is_none_or(|s| s.memory_of == pid)
    }

    pub fn owns_files(&self, pid: i32) -> bool {
        self.0.get(&pid).is_none_or(|s| s.files_of == pid)
    }

    /// Does the restorer of another process make it: one that it shares memory or descriptors with, or one that was itself
    /// made so?
    pub fn is_made_late(&self, mut pid: i32, parents: &HashMap<i32, i32>) -> bool {
        loop {
            let Some(&parent) = parents.get(&pid) else { return false };
            let share = self.get(pid, parent);
            if share.flags & (libc::CLONE_VM | libc::CLONE_FILES) != 0 {
                return true;
            }
            pid = share.maker;
        }
    }

    /// No other process was seen to have its memory.
    pub fn memory_is_alone(&self, pid: i32) -> bool {
        self.owns_memory(pid) && self.kin(pid).next().is_none()
    }

    /// Others with the memory of `pid`.
    pub fn kin(&self, pid: i32) -> impl Iterator<Item = i32> + '_ {
        self.0.iter().filter(move |(&other, s)| other != pid && s.memory_of == pid).map(|(&other, _)| other)
    }
}

/// For each task the first, in the order of `all`, that has the same.
pub fn heads(all: &[i32], what: libc::c_int) -> HashMap<i32, i32> {
    // The kernel orders what it compares, so equals meet by sorting.
    let mut sorted: Vec<(usize, i32)> = all.iter().copied().enumerate().collect();
    sorted.sort_by(|a, b| compare(a.1, b.1, what).then(a.0.cmp(&b.0)));
    let groups = sorted.chunk_by(|a, b| compare(a.1, b.1, what) == Ordering::Equal);
    groups.flat_map(|g| g.iter().map(|&(_, id)| (id, g[0].1))).collect()
}

/// Is kcmp(2) kept from us, even of ourselves?
pub fn is_denied() -> bool {
    let own = std::process::id();
    // SAFETY: numbers only.
    unsafe { libc::syscall(libc::SYS_kcmp, own, own, KCMP_VM, 0, 0) < 0 }
}

/// kcmp(2); where it is denied, nothing is told to be shared.
pub fn compare(a: i32, b: i32, what: libc::c_int) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    // SAFETY: numbers only.
    match unsafe { libc::syscall(libc::SYS_kcmp, a, b, what, 0, 0) } {
        0 => Ordering::Equal,
        1 => Ordering::Less,
        2 => Ordering::Greater,
        _ => a.cmp(&b),
    }
}
