//! The per-user folder with the socket, lock and key of each coordinator of this host.
//!
//! `PORT.lock` is held by flock for a coordinator's life and decides who owns the port; `PORT.sock` is its socket;
//! `PORT.key`, where it listens on TCP, admits clients of other hosts.

use nix::fcntl::{Flock, FlockArg};
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum RunFolderError {
    #[error("port {0} has a coordinator already; give another --coord-port, or join that one")]
    PortTaken(u16),
    #[error("no folder for the coordinator's socket can be used ({0}); give one of your own with --tmpdir")]
    NoFolder(String),
}

/// Where run folders can be, best first. Clients look in all of them.
pub fn candidates(tmpdir: Option<&Path>) -> Vec<PathBuf> {
    let uid = nix::unistd::geteuid();
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let name = format!("ckpt-{uid}");
    let mut folders = Vec::new();
    folders.extend(variable("XDG_RUNTIME_DIR").map(|dir| dir.join("ckpt")));
    folders.extend(tmpdir.map(Path::to_owned).or_else(|| variable("CKPT_TMPDIR")).map(|dir| dir.join(&name)));
    folders.push(PathBuf::from(format!("/run/user/{uid}/ckpt")));
    folders.extend(["/tmp", "/dev/shm", "/var/tmp"].map(|dir| Path::new(dir).join(&name)));
    folders.extend(variable("HOME").map(|home| home.join(".cache/ckpt")));
    folders = folders.iter().filter_map(|folder| std::path::absolute(folder).ok()).collect();
    let mut seen = std::collections::HashSet::new();
    folders.retain(|folder| seen.insert(folder.clone()));
    folders
}

pub fn socket_path(folder: &Path, port: u16) -> PathBuf {
    folder.join(format!("{port}.sock"))
}

pub fn key_path(folder: &Path, port: u16) -> PathBuf {
    folder.join(format!("{port}.key"))
}

/// A real folder that this user owns and nobody else can enter.
pub fn is_safe(folder: &Path) -> bool {
    let uid = nix::unistd::geteuid().as_raw();
    folder.symlink_metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == uid && meta.mode() & 0o077 == 0)
}

fn prepare(folder: &Path) -> Result<(), String> {
    let made = DirBuilder::new().mode(0o700).create(folder);
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(format!("{}: {error}", folder.display())),
        _ if !is_safe(folder) => Err(format!("{}: not a folder of this user alone", folder.display())),
        _ => Ok(()),
    }
}

/// The ownership of a port: its lock and its listening socket. Dropping it removes both files.
#[derive(Debug)]
pub struct Claim {
    pub folder: PathBuf,
    pub port: u16,
    pub listener: UnixListener,
    lock: Flock<File>,
}

/// Claims `port` in the first folder that can be used.
pub fn claim(folders: &[PathBuf], port: u16) -> Result<Claim, RunFolderError> {
    let taken_elsewhere = |folder: &&PathBuf| is_safe(folder) && is_locked(folder, port);
    if folders.iter().any(|folder| taken_elsewhere(&folder)) {
        return Err(RunFolderError::PortTaken(port));
    }
    let mut reasons = Vec::new();
    for folder in folders {
        match claim_in(folder, port) {
            Ok(Some(claim)) => return Ok(claim),
            Ok(None) => return Err(RunFolderError::PortTaken(port)),
            Err(reason) => reasons.push(reason),
        }
    }
    Err(RunFolderError::NoFolder(reasons.join("; ")))
}

/// Claims a random port from the range that nothing well-known uses.
pub fn claim_any(folders: &[PathBuf]) -> Result<Claim, RunFolderError> {
    let mut refused = RunFolderError::NoFolder("every random port was taken".into());
    for _ in 0..64 {
        let random = getrandom::u32().unwrap_or_else(|_| std::process::id());
        match claim(folders, 20_000 + (random % 40_000) as u16) {
            Err(error @ RunFolderError::PortTaken(_)) => refused = error,
            other => return other,
        }
    }
    Err(refused)
}

