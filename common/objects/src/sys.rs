//! Thin, safe shells around the system calls that every kind needs.

use std::cmp::Ordering;
use std::ffi::CString;
use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub fn cvt(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

fn cvt_len(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Takes ownership of a descriptor that a system call just returned.
pub fn own(fd: libc::c_int) -> io::Result<OwnedFd> {
    let fd = cvt(fd)?;
    // SAFETY: the kernel just made this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub fn cstring(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from)
}

pub fn fcntl(fd: RawFd, command: i32, argument: i32) -> io::Result<i32> {
    // SAFETY: used only with commands whose argument is an integer.
    cvt(unsafe { libc::fcntl(fd, command, argument) })
}

pub fn fcntl_struct<T>(fd: RawFd, command: i32, argument: &mut T) -> io::Result<i32> {
    // SAFETY: the caller pairs the command with the struct the kernel expects for it.
    cvt(unsafe { libc::fcntl(fd, command, argument as *mut T) })
}

pub fn ioctl_get<T: Copy>(fd: RawFd, request: u64) -> io::Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: the caller pairs the request with the type the kernel writes; zeroes are valid for these plain types.
    unsafe {
        cvt(libc::ioctl(fd, request, value.as_mut_ptr()))?;
        Ok(value.assume_init())
    }
}

pub fn ioctl_set<T: Copy>(fd: RawFd, request: u64, value: &T) -> io::Result<()> {
    // SAFETY: the caller pairs the request with the type the kernel reads.
    cvt(unsafe { libc::ioctl(fd, request, value as *const T) }).map(drop)
}

pub fn ioctl_value(fd: RawFd, request: u64, value: i64) -> io::Result<i32> {
    // SAFETY: used only with requests whose argument is an integer.
    cvt(unsafe { libc::ioctl(fd, request, value) })
}

/// Bytes to read now (`FIONREAD`, also `SIOCINQ`).
pub fn readable_bytes(fd: RawFd) -> io::Result<usize> {
    ioctl_get::<libc::c_int>(fd, libc::FIONREAD).map(|n| n.max(0) as usize)
}

pub fn fstat(fd: RawFd) -> io::Result<libc::stat> {
    let mut stat = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: fstat fills the struct, all zeroes are a valid one.
    unsafe {
        cvt(libc::fstat(fd, stat.as_mut_ptr()))?;
        Ok(stat.assume_init())
    }
}

pub fn stat(path: &Path) -> io::Result<libc::stat> {
    let path = cstring(path)?;
    let mut stat = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: a NUL-terminated path and a struct that the kernel fills.
    unsafe {
        cvt(libc::stat(path.as_ptr(), stat.as_mut_ptr()))?;
        Ok(stat.assume_init())
    }
}

pub fn open(path: &Path, flags: i32, mode: u32) -> io::Result<OwnedFd> {
    let path = cstring(path)?;
    // SAFETY: a NUL-terminated path.
    own(unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, mode) })
}

/// A new description of the same inode, with other flags.
pub fn reopen(fd: RawFd, flags: i32) -> io::Result<OwnedFd> {
    // The name in /proc is a link: O_NOFOLLOW, which shm_open(3) sets, speaks of the name that the program used.
    open(Path::new(&format!("/proc/self/fd/{fd}")), flags & !libc::O_NOFOLLOW, 0)
}

pub fn readlink(path: &str) -> io::Result<Vec<u8>> {
    Ok(std::fs::read_link(path)?.as_os_str().as_bytes().to_vec())
}

pub fn dup(fd: RawFd) -> io::Result<OwnedFd> {
    own(fcntl(fd, libc::F_DUPFD_CLOEXEC, 3)?)
}

pub fn dup2(from: RawFd, to: RawFd) -> io::Result<()> {
    if from == to {
        return fcntl(to, libc::F_SETFD, 0).map(drop);
    }
    // SAFETY: plain descriptor numbers.
    cvt(unsafe { libc::dup2(from, to) }).map(drop)
}

pub fn close_raw(fd: RawFd) {
    // SAFETY: closing a number that the caller owns; an error leaves nothing to do.
    unsafe { libc::close(fd) };
}

pub fn close_range(first: u32, last: u32) {
    // SAFETY: the caller owns every number of the range.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
}

pub fn pipe(flags: i32) -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: the array has room for both ends.
    cvt(unsafe { libc::pipe2(fds.as_mut_ptr(), flags | libc::O_CLOEXEC) })?;
    Ok((own(fds[0])?, own(fds[1])?))
}

pub fn tee(from: RawFd, to: RawFd, len: usize) -> io::Result<usize> {
    // SAFETY: two pipe descriptors, no memory involved.
    cvt_len(unsafe { libc::tee(from, to, len, libc::SPLICE_F_NONBLOCK) })
}

pub fn read(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the buffer is as long as said.
    cvt_len(unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) })
}

pub fn write(fd: RawFd, buffer: &[u8]) -> io::Result<usize> {
    // SAFETY: the buffer is as long as said.
    cvt_len(unsafe { libc::write(fd, buffer.as_ptr().cast(), buffer.len()) })
}

