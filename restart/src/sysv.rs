//! System V IPC objects, before any process that uses them exists.

use crate::ids::{Ids, Known, SharedIds, clone_with_pid};
use crate::image_set::Member;
use ckpt_agent::procfs;
use ckpt_image::machine::Clocks;
use ckpt_image::{SharedKind, SharedMemory};
use ckpt_objects::BlobRef;
use ckpt_objects::ipc::{self, IpcError, Restore, Restored};
use ckpt_sys::idtable::{RealPid, VirtualPid};
use std::io;

fn same_boot(m: &Member) -> bool {
    let now = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    now.trim() == m.meta.machine.clocks.boot_id
}

/// With ids in a namespace, objects that are gone are made again in an IPC namespace, which all of them move to.
pub fn needs_namespace(members: &[Member]) -> bool {
    let needed = members.iter().any(|m| m.meta.sysv.any_missing(same_boot(m)));
    for m in members.iter().filter(|_| needed) {
        let is_member = |pid| m.meta.processes.iter().any(|p| p.pid == pid);
        let are_gone = |pid| pid == 0 || (is_member(pid) && is_dead(m, pid));
        for left in m.meta.sysv.take_along(same_boot(m), &are_gone) {
            eprintln!("ckpt_restart: risk: System V {left} stays as it is outside the namespace, where the program has its own");
        }
    }
    needed
}

/// Ended, waited for or not, or the number is another process's, born since.
fn is_dead(m: &Member, pid: i32) -> bool {
    let Some(now) = procfs::stat(pid) else { return true };
    let since_boot = |c: &Clocks| u128::try_from(c.now[1] - c.offsets[1]).unwrap_or(0);
    let (then, here) = (since_boot(&m.meta.machine.clocks), Clocks::here().offsets[1].max(0) as u128);
    procfs::has_ended(&now) || procfs::since_boot(&now).is_some_and(|born| born.as_nanos().saturating_sub(here) > then)
}

/// All objects of a member as they were; to be dropped when its processes are restored.
pub fn restore(m: &Member, ids: Ids, known: &Known, shared_ids: &SharedIds) -> Result<Restored, IpcError> {
    let fork_as = |then: i32| match ids {
        Ids::Virtual => {
            let child = clone_with_pid(None)?;
            let named = shared_ids.table.note_then(RealPid(child), VirtualPid(known.program_id(then)));
            named.map(|()| child).map_err(|_| io::Error::other("the table of ids is full"))
        }
        _ => clone_with_pid(Some(known.program_id(then))),
    };
    let how = Restore { blobs: &m.file, fork_as: &fork_as, same_boot: same_boot(m) };
    let mut restored = ipc::restore(&m.meta.sysv, &how)?;
    for s in &m.meta.shared {
        let SharedKind::SysV { id, key } = s.kind else { continue };
        let filled = match restored.attached.iter_mut().find(|a| a.0 == id) {
            Some((_, to)) => fill(m, s, to.bytes_mut()),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        let what = || format!("shared memory {id} (key {key:#x})");
        filled.map_err(|error| IpcError { what: what(), step: "filling it", error })?;
    }
    for &(then, now) in &restored.renamed {
        let hidden = ids == Ids::Virtual && shared_ids.table.names.rename_segment(then, now).is_ok();
        if !hidden {
            eprintln!("ckpt_restart: risk: the removed shared memory segment {then} has id {now} now");
        }
    }
    Ok(restored)
}

/// The id that a segment has now.
pub fn id_now(restored: &Restored, then: i32) -> i32 {
    restored.renamed.iter().find(|r| r.0 == then).map_or(then, |r| r.1)
}

/// Pieces are whole pages; the segment may end within the last.
fn fill(m: &Member, s: &SharedMemory, to: &mut [u8]) -> io::Result<()> {
    for (offset, piece) in &s.pieces {
        let bytes = m.file.read_blob(&BlobRef { offset: piece.offset, len: piece.len })?;
        let room = to.get_mut(*offset as usize..).unwrap_or_default();
        let n = room.len().min(bytes.len());
        room[..n].copy_from_slice(&bytes[..n]);
    }
    Ok(())
}
