//! A process that has seccomp filters of its own: are they known, so that a restart can set them again, and do they allow
//! what a checkpoint does in the process? Asked before it gets the signal: a filter may kill for a call.

use crate::bpf::{self, Call};
use crate::procfs;
use crate::tasks::Tasks;
use ckpt_sys::procfs::{Vma, map_line};
use ckpt_sys::seccomp::{FILTERS, Head, INSTRUCTIONS, Instruction, MAGIC, Noted, Notes, SIZE};
use std::fs::File;
use std::mem::offset_of;
use std::os::unix::fs::FileExt;

const OUT: &str = "start it without its sandbox option";

/// One line with the reason and the way out. Filters that the agent has too are the surroundings'.
pub fn obstacle(pid: i32, status: &str) -> Option<String> {
    let own = procfs::status(std::process::id() as i32).map_or(Mode::default(), |s| Mode::of(&s));
    let of_thread = |_, status: &[u8]| Mode::of(&String::from_utf8_lossy(status));
    let main = Mode::of(status);
    let threads: Vec<Mode> = Tasks::of(pid).iter_mut().flat_map(|t| t.look("status", of_thread).collect::<Vec<_>>()).collect();
    let stricter = |m: &Mode| m.mode > own.mode || m.mode == STRICT || m.filters > own.filters;
    if !stricter(&main) && !threads.iter().any(stricter) {
        return None;
    }
    if main.mode == STRICT || threads.iter().any(|t| t.mode == STRICT) {
        return Some(format!("it is in seccomp's strict mode, in which it can take no part in a checkpoint; {OUT}"));
    }
    let unknown = || Some(format!("it has a seccomp filter that it did not set itself by prctl or syscall, which cannot be read back; {OUT}"));
    if threads.iter().any(|t| t.filters > main.filters || t.filters < own.filters) {
        return Some(format!("threads of it have seccomp filters that its main thread has not, which is not supported; {OUT}"));
    }
    let Some(filters) = noted(pid).filter(|f| main.filters == own.filters + f.len() as u32) else { return unknown() };
    if threads.iter().any(|t| t.filters > own.filters && !t.may_set) {
        return Some(format!("it may not set its seccomp filter again: no_new_privs is not set, and it has no CAP_SYS_ADMIN; {OUT}"));
    }
    let (name, what) = filters.iter().find_map(|code| hindered(code))?;
    Some(format!("its seccomp filter {what} {name}, which a checkpoint needs; allow it, or {OUT}"))
}

const STRICT: u32 = 1;

/// Of a thread, by its status.
#[derive(Clone, Copy, Default)]
struct Mode {
    mode: u32,
    filters: u32,
    /// prctl(2): a filter
    may_set: bool,
}

impl Mode {
    fn of(status: &str) -> Mode {
        const CAP_SYS_ADMIN: u64 = 1 << 21;
        let number = |key| procfs::status_value(status, key).and_then(|v| v.parse::<u32>().ok()).unwrap_or(0);
        let effective = procfs::status_value(status, "CapEff").and_then(|v| u64::from_str_radix(v, 16).ok()).unwrap_or(0);
        let may_set = number("NoNewPrivs") != 0 || effective & CAP_SYS_ADMIN != 0;
        Mode { mode: number("Seccomp"), filters: number("Seccomp_filters"), may_set }
    }
}

/// The filters of the main thread, the oldest first; None: not all are known.
fn noted(pid: i32) -> Option<Vec<Vec<Instruction>>> {
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let maps = std::fs::read(format!("/proc/{pid}/maps")).ok()?;
    let fits = |m: &Vma| m.end.checked_sub(m.start) == Some(SIZE as u64) && !m.file && !m.special && !m.shared;
    let mut starts = maps.split(|&b| b == b'\n').filter_map(map_line).filter(fits).map(|m| m.start);
    starts.find_map(|at| read(&memory, at))?
}

/// None: no notes are there. Some(None): they do not say all.
fn read(memory: &File, at: u64) -> Option<Option<Vec<Vec<Instruction>>>> {
    let mut head = [0; size_of::<Head>()];
    memory.read_exact_at(&mut head, at).ok()?;
    let word = |offset: usize| head.get(offset..offset + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_ne_bytes);
    let magic: Vec<u8> = MAGIC.iter().flat_map(|w| w.to_ne_bytes()).collect();
    if !head.starts_with(&magic) {
        return None;
    }
    let count = word(offset_of!(Head, count)) as usize;
    if word(offset_of!(Head, incomplete)) != 0 || count > FILTERS {
        return Some(None);
    }
    let filter = |i: usize| -> Option<Vec<Instruction>> {
        let slot = offset_of!(Head, filters) + i * size_of::<Noted>();
        let (from, len) = (word(slot + offset_of!(Noted, at)) as usize, word(slot + offset_of!(Noted, len)) as usize);
        if from + len > INSTRUCTIONS {
            return None;
        }
        let mut code = vec![0; len * size_of::<Instruction>()];
        memory.read_exact_at(&mut code, at + (offset_of!(Notes, instructions) + from * size_of::<Instruction>()) as u64).ok()?;
        Some(code.chunks_exact(size_of::<Instruction>()).map(instruction).collect())
    };
    Some((0..count).map(filter).collect())
}

