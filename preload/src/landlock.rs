//! Is the process in a Landlock domain? No call tells, but a task can be in 16 at most, one in another: a helper, which
//! has this thread's credentials and takes them with it, enters as many as it may.

use crate::arena::Arena;
use crate::writer::WALL;
use crate::{asm, procfs, state};
use ckpt_sys::calls::*;
use ckpt_sys::raw::*;

/// LANDLOCK_MAX_NUM_LAYERS; 64 before Linux 5.19, the second version.
const MOST: u32 = 16;
const CREATE_RULESET: i64 = 444;
const RESTRICT_SELF: i64 = 446;

/// Is it in a domain, as far as that can be known?
pub fn confines(a: &Arena) -> bool {
    let bare = prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == Ok(0);
    // Without it only CAP_SYS_ADMIN enters one. The call asks for the version: an error where Landlock is off.
    // SAFETY: numbers only.
    if (bare && !is_admin()) || unsafe { syscall3(CREATE_RULESET, 0, 0, 1) }.is_err() {
        return false;
    }
    let mut entered = MOST;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FS | libc::CLONE_FILES;
    // SAFETY: the helper runs on the arena's scratch, which nobody uses meanwhile (CLONE_VFORK).
    unsafe {
        let stack = a.scratch();
        let top = (stack.as_ptr() as usize + stack.len()) & !15;
        match check(asm::clone_thread(flags as usize, top, enter, &raw mut entered as usize)) {
            Ok(helper) => drop(syscall4(libc::SYS_wait4, helper, 0, WALL, 0)),
            Err(_) => return is_kept_from(state::agent_pid()),
        }
    }
    entered < MOST
}

/// Where no helper may be made: a domain keeps us from comparing us with the agent, which is outside it. So do other things,
/// if it is not our user's or may do more than we; then nothing can be known.
fn is_kept_from(agent: i32) -> bool {
    let own = getpid();
    // SAFETY: numbers only.
    let compare = |with: i32| unsafe { syscall5(libc::SYS_kcmp, own as usize, with as usize, 1, 0, 0) };
    let alike = || procfs::owner(agent).is_some_and(|o| Some(o) == procfs::owner(own)) && procfs::permitted(agent) & !procfs::permitted(own) == 0;
    compare(own).is_ok() && compare(agent) == Err(Errno::PERM) && alike()
}

fn is_admin() -> bool {
    const VERSION_3: u32 = 0x2008_0522;
    const CAP_SYS_ADMIN: u32 = 21;
    let (header, mut sets) = ([VERSION_3, 0], [0u32; 6]);
    // SAFETY: `sets` has room for what this version writes.
    let asked = unsafe { syscall2(libc::SYS_capget, header.as_ptr() as usize, sets.as_mut_ptr() as usize) };
    asked.is_ok() && (sets[0] | sets[1]) & 1 << CAP_SYS_ADMIN != 0
}

unsafe extern "C" fn enter(entered: usize) -> ! {
    /// struct landlock_ruleset_attr: LANDLOCK_ACCESS_FS_EXECUTE
    static HANDLED: u64 = 1;
    let _ = prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    // SAFETY: `confines` passes its counter and waits.
    unsafe {
        if let Ok(ruleset) = syscall3(CREATE_RULESET, &raw const HANDLED as usize, size_of::<u64>(), 0) {
            let mut n = 0;
            while n < MOST && syscall2(RESTRICT_SELF, ruleset, 0).is_ok() {
                n += 1;
            }
            close(ruleset as Fd);
            *(entered as *mut u32) = n;
        }
    }
    exit_group(0)
}
