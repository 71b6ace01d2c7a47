//! Checkpoint and restart of descriptors inside one process: capture, close, rebuild.
#![allow(dead_code)]

use ckpt_objects::*;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard};

/// Tests of one binary take turns: they share the folder, ports and descriptor numbers.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|e| e.into_inner())
}

#[derive(Default)]
pub struct Blobs(pub Vec<u8>);

impl BlobSink for Blobs {
    fn write_blob(&mut self, data: &mut dyn Read) -> io::Result<BlobRef> {
        let offset = self.0.len() as u64;
        let len = data.read_to_end(&mut self.0)? as u64;
        Ok(BlobRef { offset, len })
    }
}

impl BlobSource for Blobs {
    fn open_blob(&self, r: &BlobRef) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(&self.0[r.offset as usize..(r.offset + r.len) as usize]))
    }
}

pub fn dup(fd: RawFd) -> OwnedFd {
    // SAFETY: the descriptor is open for the time of the call.
    unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned().unwrap()
}

pub fn table(pid: i32, fds: &[RawFd]) -> ProcessFds {
    let one = |fd: &RawFd| ProcessFd {
        number: *fd,
        cloexec: false,
        fd: dup(*fd),
    };
    ProcessFds {
        pid,
        fds: fds.iter().map(one).collect(),
    }
}

pub fn pid() -> i32 {
    std::process::id() as i32
}

pub fn try_checkpoint(fds: &[RawFd]) -> Result<(ObjectSet, Blobs), CaptureError> {
    checkpoint_with(fds, false)
}

pub fn checkpoint_with(fds: &[RawFd], save_open_files: bool) -> Result<(ObjectSet, Blobs), CaptureError> {
    let mut blobs = Blobs::default();
    let mut ctx = CaptureContext {
        others_std: &[],
        std: [Some(0), Some(1), Some(2)],
        save_open_files,
        blobs: &mut blobs,
    };
    let set = capture(&[table(pid(), fds)], &mut ctx)?;
    Ok((through_image(&set), blobs))
}

pub fn checkpoint(fds: &[RawFd]) -> (ObjectSet, Blobs) {
    try_checkpoint(fds).unwrap()
}

/// As the image stores it.
pub fn through_image(set: &ObjectSet) -> ObjectSet {
    let bytes = bincode::serde::encode_to_vec(set, bincode::config::standard()).unwrap();
    bincode::serde::decode_from_slice(&bytes, bincode::config::standard())
        .unwrap()
        .0
}

pub fn restart(set: &ObjectSet, blobs: &Blobs) -> Rebuilt {
    try_restart(set, blobs, Vec::new()).unwrap()
}

pub fn try_restart(set: &ObjectSet, blobs: &Blobs, map: Vec<(PathBuf, PathBuf)>) -> Result<Rebuilt, RebuildError> {
    let ctx = RebuildContext {
        std: [Some(0), Some(1), Some(2)],
        given: Vec::new(),
        path_map: map,
        blobs,
        pid_of: Rc::new(|pid| pid),
        reserved: Vec::new(),
        outside: &open_outside(set),
        as_process: None,
    };
    rebuild(set, &ctx)
}

/// What is behind `number` after the restart.
pub fn at(set: &ObjectSet, rebuilt: &Rebuilt, number: RawFd) -> OwnedFd {
    let entry = set.processes[0].1.iter().find(|e| e.number == number).unwrap();
    rebuilt.fd(entry.object).unwrap().try_clone_to_owned().unwrap()
}

/// Capture, close the originals, rebuild, hand out what replaces them, in the order given.
pub fn cycle(fds: Vec<OwnedFd>) -> (Vec<OwnedFd>, ObjectSet, Rebuilt) {
    let numbers: Vec<RawFd> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
    let (set, blobs) = checkpoint(&numbers);
    drop(fds);
    let rebuilt = restart(&set, &blobs);
    let new = numbers.iter().map(|n| at(&set, &rebuilt, *n)).collect();
    (new, set, rebuilt)
}

pub fn own(fd: i32) -> OwnedFd {
    assert!(fd >= 0, "{}", io::Error::last_os_error());
    // SAFETY: a descriptor that a system call just returned.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

pub fn file(fd: OwnedFd) -> File {
    File::from(fd)
}

pub fn pipe() -> (OwnedFd, OwnedFd) {
    let mut fds = [0; 2];
    // SAFETY: room for both ends.
    assert_eq!(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    (own(fds[0]), own(fds[1]))
}

pub fn socketpair(kind: i32) -> (OwnedFd, OwnedFd) {
    let mut fds = [0; 2];
    // SAFETY: room for both ends.
    let done = unsafe { libc::socketpair(libc::AF_UNIX, kind | libc::SOCK_CLOEXEC, 0, fds.as_mut_ptr()) };
    assert_eq!(done, 0);
    (own(fds[0]), own(fds[1]))
}

pub fn nonblocking(fd: &OwnedFd) {
    fcntl(fd, libc::F_SETFL, fcntl(fd, libc::F_GETFL, 0) | libc::O_NONBLOCK);
}

pub fn fcntl(fd: &impl AsRawFd, command: i32, argument: i32) -> i32 {
    // SAFETY: commands with an integer argument.
    let result = unsafe { libc::fcntl(fd.as_raw_fd(), command, argument) };
    assert!(result >= 0, "fcntl {command}: {}", io::Error::last_os_error());
    result
}

pub fn read(fd: &impl AsRawFd, len: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; len];
    // SAFETY: a buffer of the length given.
    let n = unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), len) };
    let n = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
    buffer.truncate(n);
    Ok(buffer)
}

pub fn write(fd: &impl AsRawFd, data: &[u8]) -> io::Result<usize> {
    // SAFETY: a buffer of the length given.
    let n = unsafe { libc::send(fd.as_raw_fd(), data.as_ptr().cast(), data.len(), libc::MSG_NOSIGNAL) };
    if n >= 0 {
        return Ok(n as usize);
    }
    // SAFETY: a buffer of the length given.
    let n = unsafe { libc::write(fd.as_raw_fd(), data.as_ptr().cast(), data.len()) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

pub fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x as u8
    };
    (0..len).map(|_| next()).collect()
}

/// A folder of its own, removed at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("ckpt-objects-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn errno(result: io::Result<Vec<u8>>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}

pub fn fill(fd: &OwnedFd, seed: u64) -> Vec<u8> {
    let flags = fcntl(fd, libc::F_GETFL, 0);
    nonblocking(fd);
    let mut sent = Vec::new();
    let data = pattern(1 << 20, seed);
    while sent.len() < data.len() {
        match write(fd, &data[sent.len()..data.len().min(sent.len() + 3000)]) {
            Ok(n) => sent.extend_from_slice(&data[sent.len()..sent.len() + n]),
            Err(_) => break,
        }
    }
    fcntl(fd, libc::F_SETFL, flags);
    sent
}

pub fn read_exactly(fd: &OwnedFd, len: usize) -> Vec<u8> {
    let mut data = Vec::new();
    while data.len() < len {
        let piece = read(fd, len - data.len()).unwrap();
        assert!(!piece.is_empty(), "end after {} of {len}", data.len());
        data.extend(piece);
    }
    data
}

pub fn assert_empty(fd: &OwnedFd) {
    nonblocking(fd);
    assert_eq!(errno(read(fd, 10)), libc::EAGAIN);
}
