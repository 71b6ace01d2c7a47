//! The restorer: in a process that has just exec'ed the program's own binary, the constructor comes here
//! instead of returning. A copy of this library is made in a hole that neither address space uses, relocated,
//! and entered; it replaces everything else by what the plan says and leaves through the saved signal frames.

mod aio;
mod credentials;
mod fill;
mod ids;
mod kin;
mod lazy;
mod memory;
mod process;
mod threads;
mod vdso;

use crate::asm;
use crate::channel::Channel;
use crate::maps;
use ckpt_sys::calls::*;
use ckpt_sys::flat::plan::{self, PlanHead, Table};
use ckpt_sys::flat::{Msg, msg};
use ckpt_sys::page_up;
use ckpt_sys::raw::*;
use core::sync::atomic::AtomicU32;

const LEADER_STACK: usize = 64 << 10;
const THREAD_STACK: usize = 16 << 10;
const MAX_KERNEL: usize = 8;

/// What the copy needs to know; lies at the start of the ground, behind it the library, the plan, the stacks.
#[repr(C)]
pub struct Ground {
    pub start: usize,
    pub len: usize,
    pub plan: usize,
    pub stacks: usize,
    /// vdso and vvar as this kernel placed them: start, length
    pub kernel: [(usize, usize); MAX_KERNEL],
    pub kernel_count: usize,
    /// the vdso alone
    pub vdso: (usize, usize),
    /// room for them behind the ground
    pub beside: usize,
    /// threads that are still on this ground
    pub here: AtomicU32,
    /// threads that are ready to leave
    pub ready: AtomicU32,
    pub go: AtomicU32,
    /// 1 until a leader that the program had ended is gone
    pub leader: AtomicU32,
    pub failed: AtomicU32,
    /// the ground of the process that has the memory, of which this is a part
    pub root: usize,
    /// place in the root's table of kin, from 1; 0: this is the root
    pub index: u32,
    /// bytes of this part
    pub span: usize,
    pub library: usize,
    /// a page shared with all that are made here
    pub commons: usize,
    /// processes of this memory that have made theirs
    pub born: AtomicU32,
    /// the memory is there
    pub restored: AtomicU32,
}

impl Ground {
    pub fn root(&self) -> &Ground {
        // SAFETY: it lies on the same ground, which stays until the last thread has left.
        unsafe { &*(self.root as *const Ground) }
    }

    pub fn head(&self) -> &PlanHead {
        // SAFETY: the plan was copied here whole and its magic was checked.
        unsafe { &*(self.plan as *const PlanHead) }
    }

    pub fn table<T>(&self, t: Table) -> &[T] {
        // SAFETY: ckpt_restart lays tables out inside the plan, aligned to 8.
        unsafe { core::slice::from_raw_parts((self.plan + t.at as usize) as *const T, t.count as usize) }
    }

    pub fn thread_stack_top(&self, index: usize) -> usize {
        self.stacks + LEADER_STACK + (index + 1) * THREAD_STACK
    }
}

/// Stages of a failed restore, in `Msg::stage`.
pub mod step {
    pub const GROUND: u32 = 20;
    pub const UNMAP: u32 = 21;
    pub const VDSO: u32 = 22;
    pub const MAP: u32 = 23;
    pub const READ: u32 = 24;
    pub const PROTECT: u32 = 25;
    pub const MM: u32 = 26;
    pub const PROCESS: u32 = 27;
    pub const TIMER: u32 = 28;
    pub const THREAD: u32 = 29;
    pub const CREDENTIALS: u32 = 30;
    pub const AIO: u32 = 31;
    pub const LAZY: u32 = 32;
    pub const KIN: u32 = 33;
}

pub struct Failure {
    pub step: u32,
    pub errno: Errno,
    pub at: u64,
}

pub type Outcome = core::result::Result<(), Failure>;

pub fn at<T>(step: u32, at: u64, r: Result<T>) -> core::result::Result<T, Failure> {
    r.map_err(|errno| Failure { step, errno, at })
}

