//! Is there room for mappings of ours in a process, by number and by address? Can its own be brought back?

use ckpt_image::{MapKind, MapMeta};
use ckpt_sys::procfs::map_line;
use std::fs;

/// Mappings beside the program's own that a restart has for a while: its restorer, the table of ids.
const OURS: usize = 16;
/// What an arena needs, and a little more.
pub const ARENA: u64 = 8 << 20;
/// mmap(2) gives nothing below, nor above.
const LOWEST: u64 = 64 << 10;
const HIGHEST: u64 = 0x7fff_ffff_f000;

/// Why a process with so many mappings cannot be brought back here.
pub fn too_many(count: usize) -> Option<String> {
    let most: usize = fs::read_to_string("/proc/sys/vm/max_map_count").ok()?.trim().parse().ok()?;
    let what = || format!("it has {count} mappings where vm.max_map_count allows {most}, and a restart needs {OURS} for itself; raise that (sysctl)");
    (count + OURS > most).then(what)
}

/// What is the kernel's or a device's: found here where the descriptor it was mapped by is closed or no reason to refuse.
const NOT_FILES: [&[u8]; 4] = [b"socket:[", b"anon_inode:", b"/secretmem", b"/dmabuf:"];

/// Why a mapping cannot be brought back.
pub fn of_kernel(maps: &[MapMeta]) -> Option<String> {
    let named = |m: &MapMeta| match &m.kind {
        MapKind::File(f) => NOT_FILES.iter().any(|name| f.path.starts_with(name)).then(|| String::from_utf8_lossy(&f.path).into_owned()),
        _ => None,
    };
    let name = maps.iter().filter(|m| m.shared).find_map(named)?;
    Some(format!("it has mapped {}, which is the kernel's and cannot be read back; try again when it has unmapped it", name.trim_start_matches('/')))
}

/// Why a process can map nothing more: to the kernel's number, or all addresses are taken.
pub fn no_room(pid: i32) -> Option<String> {
    let text = fs::read(format!("/proc/{pid}/maps")).ok()?;
    let maps: Vec<(u64, u64)> = text.split(|&b| b == b'\n').filter_map(map_line).map(|m| (m.start, m.end)).collect();
    let gap = largest_gap(&maps);
    let full = || format!("it has taken all of its address space (the largest gap has {} KiB), of which a checkpoint needs {} MB; let it reserve less", gap >> 10, ARENA >> 20);
    too_many(maps.len()).or_else(|| (!maps.is_empty() && gap < ARENA).then(full))
}

fn largest_gap(maps: &[(u64, u64)]) -> u64 {
    let (starts, ends) = (maps.iter().map(|m| m.0.min(HIGHEST)), maps.iter().map(|m| m.1));
    let from = std::iter::once(LOWEST).chain(ends);
    starts.chain([HIGHEST]).zip(from).map(|(start, end)| start.saturating_sub(end)).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_found_below_between_and_above() {
        let end = HIGHEST;
        assert_eq!(largest_gap(&[(LOWEST, end)]), 0);
        assert_eq!(largest_gap(&[(LOWEST + 4096, end)]), 4096);
        assert_eq!(largest_gap(&[(LOWEST, 1 << 20), (3 << 20, end - 4096), (u64::MAX - 8191, u64::MAX - 4095)]), 2 << 20);
        assert_eq!(largest_gap(&[(LOWEST, end - (5 << 20))]), 5 << 20);
    }
}
