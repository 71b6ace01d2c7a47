//! What a run leaves behind: processes and system-wide objects.

use nix::sys::signal::{kill, Signal};
use nix::sys::wait::{waitpid, WaitPidFlag, WaitStatus};
use nix::unistd::Pid;
use std::collections::HashMap;
use std::fs;
use std::process::{Command, Stdio};

/// A process below this one.
pub struct Process {
    pub pid: i32,
    pub name: String,
    pub state: char,
}

fn stat(pid: i32) -> Option<(Process, i32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, tail) = text.rsplit_once(") ")?;
    let name = head.split_once('(')?.1.to_string();
    let mut fields = tail.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((Process { pid, name, state }, fields.next()?.parse().ok()?))
}

/// Every living descendant of this process; as a subreaper it keeps the orphans too.
pub fn descendants() -> Vec<Process> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    let mut children: HashMap<i32, Vec<Process>> = HashMap::new();
    for (process, parent) in pids.filter_map(stat) {
        children.entry(parent).or_default().push(process);
    }
    let mut found = Vec::new();
    let mut parents = vec![std::process::id() as i32];
    while let Some(parent) = parents.pop() {
        for process in children.remove(&parent).unwrap_or_default() {
            parents.push(process.pid);
            found.push(process);
        }
    }
    found.retain(|p| p.state != 'Z' && p.state != 'X');
    found
}

/// Where each descendant is: for the log of a run that hangs.
pub fn where_they_are() -> String {
    let mut text = String::new();
    for process in descendants() {
        text += &format!("{} {} {}\n", process.pid, process.name, process.state);
        let tasks = fs::read_dir(format!("/proc/{}/task", process.pid)).into_iter().flatten().flatten();
        for task in tasks.map(|t| t.path()).take(20) {
            let read = |file: &str| fs::read_to_string(task.join(file)).unwrap_or_default().trim().to_string();
            text += &format!("  {} {}: {}\n", task.display(), read("comm"), read("syscall"));
            text += &format!("    {}\n", read("stack").replace('\n', "\n    "));
        }
    }
    text
}

/// Kills every descendant and reaps it.
pub fn kill_all() {
    for _ in 0..100 {
        let alive = descendants();
        for process in &alive {
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
        reap();
        if alive.is_empty() {
            return;
        }
        crate::run::nap();
    }
}

/// Collects the dead children nobody waits for.
pub fn reap() {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// Removes the objects with the run's number in their names or keys and says which there were.
pub fn objects(unique: u16) -> Vec<String> {
    let mut found = Vec::new();
    for folder in ["/dev/shm", "/dev/mqueue"] {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        for path in entries.map(|e| e.path()) {
            if path.to_string_lossy().contains(&format!("ckpt-guest-{unique}-")) {
                let _ = fs::remove_file(&path);
                found.push(path.display().to_string());
            }
        }
    }
    for (kind, option) in [("shm", "-M"), ("sem", "-S"), ("msg", "-Q")] {
        let table = fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap_or_default();
        let keys = table.lines().filter_map(|l| l.split_whitespace().next()?.parse::<i64>().ok());
        for key in keys.filter(|k| k >> 4 == 0x430_0000 | i64::from(unique)) {
            let key = format!("{key:#x}");
            let _ = Command::new("ipcrm").args([option, &key]).stderr(Stdio::null()).status();
            found.push(format!("SysV {kind} {key}"));
        }
    }
    found
}
