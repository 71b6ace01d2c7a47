//! How the library's threads wait for each other, under every interleaving and every reordering that C11 atomics allow.
//!
//! `Gate` says what `preload/src/handler.rs` and `thread.rs` do, in their order and with their orderings; the kernel's
//! futex is a mutex and a condition variable, *without* the time limits that the library's own waits have: a lost
//! wake-up is a deadlock here, and loom finds it. Change both together.
#![cfg(all(test, loom))]

use loom::sync::atomic::{fence, AtomicU32, Ordering::*};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

/// A word that threads sleep on.
struct Futex {
    word: AtomicU32,
    kernel: Mutex<()>,
    sleepers: Condvar,
}

impl Futex {
    fn new(value: u32) -> Futex {
        Futex { word: AtomicU32::new(value), kernel: Mutex::new(()), sleepers: Condvar::new() }
    }

    /// FUTEX_WAIT: only if the word is still `seen`.
    fn wait(&self, seen: u32) {
        let lock = self.kernel.lock().unwrap();
        if self.word.load(SeqCst) == seen {
            drop(self.sleepers.wait(lock).unwrap());
        }
    }

    fn wake_all(&self) {
        drop(self.kernel.lock().unwrap());
        self.sleepers.notify_all();
    }
}

const IDLE: u32 = 0;
const QUIESCE: u32 = 1;
const RELEASE: u32 = 2;
const ASKED: u32 = 7;
const PARKED: u32 = 8;
const STAY: u32 = 0;
const CALL: u32 = 3;

/// The state page, and an arena with a slot for each thread.
struct Gate {
    phase: AtomicU32,
    parked: Futex,
    awaited: AtomicU32,
    inside: Futex,
    epoch: Futex,
    slots: Vec<Slot>,
    /// 1: mapped. Read wherever the arena is touched.
    arena: AtomicU32,
    carried_out: AtomicU32,
}

struct Slot {
    state: AtomicU32,
    command: AtomicU32,
}

impl Gate {
    fn quiescing(threads: usize) -> Gate {
        let slot = || Slot { state: AtomicU32::new(ASKED), command: AtomicU32::new(STAY) };
        Gate {
            phase: AtomicU32::new(QUIESCE),
            parked: Futex::new(0),
            awaited: AtomicU32::new(0),
            inside: Futex::new(0),
            epoch: Futex::new(0),
            slots: (0..threads).map(|_| slot()).collect(),
            arena: AtomicU32::new(1),
            carried_out: AtomicU32::new(0),
        }
    }

    fn touch_arena(&self) {
        assert_eq!(self.arena.load(Relaxed), 1, "the arena is gone");
    }

    // handler.rs

    /// `on_signal`, in a process whose checkpoint thread runs.
    fn on_signal(&self, thread: usize) {
        if !self.enter() {
            return;
        }
        if self.phase.load(Acquire) == QUIESCE {
            self.park(thread);
        }
        self.leave();
    }

    fn count_in(&self) {
        self.inside.word.fetch_add(1, AcqRel);
        fence(SeqCst);
    }

    /// The library tries again until the phase is another one; here whoever comes then is turned away, as by a phase
    /// that is over.
    fn enter(&self) -> bool {
        self.count_in();
        if self.phase.load(Acquire) == RELEASE {
            self.leave();
            return false;
        }
        true
    }

    fn leave(&self) {
        if self.inside.word.fetch_sub(1, AcqRel) == 1 {
            self.inside.wake_all();
        }
    }

    fn park(&self, thread: usize) {
        self.touch_arena();
        let slot = &self.slots[thread];
        if slot.state.load(Acquire) != ASKED {
            return;
        }
        slot.state.store(PARKED, Release);
        if self.parked.word.fetch_add(1, AcqRel) + 1 >= self.awaited.load(Acquire) {
            self.parked.wake_all();
        }
        loop {
            let epoch = self.epoch.word.load(Acquire);
            if self.phase.load(Acquire) == RELEASE {
                break;
            }
            if slot.command.load(Acquire) != STAY {
                self.carried_out.fetch_add(1, AcqRel);
                slot.command.store(STAY, Release);
                self.bump(&self.parked);
            }
            self.epoch.wait(epoch);
        }
        self.touch_arena();
    }

