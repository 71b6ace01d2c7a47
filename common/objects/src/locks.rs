//! flock, OFD and POSIX record locks; SIGIO owners.

use crate::error::RebuildError;
use crate::model::*;
use crate::probe::Probe;
use crate::sys;
use std::collections::{BTreeSet, HashSet};
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;

const F_SETOWN_EX: i32 = 15;
const F_GETOWN_EX: i32 = 16;
const F_SETSIG: i32 = 10;
const F_GETSIG: i32 = 11;

pub fn signal_owner(probe: &Probe) -> Option<SignalOwner> {
    if probe.flags & libc::O_PATH != 0 {
        return None;
    }
    let mut owner = [0i32; 2];
    sys::fcntl_struct(probe.fd, F_GETOWN_EX, &mut owner).ok()?;
    let signal = sys::fcntl(probe.fd, F_GETSIG, 0).unwrap_or(0);
    (owner[1] != 0 || signal != 0).then_some(SignalOwner {
        kind: owner[0],
        id: owner[1],
        signal,
    })
}

/// `id` is the owner's id now. An owner that is gone gets no signal, as before; a thread is there later, the restorer
/// names it.
pub fn set_signal_owner(fd: RawFd, owner: &SignalOwner, id: i32) {
    if owner.id != 0 {
        let _ = sys::fcntl_struct(fd, F_SETOWN_EX, &mut [owner.kind, id]);
    }
    let _ = sys::fcntl(fd, F_SETSIG, owner.signal);
}

/// One line of /proc/locks or of fdinfo.
pub(crate) struct Line {
    family: String,
    /// Of a lease: ACTIVE, or BREAKING.
    state: String,
    exclusive: bool,
    pid: i32,
    ino: u64,
    start: i64,
    len: i64,
}

/// `1: POSIX  ADVISORY  WRITE 3548 fd:00:7867 0 EOF`; waiters (`1: -> POSIX`) are no locks.
pub(crate) fn parse(line: &str) -> Option<Line> {
    let words: Vec<&str> = line.split_whitespace().skip(1).collect();
    let [family, state, mode, pid, place, start, end] = words[..] else {
        return None;
    };
    let start: i64 = start.parse().ok()?;
    let len = match end {
        "EOF" => 0,
        end => end.parse::<i64>().ok()?.checked_sub(start)?.checked_add(1)?,
    };
    let ino = place.rsplit(':').next()?.parse().ok()?;
    let exclusive = mode == "WRITE";
    Some(Line {
        family: family.into(),
        state: state.into(),
        exclusive,
        pid: pid.parse().ok()?,
        ino,
        start,
        len,
    })
}

impl Line {
    fn range(&self) -> RangeLock {
        RangeLock {
            exclusive: self.exclusive,
            start: self.start,
            len: self.len,
        }
    }
}

/// Lines of /proc/locks that may be ours. Opening it waits for every processor, 15 ms, and the program is standing
/// still: unless there are very many descriptors it is quicker to look at each.
fn lines(set: &ObjectSet, probes: &[Rc<Probe>]) -> Vec<Line> {
    const MANY: usize = 1000;
    let may_lock = |e: &&FdEntry| {
        let probe = &probes[e.object.index()];
        probe.flags & libc::O_PATH == 0 && !matches!(probe.file_type(), 0 | libc::S_IFSOCK)
    };
    let tables = set.processes.iter().flat_map(|(pid, entries)| entries.iter().filter(may_lock).map(move |e| (*pid, e.number)));
    let descriptors: Vec<(i32, i32)> = tables.collect();
    if descriptors.len() > MANY {
        let text = std::fs::read_to_string("/proc/locks").unwrap_or_default();
        return text.lines().filter_map(parse).collect();
    }
    // Of those that only a message on its way has, our own descriptor.
    let held: HashSet<ObjectId> = set.processes.iter().flat_map(|p| p.1.iter().map(|e| e.object)).collect();
    let flying = (0..probes.len()).filter(|i| !held.contains(&ObjectId(*i as u32))).map(|i| (std::process::id() as i32, probes[i].fd));
    let mut found = BTreeSet::new();
    for (pid, number) in descriptors.into_iter().chain(flying) {
        let text = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap_or_default();
        // Duplicates of a descriptor show the same locks.
        found.extend(text.lines().filter_map(|l| l.strip_prefix("lock:")).map(|l| l.trim().to_owned()));
    }
    found.iter().filter_map(|l| parse(l)).collect()
}

