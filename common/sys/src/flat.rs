//! Flat records that the library hands to the agent, and the restore plan that ckpt_restart hands to the
//! restorer. `repr(C)`, integers only, the same build on both sides of a socket. The records also go into the
//! image's metadata as they are.

pub mod msg;
pub mod plan;

pub const CONTROL_MAGIC: u64 = 0x3172_7443_7470_6b63;
/// Library and agent must be of one build.
pub const PROTOCOL: u32 = 1;

pub const AGENT_LEN: usize = 176;

/// Ids of the program's surroundings: agent (parent of its first process), group and session it was launched in.
/// They are told by role, since two roles may fall together in one real id.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Outer {
    /// as the program knows it
    pub agent: i32,
    pub group: i32,
    /// as the kernel has it now
    pub real_group: i32,
    pub session: i32,
    pub real_session: i32,
}

/// The library's settings in each process.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Control {
    pub magic: u64,
    pub signal: i32,
    /// The agent as the kernel knows it: parent of orphans, whose parent the program is to see as 1.
    pub agent_pid: i32,
    /// The process that the agent started itself, by the id the program knows; its parent is the agent.
    pub program: i32,
    /// Processes have other ids than the program knows; without it only its surroundings have.
    pub ids_virtual: i32,
    /// Address of the shared id table, 0 when virtual == real.
    pub id_table: u64,
    /// What the program was born into, after a restart; 0: as it is.
    pub outer: Outer,
    /// How often the computation was restarted since this process was born.
    pub restarts: u32,
    /// The kernel's code in this process (vdso): start, end.
    pub vdso: [u64; 2],
    /// `CKPT_AGENT=name,agent pid,program,descriptor of the agent's id table (v: ids are virtual; n: of names alone) or
    /// -,five numbers of Outer,signal`
    pub agent: [u8; AGENT_LEN],
    /// `LD_PRELOAD=/path/libckpt.so`
    pub preload: [u8; 4096],
}

impl Control {
    pub const fn new() -> Self {
        Control { magic: 0, signal: 0, agent_pid: 0, program: 0, ids_virtual: 0, id_table: 0, outer: Outer { agent: 0, group: 0, real_group: 0, session: 0, real_session: 0 }, restarts: 0, vdso: [0; 2], agent: [0; AGENT_LEN], preload: [0; 4096] }
    }
}

impl Default for Control {
    fn default() -> Self {
        Self::new()
    }
}

/// Every message starts with this; `text` is a reason for FAILED.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Msg {
    pub kind: u32,
    pub pid: i32,
    /// errno of FAILED
    pub errno: i32,
    /// thread that did not answer
    pub tid: i32,
    pub arg: u64,
    pub arg2: u64,
    pub count: u32,
    /// stage of FAILED, see `stage`
    pub stage: u32,
}

/// When things happened in a process, with QUIESCED: CLOCK_REALTIME in nanoseconds, durations in microseconds.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct Times {
    /// exec was called for the program that runs; 0: it was not, or before a fork or restart
    pub exec: u64,
    /// the library's constructor began; 0: as above
    pub init: u64,
    pub init_us: u32,
    /// callbacks in the forked child
    pub fork_told_us: u32,
    /// a thread took the signal
    pub suspended: u64,
    /// from there until all stood still
    pub suspend_us: u32,
    pub suspend_told_us: u32,
    pub checkpoint_told_us: u32,
    /// callbacks before that exec
    pub exec_told_us: u32,
}

pub mod stage {
    pub const THREADS: u32 = 1;
    pub const RECORDS: u32 = 2;
    pub const DESCRIPTORS: u32 = 3;
    pub const FREEZE: u32 = 4;
    pub const RUNS: u32 = 5;
    pub const WRITE: u32 = 6;
    pub const SHARED: u32 = 7;
    /// a plugin said no; body: why
    pub const PLUGIN: u32 = 8;
    /// the program is in a section that it protects with ckpt_delay
    pub const DELAYED: u32 = 9;
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct FdEntry {
    pub number: i32,
    /// 0 or 1
    pub cloexec: u32,
}

/// Part of a shared mapping that this process writes for all who map it.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct SharedRange {
    pub addr: u64,
    pub len: u64,
    /// file offset in the image
    pub offset: u64,
}

/// `bytes` of memory at `addr`, in the order in which the data follow.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub struct Run {
    pub addr: u64,
    pub bytes: u64,
}

impl Run {
    /// Set in `addr`: not data but a range that faults (MADV_GUARD_INSTALL).
    pub const GUARD: u64 = 1;

    pub fn is_guard(&self) -> bool {
        self.addr & Run::GUARD != 0
    }
}

/// Records in the memfd: this, then `len` bytes.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct RecordHead {
    pub kind: u32,
    pub len: u32,
}