    /// `asked`, of glibc's signal: counted in, since it reads the arena.
    fn on_foreign_signal(&self) {
        self.count_in();
        if self.phase.load(Acquire) == QUIESCE {
            self.touch_arena();
        }
        self.leave();
    }

    fn bump(&self, futex: &Futex) {
        futex.word.fetch_add(1, AcqRel);
        futex.wake_all();
    }

    // thread.rs

    fn wait_parked(&self) {
        self.awaited.store(self.slots.len() as u32, Release);
        loop {
            let seen = self.parked.word.load(Acquire);
            if self.slots.iter().all(|s| s.state.load(Acquire) != ASKED) {
                return;
            }
            self.parked.wait(seen);
        }
    }

    fn command(&self) {
        self.slots.iter().for_each(|s| s.command.store(CALL, Release));
        self.bump(&self.epoch);
        loop {
            let seen = self.parked.word.load(Acquire);
            if self.slots.iter().all(|s| s.command.load(Acquire) == STAY) {
                return;
            }
            self.parked.wait(seen);
        }
    }

    /// `release`, then the end of `main`.
    fn release(&self) {
        self.phase.store(RELEASE, Release);
        self.bump(&self.epoch);
        fence(SeqCst);
        loop {
            let inside = self.inside.word.load(Acquire);
            if inside == 0 {
                break;
            }
            self.inside.wait(inside);
        }
        self.phase.store(IDLE, Release);
        self.arena.store(0, Relaxed);
    }
}

fn with_threads(count: usize, run: impl Fn(&Gate, usize) + Sync + Send + Copy + 'static, checkpoint: impl Fn(&Gate) + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(move || {
        let gate = Arc::new(Gate::quiescing(count));
        let threads: Vec<_> = (0..count)
            .map(|i| {
                let gate = gate.clone();
                thread::spawn(move || run(&gate, i))
            })
            .collect();
        checkpoint(&gate);
        threads.into_iter().for_each(|t| t.join().unwrap());
    });
}

#[test]
fn threads_park_and_leave() {
    with_threads(2, |gate, i| gate.on_signal(i), |gate| {
        gate.wait_parked();
        gate.release();
    });
}

#[test]
fn a_command_is_carried_out_once() {
    with_threads(1, |gate, i| gate.on_signal(i), |gate| {
        gate.wait_parked();
        gate.command();
        assert_eq!(gate.carried_out.load(Acquire), 1);
        gate.release();
    });
}

/// The deadline has passed: some have parked, some come while the others are let go, or after it.
#[test]
fn who_comes_late_finds_no_arena_and_does_not_look_for_it() {
    with_threads(2, |gate, i| gate.on_signal(i), |gate| gate.release());
}

#[test]
fn a_foreign_signal_does_not_outlive_the_arena() {
    with_threads(1, |gate, _| gate.on_foreign_signal(), |gate| gate.release());
}

/// hooks/lock.rs: taken once, and given back to whoever waits. ckpt_delay's sections work the same way: a word that
/// only its owner clears, and a counter to sleep on.
#[test]
fn a_section_ends_before_the_checkpoint_begins() {
    loom::model(|| {
        let shared = Arc::new((AtomicU32::new(1), Futex::new(0), AtomicU32::new(0)));
        let program = {
            let shared = shared.clone();
            thread::spawn(move || {
                let (section, ended, work) = &*shared;
                work.store(1, Relaxed);
                section.store(0, Release);
                ended.word.fetch_add(1, AcqRel);
                ended.wake_all();
            })
        };
        let (section, ended, work) = &*shared;
        loop {
            let seen = ended.word.load(Acquire);
            if section.load(Acquire) == 0 {
                break;
            }
            ended.wait(seen);
        }
        assert_eq!(work.load(Relaxed), 1, "the section's work is seen");
        program.join().unwrap();
    });
}
