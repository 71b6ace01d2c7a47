//! /proc/PID as the agent reads it (proc(5)).

use crate::tasks::Tasks;
use std::collections::HashSet;
use std::fs;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::PathBuf;

/// The fields of /proc/PID/stat that are used.
#[derive(Clone, Debug)]
pub struct Stat {
    pub pid: i32,
    pub name: String,
    pub state: char,
    pub ppid: i32,
    pub pgid: i32,
    pub sid: i32,
    pub threads: u32,
    /// all fields after the name, field 3 (state) first
    pub fields: Vec<i64>,
}

pub fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

pub fn parse_stat(bytes: &[u8]) -> Option<Stat> {
    let text = String::from_utf8_lossy(bytes);
    let (open, close) = (text.find('(')?, text.rfind(')')?);
    let rest: Vec<&str> = text.get(close + 2..)?.split_ascii_whitespace().collect();
    let fields: Vec<i64> = rest.iter().map(|w| w.parse::<i64>().or_else(|_| w.parse::<u64>().map(|n| n as i64)).unwrap_or(0)).collect();
    Some(Stat {
        pid: text[..open].trim().parse().ok()?,
        name: text[open + 1..close].to_owned(),
        state: rest.first()?.chars().next()?,
        ppid: *fields.get(1)? as i32,
        pgid: *fields.get(2)? as i32,
        sid: *fields.get(3)? as i32,
        threads: *fields.get(17)? as u32,
        fields,
    })
}

impl Stat {
    /// Field `n` as numbered in proc(5).
    pub fn field(&self, n: usize) -> u64 {
        self.fields.get(n - 3).copied().unwrap_or(0) as u64
    }
}

/// pidfd_open(2)
pub fn pidfd(pid: i32) -> std::io::Result<OwnedFd> {
    // SAFETY: numbers only.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// When a process was born, by CLOCK_BOOTTIME of this time namespace.
pub fn since_boot(stat: &Stat) -> Option<std::time::Duration> {
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    Some(std::time::Duration::from_micros(stat.field(22) * 1_000_000 / u64::try_from(ticks).ok()?.max(1)))
}

/// A main thread that ended leaves a zombie while other threads go on.
pub fn has_ended(stat: &Stat) -> bool {
    matches!(stat.state, 'Z' | 'X') && stat.threads <= 1
}

/// When a process was born, in microseconds since 1970; the kernel says it to a hundredth of a second.
pub fn start_us(stat: &Stat) -> Option<u64> {
    use nix::time::{ClockId, clock_gettime};
    let up = std::time::Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?;
    let born = self::since_boot(stat)?;
    Some(now.saturating_sub(up.saturating_sub(born)).as_micros() as u64)
}

/// Waits until a process that was sent SIGSTOP has stopped; not for ever, since it may be dying. The last thread to stop
/// is the one that tells the parent.
pub fn await_stop(pid: i32) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(1);
    while runs(pid) && std::time::Instant::now() < deadline {
        std::thread::sleep(std::time::Duration::from_micros(100));
    }
}

fn runs(pid: i32) -> bool {
    states(pid).any(|s| !matches!(s, 'T' | 'Z' | 'X'))
}

/// Of every thread.
pub fn states(pid: i32) -> impl Iterator<Item = char> {
    let mut tasks = Tasks::of(pid);
    let state = |_, text: &[u8]| parse_stat(text).map(|s| s.state);
    let states: Vec<char> = tasks.iter_mut().flat_map(|t| t.look("stat", state).flatten()).collect();
    states.into_iter()
}

/// The system calls in which threads sleep uninterruptibly.
pub fn sleeping_calls(pid: i32) -> Vec<i64> {
    let Some(mut tasks) = Tasks::of(pid) else { return Vec::new() };
    let asleep = |tid, text: &[u8]| parse_stat(text).filter(|s| s.state == 'D').and_then(|_| Some(in_call(pid, tid)?[0] as i64));
    tasks.look("stat", asleep).flatten().collect()
}

/// A process's main thread, or, where that has ended, another one: the kernel finds nothing shared, and nothing apart,
/// in what has ended.
pub fn living_task(pid: i32) -> i32 {
    let lives = |tid: i32| {
        let stat = parse_stat(&fs::read(format!("/proc/{pid}/task/{tid}/stat")).ok()?)?;
        (!matches!(stat.state, 'Z' | 'X')).then_some(tid)
    };
    let other = || Tasks::of(pid)?.tids().into_iter().find_map(lives);
    lives(pid).or_else(other).unwrap_or(pid)
}

