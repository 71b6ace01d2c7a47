//! An image is hostile input until it has been checked: no address, length, offset or count is believed before.

use crate::image_set::Member;
use ckpt_image::{Body, CHUNK, Codec, MapKind, MapMeta, ProcessMeta};
use std::collections::HashSet;

const TASK_END: u64 = 0x7fff_ffff_f000;

#[derive(Debug, thiserror::Error)]
#[error("{image}: damaged or hostile: {what}; use another generation")]
pub struct Invalid {
    image: String,
    what: String,
}

/// Errors name the image and what is wrong with it.
pub fn check(members: &[Member]) -> Result<(), Invalid> {
    let mut pids = HashSet::new();
    for m in members {
        let fail = |what: String| Invalid { image: m.file.path.display().to_string(), what };
        if m.meta.processes.is_empty() {
            return Err(fail("there is no process in it".into()));
        }
        for (i, p) in m.meta.processes.iter().enumerate() {
            if p.pid <= 1 || !pids.insert(p.pid) {
                return Err(fail(format!("process id {} is impossible or used twice", p.pid)));
            }
            if let Some(body) = &p.body {
                check_reach(body).map_err(|e| fail(format!("process {}: {e}", p.pid)))?;
                let memory = memory_of(&m.meta.processes, i).ok_or_else(|| fail(format!("process {} shares with one that is not there", p.pid)))?;
                check_body(body, memory, m.file.header.total, m.meta.shared.len()).map_err(|e| fail(format!("process {}: {e}", p.pid)))?;
                if m.parents.is_empty() && !body.memory.kept.is_empty() {
                    return Err(fail(format!("process {}: memory is left out, but no other image is named", p.pid)));
                }
            }
        }
        m.meta.objects.check().map_err(fail)?;
        for (file, meta) in &m.parents {
            for body in meta.processes.iter().filter_map(|p| p.body.as_ref()) {
                let image = file.path.display().to_string();
                check_memory(body, file.header.total).map_err(|what| Invalid { image, what })?;
            }
        }
    }
    Ok(())
}

/// Nothing wraps around the end of the address space, whatever is added to it later.
fn check_reach(b: &Body) -> Result<(), String> {
    const KERNEL: u64 = 1 << 63;
    let sound = |m: &MapMeta| m.start < m.end && (m.end <= TASK_END || m.start >= KERNEL && m.kind == MapKind::Kernel);
    if let Some(m) = b.maps.iter().find(|m| !sound(m)) {
        return Err(format!("mapping {:x}-{:x} is impossible", m.start, m.end));
    }
    let r = &b.record.0;
    let places = [(r.arena, r.arena_len), (r.control, 8), (r.state_page, 8), (r.leave, 8)];
    let aio = b.aio.iter().map(|a| (a.start, a.len));
    let outside = places.into_iter().chain(aio).find(|p| p.0.checked_add(p.1).is_none_or(|end| end > TASK_END));
    let frames = b.threads.iter().map(|t| t.0.frame).find(|&f| f > TASK_END);
    match outside.map(|p| p.0).or(frames) {
        Some(at) => Err(format!("address {at:x} is impossible")),
        None => Ok(()),
    }
}

/// The process with the mappings of process `i`. None: its maker is missing, or has nothing that it could share.
fn memory_of(all: &[ProcessMeta], mut i: usize) -> Option<&Body> {
    loop {
        let (p, body) = (&all[i], all[i].body.as_ref()?);
        if p.birth.shares & (libc::CLONE_VM | libc::CLONE_FILES) as u32 == 0 {
            return Some(body);
        }
        let maker = all[..i].iter().position(|q| q.pid == p.birth.maker && q.body.is_some())?;
        if p.birth.shares & libc::CLONE_VM as u32 == 0 {
            return Some(body);
        }
        if !body.maps.is_empty() {
            return None;
        }
        i = maker;
    }
}

