//! Is there room for a copy-on-write copy? While the image is written the program may touch any of its pages, and each
//! one touched is copied.

use std::fs;
use std::path::{Path, PathBuf};

/// Of `anonymous` bytes so much may be needed once more: the writer gives pages up as it goes, so not all are copied.
const SHARE: (u64, u64) = (3, 4);

/// Why the programs, which have `anonymous` bytes of memory of their own, should rather be held; None: they need not be.
pub fn is_short(anonymous: u64) -> Option<String> {
    let needed = if ended_as_a_whole() { anonymous } else { anonymous / SHARE.1 * SHARE.0 };
    let (left, whose) = left_here()?;
    let mb = |n: u64| n / 1_000_000;
    (left < needed).then(|| format!("held: memory is short ({whose} leaves {} MB, the programs have {} MB)", mb(left), mb(anonymous)))
}

/// Bytes that this process and its children can still have, and what says so.
pub fn left_here() -> Option<(u64, String)> {
    [(system(), "MemAvailable".to_owned())].into_iter().chain(groups()).min_by_key(|l| l.0)
}

/// Bytes; without /proc/meminfo memory is plenty.
fn system() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kb = |key: &str| text.lines().find_map(|l| l.strip_prefix(key)?.trim_end_matches(" kB").trim().parse::<u64>().ok());
    kb("MemAvailable:").map_or(u64::MAX, |n| (n + kb("SwapFree:").unwrap_or(0)) * 1024)
}

/// Where memory runs out in one of our groups, all of it is ended, not the copy alone (memory.oom.group).
fn ended_as_a_whole() -> bool {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    own_folder(&text).is_some_and(|folder| whole(&folder))
}

fn whole(folder: &Path) -> bool {
    folder.ancestors().any(|group| fs::read_to_string(group.join("memory.oom.group")).is_ok_and(|t| t.trim() == "1"))
}

/// In the hierarchy of version 2.
fn own_folder(cgroup: &str) -> Option<PathBuf> {
    cgroup.lines().find_map(|l| l.strip_prefix("0::/")).map(|p| Path::new("/sys/fs/cgroup").join(p))
}

/// What each control group above us leaves, and the file that says so.
fn groups() -> Vec<(u64, String)> {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let second = own_folder(&text).map(|folder| (folder, V2));
    let first = text.lines().find_map(|l| l.split_once(":memory:/")).map(|p| (Path::new("/sys/fs/cgroup/memory").join(p.1), V1));
    second.into_iter().chain(first).flat_map(|(folder, names)| above(&folder, &names)).collect()
}

/// Limits, what is used of them, and the part of it that the kernel takes back when it must.
struct Names(&'static [&'static str], &'static str, &'static str);
const V2: Names = Names(&["memory.max", "memory.high"], "memory.current", "inactive_file ");
const V1: Names = Names(&["memory.limit_in_bytes"], "memory.usage_in_bytes", "total_inactive_file ");

fn above(folder: &Path, names: &Names) -> Vec<(u64, String)> {
    let groups = folder.ancestors().take_while(|f| f.starts_with("/sys/fs/cgroup")).map(PathBuf::from);
    groups.flat_map(|group| names.0.iter().filter_map(move |limit| Some((left(&group, limit, names)?, (*limit).to_owned())))).collect()
}

fn left(group: &Path, limit: &str, names: &Names) -> Option<u64> {
    let number = |name: &str| fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
    let (limit, used) = (number(limit)?, number(names.1)?);
    let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let cache = stat.lines().find_map(|l| l.strip_prefix(names.2)?.trim().parse().ok()).unwrap_or(0);
    Some(limit.saturating_sub(used.saturating_sub(cache)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_larger_than_the_machine_is_held() {
        assert!(is_short(1 << 50).is_some_and(|why| why.contains("memory is short")));
        assert_eq!(is_short(0), None);
    }

    #[test]
    fn a_group_leaves_its_limit_less_what_cannot_be_taken_back() {
        let group = std::env::temp_dir().join(format!("ckpt-room-{}", std::process::id()));
        fs::create_dir_all(&group).unwrap();
        for (name, text) in [("memory.max", "1000\n"), ("memory.high", "max\n"), ("memory.current", "700\n"), ("memory.stat", "anon 5\ninactive_file 100\n")] {
            fs::write(group.join(name), text).unwrap();
        }
        assert_eq!((left(&group, "memory.max", &V2), left(&group, "memory.high", &V2)), (Some(400), None));
        fs::write(group.join("memory.oom.group"), "1\n").unwrap();
        assert!(whole(&group.join("below")) && !whole(Path::new("/nowhere")));
        fs::remove_dir_all(&group).unwrap();
    }
}
