//! User, groups, capabilities, no_new_privs: never more than the caller has.

use super::{Ground, Outcome, at, step};
use ckpt_sys::calls::*;
use ckpt_sys::flat::ThreadRecord;
use ckpt_sys::flat::plan::{Credentials, PlanHead};
use ckpt_sys::raw::*;

/// Sets the calling thread's credentials; errors name the step. Nothing is done where they are right already.
pub fn apply(g: &Ground, head: &PlanHead, t: &ThreadRecord) -> Outcome {
    let Some(c) = g.table::<Credentials>(head.credentials).first() else { return Ok(()) };
    if head.keep_ids == 0 {
        let groups = g.table::<u32>(head.groups);
        // SAFETY: the group list lies in the plan; the rest are numbers.
        unsafe {
            at(step::CREDENTIALS, 1, syscall2(libc::SYS_setgroups, groups.len(), groups.as_ptr() as usize))?;
            at(step::CREDENTIALS, 2, syscall3(libc::SYS_setresgid, c.gid[0] as usize, c.gid[1] as usize, c.gid[2] as usize))?;
            let _ = prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0);
            at(step::CREDENTIALS, 3, syscall3(libc::SYS_setresuid, c.uid[0] as usize, c.uid[1] as usize, c.uid[2] as usize))?;
        }
    }
    set_caps(c)?;
    let _ = prctl(libc::PR_SET_KEEPCAPS, t.keepcaps as usize, 0, 0, 0);
    if t.securebits != 0 {
        let _ = prctl(libc::PR_SET_SECUREBITS, t.securebits as usize, 0, 0, 0);
    }
    if t.no_new_privs != 0 {
        let _ = prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    }
    let _ = prctl(libc::PR_SET_DUMPABLE, (head.process.dumpable == 1) as usize, 0, 0, 0);
    Ok(())
}

const VERSION_3: u32 = 0x2008_0522;

fn set_caps(c: &Credentials) -> Outcome {
    let mut now = [0u32; 6];
    let header = [VERSION_3, 0];
    // SAFETY: header and now have the layouts of capget(2), version 3.
    let known = unsafe { syscall2(libc::SYS_capget, header.as_ptr() as usize, now.as_mut_ptr() as usize) };
    let _ = prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as usize, 0, 0, 0);
    if known.is_ok() {
        let may = |i: usize, want: u64| [want as u32 & now[i], (want >> 32) as u32 & now[i + 3]];
        let (p, e, i) = (may(1, c.permitted), may(1, c.effective), may(1, c.inheritable));
        let set = [e[0], p[0], i[0], e[1], p[1], i[1]];
        drop_bounding(c.bounding, now[0], now[3]);
        // SAFETY: as above.
        at(step::CREDENTIALS, 4, unsafe { syscall2(libc::SYS_capset, header.as_ptr() as usize, set.as_ptr() as usize) })?;
    }
    for cap in (0..64).filter(|n| c.ambient >> n & 1 != 0) {
        let _ = prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as usize, cap, 0, 0);
    }
    Ok(())
}

fn drop_bounding(wanted: u64, effective_low: u32, _effective_high: u32) {
    const SETPCAP: u32 = 1 << 8;
    if effective_low & SETPCAP == 0 {
        return;
    }
    for cap in 0..64 {
        if wanted >> cap & 1 == 0 && prctl(libc::PR_CAPBSET_DROP, cap, 0, 0, 0).is_err() {
            break;
        }
    }
}
