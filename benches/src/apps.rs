//! Real programs under launch, beside the same programs without it; those that are installed.

use crate::measure::Bench;
use crate::table::{Row, Table};
use crate::tool::succeeds;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// A program may take so much longer.
const MOST: f64 = 1.02;

pub fn measure(b: &Bench, t: &mut Table) {
    let row = |name, ratio: io::Result<f64>| ratio.map_or_else(|e| Row::failed(name, &e), |r| Row::ratio(name, r, MOST, "native"));
    if t.wants("app: C++ compile") && succeeds(Command::new("g++").arg("--version")) {
        let written = std::fs::write(b.dir.join("compile.cc"), COMPILED);
        let ratio = written.and_then(|()| ratio(b, &["g++", "-O2", "-c", "-o", "compile.o", "compile.cc"]));
        t.add(row("app: C++ compile", ratio));
    }
    if t.wants("app: redis-benchmark") && succeeds(Command::new("redis-server").arg("--version")) {
        let script = "redis-server --port 16399 --save '' --daemonize no >/dev/null & until redis-cli -p 16399 ping >/dev/null 2>&1; do :; done; \
                      redis-benchmark -q -p 16399 -n 200000 -c 20 -t set,get >/dev/null; redis-cli -p 16399 shutdown nosave; wait";
        t.add(row("app: redis-benchmark", ratio(b, &["sh", "-c", script])));
    }
}

const COMPILED: &str = "#include <algorithm>\n#include <iostream>\n#include <map>\n#include <regex>\n#include <string>\n#include <vector>\n\
    int main() { std::map<std::string, std::vector<int>> m; std::regex r(\"a+b\"); m[\"x\"].push_back(1);\n\
    for (auto &[k, v] : m) { std::sort(v.begin(), v.end()); std::cout << k << std::regex_match(k, r); } }\n";

/// The least of interleaved rounds on both sides.
fn ratio(b: &Bench, command: &[&str]) -> io::Result<f64> {
    let port = (20000 + std::process::id() % 20000).to_string();
    let (mut native, mut under) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..b.rounds {
        native = native.min(seconds(Command::new(command[0]).args(&command[1..]), &b.dir)?);
        under = under.min(seconds(Command::new(b.bin.join("ckpt_launch")).args(["-q", "-p", &port]).args(command), &b.dir)?);
    }
    let _ = Command::new(b.bin.join("ckpt_command")).args(["-p", &port, "-q"]).output();
    Ok(under / native)
}

fn seconds(c: &mut Command, dir: &Path) -> io::Result<f64> {
    let begun = Instant::now();
    let ended = c.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if ended.success() { Ok(begun.elapsed().as_secs_f64()) } else { Err(io::Error::other(format!("{:?} failed", c.get_program()))) }
}
