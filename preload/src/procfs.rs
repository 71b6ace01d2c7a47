//! /proc, read by the checkpoint thread about its own process (proc(5)).

use ckpt_sys::calls::*;
pub use ckpt_sys::procfs::number as parse;
use ckpt_sys::procfs::{self, InCall};
use ckpt_sys::raw::*;
use core::ffi::CStr;

/// A path built on the stack.
pub struct Path {
    buf: [u8; 192],
    len: usize,
}

impl Path {
    pub fn new(head: &str) -> Self {
        Path { buf: [0; 192], len: 0 }.text(head)
    }

    pub fn text(mut self, s: &str) -> Self {
        for &b in s.as_bytes().iter().take(191 - self.len) {
            self.buf[self.len] = b;
            self.len += 1;
        }
        self
    }

    pub fn number(self, n: i32) -> Self {
        let mut digits = [0u8; 12];
        let mut at = digits.len();
        let mut n = n.unsigned_abs();
        loop {
            at -= 1;
            digits[at] = b'0' + (n % 10) as u8;
            n /= 10;
            if n == 0 {
                break;
            }
        }
        self.text(core::str::from_utf8(&digits[at..]).unwrap_or(""))
    }

    pub fn c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.buf).unwrap_or(c"")
    }
}

/// Calls `f` with each name in a directory of numbers. Errors: ENOENT where /proc is not mounted.
pub fn each_number(dir: &CStr, mut f: impl FnMut(i32)) -> Result<()> {
    each_entry(dir, |number, _| f(number))
}

/// The same, and with the descriptor that the directory is read from.
pub fn each_entry(dir: &CStr, mut f: impl FnMut(i32, Fd)) -> Result<()> {
    let fd = open(dir, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC)?;
    let mut buf = [0u64; 512];
    let result = loop {
        // SAFETY: buf is writable for its length.
        let n = unsafe { syscall3(libc::SYS_getdents64, fd as usize, buf.as_mut_ptr() as usize, size_of_val(&buf)) };
        let n = match n {
            Ok(0) => break Ok(()),
            Ok(n) => n,
            Err(e) => break Err(e),
        };
        // SAFETY: the kernel wrote n bytes.
        let bytes = unsafe { core::slice::from_raw_parts(buf.as_ptr().cast::<u8>(), n) };
        let mut at = 0;
        while at + 19 < n {
            let len = u16::from_ne_bytes([bytes[at + 16], bytes[at + 17]]) as usize;
            let name = &bytes[at + 19..(at + len).min(n)];
            let end = name.iter().position(|&b| b == 0).unwrap_or(name.len());
            if let Some(number) = parse(&name[..end]) {
                f(number, fd);
            }
            at += len.max(19);
        }
    };
    close(fd);
    result
}

/// Every thread of this process. `/proc/self/task` works with the main thread gone, `/proc/self/maps` does not.
pub fn each_task(f: impl FnMut(i32)) -> Result<()> {
    each_number(c"/proc/self/task", f)
}

fn task_file<'a>(tid: i32, name: &str, buf: &'a mut [u8]) -> Option<&'a [u8]> {
    file(Path::new("/proc/self/task/").number(tid).text(name), buf)
}

fn file(path: Path, buf: &mut [u8]) -> Option<&[u8]> {
    let fd = open(path.c_str(), libc::O_RDONLY | libc::O_CLOEXEC).ok()?;
    // The kernel makes such a file at the first read, and gives as much of it as there is room for.
    let n = read(fd, buf);
    close(fd);
    Some(&buf[..n.ok()?])
}

/// A main thread that called pthread_exit stays in the list as a zombie.
pub fn is_dead(tid: i32) -> bool {
    let mut buf = [0; 512];
    let Some(stat) = task_file(tid, "/stat", &mut buf) else { return true };
    matches!(procfs::state(stat), Some(b'Z' | b'X'))
}

/// What a main thread that has ended gave to exit(2).
pub fn exit_code(pid: i32) -> i32 {
    let mut buf = [0; 512];
    let stat = task_file(pid, "/stat", &mut buf).unwrap_or(b"");
    procfs::wait_status(stat).map_or(0, |status| libc::WEXITSTATUS(status))
}

/// The system call that the thread is in; None when it runs.
pub fn in_call(tid: i32) -> Option<InCall> {
    let mut buf = [0; 256];
    procfs::in_call(task_file(tid, "/syscall", &mut buf)?)
}

/// `se.exec_start` of /proc/PID/task/TID/sched, nanoseconds: when the thread last ran, which for one that sleeps is when
/// it fell asleep.
pub fn last_ran(tid: i32) -> Option<u64> {
    let mut buf = [0; 512];
    procfs::last_ran(task_file(tid, "/sched", &mut buf)?)
}

/// The processor that the thread last ran on (field 39 of stat).
pub fn processor(tid: i32) -> Option<u32> {
    let mut buf = [0; 512];
    procfs::processor(task_file(tid, "/stat", &mut buf)?)
}

/// The thread's nice value.
pub fn nice(tid: i32) -> Option<i32> {
    let mut buf = [0; 512];
    procfs::nice(task_file(tid, "/stat", &mut buf)?)
}

/// Is `sig` in the thread's SigBlk?
pub fn blocks(tid: i32, sig: i32) -> bool {
    blocked(tid) & crate::signals::bit(sig) != 0
}

pub fn blocked(tid: i32) -> u64 {
    mask(tid, b"SigBlk:\t")
}

/// Signals that are pending for the thread itself.
pub fn pending(tid: i32) -> u64 {
    mask(tid, b"SigPnd:\t")
}

fn mask(tid: i32, name: &[u8]) -> u64 {
    let mut buf = [0; 4096];
    task_file(tid, "/status", &mut buf).and_then(|status| procfs::mask(status, name)).unwrap_or(0)
}

/// How many seccomp filters hold for the thread.
pub fn filters(tid: i32) -> u64 {
    let mut buf = [0; 4096];
    task_file(tid, "/status", &mut buf).and_then(|status| procfs::count(status, b"Seccomp_filters:\t")).unwrap_or(0)
}

/// The capabilities that a process, of this program or not, may make use of.
pub fn permitted(pid: i32) -> u64 {
    let mut buf = [0; 4096];
    file(Path::new("/proc/").number(pid).text("/status"), &mut buf).and_then(|status| procfs::mask(status, b"CapPrm:\t")).unwrap_or(0)
}

/// Its user and group, as /proc shows them.
pub fn owner(pid: i32) -> Option<[u32; 2]> {
    let (path, mut stat) = (Path::new("/proc/").number(pid), [0u32; 36]);
    // SAFETY: stat is as long as struct stat.
    unsafe { syscall4(libc::SYS_newfstatat, libc::AT_FDCWD as usize, path.c_str().as_ptr() as usize, stat.as_mut_ptr() as usize, 0) }.ok()?;
    Some([stat[7], stat[8]])
}
