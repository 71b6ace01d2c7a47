//! What stands in the way of a restart, found before anything is touched.

use crate::kinds::file::{has_changed, FileState};
use crate::kinds::{tcp, tcpdiag};
use crate::kinds::unix::{path_of, UnixState};
use crate::model::*;
use crate::rebuild::map_path;
use crate::sock::{self, Options, Stage};
use crate::sys;
use std::collections::HashSet;
use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Fatal,
    /// The program would probably go wrong: only with --force.
    Grave,
    Risk,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.what)
    }
}

#[derive(Debug, Clone, Default)]
pub struct PreflightOptions {
    /// OLD=NEW prefixes.
    pub path_map: Vec<(PathBuf, PathBuf)>,
}

pub fn preflight(set: &ObjectSet, options: &PreflightOptions) -> Vec<Problem> {
    let mut problems = Vec::new();
    let with_content = |o: &Object| matches!(&o.kind, Kind::File(f) if f.content.is_some());
    let saved: HashSet<(u64, u64)> = set.objects.iter().filter(|o| with_content(o)).map(|o| (o.dev, o.ino)).collect();
    for (id, object) in set.ids() {
        let found = match &object.kind {
            Kind::File(state) if saved.contains(&(object.dev, object.ino)) => saved_file(state, options),
            Kind::File(state) => file(state, object.flags, options),
            Kind::Directory(state) if !state.deleted => missing(&map_path(state.path.as_path(), &options.path_map)),
            Kind::Reopen(state) if !state.deleted && state.path.starts_with(b"/") => {
                let path = map_path(state.path.as_path(), &options.path_map);
                if state.symlink && path.is_symlink() { None } else { missing(&path) }
            }
            Kind::Tcp(state) if state.state == tcp::LISTEN => {
                port(libc::SOCK_STREAM, state.domain, &state.name, &state.options)
            }
            Kind::Udp(state) => port(libc::SOCK_DGRAM, state.domain, &state.name, &state.options),
            Kind::Unix(state) => socket_name(state),
            _ => None,
        };
        let found = match (set.holder(id), &object.kind, found) {
            (Some((_, 0..=2)), Kind::File(_), Some((Severity::Fatal, what))) => {
                Some((Severity::Risk, format!("{what}; it gets that of ckpt_restart instead")))
            }
            (_, _, found) => found,
        };
        let holder = set
            .holder(id)
            .map(|(pid, number)| format!("process {pid}: descriptor {number}: "));
        problems.extend(found.map(|(severity, what)| Problem {
            severity,
            what: format!("{}{what}", holder.unwrap_or_default()),
        }));
    }
    problems
}

/// `--save-open-files`: said once, where the content is.
fn saved_file(state: &FileState, options: &PreflightOptions) -> Found {
    let path = map_path(state.path.as_path(), &options.path_map);
    let changed = state.content.is_some() && has_changed(state, &path);
    changed.then(|| (Severity::Risk, format!("{} is gone or has changed; its content of the checkpoint is put back", path.display())))
}

type Found = Option<(Severity, String)>;

fn missing(path: &std::path::Path) -> Found {
    let error = sys::stat(path).err()?;
    let hint = "put it back or name its new place (--map-path OLD=NEW)";
    Some((Severity::Fatal, format!("{}: {error}; {hint}", path.display())))
}

fn file(state: &FileState, flags: i32, options: &PreflightOptions) -> Found {
    if state.deleted.is_some() {
        return None;
    }
    let path = map_path(state.path.as_path(), &options.path_map);
    let Ok(now) = sys::stat(&path) else {
        return missing(&path);
    };
    if now.st_mode & libc::S_IFMT != libc::S_IFREG {
        return None;
    }
    let access = match flags & libc::O_ACCMODE {
        libc::O_RDONLY => libc::R_OK,
        libc::O_WRONLY => libc::W_OK,
        _ => libc::R_OK | libc::W_OK,
    };
    let name = sys::cstring(&path).ok()?;
    // SAFETY: a NUL-terminated path.
    if unsafe { libc::access(name.as_ptr(), access) } != 0 {
        return Some((
            Severity::Fatal,
            format!("{}: {}", path.display(), io::Error::last_os_error()),
        ));
    }
    if (now.st_size as u64) < state.offset.min(state.size) {
        let what = format!(
            "{} is shorter now ({} bytes) than the program's place in it",
            path.display(),
            now.st_size
        );
        return Some((Severity::Risk, what));
    }
    let changed = now.st_size as u64 != state.size || (now.st_mtime, now.st_mtime_nsec) != state.mtime;
    let what = format!("{} has changed since the checkpoint", path.display());
    changed.then_some((Severity::Risk, what))
}

/// Can the address be had? The options let it share what the program let it share.
fn port(kind: i32, domain: i32, name: &[u8], options: &Options) -> Found {
    let (_, number) = tcp::place(name).filter(|p| p.1 != 0)?;
    let fd = sock::socket(domain, kind, 0).ok()?;
    options.apply(fd.as_raw_fd(), Stage::Early);
    sock::set_int(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_REUSEADDR, 1).ok()?;
    let error = sock::bind(fd.as_raw_fd(), name).err()?;
    if kind == libc::SOCK_STREAM && tcpdiag::only_remains(number, true).unwrap_or(false) {
        let freed = sock::bind(fd.as_raw_fd(), name).is_ok();
        let what = format!("TCP port {number} is kept by the ended program's connections; waiting up to a minute");
        return (!freed).then_some((Severity::Risk, what));
    }
    let protocol = if kind == libc::SOCK_STREAM { "TCP" } else { "UDP" };
    let severity = match error.raw_os_error() {
        Some(libc::EADDRINUSE) => Severity::Fatal,
        _ => Severity::Risk,
    };
    Some((
        severity,
        format!("{protocol} port {number}: {error}; stop the program that has it"),
    ))
}

fn socket_name(state: &UnixState) -> Found {
    let file = state.file.as_ref().filter(|f| f.linked && state.listening.is_some())?;
    let path = crate::Bytes::from(path_of(&state.name)?);
    let full = file.folder.as_path().join(path.as_path());
    let mut address = state.name.0[..2].to_vec();
    address.extend_from_slice(&crate::Bytes::from(full.as_path()));
    address.push(0);
    let fd = sock::socket(libc::AF_UNIX, state.kind, 0).ok()?;
    sock::connect(fd.as_raw_fd(), &address).ok()?;
    Some((
        Severity::Fatal,
        format!("{} is in use by a running program; stop it", full.display()),
    ))
}
