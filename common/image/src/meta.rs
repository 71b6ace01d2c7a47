//! What an image says about a computation, apart from the bytes of its memory.

use crate::machine::Machine;
use ckpt_objects::ipc::SysvSet;
use ckpt_objects::{BlobRef, ObjectSet};
use ckpt_sys::flat::{self, Pending, ProcessRecord, RangePolicy, SigAction, ThreadRecord, Timer};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A flat record, stored as its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Flat<T>(pub T);

impl<T: Copy> Serialize for Flat<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        flat::bytes_of(&self.0).to_vec().serialize(s)
    }
}

impl<'de, T: Copy> Deserialize<'de> for Flat<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let bytes = Vec::<u8>::deserialize(d)?;
        if bytes.len() != size_of::<T>() {
            return Err(D::Error::custom("a record has another length than this version's"));
        }
        flat::from_bytes(&bytes).map(Flat).ok_or_else(|| D::Error::custom("short record"))
    }
}

#[derive(Serialize, Deserialize)]
pub struct ImageMeta {
    /// The image that holds what this one leaves out (`Memory::kept`).
    pub parent: Option<Parent>,
    pub program: String,
    pub host: String,
    /// seconds since 1970
    pub created: u64,
    /// The agent's pid, session and group then: what the program knew as its surroundings.
    pub agent: Surroundings,
    /// kernel's id then, program's id: where they differ
    pub ids: Vec<(i32, i32)>,
    pub processes: Vec<ProcessMeta>,
    pub objects: ObjectSet,
    /// Programs and libraries, so that an upgrade does not break the image.
    pub files: Vec<SavedFile>,
    pub shared: Vec<SharedMemory>,
    pub sysv: SysvSet,
    /// Checksums of what keeps none elsewhere: contents of kernel objects, shared memory.
    pub sums: Vec<(BlobRef, u32)>,
    pub machine: Machine,
    pub options: ImageOptions,
}

/// What was asked of images when the program was launched: a restart goes on so.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageOptions {
    /// seconds between checkpoints, 0: none by itself
    pub interval: u32,
    /// words of --compress and --pause
    pub compress: String,
    pub pause: String,
    pub keep: u32,
    /// a full image every so many, 0: always
    pub incremental: u32,
    pub unique_names: bool,
    pub unique_dirs: bool,
    pub save_open_files: bool,
}

/// Names an image of the same computation so that no other can be taken for it.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    pub computation: [u8; 16],
    pub generation: u32,
    /// milliseconds since 1970
    pub created: u64,
    /// of its header, which covers its metadata, which cover its data
    pub checksum: u32,
}

#[derive(Serialize, Deserialize, Clone, Copy, Debug)]
pub struct Surroundings {
    pub pid: i32,
    pub pgid: i32,
    pub sid: i32,
    /// the process whose exit status is the foreground part's
    pub program: i32,
    /// agent, group and session as the program knows them
    pub known: [i32; 3],
    /// foreground group of the terminal, 0 without one
    pub foreground: i32,
}

#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    Running,
    /// by job control
    Stopped,
    /// wait(2) status
    Zombie(i32),
}

#[derive(Serialize, Deserialize)]
pub struct ProcessMeta {
    pub pid: i32,
    pub ppid: i32,
    pub pgid: i32,
    pub sid: i32,
    pub state: RunState,
    pub name: String,
    pub birth: Birth,
    /// Its parent has been told that it is stopped.
    pub stop_told: bool,
    /// clock ticks since boot, as the program knows it (field 22 of /proc/PID/stat)
    pub started: u64,
    /// Absent for a zombie.
    pub body: Option<Body>,
}

/// How a process came to be, as far as others can tell.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Birth {
    /// what its parent gets when it ends; 0: nothing
    pub exit_signal: i32,
    /// it has not called exec: its parent may move it to another group
    pub never_execed: bool,
    /// `CLONE_*`: what it shares with its maker
    pub shares: u32,
    /// the process that can make it: its parent, or, with CLONE_PARENT in `shares`, a sibling
    pub maker: i32,
}

/// Path bytes need not be UTF-8.
pub type PathBytes = Vec<u8>;

