//! What the library knows about itself. Two kinds of memory, because fork treats them differently:
//! `CONTROL` is copied to a child, the state page is wiped (MADV_WIPEONFORK).

use ckpt_sys::flat::{CONTROL_MAGIC, Control, Outer};
use ckpt_sys::raw::*;
use core::ffi::CStr;
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering::*};

/// Copied over fork and exec (through the environment); patched by the restorer.
pub static mut CONTROL: Control = Control::new();

/// Idle: no checkpoint in this process. Quiesce: threads park. Release: threads leave their handlers.
pub const IDLE: u32 = 0;
pub const QUIESCE: u32 = 1;
pub const RELEASE: u32 = 2;

/// One process's part of the page. Processes that share their memory (CLONE_VM) share the page, too.
#[repr(C)]
pub struct Seat {
    /// whose it is; 0: nobody's yet
    pub pid: AtomicI32,
    pub phase: AtomicU32,
    /// Threads that have parked; futex of the checkpoint thread.
    pub parked: AtomicU32,
    /// As many wake it; 0: each does.
    pub awaited: AtomicU32,
    /// Threads that are still inside the handler.
    pub inside: AtomicU32,
    /// Bumped for each command to parked threads; they wait on it.
    pub epoch: AtomicU32,
    pub arena: AtomicUsize,
    /// A thread of the program that stays until the checkpoint thread has ended: it is not the last of its process.
    pub keeper: AtomicI32,
    /// Not 0 while there is a checkpoint thread; the kernel clears it, and wakes.
    pub helper: AtomicU32,
}

pub const SEATS: usize = 64;

/// One page, zero in a forked child.
#[repr(C)]
pub struct StatePage {
    pub seats: [Seat; SEATS],
    /// see `times`
    pub exec: AtomicU64,
    pub init: AtomicU64,
    pub init_us: AtomicU32,
    pub fork_told_us: AtomicU32,
    pub exec_told_us: AtomicU32,
    /// the process whose fork that was
    pub forked: AtomicI32,
    /// what the kernel will undo at the end of the process (`sysv`)
    pub undo: [AtomicU64; crate::sysv::UNDOS],
}

const _: () = assert!(size_of::<StatePage>() <= ckpt_sys::PAGE);

static STATE: AtomicPtr<StatePage> = AtomicPtr::new(core::ptr::null_mut());

pub fn state() -> Option<&'static StatePage> {
    // SAFETY: set once to a page that is never unmapped.
    unsafe { STATE.load(Acquire).as_ref() }
}

/// The seat of process `pid`, taken if it has none. None: there is none left, or no state yet.
pub fn seat(pid: i32) -> Option<&'static Seat> {
    let seats = &state()?.seats;
    let own = |s: &&Seat| s.pid.load(Acquire) == pid;
    let free = |s: &&Seat| s.pid.compare_exchange(0, pid, AcqRel, Acquire).is_ok();
    seats.iter().find(own).or_else(|| seats.iter().find(free)).or_else(|| seats.iter().find(|s| s.inherit(pid)))
}

/// Another process that stands still in this memory; 0: there is none.
pub fn neighbour(pid: i32) -> i32 {
    let stands = |s: &&Seat| s.phase.load(Acquire) == QUIESCE && s.pid.load(Acquire) != pid;
    let there = |&other: &i32| other > 0 && ckpt_sys::calls::kill(other, 0).is_ok();
    let all = state().map_or(&[][..], |page| &page.seats[..]);
    all.iter().filter(stands).map(|s| s.pid.load(Acquire)).find(there).unwrap_or(0)
}

impl Seat {
    /// Takes the seat of a process that is gone.
    fn inherit(&self, pid: i32) -> bool {
        let before = self.pid.load(Acquire);
        let gone = ckpt_sys::calls::tgkill(before, before, 0).is_err_and(|e| e.0 == libc::ESRCH);
        let taken = gone && self.pid.compare_exchange(before, pid, AcqRel, Acquire).is_ok();
        if taken {
            self.inside.store(0, Release);
            self.arena.store(0, Release);
            self.helper.store(0, Release);
            self.phase.store(IDLE, Release);
        }
        taken
    }
}

fn control() -> &'static Control {
    let at = &raw const CONTROL;
    // SAFETY: written in the constructor and by the restorer only, while no other thread runs.
    unsafe { &*at }
}

pub fn control_addr() -> usize {
    &raw const CONTROL as usize
}

pub fn state_page_addr() -> usize {
    STATE.load(Acquire) as usize
}

