//! Memory to file. The writer is a frozen copy of the process (a fork without its threads), or, when the program
//! is held, the checkpoint thread itself.

use crate::arena::Arena;
use crate::channel::Channel;
use crate::{asm, faults, runs, state};
use ckpt_sys::fault::{self, Effect, Stage};
use ckpt_sys::flat::*;
use ckpt_sys::calls::*;
use ckpt_sys::raw::*;
use core::ptr::null;
use core::sync::atomic::{AtomicU32, Ordering::*};

type Done = core::result::Result<(), (u32, Errno)>;

/// Makes the snapshot: a frozen child that writes, or (`hold`) this thread right away. `fds`: the writer's socket, and where
/// the agent wants the table of runs, or -1.
pub fn freeze(a: &Arena, ch: &Channel, fds: &[Fd; 4], m: &Msg) -> Done {
    let [socket, table, ..] = *fds;
    if m.arg == 0 && a.is_in_place() {
        return Err((stage::FREEZE, Errno::AGAIN));
    }
    let (hold, incremental) = (m.arg != 0, m.arg2 != 0);
    a.note_holes();
    faults::at(Stage::InFreeze).map_err(|e| (stage::FREEZE, e))?;
    let fault = faults::due(Stage::InWrite);
    if hold {
        let writer = Channel::on(socket);
        match strike(fault).and_then(|()| runs::write_snapshot(a, &writer, true, incremental, table, ch.body())) {
            Ok(()) => drop(ch.send(Msg { kind: msg::FROZEN, ..Msg::default() })),
            // Said where it is waited for.
            Err(e) => writer.fail(stage::WRITE, e, 0),
        }
        return Ok(());
    }
    let flipped = |advice_on: i32, advice_off: i32| Flip { on: advice_on, off: advice_off };
    let flips = [flipped(libc::MADV_DOFORK, libc::MADV_DONTFORK), flipped(libc::MADV_KEEPONFORK, libc::MADV_WIPEONFORK)];
    let ranges = forkless_ranges(ch.body());
    for r in ranges.iter().flatten() {
        let _ = madvise(r.0, r.1, flips[r.2].on);
    }
    let pid = fork_orphan(&mut Job { arena: a, socket, table, incremental, ranges: ch.body(), fault, pid: 0 });
    for r in ranges.iter().flatten() {
        let _ = madvise(r.0, r.1, flips[r.2].off);
    }
    let pid = pid.map_err(|e| (stage::FREEZE, e))?;
    ch.send(Msg { kind: msg::FROZEN, arg: pid as u64, ..Msg::default() });
    Ok(())
}

struct Flip {
    on: i32,
    off: i32,
}

/// Ranges that a fork would leave out or wipe, as the agent read them from smaps: SharedRange with offset 0
/// for MADV_DONTFORK, 1 for MADV_WIPEONFORK. 2 is a mapping that `runs` is told of, 3 one that a frozen copy lets go of.
fn forkless_ranges(body: &[u8]) -> [Option<(usize, usize, usize)>; 64] {
    let mut out = [None; 64];
    let forkless = ranges(body).filter(|r| r.offset < 2 && r.addr as usize != state::state_page_addr());
    for (slot, r) in out.iter_mut().zip(forkless) {
        *slot = Some((r.addr as usize, r.len as usize, r.offset as usize & 1));
    }
    out
}

pub fn ranges(body: &[u8]) -> impl Iterator<Item = SharedRange> + '_ {
    body.chunks_exact(size_of::<SharedRange>()).filter_map(from_bytes)
}

/// Forks a writer that belongs to nobody in the program: its parent, a clone in our memory, is gone before the
/// threads run again, and the agent, as subreaper, inherits it. No SIGCHLD, nothing to wait for.
fn fork_orphan(job: &mut Job) -> Result<i32> {
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FS | libc::CLONE_FILES;
    // SAFETY: the middle process runs on the arena's scratch, which nobody uses meanwhile (CLONE_VFORK).
    unsafe {
        let stack = job.arena.scratch();
        let top = (stack.as_ptr() as usize + stack.len()) & !15;
        let middle = check(asm::clone_thread(flags as usize, top, middle, core::ptr::from_mut(job) as usize))?;
        syscall4(libc::SYS_wait4, middle, 0, WALL, 0)?;
    }
    check(job.pid).map(|pid| pid as i32)
}

