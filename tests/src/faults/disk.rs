//! Disks that really are full, read-only or gone. Mounts are made: root only.

use super::Case;
use crate::leftovers;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

pub type Row = fn(&mut Case) -> Result<String, String>;

pub const ROWS: [(&str, &str, Row); 7] = [
    ("disk", "full", full),
    ("disk", "read-only", read_only),
    ("disk", "quota", quota),
    ("disk", "RLIMIT_FSIZE", file_size),
    ("disk", "gone-before", gone_before),
    ("disk", "gone-while-written", gone_while_written),
    ("disk", "dying", dying),
];

pub fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(args).output().map_err(|e| format!("{program}: {e}"))?;
    if output.status.success() { Ok(()) } else { Err(format!("{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr).trim())) }
}

/// A mount of the case's own, gone with it.
pub struct Mount(pub PathBuf);

impl Mount {
    pub fn new(at: PathBuf, args: &[&str]) -> Result<Mount, String> {
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

pub fn restarts(case: &mut Case) -> Result<(), String> {
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

/// Of btrfs: it has its own, where the kernel has no quota format.
fn quota(case: &mut Case) -> Result<String, String> {
    if Command::new("btrfs").arg("version").output().is_err() {
        return Ok("not looked at: there is no btrfs here".into());
    }
    let disk = case.dir.join("disk");
    let mount = loop_disk_of(case, &disk, 400, &["mkfs.btrfs", "-q", "-f"])?;
    let at = mount.0.display().to_string();
    run("btrfs", &["quota", "enable", &at])?;
    let limit = |value: &str| run("btrfs", &["qgroup", "limit", value, &at]);
    // Where it is used up it cannot be changed either.
    let used = || fs::read_dir(mount.0.join("images")).into_iter().flatten().flatten().filter_map(|e| e.metadata().ok()).map(|m| m.len()).sum::<u64>();
    fails_once(case, &|| limit(&(used() + (4 << 20)).to_string()), &|| limit("none"), "Disk quota exceeded")
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

pub fn loop_disk(case: &mut Case, disk: &Path, megabytes: u64) -> Result<Mount, String> {
    loop_disk_of(case, disk, megabytes, &["mkfs.ext4", "-q", "-F"])
}

fn loop_disk_of(case: &mut Case, disk: &Path, megabytes: u64, make: &[&str]) -> Result<Mount, String> {
    fs::File::create(disk).and_then(|f| f.set_len(megabytes << 20)).map_err(|e| e.to_string())?;
    let shown = disk.display().to_string();
    run(make[0], &[&make[1..], &[shown.as_str()]].concat())?;
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
    // With short deadlines, and no fault.
    case.launch(Some("none:stall"))?;
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
