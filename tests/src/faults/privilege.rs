//! An image gives nobody more than he has; and what its tools are started with is neither in their way nor the program's.

use super::Case;
use super::disk::{Row, restarts};
use crate::{leftovers, product};
use std::fs;
use std::os::unix::fs::chown;
use std::process::Command;
use std::time::Instant;

pub const ROWS: [(&str, &str, Row); 2] =
    [("security", "image-of-root", image_of_root), ("inherited", "no-children", started_without_children)];

const NOBODY: u32 = 65534;

/// What root ran and another user restarts is that user's. A capability it can have in a user namespace of its own alone.
fn image_of_root(case: &mut Case) -> Result<String, String> {
    let failed = |e: std::io::Error| e.to_string();
    let own = case.dir.join("nobody");
    fs::create_dir(&own).map_err(failed)?;
    for name in product::FILES {
        fs::copy(case.bin.join(name), own.join(name)).map_err(failed)?;
    }
    let mut launch = case.command("ckpt_launch", &["--ckptdir"]);
    launch.arg(&own).args(["sleep", "1000"]).current_dir("/");
    case.start(launch, "launch")?;
    sleeper(case, |_| true)?;
    let (status, said) = case.ask(case.command("ckpt_command", &["--checkpoint", "--kill"]))?;
    if status != 0 {
        return Err(format!("the checkpoint failed: {said}"));
    }
    case.kill_all()?;
    case.images = own.clone();
    let images = case.images("img")?;
    for path in images.iter().chain([&own]) {
        chown(path, Some(NOBODY), Some(NOBODY)).map_err(failed)?;
    }
    let mut restart = Command::new("setpriv");
    restart.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(own.join("ckpt_restart"));
    restart.args(["--coord-port", &case.port.to_string(), "--tmpdir"]).arg(&own).args(images);
    restart.current_dir("/").env_remove("XDG_RUNTIME_DIR");
    case.start(restart, "restart")?;
    let status = sleeper(case, |status| !line(status, "Uid:").contains("\t0"))?;
    let (users, capabilities) = (line(&status, "Uid:"), line(&status, "CapPrm:"));
    let without = capabilities.trim() == "0000000000000000";
    let outside = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/user")).map_err(failed);
    let apart = outside(line(&status, "Pid:").trim())? != outside("self")?;
    match users.split_whitespace().all(|u| u == "65534") && (without || apart) {
        true => Ok("restarted by another user it runs as that user, without a capability outside a namespace of its own".into()),
        false => Err(format!("users {users}, capabilities {capabilities}")),
    }
}

fn line<'a>(status: &'a str, name: &str) -> &'a str {
    status.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default()
}

/// What /proc says of the program, when it sleeps (clock_nanosleep, nanosleep).
fn sleeper(case: &Case, is_it: impl Fn(&str) -> bool) -> Result<String, String> {
    let end = Instant::now() + super::PATIENCE;
    loop {
        for p in leftovers::descendants().iter().filter(|p| p.name == "sleep") {
            let read = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", p.pid)).unwrap_or_default();
            let (status, call) = (read("status"), read("syscall"));
            if (call.starts_with("230 ") || call.starts_with("35 ")) && is_it(&status) {
                return Ok(status);
            }
        }
        if Instant::now() > end {
            return Err(format!("the program does not sleep; launch: {}; restart: {}", case.said("launch"), case.said("restart")));
        }
        crate::run::nap();
    }
}

/// Who ignores SIGCHLD cannot wait for a child, and hands that on: the tools need theirs, the program starts with it.
fn started_without_children(case: &mut Case) -> Result<String, String> {
    const SIGCHLD: u32 = 17;
    const IGNORING: &str = "import os, signal, sys\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nos.execvp(sys.argv[1], sys.argv[1:])";
    let folder = case.dir.clone();
    let ignoring = |command: Command| {
        let mut python = Command::new("python3");
        python.args(["-c", IGNORING]).arg(command.get_program()).args(command.get_args());
        python.current_dir(&folder).stdin(std::process::Stdio::null()).env_remove("XDG_RUNTIME_DIR");
        python
    };
    let mut launch = case.command("ckpt_launch", &["--ckptdir"]);
    launch.arg(&case.images).args(["python3", "program.py"]);
    case.start(ignoring(launch), "launch")?;
    case.counts(&["main", "kid"])?;
    let program = || leftovers::descendants().into_iter().find(|p| p.name.starts_with("python")).ok_or("no program");
    let children_ignored = |pid: i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|e| e.to_string())?;
        let set = u64::from_str_radix(line(&status, "SigIgn:").trim(), 16).map_err(|e| e.to_string())?;
        if set >> (SIGCHLD - 1) & 1 == 1 { Ok(()) } else { Err(format!("the program's SigIgn: {set:#x}")) }
    };
    children_ignored(program()?.pid)?;
    let (status, said) = case.ask(case.command("ckpt_command", &["--checkpoint", "--kill"]))?;
    if status != 0 {
        return Err(format!("the checkpoint failed: {said}"));
    }
    case.kill_all()?;
    let restart = case.restart_command()?;
    case.start(ignoring(restart), "restart")?;
    case.counts(&["main", "kid"])?;
    children_ignored(program()?.pid)?;
    restarts(case)?;
    Ok("launch and restart wait for their children all the same; the program ignores its own".into())
}
