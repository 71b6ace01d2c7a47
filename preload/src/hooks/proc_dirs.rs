//! readdir(3) of /proc and /proc/PID/task: names are ids. The entry lies in libc's buffer of the stream, so it is
//! renamed in place, where the new name fits.

use super::abi::{ask, bytes, hook, load, store, Next, Plain};
use super::proc_paths::{decimal, id};
use crate::ids;
use ckpt_sys::idtable::RealPid;
use core::ffi::{c_char, c_int, c_void};
use core::mem::offset_of;
use libc::dirent64;

hook! { unchecked fn readdir(dir: *mut c_void) -> *mut dirent64, when ids::active() => readdir }
hook! { unchecked fn readdir64(dir: *mut c_void) -> *mut dirent64, when ids::active() => readdir64 }

fn readdir(dir: *mut c_void) -> Plain<*mut dirent64> {
    Plain(renamed(dir, readdir::next(dir)))
}

fn readdir64(dir: *mut c_void) -> Plain<*mut dirent64> {
    Plain(renamed(dir, readdir64::next(dir)))
}

const NAME: usize = offset_of!(dirent64, d_name);

fn renamed(dir: *mut c_void, entry: *mut dirent64) -> *mut dirent64 {
    if entry.is_null() {
        return entry;
    }
    let name = entry.cast::<u8>().wrapping_add(NAME);
    let room = load(entry.cast_const().cast::<u8>().wrapping_add(offset_of!(dirent64, d_reclen)).cast::<u16>());
    let Some(real) = id(bytes(name.cast_const().cast::<c_char>())).filter(|_| is_proc(dir)) else {
        return entry;
    };
    let mut digits = [0; super::proc_paths::DIGITS];
    let known = decimal(ids::to_virtual(RealPid(real)).0, &mut digits);
    if room.is_some_and(|room| NAME + known.len() < room as usize) {
        for (i, &byte) in known.iter().chain(&[0]).enumerate() {
            store(name.wrapping_add(i), byte);
        }
    }
    entry
}

fn is_proc(dir: *mut c_void) -> bool {
    static DIRFD: Next = Next::new("dirfd\0");
    // SAFETY: libc's dirfd has this signature.
    let dirfd: unsafe extern "C" fn(*mut c_void) -> c_int = unsafe { core::mem::transmute(DIRFD.address()) };
    // SAFETY: an open stream of the program's.
    let fd = unsafe { dirfd(dir) };
    let mut status = [0u64; 15];
    ask!(libc::SYS_fstatfs, fd, status.as_mut_ptr()).is_ok() && status[0] == libc::PROC_SUPER_MAGIC as u64
}
