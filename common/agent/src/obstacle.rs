//! What stands in the way of a checkpoint of one process, told before it is touched.

use crate::{procfs, sandbox};
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
    traced(pid, &status).or_else(|| sandbox::obstacle(pid, &status)).or_else(|| namespaced(pid)).or_else(|| chrooted(pid))
}

/// A tracer takes every signal first.
fn traced(pid: i32, status: &str) -> Option<String> {
    let tracer = procfs::status_value(status, "TracerPid").filter(|t| *t != "0")?;
    let stopped = procfs::stat(pid).is_some_and(|s| s.state == 't');
    stopped.then(|| format!("process {tracer} traces it and holds it stopped; let it detach first"))
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
