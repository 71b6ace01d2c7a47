//! Runs the cloud programs, and programs under ckpt for them to work on.

use crate::{Imds, Instance, Proxy};
use serde_json::{json, Value};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How a program ended.
#[derive(Debug)]
pub struct Ran {
    /// None: by a signal.
    pub status: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn of(output: Output) -> Ran {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let status = if output.status.signal().is_some() { None } else { output.status.code() };
        Ran { status, out: text(&output.stdout), err: text(&output.stderr) }
    }

    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.status, Some(0), "{self:?}");
        self.out
    }

    /// Failed with this status, one line that has all of these words, and nothing secret.
    #[track_caller]
    pub fn failed(self, status: i32, words: &[&str]) {
        assert_eq!(self.status, Some(status), "{self:?}");
        assert_eq!(self.err.lines().count(), 1, "{self:?}");
        words.iter().for_each(|w| assert!(self.err.contains(w), "{w:?} is not in {:?}", self.err));
        assert!(!self.err.contains("SECRET") && !self.out.contains("SECRET"), "{self:?}");
    }
}

/// Programs of this workspace lie beside the tests' own folder.
fn tool(name: &str) -> PathBuf {
    let exe = std::env::current_exe().expect("this program");
    exe.parent().and_then(Path::parent).expect("the build's folder").join(name)
}

/// Programs of ckpt itself.
pub fn ckpt(name: &str) -> PathBuf {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/release");
    PathBuf::from(std::env::var("CKPT_BIN").unwrap_or_else(|_| default.into())).join(name)
}

/// A cloud program that sees only what the test gives it.
pub fn cloud(name: &str, proxy: &Proxy, imds: Option<&Imds>) -> Command {
    let mut command = Command::new(tool(name));
    environment(&mut command, proxy, imds);
    command
}

pub fn environment(command: &mut Command, proxy: &Proxy, imds: Option<&Imds>) {
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", "/nonexistent");
    command.env("AWS_ENDPOINT_URL", proxy.url()).env("AWS_REGION", "us-east-1");
    command.env("AWS_ACCESS_KEY_ID", "AKIATEST").env("AWS_SECRET_ACCESS_KEY", "SECRETSECRETSECRET");
    match imds {
        Some(imds) => command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds.url()),
        None => command.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9"),
    };
}

pub fn run(command: &mut Command) -> Ran {
    Ran::of(command.stdin(Stdio::null()).output().expect("the program starts"))
}

pub fn run_with(command: &mut Command, stdin: &str) -> Ran {
    let mut child = start(command);
    child.stdin.take().expect("a pipe").write_all(stdin.as_bytes()).expect("it reads");
    Ran::of(child.wait_with_output().expect("it ends"))
}

pub fn start(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
}

/// Until it is so; the wait is long, since the machine may be busy, and ends at once when it is.
#[track_caller]
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < Duration::from_secs(120), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Counts in a file, one line a number, and has some memory; ends itself when the file has another length than what it
/// wrote (`exact`).
pub const COUNTER: &str = r"
import os, sys, time
path, megabytes, exact = sys.argv[1], int(sys.argv[2]), sys.argv[3] == 'exact'
memory = bytearray(os.urandom(megabytes << 20))
f = open(path, 'w+b', buffering=0)
n = 0
while True:
    if exact and os.fstat(f.fileno()).st_size != 9 * n:
        os._exit(9)
    n += 1
    f.seek(9 * n - 9)
    f.write(b'%08d\n' % n)
    time.sleep(0.01)
";

/// How far a counter has come; every number below is there.
pub fn counted(path: &Path) -> u64 {
    count_of(&std::fs::read(path).unwrap_or_default(), path)
}

/// The same of a file as a crash of the machine left it: what the program wrote after the last sync may be zeros.
fn counted_after_crash(path: &Path) -> u64 {
    let bytes = std::fs::read(path).unwrap_or_default();
    let end = bytes.chunks_exact(9).position(|line| line.contains(&0)).map_or(bytes.len(), |lines| 9 * lines);
    count_of(&bytes[..end], path)
}

