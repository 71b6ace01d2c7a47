//! What would go wrong later is found before anything is started, and listed together.

use crate::image_set::Member;
use crate::forward;
use crate::options::Options;
use ckpt_agent::{mappings, room};
use ckpt_image::{Body, FileIdentity, Machine, MapKind};
use ckpt_objects::kinds::procfile;
use ckpt_objects::{Kind, PreflightOptions, Problem, Severity};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// OLD=NEW applied to a path of the image.
pub fn mapped(path: &[u8], map: &[(PathBuf, PathBuf)]) -> PathBuf {
    let path = Path::new(OsStr::from_bytes(path));
    map.iter().find_map(|(old, new)| path.strip_prefix(old).ok().map(|rest| new.join(rest))).unwrap_or_else(|| path.to_path_buf())
}

pub fn check(members: &[Member], options: &Options) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut seen = HashSet::new();
    let here = Machine::here();
    members.iter().for_each(|m| problems.extend(machine(&m.meta.machine, &here)));
    problems.extend(memory(needed(members), room::left_here()));
    let objects = PreflightOptions { path_map: options.map_path.clone() };
    let files = members.iter().flat_map(|m| std::iter::once(&m.file).chain(m.parents.iter().map(|p| &p.0)));
    problems.extend(files.filter_map(owner));
    for m in members {
        problems.extend(ckpt_objects::preflight(&m.meta.objects, &objects));
        for body in m.meta.processes.iter().filter_map(|p| p.body.as_ref()) {
            let maps = body.maps.iter().filter_map(|m| match &m.kind {
                MapKind::File(f) if !f.deleted || m.shared => Some((f, m.shared)),
                _ => None,
            });
            for (file, shared) in maps {
                let saved = if shared { saved_content(m, file) } else { m.meta.files.iter().any(|s| s.identity == *file) };
                if seen.insert(file.path.clone()) && !saved {
                    problems.extend(check_file(file, shared, &options.map_path));
                }
            }
            problems.extend(mappings::too_many(body.maps.len()).map(|what| fatal(format!("process {}: {what}", body.record.0.pid))));
            if seen.insert([b"exe ", &body.exe.path[..]].concat()) {
                problems.extend(check_binary(m, body, &options.map_path));
            }
            let cwd = mapped(&body.cwd, &options.map_path);
            let of_member = procfile::pid_of(&body.cwd).is_some_and(|pid| members.iter().any(|m| m.meta.processes.iter().any(|p| p.pid == pid)));
            if seen.insert(body.cwd.clone()) && !of_member && !cwd.is_dir() && !body.cwd.ends_with(b" (deleted)") {
                problems.push(fatal(format!("{}: the working directory is missing; make it, or give --map-path", cwd.display())));
            }
        }
    }
    problems
}

/// Who can write to an image decides what runs with our rights.
fn owner(image: &ckpt_image::ImageFile) -> Option<Problem> {
    let status = image.file.metadata().ok()?;
    let own = nix::unistd::geteuid().as_raw();
    let path = image.path.display();
    match status.uid() {
        _ if status.mode() & 0o002 != 0 => Some(grave(format!("{path}: others may write to it (mode {:o}), and it would run with your rights; chmod o-w it if you know what it is", status.mode() & 0o7777))),
        uid if uid != own && uid != 0 => Some(grave(format!("{path}: belongs to user {uid}, and would run with your rights; copy it if you trust it"))),
        _ => None,
    }
}

/// `--save-open-files`: put back before it is mapped.
fn saved_content(m: &Member, file: &FileIdentity) -> bool {
    let objects = &m.meta.objects.objects;
    objects.iter().any(|o| (o.dev, o.ino) == (file.dev, file.ino) && matches!(&o.kind, Kind::File(f) if f.content.is_some()))
}

fn fatal(what: String) -> Problem {
    Problem { severity: Severity::Fatal, what }
}

fn grave(what: String) -> Problem {
    Problem { severity: Severity::Grave, what }
}

