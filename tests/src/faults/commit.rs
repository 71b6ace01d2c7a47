//! In which order a checkpoint reaches the disk, and what is left of older ones.

use super::Case;
use super::disk::Row;
use crate::leftovers;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

pub const ROWS: [(&str, &str, Row); 8] = [
    ("commit", "order", order),
    ("commit", "generations", generations),
    ("commit", "newest-damaged", newest_damaged),
    ("commit", "older-restarted", older_restarted),
    ("commit", "options", options),
    ("commit", "chain-of-none", |case| consolidated(case, "none")),
    ("commit", "chain-of-lz4", |case| consolidated(case, "lz4")),
    ("commit", "chain-of-zstd", |case| consolidated(case, "zstd")),
];

fn checkpoint(case: &Case) -> Result<(), String> {
    let (status, said) = case.ask(case.command("ckpt_command", &["--checkpoint"]))?;
    if status == 0 { Ok(()) } else { Err(format!("the checkpoint failed: {said}")) }
}

/// The agent's system calls: image synced, renamed, folder synced; only then an older one goes.
fn order(case: &mut Case) -> Result<String, String> {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        return Ok("not looked at: there is no strace here".into());
    }
    case.launch_with(&["--keep", "1"], None, "30")?;
    let agent = leftovers::descendants().into_iter().find(|p| p.name.starts_with("ckpt_launch")).ok_or("no agent")?;
    let log = case.dir.join("strace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-e", "trace=mkdir,fsync,rename,unlink", "-p", &agent.pid.to_string(), "-o"]).arg(&log);
    let notes = fs::File::create(case.dir.join("attached")).map_err(|e| e.to_string())?;
    let mut strace = strace.stderr(notes).spawn().map_err(|e| e.to_string())?;
    let end = Instant::now() + super::PATIENCE;
    while !case.said("attached").contains("attached") {
        if Instant::now() > end {
            return Err(format!("strace: {}", case.said("attached")));
        }
        crate::run::nap();
    }
    let done = checkpoint(case).and_then(|()| checkpoint(case));
    // Nobody waits for that.
    while done.is_ok() && names(case)?.len() > 1 && Instant::now() < end {
        crate::run::nap();
    }
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(strace.id() as i32), nix::sys::signal::Signal::SIGTERM);
    let _ = strace.wait();
    done?;
    let text = fs::read_to_string(&log).map_err(|e| e.to_string())?;
    let mut steps: Vec<&str> = text.lines().filter_map(step).collect();
    // The script for the restart comes after the image.
    steps.dedup();
    let wanted = "mkdir, folder above synced, image synced, renamed, folder synced, image synced, renamed, folder synced, older one removed";
    if steps.join(", ") == wanted { Ok(wanted.into()) } else { Err(format!("{}:\n{text}", steps.join(", "))) }
}

fn step(line: &str) -> Option<&'static str> {
    if line.contains("resumed>") {
        return None;
    }
    let (name, rest) = line.split_once(' ')?.1.trim_start().split_once('(')?;
    let images = rest.contains("/images>") || rest.contains("/images\"");
    match name {
        "mkdir" if images => Some("mkdir"),
        "fsync" if rest.contains(".img.") => Some("image synced"),
        "fsync" if images => Some("folder synced"),
        "fsync" if !rest.contains("/images/") => Some("folder above synced"),
        "rename" if rest.contains(".img\"") => Some("renamed"),
        "unlink" if rest.contains(".img\"") => Some("older one removed"),
        _ => None,
    }
}

/// Two stay (`--keep`'s default); of all that are given the newest is taken.
fn generations(case: &mut Case) -> Result<String, String> {
    case.launch(None)?;
    (0..4).try_for_each(|_| checkpoint(case))?;
    let names = names(case)?;
    if names.len() != 2 || !names[0].contains("-g3.img") || !names[1].contains("-g4.img") {
        return Err(format!("after four checkpoints there are: {}", names.join(", ")));
    }
    restarts_from(case, &names[1])?;
    Ok("generations 3 and 4 of 4 stay; of both the newest restarts".into())
}

fn newest_damaged(case: &mut Case) -> Result<String, String> {
    case.launch(None)?;
    (0..2).try_for_each(|_| checkpoint(case))?;
    let names = names(case)?;
    let [older, newest] = &names[..] else { return Err(format!("two checkpoints, {} images", names.len())) };
    let path = case.images.join(newest);
    let len = path.metadata().map_err(|e| e.to_string())?.len();
    fs::File::options().write(true).open(&path).and_then(|f| f.set_len(len - 1)).map_err(|e| e.to_string())?;
    restarts_from(case, older)?;
    let said = case.said("restart");
    if !said.contains(newest.as_str()) {
        return Err(format!("the damaged image is not named: {said}"));
    }
    Ok("the damaged one is named; the previous checkpoint restarts".into())
}

