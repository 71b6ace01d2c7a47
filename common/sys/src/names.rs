//! Names that the processes of a computation tell each other: keys and values in shared memory.
//!
//! An entry is claimed by counting, filled, and marked last; nobody waits for a process that died in between, which
//! leaves an entry that is never found. The newest of equal keys counts.

use core::sync::atomic::{AtomicU32, AtomicU8, Ordering::*};

pub const ENTRIES: usize = 512;
/// Bytes of a key and of a value, at most.
pub const MAX_KEY: usize = 56;
pub const MAX_VALUE: usize = 192;

#[repr(C)]
struct Entry {
    /// 1 with a key and value in place
    ready: AtomicU32,
    key_len: AtomicU32,
    value_len: AtomicU32,
    key: [AtomicU8; MAX_KEY],
    value: [AtomicU8; MAX_VALUE],
}

/// All zero when new.
#[repr(C)]
pub struct Names {
    claimed: AtomicU32,
    /// Bumped with each entry; futex of those who wait for one.
    pub published: AtomicU32,
    entries: [Entry; ENTRIES],
}

/// No room: 512 entries are taken, or the key or value is too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoRoom;

impl Names {
    /// The number of its entry.
    pub fn publish(&self, key: &[u8], value: &[u8]) -> Result<usize, NoRoom> {
        if key.is_empty() || key.len() > MAX_KEY || value.len() > MAX_VALUE {
            return Err(NoRoom);
        }
        let claimed = self.claimed.fetch_update(AcqRel, Acquire, |n| (n < ENTRIES as u32).then_some(n + 1));
        let number = claimed.map_err(|_| NoRoom)? as usize;
        let entry = &self.entries[number];
        fill(&entry.key, key);
        fill(&entry.value, value);
        entry.key_len.store(key.len() as u32, Release);
        entry.value_len.store(value.len() as u32, Release);
        entry.ready.store(1, Release);
        self.published.fetch_add(1, AcqRel);
        Ok(number)
    }

    /// Every entry that is in place, the oldest first: number, key, value.
    pub fn each(&self, mut look: impl FnMut(usize, &[u8], &[u8])) {
        let claimed = (self.claimed.load(Acquire) as usize).min(ENTRIES);
        for (number, entry) in self.entries[..claimed].iter().enumerate().filter(|(_, e)| e.ready.load(Acquire) == 1) {
            let (mut key, mut value) = ([0; MAX_KEY], [0; MAX_VALUE]);
            let key = take(&mut key, &entry.key, &entry.key_len);
            look(number, key, take(&mut value, &entry.value, &entry.value_len));
        }
    }

    /// The newest value of `key`, as much as fits, and its whole length.
    pub fn look_up(&self, key: &[u8], value: &mut [u8]) -> Option<usize> {
        let claimed = (self.claimed.load(Acquire) as usize).min(ENTRIES);
        let entry = self.entries[..claimed].iter().rev().find(|e| e.ready.load(Acquire) == 1 && e.is(key))?;
        let len = (entry.value_len.load(Acquire) as usize).min(MAX_VALUE);
        for (to, from) in value.iter_mut().zip(&entry.value[..len]) {
            *to = from.load(Acquire);
        }
        Some(len)
    }
}

/// Memory segments (System V) whose ids an ordinary user could not choose: what the program calls them, and the kernel.
impl Names {
    pub fn rename_segment(&self, known: i32, now: i32) -> Result<(), NoRoom> {
        self.publish(&segment(b'>', known), &now.to_le_bytes())?;
        self.publish(&segment(b'<', now), &known.to_le_bytes()).map(drop)
    }

    /// The kernel's id.
    pub fn segment_now(&self, known: i32) -> i32 {
        self.renamed(b'>', known)
    }

    /// The program's id.
    pub fn segment_known(&self, now: i32) -> i32 {
        self.renamed(b'<', now)
    }

    fn renamed(&self, way: u8, id: i32) -> i32 {
        let mut other = [0; 4];
        self.look_up(&segment(way, id), &mut other).map_or(id, |_| i32::from_le_bytes(other))
    }
}

/// Of this host alone: no name of a plugin begins so.
pub fn is_local(key: &[u8]) -> bool {
    key.first() == Some(&0)
}

fn segment(way: u8, id: i32) -> [u8; 10] {
    let [a, b, c, d] = id.to_le_bytes();
    [0, b's', b'h', b'm', way, 0, a, b, c, d]
}

impl Entry {
    fn is(&self, key: &[u8]) -> bool {
        self.key_len.load(Acquire) as usize == key.len() && self.key.iter().zip(key).all(|(a, b)| a.load(Acquire) == *b)
    }
}

fn take<'a>(to: &'a mut [u8], from: &[AtomicU8], len: &AtomicU32) -> &'a [u8] {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = from.load(Acquire));
    &to[..(len.load(Acquire) as usize).min(from.len())]
}

fn fill(to: &[AtomicU8], from: &[u8]) {
    to.iter().zip(from).for_each(|(to, from)| to.store(*from, Release));
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;

    fn names() -> &'static Names {
        // SAFETY: zero is a value of every field.
        std::boxed::Box::leak(unsafe { std::boxed::Box::<Names>::new_zeroed().assume_init() })
    }

    #[test]
    fn the_newest_of_equal_keys_counts() {
        let names = names();
        let mut value = [0; 8];
        assert_eq!(names.look_up(b"port", &mut value), None);
        names.publish(b"port", b"1234").unwrap();
        names.publish(b"portal", b"x").unwrap();
        names.publish(b"port", b"987").unwrap();
        assert_eq!((names.look_up(b"port", &mut value), &value[..3]), (Some(3), &b"987"[..]));
        assert_eq!(names.look_up(b"portal", &mut value[..0]), Some(1));
    }

    #[test]
    fn all_are_told_by_number() {
        let names = names();
        assert_eq!((names.publish(b"a", b"1"), names.publish(b"b", b"")), (Ok(0), Ok(1)));
        let mut seen = std::vec::Vec::new();
        names.each(|number, key, value| seen.push((number, key.to_vec(), value.to_vec())));
        assert_eq!(seen, [(0, b"a".to_vec(), b"1".to_vec()), (1, b"b".to_vec(), std::vec::Vec::new())]);
    }

    #[test]
    fn a_segment_is_known_by_the_id_that_it_had() {
        let names = names();
        names.rename_segment(7, 9).unwrap();
        assert_eq!((names.segment_now(7), names.segment_known(9)), (9, 7));
        assert_eq!((names.segment_now(9), names.segment_known(7)), (9, 7));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let names = names();
        assert_eq!(names.publish(b"", b"x"), Err(NoRoom));
        assert_eq!(names.publish(&[1; MAX_KEY + 1], b"x"), Err(NoRoom));
        assert_eq!(names.publish(b"k", &[1; MAX_VALUE + 1]), Err(NoRoom));
        for _ in 0..ENTRIES {
            names.publish(b"k", b"v").unwrap();
        }
        assert_eq!(names.publish(b"k", b"v"), Err(NoRoom));
    }
}
