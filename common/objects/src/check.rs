//! What an image says about kernel objects is not believed before every index in it is known to lead somewhere.

use crate::kinds::tcp;
use crate::model::*;

/// Descriptors are numbers of fs.nr_open at most (proc_sys_fs(5)).
const MAX_FD: i32 = 1 << 20;

impl ObjectSet {
    /// Why this is no set of objects, if it is not.
    pub fn check(&self) -> Result<(), String> {
        let known = |id: ObjectId| id.index() < self.objects.len();
        for (pid, table) in &self.processes {
            if let Some(e) = table.iter().find(|e| !(0..MAX_FD).contains(&e.number) || !known(e.object)) {
                return Err(format!("descriptor {} of process {pid} leads nowhere", e.number));
            }
        }
        for (id, object) in self.ids() {
            let sound = match &object.kind {
                Kind::Pipe(end) => (end.pipe as usize) < self.pipes.len(),
                Kind::Pty(end) => (end.pty as usize) < self.ptys.len(),
                Kind::Mqueue(end) => (end.queue as usize) < self.queues.len(),
                Kind::Epoll(state) => state.watched.iter().all(|w| known(w.object)),
                Kind::Inotify(state) => state.watches.iter().filter_map(|w| w.object).all(known),
                Kind::File(state) => state.deleted.is_none_or(|i| (i as usize) < self.deleted.len()),
                Kind::Unix(state) => state.refers_to().all(known),
                Kind::Tcp(state) => match state.peer {
                    tcp::Peer::Object(id) | tcp::Peer::Backlog(id) => known(id),
                    _ => true,
                },
                _ => true,
            };
            if !sound {
                return Err(format!("kernel object {} refers to one that is not there", id.0));
            }
        }
        match self.record_locks.iter().find(|l| !known(l.object)) {
            Some(lock) => Err(format!("a lock of process {} is on no file", lock.pid)),
            None => Ok(()),
        }
    }
}
