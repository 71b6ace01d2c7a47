//! The checkpoint signal: a thread parks here while its process is captured, and leaves as if nothing happened.

use crate::state::{self, IDLE, QUIESCE, RELEASE, Seat};
use crate::arena::{self, Arena};
use crate::eintr::UNSEEN;
use crate::{plugin_guard, regroup, thread};
use ckpt_sys::calls::*;
use ckpt_sys::raw::*;
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering::*, fence};

pub use ckpt_sys::procfs::InCall;

pub const ASKED: u32 = 7;
pub const PARKED: u32 = 8;

/// It was in the kernel's code (vdso), which another kernel may not have, or about to note a call (`sysv::is_noting`): it is to
/// leave it, and is asked again.
pub const LEAVING: u32 = 10;

/// Commands to a parked thread.
pub const STAY: u32 = 0;
pub const DRAIN: u32 = 1;
pub const REQUEUE: u32 = 2;
pub const CALL: u32 = 3;
/// It ended before it could park.
pub const GONE: u32 = 9;

/// One thread of the program, in the arena; hashed by tid.
#[repr(C)]
pub struct Slot {
    pub tid: AtomicI32,
    pub state: AtomicU32,
    pub command: AtomicU32,
    pub in_call_known: AtomicU32,
    /// asked through the process, since no more signals may be queued
    pub by_process: AtomicU32,
    /// asked by SIGSETXID, too
    pub by_setxid: AtomicU32,
    pub in_call: InCall,
    /// when it last ran, on the scheduler's clock in nanoseconds; 0: not known
    pub last_ran: AtomicU64,
    /// on this processor, whose clock that is
    pub processor: AtomicU32,
    /// struct ucontext
    pub frame: AtomicU64,
    pub fs: u64,
    pub gs: u64,
    pub clear_tid: u64,
    pub rseq: u64,
    pub timer_slack: u64,
    pub pdeathsig: i32,
    pub no_new_privs: i32,
    pub securebits: i32,
    pub keepcaps: i32,
    pub tsc: i32,
    pub mce_kill: i32,
    /// ARCH_SET_CPUID
    pub cpuid_faults: bool,
    pub credentials: u64,
    pub name: [u8; 16],
    pub mempolicy: i32,
    pub nodes: u64,
    /// signals pending for thread or process
    pub pending: u64,
    /// the interrupted call was set to be repeated
    pub rewound: AtomicU32,
    /// how often it was found in the vdso
    pub leaves: AtomicU32,
    /// see `crowded`
    pub looks: AtomicU32,
}

/// # Safety
/// `uc` is the ucontext that the kernel put on the stack.
pub unsafe extern "C" fn on_signal(sig: i32, info: *mut libc::siginfo_t, uc: *mut libc::ucontext_t) {
    // SAFETY: the frame is the kernel's.
    if sig == state::ckpt_signal() && unsafe { plugin_guard::interrupted(uc) } {
        return;
    }
    // SAFETY: the frame and the information are the kernel's.
    if sig == state::ckpt_signal() && unsafe { regroup::is_asked(info) } {
        regroup::serve();
        // SAFETY: as above.
        return unsafe { crate::eintr::last_look(uc as u64, crate::eintr::rewind_alone(uc as u64)) };
    }
    let Some(st) = state::seat(getpid()) else { return };
    if sig != state::ckpt_signal() && !is_for_us(st) {
        // SAFETY: the arguments are the kernel's, as glibc's own handler expects them.
        return unsafe { crate::signals::forward(sig, info, uc) };
    }
    enter(st);
    let begins = st.phase.compare_exchange(IDLE, QUIESCE, AcqRel, Acquire).is_ok();
    // SAFETY: by the contract.
    let begun = if begins { unsafe { begin(st, uc) } } else { Begun::Elsewhere };
    if let Begun::Not = begun {
        st.phase.store(IDLE, Release);
    }
    let parks = !matches!(begun, Begun::InPlace(_)) && st.phase.load(Acquire) == QUIESCE;
    // SAFETY: by the contract.
    let rewound = if parks { unsafe { park(st, uc) } } else { UNSEEN };
    // The checkpoint thread cannot end before this one has left.
    let keeps = (parks && st.keeper.load(Acquire) == gettid()).then(|| st.helper.load(Acquire));
    leave(st);
    if let Some(helper) = keeps {
        outlast(st, helper);
    }
    // SAFETY: the frame is this thread's.
    unsafe {
        let rewound = match begun {
            Begun::InPlace(rewound) => rewound,
            _ if rewound == UNSEEN => crate::eintr::rewind_alone(uc as u64),
            _ => rewound,
        };
        crate::eintr::last_look(uc as u64, rewound);
    }
}

/// Until the checkpoint thread has ended: if it were the last of the process, its exit code would be the process's.
/// Not until the next one has, which waits for us.
fn outlast(st: &Seat, helper: u32) {
    while helper != 0 && st.helper.load(Acquire) == helper {
        let _ = futex_wait(&st.helper, helper, 100);
    }
}

