//! What belongs to the process as a whole.

use super::{Ground, Outcome, at, step};
use ckpt_sys::calls::*;
use ckpt_sys::flat::plan::{Descriptor, MqNotify, PlanHead, Rlimit, ThreadFd};
use ckpt_sys::flat::{Control, SigAction, Timer};
use ckpt_sys::idtable::{IdTable, VirtualPid};
use ckpt_sys::raw::*;

pub fn before_threads(g: &Ground, head: &PlanHead) -> Outcome {
    for (i, act) in g.table::<SigAction>(head.sigactions).iter().enumerate() {
        let sig = i as i32 + 1;
        if sig != libc::SIGKILL && sig != libc::SIGSTOP {
            at(step::PROCESS, sig as u64, crate::signals::set_action(sig, act))?;
        }
    }
    let p = &head.process;
    // SAFETY: numbers only.
    unsafe {
        let _ = syscall1(libc::SYS_umask, head.umask as usize);
        let _ = syscall1(libc::SYS_personality, p.personality as usize);
    }
    let _ = prctl(libc::PR_SET_CHILD_SUBREAPER, p.subreaper as usize, 0, 0, 0);
    let _ = prctl(libc::PR_SET_THP_DISABLE, p.thp_disable as usize, 0, 0, 0);
    let _ = prctl(PR_SET_MEMORY_MERGE, p.memory_merge as usize, 0, 0, 0);
    // SAFETY: numbers only.
    unsafe {
        for bit in (0..64).filter(|b| p.xcomp >> b & 1 != 0 && *b >= FIRST_DYNAMIC_STATE) {
            let _ = syscall2(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, bit);
        }
        for bit in (0..32).filter(|b| p.membarrier >> b & 1 != 0) {
            let _ = syscall3(libc::SYS_membarrier, 1 << bit, 0, 0);
        }
    }
    Ok(())
}

const PR_SET_MEMORY_MERGE: i32 = 67;
const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
/// XFEATURE_XTILE_CFG and those after it (arch/x86/include/asm/fpu/types.h).
const FIRST_DYNAMIC_STATE: usize = 17;

/// The library in the restored memory: a new agent, no checkpoint under way.
pub fn patch_library(g: &Ground, head: &PlanHead) {
    let preload = g.table::<u8>(head.preload);
    // SAFETY: the agent checked that both addresses are the library's; they are mapped and writable.
    unsafe {
        let control = &mut *(head.process.control as *mut Control);
        control.agent = head.control;
        control.id_table = head.id_table;
        control.agent_pid = head.agent_pid;
        control.outer = head.outer;
        control.ids_virtual = (head.exact_ids == 0) as i32;
        control.restarts += 1;
        let (vdso, len) = super::vdso::now(g, head);
        control.vdso = [vdso as u64, (vdso + len) as u64];
        crate::plugin::replace_library(&mut control.preload, preload);
        core::ptr::write_bytes(head.process.state_page as *mut u8, 0, ckpt_sys::PAGE);
        let state = &*(head.process.state_page as *const crate::state::StatePage);
        crate::sysv::put_back(&state.undo, g.table(head.undo));
    }
}

const PR_TIMER_CREATE_RESTORE_IDS: i32 = 77;