/// What the restarted program writes then is newer than all there is: nothing is written over, and it is taken next time.
fn older_restarted(case: &mut Case) -> Result<String, String> {
    case.launch(None)?;
    (0..2).try_for_each(|_| checkpoint(case))?;
    case.kill_all()?;
    let mut command = case.command("ckpt_restart", &[]);
    command.arg(case.images.join(&names(case)?[0]));
    case.start(command, "restart")?;
    case.counts(&["main", "kid"])?;
    checkpoint(case)?;
    let names = names(case)?;
    match names.last().filter(|n| n.ends_with("-g3.img")) {
        Some(newest) => restarts_from(case, newest)?,
        None => return Err(format!("there are: {}", names.join(", "))),
    }
    Ok("restarted from the first of two, its next checkpoint is the third, which restarts".into())
}

/// A restart goes on as the launch was told to, in the folder of its images.
fn options(case: &mut Case) -> Result<String, String> {
    case.images = case.dir.join("elsewhere");
    case.launch_with(&["--interval", "3600", "--keep", "1", "--compress", "lz4"], None, "30")?;
    for generation in 1..4 {
        checkpoint(case)?;
        let end = Instant::now() + super::PATIENCE;
        while names(case)?.len() > 1 && Instant::now() < end {
            crate::run::nap();
        }
        let names = names(case)?;
        let [name] = &names[..] else { return Err(format!("there are: {}", names.join(", "))) };
        let (_, status) = case.ask(case.command("ckpt_command", &["--status"]))?;
        let mut inspect = Command::new(case.bin.join("ckpt_inspect"));
        inspect.arg(case.images.join(name));
        let (_, inside) = case.ask(inspect)?;
        if !name.ends_with(&format!("-g{generation}.img")) || !status.contains("interval: 3600 s") || !inside.contains("lz4") {
            return Err(format!("generation {generation}: {name}\n{status}\n{inside}"));
        }
        case.kill_all()?;
        case.restart_all(None)?;
        case.counts(&["main", "kid"])?;
    }
    Ok("folder, interval, compression and number of images stay over three restarts".into())
}

/// Of a chain of incremental images one that needs no other.
fn consolidated(case: &mut Case, codec: &str) -> Result<String, String> {
    case.launch_with(&["--incremental", "--compress", codec], None, "30")?;
    (0..3).try_for_each(|_| checkpoint(case).and_then(|()| case.counts(&["main", "kid"])))?;
    case.kill_all()?;
    let all = case.images("img")?;
    if all.len() != 3 {
        return Err(format!("{} images are left of a chain of three", all.len()));
    }
    let newest = all.iter().find(|p| p.to_string_lossy().ends_with("-g3.img")).ok_or("no third image")?;
    let mut inspect = Command::new(case.bin.join("ckpt_inspect"));
    inspect.arg("--consolidate").arg(case.images.join("whole.tmp")).arg(newest);
    let (status, said) = case.ask(inspect)?;
    if status != 0 {
        return Err(format!("ckpt_inspect --consolidate: {said}"));
    }
    all.iter().try_for_each(fs::remove_file).and_then(|()| fs::rename(case.images.join("whole.tmp"), newest)).map_err(|e| e.to_string())?;
    case.restart_all(None)?;
    case.counts(&["main", "kid"])?;
    Ok("three images become one, which restarts alone".into())
}

fn names(case: &Case) -> Result<Vec<String>, String> {
    let images = case.images("img")?;
    let mut names: Vec<String> = images.iter().filter_map(|p| Some(p.file_name()?.to_str()?.to_string())).collect();
    names.sort();
    Ok(names)
}

/// Given all images there are; the generation of the next one says which it was.
fn restarts_from(case: &mut Case, name: &str) -> Result<(), String> {
    case.kill_all()?;
    case.restart_all(None)?;
    case.counts(&["main", "kid"])?;
    let generation = name.rsplit_once("-g").and_then(|n| n.1.strip_suffix(".img")).unwrap_or_default();
    checkpoint(case)?;
    let next: u32 = generation.parse::<u32>().map_err(|e| e.to_string())? + 1;
    let names = names(case)?;
    match names.last().is_some_and(|n| n.ends_with(&format!("-g{next}.img"))) {
        true => Ok(()),
        false => Err(format!("not generation {generation} was restarted: then there are {}", names.join(", "))),
    }
}
