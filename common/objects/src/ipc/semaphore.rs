//! Semaphores: their values, who changed each last, and what the end of a process undoes.

use super::{Identity, IpcError, Maker, Members, Restore, done_by, make, making, proc_list};
use crate::sys;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;

#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct SemaphoreSet {
    pub who: Identity,
    /// value, pid of who changed it last
    pub semaphores: Vec<(i32, i32)>,
}

/// At the end of process `pid` the kernel adds `adjust` to the value (SEM_UNDO). It cannot be read from the kernel.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undo {
    pub pid: i32,
    pub id: i32,
    pub number: u16,
    pub adjust: i16,
}

const GETPID: i32 = 11;
const GETVAL: i32 = 12;
const SETVAL: i32 = 16;

fn control(id: i32, number: usize, command: i32, value: i32) -> io::Result<i32> {
    // SAFETY: these commands take a number or nothing.
    sys::cvt(unsafe { libc::semctl(id, number as i32, command, value) })
}

fn stat(id: i32) -> io::Result<libc::semid_ds> {
    // SAFETY: all zeroes are a valid semid_ds, which the kernel fills.
    unsafe {
        let mut ds: libc::semid_ds = std::mem::zeroed();
        sys::cvt(libc::semctl(id, 0, libc::IPC_STAT, &mut ds)).map(|_| ds)
    }
}

fn values(id: i32, count: usize) -> io::Result<Vec<(i32, i32)>> {
    (0..count).map(|n| Ok((control(id, n, GETVAL, 0)?, control(id, n, GETPID, 0)?))).collect()
}

pub fn capture(members: &Members, held: &dyn Fn(i32) -> bool) -> Result<Vec<SemaphoreSet>, IpcError> {
    let mut out = Vec::new();
    for row in proc_list::read("sem") {
        let id = row.id("semid");
        // Another user's, that no process of ours could use either.
        let Ok(ds) = stat(id) else { continue };
        let Ok(semaphores) = values(id, ds.sem_nsems as usize) else { continue };
        let by_member = semaphores.iter().any(|s| members.pids.contains(&s.1));
        if by_member || held(id) {
            out.push(SemaphoreSet { who: Identity::of(id, &ds.sem_perm), semaphores });
        }
    }
    Ok(out)
}

impl SemaphoreSet {
    pub fn lives(&self, same_boot: bool) -> bool {
        stat(self.who.id).is_ok_and(|ds| {
            let same = self.who.is_same(&Identity::of(self.who.id, &ds.sem_perm), same_boot);
            same && ds.sem_nsems as usize == self.semaphores.len()
        })
    }
}

impl SemaphoreSet {
    pub fn remove_unused(&self, are_gone: &dyn Fn(i32) -> bool) -> bool {
        let now = values(self.who.id, self.semaphores.len());
        now.is_ok_and(|all| all.iter().all(|s| are_gone(s.1))) && control(self.who.id, 0, libc::IPC_RMID, 0).is_ok()
    }
}

pub fn restore(s: &SemaphoreSet, how: &Restore) -> Result<(), IpcError> {
    let fail = |step, e| s.who.fail("semaphores", step, e);
    let id = s.who.id;
    if !s.lives(how.same_boot) {
        anew(s, how).map_err(|e| fail(making(&e), e))?;
    }
    let mut ds = stat(id).map_err(|e| fail("looking at it", e))?;
    let now = Identity::of(id, &ds.sem_perm);
    if (now.uid, now.gid, now.mode) != (s.who.uid, s.who.gid, s.who.mode) {
        s.who.put(&mut ds.sem_perm);
        // SAFETY: ds was filled by the kernel.
        let set = sys::cvt(unsafe { libc::semctl(id, 0, libc::IPC_SET, &mut ds) });
        set.map_err(|e| fail("setting its owner and mode", e))?;
    }
    set_values(s, how).map_err(|e| fail("setting its values", e))
}

fn anew(s: &SemaphoreSet, how: &Restore) -> io::Result<()> {
    // SAFETY: numbers only.
    let get = |flags: i32| unsafe { libc::semget(s.who.key, s.semaphores.len() as i32, flags) };
    let remove = |id: i32| {
        let _ = control(id, 0, libc::IPC_RMID, 0);
    };
    let creator = s.semaphores.iter().map(|x| x.1).find(|&p| p != 0).unwrap_or(0);
    make(&s.who, creator, how, &Maker { sysctl: "sem_next_id", get: &get, remove: &remove })
}

/// Only what differs is set: SETVAL forgets what other processes would undo.
fn set_values(s: &SemaphoreSet, how: &Restore) -> io::Result<()> {
    let id = s.who.id;
    let now = values(id, s.semaphores.len())?;
    let mut by_pid: BTreeMap<i32, Vec<(usize, i32)>> = BTreeMap::new();
    for (number, (want, _)) in s.semaphores.iter().zip(&now).enumerate().filter(|(_, (want, is))| want != is) {
        by_pid.entry(want.1).or_default().push((number, want.0));
    }
    for (pid, list) in by_pid {
        done_by(pid, how, &|_| list.iter().try_for_each(|&(n, value)| control(id, n, SETVAL, value).map(drop)))?;
    }
    Ok(())
}

/// In the process itself, before its exec, which keeps what is to be undone: two steps that cancel out, one of them
/// with SEM_UNDO. The upward one first, so that the value never falls below zero.
pub fn redo(all: &[Undo], pid: i32) -> io::Result<()> {
    for u in all.iter().filter(|u| u.pid == pid && u.adjust != 0) {
        let undone = |op: i16| if (op > 0) == (u.adjust < 0) { libc::SEM_UNDO as i16 } else { 0 };
        let step = |op: i16| libc::sembuf { sem_num: u.number, sem_op: op, sem_flg: libc::IPC_NOWAIT as i16 | undone(op) };
        let up = u.adjust.saturating_abs();
        let mut steps = [step(up), step(-up)];
        // SAFETY: two filled structs.
        sys::cvt(unsafe { libc::semop(u.id, steps.as_mut_ptr(), steps.len()) })?;
    }
    Ok(())
}
