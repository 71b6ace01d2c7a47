//! A thread whose alternate signal stack has no room for our signal is not to get it.

use crate::handler::InCall;
use crate::{procfs, signals};
use ckpt_sys::calls::getpid;
use ckpt_sys::handler_stack::{LOOKED_AT, cramped};
use ckpt_sys::raw::*;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};

/// What the kernel needs for a frame (AT_MINSIGSTKSZ), in bytes; 0: not known.
static FRAME: AtomicU64 = AtomicU64::new(0);

/// Signals with a handler that runs on an alternate stack, as a mask.
static ON_STACK: AtomicU64 = AtomicU64::new(0);

/// For the constructor.
pub fn note_frame(bytes: u64) {
    FRAME.store(bytes, Relaxed);
}

/// Is the thread in a handler, on a stack that is too small for one more signal? Of one that runs nobody knows where its
/// stack is: where it seems to be in a handler, it is looked at again a few times.
pub fn is(tid: i32, in_call: Option<&InCall>, looks: &AtomicU32) -> bool {
    const LOOKS: u32 = 4;
    const SEEN: u32 = 1 << 31;
    let (frame, handled) = (FRAME.load(Relaxed), ON_STACK.load(Relaxed));
    if frame == 0 || handled == 0 {
        return false;
    }
    match in_call {
        Some(call) => {
            let crowded = has_no_room(call[7], frame);
            looks.store(if crowded { SEEN } else { 0 }, Relaxed);
            crowded
        }
        // Where it was seen on such a stack it still is, as long as its signal is blocked.
        None => procfs::blocked(tid) & handled != 0 && !(LOOKS..SEEN).contains(&looks.fetch_add(1, Relaxed)),
    }
}

fn has_no_room(sp: u64, frame: u64) -> bool {
    let mut above = [MaybeUninit::<u8>::uninit(); LOOKED_AT];
    let (local, remote) = ([above.as_mut_ptr() as usize, LOOKED_AT], [sp as usize, LOOKED_AT]);
    // SAFETY: iovecs of the buffer and of memory that the kernel checks.
    let read = unsafe {
        syscall6(libc::SYS_process_vm_readv, getpid() as usize, local.as_ptr() as usize, 1, remote.as_ptr() as usize, 1, 0)
    };
    // SAFETY: so many bytes were written.
    let above = unsafe { core::slice::from_raw_parts(above.as_ptr().cast::<u8>(), read.unwrap_or(0)) };
    cramped(sp, above, frame).is_some()
}

/// Before a look at the threads: most programs have no such handler.
pub fn look() {
    let on_stack = |act: ckpt_sys::flat::SigAction| act.flags & libc::SA_ONSTACK as u64 != 0 && act.handler > libc::SIG_IGN as u64;
    let others = (1..=64).filter(|&sig| sig != crate::state::ckpt_signal());
    let found = others.filter(|&sig| signals::action(sig).is_ok_and(on_stack)).fold(0, |mask, sig| mask | signals::bit(sig));
    ON_STACK.store(found, Relaxed);
}
