//! System V IPC as this process uses it: facts that the kernel does not give back.

use crate::state;
use ckpt_sys::flat::{SemUndo, SysvHeld};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};

pub const SEMAPHORES: u32 = 1;
pub const MESSAGES: u32 = 2;
pub const MEMORY: u32 = 3;

const HELD: usize = 128;
/// Family and id of what `semget` and the like returned; a forked child has them too. The oldest go first.
static GIVEN: [AtomicU64; HELD] = [const { AtomicU64::new(0) }; HELD];
static NEXT: AtomicUsize = AtomicUsize::new(0);

pub fn remember(family: u32, id: i32) {
    let word = (family as u64) << 32 | id as u32 as u64;
    if GIVEN.iter().all(|slot| slot.load(Relaxed) != word) {
        GIVEN[NEXT.fetch_add(1, Relaxed) % HELD].store(word, Relaxed);
    }
}

pub fn held(mut each: impl FnMut(SysvHeld)) {
    let words = GIVEN.iter().map(|slot| slot.load(Relaxed)).filter(|&w| w != 0);
    words.for_each(|w| each(SysvHeld { family: (w >> 32) as u32, id: w as i32 }));
}

/// Slots in the state page: a forked child has nothing to undo, and finds zeros. A slot that says 0 is free.
pub const UNDOS: usize = 128;

fn pack(u: SemUndo) -> u64 {
    if u.adjust == 0 { 0 } else { (u.id as u32 as u64) << 32 | (u.number as u64) << 16 | u.adjust as u16 as u64 }
}

fn unpack(word: u64) -> SemUndo {
    SemUndo { id: (word >> 32) as i32, number: (word >> 16) as u16, adjust: word as i16 }
}

/// The kernel adds `adjust` to what the process's end will add. Two threads may take a slot each: slots add up.
pub fn will_undo(id: i32, number: u16, adjust: i16) {
    let Some(st) = state::state() else { return };
    let same = |w: u64| w != 0 && w >> 16 == (id as u32 as u64) << 16 | number as u64;
    for wanted in [true, false] {
        for slot in &st.undo {
            let change = |w: u64| {
                let fits = if wanted { same(w) } else { w == 0 };
                fits.then(|| pack(SemUndo { id, number, adjust: unpack(w).adjust.wrapping_add(adjust) }))
            };
            if slot.fetch_update(Relaxed, Relaxed, change).is_ok() {
                return;
            }
        }
    }
}

/// SETVAL and SETALL make the kernel forget; `None`: the whole set.
pub fn nothing_to_undo(id: i32, number: Option<u16>) {
    let Some(st) = state::state() else { return };
    for slot in &st.undo {
        let fits = |u: SemUndo| u.id == id && number.is_none_or(|n| n == u.number);
        let _ = slot.fetch_update(Relaxed, Relaxed, |w| fits(unpack(w)).then_some(0));
    }
}

pub fn undos(each: impl FnMut(SemUndo)) {
    let Some(st) = state::state() else { return };
    st.undo.iter().map(|slot| unpack(slot.load(Relaxed))).filter(|u| u.adjust != 0).for_each(each);
}

/// In the restorer: the slots of the restored state page, all zero.
pub fn put_back(slots: &[AtomicU64; UNDOS], undo: &[SemUndo]) {
    slots.iter().zip(undo).for_each(|(slot, u)| slot.store(pack(*u), Relaxed));
}
