//! popen(3): libc's own starts the shell by an internal call, with `environ`.

use super::abi::{environment, hook, load, set_environment, store, Plain};
use super::environment::for_program;
use super::lock::Lock;
use super::scratch::Scratch;
use crate::ids;
use ckpt_sys::idtable::{RealPid, VirtualPid};
use core::cell::UnsafeCell;
use core::ffi::{c_char, c_int};
use libc::{pid_t, FILE};

hook! { fn popen(command: *const c_char, mode: *const c_char) -> *mut FILE => popen }
hook! { fn pclose(stream: *mut FILE) -> c_int, when ids::active() => pclose }

/// The block outlives the call: another thread may be reading `environ` when it is put back.
struct Augmented {
    lock: Lock,
    block: UnsafeCell<Scratch>,
}

// SAFETY: `block` is touched by the lock's holder only.
unsafe impl Sync for Augmented {}

static AUGMENTED: Augmented = Augmented { lock: Lock::new(), block: UnsafeCell::new(Scratch::new()) };

fn popen(command: *const c_char, mode: *const c_char) -> Plain<*mut FILE> {
    let _held = AUGMENTED.lock.hold();
    let own = environment();
    // SAFETY: the lock is held.
    let block = unsafe { &mut *AUGMENTED.block.get() };
    let Ok(with_library) = for_program(block, c"/bin/sh".as_ptr(), own, crate::times::Exec::now()) else {
        return Plain(popen::next(command, mode));
    };
    set_environment(with_library);
    let restarts = crate::state::restarts();
    let stream = popen::next(command, mode);
    if environment() == with_library {
        set_environment(own);
    }
    rewrite_pid(stream, |pid| ids::of_child(RealPid(pid), restarts).0);
    Plain(stream)
}

fn pclose(stream: *mut FILE) -> Plain<c_int> {
    rewrite_pid(stream, |pid| ids::to_real(VirtualPid(pid)).0);
    Plain(pclose::next(stream))
}

/// glibc's `struct _IO_proc_file` keeps the shell's pid behind a `struct _IO_FILE_plus`. Between popen and pclose it
/// is a virtual one, so that it stays true over a restart.
#[cfg(target_pointer_width = "64")]
const PID_OFFSET: usize = 224;

fn rewrite_pid(stream: *mut FILE, translate: impl FnOnce(pid_t) -> pid_t) {
    if !ids::active() || stream.is_null() {
        return;
    }
    let field: *mut pid_t = stream.cast::<u8>().wrapping_add(PID_OFFSET).cast();
    if let Some(pid) = load(field.cast_const()) {
        store(field, translate(pid));
    }
}
