//! Faults on purpose inside the process, for tests: nothing unless compiled in. `CKPT_FAULT` is read once; it strikes in
//! every process but the one that was launched, so that one is left to tell.

use crate::init::find;
use crate::state;
use ckpt_sys::calls::getpid;
use ckpt_sys::fault::{self, Effect, Stage};
use ckpt_sys::raw::Result;
use core::ffi::{CStr, c_char};

/// # Safety
/// `envp` is the process's NULL-terminated environment.
pub unsafe fn arm(envp: *mut *mut c_char) {
    if !fault::COMPILED_IN {
        return;
    }
    // SAFETY: by the contract; environment strings are NUL-terminated.
    let text = unsafe { find(envp, b"CKPT_FAULT=").map(|at| CStr::from_ptr(*at).to_bytes()) };
    if let Some(text) = text.and_then(|t| core::str::from_utf8(t.get(11..)?).ok()) {
        fault::arm(text);
    }
}

pub fn at(stage: Stage) -> Result<()> {
    due(stage).map_or(Ok(()), fault::strike)
}

/// What is to strike in the frozen copy, which does not count.
pub fn due(stage: Stage) -> Option<Effect> {
    if !fault::COMPILED_IN || state::program() == getpid() { None } else { fault::due(stage) }
}
