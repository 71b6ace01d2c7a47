//! What the figures were taken on.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Processor, kernel, memory, filesystem under `dir`; no host names.
pub fn name(dir: &Path) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, key: &str| text.lines().find_map(|l| l.strip_prefix(key)?.split_once(':').map(|v| v.1.trim().to_owned()));
    let model = value(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown processor".into());
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let kb = value(&read("/proc/meminfo"), "MemTotal").and_then(|v| v.trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0);
    let kernel = read("/proc/sys/kernel/osrelease");
    let folder = Command::new("stat").args(["-f", "-c", "%T"]).arg(dir).output().map(|o| o.stdout).unwrap_or_default();
    let folder = String::from_utf8_lossy(&folder).trim().to_owned();
    format!("{model}, {cores} processors, {} GiB, Linux {}, images on {folder}", kb >> 20, kernel.trim())
}