/// `memory` has its mappings.
fn check_body(b: &Body, memory: &Body, total: u64, shared: usize) -> Result<(), String> {
    let mut end = 0;
    let kernel = |k: &MapKind| matches!(k, MapKind::Kernel);
    for m in b.maps.iter().filter(|m| !kernel(&m.kind)) {
        if m.start < end || m.end <= m.start || m.end > TASK_END || (m.start | m.end) & 4095 != 0 {
            return Err(format!("mapping {:x}-{:x} overlaps another or leaves user space", m.start, m.end));
        }
        end = m.end;
        if matches!(m.kind, MapKind::Shared(i) if i as usize >= shared) {
            return Err(format!("mapping {:x} refers to no shared memory", m.start));
        }
    }
    let table = b.id_table..b.id_table.saturating_add(ckpt_sys::idtable::SIZE as u64);
    let overlaps = b.maps.iter().any(|m| m.start < table.end && table.start < m.end);
    if b.id_table & 4095 != 0 || table.end > TASK_END || (b.id_table != 0 && overlaps) {
        return Err("the table of ids overlaps its memory".into());
    }
    check_memory(b, total)?;
    let leader = b.record.0.pid;
    if b.threads.is_empty() || b.sigactions.len() != 64 {
        return Err("it has no threads or no signal actions".into());
    }
    let in_private = |addr: u64, len: u64| memory.maps.iter().any(|m| !m.shared && m.start <= addr && addr + len <= m.end);
    if b.record.0.leader_gone == 0 && !b.threads.iter().any(|t| t.0.tid == leader) {
        return Err("its main thread is missing".into());
    }
    for t in &b.threads {
        if t.0.frame & 7 != 0 || !memory.maps.iter().any(|m| m.start <= t.0.frame && t.0.frame + 1024 <= m.end) {
            return Err(format!("thread {} has no frame to return to", t.0.tid));
        }
    }
    for addr in [b.record.0.control, b.record.0.state_page, b.record.0.leave] {
        if !in_private(addr, 8) {
            return Err("the library is not where the image says".into());
        }
    }
    Ok(())
}

/// The bytes of ranges that lie, in order, in private mappings.
fn sum_of_ranges(b: &Body, ranges: &[(u64, u64)]) -> Result<u64, String> {
    let mut sum = 0u64;
    let mut done = 0;
    let mut maps = b.maps.iter().filter(|m| !m.shared);
    let mut map = maps.next();
    for &(addr, bytes) in ranges {
        let end = addr.checked_add(bytes).ok_or("a run wraps around")?;
        sum = sum.checked_add(bytes).ok_or("runs are too long")?;
        let mut at = addr;
        if at < done {
            return Err(format!("memory at {at:x} is out of order"));
        }
        // A run may span neighbours.
        while at < end {
            match map {
                Some(m) if m.end <= at => map = maps.next(),
                Some(m) if m.start <= at => at = m.end,
                _ => return Err(format!("memory at {at:x} lies in no private mapping")),
            }
        }
        done = end;
    }
    Ok(sum)
}

fn check_memory(b: &Body, total: u64) -> Result<(), String> {
    let sum = sum_of_ranges(b, &b.memory.runs)?;
    sum_of_ranges(b, &b.memory.kept)?;
    let in_map = |&(at, len): &(u64, u64)| at.checked_add(len).is_some_and(|end| b.maps.iter().any(|m| !m.shared && m.start <= at && end <= m.end));
    if !b.memory.guards.iter().all(in_map) {
        return Err("a guard region lies in no private mapping".into());
    }
    if sum != b.memory.bytes {
        return Err("the runs do not add up".into());
    }
    let chunks = sum.div_ceil(CHUNK) as usize;
    if sum == 0 && b.memory.pieces.is_empty() && b.memory.checksums.is_empty() {
        return Ok(());
    }
    let pieces = if b.memory.codec == Codec::None { 1 } else { chunks };
    if b.memory.checksums.len() != chunks || b.memory.pieces.len() != pieces {
        return Err("checksums are missing".into());
    }
    let inside = |p: &ckpt_objects::BlobRef| p.offset.checked_add(p.len).is_some_and(|e| e <= total);
    if !b.memory.pieces.iter().all(inside) || (b.memory.codec == Codec::None && b.memory.pieces[0].len != sum) {
        return Err("memory lies outside the image".into());
    }
    Ok(())
}
