//! `cargo xtask demo`: the main job on a real program, with everything shown.

use crate::build::{self, Paths};
use std::fs;
use std::io::{self, PipeWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const PYTHON: &str = "import os, time\nn = 0\nwhile n < 20:\n    n += 1\n    \
                      print('  python3, process', os.getpid(), 'counts', n, flush=True)\n    \
                      open('count', 'w').write(str(n))\n    time.sleep(0.1)\n";
const BASH: &str = "n=0\nwhile [ $n -lt 20 ]; do n=$((n+1)); echo \"  bash, process $BASHPID counts $n\"; \
                    echo $n > count; sleep 0.1; done\n";

struct Demo {
    bin: PathBuf,
    dir: PathBuf,
    port: String,
    /// What the programs print goes through a pipe: a file would be part of the program's state.
    out: PipeWriter,
}

pub fn demo() -> Result<(), String> {
    let paths = Paths::find()?;
    build::product(&paths)?;
    let dir = std::env::temp_dir().join(format!("ckpt-demo-{}", std::process::id()));
    fs::create_dir(&dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))?;
    let port = (30_000 + std::process::id() % 20_000).to_string();
    let (mut shown, out) = io::pipe().map_err(|e| format!("cannot make a pipe: {e}"))?;
    let screen = std::thread::spawn(move || io::copy(&mut shown, &mut io::stdout()));
    let demo = Demo { bin: paths.bin(), dir, port, out };
    let done = demo.show();
    let _ = demo.command("ckpt_command", &["--quit"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let _ = fs::remove_dir_all(&demo.dir);
    drop(demo);
    let _ = screen.join();
    done
}

impl Demo {
    fn command(&self, tool: &str, args: &[&str]) -> Command {
        let mut command = Command::new(self.bin.join(tool));
        command.current_dir(&self.dir).args(["--coord-port", &self.port]).args(args);
        command
    }

    fn say(&self, line: &str) {
        let _ = writeln!(&self.out, "{line}");
    }

    fn start(&self, tool: &str, args: &[&str]) -> Result<Child, String> {
        self.say(&format!("$ {tool} {}", args.join(" ")));
        let share = || self.out.try_clone().map_err(|e| format!("cannot share the pipe: {e}"));
        self.command(tool, args).stdout(share()?).stderr(share()?).spawn().map_err(|e| format!("cannot run {tool}: {e}"))
    }

    fn await_count(&self, child: &mut Child, at_least: u32) -> Result<(), String> {
        let count = self.dir.join("count");
        loop {
            let now = fs::read_to_string(&count).ok().and_then(|t| t.trim().parse().ok());
            if now.is_some_and(|n: u32| n >= at_least) {
                return Ok(());
            }
            if let Some(status) = child.try_wait().map_err(|e| format!("cannot wait: {e}"))? {
                return Err(format!("the program ended too early: {status}"));
            }
            crate::run::nap();
        }
    }

    fn show(&self) -> Result<(), String> {
        let python = Path::new("/usr/bin/python3").exists();
        let (program, file, text) =
            if python { ("python3", "count.py", PYTHON) } else { ("bash", "count.sh", BASH) };
        fs::write(self.dir.join(file), text).map_err(|e| format!("cannot write {file}: {e}"))?;
        let mut first = self.start("ckpt_launch", &[program, file])?;
        self.await_count(&mut first, 8)?;
        let asked = self.start("ckpt_command", &["--checkpoint", "--kill"])?.wait();
        if !asked.is_ok_and(|s| s.success()) {
            let _ = first.kill();
            return Err("the checkpoint failed; its message is above".into());
        }
        let _ = first.wait();
        self.say("  (the program is gone; what is left of it is its image)");
        let images = crate::guests::entries(&self.dir.join("images"))?;
        let images: Vec<String> = images.iter().map(|p| p.strip_prefix(&self.dir).unwrap_or(p).display().to_string()).collect();
        let args: Vec<&str> = images.iter().map(String::as_str).filter(|p| p.ends_with(".img")).collect();
        let status = self.start("ckpt_restart", &args)?.wait().map_err(|e| format!("cannot wait: {e}"))?;
        let end = fs::read_to_string(self.dir.join("count")).unwrap_or_default();
        if !status.success() || end.trim() != "20" {
            return Err(format!("after the restart the program ended with {status} at {}", end.trim()));
        }
        self.say("It counted to 20 over its own death.");
        Ok(())
    }
}