/// From here to `leave` the arena stays, if the phase says that there is one. The fence goes with that of `release`: one
/// of the two sees the other.
fn count_in(st: &Seat) {
    st.inside.fetch_add(1, AcqRel);
    fence(SeqCst);
}

fn leave(st: &Seat) {
    if st.inside.fetch_sub(1, AcqRel) == 1 {
        futex_wake_all(&st.inside);
    }
}

/// The checkpoint before may be ending: who went on now would do so in spite of the signal, which is not sent again.
fn enter(st: &Seat) {
    loop {
        count_in(st);
        if st.phase.load(Acquire) != RELEASE {
            return;
        }
        leave(st);
        let _ = futex_wait(&st.phase, RELEASE, 1);
    }
}

/// Of another signal than ours. The arena stays while somebody is inside.
fn is_for_us(st: &'static Seat) -> bool {
    if st.phase.load(Acquire) != QUIESCE {
        return false;
    }
    count_in(st);
    let asked = asked(st);
    leave(st);
    asked
}

/// Is this thread one that the checkpoint thread waits for?
fn asked(st: &'static Seat) -> bool {
    st.phase.load(Acquire) == QUIESCE
        && arena::current(st).and_then(|a| a.find(gettid())).is_some_and(|s| s.state.load(Acquire) == ASKED)
}

/// Tells one checkpoint thread from the next: `Seat::helper`.
static HELPERS: AtomicU32 = AtomicU32::new(0);

enum Begun {
    /// By a checkpoint thread.
    Elsewhere,
    /// It is over. How this thread's call was set back (`Slot::rewound`).
    InPlace(u32),
    Not,
}

/// Arena, our own slot, then the checkpoint thread, or its work where there may be none (RLIMIT_NPROC, pids.max).
///
/// # Safety
/// `uc` as in `on_signal`.
unsafe fn begin(st: &'static Seat, uc: *mut libc::ucontext_t) -> Begun {
    let Ok(arena) = arena::create() else { return Begun::Not };
    st.parked.store(0, Relaxed);
    st.awaited.store(0, Relaxed);
    st.arena.store(arena as usize, Release);
    let tid = gettid();
    // SAFETY: the arena was just made and nobody else knows it.
    unsafe {
        let Some(slot) = (*arena).insert(tid) else { return Begun::Not };
        slot.state.store(ASKED, Release);
    }
    st.epoch.store(0, Relaxed);
    outlast(st, st.helper.load(Acquire));
    st.keeper.store(0, Relaxed);
    st.helper.store(HELPERS.fetch_add(2, Relaxed) | 1, Release);
    let Err(e) = thread::spawn(arena) else { return Begun::Elsewhere };
    st.helper.store(0, Release);
    let begun = match e {
        // SAFETY: the arena is ours until it is destroyed; the frame by the contract.
        Errno::AGAIN => unsafe { in_place(&*arena, uc) },
        _ => Begun::Not,
    };
    if let Begun::Not = begun {
        st.arena.store(0, Release);
    }
    arena::destroy(arena);
    begun
}

/// In the vdso: the agent asks again, and finds it elsewhere or, in the end, there.
///
/// # Safety
/// `uc` as in `on_signal`.
unsafe fn in_place(arena: &Arena, uc: *mut libc::ucontext_t) -> Begun {
    const TRIES: u32 = 20;
    static LEAVES: AtomicU32 = AtomicU32::new(0);
    // SAFETY: by the contract.
    if unsafe { is_passing(uc) } && LEAVES.fetch_add(1, Relaxed) < TRIES {
        return Begun::Not;
    }
    LEAVES.store(0, Relaxed);
    let Some(slot) = arena.find(gettid()) else { return Begun::Not };
    // SAFETY: the slot is this thread's alone until PARKED is stored.
    unsafe { note_self(core::ptr::from_ref(slot).cast_mut(), uc) };
    slot.state.store(PARKED, Release);
    thread::run_in_place(arena);
    Begun::InPlace(slot.rewound.load(Acquire))
}

/// A thread that the agent asked because the first was slow may be here before the checkpoint thread has seen it. Going
/// back it would take EINTR along.
fn await_slot(st: &'static Seat) -> Option<(&'static Arena, &'static Slot)> {
    let tid = gettid();
    while st.phase.load(Acquire) == QUIESCE {
        let found = arena::current(st).and_then(|a| Some((a, a.find(tid)?)));
        if found.is_some() {
            return found;
        }
        let _ = futex_wait(&st.phase, QUIESCE, 1);
    }
    None
}

