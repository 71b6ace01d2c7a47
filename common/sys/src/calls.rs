//! Safe or narrowly unsafe wrappers of the calls that the library makes, one line each.

use crate::raw::*;
use core::ffi::CStr;

pub type Fd = i32;

pub fn getpid() -> i32 {
    // SAFETY: no arguments, no memory.
    unsafe { raw6(libc::SYS_getpid as usize, 0, 0, 0, 0, 0, 0) as i32 }
}

pub fn gettid() -> i32 {
    // SAFETY: no arguments, no memory.
    unsafe { raw6(libc::SYS_gettid as usize, 0, 0, 0, 0, 0, 0) as i32 }
}

pub fn getppid() -> i32 {
    // SAFETY: no arguments, no memory.
    unsafe { raw6(libc::SYS_getppid as usize, 0, 0, 0, 0, 0, 0) as i32 }
}

pub fn open(path: &CStr, flags: i32) -> Result<Fd> {
    // SAFETY: path is NUL-terminated and outlives the call.
    unsafe { syscall4(libc::SYS_openat, libc::AT_FDCWD as usize, path.as_ptr() as usize, flags as usize, 0o600) }
        .map(|fd| fd as Fd)
}

pub fn close(fd: Fd) {
    // SAFETY: closing a number has no memory effect.
    let _ = unsafe { syscall1(libc::SYS_close, fd as usize) };
}

pub fn read(fd: Fd, buf: &mut [u8]) -> Result<usize> {
    // SAFETY: buf is writable for its length.
    unsafe { syscall3(libc::SYS_read, fd as usize, buf.as_mut_ptr() as usize, buf.len()) }
}

pub fn write(fd: Fd, buf: &[u8]) -> Result<usize> {
    // SAFETY: buf is readable for its length.
    unsafe { syscall3(libc::SYS_write, fd as usize, buf.as_ptr() as usize, buf.len()) }
}

pub fn write_all(fd: Fd, mut buf: &[u8]) -> Result<()> {
    while !buf.is_empty() {
        match write(fd, buf) {
            Ok(0) => return Err(Errno(libc::EIO)),
            Ok(n) => buf = &buf[n..],
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Reads to the end or until `buf` is full; the bytes read.
pub fn read_full(fd: Fd, buf: &mut [u8]) -> Result<usize> {
    let mut got = 0;
    while got < buf.len() {
        match read(fd, &mut buf[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(got)
}

/// Private anonymous memory, zeroed, `len` bytes rounded up to pages.
pub fn map_anon(len: usize) -> Result<*mut u8> {
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a fresh mapping overlaps nothing.
    unsafe { syscall6(libc::SYS_mmap, 0, len, prot as usize, flags as usize, usize::MAX, 0) }.map(|p| p as *mut u8)
}

/// # Safety
/// Nothing may use the range afterwards.
pub unsafe fn munmap(addr: usize, len: usize) -> Result<()> {
    // SAFETY: by the caller's contract.
    unsafe { syscall2(libc::SYS_munmap, addr, len) }.map(drop)
}

pub fn madvise(addr: usize, len: usize, advice: i32) -> Result<()> {
    // SAFETY: callers advise ranges of their own; content-changing advice is theirs to answer for.
    unsafe { syscall3(libc::SYS_madvise, addr, len, advice as usize) }.map(drop)
}

/// Waits while `*word == value`; spurious returns are possible. `timeout_ms < 0` waits for ever.
pub fn futex_wait(word: &core::sync::atomic::AtomicU32, value: u32, timeout_ms: i64) -> Result<()> {
    let ts = [timeout_ms / 1000, timeout_ms % 1000 * 1_000_000];
    let ts_ptr = if timeout_ms < 0 { 0 } else { ts.as_ptr() as usize };
    // SAFETY: word and ts outlive the call.
    unsafe { syscall4(libc::SYS_futex, word.as_ptr() as usize, libc::FUTEX_WAIT as usize, value as usize, ts_ptr) }
        .map(drop)
}

pub fn futex_wake_all(word: &core::sync::atomic::AtomicU32) {
    // SAFETY: the word's address is only compared by the kernel.
    let _ = unsafe { syscall3(libc::SYS_futex, word.as_ptr() as usize, libc::FUTEX_WAKE as usize, i32::MAX as usize) };
}

pub fn kill(pid: i32, sig: i32) -> Result<()> {
    // SAFETY: numbers only.
    unsafe { syscall2(libc::SYS_kill, pid as usize, sig as usize) }.map(drop)
}

pub fn tgkill(pid: i32, tid: i32, sig: i32) -> Result<()> {
    // SAFETY: numbers only.
    unsafe { syscall3(libc::SYS_tgkill, pid as usize, tid as usize, sig as usize) }.map(drop)
}

/// CLOCK_MONOTONIC in nanoseconds.
pub fn monotonic_ns() -> u64 {
    let mut ts = [0i64; 2];
    // SAFETY: ts has the layout of struct timespec.
    let _ = unsafe { syscall2(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC as usize, ts.as_mut_ptr() as usize) };
    ts[0] as u64 * 1_000_000_000 + ts[1] as u64
}

pub fn prctl(op: i32, a: usize, b: usize, c: usize, d: usize) -> Result<usize> {
    // SAFETY: pointer arguments are the caller's, checked by the kernel with EFAULT.
    unsafe { syscall5(libc::SYS_prctl, op as usize, a, b, c, d) }
}

pub fn exit_thread(code: i32) -> ! {
    loop {
        // SAFETY: ends the calling thread.
        let _ = unsafe { syscall1(libc::SYS_exit, code as usize) };
    }
}

pub fn exit_group(code: i32) -> ! {
    loop {
        // SAFETY: ends the calling process.
        let _ = unsafe { syscall1(libc::SYS_exit_group, code as usize) };
    }
}
