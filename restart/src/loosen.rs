//! A program may hold a file open that its mode lets nobody open any more (chmod 0 after the open, a folder closed behind
//! it). Where the user owns what is in the way its mode is made wider, and put back before the program runs.

use crate::image_set::Member;
use crate::preflight::mapped;
use ckpt_image::{MapKind, MapMeta};
use ckpt_objects::{Kind, Object};
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Paths with the modes that they had.
#[derive(Default)]
pub struct Loosened(Vec<(PathBuf, u32)>);

impl Loosened {
    pub fn of(members: &[Member], map: &[(PathBuf, PathBuf)]) -> Loosened {
        let mut out = Loosened::default();
        for m in members {
            m.meta.objects.objects.iter().filter_map(opened).for_each(|(path, rights)| out.reach(&mapped(path, map), rights));
            let fifos = m.meta.objects.pipes.iter().filter_map(|p| p.fifo.as_ref()).filter(|f| !f.deleted);
            fifos.for_each(|f| out.reach(&mapped(&f.path, map), libc::R_OK | libc::W_OK));
            for body in m.meta.processes.iter().filter_map(|p| p.body.as_ref()) {
                out.reach(&mapped(&body.cwd, map), libc::X_OK);
                body.maps.iter().filter_map(mapping).for_each(|(path, rights)| out.reach(&mapped(path, map), rights));
            }
        }
        out
    }

    /// Folders first.
    fn reach(&mut self, path: &Path, rights: i32) {
        if !path.is_absolute() || allows(path, rights) {
            return;
        }
        let mut folders: Vec<&Path> = path.ancestors().skip(1).collect();
        folders.reverse();
        if folders.iter().all(|folder| self.allow(folder, libc::X_OK)) {
            self.allow(path, rights);
        }
    }

    fn allow(&mut self, path: &Path, rights: i32) -> bool {
        if allows(path, rights) {
            return true;
        }
        // SAFETY: only asks.
        let user = unsafe { libc::geteuid() };
        let Some(now) = fs::metadata(path).ok().filter(|now| now.uid() == user) else { return false };
        let mode = now.mode() & 0o7777;
        let wider = fs::set_permissions(path, Permissions::from_mode(mode | (rights as u32) << 6));
        if wider.is_ok() {
            self.0.push((path.to_path_buf(), mode));
        }
        wider.is_ok()
    }

    /// The innermost first: it may lie behind the others.
    pub fn put_back(&mut self) {
        for (path, mode) in self.0.drain(..).rev() {
            if let Err(e) = fs::set_permissions(&path, Permissions::from_mode(mode)) {
                eprintln!("ckpt_restart: risk: the mode of {} cannot be put back to {mode:o}: {e}", path.display());
            }
        }
    }
}

impl Drop for Loosened {
    fn drop(&mut self) {
        self.put_back();
    }
}

fn allows(path: &Path, rights: i32) -> bool {
    let Ok(name) = std::ffi::CString::new(path.as_os_str().as_bytes()) else { return false };
    // SAFETY: a NUL-terminated path.
    unsafe { libc::access(name.as_ptr(), rights) == 0 }
}

/// What is opened again by its name, and how.
fn opened(object: &Object) -> Option<(&[u8], i32)> {
    let rights = match object.flags & libc::O_ACCMODE {
        _ if object.flags & libc::O_PATH != 0 => libc::F_OK,
        libc::O_RDONLY => libc::R_OK,
        libc::O_WRONLY => libc::W_OK,
        _ => libc::R_OK | libc::W_OK,
    };
    match &object.kind {
        Kind::File(f) if f.deleted.is_none() => Some((&f.path, rights)),
        Kind::Directory(d) if !d.deleted => Some((&d.path, rights)),
        Kind::Reopen(r) if !r.deleted && !r.symlink => Some((&r.path, rights)),
        _ => None,
    }
}

fn mapping(map: &MapMeta) -> Option<(&[u8], i32)> {
    let MapKind::File(f) = &map.kind else { return None };
    let rights = if map.writes_through() { libc::R_OK | libc::W_OK } else { libc::R_OK };
    (!f.deleted).then_some((&f.path[..], rights))
}
