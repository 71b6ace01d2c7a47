//! What this process asked mq_notify(3) for, as far as the kernel does not give it back: the value that comes with the
//! notification, and the function (SIGEV_THREAD).

use ckpt_sys::flat::MqAsked;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};

const ASKED: usize = 32;
/// Descriptor plus one, value, function. The oldest go first.
static SLOTS: [[AtomicU64; 3]; ASKED] = [const { [const { AtomicU64::new(0) }; 3] }; ASKED];
static NEXT: AtomicUsize = AtomicUsize::new(0);

pub fn remember(queue: i32, value: u64, function: u64) {
    let key = queue as u64 + 1;
    let known = SLOTS.iter().find(|slot| slot[0].load(Relaxed) == key);
    let slot = known.unwrap_or_else(|| &SLOTS[NEXT.fetch_add(1, Relaxed) % ASKED]);
    slot[0].store(key, Relaxed);
    slot[1].store(value, Relaxed);
    slot[2].store(function, Relaxed);
}

/// Has it asked at all?
pub fn any() -> bool {
    SLOTS.iter().any(|slot| slot[0].load(Relaxed) != 0)
}

pub fn asked(mut each: impl FnMut(MqAsked)) {
    for slot in SLOTS.iter().filter(|slot| slot[0].load(Relaxed) != 0) {
        let [key, value, function] = [0, 1, 2].map(|i| slot[i].load(Relaxed));
        each(MqAsked { fd: key as i32 - 1, pad: 0, value, function });
    }
}
