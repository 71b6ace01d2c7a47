//! Shared memory segments, attached or not.

use super::{Identity, IpcError, Maker, Members, Restore, Restored, done_by, make, making, proc_list};
use crate::capture::BlobSink;
use crate::model::BlobRef;
use crate::sys;
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use std::ptr;

const SHM_DEST: u32 = 0o1000;
const SHM_LOCKED: u32 = 0o2000;

#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Segment {
    pub who: Identity,
    pub size: u64,
    /// made by, attached or detached last by
    pub creator: i32,
    pub last: i32,
    /// marked for removal: it lives as long as it is attached
    pub removed: bool,
    pub locked: bool,
    /// of one that no process has attached; absent where all is zero
    pub content: Option<BlobRef>,
    pub attached: bool,
}

/// A segment in this process, detached when dropped.
pub struct Attached {
    at: *mut u8,
    len: usize,
}

impl Attached {
    fn new(id: i32, len: u64, flags: i32) -> io::Result<Attached> {
        // SAFETY: the kernel chooses the address.
        let at = unsafe { libc::shmat(id, ptr::null(), flags) };
        if at as isize == -1 { Err(io::Error::last_os_error()) } else { Ok(Attached { at: at.cast(), len: len as usize }) }
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: attached for the life of `self`; other processes of the computation are stopped.
        unsafe { std::slice::from_raw_parts(self.at, self.len) }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as `bytes`; attached for writing by `restore`.
        unsafe { std::slice::from_raw_parts_mut(self.at, self.len) }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // SAFETY: attached by `new`.
        unsafe { libc::shmdt(self.at.cast()) };
    }
}

fn stat(id: i32) -> io::Result<libc::shmid_ds> {
    // SAFETY: all zeroes are a valid shmid_ds, which the kernel fills.
    unsafe {
        let mut ds: libc::shmid_ds = std::mem::zeroed();
        sys::cvt(libc::shmctl(id, libc::IPC_STAT, &mut ds)).map(|_| ds)
    }
}

pub fn capture(members: &Members, held: &dyn Fn(i32) -> bool, blobs: &mut dyn BlobSink) -> Result<Vec<Segment>, IpcError> {
    let mut out = Vec::new();
    for row in proc_list::read("shm") {
        let id = row.id("shmid");
        let attached = members.attached.contains(&id);
        let by_member = members.pids.contains(&row.id("cpid")) || members.pids.contains(&row.id("lpid"));
        if !attached && !by_member && !held(id) {
            continue;
        }
        // Another user's, that no process of ours could use either.
        let Ok(ds) = stat(id) else { continue };
        let mut segment = Segment {
            who: Identity::of(id, &ds.shm_perm),
            size: ds.shm_segsz as u64,
            creator: ds.shm_cpid,
            last: ds.shm_lpid,
            removed: ds.shm_perm.mode as u32 & SHM_DEST != 0,
            locked: ds.shm_perm.mode as u32 & SHM_LOCKED != 0,
            content: None,
            attached,
        };
        let empty = row.number("rss") + row.number("swap") == 0;
        if !attached && !empty {
            let saved = Attached::new(id, segment.size, libc::SHM_RDONLY).and_then(|a| blobs.write_blob(&mut a.bytes().chain(io::empty())));
            segment.content = Some(saved.map_err(|e| segment.who.fail("shared memory", "saving its content", e))?);
        }
        out.push(segment);
    }
    Ok(out)
}

impl Segment {
    pub fn lives(&self, same_boot: bool) -> bool {
        stat(self.who.id).is_ok_and(|ds| {
            let key = if self.removed { self.who.key } else { ds.shm_perm.__key };
            let now = Identity { key, ..Identity::of(self.who.id, &ds.shm_perm) };
            self.who.is_same(&now, same_boot) && ds.shm_segsz as u64 == self.size
        })
    }
}