/// Our reserved signal; 0 when the library is not active.
pub fn ckpt_signal() -> i32 {
    control().signal
}

pub fn agent_pid() -> i32 {
    control().agent_pid
}

/// The process that ckpt_launch started, or that took its place.
pub fn program() -> i32 {
    control().program
}

/// The program's surroundings.
pub fn outer() -> Outer {
    control().outer
}

/// Is a process whose parent is the agent an orphan, rather than the one that the agent started?
pub fn is_orphan(own: i32, parent: i32) -> bool {
    let c = control();
    parent == c.agent_pid && own != c.program
}

/// Is a program counter in the kernel's code (vdso)?
pub fn in_vdso(pc: u64) -> bool {
    let [start, end] = control().vdso;
    (start..end).contains(&pc)
}

/// Did ckpt_launch start this program?
pub fn enabled() -> bool {
    control().magic == CONTROL_MAGIC
}

/// The two environment strings that an exec'ed program needs.
pub fn preload_env() -> Option<(&'static CStr, &'static CStr)> {
    if !enabled() {
        return None;
    }
    let c = control();
    Some((CStr::from_bytes_until_nul(&c.preload).ok()?, CStr::from_bytes_until_nul(&c.agent).ok()?))
}

/// The agent's abstract socket name, without the variable's name and the signal number.
pub fn agent_name() -> &'static [u8] {
    let all = &control().agent;
    let start = all.iter().position(|&b| b == b'=').map_or(0, |i| i + 1);
    let end = all[start..].iter().position(|&b| b == b',' || b == 0).map_or(all.len(), |i| start + i);
    &all[start..end]
}

/// The agent's descriptor of the names that count before the first restart.
pub fn names_fd() -> Option<i32> {
    let all = control().agent.split(|&b| b == 0).next()?;
    crate::procfs::parse(all.split(|&b| b == b',').nth(3)?.strip_prefix(b"n")?)
}

/// What `CKPT_AGENT` says. Shared ids are attached where the agent has a table of them.
pub struct Told {
    pub agent_pid: i32,
    pub program: i32,
    pub signal: i32,
    pub id_table: usize,
    pub ids_virtual: bool,
    pub outer: Outer,
    /// how exec was called; zeros: by ckpt_launch
    pub exec: crate::times::Exec,
}

/// False when the string does not fit.
pub fn set_control(agent: &[u8], told: &Told, vdso: [u64; 2]) -> bool {
    let at = &raw mut CONTROL;
    // SAFETY: called by the constructor, before the program's first instruction.
    let c = unsafe { &mut *at };
    if agent.len() >= c.agent.len() {
        return false;
    }
    c.agent[..agent.len()].copy_from_slice(agent);
    c.signal = told.signal;
    c.agent_pid = told.agent_pid;
    c.program = told.program;
    c.id_table = told.id_table as u64;
    c.ids_virtual = told.ids_virtual as i32;
    c.outer = told.outer;
    c.vdso = vdso;
    true
}

/// `LD_PRELOAD=/path/libckpt.so`; from here on the library is active.
pub fn set_preload(preload: &[u8]) -> bool {
    let at = &raw mut CONTROL;
    // SAFETY: as set_control.
    let c = unsafe { &mut *at };
    if preload.len() >= c.preload.len() {
        return false;
    }
    c.preload[..preload.len()].copy_from_slice(preload);
    c.magic = CONTROL_MAGIC;
    true
}

/// Maps the state page. Errors: ENOMEM, EINVAL on kernels before 4.14.
pub fn map_state() -> Result<()> {
    let page = ckpt_sys::calls::map_anon(ckpt_sys::PAGE)?;
    ckpt_sys::calls::madvise(page as usize, ckpt_sys::PAGE, libc::MADV_WIPEONFORK)?;
    STATE.store(page.cast(), Release);
    Ok(())
}

/// How often this process was brought back.
pub fn restarts() -> u32 {
    let at = &raw const CONTROL;
    // SAFETY: patched by the restorer only, before the program's threads run; a waiting thread reads it again.
    unsafe { (&raw const (*at).restarts).read_volatile() }
}

/// Have the program's own processes other ids than it knows?
pub fn ids_virtual() -> bool {
    control().ids_virtual != 0
}

/// Address of the id table that a restarted computation shares; 0: virtual ids are the real ones. It lies in
/// `CONTROL` because the restorer, which runs in a copy of this library, patches the original through it.
pub fn id_table() -> usize {
    control().id_table as usize
}
