//! timer_create(2): the thread that a timer tells, or whose time it counts, is named by id.

use super::abi::{ask, errno, hook, load, Plain};
use super::process::real;
use crate::{ids, maps, procfs};
use ckpt_sys::calls;
use ckpt_sys::idtable::{RealPid, VirtualPid};
use ckpt_sys::raw::{Errno, Result};
use core::ffi::{c_int, c_long, c_void};
use libc::{clockid_t, sigevent, timer_t};

hook! {
    unchecked fn timer_create(clock: clockid_t, event: *mut sigevent, timer: *mut timer_t) -> c_int,
        when ids::active() || clock == libc::CLOCK_THREAD_CPUTIME_ID => timer_create
}

const SIGEV_THREAD: c_int = 2;

/// A timer on "the calling thread's" CPU time is made on this thread's by name: the kernel shows no more than what was
/// asked for.
fn timer_create(clock: clockid_t, event: *mut sigevent, timer: *mut timer_t) -> Plain<c_int> {
    const PER_THREAD_SCHED: clockid_t = 4 | 2;
    let clock = match clock {
        libc::CLOCK_THREAD_CPUTIME_ID => (!calls::gettid() << 3) | PER_THREAD_SCHED,
        other => other,
    };
    let mut real_event = load(event.cast_const());
    if let Some(copy) = real_event.as_mut().filter(|e| e.sigev_notify == libc::SIGEV_THREAD_ID) {
        copy.sigev_notify_thread_id = real(copy.sigev_notify_thread_id);
        return Plain(timer_create::next(clock, copy, timer));
    }
    let made = timer_create::next(clock, event, timer);
    let by_thread = real_event.is_some_and(|e| e.sigev_notify == SIGEV_THREAD);
    if made == -1 && by_thread && ids::active() && errno() == Errno::INVAL && correct_helper() {
        return Plain(timer_create::next(clock, event, timer));
    }
    Plain(made)
}

/// timer_create(2) itself.
pub fn by_number(n: c_long, mut a: [usize; 6]) -> Result<usize> {
    let mut event = load(a[1] as *const sigevent).filter(|e| ids::active() && e.sigev_notify == libc::SIGEV_THREAD_ID);
    if let Some(copy) = event.as_mut() {
        copy.sigev_notify_thread_id = real(copy.sigev_notify_thread_id);
        a[1] = &raw const *copy as usize;
    }
    let made = ask!(n, a[0], a[1], a[2]);
    core::hint::black_box(&event);
    made
}

/// glibc starts one thread for all timers that call a function and keeps its id, for the kernel, in a variable of its
/// own: an id from before the restart. It is the one word of libc's data that is the id of a thread.
#[cold]
#[inline(never)]
fn correct_helper() -> bool {
    const MOST: usize = 256;
    let (own, mut tids, mut count) = (calls::getpid(), [0; MOST], 0);
    let listed = procfs::each_task(|tid| {
        if tid != own && count < MOST {
            tids[count] = tid;
            count += 1;
        }
    });
    let thread = |word: i32| {
        let known = ids::then(word).unwrap_or(VirtualPid(word));
        tids[..count].iter().copied().find(|&tid| tid != word && ids::to_virtual(RealPid(tid)) == known)
    };
    let Some((start, end)) = data_of_libc().filter(|_| listed.is_ok() && count < MOST) else { return false };
    let (mut found, mut places) = (None, 0);
    for at in (start..end).step_by(size_of::<i32>()) {
        // SAFETY: mapped and readable; other threads may write there, as they always may.
        let word = unsafe { (at as *const i32).read_volatile() };
        if let Some(tid) = (word > 0).then(|| thread(word)).flatten() {
            (found, places) = (Some((at, tid)), places + 1);
        }
    }
    match found {
        Some((at, tid)) if places == 1 => {
            // SAFETY: an aligned int of libc's writable data.
            unsafe { (at as *mut i32).write_volatile(tid) };
            true
        }
        _ => false,
    }
}

/// Its writable data, and what lies right behind: zeros at first.
fn data_of_libc() -> Option<(usize, usize)> {
    // SAFETY: a literal name of an object in libc's data.
    let inside = unsafe { dlsym(libc::RTLD_NEXT, c"_IO_2_1_stdout_".as_ptr()) } as u64;
    let mut room = [0u8; 8192];
    let mut found: Option<(u64, u64)> = None;
    maps::each(&mut room, |vma| {
        let writable = vma.prot & (libc::PROT_READ | libc::PROT_WRITE) == libc::PROT_READ | libc::PROT_WRITE;
        match &mut found {
            Some((_, end)) if *end == vma.start && writable && !vma.file => *end = vma.end,
            None if vma.start <= inside && inside < vma.end && writable => found = Some((vma.start, vma.end)),
            _ => {}
        }
        Ok(())
    })
    .ok()?;
    found.map(|(start, end)| (start as usize, end as usize))
}

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, symbol: *const core::ffi::c_char) -> *mut c_void;
}
