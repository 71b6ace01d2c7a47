//! `ckpt_restart --modify-env`: another environment for a program that runs on. Nobody else runs yet, so that no lock of
//! libc's is needed; strings and array lie in a mapping of their own, which stays.

use crate::hooks::{array, bytes, environment, set_environment};
use ckpt_sys::calls::map_anon;
use core::ffi::c_char;

/// `changes`: `NAME=VALUE`, or `NAME` to remove it, each with a NUL behind it.
pub fn apply(changes: &[u8]) {
    if changes.last() != Some(&0) {
        return;
    }
    let old = array(environment());
    let count = changes.iter().filter(|&&b| b == 0).count();
    let slots = (old.len() + count + 1) * size_of::<*const c_char>();
    let Ok(block) = map_anon(slots + changes.len()) else { return };
    let list = block.cast::<*const c_char>();
    let mut len = 0;
    let mut push = |entry: *const c_char| {
        // SAFETY: at most old.len() + count + 1 entries are pushed.
        unsafe { list.add(len).write(entry) };
        len += 1;
    };
    let is_changed = |entry: &[u8]| strings(changes).any(|(_, change)| name(change) == name(entry));
    old.iter().filter(|&&entry| !is_changed(bytes(entry))).for_each(|&entry| push(entry));
    // SAFETY: the block has room for the text behind the slots.
    let text = unsafe {
        let text = block.add(slots);
        core::ptr::copy_nonoverlapping(changes.as_ptr(), text, changes.len());
        text
    };
    for (at, change) in strings(changes).filter(|(_, change)| change.contains(&b'=')) {
        let last = !strings(&changes[at + change.len() + 1..]).any(|(_, later)| name(later) == name(change));
        if last {
            // SAFETY: within the text.
            push(unsafe { text.add(at) }.cast::<c_char>().cast_const());
        }
    }
    push(core::ptr::null());
    set_environment(list.cast_const());
}

/// Each string and where it begins.
fn strings(all: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    all.split(|&b| b == 0).filter_map(move |s| {
        let begin = at;
        at += s.len() + 1;
        (!s.is_empty()).then_some((begin, s))
    })
}

fn name(entry: &[u8]) -> &[u8] {
    entry.split(|&b| b == b'=').next().unwrap_or(entry)
}