/// POSIX timers get the ids they had: asked for (Linux 6.15), else by making and deleting those before.
///
/// After the threads: SIGEV_THREAD_ID names one.
pub fn timers(g: &Ground, head: &PlanHead) -> Outcome {
    let all = g.table::<Timer>(head.timers);
    if all.is_empty() {
        return Ok(());
    }
    let by_id = prctl(PR_TIMER_CREATE_RESTORE_IDS, 1, 0, 0, 0).is_ok();
    for t in all {
        loop {
            let mut id = t.id;
            // SAFETY: event is a struct sigevent of 64 bytes, id an int.
            let mut create = |clock: i32, event: [u64; 8]| unsafe {
                syscall3(libc::SYS_timer_create, clock as usize, event.as_ptr() as usize, &raw mut id as usize)
            };
            // struct sigevent: value, signo, notify, tid
            let (clock, tid) = (real_clock(head, t.clock), real_tid(head, t.tid));
            let event = [t.value, t.signal as u32 as u64 | (t.notify as u64) << 32, tid as u32 as u64, 0, 0, 0, 0, 0];
            let quiet = [0, (libc::SIGEV_NONE as u64) << 32, 0, 0, 0, 0, 0, 0];
            let mut made = create(clock, event);
            // Who is told, or whose time it counts, has ended: it will tell nobody.
            if made == Err(Errno::INVAL) && (clock < 0 || t.notify == libc::SIGEV_THREAD_ID) {
                made = create(clock, quiet).or_else(|_| create(libc::CLOCK_MONOTONIC, quiet));
            }
            at(step::TIMER, t.id as u64, made)?;
            if id >= t.id {
                break;
            }
            // SAFETY: the timer that was just made.
            let _ = unsafe { syscall1(libc::SYS_timer_delete, id as usize) };
        }
    }
    if by_id {
        let _ = prctl(PR_TIMER_CREATE_RESTORE_IDS, 0, 0, 0, 0);
    }
    Ok(())
}

/// After the threads. Until now there are pidfds of something that has ended in their places.
pub fn thread_fds(g: &Ground, head: &PlanHead) {
    for t in g.table::<ThreadFd>(head.thread_fds) {
        // SAFETY: numbers only.
        unsafe {
            if let Ok(fd) = syscall2(libc::SYS_pidfd_open, real_tid(head, t.tid) as usize, t.flags as usize) {
                let flags = if t.cloexec != 0 { libc::O_CLOEXEC } else { 0 };
                let _ = syscall3(libc::SYS_dup3, fd, t.fd as usize, flags as usize);
                close(fd as Fd);
            }
        }
    }
}

/// Negative: the CPU time of a process or thread, whose id is in it (include/linux/posix-timers.h).
fn real_clock(head: &PlanHead, clock: i32) -> i32 {
    match !(clock >> 3) {
        id if clock < 0 && id > 0 => !real_tid(head, id) << 3 | clock & 7,
        _ => clock,
    }
}

pub fn real_tid(head: &PlanHead, tid: i32) -> i32 {
    // SAFETY: as in threads::pair_ids.
    match unsafe { IdTable::at(head.id_table as *mut u8) } {
        Some(table) if head.id_table != 0 => table.to_real(VirtualPid(tid)).0,
        _ => tid,
    }
}

/// After our last close of a descriptor: it would end the registration.
fn wait_for_messages(g: &Ground, head: &PlanHead) {
    for n in g.table::<MqNotify>(head.notifies) {
        // struct sigevent: value, signo, notify
        // SIGEV_THREAD: what glibc's thread is sent, 32 bytes: function, value, attributes of the thread to start.
        let sent = [n.function, n.value, 0, 0u64];
        let value = if n.how == libc::SIGEV_THREAD { sent.as_ptr() as u64 } else { n.value };
        let event = [value, n.signal as u32 as u64 | (n.how as u32 as u64) << 32, 0, 0, 0, 0, 0, 0];
        // SAFETY: event is a struct sigevent of 64 bytes. The one from before the exec is dead and goes first.
        unsafe {
            let _ = syscall2(libc::SYS_mq_notify, n.fd as usize, 0);
            let _ = syscall2(libc::SYS_mq_notify, n.fd as usize, event.as_ptr() as usize);
        }
    }
}

/// Armed last, so that nothing expires before the program can see it.
fn arm(g: &Ground, head: &PlanHead) {
    const BILLION: u64 = 1_000_000_000;
    for t in g.table::<Timer>(head.timers).iter().filter(|t| t.spec[1] != 0) {
        let spec = [t.spec[0] / BILLION, t.spec[0] % BILLION, t.spec[1] / BILLION, t.spec[1] % BILLION];
        // SAFETY: spec has the layout of struct itimerspec.
        let _ = unsafe { syscall4(libc::SYS_timer_settime, t.id as usize, 0, spec.as_ptr() as usize, 0) };
    }
    for (which, [interval, value]) in head.process.itimers.iter().enumerate() {
        // A tick that is pending has stopped the clock until it is taken (kernel/time/itimer.c).
        let value = if *value == 0 { interval } else { value };
        let it = [interval / 1_000_000, interval % 1_000_000, value / 1_000_000, value % 1_000_000];
        if *value != 0 {
            // SAFETY: it has the layout of struct itimerval.
            let _ = unsafe { syscall3(libc::SYS_setitimer, which, it.as_ptr() as usize, 0) };
        }
    }
}

