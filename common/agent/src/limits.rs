//! Resource limits that a checkpoint could run into: raised for the pause as far as the process itself might, then put
//! back.

use std::os::fd::OwnedFd;

const RESOURCES: [u32; 7] = [
    libc::RLIMIT_AS,
    libc::RLIMIT_DATA,
    libc::RLIMIT_NOFILE,
    libc::RLIMIT_NPROC,
    libc::RLIMIT_FSIZE,
    libc::RLIMIT_SIGPENDING,
    libc::RLIMIT_MEMLOCK,
];

/// The limits that were raised, put back when this is dropped.
pub struct Raised {
    pid: i32,
    before: Vec<(u32, libc::rlimit64)>,
}

impl Raised {
    pub fn none(pid: i32) -> Raised {
        Raised { pid, before: Vec::new() }
    }

    /// While the process runs it could see this, and what it sets itself meanwhile would be lost: only where it does not
    /// come to a stop otherwise.
    pub fn raise(&mut self) {
        let pid = self.pid;
        for resource in RESOURCES {
            let Some(was) = limit(pid, resource, None).filter(|l| l.rlim_cur < l.rlim_max) else { continue };
            if limit(pid, resource, Some(libc::rlimit64 { rlim_cur: was.rlim_max, ..was })).is_some() {
                self.before.push((resource, was));
            }
        }
    }

    pub fn put_back(&mut self) {
        for (resource, was) in self.before.drain(..) {
            limit(self.pid, resource, Some(was));
        }
    }

    /// The process's own limits instead of ours, in a list by resource number.
    pub fn correct(&self, limits: &mut [(u64, u64)]) {
        for (resource, was) in &self.before {
            limits[*resource as usize] = (was.rlim_cur, was.rlim_max);
        }
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        self.put_back();
    }
}

/// May the process write files of any size?
pub fn writes_freely(pid: i32) -> bool {
    limit(pid, libc::RLIMIT_FSIZE, None).is_none_or(|l| l.rlim_max == libc::RLIM64_INFINITY)
}

/// Memory to fill for a process that may not; sparse, so that it may be large.
pub fn sheet_for(pid: i32) -> Option<OwnedFd> {
    const ROOM: i64 = 1 << 30;
    if writes_freely(pid) {
        return None;
    }
    let fd = nix::sys::memfd::memfd_create(c"ckpt-sheet", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).ok()?;
    nix::unistd::ftruncate(&fd, ROOM).ok()?;
    Some(fd)
}

fn limit(pid: i32, resource: u32, new: Option<libc::rlimit64>) -> Option<libc::rlimit64> {
    let mut old = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    let new = new.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: structs of the size that prlimit(2) takes, or NULL.
    (unsafe { libc::prlimit64(pid, resource, new, &mut old) } == 0).then_some(old)
}
