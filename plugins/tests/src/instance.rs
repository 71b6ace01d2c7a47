//! An instance of its own on this host: its processes, mounts and host name are no other's, /tmp is empty, and it can
//! vanish from one moment to the next. Needs root.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Mutex;

pub struct Instance {
    unshare: Mutex<Child>,
    /// Its first process.
    init: String,
}

/// Why there can be none here.
pub fn missing() -> Option<&'static str> {
    let can = Command::new("unshare").args(["--mount", "--uts", "--pid", "--fork", "true"]).stderr(Stdio::null()).status();
    match can.is_ok_and(|s| s.success()) {
        true => None,
        false => Some("needs root, for namespaces and mounts"),
    }
}

impl Instance {
    pub fn boot(name: &str) -> Instance {
        // Hundreds of processes have come and gone on an instance before a job begins: ids begin elsewhere on each.
        static BOOTED: AtomicU32 = AtomicU32::new(1);
        let last = BOOTED.fetch_add(1, Ordering::Relaxed) % 20 * 1500;
        let ids = format!("echo {last} > /proc/sys/kernel/ns_last_pid");
        let script = format!("{ids} && mount -t tmpfs tmpfs /tmp && hostname {name} && echo up && trap : CHLD && while :; do sleep 1000 & wait; done");
        let mut unshare = Command::new("unshare")
            .args(["--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "/bin/bash", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("unshare");
        let mut line = String::new();
        BufReader::new(unshare.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        assert_eq!(line.trim(), "up");
        let id = unshare.id();
        let init = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).expect("its children");
        Instance { unshare: Mutex::new(unshare), init: init.trim().to_owned() }
    }

    /// A program in it, in `folder`; arguments and environment can be added.
    pub fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--uts", "--pid", "--target", &self.init]);
        command.arg(format!("--wdns={}", folder.display())).arg("--").arg(program);
        command
    }

    /// A path in it, as this process reaches it.
    pub fn seen(&self, path: &Path) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.init, path.display()))
    }

    /// A line for its shell, as root.
    pub fn shell(&self, line: &str) {
        let status = self.command(Path::new("/bin/sh"), Path::new("/")).args(["-c", line]).status().expect("nsenter");
        assert!(status.success(), "{line}");
    }

    /// All its processes at once, without a word.
    pub fn vanish(&self) {
        let _ = Command::new("kill").args(["-9", &self.init]).stderr(Stdio::null()).status();
        let _ = self.unshare.lock().map(|mut child| child.wait());
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.vanish();
    }
}
