//! System calls by inline assembly: no libc name, no errno, no thread-local storage.

use core::arch::asm;

/// A kernel error number, 1..4095 (`errno(3)`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(pub i32);

impl Errno {
    pub const PERM: Errno = Errno(libc::EPERM);
    pub const NOENT: Errno = Errno(libc::ENOENT);
    pub const SRCH: Errno = Errno(libc::ESRCH);
    pub const INTR: Errno = Errno(libc::EINTR);
    pub const AGAIN: Errno = Errno(libc::EAGAIN);
    pub const NOMEM: Errno = Errno(libc::ENOMEM);
    pub const INVAL: Errno = Errno(libc::EINVAL);
    pub const NOSYS: Errno = Errno(libc::ENOSYS);
}

pub type Result<T> = core::result::Result<T, Errno>;

#[inline(always)]
pub fn check(ret: isize) -> Result<usize> {
    if (-4095..0).contains(&ret) {
        Err(Errno(-ret as i32))
    } else {
        Ok(ret as usize)
    }
}

/// The system call as the kernel sees it: six arguments, `-errno` on failure.
///
/// # Safety
/// The arguments must be valid for call `n` (`syscall(2)`); a call that writes memory, ends the thread
/// or changes mappings does so unseen by the compiler.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub unsafe fn raw6(n: usize, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> isize {
    let ret: isize;
    // SAFETY: the caller answers for the arguments; rcx and r11 are the only registers the kernel clobbers.
    unsafe {
        asm!("syscall", inlateout("rax") n => ret, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
             in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    ret
}

macro_rules! syscall_fn {
    ($name:ident $(, $arg:ident)*; $($zero:literal)*) => {
        /// # Safety
        /// As `raw6`.
        #[inline(always)]
        pub unsafe fn $name(n: libc::c_long $(, $arg: usize)*) -> Result<usize> {
            // SAFETY: the caller's contract is that of `raw6`.
            check(unsafe { raw6(n as usize $(, $arg)* $(, $zero)*) })
        }
    };
}
syscall_fn!(syscall0; 0 0 0 0 0 0);
syscall_fn!(syscall1, a; 0 0 0 0 0);
syscall_fn!(syscall2, a, b; 0 0 0 0);
syscall_fn!(syscall3, a, b, c; 0 0 0);
syscall_fn!(syscall4, a, b, c, d; 0 0);
syscall_fn!(syscall5, a, b, c, d, e; 0);
syscall_fn!(syscall6, a, b, c, d, e, f;);
