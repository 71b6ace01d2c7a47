//! Flat records that the library hands to the agent, and the restore plan that ckpt_restart hands to the
//! restorer. `repr(C)`, integers only, the same build on both sides of a socket. The records also go into the
//! image's metadata as they are.


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

/// Messages between a process (or its frozen writer) and the agent: one seqpacket each, `kind` first.
pub mod msg {
    // process -> agent
    pub const HELLO: u32 = 1;
    /// body: `Times`
    pub const QUIESCED: u32 = 2;
    pub const FAILED: u32 = 3;
    /// carries a memfd of records
    pub const RECORDS: u32 = 4;
    /// carries descriptors; body: `FdEntry` each
    pub const FDS: u32 = 5;
    pub const CAPTURED: u32 = 6;
    pub const SHARED_DONE: u32 = 7;
    pub const FROZEN: u32 = 8;
    // writer -> agent
    /// carries a memfd of `Run`s
    pub const RUNS: u32 = 9;
    pub const WRITTEN: u32 = 10;
    /// the frozen writer holds nothing of the program's any more: it may go on
    pub const READY: u32 = 11;
    /// carries a userfaultfd, or errno says why not
    pub const TRACKED: u32 = 13;
    // restorer -> agent -> the helper that fills memory
    /// carries a userfaultfd
    pub const LAZY: u32 = 14;
    // that helper -> agent
    pub const FILLED: u32 = 42;
    // restorer -> agent
    pub const RESTORED: u32 = 12;
    /// answer to SETTLE
    pub const SETTLED: u32 = 16;
    // program -> agent
    /// thread `tid` asks for a checkpoint and waits
    pub const REQUEST: u32 = 15;
    // agent -> restorer
    pub const GO: u32 = 39;
    /// all children that are to be stopped are
    pub const SETTLE: u32 = 43;
    // agent -> process
    pub const PROCEED: u32 = 32;
    pub const CANCEL: u32 = 33;
    pub const CAPTURE: u32 = 34;
    /// body: `SharedRange` each; carries the image
    pub const SHARED: u32 = 35;
    /// carries the writer's socket; arg 1: write in this process (hold); arg2 1: wait for KEPT first
    pub const FREEZE: u32 = 36;
    /// And back when all threads have gone on, with arg: what callbacks took, in microseconds.
    pub const RESUME: u32 = 37;
    /// instead of PROCEED: what thread `tid` asked for is done (arg 1), or not: the body says why
    pub const ANSWER: u32 = 45;
    /// arg: a stopped child; the answer is the same with arg 1 if the program has not been told of the stop
    pub const ASK_STOP: u32 = 46;
    /// arg: a child that was stopped again, of which the program had been told
    pub const TAKE_STOP: u32 = 47;
    /// arg: seconds without a word from the agent after which the process goes on by itself; arg2: after FREEZE with
    /// hold
    pub const SILENCE: u32 = 48;
    /// the descriptors of thread `tid`, which has a table of its own; the answer is FDS and CAPTURED
    pub const TABLE: u32 = 60;
    // agent -> writer
    /// carries the image or a pipe; arg: file offset, u64::MAX for a pipe
    pub const WRITE: u32 = 38;
    /// carries a memfd of `Run`s that the parent image holds; arg: how many
    pub const KEPT: u32 = 40;
    /// The agent has read the memory from here: the copy need not keep the first `arg` bytes.
    pub const DROP: u32 = 48;
    /// The agent has read all of it.
    pub const DONE: u32 = 49;
    // agent -> process
    pub const TRACK: u32 = 41;
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
    pub pad: u32,
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
    pub pad: u32,
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

/// The restore plan: one memfd, `PlanHead` first, tables at byte offsets from its start.
pub mod plan {
    pub const MAGIC: u64 = 0x6e61_6c70_7470_6b63;

    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    pub struct Table {
        pub at: u64,
        pub count: u64,
    }

    /// What is done to a descriptor when all is mapped and every thread is there.
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    pub struct Descriptor {
        pub number: i32,
        /// 0 or 1
        pub cloexec: u32,
        /// F_ADD_SEALS
        pub seals: u32,
        /// F_SETOWN_EX: the thread that its signals go to, by the program's id; 0: none
        pub owner: i32,
        /// 1: a file of /proc that shows this process's memory, opened before it had that
        pub reopen: u32,
    }