pub fn write_all(fd: RawFd, mut buffer: &[u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        match write(fd, buffer) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => buffer = &buffer[n..],
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

pub fn pread(fd: RawFd, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    // SAFETY: the buffer is as long as said.
    cvt_len(unsafe { libc::pread(fd, buffer.as_mut_ptr().cast(), buffer.len(), offset as i64) })
}

pub fn lseek(fd: RawFd, offset: i64, whence: i32) -> io::Result<u64> {
    // SAFETY: no memory involved.
    let at = unsafe { libc::lseek(fd, offset, whence) };
    u64::try_from(at).map_err(|_| io::Error::last_os_error())
}

/// What is ready now or within `timeout_ms`.
pub fn poll(fd: RawFd, events: i16, timeout_ms: i32) -> io::Result<i16> {
    let mut p = libc::pollfd { fd, events, revents: 0 };
    // SAFETY: one pollfd.
    cvt(unsafe { libc::poll(&mut p, 1, timeout_ms) })?;
    Ok(p.revents)
}

/// Orders two descriptors of this process by the open file description behind them.
pub fn kcmp_file(a: RawFd, b: RawFd) -> io::Result<Ordering> {
    let pid = std::process::id();
    // SAFETY: KCMP_FILE (0) takes two descriptor numbers.
    let order = unsafe { libc::syscall(libc::SYS_kcmp, pid, pid, 0, a, b) };
    match order {
        0 => Ok(Ordering::Equal),
        1 => Ok(Ordering::Less),
        2 => Ok(Ordering::Greater),
        -1 => Err(io::Error::last_os_error()),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Whether `file` is what `epoll` watches as its `nth` entry under the number `watched`.
pub fn kcmp_epoll(file: RawFd, epoll: RawFd, watched: u32, nth: u32) -> io::Result<bool> {
    let slot = [epoll as u32, watched, nth];
    let pid = std::process::id();
    // SAFETY: KCMP_EPOLL_TFD (7) takes a descriptor and a struct of three u32.
    let order = unsafe { libc::syscall(libc::SYS_kcmp, pid, pid, 7, file, slot.as_ptr()) };
    match order {
        -1 => Err(io::Error::last_os_error()),
        order => Ok(order == 0),
    }
}

/// Linux 6.10: are these the same description?
pub fn same_file_query(a: RawFd, b: RawFd) -> io::Result<bool> {
    const F_DUPFD_QUERY: i32 = 1027;
    fcntl(a, F_DUPFD_QUERY, b).map(|same| same == 1)
}

pub fn fs_magic(fd: RawFd) -> io::Result<i64> {
    let mut fs = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: fstatfs fills the struct, all zeroes are a valid one.
    unsafe {
        cvt(libc::fstatfs(fd, fs.as_mut_ptr()))?;
        Ok(fs.assume_init().f_type)
    }
}

/// Room for the objects of all processes; root may have more than its limit says.
pub fn raise_file_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: plain structs.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) != 0 {
            return;
        }
        let most = limit.rlim_max.max(1 << 20);
        let more = libc::rlimit { rlim_cur: most, rlim_max: most };
        if libc::setrlimit(libc::RLIMIT_NOFILE, &more) != 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

/// Views plain data as bytes.
pub fn bytes_of<T: Copy>(value: &T) -> &[u8] {
    // SAFETY: the reference covers size_of::<T>() bytes; used with padding-free kernel structs.
    unsafe { std::slice::from_raw_parts((value as *const T).cast(), mem::size_of::<T>()) }
}

/// Reads plain data from the front of `bytes`, zero-filled when they are short.
pub fn from_bytes<T: Copy>(bytes: &[u8]) -> T {
    let mut value = MaybeUninit::<T>::zeroed();
    let len = bytes.len().min(mem::size_of::<T>());
    // SAFETY: copies no more than the value holds; used with plain kernel structs, valid for any bytes.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), value.as_mut_ptr().cast(), len);
        value.assume_init()
    }
}

/// For this thread, as far as it may. An id of -1 stays.
pub fn become_user(uid: u32, gid: u32) {
    // SAFETY: numbers only; libc's functions would change every thread.
    unsafe {
        libc::syscall(libc::SYS_setresgid, -1, gid, -1);
        libc::syscall(libc::SYS_setresuid, -1, uid, -1);
    }
}

/// The process's own folder, put back when dropped.
pub struct Folder(OwnedFd);

impl Folder {
    pub fn enter(path: &Path) -> io::Result<Folder> {
        let old = open(Path::new("."), libc::O_PATH | libc::O_DIRECTORY, 0)?;
        std::env::set_current_dir(path)?;
        Ok(Folder(old))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // SAFETY: a descriptor of a folder that we own.
        unsafe { libc::fchdir(self.0.as_raw_fd()) };
    }
}

/// A hidden name that nobody can have taken beforehand.
/// rename(2) that replaces nothing, where the file system can do that.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    let (old, new) = (cstring(from)?, cstring(to)?);
    // SAFETY: NUL-terminated paths.
    let done = cvt(unsafe { libc::renameat2(libc::AT_FDCWD, old.as_ptr(), libc::AT_FDCWD, new.as_ptr(), libc::RENAME_NOREPLACE) });
    match done {
        Err(e) if matches!(e.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) => std::fs::rename(from, to),
        done => done.map(drop),
    }
}

pub fn spare_name() -> String {
    let mut random = [0u8; 8];
    // SAFETY: random is writable for its length; eight bytes come whole once the kernel has any.
    let n = unsafe { libc::getrandom(random.as_mut_ptr().cast(), random.len(), 0) };
    let number = if n == 8 { u64::from_ne_bytes(random) } else { u64::from(std::process::id()) };
    format!(".ckpt-{number:016x}")
}