/// Libraries have chosen their functions by the processor. A program goes on under another kernel's vdso.
fn machine(then: &Machine, here: &Machine) -> Vec<Problem> {
    let mut out = Vec::new();
    let missing = then.missing_in(here);
    if !missing.is_empty() {
        let what = missing.join(", ");
        out.push(grave(format!("this processor lacks what the program may use: {what}; restart it on a machine like that of the checkpoint")));
    }
    if let Err(name) = forward::between(&then.vdso, &here.vdso) {
        let was = &then.kernel;
        out.push(fatal(format!("the kernel is another one, and {name} of the old one's vdso cannot be passed on; restart under {was}")));
    }
    out
}

/// Bytes of memory that the image brings back.
pub fn needed(members: &[Member]) -> u64 {
    let bodies = members.iter().flat_map(|m| &m.meta.processes).filter_map(|p| p.body.as_ref());
    let shared = members.iter().flat_map(|m| &m.meta.shared).flat_map(|s| &s.pieces).map(|p| p.1.len);
    bodies.map(|b| b.memory.bytes).chain(shared).fold(0, u64::saturating_add)
}

fn memory(needed: u64, left: Option<(u64, String)>) -> Option<Problem> {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let (left, whose) = left.filter(|l| l.0 < needed)?;
    Some(grave(format!("{} MiB of memory are needed, {} MiB are free ({whose}); end other programs", mib(needed), mib(left))))
}

/// The program's own file, or its copy in the image, is executed once more.
fn check_binary(m: &Member, body: &Body, map: &[(PathBuf, PathBuf)]) -> Option<Problem> {
    let path = mapped(&body.exe.path, map);
    let there = fs::metadata(&path).is_ok_and(|now| now.size() == body.exe.size) && !body.exe.deleted;
    let saved = m.meta.files.iter().any(|s| s.identity.path == body.exe.path);
    (!there && !saved).then(|| fatal(format!("{}: the program's file is gone or another one, and not in the image; put it back, or give --map-path", path.display())))
}

/// A library or program of which only the changed pages are in the image must be the same file. Data that are
/// mapped shared may have gone on.
fn check_file(f: &FileIdentity, shared: bool, map: &[(PathBuf, PathBuf)]) -> Option<Problem> {
    let path = mapped(&f.path, map);
    let shown = path.display();
    match fs::metadata(&path) {
        Err(_) => Some(fatal(format!("{shown}: missing, but mapped by the program; put it back, or give --map-path"))),
        Ok(m) if shared && m.size() < f.size => Some(fatal(format!("{shown}: shorter than at the checkpoint; put it back"))),
        Ok(m) if !shared && (m.size() != f.size || m.mtime() * 1_000_000_000 + m.mtime_nsec() != f.mtime_ns) => {
            Some(grave(format!("{shown}: changed since the checkpoint, but mapped by the program; put it back")))
        }
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ckpt_image::Vdso;

    #[test]
    fn a_lesser_machine_is_named() {
        let then = Machine { features: [1 << 20, 0, 1 << 16, 0, 0, 0, 0], xcr0: 0xe7, kernel: "6.1".into(), ..Machine::default() };
        let here = Machine { features: [1 << 20, 0, 0, 0, 0, 0, 0], xcr0: 7, ..then.clone() };
        let found = machine(&then, &here);
        assert_eq!(found.iter().map(|p| p.severity).collect::<Vec<_>>(), [Severity::Grave]);
        assert!(found[0].what.contains("AVX-512F, AVX-512 state"), "{}", found[0].what);
        let other = Machine { vdso: Vdso::here(), ..then.clone() };
        assert!(machine(&other, &then).is_empty() && machine(&then, &other).is_empty());
    }

    #[test]
    fn too_little_memory_is_said() {
        let left = |bytes| Some((bytes, "memory.max".to_owned()));
        assert!(memory(1 << 30, left(1 << 29)).is_some_and(|p| p.what.starts_with("1024 MiB of memory are needed, 512 MiB are free (memory.max)")));
        assert!(memory(1 << 30, left(1 << 31)).is_none() && memory(1, None).is_none());
    }
}
