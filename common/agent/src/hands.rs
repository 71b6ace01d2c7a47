//! Threads that do a part of the work at the same time; where none may be started (pids.max, RLIMIT_NPROC) it is done here.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, Scope, ScopedJoinHandle};

pub enum Hand<'s, T> {
    Thread(ScopedJoinHandle<'s, Option<T>>),
    Done(Option<T>),
}

pub fn start<'s, T: Send + 's>(scope: &'s Scope<'s, '_>, work: impl FnOnce() -> T + Send + 's) -> Hand<'s, T> {
    // A thread that cannot be started takes what it was given along.
    let here = Arc::new(Mutex::new(Some(work)));
    let there = here.clone();
    let take = |work: &Mutex<Option<_>>| work.lock().unwrap_or_else(PoisonError::into_inner).take();
    let started = Builder::new().spawn_scoped(scope, move || take(&there).map(|work| work()));
    started.map_or_else(|_| Hand::Done(take(&here).map(|work| work())), Hand::Thread)
}

impl<T> Hand<'_, T> {
    pub fn join(self) -> io::Result<T> {
        let done = match self {
            Hand::Thread(thread) => thread.join().ok().flatten(),
            Hand::Done(done) => done,
        };
        done.ok_or_else(|| io::Error::other("a writing thread ended"))
    }
}
