//! `cargo xtask fixtures`: stored images of the present format, each of a tiny program, without the libraries, which
//! would be most of them. Every release must read those of the releases before it.

use crate::build::{self, Paths};
use crate::{leftovers, product};
use ckpt_image::{Codec, ImageFile, ImageMeta, ImageWriter, Parent, UserKey};
use ckpt_objects::BlobRef;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// It appears in the images.
const PLACE: &str = "/tmp/ckpt-fixtures";
/// Of the encrypted ones.
const KEY: &str = "5a";

/// Names, options of ckpt_launch, how many programs at a coordinator, how many checkpoints.
const KINDS: [(&str, &[&str], usize, usize); 8] = [
    ("plain", &["--compress", "none"], 1, 1),
    ("lz4", &["--compress", "lz4"], 1, 1),
    ("zstd", &["--compress", "zstd"], 1, 1),
    ("gzip", &["--compress", "gzip"], 1, 1),
    ("sealed", &["--compress", "zstd", "--encrypt-key-file", "key"], 1, 1),
    ("incremental", &["--compress", "zstd", "--incremental"], 1, 2),
    ("sealed-chain", &["--compress", "zstd", "--incremental", "--encrypt-key-file", "key"], 1, 2),
    ("pair", &["--compress", "zstd"], 2, 2),
];

pub fn fixtures() -> Result<bool, String> {
    let paths = Paths::find()?;
    nix::sys::prctl::set_child_subreaper(true).map_err(|e| e.to_string())?;
    let place = Path::new(PLACE);
    let _ = fs::remove_dir_all(place);
    fs::create_dir(place).map_err(|e| format!("{PLACE}: {e}"))?;
    let done = make(&paths, place);
    leftovers::kill_all();
    let _ = fs::remove_dir_all(place);
    done.map(|()| true)
}

fn make(paths: &Paths, place: &Path) -> Result<(), String> {
    for name in product::FILES {
        fs::copy(paths.bin().join(name), place.join(name)).map_err(|e| format!("{name}: {e}; run cargo build --release"))?;
    }
    build::program(&paths.root.join("tests/fixtures/tiny.c"), &place.join("tiny"))?;
    let to = paths.root.join("tests/fixtures");
    for old in crate::guests::entries(&to)?.iter().filter(|p| p.extension().is_some_and(|e| e == "img")) {
        fs::remove_file(old).map_err(|e| e.to_string())?;
    }
    for (port, kind) in (47_100..).zip(KINDS) {
        let images = run(place, port, &kind)?;
        let mut parent = None;
        for (i, image) in images.iter().enumerate() {
            let number = if images.len() > 1 { format!("-{}", i + 1) } else { String::new() };
            let key = kind.0.starts_with("sealed").then(|| UserKey::load(&place.join("key")).map_err(|e| e.to_string())).transpose()?;
            let slim = slim(image, &to.join(format!("{}{number}.img", kind.0)), key.as_ref(), parent.take())?;
            parent = kind.1.contains(&"--incremental").then(|| slim.as_parent());
        }
        println!("{}: {} images", kind.0, images.len());
    }
    seeds(paths, &to)
}

