//! User, groups, capabilities, no_new_privs: never more than the caller has.

use super::{Ground, Outcome, at, step};
use ckpt_sys::calls::*;
use ckpt_sys::flat::ThreadRecord;
use ckpt_sys::flat::plan::{Credentials, PlanHead};
use ckpt_sys::raw::*;

/// linux/securebits.h: capabilities stay what they are when users change.
const NO_SETUID_FIXUP: usize = 1 << 2;
const SETPCAP: u64 = 1 << 8;

/// Sets the calling thread's credentials; errors name the step.
pub fn apply(g: &Ground, head: &PlanHead, t: &ThreadRecord) -> Outcome {
    let all = g.table::<Credentials>(head.credentials);
    let Some(c) = all.iter().find(|c| c.tid == t.tid).or(all.first()) else { return Ok(()) };
    let may = Caps::now();
    let sets_bits = may.is_some_and(|m| m.effective & SETPCAP != 0);
    if sets_bits {
        drop_bounding(c, may);
        let _ = prctl(libc::PR_SET_SECUREBITS, NO_SETUID_FIXUP, 0, 0, 0);
    }
    if c.keep_ids == 0 {
        become_user(g, head, c)?;
    }
    set_file_ids(c);
    if let Some(may) = may {
        may.limited(c).finish(c, t, sets_bits)?;
    }
    if t.no_new_privs != 0 {
        let _ = prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    }
    let _ = prctl(libc::PR_SET_DUMPABLE, (head.process.dumpable == 1) as usize, 0, 0, 0);
    Ok(())
}

fn become_user(g: &Ground, head: &PlanHead, c: &Credentials) -> Outcome {
    let [first, count] = c.groups.map(|n| n as usize);
    let groups = &g.table::<u32>(head.groups)[first..first + count];
    // SAFETY: the group list lies in the plan; the rest are numbers.
    unsafe {
        at(step::CREDENTIALS, 1, syscall2(libc::SYS_setgroups, count, groups.as_ptr() as usize))?;
        at(step::CREDENTIALS, 2, syscall3(libc::SYS_setresgid, c.gid[0] as usize, c.gid[1] as usize, c.gid[2] as usize))?;
        let _ = prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0);
        at(step::CREDENTIALS, 3, syscall3(libc::SYS_setresuid, c.uid[0] as usize, c.uid[1] as usize, c.uid[2] as usize))?;
    }
    Ok(())
}

/// setfsuid(2) where it differs from the effective user.
fn set_file_ids(c: &Credentials) {
    // SAFETY: numbers only.
    unsafe {
        if c.gid[3] != c.gid[1] {
            let _ = syscall1(libc::SYS_setfsgid, c.gid[3] as usize);
        }
        if c.uid[3] != c.uid[1] {
            let _ = syscall1(libc::SYS_setfsuid, c.uid[3] as usize);
        }
    }
}

/// A thread's capability sets.
#[derive(Clone, Copy)]
struct Caps {
    effective: u64,
    permitted: u64,
    inheritable: u64,
}

const HEADER: [u32; 2] = [0x2008_0522, 0];

impl Caps {
    fn now() -> Option<Caps> {
        let mut w = [0u32; 6];
        // SAFETY: the layouts of capget(2), version 3.
        unsafe { syscall2(libc::SYS_capget, HEADER.as_ptr() as usize, w.as_mut_ptr() as usize) }.ok()?;
        let both = |i: usize| w[i] as u64 | (w[i + 3] as u64) << 32;
        Some(Caps { effective: both(0), permitted: both(1), inheritable: both(2) })
    }

    fn set(&self) -> Result<usize> {
        let half = |shift: u32| [self.effective, self.permitted, self.inheritable].map(|set| (set >> shift) as u32);
        let w = [half(0), half(32)];
        // SAFETY: the layouts of capset(2), version 3.
        unsafe { syscall2(libc::SYS_capset, HEADER.as_ptr() as usize, w.as_ptr() as usize) }
    }

    /// What is wanted, as far as it is had.
    fn limited(&self, c: &Credentials) -> Caps {
        let had = self.permitted;
        Caps { effective: c.effective & had, permitted: c.permitted & had, inheritable: c.inheritable & (had | self.inheritable) }
    }

    /// Ambient ones while they may be raised, secure bits while they may be set, then only what is left.
    fn finish(&self, c: &Credentials, t: &ThreadRecord, sets_bits: bool) -> Outcome {
        let for_now = if sets_bits { SETPCAP } else { 0 };
        let wider = Caps { effective: self.effective | for_now, permitted: self.permitted | for_now, ..*self };
        at(step::CREDENTIALS, 4, wider.set())?;
        let _ = prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as usize, 0, 0, 0);
        for cap in (0..64).filter(|n| c.ambient >> n & 1 != 0) {
            let _ = prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as usize, cap, 0, 0);
        }
        if sets_bits {
            let _ = prctl(libc::PR_SET_SECUREBITS, t.securebits as usize, 0, 0, 0);
        }
        let _ = prctl(libc::PR_SET_KEEPCAPS, t.keepcaps as usize, 0, 0, 0);
        at(step::CREDENTIALS, 4, self.set()).map(drop)
    }
}

/// Inheritable ones that are not in the bounding set must be there before it shrinks.
fn drop_bounding(c: &Credentials, may: Option<Caps>) {
    if let Some(may) = may {
        let _ = Caps { inheritable: may.inheritable | c.inheritable & may.permitted, ..may }.set();
    }
    for cap in 0..64 {
        if c.bounding >> cap & 1 == 0 && prctl(libc::PR_CAPBSET_DROP, cap, 0, 0, 0).is_err() {
            break;
        }
    }
}
