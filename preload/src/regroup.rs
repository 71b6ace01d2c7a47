//! setpgid(2) of a child that the program forked and that had to be restored by an exec, while ids are virtual: the
//! kernel refuses it to the parent from then on, never to the child itself. So the child is asked, by our signal.

use crate::hooks::Queued;
use crate::{ids, state};
use ckpt_sys::calls::*;
use ckpt_sys::idtable::{RealPid, Wish};
use ckpt_sys::raw::*;
use core::sync::atomic::Ordering::*;

/// What comes with the signal, so that it is not taken for a checkpoint's.
const ASKS: usize = 0x636b_7074_0000_0001;
const STEP_MS: i64 = 20;
const STEPS: usize = 100;

/// Real ids. Errors: EACCES, as the kernel has said, when it does not come to it.
pub fn ask(pid: i32, group: i32) -> Result<()> {
    let wish = ids::wish(RealPid(pid)).ok_or(Errno(libc::EACCES))?;
    wish.group.store(group, Release);
    wish.pid.store(pid, Release);
    wish.state.store(Wish::ASKED, Release);
    let answer = signal(pid).and_then(|()| wait(wish, pid));
    wish.pid.store(0, Release);
    wish.state.store(Wish::FREE, Release);
    answer
}

fn signal(pid: i32) -> Result<()> {
    let info = Queued::new(state::ckpt_signal(), ASKS)?;
    // SAFETY: info is a siginfo_t.
    unsafe { syscall3(libc::SYS_rt_sigqueueinfo, pid as usize, state::ckpt_signal() as usize, &raw const info as usize) }.map(drop)
}

fn wait(wish: &Wish, pid: i32) -> Result<()> {
    for _ in 0..STEPS {
        // The kernel moves one that has ended and was not waited for, too: nobody can tell.
        if has_ended(pid) {
            return Ok(());
        }
        match wish.state.load(Acquire) {
            Wish::ASKED if ids::is_forked(RealPid(pid)) => drop(futex_wait(&wish.state, Wish::ASKED, STEP_MS)),
            Wish::ASKED | Wish::FREE | Wish::CLAIMED => break,
            answer => return Wish::answer(answer).map_err(Errno),
        }
    }
    Err(Errno(libc::EACCES))
}

fn has_ended(child: i32) -> bool {
    let how = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    let mut info = [0i32; 32];
    // SAFETY: info is as large as a siginfo_t; WNOWAIT leaves the child.
    let asked = unsafe { syscall5(libc::SYS_waitid, libc::P_PID as usize, child as usize, info.as_mut_ptr() as usize, how as usize, 0) };
    asked.is_ok() && info[0] == libc::SIGCHLD
}

/// Does this signal come from `ask`?
///
/// # Safety
/// `info` is the kernel's, or null.
pub unsafe fn is_asked(info: *const libc::siginfo_t) -> bool {
    // SAFETY: by the contract.
    !info.is_null() && unsafe { (*info).si_code == libc::SI_QUEUE && (*info).si_value().sival_ptr as usize == ASKS }
}

/// In the child's handler.
pub fn serve() {
    let own = getpid();
    for wish in ids::wishes().iter().filter(|w| w.pid.load(Acquire) == own && w.state.load(Acquire) == Wish::ASKED) {
        // SAFETY: numbers only.
        let done = unsafe { syscall2(libc::SYS_setpgid, 0, wish.group.load(Acquire) as usize) };
        let answer = Wish::say(done.map(drop).map_err(|e| e.0));
        let _ = wish.state.compare_exchange(Wish::ASKED, answer, AcqRel, Acquire);
        futex_wake_all(&wish.state);
    }
}
