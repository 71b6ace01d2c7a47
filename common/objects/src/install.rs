//! In the forked child: descriptors into the program's numbers, and what belongs to a process.

use crate::error::RebuildError;
use crate::kinds::*;
use crate::locks;
use crate::model::*;
use crate::rebuild::Rebuilt;
use crate::sys;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

impl Rebuilt {
    /// Puts the descriptors of old process `pid` into place and closes all others but `keep`. Runs in the forked
    /// child, when the whole tree exists. No close-on-exec flag is set: the restorer does that after the exec.
    pub fn install(&self, set: &ObjectSet, pid: i32, keep: &[RawFd]) -> Result<(), RebuildError> {
        let entries = set.descriptors(pid).ok_or(RebuildError::NoSuchProcess(pid))?;
        let late = self.open_late(set, pid, entries)?;
        self.fill_epolls(set, pid, &late)?;
        for entry in entries {
            let fail = |error| install_error(set, pid, entry, error);
            let fd = self
                .source(entry.object, &late)
                .ok_or_else(|| fail(io::ErrorKind::NotFound.into()))?;
            sys::dup2(fd, entry.number).map_err(fail)?;
        }
        close_others(entries, keep);
        // Dropping the owned ones would close numbers that are gone or in use by now.
        late.into_values().for_each(std::mem::forget);
        self.set_owners(set, pid, entries);
        register_notifications(set, pid, entries)?;
        locks::take_records(set, pid, entries)
    }

    fn source(&self, id: ObjectId, late: &HashMap<ObjectId, OwnedFd>) -> Option<RawFd> {
        let rebuilt = self.fds.get(id.index())?.as_ref().map(|fd| fd.as_raw_fd());
        rebuilt.or_else(|| late.get(&id).map(|fd| fd.as_raw_fd()))
    }

    fn open_late(
        &self,
        set: &ObjectSet,
        pid: i32,
        entries: &[FdEntry],
    ) -> Result<HashMap<ObjectId, OwnedFd>, RebuildError> {
        let mut late = HashMap::new();
        let base = set.highest_fd() + 1;
        for entry in entries {
            if late.contains_key(&entry.object) || self.fd(entry.object).is_some() {
                continue;
            }
            let fail = |error| install_error(set, pid, entry, error);
            if let Some(fd) = self.open_late_object(set.object(entry.object)).map_err(fail)? {
                let high = sys::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, base).and_then(sys::own);
                late.insert(entry.object, high.map_err(RebuildError::TooManyDescriptors)?);
            }
        }
        Ok(late)
    }

    fn open_late_object(&self, object: &Object) -> io::Result<Option<OwnedFd>> {
        match &object.kind {
            Kind::Pidfd(state) => pidfd::open(state, (self.pid_of)(state.pid), object.flags).map(Some),
            Kind::ProcFile(state) => procfile::open(state, (self.pid_of)(state.pid), object.flags).map(Some),
            _ => Ok(None),
        }
    }

    /// Epoll entries are keyed by (open file, descriptor number), not by process: the first process that has the
    /// epoll adds them all, each with its file at its number for the moment.
    fn fill_epolls(&self, set: &ObjectSet, pid: i32, late: &HashMap<ObjectId, OwnedFd>) -> Result<(), RebuildError> {
        for (id, object) in set.ids() {
            let Kind::Epoll(state) = &object.kind else { continue };
            if set.epoll_owner(id) != Some(pid) {
                continue;
            }
            let fail = |error| RebuildError::Object {
                what: format!("epoll of process {pid}"),
                step: "adding",
                error,
            };
            let Some(epoll) = self.source(id, late) else { continue };
            let (disabled, armed): (Vec<_>, Vec<_>) = state.watched.iter().partition(|w| epoll::is_disabled(w));
            let place = |watched: &epoll::Watched| -> io::Result<()> {
                let Some(fd) = self.source(watched.object, late) else {
                    return Ok(());
                };
                sys::dup2(fd, watched.number)?;
                epoll::add(epoll, watched)
            };
            for watched in &disabled {
                place(watched)
                    .and_then(|()| epoll::disarm(epoll, watched))
                    .map_err(fail)?;
            }
            let (told, armed): (Vec<_>, Vec<_>) = armed.into_iter().partition(|w| w.told && !is_outside(set, w.object));
            told.iter().try_for_each(|w| place(w)).map_err(fail)?;
            if !told.is_empty() {
                epoll::take_edges(epoll).map_err(fail)?;
            }
            armed.iter().try_for_each(|w| place(w)).map_err(fail)?;
        }
        Ok(())
    }

    /// SIGIO owners are set by the first process that holds the object.
    fn set_owners(&self, set: &ObjectSet, pid: i32, entries: &[FdEntry]) {
        for entry in entries {
            let object = set.object(entry.object);
            if set.holder(entry.object).map(|h| h.0) != Some(pid) {
                continue;
            }
            // The number goes with its signal (si_fd).
            if let Some(lease) = object.lease {
                let _ = sys::fcntl(entry.number, libc::F_SETLEASE, lease);
            }
            if let Some(owner) = &object.owner {
                let id = if owner.id == 0 { 0 } else { (self.pid_of)(owner.id) };
                locks::set_signal_owner(entry.number, owner, id);
            }
            if object.flags & libc::O_ASYNC != 0 {
                let _ = sys::fcntl(entry.number, libc::F_SETFL, object.flags);
            }
        }
    }
}

