//! Native AIO: a context is made again and its ring moved to the address that is its id (`aio_ring_mremap`).

use super::{Ground, Outcome, at, step};
use ckpt_sys::calls::*;
use ckpt_sys::flat::plan::{Aio, PlanHead};
use ckpt_sys::raw::*;

/// `struct iocb`, the fields that a read of /dev/null needs.
#[repr(C)]
#[derive(Default)]
struct Iocb {
    data: u64,
    key_and_flags: u64,
    opcode: u16,
    priority: i16,
    fd: u32,
    buffer: u64,
    bytes: u64,
    offset: i64,
    rest: [u64; 2],
}

/// Bytes before the events in `struct aio_ring`.
const HEADER: usize = 32;

pub fn restore(g: &Ground, head: &PlanHead) -> Outcome {
    let mut events = g.table::<[u64; 4]>(head.aio_events);
    for ring in g.table::<Aio>(head.aio) {
        at(step::AIO, ring.addr, make(ring))?;
        let (own, rest) = events.split_at(ring.events as usize);
        at(step::AIO, ring.addr, refill(ring, own))?;
        events = rest;
    }
    Ok(())
}

/// The kernel doubles what is asked for, adds 2 and fills whole pages (`ioctx_alloc`, `aio_setup_ring`).
fn make(ring: &Aio) -> Result<()> {
    let (addr, len) = (ring.addr as usize, ring.len as usize);
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    let mut context = 0usize;
    // SAFETY: the place is taken first, so that the new ring lies elsewhere; then the ring replaces what holds it.
    unsafe {
        syscall6(libc::SYS_mmap, addr, len, prot as usize, flags as usize, usize::MAX, 0)?;
        syscall2(libc::SYS_io_setup, (ring.slots as usize - 2) / 2, &raw mut context as usize)?;
        let flags = (libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED) as usize;
        syscall5(libc::SYS_mremap, context, len, len, flags, addr)?;
    }
    Ok(())
}

/// Events can only come from requests: as many reads of /dev/null end at once, then their events are replaced.
fn refill(ring: &Aio, events: &[[u64; 4]]) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let null = open(c"/dev/null", libc::O_RDONLY | libc::O_CLOEXEC)?;
    let mut byte = 0u8;
    let request = Iocb { fd: null as u32, buffer: &raw mut byte as u64, bytes: 1, ..Iocb::default() };
    let list = [&raw const request as usize];
    // SAFETY: the request and its buffer outlive each call, which ends it.
    let submit = || unsafe { syscall3(libc::SYS_io_submit, ring.addr as usize, 1, list.as_ptr() as usize) };
    let done = events.iter().try_for_each(|_| submit().map(drop));
    close(null);
    done?;
    for (i, event) in events.iter().enumerate() {
        // SAFETY: the new ring starts empty and has as many slots as the old one, of which all events were taken.
        unsafe { ((ring.addr as usize + HEADER) as *mut [u64; 4]).add(i).write(*event) };
    }
    Ok(())
}
