//! The kernel's own pages: where the program knows them, when they are the same as at the checkpoint. Those of another
//! kernel lie beside the ground, and the old vdso, which is ordinary memory from then on, passes calls on to the new one.

use super::{Failure, Ground, Outcome, at, step};
use ckpt_sys::flat::plan::{FORWARD_LEN, Forward, NO_FUNCTION, PlanHead};
use ckpt_sys::raw::*;

/// Bytes beside the ground: the kernel's pages are a dozen.
pub const ROOM: usize = 256 << 10;

/// Where the first of the kernel's pages goes.
fn target(g: &Ground, head: &PlanHead) -> usize {
    match (head.vdso_other, head.vdso, head.vvar) {
        (1.., _, _) => g.beside,
        (_, 0, _) => g.kernel[0].0,
        (_, vdso, 0) => vdso as usize,
        (_, vdso, vvar) => vdso.min(vvar) as usize,
    }
}

/// Start and length of this kernel's vdso, once it is placed; 0 without one.
pub fn now(g: &Ground, head: &PlanHead) -> (usize, usize) {
    match g.vdso {
        (_, 0) => (0, 0),
        (start, len) => (start - g.kernel[0].0 + target(g, head), len),
    }
}

/// Moves vvar and vdso, by way of a place that overlaps neither old nor new.
pub fn place(g: &Ground, head: &PlanHead) -> Outcome {
    let kernel = &g.kernel[..g.kernel_count];
    let Some((&(first, _), &(last, last_len))) = kernel.first().zip(kernel.last()) else { return Ok(()) };
    let len = last + last_len - first;
    let target = target(g, head);
    if first == target {
        return Ok(());
    }
    if len > ROOM / 2 - ckpt_sys::PAGE || head.vdso_other == 0 && len as u64 != head.vvar_len + head.vdso_len {
        return Err(Failure { step: step::VDSO, errno: Errno(libc::ENOEXEC), at: len as u64 });
    }
    move_all(kernel, first, g.beside)?;
    if target == g.beside {
        return Ok(());
    }
    let mut away = [(0, 0); super::MAX_KERNEL];
    for (to, &(start, piece)) in away.iter_mut().zip(kernel) {
        *to = (start - first + g.beside, piece);
    }
    move_all(&away[..kernel.len()], g.beside, target)
}

fn move_all(pieces: &[(usize, usize)], first: usize, target: usize) -> Outcome {
    for &(start, piece) in pieces {
        let flags = (libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED) as usize;
        let to = start - first + target;
        // SAFETY: moves the kernel's pages to a range where nothing lies.
        at(step::VDSO, to as u64, unsafe { syscall5(libc::SYS_mremap, start, piece, piece, flags, to) })?;
    }
    Ok(())
}

/// The old vdso at its place, its functions replaced by jumps. Its data pages are zeros: code in the middle of which the
/// program was interrupted finds a clock that only the kernel can read, and asks it.
pub fn forward(g: &Ground, head: &PlanHead) -> Outcome {
    let image = g.table::<u8>(head.vdso_image);
    if head.vdso_other == 0 || head.vdso == 0 || image.len() > head.vdso_len as usize {
        return Ok(());
    }
    if head.vvar != 0 {
        fresh(head.vvar as usize, head.vvar_len as usize, libc::PROT_READ)?;
    }
    let (start, len) = (head.vdso as usize, head.vdso_len as usize);
    fresh(start, len, libc::PROT_READ | libc::PROT_WRITE)?;
    let (new, _) = now(g, head);
    // SAFETY: the pages are fresh and writable; ckpt_restart checked that each forward lies in the image.
    unsafe {
        core::ptr::copy_nonoverlapping(image.as_ptr(), start as *mut u8, image.len());
        for f in g.table::<Forward>(head.forwards) {
            let code = code(f, new);
            core::ptr::copy_nonoverlapping(code.as_ptr(), (start + f.at as usize) as *mut u8, code.len());
        }
    }
    let prot = (libc::PROT_READ | libc::PROT_EXEC) as usize;
    // SAFETY: our own pages.
    at(step::VDSO, head.vdso, unsafe { syscall3(libc::SYS_mprotect, start, len, prot) }).map(drop)
}

fn fresh(start: usize, len: usize, prot: i32) -> Outcome {
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE) as usize;
    // SAFETY: NOREPLACE: the range is free.
    at(step::VDSO, start as u64, unsafe { syscall6(libc::SYS_mmap, start, len, prot as usize, flags, usize::MAX, 0) }).map(drop)
}

/// `mov rax, address; jmp rax`, or `mov eax, number; syscall; ret`: arguments are in the same registers.
fn code(f: &Forward, new: usize) -> [u8; FORWARD_LEN as usize] {
    let mut code = [0x90; FORWARD_LEN as usize];
    let number = NO_FUNCTION - f.to;
    if number <= 1024 {
        code[0] = 0xb8;
        code[1..5].copy_from_slice(&(number as u32).to_le_bytes());
        code[5..8].copy_from_slice(&[0x0f, 0x05, 0xc3]);
    } else {
        code[..2].copy_from_slice(&[0x48, 0xb8]);
        code[2..10].copy_from_slice(&(new as u64 + f.to).to_le_bytes());
        code[10..].copy_from_slice(&[0xff, 0xe0]);
    }
    code
}
