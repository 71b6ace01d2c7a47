//! A process that exists for one call. The kernel remembers who made a socket pair, connected or sent a message: the
//! number stays when the process is gone, and the program's own process can have it again.

use std::io;
use std::os::fd::RawFd;

/// What the stand-in leaves: an error number, or two descriptors.
#[repr(C)]
#[derive(Clone, Copy)]
struct Answer {
    errno: i32,
    fds: [RawFd; 2],
}

/// Who the stand-in is to the kernel.
pub enum As<'a> {
    /// this process
    Exactly(i32),
    /// anybody: is told who it was
    Anybody(&'a dyn Fn(i32) -> io::Result<()>),
}

/// Runs `work` as another process, which shares our descriptors. None: the number is not to be had.
pub fn run(who: As, work: &dyn Fn() -> io::Result<[RawFd; 2]>) -> io::Result<Option<[RawFd; 2]>> {
    let page = Page::new()?;
    // SAFETY: the mapping is as large as an answer and shared with the child.
    unsafe { page.0.write_volatile(Answer { errno: libc::EIO, fds: [-1; 2] }) };
    let Some(child) = spawn(&who) else { return Ok(None) };
    if child == 0 {
        let answer = match work() {
            Ok(fds) => Answer { errno: 0, fds },
            Err(e) => Answer { errno: e.raw_os_error().unwrap_or(libc::EIO), fds: [-1; 2] },
        };
        // SAFETY: as above; then the child ends without our exit handlers.
        unsafe {
            page.0.write_volatile(answer);
            libc::_exit(0);
        }
    }
    let mut status = 0;
    // SAFETY: status is an int; the child is ours.
    while unsafe { libc::waitpid(child, &mut status, 0) } < 0 && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted {}
    if let As::Anybody(tell) = who {
        tell(child)?;
    }
    // SAFETY: as above; the child has ended.
    match unsafe { page.0.read_volatile() } {
        Answer { errno: 0, fds } => Ok(Some(fds)),
        Answer { errno, .. } => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// fork(2) with our table of descriptors.
fn spawn(who: &As) -> Option<i32> {
    let As::Exactly(pid) = who else {
        // SAFETY: a fork without CLONE_VM and without a stack of its own; we are single-threaded.
        let child = unsafe { libc::syscall(libc::SYS_clone, libc::CLONE_FILES | libc::SIGCHLD, 0, 0, 0, 0) };
        return i32::try_from(child).ok().filter(|&child| child >= 0);
    };
    let mut args = [0u64; 11];
    args[0] = libc::CLONE_FILES as u64;
    args[4] = libc::SIGCHLD as u64;
    args[8] = std::ptr::from_ref(pid) as u64;
    args[9] = 1;
    // SAFETY: struct clone_args of 88 bytes; memory is not shared, and we are single-threaded.
    let child = unsafe { libc::syscall(libc::SYS_clone3, args.as_ptr(), 88) };
    i32::try_from(child).ok().filter(|&child| child >= 0)
}

struct Page(*mut Answer);

impl Page {
    fn new() -> io::Result<Page> {
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), size_of::<Answer>(), prot, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0) };
        if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Page(at.cast())) }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: our own mapping, used nowhere else.
        unsafe { libc::munmap(self.0.cast(), size_of::<Answer>()) };
    }
}
