//! Processes that share with each other what processes usually have for themselves (clone(2) with CLONE_FILES, CLONE_FS).

use std::cmp::Ordering;

const KCMP_FILES: libc::c_int = 2;
const KCMP_FS: libc::c_int = 3;

/// A process, and its parent.
pub type Who = (i32, i32);

/// Groups of two and more that share a table of descriptors.
pub fn descriptors(all: &[Who]) -> Vec<Vec<Who>> {
    groups(all, KCMP_FILES)
}

/// Groups of two and more that share working directory, root and umask.
pub fn directories(all: &[Who]) -> Vec<Vec<Who>> {
    groups(all, KCMP_FS)
}

/// Members of a group whose parent is not in it, less the first: nobody can fork them into it again.
pub fn strays(group: &[Who]) -> Vec<Who> {
    let has_parent = |w: &&Who| group.iter().any(|other| other.0 == w.1);
    group.iter().filter(|w| !has_parent(w)).skip(1).copied().collect()
}

/// The kernel orders what it compares, so equals meet by sorting.
fn groups(all: &[Who], what: libc::c_int) -> Vec<Vec<Who>> {
    let mut sorted = all.to_vec();
    sorted.sort_by(|a, b| compare(a.0, b.0, what));
    let same = |a: &Who, b: &Who| compare(a.0, b.0, what) == Ordering::Equal;
    sorted.chunk_by(same).filter(|g| g.len() > 1).map(<[Who]>::to_vec).collect()
}

/// kcmp(2); where it is denied, nothing is told to be shared.
fn compare(a: i32, b: i32, what: libc::c_int) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    // SAFETY: numbers only.
    match unsafe { libc::syscall(libc::SYS_kcmp, a, b, what, 0, 0) } {
        0 => Ordering::Equal,
        1 => Ordering::Less,
        2 => Ordering::Greater,
        _ => a.cmp(&b),
    }
}
