//! Checkpointers, as their users type them: ckpt, and CRIU or DMTCP where they are installed.

use crate::ticker::{Ticker, monotonic_ns};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, PartialEq)]
pub enum Tool {
    Ckpt,
    Criu,
    Dmtcp,
}

/// One program under a tool.
pub struct Run {
    tool: Tool,
    bin: PathBuf,
    dir: PathBuf,
    child: Child,
    port: u16,
}

impl Tool {
    pub fn name(self) -> &'static str {
        match self {
            Tool::Ckpt => "ckpt",
            Tool::Criu => "CRIU",
            Tool::Dmtcp => "DMTCP",
        }
    }

    pub fn present(self) -> bool {
        // SAFETY: only asks.
        let root = unsafe { libc::geteuid() } == 0;
        match self {
            Tool::Ckpt => true,
            Tool::Criu => root && succeeds(Command::new("criu").arg("--version")),
            Tool::Dmtcp => succeeds(Command::new("dmtcp_launch").arg("--version")),
        }
    }

    pub fn start(self, bin: &Path, dir: &Path, program: &Path, ticker: &Ticker, options: &[&str]) -> io::Result<Run> {
        let port = 20000 + (std::process::id() % 20000) as u16;
        let mut c = match self {
            Tool::Ckpt => {
                let mut c = Command::new(bin.join("ckpt_launch"));
                c.args(["-q", "-p", &port.to_string()]).args(options);
                c
            }
            Tool::Criu => {
                let mut c = Command::new("setsid");
                c.args(["--fork", "--wait"]);
                c
            }
            Tool::Dmtcp => {
                let mut c = Command::new("dmtcp_launch");
                c.args(["-q", "-p", &port.to_string()]).args(if options.is_empty() { &["--no-gzip"][..] } else { &["--gzip"] });
                c
            }
        };
        ticker.arguments(program, &mut c);
        let child = quiet(&mut c, dir).spawn()?;
        let run = Run { tool: self, bin: bin.into(), dir: dir.into(), child, port };
        ticker.wait_running()?;
        Ok(run)
    }
}

impl Run {
    /// The blocking command; seconds.
    pub fn checkpoint(&mut self) -> io::Result<f64> {
        let port = self.port.to_string();
        let mut c;
        match self.tool {
            Tool::Ckpt => {
                c = Command::new(self.bin.join("ckpt_command"));
                c.args(["-p", &port, "-c"]);
            }
            Tool::Criu => {
                let _ = std::fs::create_dir(self.dir.join("images"));
                c = Command::new("criu");
                c.args(["dump", "--leave-running", "-D", "images", "-t", &self.program()?.to_string()]);
            }
            Tool::Dmtcp => {
                c = Command::new("dmtcp_command");
                c.args(["-p", &port, "-bc"]);
            }
        }
        let begun = Instant::now();
        if !succeeds(quiet(&mut c, &self.dir)) {
            return Err(io::Error::other(format!("{}: checkpoint failed", self.tool.name())));
        }
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Where the time of the last checkpoint went.
    pub fn stages(&self) -> Option<String> {
        let mut c = Command::new(self.bin.join("ckpt_command"));
        c.args(["-p", &self.port.to_string(), "--status"]);
        let out = (self.tool == Tool::Ckpt).then(|| c.output().ok())??;
        String::from_utf8_lossy(&out.stdout).lines().find_map(|l| l.trim().strip_prefix("agents: prepare")).map(|l| format!("prepare{l}"))
    }

    /// Under CRIU the launcher is setsid: its child.
    fn program(&self) -> io::Result<i32> {
        let path = format!("/proc/{0}/task/{0}/children", self.child.id());
        let text = std::fs::read_to_string(path)?;
        text.split_whitespace().next().and_then(|w| w.parse().ok()).ok_or_else(|| io::Error::other("the program has ended"))
    }

    pub fn stop(&mut self) -> io::Result<()> {
        let port = self.port.to_string();
        match self.tool {
            Tool::Ckpt => drop(succeeds(quiet(Command::new(self.bin.join("ckpt_command")).args(["-p", &port, "-q"]), &self.dir))),
            Tool::Dmtcp => drop(succeeds(quiet(Command::new("dmtcp_command").args(["-p", &port, "-q"]), &self.dir))),
            Tool::Criu => match self.program() {
                // SAFETY: the program that we started.
                Ok(pid) => drop(unsafe { libc::kill(pid, libc::SIGKILL) }),
                Err(_) => self.child.kill()?,
            },
        }
        self.child.wait().map(drop)
    }

    /// Brings the image back; when the command was begun.
    pub fn restart(&mut self) -> io::Result<u64> {
        self.restart_with(&[])
    }

    pub fn restart_with(&mut self, options: &[&str]) -> io::Result<u64> {
        let mut c;
        match self.tool {
            Tool::Ckpt => {
                c = Command::new(self.bin.join("ckpt_restart"));
                c.args(["-q", "-p", &self.port.to_string()]).args(options).args(self.images("img")?);
            }
            Tool::Criu => {
                c = Command::new("criu");
                c.args(["restore", "-D", "images"]);
            }
            Tool::Dmtcp => {
                c = Command::new("dmtcp_restart");
                c.args(["-q", "-p", &self.port.to_string()]).args(self.images("dmtcp")?);
            }
        }
        let begun = monotonic_ns();
        self.child = quiet(&mut c, &self.dir).spawn()?;
        Ok(begun)
    }

    /// After a restart CRIU's foreground command is the parent.
    pub fn image_bytes(&self) -> u64 {
        let folder = if self.tool == Tool::Dmtcp { self.dir.clone() } else { self.dir.join("images") };
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let is_image = |p: &Path| self.tool == Tool::Criu || p.extension().is_some_and(|x| x == "img" || x == "dmtcp");
        files.filter(|f| is_image(&f.path())).filter_map(|f| f.metadata().ok()).map(|m| std::os::unix::fs::MetadataExt::blocks(&m) * 512).sum()
    }

    /// Of the newest image alone.
    pub fn newest_bytes(&self) -> u64 {
        let newest = self.newest().and_then(|p| p.metadata().ok());
        newest.map_or(0, |m| std::os::unix::fs::MetadataExt::blocks(&m) * 512)
    }

    /// None: another tool's.
    pub fn newest(&self) -> Option<PathBuf> {
        let images = self.images("img").ok()?;
        images.into_iter().max_by_key(|p| p.metadata().and_then(|m| m.modified()).ok())
    }

    fn images(&self, extension: &str) -> io::Result<Vec<PathBuf>> {
        let folder = if self.tool == Tool::Dmtcp { self.dir.clone() } else { self.dir.join("images") };
        let all = std::fs::read_dir(folder)?.flatten().map(|f| f.path());
        let mut images: Vec<PathBuf> = all.filter(|p| p.extension().is_some_and(|x| x == extension)).collect();
        images.sort();
        Ok(images)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.stop();
        let _ = self.child.kill();
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn quiet<'a>(c: &'a mut Command, dir: &Path) -> &'a mut Command {
    let log = std::fs::File::options().create(true).append(true).open(dir.join("log"));
    let errors = log.map_or_else(|_| Stdio::null(), Stdio::from);
    c.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors)
}

pub fn succeeds(c: &mut Command) -> bool {
    c.stdout(Stdio::null()).status().is_ok_and(|s| s.success())
}
