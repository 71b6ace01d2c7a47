//! A control group without room for what the program writes to while its image is written. Root only, and control groups
//! of the first version.

use super::Case;
use super::disk::{Row, restarts};
use std::fs;
use std::path::{Path, PathBuf};

pub const ROWS: [(&str, &str, Row); 1] = [("memory", "none-left", none_left)];

/// In the group GROUP from its start, as in a container, writes to all of its memory all the time: each page is copied
/// while the image is written.
const PROGRAM: &str = "import os\nopen('GROUP/cgroup.procs', 'w').write(str(os.getpid()))\n\
kid = os.fork()\nout = os.open('kid' if kid == 0 else 'main', os.O_RDWR | os.O_CREAT)\n\
big = bytearray(96 << 20) if kid else bytearray(1)\nn = 0\n\
while True:\n    n += 1\n    for i in range(0, len(big), 4096): big[i] = n % 255 + 1\n\
\x20   os.pwrite(out, str(n).ljust(20).encode(), 0)\n";

/// Less than the program writes to while its image is made.
const ROOM: u64 = 32 << 20;

/// The kernel ends somebody of the group: the frozen copy, which gives back what it alone has.
fn none_left(case: &mut Case) -> Result<String, String> {
    let group = PathBuf::from(format!("/sys/fs/cgroup/memory/ckpt-faults-{}", case.port));
    fs::create_dir(&group).map_err(|e| format!("{}: {e}", group.display()))?;
    let program = PROGRAM.replace("GROUP", &group.display().to_string());
    let done = fs::write(case.dir.join("program.py"), program).map_err(|e| e.to_string()).and_then(|()| in_group(case, &group));
    let tidy = case.kill_all();
    let _ = fs::remove_dir(&group);
    done.and_then(|said| tidy.map(|()| said))
}

fn in_group(case: &mut Case, group: &Path) -> Result<String, String> {
    let put = |file: &str, text: &str| fs::write(group.join(file), text).map_err(|e| format!("{file}: {e}"));
    // The program is faster than the agent.
    case.launch_with(&[], Some("write:stall:2"), "30")?;
    let first = case.ask(case.command("ckpt_command", &["--checkpoint", "--pause", "hold"]))?;
    if first.0 != 0 {
        return Err(format!("the first checkpoint failed: {}", first.1));
    }
    put("memory.limit_in_bytes", &(kept(group)? + ROOM).to_string())?;
    let (status, said) = case.ask(case.command("ckpt_command", &["--checkpoint", "--pause", "cow", "--compress", "zstd"]))?;
    case.counts(&["main", "kid"])?;
    if status == 0 {
        return Err("memory was not short: there was room for the copies".into());
    }
    put("memory.limit_in_bytes", "-1")?;
    let third = case.ask(case.command("ckpt_command", &["--checkpoint"]))?;
    if third.0 != 0 {
        return Err(format!("no checkpoint is possible any more: {}", third.1));
    }
    restarts(case)?;
    Ok(format!("runs on; \"{}\"; next checkpoint restarts", super::cut(&said)))
}

/// What the group uses and the kernel cannot take back: files that were written are no part of it.
fn kept(group: &Path) -> Result<u64, String> {
    let read = |file: &str| fs::read_to_string(group.join(file)).map_err(|e| format!("{file}: {e}"));
    let usage: u64 = read("memory.usage_in_bytes")?.trim().parse().map_err(|_| "memory.usage_in_bytes: no number")?;
    let stat = read("memory.stat")?;
    let files = stat.lines().filter(|l| l.starts_with("total_inactive_file ") || l.starts_with("total_active_file "));
    let files: u64 = files.filter_map(|l| l.rsplit(' ').next()?.parse::<u64>().ok()).sum();
    Ok(usage.saturating_sub(files))
}
