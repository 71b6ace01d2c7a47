//! `--ids namespace`: a private user and pid namespace, in which an ordinary user may choose pids.

use std::fs;
use std::io;

/// Before the agent is forked: it will be the first process of the new pid namespace. `ipc`: with System V objects of
/// its own.
pub fn enter(ipc: bool) -> io::Result<()> {
    // SAFETY: only ask.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    let user = if uid == 0 { 0 } else { libc::CLONE_NEWUSER };
    let ipc = if ipc { libc::CLONE_NEWIPC } else { 0 };
    // SAFETY: single-threaded; flags only.
    if unsafe { libc::unshare(user | ipc | libc::CLONE_NEWPID) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if user != 0 {
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
        fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
    }
    Ok(())
}

/// In the agent, the first process of the namespace: session and group have no id in here unless they begin in here.
pub fn settle() -> io::Result<()> {
    mount_proc()?;
    // SAFETY: our own session, group and terminal.
    unsafe {
        let terminal = libc::open(c"/dev/tty".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
        if terminal < 0 {
            libc::setsid();
            return Ok(());
        }
        let was_foreground = libc::tcgetpgrp(terminal) == libc::getpgrp();
        libc::setpgid(0, 0);
        if was_foreground {
            libc::tcsetpgrp(terminal, libc::getpgrp());
        }
        libc::close(terminal);
    }
    Ok(())
}

/// /proc of this namespace, seen by nobody else.
pub fn mount_proc() -> io::Result<()> {
    let none = std::ptr::null::<libc::c_char>();
    // SAFETY: NUL-terminated literals; our own mount namespace.
    unsafe {
        if libc::unshare(libc::CLONE_NEWNS) != 0
            || libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_SLAVE, none.cast()) != 0
            || libc::mount(c"proc".as_ptr(), c"/proc".as_ptr(), c"proc".as_ptr(), libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC, none.cast()) != 0
        {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

const CAP_CHECKPOINT_RESTORE: u32 = 40;
/// For the bounding set, which is full in a new namespace.
const CAP_SETPCAP: u32 = 8;
const CAP_SYS_NICE: u32 = 23;
const CAP_SYS_RESOURCE: u32 = 24;

const KEPT: [u32; 4] = [CAP_CHECKPOINT_RESTORE, CAP_SETPCAP, CAP_SYS_NICE, CAP_SYS_RESOURCE];

/// Capabilities of the namespace that must survive the exec of a user who is not root (ambient set); the restorer
/// drops them.
pub fn keep_capabilities() -> io::Result<()> {
    let header = [0x2008_0522u32, 0];
    let mut data = [0u32; 6];
    // SAFETY: layouts of capget(2), version 3; prctl with numbers.
    unsafe {
        if libc::syscall(libc::SYS_capget, header.as_ptr(), data.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        for cap in KEPT {
            let half = (cap / 32 * 3) as usize;
            data[half + 2] |= data[half + 1] & 1 << (cap % 32);
        }
        if libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        for cap in KEPT {
            libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, cap as libc::c_ulong, 0, 0);
        }
    }
    Ok(())
}
