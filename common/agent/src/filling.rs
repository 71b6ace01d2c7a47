//! After `ckpt_restart --restore lazy`: the helper that fills memory while the program runs.

use crate::link::Link;
use ckpt_sys::flat::msg;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a checkpoint waits for the rest.
const PATIENCE: Duration = Duration::from_secs(3600);

#[derive(Default)]
pub struct Filling(Mutex<Option<Helper>>);

struct Helper {
    link: Link,
    /// Threads that wait for a page go on waiting as long as one of these is open, whatever becomes of the helper.
    held: Vec<OwnedFd>,
}

impl Filling {
    /// The helper says `FILLED` on its link, once.
    pub fn begin(&self, link: Link, held: Vec<OwnedFd>) {
        *self.lock() = Some(Helper { link, held });
    }

    fn lock(&self) -> MutexGuard<'_, Option<Helper>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Readable when there is something to settle.
    pub fn fd(&self) -> Option<RawFd> {
        self.lock().as_ref().map(|h| h.link.fd())
    }

    /// Waits until all memory is there; when it never will be, calls `end` while nobody sees zeros yet.
    pub fn settle(&self, end: impl FnOnce()) {
        let Some(Helper { link, held }) = self.lock().take() else { return };
        if !link.recv_within(PATIENCE).is_ok_and(|p| p.msg.kind == msg::FILLED) {
            end();
        }
        drop(held);
    }
}