/// How the thread's call was set back (`Slot::rewound`).
///
/// # Safety
/// As `on_signal`.
unsafe fn park(st: &'static Seat, uc: *mut libc::ucontext_t) -> u32 {
    let Some((arena, slot)) = await_slot(st) else { return UNSEEN };
    if slot.state.load(Acquire) != ASKED {
        return UNSEEN;
    }
    // SAFETY: the frame is the kernel's.
    if unsafe { is_leaving(slot, uc) } {
        st.parked.fetch_add(1, AcqRel);
        futex_wake_all(&st.parked);
        return UNSEEN;
    }
    // SAFETY: the slot is this thread's alone until PARKED is stored.
    unsafe { note_self(core::ptr::from_ref(slot).cast_mut(), uc) };
    slot.rewound.store(UNSEEN, Release);
    slot.state.store(PARKED, Release);
    if st.parked.fetch_add(1, AcqRel) + 1 >= st.awaited.load(Acquire) {
        futex_wake_all(&st.parked);
    }
    loop {
        let epoch = st.epoch.load(Acquire);
        if st.phase.load(Acquire) == RELEASE {
            break;
        }
        let command = slot.command.load(Acquire);
        if command != STAY {
            obey(arena, slot, command);
            slot.command.store(STAY, Release);
            st.parked.fetch_add(1, AcqRel);
            futex_wake_all(&st.parked);
        }
        let _ = futex_wait(&st.epoch, epoch, -1);
    }
    if slot.by_setxid.load(Acquire) != 0 {
        crate::signals::take_back_setxid();
    }
    slot.rewound.load(Acquire)
}

/// By the thread of the slot.
pub fn obey(arena: &Arena, slot: &Slot, command: u32) {
    match command {
        DRAIN => crate::signals::drain_private(arena, slot),
        CALL => crate::plugin::called(arena),
        _ => crate::signals::requeue_shared(arena),
    }
}

/// Is it where no checkpoint should find it?
///
/// # Safety
/// `uc` as in `on_signal`.
unsafe fn is_passing(uc: *const libc::ucontext_t) -> bool {
    // SAFETY: by the contract.
    unsafe { state::in_vdso((*uc).uc_mcontext.gregs[libc::REG_RIP as usize] as u64) || crate::sysv::is_noting(uc) }
}

/// Not for ever: a clock that is read without end is left in the middle then.
///
/// # Safety
/// `uc` as in `on_signal`.
unsafe fn is_leaving(slot: &Slot, uc: *mut libc::ucontext_t) -> bool {
    const TRIES: u32 = 500;
    // SAFETY: by the contract.
    let leaving = unsafe { is_passing(uc) } && slot.leaves.fetch_add(1, Relaxed) < TRIES;
    if leaving {
        slot.state.store(LEAVING, Release);
    }
    leaving
}

/// # Safety
/// `slot` is valid and this thread's; `uc` as in `on_signal`.
unsafe fn note_self(slot: *mut Slot, uc: *mut libc::ucontext_t) {
    // SAFETY: by the contract; the out-pointers are fields of the slot.
    unsafe {
        let s = &mut *slot;
        s.frame.store(uc as u64, Relaxed);
        let _ = syscall2(libc::SYS_arch_prctl, 0x1003, &raw mut s.fs as usize);
        let _ = syscall2(libc::SYS_arch_prctl, 0x1004, &raw mut s.gs as usize);
        s.rseq = crate::rseq::of_thread(s.fs);
        let _ = prctl(libc::PR_GET_TID_ADDRESS, &raw mut s.clear_tid as usize, 0, 0, 0);
        let _ = prctl(libc::PR_GET_PDEATHSIG, &raw mut s.pdeathsig as usize, 0, 0, 0);
        s.timer_slack = prctl(libc::PR_GET_TIMERSLACK, 0, 0, 0, 0).unwrap_or(0) as u64;
        s.no_new_privs = prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0).unwrap_or(0) as i32;
        s.securebits = prctl(libc::PR_GET_SECUREBITS, 0, 0, 0, 0).unwrap_or(0) as i32;
        s.keepcaps = prctl(libc::PR_GET_KEEPCAPS, 0, 0, 0, 0).unwrap_or(0) as i32;
        s.cpuid_faults = syscall1(libc::SYS_arch_prctl, ARCH_GET_CPUID) == Ok(0);
        let _ = prctl(PR_GET_TSC, &raw mut s.tsc as usize, 0, 0, 0);
        s.mce_kill = prctl(PR_MCE_KILL_GET, 0, 0, 0, 0).unwrap_or(0) as i32;
        s.credentials = crate::identity::digest();
        let _ = prctl(libc::PR_GET_NAME, s.name.as_mut_ptr() as usize, 0, 0, 0);
        let _ = syscall5(libc::SYS_get_mempolicy, &raw mut s.mempolicy as usize, &raw mut s.nodes as usize, 64, 0, 0);
        s.pending = crate::signals::pending_set();
    }
}

/// Installs the handler. Errors: EINVAL for a signal number out of range.
pub fn install(signal: i32) -> Result<()> {
    crate::signals::set_action(
        signal,
        &ckpt_sys::flat::SigAction {
            handler: on_signal as *const () as u64,
            flags: (libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK | SA_RESTORER) as u64,
            restorer: crate::asm::sigreturn as *const () as u64,
            mask: u64::MAX,
        },
    )
}

const PR_GET_TSC: i32 = 25;
const ARCH_GET_CPUID: usize = 0x1011;
const PR_MCE_KILL_GET: i32 = 34;
const SA_RESTORER: i32 = 0x0400_0000;
