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
    of(pid, libc::RLIMIT_FSIZE).is_none_or(|l| l.rlim_max == libc::RLIM64_INFINITY)
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

/// Of a process that is another user's, too: of that prlimit(2) tells only with CAP_SYS_RESOURCE, which root in a container
/// may lack.
pub fn of(pid: i32, resource: u32) -> Option<libc::rlimit64> {
    limit(pid, resource, None).or_else(|| shown(&std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?, resource))
}

/// From /proc/PID/limits: a line of titles, then one for each resource in the order of their numbers.
fn shown(limits: &str, resource: u32) -> Option<libc::rlimit64> {
    const NAME: usize = 26;
    let line = limits.lines().nth(resource as usize + 1)?;
    let mut values = line.get(NAME..)?.split_ascii_whitespace().map(|word| match word {
        "unlimited" => Some(libc::RLIM64_INFINITY),
        number => number.parse().ok(),
    });
    Some(libc::rlimit64 { rlim_cur: values.next()??, rlim_max: values.next()?? })
}

fn limit(pid: i32, resource: u32, new: Option<libc::rlimit64>) -> Option<libc::rlimit64> {
    let mut old = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    let new = new.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: structs of the size that prlimit(2) takes, or NULL.
    (unsafe { libc::prlimit64(pid, resource, new, &mut old) } == 0).then_some(old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proc_shows_is_what_prlimit_tells() {
        let pid = std::process::id() as i32;
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
        for resource in 0..16 {
            let (told, shown) = (limit(pid, resource, None).unwrap(), shown(&limits, resource).unwrap());
            assert_eq!((told.rlim_cur, told.rlim_max), (shown.rlim_cur, shown.rlim_max), "resource {resource}");
        }
        assert!(shown("", 0).is_none());
    }
}