fn count_of(bytes: &[u8], path: &Path) -> u64 {
    let whole = bytes.chunks_exact(9);
    for (line, n) in whole.clone().zip(1u64..) {
        assert_eq!(line, format!("{n:08}\n").as_bytes(), "a gap in {}", path.display());
    }
    whole.len() as u64
}

/// Where a computation runs: on this host, or on an instance.
#[derive(Clone)]
pub enum Place {
    Here,
    /// with the programs in this folder
    On(Arc<Instance>, PathBuf),
}

impl Place {
    pub fn command(&self, program: &Path, folder: &Path) -> Command {
        match self {
            Place::Here => {
                let mut command = Command::new(program);
                command.current_dir(folder);
                command
            }
            Place::On(instance, _) => instance.command(program, folder),
        }
    }

    fn ckpt(&self, name: &str) -> PathBuf {
        match self {
            Place::Here => ckpt(name),
            Place::On(_, bin) => bin.join(name),
        }
    }

    /// A path there, as this process reaches it.
    pub fn seen(&self, path: &Path) -> PathBuf {
        match self {
            Place::Here => path.to_owned(),
            Place::On(instance, _) => instance.seen(path),
        }
    }
}

/// All programs in one folder, as they are installed.
pub fn install(folder: &Path) -> PathBuf {
    let bin = folder.join("bin");
    std::fs::create_dir_all(&bin).expect("a folder");
    let ours = ["ckpt_launch", "ckpt_command", "ckpt_restart", "ckpt_coordinator", "libckpt.so"].map(|n| (n, ckpt(n)));
    let cloud = ["ec2-snapshot", "ckpt_spot", "ckpt_store"].map(|n| (n, tool(n)));
    let script = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/spot/start-or-resume"));
    for (name, from) in ours.into_iter().chain(cloud).chain([("start-or-resume", script)]) {
        std::fs::copy(&from, bin.join(name)).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
    }
    bin
}

/// A counter under ckpt, with a coordinator of its own.
pub struct Computation {
    place: Place,
    pub folder: PathBuf,
    pub images: PathBuf,
    /// as this process reaches it
    pub count: PathBuf,
    count_there: PathBuf,
    pub port: u16,
    agent: Option<Child>,
}

impl Computation {
    /// `folder` for everything; images and the count in `data`.
    pub fn new(folder: &Path, data: &Path, coordinator: &[&str]) -> Computation {
        Computation::at(Place::Here, folder, data, coordinator, &[])
    }

    pub fn at(place: Place, folder: &Path, data: &Path, coordinator: &[&str], environment: &[(String, String)]) -> Computation {
        let (images, count_there) = (data.join("images"), data.join("count"));
        for wanted in [folder, &images] {
            std::fs::create_dir_all(place.seen(wanted)).expect("a folder");
        }
        let count = place.seen(&count_there);
        let mut this = Computation { place, folder: folder.into(), images, count, count_there, port: 0, agent: None };
        let mut start = this.ckpt("ckpt_coordinator");
        start.args(["--daemon", "--exit-on-last", "-p", "0", "--log"]).arg(data.join("coordinator.log")).args(coordinator);
        let out = run(start.envs(environment.iter().cloned())).ok();
        let digits = |t: &str| t.split(|c: char| !c.is_ascii_digit()).find_map(|w| w.parse().ok());
        this.port = digits(&out).unwrap_or_else(|| panic!("no port in {out:?}"));
        this
    }

    pub fn ckpt(&self, name: &str) -> Command {
        let mut command = self.place.command(&self.place.ckpt(name), &self.folder);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin").env("CKPT_TMPDIR", &self.folder);
        if self.port != 0 {
            command.env("CKPT_COORD_PORT", self.port.to_string());
        }
        command
    }

