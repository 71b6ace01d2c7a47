//! Process ids inside siginfo_t.

use super::abi::{load, store};
use crate::ids;
use ckpt_sys::idtable::RealPid;
use libc::{c_int, pid_t, siginfo_t};

/// Replaces the sender's or child's pid by its virtual one, where this signal carries one.
pub fn translate(info: *mut siginfo_t) {
    if !ids::active() {
        return;
    }
    let head: *const c_int = info.cast_const().cast();
    let (Some(sig), Some(code)) = (load(head), load(head.wrapping_add(2))) else {
        return;
    };
    if carries_pid(sig, code) {
        translate_field(info.cast::<u8>().wrapping_add(PID_OFFSET).cast());
    }
}

/// Replaces a real pid at `field` by its virtual one.
pub fn translate_field(field: *mut pid_t) {
    if let Some(pid) = load(field.cast_const()) {
        store(field, ids::to_virtual(RealPid(pid)).0);
    }
}

/// Behind signo, errno, code and (on 64 bits) padding.
pub const PID_OFFSET: usize = 16;

pub fn carries_pid(sig: c_int, code: c_int) -> bool {
    match code {
        libc::SI_USER | libc::SI_TKILL | libc::SI_QUEUE | libc::SI_MESGQ => true,
        1..=6 => sig == libc::SIGCHLD,
        _ => false,
    }
}
