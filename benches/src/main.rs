//! Measures the product against its targets on this machine, in one run.

mod incremental;
mod apps;
mod chart;
mod machine;
mod measure;
mod scale;
mod table;
mod ticker;
mod tool;

use measure::{Bench, Figures};
use std::cell::RefCell;
use std::io;
use table::{Row, Table};
use tool::Tool;

fn main() {
    if let Err(e) = run() {
        eprintln!("ckpt_bench: {e}");
        std::process::exit(1);
    }
}

/// `ckpt_bench [--rounds N] [--dir DIR] [--no-write] [--compare] [ONLY...]`: ONLY picks rows by a part of their name.
struct Options {
    rounds: usize,
    dir: std::path::PathBuf,
    write: bool,
    /// also CRIU and DMTCP, where they are on PATH
    compare: bool,
    only: Vec<String>,
}

fn options() -> io::Result<Options> {
    let mut out = Options { rounds: 5, dir: "target/bench".into(), write: true, compare: false, only: Vec::new() };
    let mut args = std::env::args().skip(1);
    while let Some(a) = args.next() {
        match a.as_str() {
            "--rounds" => out.rounds = args.next().and_then(|n| n.parse().ok()).filter(|&n| n > 0).unwrap_or(out.rounds),
            "--dir" => out.dir = args.next().map_or(out.dir, Into::into),
            "--no-write" => out.write = false,
            "--compare" => out.compare = true,
            _ => out.only.push(a),
        }
    }
    std::fs::create_dir_all(&out.dir)?;
    out.dir = out.dir.canonicalize()?;
    Ok(out)
}

fn run() -> io::Result<()> {
    let options = options()?;
    let bin = std::env::current_exe()?.parent().map(Into::into).unwrap_or_default();
    let bench = Bench { bin, dir: options.dir.clone(), rounds: options.rounds, stages: RefCell::default() };
    bench.compile()?;
    let mut t = Table::new(options.only.clone());
    let stolen = machine::Stolen::begin();
    memory(&bench, &mut t, options.compare)?;
    incremental::rows(&bench, &mut t)?;
    if t.wants("call") {
        for (name, ratio) in bench.calls()? {
            let most = match name.as_str() {
                "fork+exit" => 1.3,
                "fork+exec" => 1.5,
                _ => 1.05,
            };
            t.add(Row::ratio(&format!("call: {name}"), ratio, most, "native"));
        }
    }
    if t.wants("memory") {
        t.add(Row::mib("memory that the library adds to a process", bench.memory()?, 1.0));
    }
    apps::measure(&bench, &mut t);
    scale::measure(&bench, &mut t);
    let chart = if t.wants("chart") { Some(chart::measure(&bench)?) } else { None };
    t.print();
    if options.write && options.only.is_empty() {
        std::fs::write("docs/PERFORMANCE.md", t.page(&(machine::name(&bench.dir) + &stolen.said()), &bench.stages.borrow()))?;
        chart.map_or(Ok(()), |svg| std::fs::write("docs/performance.svg", svg))?;
    }
    Ok(())
}

fn memory(b: &Bench, t: &mut Table, compare: bool) -> io::Result<()> {
    if t.wants("16 MiB") {
        let f = b.cycle(Tool::Ckpt, 16, "random", &[])?;
        let dd = b.dd(16)?;
        t.add(Row::seconds("16 MiB: pause", f.pause, 0.004).against(f.pause / f.fork, "plain fork"));
        t.add(Row::seconds("16 MiB: checkpoint command", f.command, 0.03).against(f.command / dd, "dd conv=fsync"));
        t.add(Row::seconds("16 MiB: restart to next step", f.step, 0.03));
        if compare {
            others(b, t, "16 MiB", 16, "random", &[]);
        }
    }
    if t.wants("1 GiB random") {
        let f = b.cycle(Tool::Ckpt, 1024, "random", &[])?;
        let dd = b.dd(1024)?;
        t.add(Row::seconds("1 GiB random: pause", f.pause, 0.02).against(f.pause / f.fork, "plain fork"));
        t.add(Row::seconds("1 GiB random: checkpoint command", f.command, dd * 1.15).against(f.command / dd, "dd conv=fsync"));
        t.add(Row::seconds("1 GiB random: longest gap while it is written", f.gap, 0.003));
        t.add(Row::seconds("1 GiB random: restart to full speed", f.full, 0.25));
        t.add(Row::ratio("1 GiB random: restart to full speed", f.full / f.read, 1.25, "two threads reading the image"));
        if compare {
            others(b, t, "1 GiB random", 1024, "random", &[]);
        }
    }
    for mib in [1024, 4096, 8192] {
        let name = format!("{} GiB: pause beside a fork of the same process", mib >> 10);
        if t.wants(&name) && u64::from(mib) * 5 / 2 < incremental::available_mib() {
            let (pause, fork) = b.pause(mib)?;
            t.add(Row::ratio(&name, pause / fork, 1.5, &format!("plain fork, {:.0} ms", fork * 1e3)));
        }
    }
    if t.wants("1 GiB dirty") {
        let f = b.cycle(Tool::Ckpt, 1024, "dirty", &[])?;
        t.add(Row::seconds("1 GiB dirty: pause while it writes to its memory", f.pause, 0.02).against(f.pause / f.fork, "plain fork"));
        t.add(Row::seconds("1 GiB dirty: longest gap after the pause", f.gap, 0.003));
    }
    if t.wants("1 GiB shared") {
        let f = b.cycle(Tool::Ckpt, 1024, "shared", &[])?;
        t.add(Row::seconds("1 GiB shared: pause", f.pause, f64::INFINITY));
    }
    if t.wants("1 GiB floats") {
        let f = b.cycle(Tool::Ckpt, 1024, "floats", &["--compress", "zstd"])?;
        t.add(Row::seconds("1 GiB floats, zstd: checkpoint command", f.command, 1.5));
        t.add(Row::mib("1 GiB floats, zstd: image", f.bytes, 130.0));
        t.add(Row::seconds("1 GiB floats, zstd: pause", f.pause, 0.02).against(f.pause / f.fork, "plain fork"));
        t.add(Row::seconds("1 GiB floats, zstd: longest gap while it is written", f.gap, 0.003));
        t.add(Row::seconds("1 GiB floats, zstd: restart to full speed", f.full, f64::INFINITY));
    }
    if t.wants("1 GiB floats, lz4") {
        let f = b.cycle(Tool::Ckpt, 1024, "floats", &["--compress", "lz4"])?;
        t.add(Row::seconds("1 GiB floats, lz4: restart to full speed", f.full, 1.0));
    }
    Ok(())
}

/// The same program under other tools, for comparison only: a failure of theirs is not ours.
fn others(b: &Bench, t: &mut Table, name: &str, mib: u32, kind: &'static str, options: &[&str]) {
    for tool in [Tool::Criu, Tool::Dmtcp].into_iter().filter(|t| t.present()) {
        match b.cycle(tool, mib, kind, options) {
            Ok(Figures { pause, command, step, full, .. }) => {
                for (what, s) in [("pause", pause), ("checkpoint command", command), ("restart to next step", step), ("restart to full speed", full)] {
                    t.add(Row::seconds(&format!("{name}: {what}, {}", tool.name()), s, f64::INFINITY));
                }
            }
            Err(e) => eprintln!("ckpt_bench: {}: {e}", tool.name()),
        }
    }
}
