//! Memory for a hook that may run in a vfork child or a signal handler: its stack, or a mapping when that is too small.

use ckpt_sys::calls::{map_anon, munmap};
use ckpt_sys::page_up;
use ckpt_sys::raw::Result;
use core::mem::MaybeUninit;

const WORDS: usize = 640;

/// Room for one block. In a vfork child a mapping that an exec leaves behind stays in the parent, so the stack
/// part is large enough for nearly every environment.
pub struct Scratch {
    stack: MaybeUninit<[u64; WORDS]>,
    mapping: Option<(usize, usize)>,
}

impl Scratch {
    pub const fn new() -> Self {
        Scratch { stack: MaybeUninit::uninit(), mapping: None }
    }

    /// `bytes` of 8-aligned memory with arbitrary content, valid until the next call or the end of `self`.
    pub fn reserve(&mut self, bytes: usize) -> Result<*mut u8> {
        self.release();
        if bytes <= size_of::<[u64; WORDS]>() {
            return Ok(self.stack.as_mut_ptr().cast());
        }
        let len = page_up(bytes);
        let at = map_anon(len)?;
        self.mapping = Some((at as usize, len));
        Ok(at)
    }

    fn release(&mut self) {
        if let Some((at, len)) = self.mapping.take() {
            // SAFETY: our own mapping; by the contract of `reserve` nobody uses it any more.
            let _ = unsafe { munmap(at, len) };
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.release();
    }
}
