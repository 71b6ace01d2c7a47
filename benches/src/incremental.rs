//! A second checkpoint of a program that has changed little, and a restart that does not wait for its memory.

use crate::measure::{Bench, median};
use crate::table::{Row, Table};
use crate::ticker::Ticker;
use crate::tool::Tool;
use std::io;

pub fn rows(b: &Bench, t: &mut Table) -> io::Result<()> {
    if t.wants("1 GiB, 1% touched") {
        changed_little(b, t)?;
    }
    for mib in [16, 1024, 8192] {
        let name = format!("{mib} MiB: lazy restart to next step");
        // As much memory again is needed for the image in the cache.
        if t.wants(&name) && (mib as u64) * 5 / 2 < available_mib() {
            t.add(Row::seconds(&name, lazy(b, mib)?, 0.06));
        }
    }
    Ok(())
}

fn changed_little(b: &Bench, t: &mut Table) -> io::Result<()> {
    let dir = b.fresh("incremental")?;
    let ticker = Ticker::new(&dir, 1024, "hundredth")?;
    let mut run = Tool::Ckpt.start(&b.bin, &dir, &b.dir.join("ticker"), &ticker, &["--incremental=1000"])?;
    ticker.settle();
    let full = run.checkpoint()?;
    let full_bytes = run.newest_bytes() as f64;
    let (mut pauses, mut commands, mut bytes, mut forks) = (vec![], vec![], vec![], vec![]);
    for _ in 0..b.rounds {
        forks.push(ticker.fork()?);
        ticker.settle();
        commands.push(run.checkpoint()?);
        pauses.push(ticker.gap());
        bytes.push(run.newest_bytes() as f64 / full_bytes);
    }
    drop(run);
    let _ = std::fs::remove_dir_all(&dir);
    let (command, pause) = (median(commands), median(pauses));
    t.add(Row::seconds("1 GiB, 1% touched: checkpoint command", command, 0.1).against(command / full, "a full one"));
    t.add(Row::seconds("1 GiB, 1% touched: pause", pause, 0.02).against(pause / median(forks), "plain fork"));
    t.add(Row::ratio("1 GiB, 1% touched: image", median(bytes), 0.02, "a full one"));
    Ok(())
}

fn lazy(b: &Bench, mib: u32) -> io::Result<f64> {
    let dir = b.fresh("lazy")?;
    let ticker = Ticker::new(&dir, mib, "random")?;
    let mut run = Tool::Ckpt.start(&b.bin, &dir, &b.dir.join("ticker"), &ticker, &[])?;
    run.checkpoint()?;
    let mut steps = Vec::new();
    for _ in 0..b.rounds {
        run.stop()?;
        ticker.arm();
        let begun = run.restart_with(&["--restore", "lazy"])?;
        steps.push(ticker.resumed(begun)?.0);
    }
    drop(run);
    let _ = std::fs::remove_dir_all(&dir);
    Ok(median(steps))
}

pub fn available_mib() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kib| kib >> 10)
}
