//! The ids that the program knows. Before a restart with `--ids virtual` they are the kernel's, and a hook is one load.

use crate::state;
use ckpt_sys::idtable::{IdTable, RealPid, VirtualPid, Wish};

/// Do the ids of the program's processes and threads differ from the kernel's? Those of its surroundings (its first
/// group, session and parent) always may, once there is a table.
#[inline(always)]
pub fn active() -> bool {
    state::ids_virtual()
}

/// Is this a restarted program?
#[inline(always)]
pub fn restarted() -> bool {
    state::id_table() != 0
}

/// When the program takes a process to have begun, which the kernel says began at `now`; both in ticks since boot.
pub fn started(id: RealPid, now: u64) -> u64 {
    table().and_then(|table| table.starts.then(id.0, now)).unwrap_or(now)
}

#[inline]
fn table() -> Option<&'static IdTable> {
    // SAFETY: 0, or where the restorer or the constructor mapped the computation's table for the process's life.
    unsafe { (state::id_table() as *const IdTable).as_ref() }
}

/// 0 and negative numbers are what system calls make of them: "self", "all", and process groups (-id).
#[inline]
pub fn to_real(id: VirtualPid) -> RealPid {
    match (table(), id.0) {
        (Some(table), 1..) => table.to_real(id),
        (Some(table), group) if group < -1 && group != i32::MIN => RealPid(-table.to_real(VirtualPid(-group)).0),
        _ => RealPid(id.0),
    }
}

/// The program's id for a child. `restarts`: how many there were when the kernel was asked for it; its answer may be one
/// from before a restart.
pub fn of_child(id: RealPid, restarts: u32) -> VirtualPid {
    match table() {
        Some(table) if state::restarts() != restarts => table.born(id),
        _ => to_virtual(id),
    }
}

/// The program's id for who made or used an object that outlives processes.
pub fn of_maker(id: RealPid) -> VirtualPid {
    table().map_or(VirtualPid(id.0), |table| table.born(id))
}

/// The program's id for a process or thread that the kernel had given this one before the restart.
pub fn then(id: i32) -> Option<VirtualPid> {
    table()?.then(RealPid(id))
}

/// The kernel's id of a System V memory segment.
pub fn segment(known: i32) -> i32 {
    table().map_or(known, |table| table.names.segment_now(known))
}

/// As `to_real`, the other way.
#[inline]
pub fn to_virtual(id: RealPid) -> VirtualPid {
    match (table(), id.0) {
        (Some(table), 1..) => table.to_virtual(id),
        (Some(table), group) if group < -1 && group != i32::MIN => VirtualPid(-table.to_virtual(RealPid(-group)).0),
        _ => VirtualPid(id.0),
    }
}

/// Was this process forked by the program and, against that, restored by an exec?
pub fn is_forked(id: RealPid) -> bool {
    active() && table().is_some_and(|table| table.is_forked(id))
}

/// As the program sees it, too, or (the exec failed) again not.
pub fn set_forked(id: RealPid, is: bool) {
    if let Some(table) = table() {
        table.set_forked(id, is);
    }
}

/// Room to ask such a process for something.
pub fn wish(id: RealPid) -> Option<&'static Wish> {
    table().filter(|_| is_forked(id))?.claim_wish()
}

pub fn wishes() -> &'static [Wish] {
    table().map_or(&[], |table| &table.wishes)
}
