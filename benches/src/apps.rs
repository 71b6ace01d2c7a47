//! Real programs under launch, beside the same programs without it; those that are installed.

use crate::measure::{Bench, median, port};
use crate::table::{Row, Table};
use crate::tool::succeeds;
use std::io;
use std::path::{Path, PathBuf};
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
    if let Some(bin) = postgres().filter(|_| t.wants("app: pgbench")) {
        t.add(row("app: pgbench", pgbench(b, &bin)));
    }
}

/// Where Debian keeps the server's programs.
fn postgres() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    versions.map(|v| v.path().join("bin")).find(|bin| bin.join("initdb").exists())
}

/// A server, which refuses to run as root, and so many reading transactions.
fn pgbench(b: &Bench, bin: &Path) -> io::Result<f64> {
    let data = b.fresh("pg")?;
    // SAFETY: only asks.
    let root = unsafe { libc::geteuid() } == 0;
    let user = if root { "setpriv --reuid=65534 --regid=65534 --clear-groups" } else { "env" };
    if root {
        std::os::unix::fs::chown(&data, Some(65534), Some(65534))?;
    }
    let (bin, data) = (bin.display(), data.display());
    let run = |what: &str| format!("export PGHOST='{data}' PGUSER=postgres; P='{bin}'; \
        {user} \"$P/postgres\" -D '{data}/db' -k '{data}' -h '' >/dev/null 2>&1 & until \"$P/pg_isready\" -q; do :; done; \
        \"$P/pgbench\" {what} postgres >/dev/null 2>&1; code=$?; kill -INT $!; wait; exit $code");
    let create = format!("{user} '{bin}/initdb' -U postgres -D '{data}/db' >/dev/null 2>&1 && {{ {}; }}", run("-i -s 5"));
    seconds(Command::new("sh").args(["-c", &create]), &b.dir)?;
    ratio(b, &["sh", "-c", &run("-n -S -c 4 -j 1 -t 10000")])
}

const COMPILED: &str = "#include <algorithm>\n#include <iostream>\n#include <map>\n#include <regex>\n#include <string>\n#include <vector>\n\
    int main() { std::map<std::string, std::vector<int>> m; std::regex r(\"a+b\"); m[\"x\"].push_back(1);\n\
    for (auto &[k, v] : m) { std::sort(v.begin(), v.end()); std::cout << k << std::regex_match(k, r); } }\n";

/// The median of many pairs, each measured in turns: a difference of 2% is less than what two rounds differ by.
fn ratio(b: &Bench, command: &[&str]) -> io::Result<f64> {
    let port = port();
    let native = || seconds(Command::new(command[0]).args(&command[1..]), &b.dir);
    let under = || seconds(Command::new(b.bin.join("ckpt_launch")).args(["-q", "-p", &port]).args(command), &b.dir);
    let pair = |i: usize| -> io::Result<f64> {
        if i.is_multiple_of(2) {
            let native = native()?;
            return Ok(under()? / native);
        }
        let under = under()?;
        Ok(under / native()?)
    };
    native()?;
    let ratios = (0..b.rounds * PAIRS).map(pair).collect::<io::Result<Vec<_>>>();
    let _ = Command::new(b.bin.join("ckpt_command")).args(["-p", &port, "-q"]).output();
    ratios.map(median)
}

/// For each round.
const PAIRS: usize = 4;

fn seconds(c: &mut Command, dir: &Path) -> io::Result<f64> {
    let begun = Instant::now();
    let ended = c.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if ended.success() { Ok(begun.elapsed().as_secs_f64()) } else { Err(io::Error::other(format!("{:?} failed", c.get_program()))) }
}
