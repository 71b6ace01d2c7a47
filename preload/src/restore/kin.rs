//! Processes that share memory or descriptors with one that is restored: its restorer makes them, before it gives up
//! the memory that it came with. Those that share memory live on parts of its ground and wait until the memory is there;
//! the others are forked and restored like any process.

use super::threads::CloneArgs;
use super::{Ground, LEADER_STACK, Outcome, THREAD_STACK, at, step};
use crate::{asm, channel::Channel};
use ckpt_sys::calls::*;
use ckpt_sys::flat::plan::{self, Kin, PlanHead, Table, Take};
use ckpt_sys::idtable::{IdTable, RealPid, VirtualPid};
use ckpt_sys::raw::*;
use ckpt_sys::{PAGE, page_up};
use core::ffi::CStr;
use core::sync::atomic::{AtomicU32, Ordering::*};

/// A page that all relatives share, also those with memory of their own.
#[repr(C)]
struct Commons {
    tables: [CommonTable; plan::SHARED_TABLES],
}

/// A table of descriptors that several have.
#[repr(C)]
struct CommonTable {
    /// who may go
    going: AtomicU32,
    /// our descriptors are gone from it
    closed: AtomicU32,
}

const _: () = assert!(size_of::<Commons>() <= PAGE);

const SHARES_MEMORY: u32 = libc::CLONE_VM as u32;

/// Bytes of ground for those who share the memory.
pub fn room(all: &[Kin]) -> Result<usize> {
    let mut sum = 0;
    for k in all.iter().filter(|k| k.flags & SHARES_MEMORY != 0) {
        sum += part(&head_of(k)?);
    }
    Ok(sum)
}

fn head_of(k: &Kin) -> Result<PlanHead> {
    let mut head = PlanHead::default();
    // SAFETY: head is writable for its size.
    let n = unsafe { syscall4(libc::SYS_pread64, k.plan as usize, &raw mut head as usize, size_of::<PlanHead>(), 0) }?;
    if n == size_of::<PlanHead>() && head.magic == plan::MAGIC { Ok(head) } else { Err(Errno::INVAL) }
}

/// Ground, plan, stacks.
fn part(head: &PlanHead) -> usize {
    page_up(size_of::<Ground>()) + page_up(head.total as usize) + LEADER_STACK + head.threads.count as usize * THREAD_STACK
}

/// Lays out the parts of those who share the memory, and the page that all share.
pub fn found(root: &Ground, commons: usize) -> Result<()> {
    let fixed = (libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED) as usize;
    let prot = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let flags = (libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_FIXED) as usize;
    // SAFETY: the page lies on the ground, which is ours.
    unsafe {
        match commons {
            0 => syscall6(libc::SYS_mmap, root.commons, PAGE, prot, flags, usize::MAX, 0)?,
            from => syscall5(libc::SYS_mremap, from, PAGE, PAGE, fixed, root.commons)?,
        };
    }
    let mut start = root.commons + PAGE;
    for (i, k) in relatives(root).iter().enumerate().filter(|(_, k)| k.flags & SHARES_MEMORY != 0) {
        let head = head_of(k)?;
        let plan = start + page_up(size_of::<Ground>());
        // SAFETY: the part lies on the ground; `room` has counted it.
        unsafe {
            let to = core::slice::from_raw_parts_mut(plan as *mut u8, head.total as usize);
            read_plan(k.plan, to)?;
            (start as *mut Ground).write(Ground {
                start: root.start,
                len: root.len,
                plan,
                stacks: plan + page_up(head.total as usize),
                kernel: root.kernel,
                kernel_count: 0,
                vdso: root.vdso,
                beside: root.beside,
                here: AtomicU32::new(0),
                ready: AtomicU32::new(0),
                go: AtomicU32::new(0),
                leader: AtomicU32::new(0),
                failed: AtomicU32::new(0),
                root: root.start,
                index: i as u32 + 1,
                span: part(&head),
                library: root.library,
                commons: root.commons,
                born: AtomicU32::new(0),
                restored: AtomicU32::new(0),
            });
        }
        root.here.fetch_add(head.threads.count as u32, AcqRel);
        start += part(&head);
    }
    Ok(())
}

