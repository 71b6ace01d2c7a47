//! When the processes of a restarted computation began, as the program knows it (field 22 of `/proc/PID/stat`): with the id
//! it names a process for Java's ProcessHandle, psutil and others.
//!
//! An entry counts for a process as long as the kernel's own time is the one it was noted for: so nothing has to be
//! withdrawn when the process ends and its id goes to another.

use core::sync::atomic::{AtomicU64, Ordering::*};

const SLOTS: usize = 8192;
/// Of an id: PID_MAX_LIMIT is 2^22. The rest is for clock ticks since boot.
const ID_BITS: u32 = 22;
const TICKS: u64 = 1 << (64 - ID_BITS);

/// All zero when new. One process writes at a time.
#[repr(C)]
pub struct Starts {
    /// id and ticks now; ticks then
    slots: [[AtomicU64; 2]; SLOTS],
}

fn key(id: i32, now: u64) -> Option<u64> {
    u64::try_from(id).ok().filter(|&id| 0 < id && id < 1 << ID_BITS && now < TICKS).map(|id| id << (64 - ID_BITS) | now)
}

impl Starts {
    fn probe(&self, id: i32) -> impl Iterator<Item = &[AtomicU64; 2]> {
        let start = (id as u32).wrapping_mul(0x9E37_79B9) as usize >> (32 - SLOTS.trailing_zeros());
        self.slots[start % SLOTS..].iter().chain(&self.slots[..start % SLOTS])
    }

    /// That the kernel's process `id`, which began at `now`, is one that began at `then`. A full table forgets nobody.
    pub fn note(&self, id: i32, now: u64, then: u64) {
        let Some(key) = key(id, now) else { return };
        let same = |seen: u64| seen >> (64 - ID_BITS) == id as u64;
        let free = |slot: &&[AtomicU64; 2]| matches!(slot[0].load(Acquire), seen if seen == 0 || same(seen));
        if let Some(slot) = self.probe(id).find(free) {
            // Nobody's time, while the other is not there yet.
            slot[0].store((id as u64) << (64 - ID_BITS), Release);
            slot[1].store(then, Release);
            slot[0].store(key, Release);
        }
    }

    /// None: it is no restarted process, or another one by now.
    pub fn then(&self, id: i32, now: u64) -> Option<u64> {
        let key = key(id, now)?;
        let found = |slot: &&[AtomicU64; 2]| matches!(slot[0].load(Acquire), seen if seen == key || seen == 0);
        self.probe(id).find(found).filter(|slot| slot[0].load(Acquire) == key).map(|slot| slot[1].load(Acquire))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::alloc::{alloc_zeroed, Layout};

    fn starts() -> &'static Starts {
        // SAFETY: zeroed memory with the type's size and alignment, leaked; zero is a value of it.
        unsafe { &*alloc_zeroed(Layout::new::<Starts>()).cast::<Starts>() }
    }

    #[test]
    fn a_process_began_when_it_is_said_to_have() {
        let starts = starts();
        starts.note(100, 5000, 40);
        starts.note(101, 5001, 41);
        assert_eq!((starts.then(100, 5000), starts.then(101, 5001)), (Some(40), Some(41)));
        assert_eq!((starts.then(100, 5002), starts.then(102, 5000)), (None, None));
        starts.note(100, 9000, 40);
        assert_eq!((starts.then(100, 5000), starts.then(100, 9000)), (None, Some(40)));
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let starts = starts();
        (1..=SLOTS as i32 + 10).for_each(|id| starts.note(id, 7, id as u64));
        assert_eq!(starts.then(1, 7), Some(1));
        assert_eq!(starts.then(SLOTS as i32 + 10, 7), None);
        starts.note(-1, 7, 7);
        starts.note(5, TICKS, 7);
        assert_eq!((starts.then(-1, 7), starts.then(5, TICKS)), (None, None));
    }
}