    #[repr(C)]
    #[derive(Clone, Copy)]
    pub struct PlanHead {
        pub magic: u64,
        pub total: u64,
        pub maps: Table,
        pub reads: Table,
        pub threads: Table,
        pub sigactions: Table,
        pub pendings: Table,
        pub timers: Table,
        pub fds: Table,
        pub rlimits: Table,
        pub auxv: Table,
        /// `Map` ranges of old and new that the restorer may not use for itself are the maps above
        pub process: super::ProcessRecord,
        pub mm: [u64; 12],
        pub vdso: u64,
        pub vdso_len: u64,
        pub vvar: u64,
        pub vvar_len: u64,
        /// 1: this kernel's vdso is another one; it lies elsewhere, and the old one passes calls on to it
        pub vdso_other: u64,
        /// the old one
        pub vdso_image: Table,
        /// `Forward`
        pub forwards: Table,
        /// socket to the agent
        pub agent: i32,
        /// the program's binary, -1: this process has exec'ed it
        pub exe: i32,
        pub umask: u32,
        pub exact_ids: u32,
        pub name: [u8; 16],
        pub control: [u8; super::AGENT_LEN],
        pub outer: super::Outer,
        pub oom_score_adj: i32,
        pub agent_pid: i32,
        pub id_table: u64,
        pub preload: Table,
        pub credentials: Table,
        pub groups: Table,
        pub policies: Table,
        /// `Run`s with MADV_GUARD_INSTALL
        pub guards: Table,
        /// `Aio`, and the events of all in order
        pub aio: Table,
        pub aio_events: Table,
        pub undo: Table,
        /// stopped children (the program's ids) whose stop the program was told of
        pub told: Table,
        pub notifies: Table,
        /// `Renamed`: ids that are in frames and siginfos as the kernel had them
        pub renamed: Table,
        /// `Run`: memory that is filled later
        pub lazy: Table,
        /// Changes to the environment: `NAME=VALUE`, or `NAME` to remove it, each with a NUL behind it.
        pub environment: Table,
        pub feed: Feed,
        /// first descriptor number that is ours
        pub flags: u64,
        /// `Kin`: what this process and others in its memory make
        pub kin: Table,
        /// `Take`: descriptors that it, or a thread of its own table, puts into place itself
        pub takes: Table,
        /// `Apart`
        pub apart: Table,
        /// path of the working directory, with a NUL; empty: it is there
        pub cwd: Table,
        pub files: SharedFiles,
        /// the program's ids of its group and session, 0: it is in them
        pub pgid: i32,
        pub sid: i32,
        pub coredump_filter: u32,
        /// what it has is in `takes`, not there already
        pub own_files: u32,
    }

    /// Bytes that a `Feed` hands over at a time.
    pub const WINDOW: u64 = 1 << 20;

    /// What ckpt_restart decodes for a process. The bytes of all reads, laid end to end, are cut into windows; each
    /// lies in a slot of `memory` from when `ready` has (window, slot) to when `free` has the slot, u32 each.
    #[repr(C)]
    #[derive(Clone, Copy)]
    pub struct Feed {
        /// -1: the reads say where the bytes are
        pub memory: i32,
        pub ready: i32,
        pub free: i32,
        pub pad: i32,
    }

    impl Feed {
        pub const NONE: Feed = Feed { memory: -1, ready: -1, free: -1, pad: 0 };
    }

    /// A process that is made by a restorer, because it shares memory or descriptors with the one that makes it, or is
    /// a child of such a one.
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    pub struct Kin {
        pub pid: i32,
        /// 0: the process that has the table; n: the n-th of it
        pub maker: u32,
        /// `CLONE_*`
        pub flags: u32,
        pub exit_signal: i32,
        /// descriptor of its plan; -1: it is a zombie
        pub plan: i32,
        /// wait(2) status of a zombie
        pub status: i32,
    }

    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    pub struct Take {
        /// thread with a table of its own, 0: the process's
        pub tid: i32,
        pub number: i32,
        pub source: i32,
        pub cloexec: u32,
    }

