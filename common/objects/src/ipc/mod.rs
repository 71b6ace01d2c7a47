//! System V IPC: objects that no descriptor leads to. Each is saved with its id, key, owner and content; at a restart
//! one that still lives is rewound, one that is gone is made again with the id that the program holds.

mod message;
pub(crate) mod proc_list;
mod semaphore;
mod shm;

use crate::capture::BlobSink;
use crate::rebuild::BlobSource;
use crate::sys;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::fd::AsRawFd;

pub use message::{Message, Queue};
pub use semaphore::{SemaphoreSet, Undo, redo};
pub use shm::{Attached, Segment};

/// Which of the three families an id belongs to (`ckpt_sys::flat::sysv`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    Semaphores,
    Messages,
    Memory,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default)]
pub struct SysvSet {
    pub segments: Vec<Segment>,
    pub queues: Vec<Queue>,
    pub semaphores: Vec<SemaphoreSet>,
    pub undo: Vec<Undo>,
}

/// `struct ipc_perm`, and the id.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub id: i32,
    pub key: i32,
    pub uid: u32,
    pub gid: u32,
    pub cuid: u32,
    pub cgid: u32,
    pub mode: u32,
}

#[derive(Debug, thiserror::Error)]
#[error("System V {what}: {step}: {error}")]
pub struct IpcError {
    pub what: String,
    pub step: &'static str,
    pub error: io::Error,
}

/// What tells an object of the computation from others on this host.
pub struct Members<'a> {
    pub pids: &'a [i32],
    /// ids that the processes were given (`semget` and the like)
    pub held: &'a [(Family, i32)],
    /// segments that are mapped; their content is saved by those who map them
    pub attached: &'a [i32],
    pub undo: Vec<Undo>,
}

pub fn capture(members: Members, blobs: &mut dyn BlobSink) -> Result<SysvSet, IpcError> {
    let held = |family, id| members.held.contains(&(family, id));
    Ok(SysvSet {
        segments: shm::capture(&members, &|id| held(Family::Memory, id), blobs)?,
        queues: message::capture(&members, &|id| held(Family::Messages, id))?,
        semaphores: semaphore::capture(&members, &|id| held(Family::Semaphores, id))?,
        undo: members.undo,
    })
}

/// How objects are brought back here.
pub struct Restore<'a> {
    pub blobs: &'a dyn BlobSource,
    /// fork(2) with the pid that the program knows by this one; an error where that cannot be had
    pub fork_as: &'a dyn Fn(i32) -> io::Result<i32>,
    /// ids of this kernel's run: what has the same id and key is the same object
    pub same_boot: bool,
}

/// Segments are attached until the program has them: one that is marked for removal lives by that alone.
#[derive(Default)]
pub struct Restored {
    /// by the id then
    pub attached: Vec<(i32, Attached)>,
    /// id then, id now: a removed segment where ids cannot be chosen
    pub renamed: Vec<(i32, i32)>,
}

pub fn restore(set: &SysvSet, how: &Restore) -> Result<Restored, IpcError> {
    let mut out = Restored::default();
    for segment in &set.segments {
        shm::restore(segment, how, &mut out)?;
    }
    set.queues.iter().try_for_each(|q| message::restore(q, how))?;
    set.semaphores.iter().try_for_each(|s| semaphore::restore(s, how))?;
    Ok(out)
}

impl SysvSet {
    /// Processes that the kernel names as makers and users, by its ids for them.
    pub fn makers(&self) -> impl Iterator<Item = i32> + '_ {
        let segments = self.segments.iter().flat_map(|s| [s.creator, s.last]);
        let queues = self.queues.iter().flat_map(|q| [q.sender, q.receiver]);
        let semaphores = self.semaphores.iter().flat_map(|s| &s.semaphores).map(|s| s.1);
        segments.chain(queues).chain(semaphores).filter(|&pid| pid > 0)
    }

    pub fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.queues.is_empty() && self.semaphores.is_empty()
    }

    /// Is there one that has to be made again?
    pub fn any_missing(&self, same_boot: bool) -> bool {
        self.segments.iter().any(|s| !s.lives(same_boot))
            || self.queues.iter().any(|q| !q.lives(same_boot))
            || self.semaphores.iter().any(|s| !s.lives(same_boot))
    }

    /// For a restart with objects of its own: those that live on here and that only processes which `are_gone` have
    /// used are removed, as the program takes them along. The others stay: in words, with the command that removes each.
    pub fn take_along(&self, same_boot: bool, are_gone: &dyn Fn(i32) -> bool) -> Vec<String> {
        let mut left = Vec::new();
        let mut see = |removed: bool, what: &str, id: i32, flag: &str| {
            if !removed {
                left.push(format!("{what} {id} (ipcrm {flag} {id})"));
            }
        };
        for s in self.segments.iter().filter(|s| s.lives(same_boot)) {
            see(s.remove_unused(are_gone), "shared memory", s.who.id, "-m");
        }
        for q in self.queues.iter().filter(|q| q.lives(same_boot)) {
            see(q.remove_unused(are_gone), "message queue", q.who.id, "-q");
        }
        for s in self.semaphores.iter().filter(|s| s.lives(same_boot)) {
            see(s.remove_unused(are_gone), "semaphores", s.who.id, "-s");
        }
        left
    }
}