pub mod record {
    pub const PROCESS: u32 = 1;
    pub const THREAD: u32 = 2;
    /// 64 times `SigAction`
    pub const SIGACTIONS: u32 = 3;
    /// `tid` (0: the process), then siginfo
    pub const PENDING: u32 = 4;
    pub const TIMER: u32 = 5;
    /// /proc/self/maps
    pub const MAPS: u32 = 6;
    /// /proc/self/stat
    pub const STAT: u32 = 7;
    pub const AUXV: u32 = 8;
    pub const SYSV: u32 = 9;
    pub const UNDO: u32 = 10;
    pub const POLICY: u32 = 11;
    pub const MQ_ASKED: u32 = 12;
    /// empty: the process is confined by Landlock
    pub const LANDLOCK: u32 = 13;
    /// empty: the process has segments of its own (modify_ldt)
    pub const SEGMENTS: u32 = 14;
    /// empty: the process has a keyring of its own (KEY_SPEC_PROCESS_KEYRING)
    pub const KEYRING: u32 = 15;
}

/// An id that the process was given by `semget`, `msgget` or `shmget`.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq)]
pub struct SysvHeld {
    /// 1 semaphores, 2 messages, 3 memory
    pub family: u32,
    pub id: i32,
}

/// What the process gave to mq_notify(3) for the queue behind `fd`.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq)]
pub struct MqAsked {
    pub fd: i32,
    pub pad: i32,
    pub value: u64,
    /// SIGEV_THREAD: what to call
    pub function: u64,
}

/// What the kernel will add to a semaphore when the process ends.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq)]
pub struct SemUndo {
    pub id: i32,
    pub number: u16,
    pub adjust: i16,
}

/// mbind(2): the memory policy of a range, first 64 nodes.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq)]
pub struct RangePolicy {
    pub addr: u64,
    pub len: u64,
    pub mode: u64,
    pub nodes: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct ProcessRecord {
    pub pid: i32,
    pub threads: u32,
    /// `Control` of the library
    pub control: u64,
    /// entry of the leave routine in the library's text
    pub leave: u64,
    /// what the library does first after a restart
    pub restarted: u64,
    pub state_page: u64,
    pub arena: u64,
    pub arena_len: u64,
    pub brk: u64,
    pub dumpable: i32,
    pub subreaper: i32,
    pub thp_disable: i32,
    pub personality: u32,
    pub mdwe: i32,
    pub leader_gone: i32,
    /// it_interval, it_value in microseconds, for ITIMER_REAL, VIRTUAL, PROF
    pub itimers: [[u64; 2]; 3],
    /// arch_prctl(ARCH_GET_XCOMP_PERM): AMX has to be asked for
    pub xcomp: u64,
    /// membarrier(MEMBARRIER_CMD_GET_REGISTRATIONS)
    pub membarrier: u32,
    pub memory_merge: i32,
    /// what mlockall(2) locks of later mappings: MCL_FUTURE, MCL_ONFAULT
    pub mlock_future: u32,
    /// 1: callbacks are to be told of a restart, and the agent then that they were
    pub wants_restart: u32,
    /// another process that stands still in this memory; 0: none
    pub neighbour: i32,
    pub pad: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct ThreadRecord {
    pub tid: i32,
    pub pdeathsig: i32,
    /// struct ucontext on the thread's stack, where rt_sigreturn finds it
    pub frame: u64,
    pub fs: u64,
    pub gs: u64,
    pub clear_tid: u64,
    pub robust: u64,
    pub rseq: u64,
    pub timer_slack: u64,
    /// struct sched_attr, first version: 48 bytes
    pub sched: [u64; 6],
    pub ioprio: i32,
    /// PR_GET_TSC: the time stamp counter faults
    pub tsc: i32,
    /// PR_MCE_KILL_GET
    pub mce_kill: i32,
    /// the real-time policies say nothing of it in `sched`
    pub nice: i32,
    /// Digest of user, groups and capabilities: threads with another one than the first have their own.
    pub credentials: u64,
    pub name: [u8; 16],
    /// first 1024 processors
    pub affinity: [u64; 16],
    pub no_new_privs: i32,
    pub securebits: i32,
    pub keepcaps: i32,
    /// get_mempolicy(2): mode, first 64 nodes
    pub mempolicy: i32,
    pub nodes: u64,
    /// how its call was set back (preload/src/eintr.rs), 0: it was in none
    pub rewound: u32,
    /// 1: cpuid faults (ARCH_SET_CPUID)
    pub cpuid_faults: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct SigAction {
    pub handler: u64,
    pub flags: u64,
    pub restorer: u64,
    pub mask: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    /// 0: pending for the process
    pub tid: i32,
    pub pad: i32,
    /// struct siginfo, 128 bytes
    pub info: [[u64; 8]; 2],
}

#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct Timer {
    pub id: i32,
    pub signal: i32,
    pub notify: i32,
    pub clock: i32,
    pub value: u64,
    /// tid of SIGEV_THREAD_ID
    pub tid: i32,
    pub overrun: i32,
    /// it_interval, it_value in nanoseconds
    pub spec: [u64; 2],
}

/// The bytes of a flat record.
pub fn bytes_of<T: Copy>(value: &T) -> &[u8] {
    // SAFETY: flat records are repr(C) integers without uninitialised padding that matters; any byte may be read.
    unsafe { core::slice::from_raw_parts((value as *const T).cast(), size_of::<T>()) }
}

/// A flat record from bytes; None when they are too few.
pub fn from_bytes<T: Copy>(bytes: &[u8]) -> Option<T> {
    // SAFETY: the length is checked, every bit pattern is a value of an integer-only record.
    (bytes.len() >= size_of::<T>()).then(|| unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}
