//! Virtual ids: the pids, tids, process groups and sessions that a restarted program knows, beside the kernel's.
//!
//! ```text
//! +--------------------+---------------------------+---------------------------+
//! | magic, next unused | slots keyed by virtual id | slots keyed by real id    |
//! +--------------------+---------------------------+---------------------------+
//! ```
//!
//! One table per restarted computation, in shared memory that every process maps. Atomics only: any process may look
//! up and insert at any time, and may die at any point. A key, once in, keeps its slot; a pair is withdrawn by
//! overwriting it with key -> key. So a lookup never waits and never misses a pair that was there before.
//!
//! An id that no pair names stands for itself. A real id that is reused by the kernel takes over the virtual id it
//! had, as numbers are reused without us.

use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering::*};

/// An id as the program knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VirtualPid(pub i32);

/// An id as the kernel knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RealPid(pub i32);

/// Pairs that fit; the slots are twice as many.
pub const CAPACITY: usize = 32768;
const SLOTS: usize = CAPACITY * 2;
const MAGIC: u64 = u64::from_le_bytes(*b"ckptids1");

/// Above every real pid (PID_MAX_LIMIT): a number from here can collide with no process.
pub const FIRST_UNUSED: u32 = 1 << 22;
/// No process ever has it: kill answers ESRCH.
pub const NOBODY: RealPid = RealPid(i32::MAX);

/// Bytes of shared memory, all zero when new.
pub const SIZE: usize = size_of::<IdTable>();

#[repr(C)]
pub struct IdTable {
    magic: AtomicU64,
    next: AtomicU32,
    reserved: AtomicU32,
    by_virtual: [AtomicU64; SLOTS],
    by_real: [AtomicU64; SLOTS],
    /// processes by the ids that the kernel had for them at the checkpoint
    by_then: [AtomicU64; SLOTS],
    /// processes that had not called exec, but were restored by one: by their real ids
    forked: [AtomicU64; FORKED],
    pub wishes: [Wish; 8],
    /// What else the processes share after a restart.
    pub names: crate::names::Names,
    pub board: crate::board::Board,
    pub starts: crate::starts::Starts,
}

const FORKED: usize = 4096;

/// A call of setpgid(2) that a process is asked to make itself.
#[repr(C)]
pub struct Wish {
    pub state: AtomicU32,
    /// who is asked: a real id
    pub pid: AtomicI32,
    pub group: AtomicI32,
}

impl Wish {
    pub const FREE: u32 = 0;
    pub const CLAIMED: u32 = 1;
    pub const ASKED: u32 = 2;
    const DONE: u32 = 1 << 16;

    pub fn say(done: Result<(), i32>) -> u32 {
        Wish::DONE | done.err().unwrap_or(0) as u32
    }

    pub fn answer(state: u32) -> Result<(), i32> {
        match state & !Wish::DONE {
            0 => Ok(()),
            errno => Err(errno as i32),
        }
    }
}

/// The table is full; an id stays untranslated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

impl IdTable {
    /// A view of shared memory; None when it holds something else.
    ///
    /// # Safety
    /// `at` is 8-aligned, `SIZE` bytes long, mapped for `'a`, and touched through this type only.
    pub unsafe fn at<'a>(at: *mut u8) -> Option<&'a IdTable> {
        // SAFETY: by the contract; every bit pattern is a table.
        let table = unsafe { &*at.cast::<IdTable>() };
        let known = table.magic.compare_exchange(0, MAGIC, AcqRel, Acquire);
        matches!(known, Ok(_) | Err(MAGIC)).then_some(table)
    }

    /// The kernel's id for the program's.
    pub fn to_real(&self, id: VirtualPid) -> RealPid {
        if let Some(real) = find(&self.by_virtual, id.0) {
            return RealPid(real);
        }
        // A number that is unknown to the program, but by chance the real id of one of its processes.
        match find(&self.by_real, id.0) {
            Some(other) if other != id.0 => NOBODY,
            _ => RealPid(id.0),
        }
    }

    /// The program's id for the kernel's. A real id whose number already means another process to the program gets a
    /// number of its own, the same for every asker.
    pub fn to_virtual(&self, id: RealPid) -> VirtualPid {
        if let Some(known) = find(&self.by_real, id.0) {
            // Withdrawn (id -> id), and the number was given away since: a new pair is needed.
            if known != id.0 || !self.taken(id.0) {
                return VirtualPid(known);
            }
        }
        if !self.taken(id.0) {
            return VirtualPid(id.0);
        }
        self.name(id).unwrap_or(VirtualPid(id.0))
    }

    /// Pairs a restored process with the id it had. Both sides replace what was there.
    pub fn insert(&self, virtual_id: VirtualPid, real: RealPid) -> Result<(), Full> {
        put(&self.by_virtual, virtual_id.0, real.0)?;
        put(&self.by_real, real.0, virtual_id.0)
    }

