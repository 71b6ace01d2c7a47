//! `timings.jsonl` after a run: each process has its events in the one documented order, later ones later.

use serde_json::Value;
use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// docs/PLUGINS.md, "Order of events"
const ORDER: [&str; 9] =
    ["init", "fork", "pre-exec", "post-exec", "restart", "pre-suspend", "pre-checkpoint", "resume", "exit"];

/// Why the file is not as it should be after `checkpoints` checkpoints and `restarts` restarts.
pub fn check(images: &Path, checkpoints: usize, restarts: usize) -> Result<(), String> {
    let path = images.join("timings.jsonl");
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).map_err(|e| format!("{l}: {e}"))).collect::<Result<_, _>>()?;
    let count = |kind: &str| lines.iter().filter(|l| l["kind"] == kind).count();
    if count("checkpoint") < checkpoints || count("restart") < restarts {
        return Err(format!("{} checkpoints and {} restarts are noted", count("checkpoint"), count("restart")));
    }
    let mut begun = HashSet::new();
    for line in &lines {
        line["events"].as_array().into_iter().flatten().try_for_each(has_times)?;
        for process in line["processes"].as_array().into_iter().flatten() {
            one(process, &mut begun).map_err(|why| format!("{why}: {process}"))?;
        }
    }
    Ok(())
}

fn one(process: &Value, begun: &mut HashSet<(u64, String)>) -> Result<(), String> {
    let events = process["events"].as_array().ok_or("no events")?;
    let (mut place, mut at) = (None, 0.0);
    for event in events {
        has_times(event)?;
        let name = event["event"].as_str().unwrap_or_default();
        let here = ORDER.iter().position(|o| *o == name).ok_or("an unknown event")?;
        let when = event["at"].as_f64().unwrap_or_default();
        if place.is_some_and(|before| here <= before) || when < at {
            return Err(format!("{name} is out of order"));
        }
        (place, at) = (Some(here), when);
        let born = matches!(name, "init" | "fork").then(|| (process["pid"].as_u64().unwrap_or(0), format!("{when}")));
        if born.is_some_and(|born| !begun.insert(born)) {
            return Err(format!("{name} is told twice"));
        }
    }
    let has = |name: &str| events.iter().any(|e| e["event"] == name);
    if has("pre-suspend") != has("pre-checkpoint") || has("resume") && !has("pre-checkpoint") {
        return Err("a stop is not whole".into());
    }
    Ok(())
}

fn has_times(event: &Value) -> Result<(), String> {
    let whole = event["at"].as_f64().is_some_and(|at| at > 1e9) && event["us"].is_u64();
    if whole { Ok(()) } else { Err(format!("an event without its times: {event}")) }
}
