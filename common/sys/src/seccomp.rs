//! What a process notes of its seccomp filters (seccomp(2)): the kernel shows them to privileged tracers alone. The library
//! writes it inside, the agent reads it from outside; it lies in memory of the process, so that a fork copies it and an image has it.

use core::sync::atomic::AtomicU32;

pub const SET_MODE_STRICT: u32 = 0;
pub const SET_MODE_FILTER: u32 = 1;
pub const TSYNC: u32 = 1 << 0;
pub const LOG: u32 = 1 << 1;
pub const SPEC_ALLOW: u32 = 1 << 2;
pub const NEW_LISTENER: u32 = 1 << 3;

/// `struct sock_filter` (linux/filter.h).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Instruction {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}

/// `struct sock_fprog`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Program {
    pub len: u16,
    pub filter: *const Instruction,
}

pub const MAGIC: [u64; 2] = [0x7365_6c69_665f_7063, 0x9d3b_51c6_0ea2_47f8];
/// Filters noted at most; the kernel's own limit is on instructions.
pub const FILTERS: usize = 128;
/// MAX_INSNS_PER_PATH (kernel/seccomp.c)
pub const INSTRUCTIONS: usize = 32768;
/// Threads that lack some of the filters, at most.
pub const LACKING: usize = 4096;

/// One filter: the call it was set by, seccomp(2)'s flags, and which of the instructions.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Noted {
    pub by: u32,
    pub flags: u32,
    pub at: u32,
    pub len: u32,
}

/// A thread, known by its signal frame, that was made before the last so many filters were set.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Lacking {
    pub frame: u64,
    pub filters: u64,
}

#[repr(C)]
pub struct Head {
    pub magic: [u64; 2],
    /// filters, the oldest first; every one holds for the main thread
    pub count: AtomicU32,
    /// not 0: there are filters that are not here
    pub incomplete: AtomicU32,
    pub instructions: u32,
    pub lacking: u32,
    /// bytes of `text` that are used; 0: the filters do not fit
    pub text: u32,
    pub filters: [Noted; FILTERS],
}

#[repr(C)]
pub struct Notes {
    pub head: Head,
    pub instructions: [Instruction; INSTRUCTIONS],
    pub lacking: [Lacking; LACKING],
    /// `VARIABLE` and the filters, ended by NUL: for the environment of a program that is exec'ed
    pub text: [u8; TEXT],
}

/// MAX_ARG_STRLEN, the most that exec(2) takes as one string.
pub const TEXT: usize = 32 * crate::PAGE;
pub const VARIABLE: &[u8] = b"CKPT_FILTERS=";
/// Characters of one word in it.
const DIGITS: usize = 6;

/// A word as text, six bits a character, which is never NUL or a comma.
pub fn written(word: u32) -> [u8; DIGITS] {
    core::array::from_fn(|i| b'0' + (word >> (6 * i) & 63) as u8)
}

/// The words of such a text; it ends where there is none.
pub fn words(text: &[u8]) -> impl Iterator<Item = u32> + use<'_> {
    let word = |digits: &[u8]| {
        let bits = |word: u64, (i, d): (usize, &u8)| Some(word | u64::from(d.checked_sub(b'0').filter(|d| *d < 64)?) << (6 * i));
        u32::try_from(digits.iter().enumerate().try_fold(0, bits)?).ok()
    };
    text.chunks_exact(DIGITS).map_while(word)
}

/// Of the mapping, in bytes: by this the agent finds it.
pub const SIZE: usize = crate::page_up(size_of::<Notes>());

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn words_come_back() {
        for word in [0, 1, 0x3f, 0x40, 0x7fff_0000, u32::MAX] {
            let text = [written(word), written(7)].concat();
            assert!(words(&text).eq([word, 7]));
            assert!(text.iter().all(|c| c.is_ascii() && *c > b' ' && *c != b','));
        }
    }

    #[test]
    fn what_is_no_word_ends_them() {
        assert_eq!(words(b"00000").count() + words(b"").count() + words(b"00000 100000").count() + words(b"oooooo").count(), 0);
    }
}