#[derive(Serialize, Deserialize)]
pub struct Body {
    pub record: Flat<ProcessRecord>,
    pub threads: Vec<Flat<ThreadRecord>>,
    pub sigactions: Vec<Flat<SigAction>>,
    pub pendings: Vec<Flat<Pending>>,
    pub timers: Vec<Flat<Timer>>,
    /// start_code, end_code, start_data, end_data, start_brk, brk, start_stack, arg_start, arg_end, env_start,
    /// env_end, as in struct prctl_mm_map
    pub mm: [u64; 11],
    pub auxv: Vec<u8>,
    pub exe: FileIdentity,
    pub cwd: PathBytes,
    pub root: PathBytes,
    pub umask: u32,
    pub credentials: Credentials,
    /// of threads (kernel's id then) that have others than the first
    pub thread_credentials: Vec<(i32, Credentials)>,
    /// soft, hard by resource number
    pub rlimits: Vec<(u64, u64)>,
    pub oom_score_adj: i32,
    pub coredump_filter: u32,
    /// mbind(2)
    pub policies: Vec<Flat<RangePolicy>>,
    pub aio: Vec<AioContext>,
    pub maps: Vec<MapMeta>,
    pub memory: Memory,
    /// Where the table of ids was mapped, 0: nowhere. A thread may be in the middle of reading it.
    pub id_table: u64,
    /// Descriptors are those of this process (CLONE_FILES across processes); itself otherwise.
    pub files_of: i32,
    /// Memory is that of this process (CLONE_VM across processes), which has the maps, too; itself otherwise.
    pub memory_of: i32,
    /// threads that share less than threads do, makers first
    pub apart: Vec<Apart>,
}

/// A thread with descriptors, or with working directory and umask, of its own.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Apart {
    /// kernel's id then; its descriptors are noted under it
    pub tid: i32,
    /// the thread that can make it
    pub maker: i32,
    /// CLONE_FILES, CLONE_FS: what it does not share with that
    pub own: u32,
    pub cwd: PathBytes,
    pub umask: u32,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// real, effective, saved, filesystem
    pub uid: [u32; 4],
    pub gid: [u32; 4],
    pub groups: Vec<u32>,
    /// inheritable, permitted, effective, bounding, ambient
    pub caps: [u64; 5],
    pub seccomp: u32,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct FileIdentity {
    pub path: PathBytes,
    pub dev: u64,
    pub ino: u64,
    pub size: u64,
    pub mtime_ns: i64,
    /// It had no name any more.
    pub deleted: bool,
}

#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct MapMeta {
    pub start: u64,
    pub end: u64,
    pub prot: u32,
    pub shared: bool,
    pub offset: u64,
    /// `plan::MAP_*`
    pub advice: u32,
    pub grows_down: bool,
    pub no_reserve: bool,
    pub kind: MapKind,
}

impl MapMeta {
    /// May what it maps be written through it, now or after an mprotect?
    pub fn writes_through(&self) -> bool {
        self.shared && (self.prot & libc::PROT_WRITE as u32 != 0 || self.advice & flat::plan::MAP_MAY_WRITE != 0)
    }
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum MapKind {
    Anonymous,
    Heap,
    Stack,
    /// index into `files` of the image: by path
    File(FileIdentity),
    /// index into `ImageMeta::shared`
    Shared(u32),
    Vdso,
    Vvar,
    /// vsyscall, uprobes: the kernel makes them by itself
    Kernel,
}

/// The mapped parts of a file: used at restart when the file is another one by then.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct SavedFile {
    pub identity: FileIdentity,
    /// offset in the file, place in the image, CRC-32C
    pub pieces: Vec<(u64, BlobRef, u32)>,
}

/// Memory that processes share and no file on disk holds: anonymous, memfd, /dev/shm, SysV.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct SharedMemory {
    pub dev: u64,
    pub ino: u64,
    pub name: PathBytes,
    pub size: u64,
    pub kind: SharedKind,
    /// offset in the object, place in the image
    pub pieces: Vec<(u64, BlobRef)>,
}

/// A context of native AIO (`io_setup`): its id is the address of its ring.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct AioContext {
    pub start: u64,
    pub len: u64,
    /// slots of the ring
    pub slots: u32,
    /// `struct io_event`s that nobody has taken
    pub events: Vec<[u64; 4]>,
}

#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedKind {
    Anonymous,
    /// an open descriptor's object holds the content
    Object,
    /// a file for shared memory that still has its name
    Named,
    SysV { id: i32, key: i32 },
}

#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    None,
    Lz4,
    Zstd,
    Gzip,
    /// In pieces as the compressed ones, but as they are: each is encrypted.
    Stored,
}

#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Memory {
    /// address, bytes; the data follow in this order
    pub runs: Vec<(u64, u64)>,
    /// MADV_GUARD_INSTALL: address, bytes
    pub guards: Vec<(u64, u64)>,
    pub bytes: u64,
    pub codec: Codec,
    /// Codec::None: one place, with a CRC-32C for each MiB. Else: one piece for each MiB, with the CRC of what is stored.
    pub pieces: Vec<BlobRef>,
    pub checksums: Vec<u32>,
    /// address, bytes: as in the parent image's memory of this process; what that does not hold is zero
    pub kept: Vec<(u64, u64)>,
}

/// Unit of checksums and of compression, bytes of memory.
pub const CHUNK: u64 = 1 << 20;
