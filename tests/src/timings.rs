//! `timings.jsonl` after a run: every event of the computation and of its processes is there with its times, in the one
//! documented order, later ones later.

use serde_json::Value;
use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::Path;

/// docs/PLUGINS.md, "Order of events"
const ORDER: [&str; 9] =
    ["init", "fork", "pre-exec", "post-exec", "restart", "pre-suspend", "pre-checkpoint", "resume", "exit"];
/// Callbacks can be told of these.
const TOLD: [&str; 7] = ["fork", "pre-exec", "restart", "pre-suspend", "pre-checkpoint", "resume", "exit"];

/// What there must be at least.
pub struct Expected {
    pub checkpoints: usize,
    /// those after which the programs ran on
    pub resumed: usize,
    pub restarts: usize,
    /// The program is born in every way there is, and all its callbacks take so many microseconds.
    pub callbacks: Option<u64>,
}

/// Why the file is not as it should be.
pub fn check(images: &Path, expected: &Expected) -> Result<(), String> {
    let path = images.join("timings.jsonl");
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).map_err(|e| format!("{l}: {e}"))).collect::<Result<_, _>>()?;
    of_the_computation(&lines, expected)?;
    let mut begun = HashSet::new();
    for line in &lines {
        for process in processes(line) {
            one(process, &mut begun).map_err(|why| format!("{why}: {process}"))?;
        }
    }
    expected.callbacks.map_or(Ok(()), |us| told(&lines, expected, us))
}

fn of_the_computation(lines: &[Value], expected: &Expected) -> Result<(), String> {
    let of_kind = |kind: &'static str| lines.iter().filter(move |l| l["kind"] == kind);
    for line in of_kind("checkpoint") {
        events(line).try_for_each(has_times)?;
        let names: Vec<&str> = events(line).map(name).collect();
        let at: Vec<f64> = events(line).map(when).collect();
        if names != ["pre-checkpoint", "post-write"] || at[0] > at[1] {
            return Err(format!("a checkpoint's events are {names:?} at {at:?}"));
        }
    }
    let later: Vec<&str> = of_kind("event").flat_map(events).map(name).collect();
    of_kind("event").flat_map(events).try_for_each(has_times)?;
    let count = |what: &str| later.iter().filter(|n| **n == what).count();
    let found = [of_kind("checkpoint").count(), count("resumed"), of_kind("restart").count(), count("restarted")];
    let wanted = [expected.checkpoints, expected.resumed, expected.restarts, expected.restarts];
    if found.iter().zip(wanted).any(|(found, wanted)| *found < wanted) {
        return Err(format!("noted are {found:?} checkpoints, resumed, restarts, restarted; wanted {wanted:?}"));
    }
    Ok(())
}

/// Each event there can be is there, and what callbacks took.
fn told(lines: &[Value], expected: &Expected, least: u64) -> Result<(), String> {
    let all: Vec<&Value> = lines.iter().flat_map(processes).flat_map(events).collect();
    let found: BTreeSet<&str> = all.iter().copied().map(name).collect();
    let missing = |n: &&&str| match **n {
        "resume" => expected.resumed > 0,
        "restart" => expected.restarts > 0,
        _ => true,
    };
    if let Some(missing) = ORDER.iter().filter(missing).find(|n| !found.contains(**n)) {
        return Err(format!("no process has an event {missing}"));
    }
    // One that is killed is not told of its end: those at the very end are.
    let last = lines.iter().rev().flat_map(processes).flat_map(events).filter(|e| name(e) == "exit").take(1);
    let short = all.iter().copied().filter(|e| name(e) != "exit" && TOLD.contains(&name(e))).chain(last);
    let short = short.into_iter().find(|e| e["plugins_us"].as_u64() < Some(least) || e["us"].as_u64() < Some(least));
    short.map_or(Ok(()), |e| Err(format!("callbacks take {least} us, noted is {e}")))
}

fn processes(line: &Value) -> impl Iterator<Item = &Value> {
    line["processes"].as_array().into_iter().flatten()
}

fn events(of: &Value) -> impl Iterator<Item = &Value> {
    of["events"].as_array().into_iter().flatten()
}

fn name(event: &Value) -> &str {
    event["event"].as_str().unwrap_or_default()
}

fn when(event: &Value) -> f64 {
    event["at"].as_f64().unwrap_or_default()
}

fn one(process: &Value, begun: &mut HashSet<(u64, String)>) -> Result<(), String> {
    let (mut place, mut at) = (None, 0.0);
    for event in events(process) {
        has_times(event)?;
        let name = name(event);
        let here = ORDER.iter().position(|o| *o == name).ok_or("an unknown event")?;
        if place.is_some_and(|before| here <= before) || when(event) < at {
            return Err(format!("{name} is out of order"));
        }
        (place, at) = (Some(here), when(event));
        let born = matches!(name, "init" | "fork").then(|| (process["pid"].as_u64().unwrap_or(0), format!("{at}")));
        if born.is_some_and(|born| !begun.insert(born)) {
            return Err(format!("{name} is told twice"));
        }
    }
    let has = |what: &str| events(process).any(|e| name(e) == what);
    if has("pre-suspend") != has("pre-checkpoint") || has("resume") && !has("pre-checkpoint") {
        return Err("a stop is not whole".into());
    }
    Ok(())
}

fn has_times(event: &Value) -> Result<(), String> {
    let whole = when(event) > 1e9 && event["us"].is_u64();
    if whole { Ok(()) } else { Err(format!("an event without its times: {event}")) }
}