/// The images of one kind, in the order of generations and members.
fn run(place: &Path, port: u16, (name, options, programs, checkpoints): &(&str, &[&str], usize, usize)) -> Result<Vec<PathBuf>, String> {
    let dir = place.join(name);
    fs::create_dir(&dir).map_err(|e| e.to_string())?;
    let key = place.join("key");
    fs::write(&key, KEY.repeat(32)).and_then(|()| fs::set_permissions(&key, fs::Permissions::from_mode(0o600))).map_err(|e| e.to_string())?;
    let command = |tool: &str| {
        let mut command = Command::new(place.join(tool));
        command.env_clear().env("PATH", "/bin").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.args(["--coord-port", &port.to_string(), "--tmpdir", PLACE]);
        command
    };
    let options: Vec<String> = options.iter().map(|o| if *o == "key" { key.display().to_string() } else { (*o).into() }).collect();
    let mut foreground = Vec::new();
    for program in 0..*programs {
        let own = dir.join(program.to_string());
        fs::create_dir(&own).map_err(|e| e.to_string())?;
        let mut launch = command("ckpt_launch");
        // Options of its own keep each in an image of its own.
        let keep = (9 * program).to_string();
        launch.args(&options).args(["--keep", &keep, "--ckptdir"]).arg(dir.join("images")).arg(place.join("tiny")).current_dir(&own);
        foreground.push(launch.spawn().map_err(|e| e.to_string())?);
        while !own.join("ready").exists() {
            crate::run::nap();
        }
    }
    for n in 1..=*checkpoints {
        let end: &[&str] = if n == *checkpoints { &["--kill"] } else { &[] };
        let status = command("ckpt_command").arg("--checkpoint").args(end).status().map_err(|e| e.to_string())?;
        if !status.success() {
            return Err(format!("{name}: checkpoint {n} failed"));
        }
    }
    foreground.iter_mut().for_each(|child| drop(child.wait()));
    let mut images = crate::guests::entries(&dir.join("images"))?;
    images.retain(|p| p.extension().is_some_and(|e| e == "img"));
    let order = |p: &PathBuf| ImageFile::open(p).map_or((0, 0), |i| (i.header.generation, i.header.member_index));
    images.sort_by_key(order);
    Ok(images)
}

/// The image without programs and libraries.
fn slim(from: &Path, to: &Path, key: Option<&UserKey>, parent: Option<Parent>) -> Result<ImageFile, String> {
    let mut file = ImageFile::open(from).map_err(|e| e.to_string())?;
    file.unlock(key).map_err(|e| e.to_string())?;
    let mut meta = file.meta().map_err(|e| e.to_string())?;
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let folder = to.parent().unwrap_or(Path::new("."));
    let mut image = ImageWriter::create(folder, &name, key).map_err(|e| e.to_string())?;
    copy(&file, &image, &mut meta).map_err(|e| format!("{}: {e}", from.display()))?;
    meta.parent = parent.or(meta.parent);
    image.finish(&meta, file.header).and_then(|_| image.commit(to)).map_err(|e| format!("{}: {e}", to.display()))?;
    let mut made = ImageFile::open(to).map_err(|e| e.to_string())?;
    made.unlock(key).map_err(|e| e.to_string())?;
    Ok(made)
}

fn copy(file: &ImageFile, image: &ImageWriter, meta: &mut ImageMeta) -> std::io::Result<()> {
    for memory in meta.processes.iter_mut().filter_map(|p| p.body.as_mut()).map(|b| &mut b.memory) {
        if memory.codec == Codec::None {
            let mut bytes = vec![0; memory.bytes as usize];
            file.file.read_exact_at(&mut bytes, memory.pieces[0].offset)?;
            memory.pieces[0].offset = image.reserve(memory.bytes);
            image.file.write_all_at(&bytes, memory.pieces[0].offset)?;
            continue;
        }
        for (piece, crc) in memory.pieces.iter_mut().zip(&mut memory.checksums) {
            (*piece, *crc) = image.append(&file.read_blob(piece)?)?;
        }
    }
    let mut listed: Vec<&mut BlobRef> = meta.shared.iter_mut().flat_map(|s| &mut s.pieces).map(|p| &mut p.1).collect();
    if listed.len() != meta.sums.len() {
        return Err(std::io::Error::other("a kernel object has contents of its own; leave it out of tiny.c"));
    }
    for piece in &mut listed {
        **piece = image.append_listed(&file.read_blob(piece)?)?;
    }
    meta.files.clear();
    meta.host = "host".into();
    meta.sums = image.take_sums();
    Ok(())
}

