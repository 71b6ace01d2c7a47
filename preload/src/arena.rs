//! The memory of one checkpoint: the thread's stack, the slots, buffers. One mapping, gone afterwards.

use crate::handler::Slot;
use crate::state::StatePage;
use ckpt_sys::flat::Pending;
use ckpt_sys::calls::*;
use ckpt_sys::raw::*;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::*};

pub const SLOTS: usize = 1 << 14;
const STACK: usize = 128 << 10;
const SCRATCH: usize = 256 << 10;
pub const PENDINGS: usize = 4096;

/// Untouched pages cost nothing: sizes are for the worst case.
#[repr(C)]
pub struct Arena {
    pub len: usize,
    pub call: crate::plugin::Call,
    pub threads: AtomicUsize,
    pub pending_count: AtomicU32,
    pub stack: [u8; STACK],
    pub scratch: [u8; SCRATCH],
    /// Where plugins run.
    pub plugin_stack: [u8; STACK],
    /// Indices of the slots in use, in the order in which they were taken.
    pub order: [AtomicU32; SLOTS],
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

pub fn current(st: &StatePage) -> Option<&'static Arena> {
    // SAFETY: the address stays mapped until every thread has left the handler.
    unsafe { (st.arena.load(Acquire) as *const Arena).as_ref() }
}

impl Arena {
    fn probe(&self, tid: i32) -> Option<&Slot> {
        let start = (tid as usize).wrapping_mul(0x9E37_79B1) >> 7;
        (0..SLOTS).map(|i| &self.slots[(start + i) % SLOTS]).find(|s| matches!(s.tid.load(Acquire), t if t == tid || t == 0))
    }

    pub fn find(&self, tid: i32) -> Option<&Slot> {
        self.probe(tid).filter(|s| s.tid.load(Acquire) == tid)
    }

    /// The slot of `tid`, new or known; None when the table is full. Only one thread inserts at a time.
    pub fn insert(&self, tid: i32) -> Option<&Slot> {
        let slot = self.probe(tid)?;
        if slot.tid.load(Acquire) == 0 {
            slot.tid.store(tid, Release);
            // SAFETY: both pointers are into `slots`.
            let index = unsafe { core::ptr::from_ref(slot).offset_from(self.slots.as_ptr()) };
            self.order[self.threads.load(Acquire)].store(index as u32, Release);
            self.threads.fetch_add(1, AcqRel);
        }
        Some(slot)
    }

    pub fn used(&self) -> impl Iterator<Item = &Slot> {
        let n = self.threads.load(Acquire);
        self.order[..n].iter().map(|i| &self.slots[i.load(Acquire) as usize])
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
