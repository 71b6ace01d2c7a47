//! Disks that really are full, read-only or without power. Mounts are made: root only.

use super::Case;
use crate::leftovers;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

pub type Row = fn(&mut Case) -> Result<String, String>;

pub const ROWS: [(&str, &str, Row); 8] = [
    ("disk", "full", full),
    ("disk", "read-only", read_only),
    ("disk", "RLIMIT_FSIZE", file_size),
    ("disk", "gone-before", gone_before),
    ("disk", "gone-while-written", gone_while_written),
    ("disk", "dying", dying),
    ("disk", "power-cut", power_cut),
    ("memory", "none-left", no_memory),
];

fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(args).output().map_err(|e| format!("{program}: {e}"))?;
    if output.status.success() { Ok(()) } else { Err(format!("{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr).trim())) }
}

/// A mount of the case's own, gone with it.
struct Mount(PathBuf);

impl Mount {
    fn new(at: PathBuf, args: &[&str]) -> Result<Mount, String> {
        fs::create_dir(&at).map_err(|e| e.to_string())?;
        run("mount", &[args, &[at.to_str().ok_or("a path")?]].concat())?;
        Ok(Mount(at))
    }

    fn again(&self, options: &str) -> Result<(), String> {
        run("mount", &["-o", &format!("remount,{options}"), &self.0.display().to_string()])
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = run("umount", &["-l", &self.0.display().to_string()]);
    }
}

/// One good checkpoint, one that must fail with `words` while the program runs on, one good one, which restarts.
fn fails_once(case: &mut Case, spoil: &dyn Fn() -> Result<(), String>, mend: &dyn Fn() -> Result<(), String>, words: &str) -> Result<String, String> {
    let ask = |case: &Case| case.ask(case.command("ckpt_command", &["--checkpoint"]));
    case.launch(None)?;
    let first = ask(case)?;
    if first.0 != 0 {
        return Err(format!("the first checkpoint failed: {}", first.1));
    }
    let before = case.images("img")?;
    spoil()?;
    let (status, said) = ask(case)?;
    if status == 0 || !said.contains(words) {
        return Err(format!("not \"{words}\", but: {said}"));
    }
    case.counts(&["main", "kid"])?;
    if case.images("img")? != before {
        return Err("the failed checkpoint changed the images".into());
    }
    mend()?;
    let third = ask(case)?;
    if third.0 != 0 {
        return Err(format!("no checkpoint is possible any more: {}", third.1));
    }
    case.no_temporaries()?;
    restarts(case)?;
    Ok(format!("runs on; \"{}\"; next checkpoint restarts", super::cut(&said)))
}

fn restarts(case: &mut Case) -> Result<(), String> {
    case.kill_all()?;
    case.restart_all(None)?;
    case.counts(&["main", "kid"])?;
    case.kill_all()
}

fn tmpfs(case: &mut Case) -> Result<Mount, String> {
    let mount = Mount::new(case.dir.join("small"), &["-t", "tmpfs", "-o", "size=120m", "ckpt"])?;
    case.images = mount.0.join("images");
    Ok(mount)
}

fn full(case: &mut Case) -> Result<String, String> {
    let mount = tmpfs(case)?;
    let filler = mount.0.join("filler");
    let fill = || {
        let mut file = fs::File::create(&filler).map_err(|e| e.to_string())?;
        let _ = std::io::copy(&mut std::io::repeat(1), &mut file);
        Ok(())
    };
    fails_once(case, &fill, &|| fs::remove_file(&filler).map_err(|e| e.to_string()), "No space left on device")
}

fn read_only(case: &mut Case) -> Result<String, String> {
    let mount = tmpfs(case)?;
    fails_once(case, &|| mount.again("ro"), &|| mount.again("rw"), "Read-only file system")
}

fn file_size(case: &mut Case) -> Result<String, String> {
    let limit = |value: &'static str| {
        move || {
            let agents = leftovers::descendants();
            let mut all = agents.iter().filter(|p| p.name.starts_with("ckpt_launch"));
            all.try_for_each(|p| run("prlimit", &["--pid", &p.pid.to_string(), &format!("--fsize={value}:")]))
        }
    };
    fails_once(case, &limit("1000000"), &limit("unlimited"), "File too large")
}

fn loop_disk(case: &mut Case, disk: &Path, megabytes: u64) -> Result<Mount, String> {
    fs::File::create(disk).and_then(|f| f.set_len(megabytes << 20)).map_err(|e| e.to_string())?;
    let shown = disk.display().to_string();
    run("mkfs.ext4", &["-q", "-F", &shown])?;
    let mount = Mount::new(case.dir.join("mounted"), &["-o", "loop", &shown])?;
    case.images = mount.0.join("images");
    Ok(mount)
}

/// Every write waits, and nothing ends the wait: a server that has vanished, on a hard mount.
struct Gone(String);

impl Gone {
    fn now(mount: &Mount) -> Result<Gone, String> {
        let at = mount.0.display().to_string();
        run("fsfreeze", &["-f", &at]).map(|()| Gone(at))
    }
}

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = run("fsfreeze", &["-u", &self.0]);
    }
}

