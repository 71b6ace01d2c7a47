//! The restore plan: one memfd, `PlanHead` first, tables at byte offsets from its start.

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
    pub thread_fds: Table,
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
/// shared: what it maps was opened to be written, whatever the protection is now
pub const MAP_MAY_WRITE: u32 = 8192;
/// Where all of a huge page is filled it becomes one before (MADV_COLLAPSE): the restart's choice, in no image.
pub const MAP_COLLAPSE: u32 = 16384;

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

/// A pidfd of a thread of this process (PIDFD_THREAD): pidfd_open(2)'s flags, and whether an exec closes it.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct ThreadFd {
    pub fd: i32,
    /// the program's id
    pub tid: i32,
    pub flags: u32,
    pub cloexec: u32,
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