fn read_plan(fd: Fd, to: &mut [u8]) -> Result<()> {
    let mut done = 0;
    while done < to.len() {
        let rest = &mut to[done..];
        // SAFETY: rest is writable.
        match unsafe { syscall4(libc::SYS_pread64, fd as usize, rest.as_mut_ptr() as usize, rest.len(), done) }? {
            0 => return Err(Errno::INVAL),
            n => done += n,
        }
    }
    Ok(())
}

/// Those whom the processes of this memory make.
fn relatives(root: &Ground) -> &[Kin] {
    root.table(root.head().kin)
}

/// The part of the one with that place in the table.
fn part_of(root: &Ground, index: u32) -> &Ground {
    let mut at = root.commons + PAGE;
    loop {
        // SAFETY: `found` has laid out a part for each, one behind the other.
        let g = unsafe { &*(at as *const Ground) };
        if g.index == index {
            return g;
        }
        at += g.span;
    }
}

/// Session and group that start with a process that ckpt_restart has not made itself.
pub fn start_own(head: &PlanHead) -> Result<()> {
    let pid = head.process.pid;
    // SAFETY: our own session and group.
    unsafe {
        if head.sid == pid {
            syscall0(libc::SYS_setsid)?;
        } else if head.pgid == pid {
            syscall2(libc::SYS_setpgid, 0, 0)?;
        }
    }
    Ok(())
}

/// Makes all that this process made.
pub fn make(g: &Ground) -> Result<()> {
    let root = g.root();
    for (i, k) in relatives(root).iter().enumerate().filter(|(_, k)| k.maker == g.index) {
        if k.flags & SHARES_MEMORY != 0 {
            clone(g, k, Some(part_of(root, i as u32 + 1)))?;
            continue;
        }
        let child = clone(g, k, None)?;
        if child == 0 {
            match k.plan {
                -1 => die_as(k.status),
                plan => super::enter_with(plan, root.commons),
            }
        }
        if k.plan < 0 {
            await_end(child);
            name_dead(root, k.pid, child as i32)?;
        }
    }
    Ok(())
}

/// The program's id for a zombie, which cannot enter it itself. Where the table will lie there is other memory yet.
fn name_dead(root: &Ground, known: i32, real: i32) -> Result<()> {
    let maps = root.table::<plan::Map>(root.head().maps);
    let Some(m) = maps.iter().find(|m| m.addr == root.head().id_table && m.fd >= 0 && known != real) else { return Ok(()) };
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a fresh mapping of the table that all processes of the computation share, gone again below.
    unsafe {
        let at = syscall6(libc::SYS_mmap, 0, m.len as usize, prot as usize, libc::MAP_SHARED as usize, m.fd as usize, m.offset as usize)?;
        let done = IdTable::at(at as *mut u8).map_or(Err(Errno::INVAL), |table| {
            table.insert(VirtualPid(known), RealPid(real)).map_err(|_| Errno(libc::ENOSPC))
        });
        done.and(munmap(at, m.len as usize))
    }
}

/// clone3(2), with the id that it had; or clone(2). `on`: the new process's part of the ground; None: a fork.
fn clone(g: &Ground, k: &Kin, on: Option<&Ground>) -> Result<usize> {
    let root = g.root();
    let exact = root.head().exact_ids != 0;
    let exit_signal = if k.flags & libc::CLONE_PARENT as u32 != 0 { 0 } else { k.exit_signal as u64 };
    let mut args = CloneArgs { flags: k.flags as u64, exit_signal, ..CloneArgs::default() };
    if exact {
        args.set_tid = &raw const k.pid as u64;
        args.set_tid_size = 1;
    }
    let Some(part) = on else {
        // SAFETY: a fork: no memory is shared, the child goes on with a copy of this stack.
        return unsafe {
            match exact {
                true => syscall2(libc::SYS_clone3, &raw const args as usize, size_of::<CloneArgs>()),
                false => syscall5(libc::SYS_clone, (args.flags | exit_signal) as usize, 0, 0, 0, 0),
            }
        };
    };
    let entry = member as *const () as usize - super::own_image().0 + root.library;
    // SAFETY: the entry is `member` in the copy of this library; the stack is the new process's alone.
    unsafe {
        let entry: unsafe extern "C" fn(usize) -> ! = core::mem::transmute(entry);
        let arg = core::ptr::from_ref(part) as usize;
        if !exact {
            return check(asm::clone_thread((args.flags | exit_signal) as usize, part.stacks + LEADER_STACK, entry, arg));
        }
        args.stack = part.stacks as u64;
        args.stack_size = LEADER_STACK as u64;
        check(asm::clone3_thread(&raw const args as usize, size_of::<CloneArgs>(), entry, arg))
    }
}

