//! A small image with a piece of each kind.

use ckpt_image::*;
use ckpt_sys::flat::{ProcessRecord, SigAction, ThreadRecord};
use std::path::{Path, PathBuf};

pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("ckpt-image-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn identity(path: &str) -> FileIdentity {
    FileIdentity { path: path.into(), dev: 1, ino: 2, size: 5000, mtime_ns: 3, deleted: false }
}

fn body(memory: Memory) -> Body {
    let map = MapMeta {
        start: 0x10000,
        end: 0x12000,
        prot: 3,
        shared: false,
        offset: 0,
        advice: 0,
        grows_down: false,
        no_reserve: false,
        kind: MapKind::Anonymous,
    };
    let thread = ThreadRecord { tid: 100, frame: 0x10000, ..ThreadRecord::default() };
    let record = ProcessRecord { pid: 100, threads: 1, control: 0x10000, state_page: 0x10000, leave: 0x10000, ..ProcessRecord::default() };
    Body {
        record: Flat(record),
        threads: vec![Flat(thread)],
        sigactions: vec![Flat(SigAction::default()); 64],
        pendings: vec![],
        timers: vec![],
        mm: [0; 11],
        auxv: vec![],
        exe: identity("/bin/sample"),
        cwd: "/".into(),
        root: "/".into(),
        umask: 0o22,
        credentials: Credentials::default(),
        thread_credentials: vec![],
        rlimits: vec![(1, 2); 16],
        oom_score_adj: 0,
        coredump_filter: 0x33,
        policies: vec![],
        aio: vec![],
        maps: vec![map],
        memory,
        id_table: 0,
        files_of: 100,
        memory_of: 100,
        apart: Vec::new(),
    }
}

pub struct Sample {
    pub computation: u8,
    pub generation: u32,
    pub attempt: u64,
    pub place: (u32, u32),
    pub key: Option<UserKey>,
}

impl Default for Sample {
    fn default() -> Sample {
        Sample { computation: 7, generation: 1, attempt: 5, place: (0, 1), key: None }
    }
}

pub fn bytes(len: usize, seed: u32) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 13) as u8).collect()
}

impl Sample {
    pub fn write(&self, folder: &Path, name: &str) -> PathBuf {
        let mut image = ImageWriter::create(folder, name, self.key.as_ref()).unwrap();
        let (piece, crc) = image.append(&bytes(8192, 1)).unwrap();
        let codec = if self.key.is_some() { Codec::Stored } else { Codec::None };
        let memory = Memory { runs: vec![(0x10000, 8192)], guards: vec![], bytes: 8192, codec, pieces: vec![piece], checksums: vec![crc], kept: vec![] };
        let (copy, copy_crc) = image.append(&bytes(5000, 2)).unwrap();
        image.append_listed(&bytes(700, 3)).unwrap();
        let shared = image.append_listed(&bytes(4096, 4)).unwrap();
        let shared = SharedMemory { dev: 0, ino: 9, name: "/dev/zero".into(), size: 4096, kind: SharedKind::Anonymous, pieces: vec![(0, shared)] };
        let process = ProcessMeta { pid: 100, ppid: 1, pgid: 100, sid: 100, state: RunState::Running, name: "sample".into(), birth: Birth { exit_signal: 17, never_execed: false, shares: 0, maker: 1 }, stop_told: false, started: 7, body: Some(body(memory)) };
        let meta = ImageMeta {
            program: "sample".into(),
            host: "host".into(),
            created: 1,
            agent: Surroundings { pid: 50, pgid: 50, sid: 50, program: 100, known: [50, 50, 50], foreground: 0 },
            ids: vec![],
            parent: None,
            processes: vec![process],
            objects: Default::default(),
            files: vec![SavedFile { identity: identity("/bin/sample"), pieces: vec![(0, copy, copy_crc)] }],
            shared: vec![shared],
            sysv: Default::default(),
            sums: image.take_sums(),
            machine: Machine { kernel: "6.1".into(), xcr0: 7, ..Machine::default() },
            options: Default::default(),
        };
        let header = Header {
            computation: [self.computation; 16],
            generation: self.generation,
            attempt: self.attempt,
            member_index: self.place.0,
            member_count: self.place.1,
            created: u64::from(self.generation),
            ..Header::default()
        };
        image.finish(&meta, header).unwrap();
        let to = folder.join(name);
        image.commit(&to).unwrap();
        to
    }
}

/// As ckpt_restart reads it before it believes anything.
pub fn read(path: &Path, key: Option<&UserKey>) -> Result<(ImageFile, ImageMeta), ImageError> {
    let mut image = ImageFile::open(path)?;
    image.unlock(key)?;
    let meta = image.meta()?;
    verify::verify(&image, &meta, false)?;
    Ok((image, meta))
}
