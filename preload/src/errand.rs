//! One message to the agent from the running program: by a thread that lives for it alone, whose descriptors are not the
//! program's; by the caller where it may start none.

use crate::channel::Channel;
use crate::{asm, state};
use ckpt_sys::calls::*;
use ckpt_sys::flat::Msg;
use ckpt_sys::raw::*;
use core::sync::atomic::{AtomicU32, Ordering::*};

struct Errand {
    message: Msg,
    body: (*const u8, usize),
    stack: usize,
    done: AtomicU32,
    sent: AtomicU32,
}

const STACK: usize = 64 << 10;

/// Signals stay away until the thread has gone, or it would be counted among the program's threads. Errors: ECONNREFUSED
/// when the agent is gone.
pub fn send(message: Msg, body: &[u8]) -> Result<()> {
    let stack = map_anon(STACK)? as usize;
    let errand = Errand { message, body: (body.as_ptr(), body.len()), stack, done: AtomicU32::new(0), sent: AtomicU32::new(0) };
    let (all, mut old) = (u64::MAX, 0u64);
    let flags = libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_SIGHAND | libc::CLONE_THREAD | libc::CLONE_SYSVSEM;
    // SAFETY: masks are 8 bytes; the stack is the thread's alone, and `errand` outlives it: see the wait below.
    let made = unsafe {
        syscall4(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK as usize, &raw const all as usize, &raw mut old as usize, 8)?;
        check(asm::clone_thread(flags as usize, stack + STACK - 64, run, &raw const errand as usize))
    };
    if made == Err(Errno::AGAIN) {
        errand.deliver();
    }
    while made.is_ok() && errand.done.load(Acquire) == 0 {
        let _ = futex_wait(&errand.done, 0, -1);
    }
    // SAFETY: as above; a stack that no thread came to use goes here.
    unsafe {
        let _ = syscall4(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK as usize, &raw const old as usize, 0, 8);
        if let Err(e) = made {
            let _ = munmap(stack, STACK);
            if e != Errno::AGAIN {
                return Err(e);
            }
        }
    }
    if errand.sent.load(Acquire) != 0 { Ok(()) } else { Err(Errno(libc::ECONNREFUSED)) }
}

impl Errand {
    fn deliver(&self) {
        let Ok(channel) = Channel::connect(state::agent_name()) else { return };
        // SAFETY: `send` keeps what it was given until `done`.
        let body = unsafe { core::slice::from_raw_parts(self.body.0, self.body.1) };
        self.sent.store(channel.send_with(self.message, body, &[]).is_ok() as u32, Release);
        // Seqpacket: what was sent is read by the agent also after this end is closed.
        close(channel.fd());
    }
}

unsafe extern "C" fn run(errand: usize) -> ! {
    // SAFETY: `send` passes its Errand and waits for `done`.
    let errand = unsafe { &*(errand as *const Errand) };
    let stack = errand.stack;
    errand.deliver();
    let done = &raw const errand.done;
    errand.done.store(1, Release);
    // SAFETY: only the address counts; the word may be gone by now.
    let _ = unsafe { syscall3(libc::SYS_futex, done as usize, libc::FUTEX_WAKE as usize, i32::MAX as usize) };
    // SAFETY: the stack is ours and used by nobody after this.
    unsafe { asm::unmap_exit(stack, STACK, 0) }
}