/// For ckpt_restart, which has loaded this library: a process that needs no exec comes here instead.
#[unsafe(no_mangle)]
extern "C" fn ckpt_restore(fd: Fd) -> ! {
    enter(fd)
}

/// What an exec would have cleared: addresses of this program's that the kernel writes to. A signal frame does not
/// undo an alternative stack when it was saved without one.
fn forget_thread() {
    let none = [0usize, libc::SS_DISABLE as usize, 0];
    // SAFETY: none is a stack_t; the rest are numbers.
    unsafe {
        let _ = syscall1(libc::SYS_set_tid_address, 0);
        let _ = syscall2(libc::SYS_set_robust_list, 0, 24);
        let _ = syscall2(libc::SYS_sigaltstack, none.as_ptr() as usize, 0);
    }
}

/// Never returns: restores what the plan in memfd `fd` says, or ends the process.
pub fn enter(fd: Fd) -> ! {
    enter_with(fd, 0)
}

/// `commons`: the page of those who made this process.
fn enter_with(fd: Fd, commons: usize) -> ! {
    if let Err(errno) = prepare(fd, commons) {
        complain(fd, errno);
    }
    exit_group(127)
}

fn complain(fd: Fd, errno: Errno) {
    let mut head = PlanHead::default();
    // SAFETY: head is writable for its size.
    let n = unsafe { syscall4(libc::SYS_pread64, fd as usize, &raw mut head as usize, size_of::<PlanHead>(), 0) };
    if n.is_ok() && head.magic == plan::MAGIC {
        report(head.agent, &Failure { step: step::GROUND, errno, at: 0 });
    }
}

fn report(agent: Fd, f: &Failure) {
    Channel::on(agent).send(Msg { kind: msg::FAILED, pid: getpid(), errno: f.errno.0, stage: f.step, arg: f.at, ..Msg::default() });
}

fn prepare(fd: Fd, commons: usize) -> Result<()> {
    crate::rseq::unregister();
    forget_thread();
    // SAFETY: numbers only.
    let plan_len = unsafe { syscall3(libc::SYS_lseek, fd as usize, 0, libc::SEEK_END as usize) }?;
    // SAFETY: a fresh private mapping of the memfd.
    let plan = unsafe {
        syscall6(libc::SYS_mmap, 0, plan_len, libc::PROT_READ as usize, libc::MAP_PRIVATE as usize, fd as usize, 0)
    }?;
    // SAFETY: mapped, plan_len bytes.
    let head = unsafe { &*(plan as *const PlanHead) };
    if plan_len < size_of::<PlanHead>() || head.magic != plan::MAGIC || head.total as usize != plan_len {
        return Err(Errno::INVAL);
    }
    let (lib, lib_len) = own_image();
    let stacks = LEADER_STACK + (head.threads.count as usize).max(fill::HELPERS) * THREAD_STACK;
    let ground_head = page_up(size_of::<Ground>());
    // SAFETY: as the maps table, below.
    let relatives = unsafe { core::slice::from_raw_parts((plan + head.kin.at as usize) as *const plan::Kin, head.kin.count as usize) };
    let span = ground_head + lib_len + page_up(plan_len) + stacks;
    let len = span + ckpt_sys::PAGE + kin::room(relatives)?;
    // SAFETY: the maps table lies in the mapped plan.
    let planned = unsafe { core::slice::from_raw_parts((plan + head.maps.at as usize) as *const plan::Map, head.maps.count as usize) };
    let mut kernel = KernelPages::default();
    // SAFETY: as the maps table.
    let rings = unsafe { core::slice::from_raw_parts((plan + head.aio.at as usize) as *const plan::Aio, head.aio.count as usize) };
    let start = find_hole(len + vdso::ROOM, (planned, rings), head, &mut kernel)?;
    let prot = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    // SAFETY: find_hole found the range free.
    unsafe { syscall6(libc::SYS_mmap, start, len, prot as usize, flags as usize, usize::MAX, 0) }?;
    let lib_copy = start + ground_head;
    let plan_copy = lib_copy + lib_len;
    // SAFETY: the ground is fresh and large enough for library, plan and stacks in this order.
    unsafe {
        copy_segments(lib, lib_copy);
        core::ptr::copy_nonoverlapping(plan as *const u8, plan_copy as *mut u8, plan_len);
        relocate(lib, lib_copy);
        (start as *mut Ground).write(Ground {
            start,
            len,
            plan: plan_copy,
            stacks: plan_copy + page_up(plan_len),
            kernel: kernel.all,
            kernel_count: kernel.count,
            vdso: kernel.vdso,
            beside: start + len + ckpt_sys::PAGE,
            here: AtomicU32::new(0),
            ready: AtomicU32::new(0),
            go: AtomicU32::new(0),
            leader: AtomicU32::new(0),
            failed: AtomicU32::new(0),
            root: start,
            index: 0,
            span,
            library: lib_copy,
            commons: start + span,
            born: AtomicU32::new(0),
            restored: AtomicU32::new(0),
        });
        let g = &*(start as *const Ground);
        g.here.store(head.threads.count as u32, core::sync::atomic::Ordering::Release);
        kin::found(g, commons)?;
        kin::start_own(g.head())?;
        kin::make(g)?;
        kin::await_born(g)?;
        let entry = run as *const () as usize - lib + lib_copy;
        let top = plan_copy + page_up(plan_len) + LEADER_STACK;
        asm::enter_on(top, start, entry)
    }
}