fn gone_before(case: &mut Case) -> Result<String, String> {
    let disk = case.dir.join("disk");
    let mount = loop_disk(case, &disk, 400)?;
    case.launch(Some("none"))?;
    let ask = |case: &Case| case.ask(case.command("ckpt_command", &["--checkpoint"]));
    let first = ask(case)?;
    let gone = Gone::now(&mount)?;
    let second = ask(case)?;
    comes_back(case, first, second, gone, "python3")
}

/// The program runs on, and when the server is back all is as before.
fn comes_back(case: &mut Case, first: (i32, String), second: (i32, String), gone: Gone, words: &str) -> Result<String, String> {
    if first.0 != 0 {
        return Err(format!("the first checkpoint failed: {}", first.1));
    }
    if second.0 == 0 || !second.1.contains(words) {
        return Err(format!("not \"{words}\", but: {}", second.1));
    }
    case.counts(&["main", "kid"])?;
    let (status, said) = case.ask(case.command("ckpt_command", &["--list"]))?;
    if status != 0 || !said.contains("python3") {
        return Err(format!("ckpt_command --list: {said}"));
    }
    drop(gone);
    let third = case.ask(case.command("ckpt_command", &["--checkpoint"]))?;
    if third.0 != 0 {
        return Err(format!("no checkpoint is possible any more: {}", third.1));
    }
    case.no_temporaries()?;
    restarts(case)?;
    Ok(format!("runs on; \"{}\"; when it is back the next checkpoint restarts", super::cut(&second.1)))
}

/// The agent is held up at the beginning of the writing until the disk is gone.
fn gone_while_written(case: &mut Case) -> Result<String, String> {
    let disk = case.dir.join("disk");
    let mount = loop_disk(case, &disk, 400)?;
    case.launch(Some("write:stall:2"))?;
    let first = case.ask(case.command("ckpt_command", &["--checkpoint"]))?;
    case.start(case.command("ckpt_command", &["--checkpoint"]), "answer-1")?;
    let end = Instant::now() + super::PATIENCE;
    while !case.ask(case.command("ckpt_command", &["--status", "--json"]))?.1.contains("\"stage\":\"written\"") {
        if Instant::now() > end {
            return Err("the image was not being written".into());
        }
        crate::run::nap();
    }
    let gone = Gone::now(&mount)?;
    let mut asked = case.foreground.pop().ok_or("no question")?;
    let status = super::wait(&mut asked).ok_or("ckpt_command hangs")?;
    comes_back(case, first, (status, case.said("answer-1")), gone, "not written within 2 s")
}

