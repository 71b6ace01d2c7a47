//! Threads: made with the ids they had, each leaves through the frame that the checkpoint signal left.

use super::{Failure, Ground, Outcome, at, step};
use crate::{asm, rseq};
use ckpt_sys::calls::*;
use ckpt_sys::flat::plan::{Apart, PlanHead};
use ckpt_sys::flat::{Pending, ThreadRecord};
use ckpt_sys::idtable::{IdTable, RealPid, VirtualPid};
use ckpt_sys::raw::*;
use core::sync::atomic::Ordering::*;

/// `struct clone_args` (clone3(2))
#[repr(C)]
#[derive(Default)]
pub struct CloneArgs {
    pub flags: u64,
    pub pidfd: u64,
    pub child_tid: u64,
    pub parent_tid: u64,
    pub exit_signal: u64,
    pub stack: u64,
    pub stack_size: u64,
    pub tls: u64,
    pub set_tid: u64,
    pub set_tid_size: u64,
    pub cgroup: u64,
}

struct Start<'a> {
    g: &'a Ground,
    index: usize,
}

/// Makes all threads but the leader; returns when each is ready to leave.
pub fn start(g: &Ground, head: &PlanHead) -> Outcome {
    let all = g.table::<ThreadRecord>(head.threads);
    spawn_those_of(g, head, None)?;
    if let Some(leader) = all.iter().find(|t| is_leader(head, t)) {
        settle_leader(leader)?;
        settle(g, head, leader)?;
    } else {
        queue_shared(g, |_| true);
    }
    let others = all.iter().filter(|t| !is_leader(head, t)).count() as u32;
    loop {
        let ready = g.ready.load(Acquire);
        if g.failed.load(Acquire) != 0 {
            return Err(Failure { step: step::CREDENTIALS, errno: Errno(g.failed.load(Acquire) as i32), at: 0 });
        }
        if ready == others {
            return Ok(());
        }
        let _ = futex_wait(&g.ready, ready, 1000);
    }
}

/// The threads that `maker` makes: the leader (None), or one of those that share something with it alone.
fn spawn_those_of(g: &Ground, head: &PlanHead, maker: Option<i32>) -> Outcome {
    let all = g.table::<ThreadRecord>(head.threads);
    for (index, t) in all.iter().enumerate().filter(|(_, t)| !is_leader(head, t)) {
        let own = apart(g, head, t.tid);
        let made_by = own.map(|a| a.maker).filter(|&m| m != all[0].tid);
        if made_by == maker {
            at(step::THREAD, t.tid as u64, spawn(g, head, index, t))?;
        }
    }
    Ok(())
}

fn apart<'a>(g: &'a Ground, head: &PlanHead, tid: i32) -> Option<&'a Apart> {
    g.table::<Apart>(head.apart).iter().find(|a| a.tid == tid)
}

/// By the thread itself: descriptors and folder of its own.
fn settle_apart(g: &Ground, head: &PlanHead, t: &ThreadRecord) -> Outcome {
    let Some(own) = apart(g, head, t.tid) else { return Ok(()) };
    if own.own & libc::CLONE_FILES as u32 != 0 {
        at(step::THREAD, t.tid as u64, super::kin::take(g, head, t.tid))?;
        super::kin::close_range(head.flags as u32, u32::MAX);
    }
    if own.own & libc::CLONE_FS as u32 != 0 {
        at(step::THREAD, t.tid as u64, super::kin::change_folder(g, own.cwd))?;
        // SAFETY: numbers only.
        let _ = unsafe { syscall1(libc::SYS_umask, own.umask as usize) };
    }
    spawn_those_of(g, head, Some(t.tid))
}

fn is_leader(head: &PlanHead, t: &ThreadRecord) -> bool {
    t.tid == head.process.pid
}

fn spawn(g: &Ground, head: &PlanHead, index: usize, t: &ThreadRecord) -> Result<()> {
    let flags = libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SIGHAND | libc::CLONE_THREAD | libc::CLONE_SYSVSEM;
    let flags = flags as u32 & !apart(g, head, t.tid).map_or(0, |a| a.own);
    let tid = t.tid;
    let top = g.thread_stack_top(index);
    // The argument lies at the top of the new stack.
    let start = (top - 64) as *mut Start;
    // SAFETY: the stack is the new thread's alone.
    unsafe { start.write(Start { g, index }) };
    let mut args = CloneArgs {
        flags: flags as u64 | libc::CLONE_SETTLS as u64 | libc::CLONE_CHILD_CLEARTID as u64,
        child_tid: t.clear_tid,
        stack: top as u64 - 16384,
        stack_size: 16384 - 128,
        tls: t.fs,
        ..CloneArgs::default()
    };
    if head.exact_ids != 0 {
        args.set_tid = &raw const tid as u64;
        args.set_tid_size = 1;
    }
    // SAFETY: args is a clone_args; the thread enters `main` on its own stack.
    let made = unsafe { asm::clone3_thread(&raw const args as usize, size_of::<CloneArgs>(), main, start as usize) };
    if made == -(libc::ENOSYS as isize) && head.exact_ids == 0 {
        return spawn_by_clone(&args, start as usize);
    }
    check(made).map(drop)
}

