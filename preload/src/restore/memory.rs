//! The address space: gone, then as it was.

use super::{Ground, Outcome, at, step};
use ckpt_sys::calls::*;
use ckpt_sys::flat::{RangePolicy, Run};
use ckpt_sys::flat::plan::{self, Map, PlanHead, Read};
use ckpt_sys::raw::*;

const TASK_END: usize = 0x7fff_ffff_f000;

/// Unmaps everything but the ground and the kernel's own pages.
pub fn clear(g: &Ground) -> Outcome {
    let mut keep = [(0usize, 0usize); 12];
    keep[0] = (g.start, g.len);
    keep[1..=g.kernel_count].copy_from_slice(&g.kernel[..g.kernel_count]);
    let keep = &mut keep[..=g.kernel_count];
    keep.sort_unstable();
    let mut from = 0;
    for &mut (start, len) in keep {
        if start > from {
            // SAFETY: nothing outside the ground is used any more.
            at(step::UNMAP, from as u64, unsafe { munmap(from, start - from) })?;
        }
        from = start + len;
    }
    // SAFETY: as above.
    at(step::UNMAP, from as u64, unsafe { munmap(from, TASK_END - from) })
}

const RW: u32 = (libc::PROT_READ | libc::PROT_WRITE) as u32;

/// Private memory is made writable to be filled; shared memory comes as it is, and so does what holds nothing: an
/// unreadable reserve may be larger than the kernel would grant as writable.
fn first_prot(m: &Map, reads: &[Read]) -> u32 {
    if m.advice & plan::MAP_SHM != 0 {
        return if attached_to_read(m) { libc::PROT_READ as u32 } else { RW };
    }
    let next = reads.partition_point(|r| r.addr + r.len <= m.addr);
    let holds_something = reads.get(next).is_some_and(|r| r.addr < m.addr + m.len);
    if m.flags & libc::MAP_SHARED as u32 == 0 && holds_something { RW } else { m.prot }
}

pub fn map(g: &Ground) -> Outcome {
    let reads = g.table::<Read>(g.head().reads);
    for m in g.table::<Map>(g.head().maps) {
        // File mappings may not be GROWSDOWN and the like; flags come from the plan as mmap takes them.
        let flags = m.flags | libc::MAP_FIXED_NOREPLACE as u32;
        let prot = first_prot(m, reads);
        // SAFETY: NOREPLACE: the range is free.
        let mapped = unsafe {
            if m.advice & plan::MAP_SHM != 0 {
                attach(m)
            } else {
                syscall6(libc::SYS_mmap, m.addr as usize, m.len as usize, prot as usize, flags as usize, m.fd as usize, m.offset as usize)
            }
        };
        at(step::MAP, m.addr, mapped)?;
        if m.advice & plan::MAP_HUGE != 0 {
            let _ = madvise(m.addr as usize, m.len as usize, libc::MADV_HUGEPAGE);
        }
    }
    Ok(())
}

/// A SysV segment: `fd` is its id. Only a whole one can be attached; of a part, the rest is unmapped. A mapping may reach
/// beyond its end.
///
/// # Safety
/// As mmap: the range must be free.
unsafe fn attach(m: &Map) -> Result<usize> {
    let (addr, len, offset) = (m.addr as usize, m.len as usize, m.offset as usize);
    let flags = if attached_to_read(m) { libc::SHM_RDONLY } else { 0 };
    let mut size = ckpt_sys::page_up(segment_size(m.fd)?);
    // SAFETY: by the contract; a part is moved out of an attachment of our own.
    unsafe {
        if offset == 0 && size == len {
            return syscall3(libc::SYS_shmat, m.fd as usize, addr, flags as usize);
        }
        let mut whole = syscall3(libc::SYS_shmat, m.fd as usize, 0, flags as usize)?;
        if size < offset + len {
            whole = syscall4(libc::SYS_mremap, whole, size, offset + len, libc::MREMAP_MAYMOVE as usize)?;
            size = offset + len;
        }
        let fixed = (libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED) as usize;
        syscall5(libc::SYS_mremap, whole + offset, len, len, fixed, addr)?;
        let _ = munmap(whole, offset);
        let _ = munmap(whole + offset + len, size.saturating_sub(offset + len));
    }
    Ok(addr)
}

fn attached_to_read(m: &Map) -> bool {
    m.prot & libc::PROT_WRITE as u32 == 0 && m.advice & plan::MAP_MAY_WRITE == 0
}