/// A disk that takes no new block: what was written is lost when it is to reach it.
fn dying(case: &mut Case) -> Result<String, String> {
    let backing = Mount::new(case.dir.join("backing"), &["-t", "tmpfs", "-o", "size=300m", "ckpt"])?;
    let mount = loop_disk(case, &backing.0.join("disk"), 400)?;
    case.launch(None)?;
    let first = case.ask(case.command("ckpt_command", &["--checkpoint"]))?;
    if first.0 != 0 {
        return Err(format!("the first checkpoint failed: {}", first.1));
    }
    let mut filler = fs::File::create(backing.0.join("filler")).map_err(|e| e.to_string())?;
    let _ = std::io::copy(&mut std::io::repeat(1), &mut filler);
    let (status, said) = case.ask(case.command("ckpt_command", &["--checkpoint"]))?;
    if status == 0 {
        return Err("a checkpoint on a disk that takes nothing is called complete".into());
    }
    case.counts(&["main", "kid"])?;
    restarts(case)?;
    drop((mount, backing));
    Ok(format!("runs on; \"{}\"; previous checkpoint restarts", super::cut(&said)))
}

/// Writes to all of its memory all the time: each page is copied while the image is written.
const GREEDY: &str = "import os, time\n\
kid = os.fork()\nout = os.open('kid' if kid == 0 else 'main', os.O_RDWR | os.O_CREAT)\n\
big = bytearray(os.urandom(1 << 20) * 96) if kid else bytearray(1)\nn = 0\n\
while True:\n    n += 1\n    for i in range(0, len(big), 4096): big[i] = n % 256\n\
\x20   os.pwrite(out, str(n).ljust(20).encode(), 0)\n";

/// The kernel ends somebody of the control group: the frozen copy, not the program.
fn no_memory(case: &mut Case) -> Result<String, String> {
    fs::write(case.dir.join("program.py"), GREEDY).map_err(|e| e.to_string())?;
    let group = PathBuf::from(format!("/sys/fs/cgroup/memory/ckpt-faults-{}", case.port));
    fs::create_dir(&group).map_err(|e| format!("{}: {e}", group.display()))?;
    let done = in_group(case, &group);
    let tidy = case.kill_all();
    let _ = fs::remove_dir(&group);
    done.and_then(|said| tidy.map(|()| said))
}

fn in_group(case: &mut Case, group: &Path) -> Result<String, String> {
    let put = |file: &str, text: &str| fs::write(group.join(file), text).map_err(|e| format!("{file}: {e}"));
    case.launch(None)?;
    case.counts(&["main"])?;
    for p in leftovers::descendants().iter().filter(|p| p.name.starts_with("python3")) {
        put("cgroup.procs", &p.pid.to_string())?;
    }
    let first = case.ask(case.command("ckpt_command", &["--checkpoint", "--pause", "hold"]))?;
    if first.0 != 0 {
        return Err(format!("the first checkpoint failed: {}", first.1));
    }
    // What it had before stays with the group it had it in: the copies are all that counts here.
    put("memory.limit_in_bytes", "33554432")?;
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

/// What had not reached the disk when ckpt_command returned is lost; the checkpoint is not.
fn power_cut(case: &mut Case) -> Result<String, String> {
    let disk = case.dir.join("disk");
    let shown = |path: &Path| path.display().to_string();
    let mount = loop_disk(case, &disk, 400)?;
    case.launch(None)?;
    let mut cuts = Vec::new();
    for n in 1..=2 {
        let (status, said) = case.ask(case.command("ckpt_command", &["--checkpoint"]))?;
        if status != 0 {
            return Err(format!("checkpoint {n} failed: {said}"));
        }
        // It shows that the copy holds nothing that was only in memory.
        fs::write(mount.0.join(format!("unsynced-{n}")), [7; 1 << 20]).map_err(|e| e.to_string())?;
        let cut = case.dir.join(format!("cut-{n}"));
        run("cp", &["--sparse=always", &shown(&disk), &shown(&cut)])?;
        cuts.push(cut);
    }
    case.kill_all()?;
    for (n, cut) in (1..).zip(&cuts) {
        let after = Mount::new(case.dir.join(format!("after-{n}")), &["-o", "loop", &shown(cut)])?;
        if fs::read(after.0.join(format!("unsynced-{n}"))).is_ok_and(|bytes| bytes.contains(&7)) {
            return Err("the copy of the disk holds what was never synced: it is no power cut".into());
        }
        case.images = after.0.join("images");
        let generations = case.images("img")?.len();
        if generations != n {
            return Err(format!("{generations} images after {n} checkpoints"));
        }
        restarts(case)?;
    }
    Ok("complete; after the cut it restarts".into())
}