unsafe extern "C" {
    static __ehdr_start: u8;
    static _end: u8;
    static _DYNAMIC: [[usize; 2]; 0];
}

/// Where this library is mapped: ELF header to the end of bss.
pub fn own_image() -> (usize, usize) {
    let (start, end) = (&raw const __ehdr_start as usize, &raw const _end as usize);
    (start, page_up(end) - start)
}

/// Between two segments there may be a page that cannot be read.
///
/// # Safety
/// `copy` is writable for the length of the library at `lib`.
unsafe fn copy_segments(lib: usize, copy: usize) {
    const PT_LOAD: u32 = 1;
    // SAFETY: the headers are those of the running library (elf(5)); its segments are mapped.
    unsafe {
        let (table, size, count) = (*((lib + 32) as *const u64), *((lib + 54) as *const u16), *((lib + 56) as *const u16));
        for header in (0..count as usize).map(|i| lib + table as usize + i * size as usize) {
            if *(header as *const u32) == PT_LOAD {
                let (at, len) = (*((header + 16) as *const u64) as usize, *((header + 40) as *const u64) as usize);
                core::ptr::copy_nonoverlapping((lib + at) as *const u8, (copy + at) as *mut u8, len);
            }
        }
    }
}

const DT_RELA: usize = 7;
const DT_RELASZ: usize = 8;
const R_X86_64_RELATIVE: usize = 8;

/// Addresses inside the library, in the copy, point into the copy. Names of libc stay as they are: nobody
/// calls them there.
///
/// # Safety
/// `copy` is a writable copy of the library at `lib`.
unsafe fn relocate(lib: usize, copy: usize) {
    // SAFETY: the dynamic section and the relocations are those of the running library.
    unsafe {
        let (mut rela, mut size) = (0, 0);
        let mut entry = (&raw const _DYNAMIC).cast::<[usize; 2]>();
        while (*entry)[0] != 0 {
            match (*entry)[0] {
                // glibc has relocated the pointer in place
                DT_RELA => rela = if (*entry)[1] < lib { (*entry)[1] + lib } else { (*entry)[1] },
                DT_RELASZ => size = (*entry)[1],
                _ => {}
            }
            entry = entry.add(1);
        }
        for r in core::slice::from_raw_parts(rela as *const [usize; 3], size / 24) {
            if r[1] & 0xffff_ffff == R_X86_64_RELATIVE {
                ((copy + r[0]) as *mut usize).write(copy + r[2]);
            }
        }
    }
}