/// Children were stopped by us: what the program has been told of before it is not told again.
pub fn settle_children(g: &Ground, head: &PlanHead) {
    for &child in g.table::<i32>(head.told) {
        crate::signals::reports_stop(real_tid(head, child), true);
    }
    crate::signals::drop_child_signals();
    super::threads::queue_shared(g, |signal| signal == libc::SIGCHLD);
}

fn finish_descriptor(head: &PlanHead, fd: &Descriptor) {
    let set = |command: i32, value: usize| {
        // SAFETY: numbers only, but for F_SETOWN_EX, which reads the two words below. Seals that another process has
        // set meanwhile are there already.
        let _ = unsafe { syscall3(libc::SYS_fcntl, fd.number as usize, command as usize, value) };
    };
    if fd.reopen != 0 {
        let _ = reopen(fd.number);
    }
    if fd.cloexec != 0 {
        set(libc::F_SETFD, libc::FD_CLOEXEC as usize);
    }
    if fd.seals != 0 {
        set(libc::F_ADD_SEALS, fd.seals as usize);
    }
    if fd.owner != 0 {
        const F_SETOWN_EX: i32 = 15;
        const F_OWNER_TID: i32 = 0;
        let owner = [F_OWNER_TID, real_tid(head, fd.owner)];
        set(F_SETOWN_EX, owner.as_ptr() as usize);
    }
}

/// The same name once more, at the same place.
fn reopen(number: Fd) -> Result<()> {
    let mut name = [0u8; 128];
    let mut link = *b"/proc/self/fd/\0\0\0\0\0\0\0\0\0\0\0";
    let mut digits = [0; crate::hooks::proc_paths::DIGITS];
    for (to, digit) in link[14..24].iter_mut().zip(crate::hooks::proc_paths::decimal(number, &mut digits)) {
        *to = *digit;
    }
    // SAFETY: names end with NUL, room for the answer but its NUL; the rest are numbers.
    unsafe {
        syscall3(libc::SYS_readlink, link.as_ptr() as usize, name.as_mut_ptr() as usize, name.len() - 1)?;
        let flags = syscall2(libc::SYS_fcntl, number as usize, libc::F_GETFL as usize)?;
        let offset = syscall3(libc::SYS_lseek, number as usize, 0, libc::SEEK_CUR as usize)?;
        let fd = syscall4(libc::SYS_openat, libc::AT_FDCWD as usize, name.as_ptr() as usize, flags, 0)?;
        syscall3(libc::SYS_lseek, fd, offset, libc::SEEK_SET as usize)?;
        syscall3(libc::SYS_dup3, fd, number as usize, 0)?;
        syscall1(libc::SYS_close, fd).map(drop)
    }
}

/// After the barrier: our descriptors go, the program's flags and limits come, timers run.
pub fn last(g: &Ground, head: &PlanHead) -> Outcome {
    for fd in g.table::<Descriptor>(head.fds) {
        finish_descriptor(head, fd);
    }
    super::kin::close_ours(g, head);
    wait_for_messages(g, head);
    for l in g.table::<Rlimit>(head.rlimits) {
        let limit = [l.soft, l.hard];
        // SAFETY: limit has the layout of struct rlimit64.
        let _ = unsafe { syscall4(libc::SYS_prlimit64, 0, l.resource as usize, limit.as_ptr() as usize, 0) };
    }
    arm(g, head);
    if head.process.mdwe != 0 {
        let _ = prctl(65, head.process.mdwe as usize, 0, 0, 0);
    }
    Ok(())
}