/// A process in the memory of another, on its part of the ground.
unsafe extern "C" fn member(part: usize) -> ! {
    // SAFETY: `clone` passes a part.
    let g = unsafe { &*(part as *const Ground) };
    let (root, head) = (g.root(), g.head());
    super::block_signals();
    if let Err(errno) = start_own(head).and_then(|()| make(g)) {
        root.failed.store(errno.0 as u32, Release);
        super::exit_with(head, &super::Failure { step: step::KIN, errno, at: 0 });
    }
    root.born.fetch_add(1, AcqRel);
    futex_wake_all(&root.born);
    while root.restored.load(Acquire) == 0 {
        let _ = futex_wait(&root.restored, 0, 100);
        if Channel::on(head.agent).is_over() {
            exit_group(127);
        }
    }
    if let Err(f) = restore(g, head) {
        super::exit_with(head, &f);
    }
    super::threads::leave_leader(g)
}

/// As `super::restore`, without the memory.
fn restore(g: &Ground, head: &PlanHead) -> Outcome {
    settle(g, head)?;
    super::process::before_threads(g, head)?;
    super::threads::start(g, head)?;
    super::process::timers(g, head)?;
    super::process::thread_fds(g, head);
    super::await_go(g, head)
}

/// All who share this memory are on the ground.
pub fn await_born(root: &Ground) -> Result<()> {
    let all = relatives(root).iter().filter(|k| k.flags & SHARES_MEMORY != 0).count() as u32;
    loop {
        let born = root.born.load(Acquire);
        match root.failed.load(Acquire) {
            0 if born == all => return Ok(()),
            0 => {}
            errno => return Err(Errno(errno as i32)),
        }
        let _ = futex_wait(&root.born, born, 100);
        if Channel::on(root.head().agent).is_over() {
            return Err(Errno(libc::ECANCELED));
        }
    }
}

pub fn tell_restored(root: &Ground) {
    root.restored.store(1, Release);
    futex_wake_all(&root.restored);
}

/// Until the library in the common memory knows of the restart.
pub fn await_root(g: &Ground) {
    while g.root().go.load(Acquire) == 0 {
        let _ = futex_wait(&g.root().go, 0, 1000);
    }
}

/// What ckpt_restart does itself for processes that it makes: group, descriptors, folder, settings in /proc.
pub fn settle(g: &Ground, head: &PlanHead) -> Outcome {
    if head.sid == 0 {
        return Ok(());
    }
    if head.pgid != head.process.pid {
        let group = super::process::real_tid(head, head.pgid);
        // SAFETY: our own group. It stays the maker's where that one is gone.
        let _ = unsafe { syscall2(libc::SYS_setpgid, 0, group as usize) };
    }
    if head.own_files != 0 {
        at(step::KIN, 0, take(g, head, 0))?;
    }
    at(step::KIN, 1, change_folder(g, head.cwd))?;
    write_setting(c"/proc/self/oom_score_adj", head.oom_score_adj as i64, 10);
    write_setting(c"/proc/self/coredump_filter", head.coredump_filter as i64, 16);
    Ok(())
}

/// The descriptors of a thread (0: of the process) into its own table.
pub fn take(g: &Ground, head: &PlanHead, tid: i32) -> Result<()> {
    close_range(0, head.flags as u32 - 1);
    for t in g.table::<Take>(head.takes).iter().filter(|t| t.tid == tid) {
        let flags = if t.cloexec != 0 { libc::O_CLOEXEC } else { 0 };
        // SAFETY: numbers only.
        unsafe { syscall3(libc::SYS_dup3, t.source as usize, t.number as usize, flags as usize) }?;
    }
    Ok(())
}

/// `path` with a NUL; empty: it is there.
pub fn change_folder(g: &Ground, path: Table) -> Result<()> {
    let bytes = g.table::<u8>(path);
    match CStr::from_bytes_until_nul(bytes) {
        // SAFETY: NUL-terminated.
        Ok(path) => unsafe { syscall1(libc::SYS_chdir, path.as_ptr() as usize) }.map(drop),
        Err(_) => Ok(()),
    }
}