/// Where clone3 is filtered (Docker's default profile).
fn spawn_by_clone(args: &CloneArgs, start: usize) -> Result<()> {
    // SAFETY: as clone3; rdx parent_tid, r10 child_tid, r8 tls are set by the routine.
    let made = unsafe { asm::clone_tls(args.flags as usize, (args.stack + args.stack_size) as usize, main, start, args.child_tid as usize, args.tls as usize) };
    check(made).map(drop)
}

unsafe extern "C" fn main(start: usize) -> ! {
    // SAFETY: spawn passes its Start.
    let (g, index) = unsafe { ((*(start as *const Start)).g, (*(start as *const Start)).index) };
    let head = g.head();
    let t = &g.table::<ThreadRecord>(head.threads)[index];
    if let Err(f) = settle_apart(g, head, t).and_then(|()| settle(g, head, t)) {
        g.failed.store(f.errno.0 as u32, Release);
    }
    g.ready.fetch_add(1, AcqRel);
    futex_wake_all(&g.ready);
    while g.go.load(Acquire) == 0 {
        let _ = futex_wait(&g.go, 0, -1);
    }
    // The process's exit status is that of the last one to end.
    while g.leader.load(Acquire) != 0 {
        let _ = futex_wait(&g.leader, 1, 1);
    }
    leave(g, t)
}

fn settle_leader(t: &ThreadRecord) -> Outcome {
    // SAFETY: the addresses are the restored program's own.
    unsafe {
        let _ = syscall1(libc::SYS_set_tid_address, t.clear_tid as usize);
        at(step::THREAD, 0, syscall2(libc::SYS_arch_prctl, 0x1002, t.fs as usize)).map(drop)
    }
}

const PR_SET_TSC: i32 = 26;
const ARCH_SET_CPUID: usize = 0x1012;
const PR_MCE_KILL: i32 = 33;
const PR_MCE_KILL_SET: usize = 1;
/// PR_MCE_KILL_DEFAULT
const MCE_KILL_DEFAULT: i32 = 2;

/// What each thread sets for itself.
fn settle(g: &Ground, head: &PlanHead, t: &ThreadRecord) -> Outcome {
    pair_ids(head, t)?;
    // SAFETY: addresses are the restored program's own; the kernel checks them.
    unsafe {
        if t.gs != 0 {
            let _ = syscall2(libc::SYS_arch_prctl, 0x1001, t.gs as usize);
        }
        if t.robust != 0 {
            let _ = syscall2(libc::SYS_set_robust_list, t.robust as usize, 24);
        }
        if t.rseq != 0 {
            // rseq_cs must be clear to register; cpu ids are the kernel's to fill.
            at(step::THREAD, t.rseq, syscall4(libc::SYS_rseq, t.rseq as usize, rseq::LEN, 0, rseq::SIGNATURE))?;
        }
        schedule(t);
        if t.mempolicy != 0 {
            let _ = syscall3(libc::SYS_set_mempolicy, t.mempolicy as usize, &raw const t.nodes as usize, 64);
        }
    }
    let _ = prctl(libc::PR_SET_NAME, t.name.as_ptr() as usize, 0, 0, 0);
    if t.mce_kill != MCE_KILL_DEFAULT {
        let _ = prctl(PR_MCE_KILL, PR_MCE_KILL_SET, t.mce_kill as usize, 0, 0);
    }
    if t.tsc > 1 {
        let _ = prctl(PR_SET_TSC, t.tsc as usize, 0, 0, 0);
    }
    if t.cpuid_faults != 0 {
        // SAFETY: a number only.
        let _ = unsafe { syscall2(libc::SYS_arch_prctl, ARCH_SET_CPUID, 0) };
    }
    let _ = prctl(libc::PR_SET_TIMERSLACK, t.timer_slack as usize, 0, 0, 0);
    super::credentials::apply(g, head, t)?;
    let _ = prctl(libc::PR_SET_PDEATHSIG, t.pdeathsig as usize, 0, 0, 0);
    make_room_for_amx(t);
    queue_pending(g, t);
    Ok(())
}

/// The program's id for this thread and the kernel's.
fn pair_ids(head: &PlanHead, t: &ThreadRecord) -> Outcome {
    let real = gettid();
    // SAFETY: the plan maps the table there, shared with all processes of the computation.
    match unsafe { IdTable::at(head.id_table as *mut u8) } {
        Some(table) if head.id_table != 0 && real != t.tid => {
            at(step::THREAD, t.tid as u64, table.insert(VirtualPid(t.tid), RealPid(real)).map_err(|_| Errno(libc::ENOSPC)))
        }
        _ => Ok(()),
    }
}

