//! System V IPC of the members: which objects are theirs, from what the kernel and the processes themselves say.

use crate::records::Records;
use ckpt_image::{SharedKind, SharedMemory};
use ckpt_objects::{BlobSink, ObjectSet};
use ckpt_objects::ipc::{self, Family, IpcError, Members, SysvSet, Undo};
use ckpt_sys::flat::SysvHeld;
use ckpt_sys::names::Names;

pub fn capture<'a>(
    processes: impl Iterator<Item = (i32, &'a Records)>,
    shared: &[SharedMemory],
    blobs: &mut dyn BlobSink,
) -> Result<SysvSet, IpcError> {
    let (mut pids, mut held, mut undo) = (Vec::new(), Vec::new(), Vec::new());
    for (pid, records) in processes {
        pids.push(pid);
        held.extend(records.sysv.iter().filter_map(family));
        undo.extend(records.undo.iter().map(|u| Undo { pid, id: u.id, number: u.number, adjust: u.adjust }));
    }
    let attached = shared.iter().filter_map(|s| match s.kind {
        SharedKind::SysV { id, .. } => Some(id),
        _ => None,
    });
    ipc::capture(Members { pids: &pids, held: &held, attached: &attached.collect::<Vec<_>>(), undo }, blobs)
}

/// Segments whose ids are other ones since the last restart: by those that the program holds.
pub fn known_ids(sysv: &mut SysvSet, shared: &mut [SharedMemory], names: &Names) {
    for segment in &mut sysv.segments {
        segment.who.id = names.segment_known(segment.who.id);
    }
    for piece in shared {
        if let SharedKind::SysV { id, .. } = &mut piece.kind {
            *id = names.segment_known(*id);
        }
    }
}

/// Of notifications the kernel tells neither value nor function; the processes remember them.
pub fn complete<'a>(objects: &mut ObjectSet, processes: impl Iterator<Item = (i32, &'a Records)>) {
    for (pid, records) in processes {
        for asked in &records.mq_asked {
            objects.asked_to_notify(pid, asked.fd, asked.value, asked.function);
        }
    }
}

fn family(held: &SysvHeld) -> Option<(Family, i32)> {
    let family = match held.family {
        1 => Family::Semaphores,
        2 => Family::Messages,
        3 => Family::Memory,
        _ => return None,
    };
    Some((family, held.id))
}
