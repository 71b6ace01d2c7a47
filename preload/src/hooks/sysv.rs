//! System V IPC. msgctl(2), semctl(2), shmctl(2): who used an object last. semget(2) and the like, semop(2): what
//! cannot be read back later, namely who was given which object, and what SEM_UNDO will undo.

use super::abi::{Plain, ask, hook, load, store};
use crate::{ids, sysv};
use ckpt_sys::idtable::RealPid;
use ckpt_sys::raw::Result;
use core::ffi::c_int;
use core::ffi::c_void;
use libc::{key_t, msqid_ds, pid_t, sembuf, shmid_ds, timespec};

hook! { fn msgctl(id: c_int, command: c_int, buffer: *mut msqid_ds) -> c_int, when ids::active() => msgctl }
hook! { fn shmctl(id: c_int, command: c_int, buffer: *mut shmid_ds) -> c_int, when ids::active() => shmctl }
hook! { fn shmat(id: c_int, at: *const c_void, flags: c_int) -> *mut c_void, when ids::active() => shmat }
hook! {
    unchecked fn semctl(id: c_int, number: c_int, command: c_int, argument: usize) -> c_int => semctl
}
hook! { fn semget(key: key_t, count: c_int, flags: c_int) -> c_int => semget }
hook! { fn msgget(key: key_t, flags: c_int) -> c_int => msgget }
hook! { fn shmget(key: key_t, size: usize, flags: c_int) -> c_int => shmget }
hook! { fn semop(id: c_int, steps: *mut sembuf, count: usize) -> c_int => semop }
hook! {
    unchecked fn semtimedop(id: c_int, steps: *mut sembuf, count: usize, timeout: *const timespec) -> c_int
        => semtimedop
}

fn semget(key: key_t, count: c_int, flags: c_int) -> Plain<c_int> {
    given(sysv::SEMAPHORES, semget::next(key, count, flags))
}

fn msgget(key: key_t, flags: c_int) -> Plain<c_int> {
    given(sysv::MESSAGES, msgget::next(key, flags))
}

fn shmget(key: key_t, size: usize, flags: c_int) -> Plain<c_int> {
    given(sysv::MEMORY, shmget::next(key, size, flags))
}

fn given(family: u32, id: c_int) -> Plain<c_int> {
    if id >= 0 {
        sysv::remember(family, id);
    }
    Plain(id)
}

fn semop(id: c_int, steps: *mut sembuf, count: usize) -> Plain<c_int> {
    noted(id, steps, count, || semop::next(id, steps, count))
}

fn semtimedop(id: c_int, steps: *mut sembuf, count: usize, timeout: *const timespec) -> Plain<c_int> {
    noted(id, steps, count, || semtimedop::next(id, steps, count, timeout))
}

/// No checkpoint comes between the call and the note of what it did.
#[inline]
fn noted(id: c_int, steps: *mut sembuf, count: usize, call: impl FnOnce() -> c_int) -> Plain<c_int> {
    let undone = || (0..count).filter_map(|i| load(steps.cast_const().wrapping_add(i))).filter(|s| s.sem_flg as c_int & libc::SEM_UNDO != 0);
    if undone().next().is_none() {
        return Plain(call());
    }
    let here = 0u8;
    let slot = sysv::enter(&raw const here as usize);
    let outcome = call();
    if outcome == 0 {
        undone().for_each(|step| sysv::will_undo(id, step.sem_num, step.sem_op.wrapping_neg()));
    }
    sysv::leave(slot);
    Plain(outcome)
}

const GETPID: c_int = 11;
const SETVAL: c_int = 16;
const SETALL: c_int = 17;
const MSG_STAT: c_int = 11;
const SHM_STAT: c_int = 13;

/// The kernel may have noted it before a restart.
fn known(pid: pid_t) -> pid_t {
    ids::of_maker(RealPid(pid)).0
}

fn shmat(id: c_int, at: *const c_void, flags: c_int) -> Plain<*mut c_void> {
    Plain(shmat::next(ids::segment(id), at, flags))
}

fn msgctl(id: c_int, command: c_int, buffer: *mut msqid_ds) -> Result<c_int> {
    let value = ask!(libc::SYS_msgctl, id, command, buffer)?;
    if let Some(mut queue) = load(buffer.cast_const()).filter(|_| command == libc::IPC_STAT || command == MSG_STAT) {
        queue.msg_lspid = known(queue.msg_lspid);
        queue.msg_lrpid = known(queue.msg_lrpid);
        store(buffer, queue);
    }
    Ok(value as c_int)
}

fn shmctl(id: c_int, command: c_int, buffer: *mut shmid_ds) -> Result<c_int> {
    // Some commands take a place in the kernel's list for an id.
    let by_id = matches!(command, libc::IPC_STAT | libc::IPC_SET | libc::IPC_RMID | libc::SHM_LOCK | libc::SHM_UNLOCK);
    let value = ask!(libc::SYS_shmctl, if by_id { ids::segment(id) } else { id }, command, buffer)?;
    if let Some(mut segment) = load(buffer.cast_const()).filter(|_| command == libc::IPC_STAT || command == SHM_STAT) {
        segment.shm_cpid = known(segment.shm_cpid);
        segment.shm_lpid = known(segment.shm_lpid);
        store(buffer, segment);
    }
    Ok(value as c_int)
}

fn semctl(id: c_int, number: c_int, command: c_int, argument: usize) -> Result<c_int> {
    let value = ask!(libc::SYS_semctl, id, number, command, argument)? as c_int;
    match command {
        SETVAL => sysv::nothing_to_undo(id, Some(number as u16)),
        SETALL | libc::IPC_RMID => sysv::nothing_to_undo(id, None),
        GETPID if ids::active() => return Ok(known(value)),
        _ => {}
    }
    Ok(value)
}
