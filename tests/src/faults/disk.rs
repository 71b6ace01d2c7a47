//! Disks that really are full, read-only or without power. Mounts are made: root only.

use super::Case;
use crate::leftovers;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub type Row = fn(&mut Case) -> Result<String, String>;

pub const ROWS: [(&str, &str, Row); 4] =
    [("disk", "full", full), ("disk", "read-only", read_only), ("disk", "RLIMIT_FSIZE", file_size), ("disk", "power-cut", power_cut)];

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

/// What had not reached the disk when ckpt_command returned is lost; the checkpoint is not.
fn power_cut(case: &mut Case) -> Result<String, String> {
    let disk = case.dir.join("disk");
    let shown = |path: &Path| path.display().to_string();
    fs::File::create(&disk).and_then(|f| f.set_len(400 << 20)).map_err(|e| e.to_string())?;
    run("mkfs.ext4", &["-q", "-F", &shown(&disk)])?;
    let mount = Mount::new(case.dir.join("mounted"), &["-o", "loop", &shown(&disk)])?;
    case.images = mount.0.join("images");
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
