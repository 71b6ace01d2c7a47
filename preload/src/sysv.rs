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

/// Where the stacks of threads are that call semop(2) with SEM_UNDO and have not noted it yet. By address, which a restart keeps.
static CALLING: [AtomicUsize; 64] = [const { AtomicUsize::new(0) }; 64];

/// The slot; none where all are taken.
pub fn enter(stack: usize) -> Option<&'static AtomicUsize> {
    CALLING.iter().find(|slot| slot.load(Relaxed) == 0 && slot.compare_exchange(0, stack, Relaxed, Relaxed).is_ok())
}

pub fn leave(slot: Option<&AtomicUsize>) {
    if let Some(slot) = slot {
        slot.store(0, Release);
    }
}

/// Is a thread between such a call and its note, or right before the call? One whose call our signal has ended is not: it
/// will be repeated.
///
/// # Safety
/// `uc` is the ucontext that the kernel put on the stack.
pub unsafe fn is_noting(uc: *const libc::ucontext_t) -> bool {
    // As much stack as our hook and libc's function take. A handler of the program's above them is further away.
    const NEAR: usize = 1024;
    const SYSCALL: [u8; 2] = [0x0f, 0x05];
    // SAFETY: by the contract.
    let r = unsafe { &(*uc).uc_mcontext.gregs };
    let (stack, rip, rax) = (r[libc::REG_RSP as usize] as usize, r[libc::REG_RIP as usize], r[libc::REG_RAX as usize]);
    if !CALLING.iter().any(|slot| slot.load(Relaxed).wrapping_sub(stack) < NEAR) {
        return false;
    }
    // SAFETY: the text of a call lies before the program counter, which is past the first instruction of a function.
    rax != -i64::from(libc::EINTR) || unsafe { ((rip - 2) as *const [u8; 2]).read_unaligned() } != SYSCALL
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