/// AMX state is in the saved frame, but a fresh thread has no room for it until it has used it once: the kernel would
/// take the frame for a foreign one and restore nothing but SSE (arch/x86/kernel/fpu/signal.c).
fn make_room_for_amx(t: &ThreadRecord) {
    const TILE_DATA: u64 = 1 << 18;
    // SAFETY: the frame lies in restored memory; fpstate is where the kernel put it, with fx_sw_reserved at 464.
    let used = unsafe {
        let fpstate = (*(t.frame as *const libc::ucontext_t)).uc_mcontext.fpregs as *const u8;
        !fpstate.is_null()
            && fpstate.add(464).cast::<u32>().read_unaligned() == 0x4650_5853
            && fpstate.add(472).cast::<u64>().read_unaligned() & TILE_DATA != 0
    };
    if used {
        crate::asm::touch_amx();
    }
}

/// Scheduling as it was, as far as the caller may.
///
/// # Safety
/// None beyond the record's own memory.
unsafe fn schedule(t: &ThreadRecord) {
    // SAFETY: out-pointers and in-pointers are fields of the record.
    unsafe {
        let mut now = [0u64; 16];
        let _ = syscall3(libc::SYS_sched_getaffinity, 0, 128, now.as_mut_ptr() as usize);
        if now != t.affinity {
            let _ = syscall3(libc::SYS_sched_setaffinity, 0, 128, t.affinity.as_ptr() as usize);
        }
        let attr = schedule_attr(t);
        let _ = syscall3(libc::SYS_sched_setattr, 0, attr.as_ptr() as usize, 0);
        let _ = syscall3(libc::SYS_setpriority, libc::PRIO_PROCESS as usize, 0, t.nice as usize);
        if syscall2(libc::SYS_ioprio_get, 1, 0).unwrap_or(0) as i32 != t.ioprio {
            let _ = syscall3(libc::SYS_ioprio_set, 1, 0, t.ioprio as usize);
        }
    }
}

/// struct sched_attr as the kernel takes it: it reports a slice as the runtime of ordinary threads, which is no request.
fn schedule_attr(t: &ThreadRecord) -> [u64; 6] {
    const DEADLINE: u32 = 6;
    let mut attr = t.sched;
    attr[0] = attr[0] & !0xffff_ffff | size_of_val(&attr) as u64;
    if (attr[0] >> 32) as u32 != DEADLINE {
        attr[3..].fill(0);
    }
    attr
}

/// Only a thread itself may queue signals with any si_code; the leader queues the process's. Before the barrier: no
/// other process may send one that would be taken first.
fn queue_pending(g: &Ground, t: &ThreadRecord) {
    let (pid, tid) = (getpid(), gettid());
    for p in g.table::<Pending>(g.head().pendings) {
        if p.tid == t.tid {
            crate::signals::queue(pid, tid, &super::ids::fix_siginfo(g, p));
        }
    }
    if pid == tid {
        queue_shared(g, |_| true);
    }
}

/// Signals pending for the process, by its main thread.
pub fn queue_shared(g: &Ground, which: impl Fn(i32) -> bool) {
    for p in g.table::<Pending>(g.head().pendings).iter().filter(|p| p.tid == 0 && which(p.info[0][0] as i32)) {
        crate::signals::queue(getpid(), 0, &super::ids::fix_siginfo(g, p));
    }
}

fn leave(g: &Ground, t: &ThreadRecord) -> ! {
    super::ids::fix_frame(g, t);
    let routine = g.head().process.leave;
    // SAFETY: the restored library's own `leave`: counts down, the last one unmaps the ground, sigreturn.
    unsafe {
        let leave: unsafe extern "C" fn(usize, usize, usize, usize, usize) -> ! = core::mem::transmute(routine as usize);
        let root = g.root();
        leave(t.frame as usize, root.start, root.len, &raw const root.here as usize, t.rewound as usize)
    }
}

/// The leader lets all go. One that had ended goes first, by itself.
pub fn leave_leader(g: &Ground) -> ! {
    let head = g.head();
    if g.index == 0 {
        tell_library(g, head);
    } else {
        super::kin::await_root(g);
    }
    if head.process.leader_gone != 0 {
        g.leader.store(1, Release);
        // SAFETY: the kernel clears the word when this thread is gone; until then the ground stays.
        let _ = unsafe { syscall1(libc::SYS_set_tid_address, g.leader.as_ptr() as usize) };
    }
    g.go.store(1, Release);
    futex_wake_all(&g.go);
    if let Some(t) = g.table::<ThreadRecord>(head.threads).iter().find(|t| is_leader(head, t)) {
        leave(g, t)
    }
    exit_thread(0)
}

/// The restored library's own first step: plugins, and threads that wait for a checkpoint they asked for. It runs with
/// the thread pointer of a thread of the program; its text, data and stack are that program's by now.
fn tell_library(g: &Ground, head: &PlanHead) {
    let threads = g.table::<ThreadRecord>(head.threads);
    // SAFETY: the address is that of the library's `plugin::restarted`, checked by the agent as `leave` is.
    unsafe {
        if let (1, Some(first)) = (head.process.leader_gone, threads.first()) {
            let _ = syscall2(libc::SYS_arch_prctl, 0x1002, first.fs as usize);
        }
        let restarted: unsafe extern "C" fn(*const u8, usize) = core::mem::transmute(head.process.restarted as usize);
        let environment = g.table::<u8>(head.environment);
        restarted(environment.as_ptr(), environment.len());
    }
}
