//! User, groups and capabilities of a thread: by the system calls each thread may have its own.

use ckpt_sys::raw::*;

/// The same for threads with the same credentials (FNV-1a of what the kernel says).
pub fn digest() -> u64 {
    const GROUPS: usize = 64;
    const VERSION_3: u32 = 0x2008_0522;
    let mut words = [0u32; 12 + GROUPS];
    let header = [VERSION_3, 0];
    let at = words.as_mut_ptr() as usize;
    // SAFETY: every out-pointer lies in `words`, with room for what the call writes.
    let groups = unsafe {
        let _ = syscall3(libc::SYS_getresuid, at, at + 4, at + 8);
        let _ = syscall3(libc::SYS_getresgid, at + 12, at + 16, at + 20);
        let _ = syscall2(libc::SYS_capget, header.as_ptr() as usize, at + 24);
        syscall2(libc::SYS_getgroups, GROUPS, at + 48).unwrap_or(0)
    };
    words[..12 + groups].iter().fold(0xcbf2_9ce4_8422_2325, |h, &w| (h ^ w as u64).wrapping_mul(0x100_0000_01b3))
}

/// The checkpoint thread opens files of /proc as the process's effective user, not as the one it takes for files.
pub fn be_effective() {
    // SAFETY: numbers only; the credentials are this thread's alone.
    unsafe {
        let uid = syscall0(libc::SYS_geteuid).unwrap_or(0);
        let gid = syscall0(libc::SYS_getegid).unwrap_or(0);
        let _ = syscall1(libc::SYS_setfsgid, gid);
        let _ = syscall1(libc::SYS_setfsuid, uid);
    }
}
