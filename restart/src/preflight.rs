//! What would go wrong later is found before anything is started, and listed together.

use crate::image_set::Member;
use crate::options::Options;
use ckpt_image::{FileIdentity, MapKind};
use ckpt_objects::{PreflightOptions, Problem, Severity};
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
    let objects = PreflightOptions { path_map: options.map_path.clone() };
    for m in members {
        problems.extend(ckpt_objects::preflight(&m.meta.objects, &objects));
        for body in m.meta.processes.iter().filter_map(|p| p.body.as_ref()) {
            let maps = body.maps.iter().filter_map(|m| match &m.kind {
                MapKind::File(f) if !f.deleted || m.shared => Some((f, m.shared)),
                _ => None,
            });
            for (file, shared) in maps {
                let saved = !shared && m.meta.files.iter().any(|s| s.identity == *file);
                if seen.insert(file.path.clone()) && !saved {
                    problems.extend(check_file(file, shared, &options.map_path));
                }
            }
            let cwd = mapped(&body.cwd, &options.map_path);
            if seen.insert(body.cwd.clone()) && !cwd.is_dir() && !body.cwd.ends_with(b" (deleted)") {
                problems.push(fatal(format!("{}: the working directory is missing; make it, or give --map-path", cwd.display())));
            }
        }
    }
    problems
}

fn fatal(what: String) -> Problem {
    Problem { severity: Severity::Fatal, what }
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
            Some(Problem { severity: Severity::Risk, what: format!("{shown}: changed since the checkpoint, but mapped by the program") })
        }
        Ok(_) => None,
    }
}
