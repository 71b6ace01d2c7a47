//! The threads of a process as /proc/PID/task shows them. A process may have thousands and they are looked at in the pause:
//! a file costs three system calls and no search from the root.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd};

pub struct Tasks {
    folder: File,
    tids: Vec<i32>,
    text: Vec<u8>,
}

impl Tasks {
    /// None: there is no such process (any more).
    pub fn of(pid: i32) -> Option<Tasks> {
        let path = format!("/proc/{pid}/task");
        let tids = fs::read_dir(&path).ok()?.flatten().filter_map(|t| t.file_name().to_str()?.parse().ok()).collect();
        Some(Tasks { folder: File::open(path).ok()?, tids, text: Vec::with_capacity(4096) })
    }

    pub fn tids(&self) -> Vec<i32> {
        self.tids.clone()
    }

    /// File `name` of a thread; None where the thread has ended.
    pub fn read(&mut self, tid: i32, name: &str) -> Option<&[u8]> {
        let path = CString::new(format!("{tid}/{name}")).ok()?;
        // SAFETY: the path ends with its zero.
        let fd = unsafe { libc::openat(self.folder.as_raw_fd(), path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
        if fd < 0 {
            return None;
        }
        // SAFETY: a new descriptor that nobody else owns.
        let mut file = unsafe { File::from_raw_fd(fd) };
        let mut piece = [0; 4096];
        self.text.clear();
        loop {
            match file.read(&mut piece) {
                Ok(0) => return Some(&self.text),
                Ok(n) => self.text.extend_from_slice(piece.get(..n)?),
                Err(_) => return None,
            }
        }
    }

    /// What `look` makes of file `name`, thread by thread, of those that are there.
    pub fn look<'a, T>(&'a mut self, name: &'a str, look: impl Fn(i32, &[u8]) -> T + 'a) -> impl Iterator<Item = T> + 'a {
        self.tids().into_iter().filter_map(move |tid| self.read(tid, name).map(|text| look(tid, text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_of_ours_has_its_number() {
        let (stop, wait) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || wait.recv());
        let mut tasks = Tasks::of(std::process::id() as i32).unwrap_or_else(|| panic!("we are there"));
        let same = |tid: i32, text: &[u8]| text.starts_with(format!("{tid} (").as_bytes());
        let found: Vec<bool> = tasks.look("stat", same).collect();
        assert!(found.len() >= 2 && found.iter().all(|&same| same));
        drop(stop);
        let _ = other.join();
        assert!(Tasks::of(-1).is_none());
    }
}
