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

/// Of the program, and of what looks after it.
#[derive(Clone, Copy, Default)]
struct Figures {
    /// resident, KiB
    memory: [u64; 2],
    descriptors: [usize; 2],
    processes: [usize; 2],
    image: u64,
    images: usize,
    /// in the folder that everything of the run is in
    files: usize,
}

impl Figures {
    fn rows(&self) -> [(&'static str, u64); 9] {
        [
            ("resident memory of the program, KiB", self.memory[0]),
            ("of agent, foreground part and coordinator, KiB", self.memory[1]),
            ("descriptors of the program", self.descriptors[0] as u64),
            ("of agent, foreground part and coordinator", self.descriptors[1] as u64),
            ("processes of the program", self.processes[0] as u64),
            ("of ours", self.processes[1] as u64),
            ("image, bytes", self.image),
            ("images", self.images as u64),
            ("all files of the run", self.files as u64),
        ]
    }

    /// What has grown since `early`: memory and images by more than they vary.
    fn growth(&self, early: &Figures) -> Vec<&'static str> {
        let may_vary = |name: &str, n: u64| if name.contains("KiB") { n / 5 } else if name.contains("bytes") { n / 20 } else { 0 };
        let both = self.rows().into_iter().zip(early.rows());
        both.filter(|(late, early)| late.1 > early.1 + may_vary(early.0, early.1)).map(|(late, _)| late.0).collect()
    }
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
            (late.images, late.files) = (images.len(), count_files(&self.dir));
            if cycle == cycles.min(5) {
                (early.image, early.images, early.files) = (late.image, late.images, late.files);
            }
        }
        self.goes_on(cycles + 1)?;
        println!("{cycles} cycles of checkpoint, kill, restart in {:.0} s", begun.elapsed().as_secs_f64());
        println!("| | cycle {} | cycle {cycles} |\n|---|---|---|", cycles.min(5));
        for (late, early) in late.rows().iter().zip(early.rows()) {
            println!("| {} | {} | {} |", late.0, early.1, late.1);
        }
        let growth = late.growth(&early);
        growth.iter().for_each(|what| println!("it grew: {what}"));
        let left = self.end()?;
        left.iter().for_each(|what| println!("left behind: {what}"));
        Ok(growth.is_empty() && left.is_empty())
    }

    /// After the end no process of ours is there, and of files images and what belongs to them alone.
    fn end(&mut self) -> Result<Vec<String>, String> {
        let output = self.command("ckpt_command").arg("--quit").output().map_err(|e| e.to_string())?;
        if !output.status.success() {
            return Err(format!("ckpt_command --quit: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        if let Some(mut child) = self.foreground.take() {
            let _ = child.wait();
        }
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end && !leftovers::descendants().is_empty() {
            leftovers::reap();
            crate::run::nap();
        }
        let processes = leftovers::descendants().into_iter().map(|p| format!("{} {}", p.name, p.pid));
        let of_images = |p: &Path| p.extension().is_some_and(|e| ["img", "sh", "jsonl"].iter().any(|known| e == *known));
        let own = |p: &Path| p.file_name().is_some_and(|n| n == "program.py" || n == "n");
        let files = files_below(&self.dir).into_iter().filter(|p| !of_images(p) && !own(p)).map(|p| p.display().to_string());
        Ok(processes.chain(files).collect())
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

    fn look(&self) -> Result<Figures, String> {
        // The program forks all the time: what is there at each of some looks stays.
        let looks: Vec<_> = (0..5).map(|_| leftovers::descendants()).collect();
        let stays = |pid: i32| looks.iter().all(|look| look.iter().any(|p| p.pid == pid));
        let mut sum = Figures::default();
        for p in looks[0].iter().filter(|p| stays(p.pid)) {
            let whose = usize::from(!p.name.starts_with("python3"));
            let status = fs::read_to_string(format!("/proc/{}/status", p.pid)).unwrap_or_default();
            let rss = status.lines().find_map(|l| l.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<u64>().ok());
            sum.memory[whose] += rss.unwrap_or(0);
            sum.descriptors[whose] += fs::read_dir(format!("/proc/{}/fd", p.pid)).map_or(0, Iterator::count);
            sum.processes[whose] += 1;
        }
        Ok(sum)
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path());
    entries.flat_map(|p| if p.is_dir() && !p.is_symlink() { files_below(&p) } else { vec![p] }).collect()
}

fn count_files(folder: &Path) -> usize {
    files_below(folder).len()
}
