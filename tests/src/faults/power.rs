//! The host loses its power: what was not synced is gone. A copy of the disk is made of what has reached it. Mounts are
//! made: root only.

use super::disk::{Mount, Row, loop_disk, restarts, run};
use super::{Case, wait, wake_stopped};
use std::fs;
use std::path::{Path, PathBuf};

pub const ROWS: [(&str, &str, Row); 9] = [
    ("power-cut", "create", |case| cut_at(case, "create")),
    ("power-cut", "freeze", |case| cut_at(case, "freeze")),
    ("power-cut", "write", |case| cut_at(case, "write")),
    ("power-cut", "sync", |case| cut_at(case, "sync")),
    ("power-cut", "rename", |case| cut_at(case, "rename")),
    ("power-cut", "folder-sync", |case| cut_at(case, "folder-sync")),
    ("power-cut", "script", |case| cut_at(case, "script")),
    ("power-cut", "committed", |case| cut_at(case, "committed")),
    ("power-cut", "answered", answered),
];

/// What the disk of `mount` has, under a name of the case's own. A file that was never synced shows that the copy holds
/// nothing that was only in memory.
fn cut(case: &Case, disk: &Path, mount: &Mount, n: usize) -> Result<PathBuf, String> {
    fs::write(mount.0.join(format!("unsynced-{n}")), [7; 1 << 20]).map_err(|e| e.to_string())?;
    let copy = case.dir.join(format!("cut-{n}"));
    run("cp", &["--sparse=always", &disk.display().to_string(), &copy.display().to_string()])?;
    Ok(copy)
}

/// The host is up again: the generations that are there; the newest restarts.
fn up_again(case: &mut Case, copy: &Path, n: usize) -> Result<Vec<u32>, String> {
    let after = Mount::new(case.dir.join(format!("after-{n}")), &["-o", "loop", &copy.display().to_string()])?;
    if fs::read(after.0.join(format!("unsynced-{n}"))).is_ok_and(|bytes| bytes.contains(&7)) {
        return Err("the copy of the disk holds what was never synced: it is no power cut".into());
    }
    case.images = after.0.join("images");
    let number = |path: &PathBuf| path.to_string_lossy().rsplit_once("-g")?.1.strip_suffix(".img")?.parse().ok();
    let mut generations: Vec<u32> = case.images("img")?.iter().filter_map(number).collect();
    generations.sort_unstable();
    restarts(case)?;
    Ok(generations)
}

/// While the second checkpoint is at `stage`; only the newest generation is kept.
fn cut_at(case: &mut Case, stage: &str) -> Result<String, String> {
    let disk = case.dir.join("disk");
    let mount = loop_disk(case, &disk, 400)?;
    case.launch_with(&["--keep", "1"], Some(&format!("{stage}:stop-self:2")), "30")?;
    let (status, said) = case.ask(case.command("ckpt_command", &["--checkpoint"]))?;
    if status != 0 {
        return Err(format!("the first checkpoint failed: {said}"));
    }
    case.start(case.command("ckpt_command", &["--checkpoint"]), "answer-1")?;
    super::await_stopped("the agent")?;
    let copy = cut(case, &disk, &mount, 1)?;
    wake_stopped();
    let mut asked = case.foreground.pop().ok_or("no question")?;
    wait(&mut asked).ok_or("ckpt_command hangs")?;
    case.kill_all()?;
    let generations = up_again(case, &copy, 1)?;
    let newest = generations.last().ok_or("no image is left")?;
    Ok(format!("after the cut generation {newest} restarts"))
}

/// What had not reached the disk when ckpt_command returned is lost; the checkpoint is not.
fn answered(case: &mut Case) -> Result<String, String> {
    let disk = case.dir.join("disk");
    let mount = loop_disk(case, &disk, 400)?;
    case.launch(None)?;
    let mut copies = Vec::new();
    for n in 1..=2 {
        let (status, said) = case.ask(case.command("ckpt_command", &["--checkpoint"]))?;
        if status != 0 {
            return Err(format!("checkpoint {n} failed: {said}"));
        }
        copies.push(cut(case, &disk, &mount, n)?);
    }
    case.kill_all()?;
    for (n, copy) in (1..).zip(&copies) {
        let generations = up_again(case, copy, n)?;
        if generations.len() != n {
            return Err(format!("{} images after {n} checkpoints", generations.len()));
        }
    }
    Ok("after the cut generation 2 restarts".into())
}