/// `__WALL`: also children without an exit signal.
pub const WALL: usize = 0x4000_0000;

struct Job<'a> {
    arena: &'a Arena,
    socket: Fd,
    table: Fd,
    incremental: bool,
    ranges: &'a [u8],
    fault: Option<Effect>,
    pid: isize,
}

unsafe extern "C" fn middle(job: usize) -> ! {
    // SAFETY: fork_orphan passes its Job and waits; a plain fork without exit signal.
    unsafe {
        let job = &mut *(job as *mut Job);
        job.pid = raw6(libc::SYS_clone as usize, 0, 0, 0, 0, 0, 0);
        if job.pid == 0 {
            frozen(job)
        }
    }
    exit_group(0)
}

/// Descriptors that this process closes end its registration with mq_notify(3) (`mqueue_flush_file` compares
/// processes), even in the checkpoint thread's own table. So a helper, an orphan in our memory that shares that table,
/// closes them as itself, outlives the thread and unmaps the arena. True: all but `channel` are closed.
pub fn hand_over(a: &Arena, channel: Fd) -> bool {
    if a.is_in_place() {
        return false;
    }
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FS | libc::CLONE_FILES;
    let mut job = Heir { arena: a, process: getpid(), thread: gettid(), channel, made: null(), closed: AtomicU32::new(0) };
    // SAFETY: the middle process runs on the upper end of the scratch, which nobody uses meanwhile (CLONE_VFORK).
    unsafe {
        let stack = a.scratch();
        let top = (stack.as_ptr() as usize + stack.len()) & !15;
        if let Ok(middle) = check(asm::clone_thread(flags as usize, top, middle_of_heir, &raw mut job as usize)) {
            let _ = syscall4(libc::SYS_wait4, middle, 0, WALL, 0);
        }
    }
    // SAFETY: null, or the copy in the scratch, which nobody else writes to.
    let Some(heir) = (unsafe { job.made.as_ref() }) else { return false };
    const PATIENCE_MS: u32 = 2000;
    for _ in 0..PATIENCE_MS {
        if heir.closed.load(Acquire) != 0 {
            break;
        }
        let _ = futex_wait(&heir.closed, 0, 1);
    }
    true
}

struct Heir<'a> {
    arena: &'a Arena,
    process: i32,
    thread: i32,
    channel: Fd,
    /// the helper's copy of this, when there is one
    made: *const Heir<'a>,
    closed: AtomicU32,
}

unsafe extern "C" fn middle_of_heir(job: usize) -> ! {
    let flags = libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES;
    // SAFETY: hand_over passes its Heir and waits; a copy of it lies in the scratch, above the helper's stack.
    unsafe {
        let job = &mut *(job as *mut Heir);
        let stack = job.arena.scratch();
        let copy = ((stack.as_ptr() as usize + stack.len() / 2) & !15) as *mut Heir;
        copy.write(Heir { closed: AtomicU32::new(0), ..*job });
        if asm::clone_thread(flags as usize, copy as usize, heir, copy as usize) > 0 {
            job.made = copy;
        }
    }
    exit_group(0)
}

unsafe extern "C" fn heir(job: usize) -> ! {
    // SAFETY: middle_of_heir passes the copy, which lies in the arena that is this process's now.
    let job = unsafe { &*(job as *const Heir) };
    let _ = keep_only(job.channel, -1);
    job.closed.store(1, Release);
    futex_wake_all(&job.closed);
    let never = AtomicU32::new(0);
    while tgkill(job.process, job.thread, 0).is_ok() {
        let _ = futex_wait(&never, 0, 1);
    }
    // SAFETY: the thread has ended, and the program's threads have left the handler before.
    unsafe { asm::unmap_exit(job.arena as *const Arena as usize, job.arena.len, 0) }
}

/// The frozen copy, out of the program's session before the program goes on.
fn frozen(job: &Job) -> ! {
    // SAFETY: numbers only.
    let _ = unsafe { syscall0(libc::SYS_setsid) };
    let _ = keep_only(job.socket, job.table);
    forget_shared(job.ranges);
    lift_file_size_limit();
    end_first();
    ckpt_sys::sched::step_back();
    let writer = Channel::on(job.socket);
    writer.send(Msg { kind: msg::READY, pid: getpid(), ..Msg::default() });
    if let Err(e) = strike(job.fault).and_then(|()| runs::write_snapshot(job.arena, &writer, false, job.incremental, job.table, job.ranges)) {
        writer.fail(stage::WRITE, e, 0);
    }
    exit_group(0)
}