fn write_setting(path: &CStr, value: i64, base: i64) {
    let mut text = [0u8; 24];
    let mut at = text.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        text[at] = b"0123456789abcdef"[(rest % base as u64) as usize];
        rest /= base as u64;
        if rest == 0 {
            break;
        }
    }
    let prefix: &[u8] = match base {
        16 => b"0x",
        _ if value < 0 => b"-",
        _ => b"",
    };
    at -= prefix.len();
    text[at..at + prefix.len()].copy_from_slice(prefix);
    if let Ok(fd) = open(path, libc::O_WRONLY | libc::O_CLOEXEC) {
        let _ = write_all(fd, &text[at..]);
        close(fd);
    }
}

fn common_table<'a>(g: &'a Ground, head: &PlanHead) -> &'a CommonTable {
    // SAFETY: `found` has mapped the page.
    let commons = unsafe { &*(g.commons as *const Commons) };
    &commons.tables[head.files.number as usize % plan::SHARED_TABLES]
}

/// Have those who run gone without this process, which was stopped?
pub fn is_closed(g: &Ground, head: &PlanHead) -> bool {
    head.files.role == 2 && common_table(g, head).closed.load(Acquire) != 0
}

/// Drops what is ours, from `flags` on. Of a table that several have: one does it, when none needs them any more, and
/// before any runs.
pub fn close_ours(g: &Ground, head: &PlanHead) {
    const PATIENCE_MS: u32 = 10_000;
    const STEP_MS: u32 = 10;
    let wait = |word: &AtomicU32, wanted: u32| {
        for _ in 0..PATIENCE_MS / STEP_MS {
            match word.load(Acquire) {
                now if now >= wanted => return,
                now => drop(futex_wait_shared(word, now, STEP_MS)),
            }
        }
    };
    let table = common_table(g, head);
    if head.files.role == 2 {
        table.going.fetch_add(1, AcqRel);
        futex_wake_shared(&table.going);
        return wait(&table.closed, 1);
    }
    if head.files.role == 1 {
        wait(&table.going, head.files.others);
    }
    close_range(head.flags as u32, u32::MAX);
    table.closed.store(1, Release);
    futex_wake_shared(&table.closed);
}

/// futex(2) between memories.
fn futex_wait_shared(word: &AtomicU32, value: u32, timeout_ms: u32) -> Result<()> {
    let timeout = [0u64, timeout_ms as u64 * 1_000_000];
    let at = core::ptr::from_ref(word) as usize;
    // SAFETY: word and timeout outlive the call.
    unsafe { syscall4(libc::SYS_futex, at, libc::FUTEX_WAIT as usize, value as usize, timeout.as_ptr() as usize) }.map(drop)
}

fn futex_wake_shared(word: &AtomicU32) {
    // SAFETY: only wakes.
    let _ = unsafe { syscall3(libc::SYS_futex, core::ptr::from_ref(word) as usize, libc::FUTEX_WAKE as usize, i32::MAX as usize) };
}

pub fn close_range(from: u32, to: u32) {
    // SAFETY: numbers only.
    let _ = unsafe { syscall3(libc::SYS_close_range, from as usize, to as usize, 0) };
}

/// Its SIGCHLD must come while nobody listens.
fn await_end(child: usize) {
    const WALL: usize = 0x4000_0000;
    let how = libc::WEXITED as usize | libc::WNOWAIT as usize | WALL;
    // SAFETY: no siginfo is asked for; the zombie stays.
    while unsafe { syscall5(libc::SYS_waitid, libc::P_PID as usize, child, 0, how, 0) } == Err(Errno::INTR) {}
}

/// Ends with a wait(2) status.
fn die_as(status: i32) -> ! {
    if libc::WIFSIGNALED(status) {
        let signal = libc::WTERMSIG(status);
        let (none, default) = ([0u64; 2], ckpt_sys::flat::SigAction::default());
        // SAFETY: our own end, without a core file; the pointers are to locals of the size that the calls read.
        unsafe {
            let _ = syscall4(libc::SYS_prlimit64, 0, libc::RLIMIT_CORE as usize, none.as_ptr() as usize, 0);
            let _ = crate::signals::set_action(signal, &default);
            let _ = syscall4(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK as usize, none.as_ptr() as usize, 0, 8);
            let _ = syscall2(libc::SYS_kill, getpid() as usize, signal as usize);
        }
    }
    exit_group(libc::WEXITSTATUS(status))
}
