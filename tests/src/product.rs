//! The product's commands, as a user types them.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What the build makes and a run needs.
pub const FILES: [&str; 5] = ["ckpt_launch", "ckpt_command", "ckpt_restart", "ckpt_coordinator", "libckpt.so"];

/// The commands of one computation, with an environment that holds no surprises.
pub struct Product {
    pub bin: PathBuf,
    pub port: u16,
    /// Working folder; the images go to its `images`, as no option says otherwise.
    pub dir: PathBuf,
    /// Where the guest makes its files.
    pub work: PathBuf,
    pub logs: PathBuf,
    pub ids: Option<String>,
    /// More options, separated by blanks
    pub launch_args: String,
    pub restart_args: String,
}

impl Product {
    /// A command with its output in the log folder.
    pub fn command(&self, program: &Path, log: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir(&self.dir).stdin(Stdio::null());
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("LANG", "C.UTF-8").env("HOME", &self.work).env("GUEST_DIR", &self.work);
        command.env("GUEST_UNIQUE", self.port.to_string()).env("GUEST_EXAMPLES", self.bin.join("examples"));
        command.stdout(self.log(log, "out")).stderr(self.log(log, "err"));
        command
    }

    fn log(&self, name: &str, stream: &str) -> Stdio {
        let path = self.logs.join(format!("{name}.{stream}"));
        let file: std::io::Result<File> = OpenOptions::new().create(true).append(true).open(path);
        file.map_or_else(|_| Stdio::null(), Stdio::from)
    }

    pub fn launch(&self, program: &Path, args: &[String]) -> Command {
        let mut command = self.command(&self.bin.join("ckpt_launch"), "launch");
        command.arg("--coord-port").arg(self.port.to_string());
        command.args(self.launch_args.split_ascii_whitespace());
        // An orphan's parent is init, also when the agent is its subreaper.
        command.env("GUEST_INIT_IS_1", "1");
        let plugin = program.with_extension("plugin.so");
        if plugin.exists() {
            command.arg("--with-plugin").arg(plugin);
        }
        command.arg(program).args(args);
        command
    }

    fn images(&self) -> Result<Vec<PathBuf>, String> {
        let mut images = crate::guests::entries(&self.dir.join("images"))?;
        // With --unique-dirs they lie in folders.
        images.retain(|p| p.is_dir() || p.extension().is_some_and(|e| e == "img"));
        Ok(images)
    }

    /// A program that runs again needs them no more, also while its memory is still being filled.
    pub fn remove_images(&self) -> Result<(), String> {
        let remove = |p: &PathBuf| {
            let done = if p.is_dir() { std::fs::remove_dir_all(p) } else { std::fs::remove_file(p) };
            done.map_err(|e| format!("cannot remove {}: {e}", p.display()))
        };
        self.images()?.iter().try_for_each(remove)
    }

    pub fn restart(&self, round: usize) -> Result<Command, String> {
        let images = self.images()?;
        if images.is_empty() {
            return Err("the checkpoint left no image".into());
        }
        let mut command = self.command(&self.bin.join("ckpt_restart"), &format!("restart{round}"));
        command.arg("--coord-port").arg(self.port.to_string());
        if let Some(ids) = &self.ids {
            command.arg("--ids").arg(ids);
        }
        command.args(self.restart_args.split_ascii_whitespace());
        command.args(images.iter().map(|p| p.strip_prefix(&self.dir).unwrap_or(p)));
        Ok(command)
    }

    /// `ckpt_command` with these options.
    pub fn ask(&self, options: &[&str]) -> Result<Child, String> {
        let mut command = self.command(&self.bin.join("ckpt_command"), "command");
        command.arg("--coord-port").arg(self.port.to_string()).args(options);
        command.spawn().map_err(|e| format!("cannot run ckpt_command: {e}"))
    }
}