    pub fn launch(&mut self, megabytes: u32, exact: bool) {
        let mut command = self.ckpt("ckpt_launch");
        // What is alike in two generations is to lie alike: no choice by how busy the machine is.
        command.args(["--join-coordinator", "--quiet", "--compress", "none", "--ckptdir"]).arg(&self.images);
        command.args(["/usr/bin/python3", "-c", COUNTER]).arg(&self.count_there).arg(megabytes.to_string());
        command.arg(if exact { "exact" } else { "free" });
        self.start(command, counted);
    }

    pub fn restart(&mut self, arguments: &[&str]) {
        let mut command = self.ckpt("ckpt_restart");
        command.args(["--join-coordinator", "--quiet", "--ckptdir"]).arg(&self.images).args(arguments).arg(&self.images);
        self.start(command, counted_after_crash);
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.place.seen(&self.folder.join("agent.log"))).unwrap_or_default()
    }

    fn start(&mut self, mut command: Command, counted: impl Fn(&Path) -> u64) {
        let before = counted(&self.count);
        let log = std::fs::File::create(self.place.seen(&self.folder.join("agent.log"))).expect("a file");
        let errors = log.try_clone().expect("a descriptor");
        self.agent = Some(command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().expect("ckpt starts"));
        until("the counter counts", || {
            if let Some(status) = self.agent.as_mut().and_then(|a| a.try_wait().ok().flatten()) {
                panic!("it ended with {status}: {}", self.log());
            }
            counted(&self.count) > before
        });
    }

    pub fn command(&self, arguments: &[&str]) -> Ran {
        run(self.ckpt("ckpt_command").arg("--json").args(arguments))
    }

    pub fn status(&self) -> Value {
        serde_json::from_str(&self.command(&["--status"]).ok()).expect("JSON")
    }

    /// The generation.
    pub fn checkpoint(&self, more: &[&str]) -> u64 {
        let arguments: Vec<&str> = ["--checkpoint"].iter().chain(more).copied().collect();
        let done: Value = serde_json::from_str(&self.command(&arguments).ok()).expect("JSON");
        done["generation"].as_u64().expect("a generation")
    }

    /// As the coordinator tells a hook.
    pub fn event(&self) -> String {
        let status = self.status();
        let last = &status["last"];
        let images: Vec<Value> = last["images"].as_array().expect("images").iter().map(|image| {
            let path = image.as_str().or(image["path"].as_str()).expect("a path");
            let digest = image["digest"].as_str().unwrap_or("0123456789abcdef");
            json!({ "path": path, "bytes": std::fs::metadata(path).map_or(0, |m| m.len()), "digest": digest, "host": "here" })
        }).collect();
        json!({ "event": "post-write", "computation": status["computation"], "generation": last["generation"],
                "ckptdir": self.images, "images": images })
        .to_string()
    }

    pub fn is_running(&mut self) -> bool {
        self.agent.as_mut().is_some_and(|a| a.try_wait().ok().flatten().is_none())
    }

    /// The counter still counts.
    #[track_caller]
    pub fn goes_on(&mut self) {
        assert!(self.is_running(), "{}", self.log());
        let (count, before) = (self.count.clone(), counted(&self.count));
        until("the counter goes on", || counted(&count) > before);
    }

    pub fn ended(&mut self) {
        until("the programs end", || !self.is_running());
    }

    pub fn quit(&mut self) {
        let _ = self.ckpt("ckpt_command").arg("--quit").stdin(Stdio::null()).output();
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.wait();
        }
    }
}

impl Drop for Computation {
    fn drop(&mut self) {
        self.quit();
    }
}

/// Names and contents of a folder, to see that nothing was harmed.
pub fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder")
        .flatten()
        .map(|e| (e.file_name().to_string_lossy().into_owned(), std::fs::read(e.path()).unwrap_or_default()))
        .collect();
    all.sort_unstable();
    all
}