/// vdso and vvar as this kernel placed them, in order.
#[derive(Default)]
struct KernelPages {
    all: [(usize, usize); MAX_KERNEL],
    count: usize,
    vdso: (usize, usize),
}

/// A range that neither the present nor the planned address space uses; also where vdso and vvar are now.
fn find_hole(len: usize, planned: (&[plan::Map], &[plan::Aio]), head: &PlanHead, kernel: &mut KernelPages) -> Result<usize> {
    const FIRST: usize = 1 << 36;
    const LAST: usize = 0x7fff_0000_0000;
    let scratch = map_anon(64 << 10)?;
    let mut start = FIRST;
    loop {
        let before = start;
        let mut avoid = |from: u64, to: u64| {
            if (start as u64) < to && from < (start + len) as u64 {
                start = page_up(to as usize) + ckpt_sys::PAGE;
            }
        };
        planned.0.iter().for_each(|m| avoid(m.addr, m.addr + m.len));
        planned.1.iter().for_each(|r| avoid(r.addr, r.addr + r.len));
        avoid(head.vvar, head.vvar + head.vvar_len);
        avoid(head.vdso, head.vdso + head.vdso_len);
        kernel.count = 0;
        // SAFETY: scratch is 64 KiB, ours.
        maps::each(unsafe { core::slice::from_raw_parts_mut(scratch, 64 << 10) }, |vma| {
            avoid(vma.start, vma.end);
            if vma.special && vma.end < LAST as u64 + (1 << 32) && kernel.count < MAX_KERNEL {
                let place = (vma.start as usize, (vma.end - vma.start) as usize);
                kernel.all[kernel.count] = place;
                kernel.count += 1;
                if vma.vdso {
                    kernel.vdso = place;
                }
            }
            Ok(())
        })?;
        if start == before {
            return Ok(start);
        }
        if start + len > LAST {
            return Err(Errno::NOMEM);
        }
    }
}

/// On the copy, on its stack. Everything the process was is about to go.
unsafe extern "C" fn run(ground: usize) -> ! {
    // SAFETY: prepare passes the ground.
    let g = unsafe { &*(ground as *const Ground) };
    let head = g.head();
    if let Err(f) = restore(g, head) {
        exit_with(head, &f);
    }
    threads::leave_leader(g)
}

fn exit_with(head: &PlanHead, f: &Failure) -> ! {
    report(head.agent, f);
    exit_group(127)
}

fn restore(g: &Ground, head: &PlanHead) -> Outcome {
    block_signals();
    memory::clear(g)?;
    vdso::place(g, head)?;
    memory::map(g)?;
    vdso::forward(g, head)?;
    memory::bind(g, head);
    fill::read(g, head)?;
    memory::finish(g, head)?;
    lazy::register(g, head)?;
    aio::restore(g, head)?;
    kin::tell_restored(g);
    kin::settle(g, head)?;
    process::patch_library(g, head);
    process::before_threads(g, head)?;
    threads::start(g, head)?;
    process::timers(g, head)?;
    process::thread_fds(g, head);
    await_go(g, head)
}

fn await_go(g: &Ground, head: &PlanHead) -> Outcome {
    let agent = Channel::on(head.agent);
    agent.send(Msg { kind: msg::RESTORED, pid: getpid(), ..Msg::default() });
    loop {
        match agent.recv().map(|(m, _)| m.kind) {
            Some(msg::GO) => return process::last(g, head),
            Some(msg::SETTLE) => {
                process::settle_children(g, head);
                agent.send(Msg { kind: msg::SETTLED, pid: getpid(), ..Msg::default() });
            }
            // Stopped until now: the others went without it.
            None if kin::is_closed(g, head) => return process::last(g, head),
            _ => exit_group(127),
        }
    }
}

fn block_signals() {
    let all = u64::MAX;
    // SAFETY: all is 8 bytes.
    let _ = unsafe { syscall4(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK as usize, &raw const all as usize, 0, 8) };
}