fn instruction(b: &[u8]) -> Instruction {
    let at = |i: usize| b.get(i).copied().unwrap_or(0);
    Instruction { code: u16::from_ne_bytes([at(0), at(1)]), jt: at(2), jf: at(3), k: u32::from_ne_bytes([at(4), at(5), at(6), at(7)]) }
}

/// The first call that the filter would not let us make, and what it does about it.
fn hindered(code: &[Instruction]) -> Option<(&'static str, &'static str)> {
    let worst = |need: &Need| -> Option<&'static str> {
        let answers = bpf::answers(code, &need.call);
        let action = |answer: &Option<u32>| answer.map(|a| a & 0xffff_0000);
        let passes = |answer: &Option<u32>| match action(answer) {
            Some(bpf::RET_ALLOW | bpf::RET_LOG) => true,
            // "Error 0" says that it was done.
            Some(bpf::RET_ERRNO) => need.may_fail && *answer != Some(bpf::RET_ERRNO),
            _ => false,
        };
        let wrong = if answers.is_empty() { Some(&None) } else { answers.iter().find(|a| !passes(a)) };
        wrong.map(|answer| if action(answer) == Some(bpf::RET_ERRNO) { "refuses" } else { "may end it for" })
    };
    NEEDED.iter().find_map(|need| worst(need).map(|what| (need.name, what)))
}

struct Need {
    name: &'static str,
    call: Call,
    /// Nothing is lost where it answers an error.
    may_fail: bool,
}

macro_rules! needed {
    ($($mark:ident $name:ident = $number:expr $(, $i:literal: $value:expr)*;)*) => {
        &[$(Need {
            name: stringify!($name),
            call: Call { number: $number as u32, known: &[$(($i, $value as u64)),*] },
            may_fail: needed!(@$mark),
        }),*]
    };
    (@must) => { false };
    (@may) => { true };
}

const LANDLOCK_CREATE_RULESET: i64 = 444;
const LANDLOCK_RESTRICT_SELF: i64 = 446;
const HELPER: i32 = libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES;
const THREAD: i32 = libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_SIGHAND | libc::CLONE_THREAD | libc::CLONE_SYSVSEM;

