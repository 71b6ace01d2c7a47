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

/// Time of the processors so far, and what the host gave to others of it (steal, proc_stat(5)), in ticks.
fn ticks() -> Option<(u64, u64)> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let fields: Vec<u64> = stat.lines().next()?.split_ascii_whitespace().skip(1).filter_map(|w| w.parse().ok()).collect();
    // Time of guests is in that of users already.
    Some((fields.iter().take(8).sum(), *fields.get(7)?))
}

/// How much of a virtual machine's processors others had meanwhile.
pub struct Stolen(Option<(u64, u64)>);

impl Stolen {
    pub fn begin() -> Stolen {
        Stolen(ticks())
    }

    /// Percent, where there is something to say.
    pub fn said(&self) -> String {
        let share = self.0.zip(ticks()).map_or(0, |(a, b)| 100 * b.1.saturating_sub(a.1) / b.0.saturating_sub(a.0).max(1));
        if share > 0 { format!(", {share}% of the processors' time given to other machines by the host") } else { String::new() }
    }
}
