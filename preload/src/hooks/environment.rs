//! The environment that a new program gets: the program's own plus our variables.

use super::abi::{array, bytes};
use super::scratch::Scratch;
use crate::state;
use crate::times::{Exec, STAMP};
use ckpt_sys::raw::Result;
use core::ffi::{c_char, CStr};

const PRELOAD: &[u8] = b"LD_PRELOAD=";
const AGENT: &[u8] = b"CKPT_AGENT=";

/// These of our tools start without the library: they are not part of a computation.
const TOOLS: [&[u8]; 3] = [b"ckpt_command", b"ckpt_coordinator", b"ckpt_restart"];

pub type Strings = *const *const c_char;

/// What the `exec` of `program` with `envp` shall hand over: `envp` itself when the library stays out of it.
/// The array lives in `scratch`.
pub fn for_program(scratch: &mut Scratch, program: *const c_char, envp: Strings, exec: Exec) -> Result<Strings> {
    match state::preload_env() {
        Some(ours) if !is_tool(bytes(program)) => inject(scratch, envp, ours, exec),
        _ => Ok(envp),
    }
}

fn is_tool(path: &[u8]) -> bool {
    let base = path.rsplit(|&b| b == b'/').next().unwrap_or(path);
    TOOLS.contains(&base)
}

/// A copy of the array with LD_PRELOAD in its old place (or last) and the others behind everything.
fn inject(scratch: &mut Scratch, envp: Strings, (preload, agent): (&CStr, &CStr), exec: Exec) -> Result<Strings> {
    let given = array(envp);
    let theirs = given.iter().find_map(|&e| bytes(e).strip_prefix(PRELOAD)).unwrap_or(&[]);
    let slots = (given.len() + 4) * size_of::<*const c_char>();
    let text = preload.to_bytes().len() + theirs.len() + 2;
    let stamped = agent.to_bytes().len() + STAMP;
    let block = scratch.reserve(slots + text + stamped)?;
    // SAFETY: the block holds `slots` bytes of pointers, then `text` bytes, then `stamped` bytes.
    let (merged, agent) = unsafe {
        (merge(block.add(slots), preload.to_bytes(), theirs), stamp(block.add(slots + text), agent.to_bytes(), exec))
    };
    let out: *mut *const c_char = block.cast();
    let mut n = 0;
    let mut push = |entry: *const c_char| {
        // SAFETY: at most given.len() + 4 entries are pushed.
        unsafe { out.add(n).write(entry) };
        n += 1;
    };
    let mut placed = false;
    for &entry in given {
        let value = bytes(entry);
        if value.starts_with(PRELOAD) {
            if !placed {
                push(merged);
                placed = true;
            }
        } else if !value.starts_with(AGENT) {
            push(entry);
        }
    }
    if !placed {
        push(merged);
    }
    push(agent);
    if let Some(filters) = crate::filters::variable() {
        push(filters);
    }
    push(core::ptr::null());
    Ok(out)
}

/// `LD_PRELOAD=ours[:theirs]`, NUL-terminated, at `to`.
///
/// # Safety
/// `to` has room for both, a colon and a NUL.
unsafe fn merge(to: *mut u8, ours: &[u8], theirs: &[u8]) -> *const c_char {
    let mut at = to;
    let mut append = |part: &[u8]| {
        // SAFETY: by the contract.
        unsafe {
            core::ptr::copy_nonoverlapping(part.as_ptr(), at, part.len());
            at = at.add(part.len());
        }
    };
    append(ours);
    if !theirs.is_empty() {
        append(b":");
        append(theirs);
    }
    append(b"\0");
    to.cast()
}

/// `CKPT_AGENT=...` with the time behind it, at `to`.
///
/// # Safety
/// `to` has room for `agent` and a stamp.
unsafe fn stamp(to: *mut u8, agent: &[u8], exec: Exec) -> *const c_char {
    // SAFETY: by the contract.
    unsafe {
        core::ptr::copy_nonoverlapping(agent.as_ptr(), to, agent.len());
        crate::times::stamp(to.add(agent.len()), exec);
    }
    to.cast()
}

/// The value of a variable of this process (`getenv(3)`, of which we want no lock and no hook).
pub fn variable<'a>(name_and_equals: &[u8]) -> Option<&'a [u8]> {
    array(super::abi::environment()).iter().find_map(|&e| bytes(e).strip_prefix(name_and_equals))
}