/// What libckpt.so calls in a process from the signal to the end of its frozen copy, and on the way back from a restart.
const NEEDED: &[Need] = needed! {
    must read = libc::SYS_read;
    must write = libc::SYS_write;
    must close = libc::SYS_close;
    must openat = libc::SYS_openat;
    must poll = libc::SYS_poll;
    must lseek = libc::SYS_lseek;
    must mmap = libc::SYS_mmap;
    must mprotect = libc::SYS_mprotect;
    must munmap = libc::SYS_munmap;
    must madvise = libc::SYS_madvise;
    must mincore = libc::SYS_mincore;
    must brk = libc::SYS_brk;
    must rt_sigaction = libc::SYS_rt_sigaction;
    must rt_sigprocmask = libc::SYS_rt_sigprocmask;
    must rt_sigreturn = libc::SYS_rt_sigreturn;
    must rt_sigpending = libc::SYS_rt_sigpending;
    must rt_sigtimedwait = libc::SYS_rt_sigtimedwait;
    must rt_sigqueueinfo = libc::SYS_rt_sigqueueinfo;
    must rt_tgsigqueueinfo = libc::SYS_rt_tgsigqueueinfo;
    must ioctl = libc::SYS_ioctl, 1: ckpt_sys::pagemap::PAGEMAP_SCAN;
    must pread64 = libc::SYS_pread64;
    must pwrite64 = libc::SYS_pwrite64;
    must vmsplice = libc::SYS_vmsplice;
    must sync_file_range = libc::SYS_sync_file_range;
    must getpid = libc::SYS_getpid;
    must gettid = libc::SYS_gettid;
    must geteuid = libc::SYS_geteuid;
    must getegid = libc::SYS_getegid;
    must getresuid = libc::SYS_getresuid;
    must getresgid = libc::SYS_getresgid;
    must getgroups = libc::SYS_getgroups;
    must setfsuid = libc::SYS_setfsuid;
    must setfsgid = libc::SYS_setfsgid;
    must capget = libc::SYS_capget;
    must getitimer = libc::SYS_getitimer;
    must timer_gettime = libc::SYS_timer_gettime;
    must timer_getoverrun = libc::SYS_timer_getoverrun;
    must socket = libc::SYS_socket, 0: libc::AF_UNIX;
    must connect = libc::SYS_connect;
    must sendmsg = libc::SYS_sendmsg;
    must recvmsg = libc::SYS_recvmsg;
    must setsockopt = libc::SYS_setsockopt;
    must getsockopt = libc::SYS_getsockopt;
    must clone = libc::SYS_clone, 0: THREAD;
    must clone = libc::SYS_clone, 0: HELPER;
    must clone = libc::SYS_clone, 0: HELPER | libc::CLONE_VFORK;
    must clone = libc::SYS_clone, 0: 0;
    must wait4 = libc::SYS_wait4;
    must waitid = libc::SYS_waitid;
    must exit = libc::SYS_exit;
    must exit_group = libc::SYS_exit_group;
    must kill = libc::SYS_kill;
    must tgkill = libc::SYS_tgkill;
    must futex = libc::SYS_futex;
    must nanosleep = libc::SYS_nanosleep;
    must clock_gettime = libc::SYS_clock_gettime;
    must newfstatat = libc::SYS_newfstatat;
    must fstatfs = libc::SYS_fstatfs;
    must ftruncate = libc::SYS_ftruncate;
    must getdents64 = libc::SYS_getdents64;
    must arch_prctl = libc::SYS_arch_prctl;
    must set_tid_address = libc::SYS_set_tid_address;
    must get_robust_list = libc::SYS_get_robust_list;
    must sched_getaffinity = libc::SYS_sched_getaffinity;
    must sched_getattr = libc::SYS_sched_getattr;
    must memfd_create = libc::SYS_memfd_create;
    must close_range = libc::SYS_close_range;
    must prctl = libc::SYS_prctl, 0: libc::PR_GET_DUMPABLE;
    must prctl = libc::SYS_prctl, 0: libc::PR_SET_DUMPABLE;
    must prctl = libc::SYS_prctl, 0: libc::PR_GET_NAME;
    must prctl = libc::SYS_prctl, 0: libc::PR_GET_TID_ADDRESS;
    must prctl = libc::SYS_prctl, 0: libc::PR_GET_PDEATHSIG;
    must prctl = libc::SYS_prctl, 0: libc::PR_GET_TIMERSLACK;
    must prctl = libc::SYS_prctl, 0: libc::PR_GET_NO_NEW_PRIVS;
    must prctl = libc::SYS_prctl, 0: libc::PR_SET_NO_NEW_PRIVS;
    must prctl = libc::SYS_prctl, 0: libc::PR_GET_SECUREBITS;
    must prctl = libc::SYS_prctl, 0: libc::PR_GET_KEEPCAPS;
    must prctl = libc::SYS_prctl, 0: libc::PR_GET_THP_DISABLE;
    must prctl = libc::SYS_prctl, 0: libc::PR_GET_CHILD_SUBREAPER;
    must prctl = libc::SYS_prctl, 0: libc::PR_SET_CHILD_SUBREAPER;
    may prctl = libc::SYS_prctl, 0: 25; // PR_GET_TSC
    may prctl = libc::SYS_prctl, 0: 34; // PR_MCE_KILL_GET
    may prctl = libc::SYS_prctl, 0: 68; // PR_GET_MEMORY_MERGE
    may setsid = libc::SYS_setsid;
    may prlimit64 = libc::SYS_prlimit64;
    may personality = libc::SYS_personality, 0: u32::MAX;
    may membarrier = libc::SYS_membarrier;
    may modify_ldt = libc::SYS_modify_ldt;
    may keyctl = libc::SYS_keyctl;
    may ioprio_get = libc::SYS_ioprio_get;
    may get_mempolicy = libc::SYS_get_mempolicy;
    may sched_setaffinity = libc::SYS_sched_setaffinity;
    may sched_setattr = libc::SYS_sched_setattr;
    may process_vm_readv = libc::SYS_process_vm_readv;
    may kcmp = libc::SYS_kcmp;
    may pidfd_open = libc::SYS_pidfd_open;
    may pidfd_getfd = libc::SYS_pidfd_getfd;
    may userfaultfd = libc::SYS_userfaultfd;
    may landlock_create_ruleset = LANDLOCK_CREATE_RULESET;
    may landlock_restrict_self = LANDLOCK_RESTRICT_SELF;
};
