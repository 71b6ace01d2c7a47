//! Where the processes of the tree wait for each other while it is built. Whoever does not come within the deadline is
//! named.

use ckpt_sys::Errno;
use ckpt_sys::calls::{futex_wait, futex_wake_all};
use std::io;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, Ordering::*};
use std::time::{Duration, Instant};

/// In order.
#[derive(Clone, Copy)]
pub enum Step {
    /// every process exists
    Created,
    /// every group exists
    Grouped,
    /// every process is in its group
    Joined,
}

const STEPS: usize = 3;

/// Shared by all processes of the tree.
#[repr(C)]
pub struct Gate {
    /// how many have come, by step
    there: [AtomicU32; STEPS],
    failed: AtomicU32,
    patience_ms: AtomicU32,
    /// new pid by index
    pids: [AtomicI32; MAX],
    /// steps that each has come to, by index
    come: [AtomicU8; MAX],
    /// why the first failed that said so: 0 nobody, 1 somebody is about to, else the length and 2
    said: AtomicU32,
    words: [AtomicU8; 1024],
}

const MAX: usize = 16384;

impl Gate {
    pub fn new(processes: usize, patience: Duration) -> io::Result<&'static Gate> {
        if processes > MAX {
            return Err(io::Error::other(format!("more than {MAX} processes")));
        }
        // SAFETY: a fresh shared mapping, zeroed, never unmapped.
        let gate: &'static Gate = unsafe {
            let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
            let at = libc::mmap(std::ptr::null_mut(), size_of::<Gate>(), libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            if at == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            &*(at as *const Gate)
        };
        gate.patience_ms.store(patience.as_millis().try_into().unwrap_or(u32::MAX), Release);
        Ok(gate)
    }

    /// Process `index` has come so far; true: `total` have.
    pub fn pass(&self, step: Step, index: usize, total: usize) -> bool {
        // Who comes after the deadline stays the one who did not.
        if self.failed.load(Acquire) != 0 {
            return false;
        }
        let counter = &self.there[step as usize];
        self.come[index].store(step as u8 + 1, Release);
        if counter.fetch_add(1, AcqRel) as usize + 1 >= total {
            futex_wake_all(counter);
        }
        self.wait(step, total)
    }

    /// False: one has failed, or for as long as we wait nobody came.
    pub fn wait(&self, step: Step, total: usize) -> bool {
        let counter = &self.there[step as usize];
        loop {
            let there = counter.load(Acquire);
            if self.failed.load(Acquire) != 0 {
                return false;
            }
            if there as usize >= total {
                return true;
            }
            // Only the last one wakes: thousands that look again at every arrival would leave no time to arrive.
            let patience = i64::from(self.patience_ms.load(Acquire));
            if futex_wait(counter, there, patience) == Err(Errno(libc::ETIMEDOUT)) && counter.load(Acquire) == there {
                self.fail(libc::ETIMEDOUT);
                return false;
            }
        }
    }

    /// The agent's side of `Step::Created`; `dead` says that one has been killed.
    pub fn wait_created(&self, total: usize, dead: &dyn Fn() -> bool) -> bool {
        let counter = &self.there[Step::Created as usize];
        let end = Instant::now() + Duration::from_millis(self.patience_ms.load(Acquire).into());
        loop {
            let there = counter.load(Acquire);
            if self.failed.load(Acquire) != 0 || there as usize >= total {
                return self.failed.load(Acquire) == 0;
            }
            let timed_out = futex_wait(counter, there, 1000) == Err(Errno(libc::ETIMEDOUT));
            if timed_out && (dead() || Instant::now() > end) {
                self.fail(libc::ETIMEDOUT);
                return false;
            }
        }
    }

    pub fn pid(&self, index: usize) -> i32 {
        self.pids[index].load(Acquire)
    }

    /// The id that a process has, or is going to have which others make.
    pub fn foretell(&self, index: usize, pid: i32) {
        self.pids[index].store(pid, Release);
    }

    /// The first failure counts: it is why the others fail.
    pub fn fail(&self, errno: i32) {
        let _ = self.failed.compare_exchange(0, errno.max(1) as u32, AcqRel, Acquire);
        for counter in &self.there {
            // Another number keeps those awake who are about to wait for this one to change.
            counter.fetch_or(1 << 31, AcqRel);
            futex_wake_all(counter);
        }
    }

    /// Before `fail`.
    pub fn say(&self, words: &str) {
        if self.said.compare_exchange(0, 1, AcqRel, Acquire).is_err() {
            return;
        }
        let length = self.words.iter().zip(words.bytes()).map(|(place, byte)| place.store(byte, Release)).count();
        self.said.store(length as u32 + 2, Release);
    }

    pub fn words(&self) -> Option<String> {
        let length = self.said.load(Acquire).checked_sub(2)?;
        let bytes: Vec<u8> = self.words.iter().take(length as usize).map(|byte| byte.load(Acquire)).collect();
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    pub fn failure(&self) -> Option<io::Error> {
        match self.failed.load(Acquire) {
            0 => None,
            e => Some(io::Error::from_raw_os_error(e as i32)),
        }
    }

    /// After a deadline: which of these are behind the others.
    pub fn missing(&self, all: impl Iterator<Item = usize> + Clone) -> Vec<usize> {
        let come = |i: &usize| self.come[*i].load(Acquire);
        let furthest = all.clone().map(|i| come(&i)).max().unwrap_or(0).max(1);
        all.filter(|i| come(i) < furthest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_come_is_named() {
        let gate = Gate::new(3, Duration::from_millis(20)).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(gate.pass(Step::Created, 2, 2)));
            assert!(gate.pass(Step::Created, 0, 2));
        });
        assert!(!gate.pass(Step::Grouped, 0, 2));
        assert_eq!(gate.failure().unwrap().raw_os_error(), Some(libc::ETIMEDOUT));
        assert_eq!(gate.missing([0, 2].into_iter()), [2]);
        assert!(!gate.pass(Step::Grouped, 2, 2), "too late");
        gate.fail(libc::ECANCELED);
        assert_eq!(gate.failure().unwrap().raw_os_error(), Some(libc::ETIMEDOUT), "the first failure counts");
    }

    #[test]
    fn nobody_came_and_all_are_missing() {
        let gate = Gate::new(2, Duration::from_millis(1)).unwrap();
        assert!(!gate.wait_created(2, &|| false));
        assert_eq!(gate.missing(0..2), [0, 1]);
    }
}
