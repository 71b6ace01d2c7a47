//! A lock for the few hooks that need one (system, popen). A child forked while another thread held it takes it over.

use ckpt_sys::calls::{futex_wait, futex_wake_all, getpid, gettid, tgkill};
use core::sync::atomic::{AtomicU32, Ordering::*};

/// Holds the owner's thread id, 0 when free.
pub struct Lock(AtomicU32);

pub struct Held<'a>(&'a Lock);

/// How long to sleep before looking whether the owner still lives in this process.
const CHECK_OWNER_MS: i64 = 100;

impl Lock {
    pub const fn new() -> Self {
        Lock(AtomicU32::new(0))
    }

    pub fn hold(&self) -> Held<'_> {
        let me = gettid() as u32;
        while let Err(owner) = self.0.compare_exchange(0, me, Acquire, Relaxed) {
            if tgkill(getpid(), owner as i32, 0).is_err() {
                let _ = self.0.compare_exchange(owner, 0, Relaxed, Relaxed);
            } else {
                let _ = futex_wait(&self.0, owner, CHECK_OWNER_MS);
            }
        }
        Held(self)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0 .0.store(0, Release);
        futex_wake_all(&self.0 .0);
    }
}
