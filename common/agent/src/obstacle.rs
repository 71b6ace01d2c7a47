//! What stands in the way of a checkpoint of one process, told before it is touched.

use crate::procfs;
use crate::tasks::Tasks;
use std::path::PathBuf;

/// Namespaces, and how the refusal calls them.
const NAMESPACES: [(&str, &str); 7] = [
    ("mnt", "mount"),
    ("pid_for_children", "pid"),
    ("net", "network"),
    ("ipc", "IPC"),
    ("uts", "host name (UTS)"),
    ("user", "user"),
    ("time_for_children", "time"),
];

/// One line with the reason and, where there is one, the way out.
pub fn of(pid: i32) -> Option<String> {
    let status = procfs::status(pid)?;
    traced(pid, &status).or_else(|| sandboxed(pid, &status)).or_else(|| namespaced(pid)).or_else(|| chrooted(pid))
}

/// A tracer takes every signal first.
fn traced(pid: i32, status: &str) -> Option<String> {
    let tracer = procfs::status_value(status, "TracerPid").filter(|t| *t != "0")?;
    let stopped = procfs::stat(pid).is_some_and(|s| s.state == 't');
    stopped.then(|| format!("process {tracer} traces it and holds it stopped; let it detach first"))
}

/// Our own calls in the process could be what its filter kills for. A filter that we have too is the surroundings'.
fn sandboxed(pid: i32, status: &str) -> Option<String> {
    let (mode, filters) = seccomp(status);
    let own = procfs::status(std::process::id() as i32).map_or((0, 0), |s| seccomp(&s));
    let stricter = |(m, f): (u32, u32)| m > own.0 || m == 1 || f > own.1;
    let of_thread = |_, status: &[u8]| seccomp(&String::from_utf8_lossy(status));
    let found = stricter((mode, filters)) || Tasks::of(pid).is_some_and(|mut t| t.look("status", of_thread).any(stricter));
    found.then(|| "it has a seccomp filter, which cannot be read back; start it without its sandbox option".into())
}

/// Mode, number of filters.
fn seccomp(status: &str) -> (u32, u32) {
    // They are side by side; every thread is asked.
    let status = status.find("\nSeccomp:").map_or("", |at| status.get(at..).unwrap_or_default());
    let number = |key| procfs::status_value(status, key).and_then(|v| v.parse().ok()).unwrap_or(0);
    (number("Seccomp"), number("Seccomp_filters"))
}

fn namespaced(pid: i32) -> Option<String> {
    let of = |who: i32, name: &str| -> Option<PathBuf> { procfs::link(who, &format!("ns/{name}")) };
    let own = std::process::id() as i32;
    let differs = |name: &str| of(pid, name).zip(of(own, name)).is_some_and(|(theirs, ours)| theirs != ours);
    let (_, which) = NAMESPACES.iter().find(|(name, _)| differs(name))?;
    Some(format!("it is in a {which} namespace of its own, which is not supported; start it without, or ckpt_launch inside"))
}

/// Its library finds no /proc there.
fn chrooted(pid: i32) -> Option<String> {
    let (theirs, ours) = (procfs::link(pid, "root")?, procfs::link(std::process::id() as i32, "root")?);
    (theirs != ours).then(|| "it has called chroot, which is not supported; start it without, or ckpt_launch inside".into())
}
