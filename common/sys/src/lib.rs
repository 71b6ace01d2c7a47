//! The kernel as the library meets it: inline system calls, error numbers, /proc parsers. No libc names.
#![no_std]

pub mod board;
pub mod calls;
pub mod crc;
pub mod fault;
pub mod flat;
pub mod handler_stack;
pub mod idtable;
pub mod names;
pub mod pagemap;
pub mod procfs;
pub mod raw;
pub mod sched;
pub mod seccomp;
pub mod stand_in;
pub mod starts;

pub use raw::{Errno, Result};

pub const PAGE: usize = 4096;

pub const fn page_up(n: usize) -> usize {
    (n + PAGE - 1) & !(PAGE - 1)
}