/// Fails with the object whose lease is to end.
pub fn capture(set: &mut ObjectSet, probes: &[Rc<Probe>]) -> Result<(), (ObjectId, String)> {
    let all = lines(set, probes);
    let inodes: HashSet<u64> = all.iter().map(|l| l.ino).collect();
    for (index, (object, probe)) in set.objects.iter_mut().zip(probes).enumerate() {
        if inodes.contains(&object.ino) && object.flags & libc::O_PATH == 0 {
            own_locks(object, probe).map_err(|why| (ObjectId(index as u32), why))?;
        }
    }
    record_locks(set, &all);
    Ok(())
}

/// Locks of the description itself: fdinfo of our duplicate shows them.
fn own_locks(object: &mut Object, probe: &Probe) -> Result<(), String> {
    let text = probe.fdinfo().unwrap_or_default();
    for line in text.lines().filter_map(|l| parse(l.strip_prefix("lock:")?.trim())) {
        match line.family.as_str() {
            "FLOCK" => object.flock = Some(if line.exclusive { libc::LOCK_EX } else { libc::LOCK_SH }),
            "OFDLCK" => object.ofd_locks.push(line.range()),
            "LEASE" if line.state == "ACTIVE" => object.lease = Some(if line.exclusive { libc::F_WRLCK } else { libc::F_RDLCK }),
            "LEASE" => return Err("its lease is being broken; try again when that is answered (F_UNLCK)".into()),
            "DELEG" => return Err("a delegation of it cannot be restored; end it first".into()),
            _ => {}
        }
    }
    Ok(())
}

/// Locks of processes: /proc/locks names pid and inode, any descriptor of the file serves to take them again.
fn record_locks(set: &mut ObjectSet, all: &[Line]) {
    let mut found = Vec::new();
    for line in all.iter().filter(|l| l.family == "POSIX") {
        let Some((pid, entries)) = set.processes.iter().find(|p| p.0 == line.pid) else {
            continue;
        };
        let needed = if line.exclusive { libc::O_WRONLY } else { libc::O_RDONLY };
        let fits = |e: &&FdEntry| {
            let object = set.object(e.object);
            let access = object.flags & libc::O_ACCMODE;
            object.ino == line.ino && (access == libc::O_RDWR || access == needed)
        };
        if let Some(entry) = entries.iter().find(fits) {
            found.push(RecordLock {
                pid: *pid,
                object: entry.object,
                range: line.range(),
            });
        }
    }
    set.record_locks = found;
}

fn flock_struct(range: &RangeLock) -> libc::flock {
    libc::flock {
        l_type: if range.exclusive { libc::F_WRLCK } else { libc::F_RDLCK } as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: range.start,
        l_len: range.len,
        l_pid: 0,
    }
}

/// flock, lease and OFD locks, on the rebuilt description.
pub fn take(object: &Object, fd: RawFd) -> io::Result<()> {
    if let Some(operation) = object.flock {
        // SAFETY: no memory involved.
        sys::cvt(unsafe { libc::flock(fd, operation | libc::LOCK_NB) })?;
    }
    if let Some(lease) = object.lease {
        sys::fcntl(fd, libc::F_SETLEASE, lease)?;
    }
    for range in &object.ofd_locks {
        sys::fcntl_struct(fd, libc::F_OFD_SETLK, &mut flock_struct(range))?;
    }
    Ok(())
}

/// POSIX locks of `pid`; last of all, because closing any descriptor of the file drops them.
pub fn take_records(set: &ObjectSet, pid: i32, entries: &[FdEntry]) -> Result<(), RebuildError> {
    for lock in set.record_locks.iter().filter(|l| l.pid == pid) {
        let Some(entry) = entries.iter().find(|e| e.object == lock.object) else {
            continue;
        };
        sys::fcntl_struct(entry.number, libc::F_SETLK, &mut flock_struct(&lock.range)).map_err(|error| {
            let what = format!("record lock on {:?}", set.object(lock.object).name);
            RebuildError::Install {
                pid,
                number: entry.number,
                what,
                error,
            }
        })?;
    }
    Ok(())
}