/// `None` where another coordinator holds the port.
fn claim_in(folder: &Path, port: u16) -> Result<Option<Claim>, String> {
    prepare(folder)?;
    let named = |error: io::Error| format!("{}: {error}", folder.display());
    let Some(lock) = take_lock(folder, port).map_err(named)? else { return Ok(None) };
    let socket = socket_path(folder, port);
    // The lock is ours, so whoever bound this socket is gone.
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).map_err(named)?;
    std::fs::set_permissions(&socket, Permissions::from_mode(0o600)).map_err(named)?;
    listener.set_nonblocking(true).map_err(named)?;
    Ok(Some(Claim { folder: folder.to_owned(), port, listener, lock }))
}

fn lock_path(folder: &Path, port: u16) -> PathBuf {
    folder.join(format!("{port}.lock"))
}

fn is_locked(folder: &Path, port: u16) -> bool {
    let Ok(file) = File::open(lock_path(folder, port)) else { return false };
    matches!(Flock::lock(file, FlockArg::LockSharedNonblock), Err((_, nix::Error::EWOULDBLOCK)))
}

fn take_lock(folder: &Path, port: u16) -> io::Result<Option<Flock<File>>> {
    let path = lock_path(folder, port);
    loop {
        let flags = nix::fcntl::OFlag::O_NOFOLLOW.bits();
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).custom_flags(flags).open(&path)?;
        let lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((_, nix::Error::EWOULDBLOCK)) => return Ok(None),
            Err((_, error)) => return Err(error.into()),
        };
        // The owner before us may have removed the file between our open and our lock.
        if path.symlink_metadata().is_ok_and(|now| lock.metadata().is_ok_and(|held| now.ino() == held.ino())) {
            return Ok(Some(lock));
        }
    }
}

impl Claim {
    /// The default key file of this port.
    pub fn key_path(&self) -> PathBuf {
        key_path(&self.folder, self.port)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        for path in [socket_path(&self.folder, self.port), self.key_path(), lock_path(&self.folder, self.port)] {
            let _ = std::fs::remove_file(path);
        }
        let _ = &self.lock;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("ckpt-test-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn a_port_has_one_owner_and_is_free_again_after() {
        let folders = [folder("one")];
        let claim_one = claim(&folders, 1).unwrap();
        assert!(matches!(claim(&folders, 1), Err(RunFolderError::PortTaken(1))));
        assert!(claim(&folders, 2).is_ok());
        drop(claim_one);
        assert!(!socket_path(&folders[0], 1).exists());
        assert!(claim(&folders, 1).is_ok());
        std::fs::remove_dir_all(&folders[0]).unwrap();
    }

    #[test]
    fn a_port_taken_in_a_later_folder_is_taken() {
        let (first, second) = (folder("first"), folder("second"));
        let held = claim(std::slice::from_ref(&second), 1).unwrap();
        assert!(matches!(claim(&[first, second.clone()], 1), Err(RunFolderError::PortTaken(1))));
        drop(held);
        std::fs::remove_dir_all(second).unwrap();
    }

    #[test]
    fn the_socket_of_a_dead_coordinator_is_replaced() {
        let folders = [folder("stale")];
        prepare(&folders[0]).unwrap();
        drop(UnixListener::bind(socket_path(&folders[0], 1)).unwrap());
        let claimed = claim(&folders, 1).unwrap();
        std::os::unix::net::UnixStream::connect(socket_path(&folders[0], 1)).unwrap();
        drop(claimed);
        std::fs::remove_dir_all(&folders[0]).unwrap();
    }

    #[test]
    fn folders_of_others_are_passed_over() {
        let (open, link, good) = (folder("open"), folder("link"), folder("good"));
        DirBuilder::new().mode(0o700).create(&open).unwrap();
        std::fs::set_permissions(&open, Permissions::from_mode(0o755)).unwrap();
        prepare(&good).unwrap();
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(&good, &link).unwrap();
        let long = std::env::temp_dir().join("x".repeat(120));
        let claimed = claim(&[open.clone(), link.clone(), long.clone(), good.clone()], 1).unwrap();
        assert_eq!(claimed.folder, good);
        drop(claimed);
        std::fs::remove_file(link).unwrap();
        for path in [open, good, long] {
            let _ = std::fs::remove_dir_all(path);
        }
    }
}