    /// A real id that means a process to the program without being it: one that acted for it and has ended.
    pub fn alias(&self, real: RealPid, virtual_id: VirtualPid) -> Result<(), Full> {
        put(&self.by_real, real.0, virtual_id.0)
    }

    /// Every real id that a pair names or named.
    pub fn real_ids(&self) -> impl Iterator<Item = RealPid> + '_ {
        self.by_real.iter().map(|slot| slot.load(Acquire)).filter(|&slot| slot != 0).map(|slot| RealPid(key_of(slot)))
    }

    /// What the kernel called a process at the checkpoint: it may have told its parent, who has not looked yet.
    pub fn note_then(&self, then: RealPid, virtual_id: VirtualPid) -> Result<(), Full> {
        put(&self.by_then, then.0, virtual_id.0)
    }

    /// The program's id for a child that the kernel gave this id, before or after the restart.
    pub fn born(&self, id: RealPid) -> VirtualPid {
        self.then(id).unwrap_or_else(|| self.to_virtual(id))
    }

    /// None: the kernel had given nobody this id.
    pub fn then(&self, id: RealPid) -> Option<VirtualPid> {
        find(&self.by_then, id.0).map(VirtualPid)
    }

    /// The kernel takes a process for one that has called exec, the program does not.
    pub fn set_forked(&self, real: RealPid, is: bool) {
        let same = |slot: &&AtomicU64| slot.load(Acquire) == if is { 0 } else { real.0 as u64 };
        let to = if is { real.0 as u64 } else { 0 };
        for slot in self.forked.iter().filter(same) {
            if slot.compare_exchange(real.0 as u64 - to, to, AcqRel, Acquire).is_ok() && is {
                return;
            }
        }
    }

    pub fn is_forked(&self, real: RealPid) -> bool {
        self.forked.iter().any(|slot| slot.load(Acquire) == real.0 as u64)
    }

    pub fn claim_wish(&self) -> Option<&Wish> {
        let claimed = |w: &&Wish| w.state.compare_exchange(Wish::FREE, Wish::CLAIMED, AcqRel, Acquire).is_ok();
        self.wishes.iter().find(claimed)
    }

    /// Withdraws a pair: both numbers stand for themselves again.
    pub fn remove(&self, virtual_id: VirtualPid) {
        if let Some(real) = find(&self.by_virtual, virtual_id.0) {
            let _ = put(&self.by_real, real, real);
            let _ = put(&self.by_virtual, virtual_id.0, virtual_id.0);
        }
    }

    /// Does this number mean a process with another real id?
    fn taken(&self, number: i32) -> bool {
        find(&self.by_virtual, number).is_some_and(|real| real != number)
    }

    /// Gives a real id a number that nobody uses; askers at the same moment agree on one.
    fn name(&self, id: RealPid) -> Result<VirtualPid, Full> {
        let fresh = self.fresh();
        put(&self.by_virtual, fresh, id.0)?;
        let agreed = put_if(&self.by_real, id.0, fresh, |old| old == id.0)?;
        if agreed != fresh {
            let _ = put(&self.by_virtual, fresh, fresh);
        }
        Ok(VirtualPid(agreed))
    }

    fn fresh(&self) -> i32 {
        loop {
            let number = (FIRST_UNUSED + self.next.fetch_add(1, Relaxed) % (1 << 28)) as i32;
            if find(&self.by_virtual, number).is_none_or(|real| real == number) {
                return number;
            }
        }
    }
}

fn pack(key: i32, value: i32) -> u64 {
    (key as u32 as u64) << 32 | value as u32 as u64
}

fn key_of(slot: u64) -> i32 {
    (slot >> 32) as i32
}

/// The slots to look at for a key, first to last (Fibonacci hashing, linear probing).
fn probe(slots: &[AtomicU64; SLOTS], key: i32) -> impl Iterator<Item = &AtomicU64> {
    let start = (key as u32).wrapping_mul(0x9E37_79B9) as usize >> (32 - SLOTS.trailing_zeros());
    slots[start % SLOTS..].iter().chain(&slots[..start % SLOTS])
}

fn find(slots: &[AtomicU64; SLOTS], key: i32) -> Option<i32> {
    for slot in probe(slots, key) {
        match slot.load(Acquire) {
            0 => return None,
            pair if key_of(pair) == key => return Some(pair as i32),
            _ => {}
        }
    }
    None
}

fn put(slots: &[AtomicU64; SLOTS], key: i32, value: i32) -> Result<(), Full> {
    put_if(slots, key, value, |_| true).map(drop)
}