impl Identity {
    fn of(id: i32, p: &libc::ipc_perm) -> Identity {
        Identity { id, key: p.__key, uid: p.uid, gid: p.gid, cuid: p.cuid, cgid: p.cgid, mode: p.mode as u32 & 0o777 }
    }

    /// Private objects have no name but the id, which says nothing after a reboot or on another host.
    fn is_same(&self, now: &Identity, same_boot: bool) -> bool {
        self.key == now.key && self.cuid == now.cuid && (same_boot || self.key != libc::IPC_PRIVATE)
    }

    fn put(&self, p: &mut libc::ipc_perm) {
        (p.uid, p.gid, p.mode) = (self.uid, self.gid, self.mode as libc::c_ushort);
    }

    fn fail(&self, what: &str, step: &'static str, error: io::Error) -> IpcError {
        IpcError { what: format!("{what} {} (key {:#x})", self.id, self.key), step, error }
    }
}

/// Runs `work` in a process with that pid, because the kernel notes who did it; here where the pid cannot be had.
/// `work` is told whether it is in such a child.
fn done_by(pid: i32, how: &Restore, work: &dyn Fn(bool) -> io::Result<()>) -> io::Result<()> {
    let child = if pid > 0 { (how.fork_as)(pid) } else { Err(io::ErrorKind::Unsupported.into()) };
    match child {
        Err(_) => work(false),
        Ok(0) => {
            let code = work(true).err().map_or(0, |e| e.raw_os_error().unwrap_or(libc::EIO));
            // SAFETY: ends the child without the parent's exit handlers.
            unsafe { libc::_exit(code) }
        }
        Ok(child) => {
            let mut status = 0;
            // SAFETY: status is an int, the child is ours.
            sys::cvt(unsafe { libc::waitpid(child, &mut status, 0) })?;
            match (libc::WIFEXITED(status), libc::WEXITSTATUS(status)) {
                (true, 0) => Ok(()),
                (true, code) => Err(io::Error::from_raw_os_error(code)),
                _ => Err(io::Error::other("the process that was to do it was killed")),
            }
        }
    }
}

/// `semget` and the like with the flags given, and what removes an object of that family.
struct Maker<'a> {
    sysctl: &'static str,
    get: &'a dyn Fn(i32) -> i32,
    remove: &'a dyn Fn(i32),
}

/// Makes the object as its creator and checks that it has its id. EBUSY: the id is another object's.
///
/// The id that was asked for (Documentation/admin-guide/sysctl/kernel.rst) goes to whoever makes an object next, in
/// the whole namespace: other restarts are kept out by a lock, and nothing comes between the question and the call.
fn make(who: &Identity, creator: i32, how: &Restore, maker: &Maker) -> io::Result<()> {
    let path = format!("/proc/sys/kernel/{}", maker.sysctl);
    let ask = OpenOptions::new().write(true).open(&path)?;
    let lock = File::open(&path)?;
    await_turn(&lock);
    done_by(creator, how, &|in_child| {
        // SAFETY: only asks.
        let becomes = in_child && who.cuid != 0 && unsafe { libc::geteuid() } == 0;
        for _ in 0..TRIES {
            let got = if becomes { as_creator(who, &ask, maker) } else { ask_and_get(who, &ask, maker) }?;
            if got == who.id {
                return Ok(());
            }
            (maker.remove)(got);
        }
        Err(io::Error::from_raw_os_error(libc::EBUSY))
    })
}

fn ask_and_get(who: &Identity, ask: &File, maker: &Maker) -> io::Result<i32> {
    ask_for(who.id, ask)?;
    sys::cvt((maker.get)(libc::IPC_CREAT | libc::IPC_EXCL | who.mode as i32))
}

/// In a child of root's, which ends afterwards. Only root may ask.
fn as_creator(who: &Identity, ask: &File, maker: &Maker) -> io::Result<i32> {
    // SAFETY: numbers only.
    unsafe {
        sys::cvt(libc::setegid(who.cgid))?;
        ask_for(who.id, ask)?;
        sys::cvt(libc::seteuid(who.cuid))?;
        let got = sys::cvt((maker.get)(libc::IPC_CREAT | libc::IPC_EXCL | who.mode as i32));
        sys::cvt(libc::seteuid(0))?;
        got
    }
}

fn ask_for(id: i32, mut ask: &File) -> io::Result<()> {
    ask.rewind()?;
    ask.write_all(id.to_string().as_bytes())
}

/// How often an id is asked for: a program that makes an object at that moment is given it.
const TRIES: usize = 3;

/// Not for ever: anybody can hold the lock of a file that all may read.
fn await_turn(lock: &File) {
    for _ in 0..1000 {
        // SAFETY: numbers only.
        if unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// Why an object could not be made again, with what to do about it.
fn making(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => "it is gone, and this user may not choose ids; give --ids namespace",
        Some(libc::EEXIST) => "its key belongs to another object now; remove that one (ipcs, ipcrm), or give --ids namespace",
        Some(libc::EBUSY) => "its id belongs to another object now; remove that one (ipcs, ipcrm), or give --ids namespace",
        _ => "making it again",
    }
}