/// One value of /proc/PID/status.
pub fn status_value<'a>(status: &'a str, key: &str) -> Option<&'a str> {
    status.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
}

pub fn status(pid: i32) -> Option<String> {
    status_of(&pid.to_string())
}

/// Of `PID` or `PID/task/TID`.
pub fn status_of(task: &str) -> Option<String> {
    fs::read(format!("/proc/{task}/status")).ok().map(|b| String::from_utf8_lossy(&b).into_owned())
}

pub fn status_hex(status: &str, key: &str) -> u64 {
    status_value(status, key).and_then(|v| u64::from_str_radix(v, 16).ok()).unwrap_or(0)
}

/// The loader heeds no LD_PRELOAD there (AT_SECURE).
pub fn is_secure(pid: i32) -> bool {
    let auxv = std::fs::read(format!("/proc/{pid}/auxv")).unwrap_or_default();
    let entry = [libc::AT_SECURE.to_ne_bytes(), 1u64.to_ne_bytes()].concat();
    auxv.chunks_exact(16).any(|pair| pair == entry)
}

pub fn link(pid: i32, name: &str) -> Option<PathBuf> {
    link_of(&pid.to_string(), name)
}

pub fn link_of(task: &str, name: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{task}/{name}")).ok()
}

/// Children of every thread of `pid` (CONFIG_PROC_CHILDREN).
pub fn children(pid: i32) -> Vec<i32> {
    let mut out = Vec::new();
    let Some(mut tasks) = Tasks::of(pid) else { return out };
    for tid in tasks.tids() {
        let text = tasks.read(tid, "children").and_then(|text| std::str::from_utf8(text).ok());
        out.extend(text.into_iter().flat_map(str::split_ascii_whitespace).filter_map(|w| w.parse::<i32>().ok()));
    }
    out
}

/// Every descendant of `root`, parents before children. One may be missing while others end (`children` passes over the
/// next when the one before has just ended; a child may go to another parent between two looks).
pub fn descendants(root: i32) -> Vec<i32> {
    let mut all = children(root);
    let mut seen: HashSet<i32> = all.iter().copied().collect();
    let mut at = 0;
    while at < all.len() {
        all.extend(children(all[at]).into_iter().filter(|&pid| seen.insert(pid)));
        at += 1;
    }
    all
}

/// `descendants`, none missing: in two looks with the same outcome nobody ended in the first.
pub fn all_descendants(root: i32) -> Vec<i32> {
    const LOOKS: usize = 1000;
    let mut before = descendants(root);
    for _ in 0..LOOKS {
        let now = descendants(root);
        if now == before {
            break;
        }
        before = now;
    }
    before
}

/// `nr args sp pc` of /proc/PID/task/TID/syscall; None while it runs or where reading is not allowed.
pub fn in_call(pid: i32, tid: i32) -> Option<[u64; 9]> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).ok()?;
    let mut out = [0; 9];
    let mut words = text.split_ascii_whitespace();
    out[0] = words.next()?.parse().ok()?;
    for slot in &mut out[1..] {
        *slot = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
    }
    Some(out)
}

/// When the thread last ran, on the scheduler's clock in nanoseconds (`se.exec_start`): a sleeping thread fell asleep then.
pub fn last_ran(pid: i32, tid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/sched")).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("se.exec_start"))?;
    let (ms, ns) = line.split_once(':')?.1.trim().split_once('.')?;
    Some(ms.parse::<u64>().ok()? * 1_000_000 + ns.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_is_missing_while_others_end() {
        use std::process::{Command, Stdio};
        // A shell whose short-lived children come before the one that stays, as often as not.
        let script = "while :; do true & true & wait $!; done & sleep 1000";
        let mut shell = Command::new("sh").args(["-c", script]).stdout(Stdio::null()).spawn().unwrap();
        let root = shell.id() as i32;
        let stays = |pid: &i32| stat(*pid).is_some_and(|s| s.name == "sleep");
        let found = loop {
            if let Some(pid) = all_descendants(root).into_iter().find(stays) {
                break pid;
            }
        };
        let missing = (0..300).filter(|_| !all_descendants(root).contains(&found)).count();
        for pid in all_descendants(root).into_iter().chain([root]) {
            // SAFETY: numbers only.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        shell.wait().unwrap();
        assert_eq!(missing, 0);
    }
}
