//! `cargo xtask soak`: checkpoint, kill, restart, over and over, of a program with threads, forks, sockets and shared
//! memory; then what grew.

use crate::build::Paths;
use crate::leftovers;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = "import os, socket, threading, time, mmap\n\
shared = mmap.mmap(-1, 1 << 16)\na, b = socket.socketpair()\nserver = socket.socket()\nserver.bind(('127.0.0.1', 0))\n\
server.listen()\nc = socket.create_connection(server.getsockname())\nd, _ = server.accept()\nout = os.open('n', os.O_RDWR | os.O_CREAT)\nn = 0\nlock = threading.Lock()\n\
def work():\n    x = 0\n    while True:\n        with lock: x += 1\n        time.sleep(0.001)\n\
for i in range(4): threading.Thread(target=work, daemon=True).start()\n\
if os.fork() == 0:\n    while True:\n        m = b.recv(64)\n        if not m: os._exit(0)\n        shared[0] = m[0]\n        b.send(m)\n\
while True:\n    n += 1\n    m = bytes([n % 256]) * 8\n    a.send(m)\n    assert a.recv(64) == m and shared[0] == m[0]\n\
\x20   c.send(m)\n    assert d.recv(64) == m\n    pid = os.fork()\n    if pid == 0: os._exit(n % 7)\n\
\x20   assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == n % 7\n    os.pwrite(out, str(n).ljust(20).encode(), 0)\n    time.sleep(0.002)\n";

#[derive(Clone, Copy, Default)]
struct Figures {
    /// KiB of all processes of the computation
    rss: u64,
    descriptors: usize,
    processes: usize,
    image: u64,
    files: usize,
}

struct Soak {
    bin: PathBuf,
    dir: PathBuf,
    port: u16,
    foreground: Option<Child>,
    /// of ckpt_launch and ckpt_restart
    options: Vec<String>,
}

pub fn soak(cycles: usize, user_bin: Option<&Path>, options: &str) -> Result<bool, String> {
    let bin = match user_bin {
        Some(bin) => bin.to_path_buf(),
        None => Paths::find()?.bin(),
    };
    nix::sys::prctl::set_child_subreaper(true).map_err(|e| e.to_string())?;
    let port = (41_000 + std::process::id() % 20_000) as u16;
    let dir = std::env::temp_dir().join(format!("ckpt-soak-{port}"));
    fs::create_dir(&dir).map_err(|e| e.to_string())?;
    fs::write(dir.join("program.py"), PROGRAM).map_err(|e| e.to_string())?;
    let mut soak = Soak { bin, dir, port, foreground: None, options: options.split_ascii_whitespace().map(String::from).collect() };
    let done = soak.run(cycles);
    leftovers::kill_all();
    let _ = fs::remove_dir_all(&soak.dir);
    done
}

impl Soak {
    fn command(&self, tool: &str) -> Command {
        let mut command = Command::new(self.bin.join(tool));
        command.args(["--coord-port", &self.port.to_string(), "--tmpdir"]).arg(&self.dir);
        command.current_dir(&self.dir).stdin(Stdio::null()).env_remove("XDG_RUNTIME_DIR");
        command
    }

    fn run(&mut self, cycles: usize) -> Result<bool, String> {
        let mut launch = self.command("ckpt_launch");
        launch.args(&self.options).args(["python3", "program.py"]);
        self.foreground = Some(launch.spawn().map_err(|e| e.to_string())?);
        let (begun, mut early, mut late) = (Instant::now(), Figures::default(), Figures::default());
        for cycle in 1..=cycles {
            self.goes_on(cycle)?;
            late = self.look()?;
            if cycle == cycles.min(5) {
                early = late;
            }
            self.cycle(cycle)?;
            let images = self.images()?;
            late.image = images.iter().filter_map(|p| p.metadata().ok()).map(|m| m.len()).max().unwrap_or(0);
            late.files = fs::read_dir(self.dir.join("images")).map_or(0, Iterator::count);
            if cycle == cycles.min(5) {
                (early.image, early.files) = (late.image, late.files);
            }
        }
        self.goes_on(cycles + 1)?;
        println!("{cycles} cycles of checkpoint, kill, restart in {:.0} s", begun.elapsed().as_secs_f64());
        println!("| | cycle {} | cycle {cycles} |\n|---|---|---|", cycles.min(5));
        println!("| resident memory, KiB | {} | {} |\n| descriptors | {} | {} |", early.rss, late.rss, early.descriptors, late.descriptors);
        println!("| processes | {} | {} |\n| image, bytes | {} | {} |", early.processes, late.processes, early.image, late.image);
        println!("| files in the image folder | {} | {} |", early.files, late.files);
        let grew = late.descriptors > early.descriptors || late.processes > early.processes || late.files > early.files;
        Ok(!grew && late.image < early.image + early.image / 20 && late.rss < early.rss + early.rss / 5)
    }

    fn cycle(&mut self, cycle: usize) -> Result<(), String> {
        // The first image after a restart is a full one.
        let incremental = self.options.iter().any(|o| o.starts_with("--incremental"));
        for last in [false, true].into_iter().skip(usize::from(!incremental)) {
            let options: &[&str] = if last { &["--checkpoint", "--kill"] } else { &["--checkpoint"] };
            let output = self.command("ckpt_command").args(options).output().map_err(|e| e.to_string())?;
            if !output.status.success() {
                return Err(format!("cycle {cycle}: {}", String::from_utf8_lossy(&output.stderr).trim()));
            }
        }
        if let Some(mut child) = self.foreground.take() {
            let _ = child.wait();
        }
        let mut restart = self.command("ckpt_restart");
        restart.args(&self.options).args(self.images()?);
        self.foreground = Some(restart.spawn().map_err(|e| e.to_string())?);
        Ok(())
    }

    fn images(&self) -> Result<Vec<PathBuf>, String> {
        let mut images = crate::guests::entries(&self.dir.join("images"))?;
        images.retain(|p| p.extension().is_some_and(|e| e == "img"));
        Ok(images)
    }

    fn goes_on(&self, cycle: usize) -> Result<(), String> {
        let read = || fs::read_to_string(self.dir.join("n")).ok()?.trim().parse::<u64>().ok();
        let (before, end) = (read(), Instant::now() + Duration::from_secs(60));
        while read().is_none() || read() == before {
            if Instant::now() > end {
                return Err(format!("cycle {cycle}: the program does not go on"));
            }
            crate::run::nap();
        }
        Ok(())
    }

    /// Of the computation, the agent and the coordinator.
    fn look(&self) -> Result<Figures, String> {
        let mut sum = Figures::default();
        // A child of the moment is not counted: the program forks all the time.
        let own: Vec<_> = leftovers::descendants().into_iter().filter(|p| Path::new(&format!("/proc/{}/cwd", p.pid)).exists()).collect();
        for p in &own {
            let status = fs::read_to_string(format!("/proc/{}/status", p.pid)).unwrap_or_default();
            let rss = status.lines().find_map(|l| l.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<u64>().ok());
            sum.rss += rss.unwrap_or(0);
        }
        let main = own.iter().filter(|p| p.name.starts_with("python3")).map(|p| fs::read_dir(format!("/proc/{}/fd", p.pid)).map_or(0, Iterator::count));
        sum.descriptors = main.max().unwrap_or(0);
        sum.processes = own.iter().filter(|p| !p.name.starts_with("python3")).count();
        Ok(sum)
    }
}
