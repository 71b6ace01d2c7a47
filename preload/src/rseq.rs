//! Restartable sequences: where each thread's area is, which the kernel does not say. glibc's lies at a fixed offset from
//! the thread pointer. Where glibc has none (`glibc.pthread.rseq=0`) allocators register one of their own, a thread-local
//! variable of theirs: at a fixed offset, too, which is noted when the first thread does.

use core::sync::atomic::{AtomicIsize, Ordering::*};
use ckpt_sys::raw::{syscall2, syscall4, Errno};

pub const SIGNATURE: usize = 0x5305_3053;
/// What is registered; later kernels take more, which nobody has to give.
pub const LEN: usize = 32;
const UNREGISTER: usize = 1;

/// Offsets from the thread pointer; 0: there is none.
static GLIBC: AtomicIsize = AtomicIsize::new(0);
static OWN: AtomicIsize = AtomicIsize::new(0);

/// For the constructor.
pub fn prepare() {
    GLIBC.store(abi().map_or(0, |(offset, size)| if size == 0 { 0 } else { offset }), Release);
}

/// The program has registered this area for the calling thread.
pub fn noted(area: usize, len: usize, flags: usize, signature: usize) {
    if (len, flags, signature) == (LEN, 0, SIGNATURE) {
        OWN.store(area.wrapping_sub(thread_pointer()) as isize, Release);
    }
}

/// The area of the calling thread, whose pointer is `fs`; 0 if it has none.
pub fn of_thread(fs: u64) -> u64 {
    let with = |offset: &AtomicIsize| {
        let offset = Some(offset.load(Acquire)).filter(|&o| o != 0 && fs != 0)?;
        let area = fs.wrapping_add(offset as u64);
        // SAFETY: fs is a glibc thread pointer, whose block holds the area; in a registered one the processor's number is.
        let processor = unsafe { ((area + 4) as *const i32).read_volatile() };
        (processor >= 0).then_some(area)
    };
    with(&GLIBC).or_else(|| with(&OWN).filter(|&area| is_registered(area))).unwrap_or(0)
}

/// A variable that was never registered may be zero: only the kernel tells it from one on the first processor.
fn is_registered(area: u64) -> bool {
    // SAFETY: the area is the calling thread's, and is given back at once where it had not been taken.
    unsafe {
        match syscall4(libc::SYS_rseq, area as usize, LEN, 0, SIGNATURE) {
            Ok(_) => syscall4(libc::SYS_rseq, area as usize, LEN, UNREGISTER, SIGNATURE).is_err(),
            Err(e) => e == Errno(libc::EBUSY),
        }
    }
}

/// The kernel writes into glibc's area on every return to user space: it must not be unmapped under it.
pub fn unregister() {
    let Some((offset, size)) = abi().filter(|r| r.1 != 0) else { return };
    let area = thread_pointer().wrapping_add(offset as usize);
    // SAFETY: the area is this thread's own and is not used any more.
    let _ = unsafe { syscall4(libc::SYS_rseq, area, (size as usize).max(LEN), UNREGISTER, SIGNATURE) };
}

fn thread_pointer() -> usize {
    let mut fs = 0usize;
    // SAFETY: fs is writable.
    let _ = unsafe { syscall2(libc::SYS_arch_prctl, 0x1003, &raw mut fs as usize) };
    fs
}

/// glibc 2.35: offset of the area from the thread pointer, and its size (0: not registered).
fn abi() -> Option<(isize, u32)> {
    // SAFETY: dlsym with literal names; the symbols are a ptrdiff_t and an unsigned int.
    unsafe {
        let offset = dlsym(core::ptr::null_mut(), c"__rseq_offset".as_ptr()).cast::<isize>().as_ref()?;
        let size = dlsym(core::ptr::null_mut(), c"__rseq_size".as_ptr()).cast::<u32>().as_ref()?;
        Some((*offset, *size))
    }
}

unsafe extern "C" {
    fn dlsym(handle: *mut core::ffi::c_void, name: *const core::ffi::c_char) -> *mut core::ffi::c_void;
}