/// Mappings of shared memory, which others have copied: in this copy they would keep the program from sealing a file or executing
/// it, and count as attached (shm_nattch).
fn forget_shared(body: &[u8]) {
    for r in ranges(body).filter(|r| r.offset == 3) {
        // SAFETY: this copy runs on private memory and does not read what it shares.
        let _ = unsafe { syscall2(libc::SYS_munmap, r.addr as usize, r.len as usize) };
    }
}

fn strike(fault: Option<Effect>) -> Result<()> {
    fault.map_or(Ok(()), fault::strike)
}

/// Where memory runs out it is the copy that ends, not the program.
fn end_first() {
    if let Ok(fd) = open(c"/proc/self/oom_score_adj", libc::O_WRONLY | libc::O_CLOEXEC) {
        let _ = write_all(fd, b"1000");
        close(fd);
    }
}

/// The program's RLIMIT_FSIZE is not meant for images.
fn lift_file_size_limit() {
    let mut limit = [0u64; 2];
    // SAFETY: limit has the layout of struct rlimit64.
    unsafe {
        let at = limit.as_mut_ptr() as usize;
        if syscall4(libc::SYS_prlimit64, 0, libc::RLIMIT_FSIZE as usize, 0, at).is_ok() {
            let lifted = [limit[1]; 2];
            let _ = syscall4(libc::SYS_prlimit64, 0, libc::RLIMIT_FSIZE as usize, lifted.as_ptr() as usize, 0);
        }
    }
}

/// Drops every descriptor but these (-1: none): ends of pipes and sockets must not live on in the writer.
pub fn keep_only(a: Fd, b: Fd) -> Result<()> {
    let mut from = 0;
    for fd in [a.min(b), a.max(b)].into_iter().filter(|&fd| fd >= 0) {
        if fd > from {
            // SAFETY: numbers only.
            unsafe { syscall3(libc::SYS_close_range, from as usize, fd as usize - 1, 0) }?;
        }
        from = fd + 1;
    }
    // SAFETY: numbers only.
    unsafe { syscall3(libc::SYS_close_range, from as usize, u32::MAX as usize, 0) }.map(drop)
}

/// Writes shared memory that this process was chosen to write, in the pause: a frozen copy would share it.
pub fn shared(a: &Arena, ch: &Channel, _m: &Msg, image: Fd) -> Done {
    let failed = |e| (stage::SHARED, e);
    for chunk in ch.body().chunks_exact(size_of::<SharedRange>()) {
        let Some(r) = from_bytes::<SharedRange>(chunk) else { continue };
        let mut done = 0;
        while done < r.len {
            let (at, len) = ((r.addr + done) as usize, (r.len - done) as usize);
            // SAFETY: the kernel checks the range; the file offset is the agent's.
            let n = unsafe { syscall4(libc::SYS_pwrite64, image as usize, at, len, (r.offset + done) as usize) };
            let n = if n == Err(Errno(libc::EFAULT)) { copy_unreadable(a, image, at, len, r.offset + done) } else { n };
            match n {
                Ok(0) => return Err(failed(Errno(libc::EIO))),
                Ok(n) => done += n as u64,
                Err(Errno::INTR) => {}
                Err(e) => return Err(failed(e)),
            }
        }
    }
    ch.send(Msg { kind: msg::SHARED_DONE, ..Msg::default() });
    Ok(())
}

/// What the program may not read itself, /proc/self/mem may. The bytes that were written, at least one.
fn copy_unreadable(a: &Arena, image: Fd, at: usize, len: usize, offset: u64) -> Result<usize> {
    // SAFETY: this thread alone uses the scratch.
    let buf = unsafe { a.scratch() };
    let mem = open(c"/proc/thread-self/mem", libc::O_RDONLY | libc::O_CLOEXEC)?;
    let n = len.min(buf.len());
    // SAFETY: buf is writable for n bytes; the file offset is the agent's.
    let done = unsafe {
        syscall4(libc::SYS_pread64, mem as usize, buf.as_mut_ptr() as usize, n, at)
            .and_then(|n| syscall4(libc::SYS_pwrite64, image as usize, buf.as_ptr() as usize, n, offset as usize))
    };
    close(mem);
    done
}
