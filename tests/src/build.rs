//! Where things are, and how they are built.

use crate::guests::Guest;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// The folders of a checkout.
pub struct Paths {
    pub root: PathBuf,
    pub target: PathBuf,
}

impl Paths {
    /// Found from the running xtask, which lies in TARGET/release.
    pub fn find() -> Result<Paths, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("tests/ has no parent folder")?;
        let exe = std::env::current_exe().map_err(|e| format!("cannot find the running xtask: {e}"))?;
        let target = exe.ancestors().nth(2).ok_or("xtask is not in TARGET/release")?;
        Ok(Paths { root: root.into(), target: target.into() })
    }

    pub fn bin(&self) -> PathBuf {
        self.target.join("release")
    }

    pub fn guests(&self) -> PathBuf {
        self.target.join("guests")
    }
}

/// Builds the whole workspace in release mode.
pub fn product(paths: &Paths) -> Result<(), String> {
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    cargo.current_dir(&paths.root).args(["build", "--release", "--quiet"]);
    cargo.arg("--target-dir").arg(&paths.target);
    let status = cargo.status().map_err(|e| format!("cannot run cargo: {e}"))?;
    if !status.success() {
        return Err("the build failed; its messages are above".into());
    }
    examples(paths)
}

/// Programs in Rust that use the crate of plugins/api.
fn examples(paths: &Paths) -> Result<(), String> {
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    cargo.current_dir(&paths.root).args(["build", "--release", "--quiet", "-p", "ckpt-api", "--examples"]);
    let status = cargo.arg("--target-dir").arg(&paths.target).status().map_err(|e| format!("cannot run cargo: {e}"))?;
    if status.success() { Ok(()) } else { Err("the examples in Rust cannot be built; the messages are above".into()) }
}

/// Compiles the guests whose source is newer than their program.
pub fn guests(paths: &Paths, guests: &[Guest]) -> Result<(), String> {
    let header = headers(&paths.root.join("tests/guests"));
    let mut seen = Vec::new();
    for guest in guests {
        let out = paths.guests().join(&guest.program);
        if seen.contains(&out) {
            continue;
        }
        if guest.source.extension().is_some_and(|e| e == "rs") {
            take_example(paths, &guest.source.file_stem().unwrap_or_default().to_string_lossy(), &out)?;
        } else if modified(&out) < modified(&guest.source).max(header).max(guest.source.parent().map_or(header, headers)) {
            compile(paths, guest, &out)?;
        }
        compile_plugin(paths, guest)?;
        seen.push(out);
    }
    Ok(())
}

/// One C program of the tests' own.
pub fn program(source: &Path, out: &Path) -> Result<(), String> {
    cc(source, &[], out)
}

/// A guest or a plugin in Rust is an example of the crate it uses.
fn take_example(paths: &Paths, name: &str, out: &Path) -> Result<(), String> {
    let built = paths.bin().join("examples").join(name);
    if !built.exists() {
        examples(paths)?;
    }
    if modified(out) < modified(&built) {
        let _ = fs::remove_file(out);
        copy(&built, out)?;
    }
    Ok(())
}

fn compile(paths: &Paths, guest: &Guest, out: &Path) -> Result<(), String> {
    let include = format!("-I{}", paths.root.join("include").display());
    let bin = paths.bin().display().to_string();
    let own = guest.flags.iter().map(|flag| flag.replace("@BIN@", &bin));
    let flags: Vec<String> = std::iter::once(include).chain(own).collect();
    cc(&guest.source, &flags, out)
}

fn cc(source: &Path, flags: &[String], out: &Path) -> Result<(), String> {
    let folder = out.parent().ok_or("a guest has no folder")?;
    fs::create_dir_all(folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    let status = Command::new("cc")
        .args(["-O1", "-Wall", "-Wextra", "-Wno-format-overflow", "-pthread", "-o"])
        .arg(out)
        .args(flags)
        .arg(source)
        .args(["-lrt", "-lutil", "-lm", "-ldl"])
        .status()
        .map_err(|e| format!("cannot run cc: {e}; install gcc"))?;
    if !status.success() {
        return Err(format!("cc failed for {}", source.display()));
    }
    Ok(())
}

/// `PROGRAM.plugin.so` beside the guest: `ckpt_launch` is told to load it.
fn compile_plugin(paths: &Paths, guest: &Guest) -> Result<(), String> {
    let Some(source) = guest.plugin.as_ref().map(|plugin| paths.root.join(plugin)) else { return Ok(()) };
    let out = paths.guests().join(&guest.program).with_extension("plugin.so");
    if source.extension().is_some_and(|e| e == "rs") {
        let stem = source.file_stem().unwrap_or_default().to_string_lossy();
        return take_example(paths, &format!("lib{stem}.so"), &out);
    }
    if modified(&out) > modified(&source) {
        return Ok(());
    }
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-Wall", "-Wextra", "-shared", "-fPIC", "-I"]).arg(paths.root.join("include"));
    let status = cc.arg("-o").arg(out).arg(&source).status().map_err(|e| format!("cannot run cc: {e}; install gcc"))?;
    if status.success() { Ok(()) } else { Err(format!("cc failed for {}", source.display())) }
}

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// When the newest header of a folder was changed.
fn headers(folder: &Path) -> SystemTime {
    let all = crate::guests::entries(folder).unwrap_or_default();
    let newest = all.iter().filter(|p| p.extension().is_some_and(|e| e == "h")).map(|p| modified(p)).max();
    newest.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Copies all programs to a folder that every user can read.
pub fn publish(paths: &Paths, guests: &[Guest], to: &Path) -> Result<(), String> {
    for name in crate::product::FILES {
        copy(&paths.bin().join(name), &to.join(name))?;
    }
    copy(&paths.bin().join("xtask"), &to.join("xtask"))?;
    copy(&paths.bin().join("examples/selfckpt"), &to.join("examples/selfckpt"))?;
    for guest in guests {
        copy(&paths.guests().join(&guest.program), &to.join("guests").join(&guest.program))?;
        let plugin = Path::new(&guest.program).with_extension("plugin.so");
        copy(&paths.guests().join(&plugin), &to.join("guests").join(&plugin))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let folder = to.parent().ok_or("nowhere to copy to")?;
    if !from.exists() || to.exists() {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    fs::copy(from, to).map(drop).map_err(|e| format!("cannot copy {} to {}: {e}", from.display(), to.display()))
}