fn segment_size(id: i32) -> Result<usize> {
    let mut ds = core::mem::MaybeUninit::<libc::shmid_ds>::zeroed();
    // SAFETY: the kernel fills a shmid_ds, of which zeros are a value.
    unsafe {
        syscall3(libc::SYS_shmctl, id as usize, libc::IPC_STAT as usize, ds.as_mut_ptr() as usize)?;
        Ok(ds.assume_init().shm_segsz)
    }
}

/// mbind(2), before pages exist. Nodes of another machine may be missing here: the memory is all the same.
pub fn bind(g: &Ground, head: &PlanHead) {
    const BITS: usize = 65; // the kernel takes one off
    for p in g.table::<RangePolicy>(head.policies) {
        let nodes = &raw const p.nodes as usize;
        // SAFETY: the range is the plan's; nodes are 64 readable bits.
        let _ = unsafe { syscall6(libc::SYS_mbind, p.addr as usize, p.len as usize, p.mode as usize, nodes, BITS, 0) };
    }
}

/// Final protections and advice; then the numbers that /proc shows.
pub fn finish(g: &Ground, head: &PlanHead) -> Outcome {
    let reads = g.table::<Read>(head.reads);
    for m in g.table::<Map>(head.maps) {
        let (addr, len) = (m.addr as usize, m.len as usize);
        if m.prot != first_prot(m, reads) {
            // SAFETY: the plan's own mapping.
            at(step::PROTECT, m.addr, unsafe { syscall3(libc::SYS_mprotect, addr, len, m.prot as usize) })?;
        }
        advise(m, addr, len);
    }
    for r in g.table::<Run>(head.guards) {
        at(step::PROTECT, r.addr, madvise(r.addr as usize, r.bytes as usize, MADV_GUARD_INSTALL))?;
    }
    lock(g, head);
    set_mm(g, head)
}

fn advise(m: &Map, addr: usize, len: usize) {
    const ADVICE: [(u32, i32); 8] = [
        (plan::MAP_HUGE, libc::MADV_HUGEPAGE),
        (plan::MAP_NOHUGE, libc::MADV_NOHUGEPAGE),
        (plan::MAP_DONTFORK, libc::MADV_DONTFORK),
        (plan::MAP_WIPEONFORK, libc::MADV_WIPEONFORK),
        (plan::MAP_DONTDUMP, libc::MADV_DONTDUMP),
        (plan::MAP_SEQ, libc::MADV_SEQUENTIAL),
        (plan::MAP_RAND, libc::MADV_RANDOM),
        (plan::MAP_MERGEABLE, libc::MADV_MERGEABLE),
    ];
    for (flag, advice) in ADVICE {
        if m.advice & flag != 0 {
            let _ = madvise(addr, len, advice);
        }
    }
    if m.advice & plan::MAP_DROPPABLE != 0 {
        // States of the vdso's getrandom: two restarts of one image must not draw the same numbers.
        let _ = madvise(addr, len, libc::MADV_DONTNEED);
    }
}

const MADV_GUARD_INSTALL: i32 = 102;
const SYS_MSEAL: libc::c_long = 462;

/// After the guards, which cannot be put into locked memory; and the seals last.
fn lock(g: &Ground, head: &PlanHead) {
    let all = || g.table::<Map>(head.maps).iter();
    // SAFETY: numbers only.
    unsafe {
        for m in all().filter(|m| m.advice & plan::MAP_LOCKED != 0) {
            let on_fault = (m.advice & plan::MAP_ONFAULT != 0) as usize;
            let _ = syscall3(libc::SYS_mlock2, m.addr as usize, m.len as usize, on_fault);
        }
        if head.process.mlock_future != 0 {
            let _ = syscall1(libc::SYS_mlockall, head.process.mlock_future as usize);
        }
        for m in all().filter(|m| m.advice & plan::MAP_SEALED != 0) {
            let _ = syscall3(SYS_MSEAL, m.addr as usize, m.len as usize, 0);
        }
    }
}

/// prctl(PR_SET_MM, PR_SET_MM_MAP): code, data, brk, arguments, environment, auxv.
fn set_mm(g: &Ground, head: &PlanHead) -> Outcome {
    let auxv = g.table::<u8>(head.auxv);
    let mut map = [0u64; 13];
    map[..11].copy_from_slice(&head.mm[..11]);
    map[11] = auxv.as_ptr() as u64;
    map[12] = auxv.len() as u64 | (head.exe as u32 as u64) << 32;
    let set = prctl(libc::PR_SET_MM, libc::PR_SET_MM_MAP as usize, map.as_ptr() as usize, size_of_val(&map), 0);
    at(step::MM, 0, set).map(drop)
}
