//! `ckpt_publish` and `ckpt_lookup`: what the processes of a computation have to tell each other, and `ckpt_status`: what
//! they may know. Both lie beside the table of ids, which every process maps after a restart, and begin anew with every restart.

use crate::state;
use ckpt_sys::calls::*;
use ckpt_sys::idtable::IdTable;
use core::ffi::{c_char, c_int, c_uint, c_void, CStr};
use core::sync::atomic::{AtomicUsize, Ordering::*};

/// Before the first restart: the agent's names, once somebody has asked for them. A forked child has them too.
static LAUNCHED: AtomicUsize = AtomicUsize::new(0);

fn table() -> Option<&'static IdTable> {
    let table = match state::id_table() {
        0 => launched()?,
        table => table,
    };
    // SAFETY: where the restorer, the constructor or `launched` mapped a table for the process's life.
    unsafe { (table as *const IdTable).as_ref() }
}

fn launched() -> Option<usize> {
    if LAUNCHED.load(Acquire) == 0 {
        let table = crate::init::attach_ids(state::agent_pid(), state::names_fd()?)?;
        // Of two threads that came at once the first counts; the other's mapping is the same memory.
        let _ = LAUNCHED.compare_exchange(0, table, AcqRel, Acquire);
    }
    Some(LAUNCHED.load(Acquire))
}

/// Tells all processes of the computation. 0; -1: not under ckpt, or no room (56 bytes of key, 192 of value, 512 keys).
///
/// # Safety
/// `key` is NUL-terminated, `value` readable for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ckpt_publish(key: *const c_char, value: *const c_void, len: usize) -> c_int {
    let Some(IdTable { names, .. }) = table() else { return -1 };
    // SAFETY: by the contract.
    let (key, value) = unsafe { (CStr::from_ptr(key).to_bytes(), core::slice::from_raw_parts(value.cast::<u8>(), len)) };
    if names.publish(key, value).is_err() {
        return -1;
    }
    futex_wake_all(&names.published);
    0
}

/// What somebody has published under `key`: its whole length, and as much of it as fits. Waits up to `patience_ms` for
/// it. -1: nobody has, or not under ckpt.
///
/// # Safety
/// `key` is NUL-terminated, `value` writable for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ckpt_lookup(key: *const c_char, value: *mut c_void, len: usize, patience_ms: c_uint) -> c_int {
    let Some(IdTable { names, .. }) = table() else { return -1 };
    // SAFETY: by the contract.
    let (key, value) = unsafe { (CStr::from_ptr(key).to_bytes(), core::slice::from_raw_parts_mut(value.cast::<u8>(), len)) };
    let deadline = monotonic_ns() + u64::from(patience_ms) * 1_000_000;
    loop {
        let seen = names.published.load(Acquire);
        if let Some(len) = names.look_up(key, value) {
            return len as c_int;
        }
        let left = deadline.saturating_sub(monotonic_ns()).div_ceil(1_000_000);
        if left == 0 {
            return -1;
        }
        let _ = futex_wait(&names.published, seen, left as i64);
    }
}

/// include/ckpt/ckpt.h; what is added comes at the end.
#[repr(C)]
struct Status {
    /// bytes of it that were filled in
    size: u32,
    restarts: u32,
    /// newest complete checkpoint
    generation: u32,
    /// a checkpoint could be asked for
    ready: u32,
    /// since 1970
    at_us: u64,
    computation: [u8; 40],
}

/// What a process may know of its computation. 0; -1: not under ckpt.
///
/// # Safety
/// `status` is writable for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ckpt_status(status: *mut c_void, len: usize) -> c_int {
    if crate::api::ckpt_enabled() == 0 {
        return -1;
    }
    let Some(notice) = table().and_then(|table| table.board.read()) else { return -1 };
    let size = size_of::<Status>().min(len);
    let mut told = Status {
        size: size as u32,
        restarts: state::restarts(),
        generation: notice.generation,
        ready: crate::api::agent_lives() as u32,
        at_us: notice.at_us,
        computation: [0; 40],
    };
    for (i, byte) in notice.computation.iter().enumerate() {
        told.computation[2 * i] = b"0123456789abcdef"[(byte >> 4) as usize];
        told.computation[2 * i + 1] = b"0123456789abcdef"[(byte & 15) as usize];
    }
    // SAFETY: by the contract; as much as both have.
    unsafe { core::ptr::copy_nonoverlapping((&raw const told).cast::<u8>(), status.cast::<u8>(), size) };
    0
}