    /// A thread that shares less with its maker than threads do.
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    pub struct Apart {
        pub tid: i32,
        pub maker: i32,
        /// CLONE_FILES, CLONE_FS: what is its own
        pub own: u32,
        pub umask: u32,
        /// path, with a NUL
        pub cwd: Table,
    }

    /// A table of descriptors that several processes have.
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    pub struct SharedFiles {
        /// which of those of the computation
        pub number: u32,
        /// others that have it and run, if this is the one that closes our descriptors in it
        pub others: u32,
        /// 0: it is nobody else's, 1: this process closes our descriptors, 2: another does
        pub role: u32,
        pub pad: u32,
    }

    /// So many tables can be shared.
    pub const SHARED_TABLES: usize = 256;

    impl Default for PlanHead {
        fn default() -> Self {
            // SAFETY: integers only; zero is a value of each.
            unsafe { core::mem::zeroed() }
        }
    }

    /// struct uffdio_api: the version, and to be told of fork, mremap, madvise and munmap
    pub const LAZY_API: [u64; 3] = [0xaa, 1 << 1 | 1 << 2 | 1 << 3 | 1 << 6, 0];

    pub const MAP_LOCKED: u32 = 1;
    pub const MAP_HUGE: u32 = 2;
    pub const MAP_NOHUGE: u32 = 4;
    pub const MAP_DONTFORK: u32 = 8;
    pub const MAP_WIPEONFORK: u32 = 16;
    pub const MAP_DONTDUMP: u32 = 32;
    pub const MAP_SEQ: u32 = 64;
    pub const MAP_RAND: u32 = 128;
    pub const MAP_SHM: u32 = 256;
    pub const MAP_MERGEABLE: u32 = 512;
    /// mseal(2)
    pub const MAP_SEALED: u32 = 1024;
    pub const MAP_DROPPABLE: u32 = 2048;
    /// locked only as pages are touched (MLOCK_ONFAULT)
    pub const MAP_ONFAULT: u32 = 4096;

    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    pub struct Map {
        pub addr: u64,
        pub len: u64,
        pub prot: u32,
        /// mmap(2) flags less MAP_FIXED
        pub flags: u32,
        /// -1: anonymous
        pub fd: i32,
        /// `MAP_*` above
        pub advice: u32,
        pub offset: u64,
    }

    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    pub struct Renamed {
        pub then: i32,
        pub program: i32,
    }

    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    pub struct Read {
        pub addr: u64,
        pub len: u64,
        /// in the file
        pub offset: u64,
        /// bytes of all reads before this one
        pub before: u64,
        pub fd: i32,
        pub pad: u32,
    }

    /// Real, effective, saved, file system ids; capability sets. The first is the process's, the others one thread's.
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    pub struct Credentials {
        pub tid: i32,
        /// user and groups are right already
        pub keep_ids: u32,
        /// index of the first of `groups`, and how many
        pub groups: [u32; 2],
        pub uid: [u32; 4],
        pub gid: [u32; 4],
        pub inheritable: u64,
        pub permitted: u64,
        pub effective: u64,
        pub bounding: u64,
        pub ambient: u64,
    }

    /// mq_notify(3) on descriptor `fd`.
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    pub struct MqNotify {
        pub fd: i32,
        pub how: i32,
        /// SIGEV_THREAD: the netlink socket that glibc's helper thread listens to
        pub signal: i32,
        pub pad: i32,
        pub value: u64,
        pub function: u64,
    }

    /// A function of the old vdso, by its offset, and that of the new one which it passes calls on to. Where there is
    /// none, `to` is `NO_FUNCTION` less the number of the system call.
    #[repr(C)]
    #[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
    pub struct Forward {
        pub at: u64,
        pub to: u64,
    }

    pub const NO_FUNCTION: u64 = u64::MAX;
    /// Bytes of code that a forward takes.
    pub const FORWARD_LEN: u64 = 12;

    /// A ring to make again at its address, with so many events in it.
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    pub struct Aio {
        pub addr: u64,
        pub len: u64,
        pub slots: u64,
        pub events: u64,
    }

    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    pub struct Rlimit {
        pub resource: u64,
        pub soft: u64,
        pub hard: u64,
    }
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