impl Segment {
    pub fn remove_unused(&self, are_gone: &dyn Fn(i32) -> bool) -> bool {
        let unused = |ds: libc::shmid_ds| ds.shm_nattch == 0 && are_gone(ds.shm_cpid) && are_gone(ds.shm_lpid);
        // SAFETY: no buffer is used.
        stat(self.who.id).is_ok_and(unused) && unsafe { libc::shmctl(self.who.id, libc::IPC_RMID, ptr::null_mut()) } == 0
    }
}

pub fn restore(s: &Segment, how: &Restore, out: &mut Restored) -> Result<(), IpcError> {
    let fail = |step, e| s.who.fail("shared memory", step, e);
    // One that is removed goes with the last process that has it, which may be about to end; not while we have it, too.
    let held = s.lives(how.same_boot).then(|| Attached::new(s.who.id, s.size, 0));
    let ended = |e: &io::Error| s.removed && matches!(e.raw_os_error(), Some(libc::EINVAL | libc::EIDRM));
    let lives = held.as_ref().is_some_and(|h| !h.as_ref().is_err_and(ended));
    let id = if lives { s.who.id } else { anew(s, how, out).map_err(|e| fail(making(&e), e))? };
    set_owner(s, id).map_err(|e| fail("setting its owner and mode", e))?;
    let mut here = Attached::new(id, s.size, 0).map_err(|e| fail("attaching it", e))?;
    drop(held);
    if !s.attached && (s.content.is_some() || lives) {
        refill(s, how, here.bytes_mut()).map_err(|e| fail("filling it", e))?;
    }
    if s.removed {
        // SAFETY: no buffer is used.
        let gone = sys::cvt(unsafe { libc::shmctl(id, libc::IPC_RMID, ptr::null_mut()) });
        gone.map_err(|e| fail("marking it for removal", e))?;
    }
    if s.attached {
        out.attached.push((s.who.id, here));
    } else {
        drop(here);
        let touch = |_: bool| Attached::new(id, s.size, libc::SHM_RDONLY).map(drop);
        done_by(s.last, how, &touch).map_err(|e| fail("attaching it", e))?;
    }
    Ok(())
}

/// A removed segment is known by where it is attached: any id will do where none can be chosen.
fn anew(s: &Segment, how: &Restore, out: &mut Restored) -> io::Result<i32> {
    let key = if s.removed { libc::IPC_PRIVATE } else { s.who.key };
    // SAFETY: numbers only.
    let get = |flags: i32| unsafe { libc::shmget(key, s.size as usize, flags) };
    let remove = |id: i32| {
        // SAFETY: the segment that was just made.
        unsafe { libc::shmctl(id, libc::IPC_RMID, ptr::null_mut()) };
    };
    let made = make(&s.who, s.creator, how, &Maker { sysctl: "shm_next_id", get: &get, remove: &remove });
    if made.is_ok() || !s.removed {
        return made.map(|()| s.who.id);
    }
    let id = sys::cvt(get(libc::IPC_CREAT | s.who.mode as i32))?;
    out.renamed.push((s.who.id, id));
    Ok(id)
}

fn set_owner(s: &Segment, id: i32) -> io::Result<()> {
    let mut ds = stat(id)?;
    let now = Identity::of(id, &ds.shm_perm);
    if (now.uid, now.gid, now.mode) != (s.who.uid, s.who.gid, s.who.mode) {
        s.who.put(&mut ds.shm_perm);
        // SAFETY: ds was filled by the kernel.
        sys::cvt(unsafe { libc::shmctl(id, libc::IPC_SET, &mut ds) })?;
    }
    if s.locked {
        // SAFETY: no buffer is used. RLIMIT_MEMLOCK may forbid it, as it may forbid mlock.
        unsafe { libc::shmctl(id, libc::SHM_LOCK, ptr::null_mut()) };
    }
    Ok(())
}

fn refill(s: &Segment, how: &Restore, to: &mut [u8]) -> io::Result<()> {
    match &s.content {
        Some(blob) => how.blobs.open_blob(blob)?.read_exact(to),
        None => {
            to.fill(0);
            Ok(())
        }
    }
}
