//! The memory of one checkpoint: the thread's stack, the slots, buffers. One mapping, gone afterwards.

use crate::handler::Slot;
use crate::state::Seat;
use ckpt_sys::flat::Pending;
use ckpt_sys::calls::*;
use ckpt_sys::raw::*;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::*};

pub const SLOTS: usize = 1 << 14;
const STACK: usize = 128 << 10;
const SCRATCH: usize = 256 << 10;
pub const PENDINGS: usize = 4096;

/// Untouched pages cost nothing: sizes are for the worst case.
#[repr(C)]
pub struct Arena {
    pub len: usize,
    /// Start and end of all arenas in this memory while the snapshot is made: none of them belongs to it.
    pub holes: [[AtomicU64; 2]; crate::state::SEATS],
    pub call: crate::plugin::Call,
    pub threads: AtomicUsize,
    pub pending_count: AtomicU32,
    pub stack: [u8; STACK],
    pub scratch: [u8; SCRATCH],
    /// Where plugins run.
    pub plugin_stack: [u8; STACK],
    /// By hash of the tid: the number of its slot, counted from 1.
    pub index: [AtomicU32; SLOTS],
    /// One after another, so that few pages are touched.
    pub slots: [Slot; SLOTS],
    pub pendings: [Pending; PENDINGS],
}

pub fn create() -> Result<*mut Arena> {
    let len = ckpt_sys::page_up(size_of::<Arena>());
    let arena = map_anon(len)?.cast::<Arena>();
    // SAFETY: fresh, zeroed, large enough; zero is a value of every field.
    unsafe { (*arena).len = len };
    Ok(arena)
}

pub fn destroy(arena: *mut Arena) {
    // SAFETY: the caller gives up the arena.
    unsafe {
        let len = (*arena).len;
        let _ = munmap(arena as usize, len);
    }
}

pub fn current(st: &Seat) -> Option<&'static Arena> {
    // SAFETY: the address stays mapped until every thread has left the handler.
    unsafe { (st.arena.load(Acquire) as *const Arena).as_ref() }
}

impl Arena {
    /// Is the caller, which does the checkpoint, a thread of the program? A checkpoint thread is in no slot.
    pub fn is_in_place(&self) -> bool {
        self.find(gettid()).is_some()
    }

    /// The entry of `tid`, or the empty one where it would be.
    fn probe(&self, tid: i32) -> Option<&AtomicU32> {
        let start = (tid as usize).wrapping_mul(0x9E37_79B1) >> 7;
        (0..SLOTS).map(|i| &self.index[(start + i) % SLOTS]).find(|n| self.slot(n).is_none_or(|s| s.tid.load(Acquire) == tid))
    }

    fn slot(&self, number: &AtomicU32) -> Option<&Slot> {
        self.slots.get((number.load(Acquire) as usize).wrapping_sub(1))
    }

    pub fn find(&self, tid: i32) -> Option<&Slot> {
        self.slot(self.probe(tid)?)
    }

    /// The slot of `tid`, new or known; None when the table is full. Only one thread inserts at a time.
    pub fn insert(&self, tid: i32) -> Option<&Slot> {
        let number = self.probe(tid)?;
        if let Some(known) = self.slot(number) {
            return Some(known);
        }
        let slot = self.slots.get(self.threads.load(Acquire))?;
        slot.tid.store(tid, Release);
        number.store(self.threads.fetch_add(1, AcqRel) as u32 + 1, Release);
        Some(slot)
    }

    pub fn used(&self) -> impl Iterator<Item = &Slot> {
        self.slots[..self.threads.load(Acquire)].iter()
    }

    /// Notes this arena and those of other processes in the same memory, which stand still as well. Before the fork:
    /// the state page is empty in the copy.
    pub fn note_holes(&self) {
        let arenas = crate::state::state().into_iter().flat_map(|st| &st.seats).filter_map(current);
        for (hole, arena) in self.holes.iter().zip(arenas) {
            let start = core::ptr::from_ref(arena) as u64;
            hole[0].store(start, Relaxed);
            hole[1].store(start + arena.len as u64, Relaxed);
        }
    }

    /// Calls `each` for the parts of a range that lie in no arena.
    pub fn around_holes<E>(&self, start: u64, end: u64, mut each: impl FnMut(u64, u64) -> core::result::Result<(), E>) -> core::result::Result<(), E> {
        let mut from = start;
        while from < end {
            let holes = self.holes.iter().map(|h| (h[0].load(Relaxed), h[1].load(Relaxed)));
            let next = holes.take_while(|h| h.1 != 0).filter(|h| h.1 > from && h.0 < end).min();
            let (stop, after) = next.map_or((end, end), |h| (h.0.max(from), h.1));
            if from < stop {
                each(from, stop)?;
            }
            from = after;
        }
        Ok(())
    }

    /// Room for one more pending signal.
    pub fn add_pending(&self, p: Pending) -> bool {
        let i = self.pending_count.fetch_add(1, AcqRel) as usize;
        if i >= PENDINGS {
            return false;
        }
        // SAFETY: index i was handed to this caller alone.
        unsafe { (&raw const self.pendings[i]).cast_mut().write(p) };
        true
    }

    pub fn stack_top(&self) -> usize {
        (&raw const self.stack as usize + STACK) & !15
    }

    pub fn plugin_stack_top(&self) -> usize {
        (&raw const self.plugin_stack as usize + STACK) & !15
    }

    /// Buffer of the checkpoint thread.
    ///
    /// # Safety
    /// One user at a time.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn scratch(&self) -> &mut [u8] {
        // SAFETY: by the contract.
        unsafe { core::slice::from_raw_parts_mut((&raw const self.scratch).cast_mut().cast(), SCRATCH) }
    }
}