/// Sets the key's value when it has none or `replace` agrees to lose the old one; the value that holds afterwards.
fn put_if(slots: &[AtomicU64; SLOTS], key: i32, value: i32, replace: impl Fn(i32) -> bool) -> Result<i32, Full> {
    for slot in probe(slots, key) {
        let mut seen = slot.load(Acquire);
        while seen == 0 || key_of(seen) == key {
            if seen != 0 && !replace(seen as i32) {
                return Ok(seen as i32);
            }
            match slot.compare_exchange_weak(seen, pack(key, value), AcqRel, Acquire) {
                Ok(_) => return Ok(value),
                Err(now) => seen = now,
            }
        }
    }
    Err(Full)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::alloc::{alloc_zeroed, Layout};
    use std::collections::HashSet;
    use std::vec::Vec;

    fn table() -> &'static IdTable {
        // SAFETY: zeroed memory with the table's size and alignment, leaked.
        unsafe { IdTable::at(alloc_zeroed(Layout::new::<IdTable>())) }.expect("zeroed memory is an empty table")
    }

    fn pair(table: &IdTable, virtual_id: i32, real: i32) {
        table.insert(VirtualPid(virtual_id), RealPid(real)).expect("room");
    }

    #[test]
    fn unknown_ids_stand_for_themselves() {
        assert_eq!(table().to_real(VirtualPid(7)), RealPid(7));
        assert_eq!(table().to_virtual(RealPid(7)), VirtualPid(7));
    }

    #[test]
    fn pairs_translate_both_ways() {
        let table = table();
        pair(table, 100, 200);
        pair(table, 200, 100);
        assert_eq!(table.to_real(VirtualPid(100)), RealPid(200));
        assert_eq!(table.to_virtual(RealPid(200)), VirtualPid(100));
        assert_eq!(table.to_real(VirtualPid(200)), RealPid(100));
    }

    #[test]
    fn a_real_id_that_the_program_does_not_know_is_nobody() {
        let table = table();
        pair(table, 100, 200);
        assert_eq!(table.to_real(VirtualPid(200)), NOBODY);
    }

    #[test]
    fn a_collision_gets_one_number_of_its_own() {
        let table = table();
        pair(table, 100, 200);
        let fresh = table.to_virtual(RealPid(100));
        assert!(fresh.0 >= FIRST_UNUSED as i32);
        assert_eq!(table.to_virtual(RealPid(100)), fresh);
        assert_eq!(table.to_real(fresh), RealPid(100));
    }

    #[test]
    fn a_child_that_was_told_of_before_the_restart_has_its_id() {
        let table = table();
        pair(table, 100, 200);
        table.note_then(RealPid(100), VirtualPid(100)).expect("room");
        assert_eq!(table.born(RealPid(100)), VirtualPid(100));
        assert_eq!(table.born(RealPid(300)), VirtualPid(300));
    }

    #[test]
    fn a_withdrawn_pair_frees_both_numbers() {
        let table = table();
        pair(table, 100, 200);
        table.remove(VirtualPid(100));
        assert_eq!(table.to_real(VirtualPid(100)), RealPid(100));
        assert_eq!(table.to_virtual(RealPid(200)), VirtualPid(200));
        pair(table, 200, 300);
        assert_ne!(table.to_virtual(RealPid(200)), VirtualPid(200));
    }

    #[test]
    fn who_was_forked_is_known_until_it_calls_exec() {
        let table = table();
        table.set_forked(RealPid(7), true);
        table.set_forked(RealPid(8), true);
        table.set_forked(RealPid(7), false);
        assert!(!table.is_forked(RealPid(7)) && table.is_forked(RealPid(8)));
    }

    #[test]
    fn a_wish_is_answered_with_what_the_kernel_said() {
        assert_eq!(Wish::answer(Wish::say(Ok(()))), Ok(()));
        assert_eq!(Wish::answer(Wish::say(Err(13))), Err(13));
    }

    #[test]
    fn a_full_table_says_so_and_still_answers() {
        let table = table();
        let stored = (1..=SLOTS as i32 + 1).take_while(|&i| table.insert(VirtualPid(i), RealPid(-i)).is_ok()).count();
        assert_eq!(stored, SLOTS);
        assert_eq!(table.to_real(VirtualPid(SLOTS as i32)), RealPid(-(SLOTS as i32)));
        assert_eq!(table.to_real(VirtualPid(SLOTS as i32 + 1)), RealPid(SLOTS as i32 + 1));
    }

    #[test]
    fn foreign_memory_is_refused() {
        let mut words = std::vec![1u64; SIZE / 8];
        // SAFETY: aligned, large enough, exclusive.
        assert!(unsafe { IdTable::at(words.as_mut_ptr().cast()) }.is_none());
    }

    #[test]
    fn askers_at_the_same_moment_agree() {
        let table = table();
        const IDS: std::ops::Range<i32> = 1000..1500;
        IDS.for_each(|id| pair(table, id, id + 10_000));
        let answers: Vec<Vec<i32>> = std::thread::scope(|scope| {
            let ask = || IDS.map(|id| table.to_virtual(RealPid(id)).0).collect();
            let askers: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            askers.into_iter().map(|asker| asker.join().expect("no panic")).collect()
        });
        assert!(answers.windows(2).all(|two| two[0] == two[1]));
        assert_eq!(answers[0].iter().collect::<HashSet<_>>().len(), IDS.len());
    }
}