/// What the fuzzers begin with.
fn seeds(paths: &Paths, images: &Path) -> Result<(), String> {
    let corpus = paths.root.join("fuzz/corpus");
    let put = |target: &str, name: &str, bytes: &[u8]| {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join(name), bytes)).map_err(|e| format!("{}: {e}", folder.display()))
    };
    for kind in ["zstd", "pair-1", "incremental-2"] {
        let path = images.join(format!("{kind}.img"));
        let file = ImageFile::open(&path).map_err(|e| e.to_string())?;
        let bytes = fs::read(&path).map_err(|e| e.to_string())?;
        put("plan", kind, &bytes[file.header.meta_at as usize..])?;
        if kind == "zstd" {
            put("image", kind, &bytes)?;
        }
    }
    // Words that differ little, many and few.
    for (i, codec) in [Codec::None, Codec::Lz4, Codec::Zstd, Codec::Gzip].into_iter().enumerate() {
        let words: Vec<u8> = (0..4096u64).flat_map(|n| ((n * n) ^ 0x4045_0000_0000_0000).to_le_bytes()).collect();
        for (name, raw) in [("words", &words[..]), ("few", &words[..512])] {
            let packed = ckpt_agent::codec::pack(codec, raw).map_err(|e| e.to_string())?;
            let head = [i as u8, (raw.len() / 512 - 1) as u8];
            put("codec", &format!("{name}-{i}"), &[&head[..], &packed].concat())?;
        }
    }
    for (name, frame) in frames()? {
        put("wire", name, &frame)?;
    }
    for name in ["maps", "smaps", "stat", "status", "sched", "syscall", "limits"] {
        let cat = Command::new("/bin/cat").env_clear().arg(format!("/proc/self/{name}")).output().map_err(|e| e.to_string())?;
        put("proc", name, &cat.stdout[..cat.stdout.len().min(3000)])?;
    }
    put("proc", "fdinfo", FDINFO.as_bytes())
}

/// Lines as other files of /proc have them.
const FDINFO: &str = "tfd:        5 events:       19 data:                5  pos:0 ino:7a sdev:d\n\
inotify wd:1 ino:7a0003 sdev:fe00000 mask:fce ignored_mask:0 fhandle-bytes:8 fhandle-type:1 f_handle:03007a00cdab0000\n\
(12, 345)\n1: POSIX  ADVISORY  WRITE 3548 fd:00:7867 0 EOF\n2: OFDLCK ADVISORY  READ -1 08:01:12 5 9\n\
       key      shmid perms                  size  cpid  lpid nattch\n1124073473  5  1600  10000  77 0 1\n\
Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n\
1    lo              ff020000000000000000000000000001     1 0000000C 0\n7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4\n";

/// A message of each direction and role.
fn frames() -> Result<Vec<(&'static str, Vec<u8>)>, String> {
    use ckpt_wire::*;
    let text = || "python3".to_string();
    let hello = Hello { computation: Some(ComputationId([3; 16])), ..Hello::new(Role::Agent, text(), 7, text()) };
    let stats = CheckpointStats { images: vec![ImageInfo::default()], stages: vec![Timing { name: text(), us: 5 }], notes: vec![text()], ..CheckpointStats::default() };
    let row = ProcessRow { pid: 2, ppid: 1, name: text(), state: 'S', threads: 4 };
    let summary = Summary { images: stats.images.clone(), stages: stats.stages.clone(), ..Summary::default() };
    let agent = |m| encode(&ClientMessage::Agent(m), MAX_FRAME);
    let all = [
        ("hello", encode(&ClientMessage::Hello(hello), MAX_FRAME)),
        ("reached", agent(AgentMessage::Reached { generation: 3, stage: Stage::Committed, stats: Some(stats) })),
        ("failed", agent(AgentMessage::Failed { generation: 3, reason: text() })),
        ("processes", agent(AgentMessage::Processes { request: 1, rows: vec![row], last: true })),
        ("checkpoint", encode(&ClientMessage::Command(CommandMessage::Checkpoint { kill: true, overrides: Overrides { compression: Some(Compression::Zstd), pause: Some(PauseMode::Hold) } }), MAX_FRAME)),
        ("release", encode(&CoordinatorMessage::Release { generation: 3, stage: Stage::Written, member_index: 1, member_count: 2 }, MAX_REPLY)),
        ("done", encode(&CoordinatorMessage::Done(summary), MAX_REPLY)),
    ];
    all.into_iter().map(|(name, frame)| Ok((name, frame.map_err(|e| e.to_string())?))).collect()
}