/// It may have something else to tell than before.
fn is_outside(set: &ObjectSet, id: ObjectId) -> bool {
    match &set.object(id).kind {
        Kind::Inherited(_) | Kind::Pidfd(_) | Kind::Timerfd(_) => true,
        Kind::Tcp(state) => state.peer == tcp::Peer::Outside,
        Kind::Unix(state) => matches!(state.peer, unix::Peer::Outside),
        _ => false,
    }
}

impl ObjectSet {
    /// The process that fills an epoll: the first that holds it, or the one that will receive it in a message.
    fn epoll_owner(&self, id: ObjectId) -> Option<i32> {
        let real = self
            .processes
            .iter()
            .find(|p| p.0 != 0 && p.1.iter().any(|e| e.object == id));
        real.or(self.processes.iter().find(|p| p.0 != 0)).map(|p| p.0)
    }
}

/// Last: closing any descriptor of a queue ends its process's registration.
fn register_notifications(set: &ObjectSet, pid: i32, entries: &[FdEntry]) -> Result<(), RebuildError> {
    for entry in entries {
        let Kind::Mqueue(end) = &set.object(entry.object).kind else {
            continue;
        };
        let notify = set.queues[end.queue as usize].notify.as_ref().filter(|n| n.pid == pid && n.how != libc::SIGEV_THREAD);
        match notify.map(|n| mqueue::register(entry.number, n)) {
            // EBUSY: another descriptor of the same queue has done it.
            Some(Err(e)) if e.raw_os_error() != Some(libc::EBUSY) => return Err(install_error(set, pid, entry, e)),
            _ => {}
        }
    }
    Ok(())
}

fn install_error(set: &ObjectSet, pid: i32, entry: &FdEntry, error: io::Error) -> RebuildError {
    let what = String::from_utf8_lossy(&set.object(entry.object).name).into_owned();
    RebuildError::Install {
        pid,
        number: entry.number,
        what,
        error,
    }
}

/// Closes the gaps between the numbers that stay.
fn close_others(entries: &[FdEntry], keep: &[RawFd]) {
    let mut stay: Vec<u32> = entries
        .iter()
        .map(|e| e.number as u32)
        .chain(keep.iter().map(|k| *k as u32))
        .collect();
    stay.sort_unstable();
    let mut next = 0;
    for number in stay {
        if number > next {
            sys::close_range(next, number - 1);
        }
        next = number + 1;
    }
    sys::close_range(next, u32::MAX);
}
