//! What the coordinator answered, for people and as JSON: `ckpt_command` and the prompt say the same.

use ckpt_wire::{
    AgentInfo, CoordinatorMessage, HookReport, ImageInfo, Moment, ProcessEvents, ProcessMoment, ProcessRow, Restarted,
    Status, Summary, Timing,
};
use serde_json::{json, Map, Value};
use std::path::Path;

/// One answer as a line or a few, without the last newline. Empty where there is nothing to say.
pub fn human(message: &CoordinatorMessage) -> String {
    match message {
        CoordinatorMessage::Done(summary) => checkpoint_line(summary),
        CoordinatorMessage::Failed { reason } | CoordinatorMessage::Refused { reason } => reason.clone(),
        CoordinatorMessage::Processes { agents, silent } => process_table(agents, silent),
        CoordinatorMessage::Status(status) => status_lines(status),
        _ => String::new(),
    }
}

/// One answer as one line of JSON.
pub fn json(message: &CoordinatorMessage) -> String {
    let value = match message {
        CoordinatorMessage::Done(summary) => {
            let mut value = with_ok(summary_json(summary));
            value["hook_failure"] = json!(hook_failure(message));
            value
        }
        CoordinatorMessage::Failed { reason } | CoordinatorMessage::Refused { reason } => failure_json(reason),
        CoordinatorMessage::Processes { agents, silent } => with_ok(processes_json(agents, silent)),
        CoordinatorMessage::Status(status) => with_ok(status_json(status)),
        _ => with_ok(json!({})),
    };
    value.to_string()
}

/// A failure of our own in the same shape.
pub fn failure_json(reason: &str) -> Value {
    json!({ "ok": false, "error": reason })
}

fn with_ok(mut value: Value) -> Value {
    value["ok"] = json!(true);
    value
}

fn checkpoint_line(summary: &Summary) -> String {
    if summary.images.is_empty() {
        return format!("checkpoint {} complete", summary.generation);
    }
    let images: Vec<String> = summary.images.iter().take(3).map(|image| shorten(&image.path)).collect();
    let more = match summary.images.len().saturating_sub(images.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let (bytes, pause, whole) = (size(summary.bytes), duration(summary.pause_us), duration(summary.duration_us));
    let generation = summary.generation;
    format!("checkpoint {generation} complete: {}{more} ({bytes}, paused {pause}, {whole})", images.join(" "))
}

/// A path below the current folder without that folder.
fn shorten(path: &str) -> String {
    let below =
        std::env::current_dir().ok().and_then(|here| Path::new(path).strip_prefix(here).ok().map(Path::to_owned));
    below.map_or_else(|| path.to_owned(), |short| short.display().to_string())
}

fn process_table(agents: &[(AgentInfo, Vec<ProcessRow>)], silent: &[AgentInfo]) -> String {
    if agents.is_empty() && silent.is_empty() {
        return "no program is running".into();
    }
    let mut lines = vec![format!("{:>7} {:>7} {:1} {:>3}  {:<16} {}", "PID", "PPID", "S", "THR", "NAME", "HOST")];
    for (agent, rows) in agents {
        lines.extend(rows.iter().map(|row| {
            let (pid, ppid, state, threads, name) = (row.pid, row.ppid, row.state, row.threads, &row.name);
            format!("{pid:>7} {ppid:>7} {state:1} {threads:>3}  {name:<16} {}", agent.host)
        }));
    }
    lines.extend(silent.iter().map(|agent| format!("no answer yet from {}", agent_name(agent))));
    lines.join("\n")
}

fn agent_name(agent: &AgentInfo) -> String {
    format!("{} (pid {} on {})", agent.program, agent.pid, agent.host)
}

fn status_lines(status: &Status) -> String {
    let (id, port, pid) = (status.computation, status.port, status.pid);
    let mut lines = vec![
        format!("coordinator: port {port}, pid {pid}"),
        format!("computation: {id}, next checkpoint {}", status.next_generation),
        match status.interval {
            0 => "interval: off".into(),
            seconds => format!("interval: {seconds} s"),
        },
        format!("agents: {}", status.agents.len()),
    ];
    lines.extend(status.agents.iter().take(20).map(|agent| format!("  {}", agent_name(agent))));
    lines.extend(status.running.as_ref().map(|run| {
        let (generation, arrived, members, stage) = (run.generation, run.arrived, run.members, run.stage.as_str());
        format!("running: checkpoint {generation}, {arrived} of {members} {stage}")
    }));
    lines.extend(status.last.as_ref().map(|last| format!("last: {}", checkpoint_line(last))));
    lines.extend(status.last.as_ref().map(|last| format!("  barrier: {}", timing_list(&last.stages))));
    let hooks = status.last.iter().flat_map(|last| &last.hooks);
    lines.extend(hooks.map(|hook| {
        let (event, how) = (hook.event.as_str(), hook.failure.as_deref().unwrap_or("ended well"));
        format!("  hook {event} {}: {how} ({})", hook.program, duration(hook.us))
    }));
    let of_agents = status.last.as_ref().filter(|last| !last.agent_stages.is_empty());
    lines.extend(of_agents.map(|last| format!("  agents: {}", timing_list(&last.agent_stages))));
    lines.extend(status.last.iter().flat_map(|last| &last.notes).map(|note| format!("  {note}")));
    lines.extend(status.last_failure.as_ref().map(|reason| format!("failed: {reason}")));
    lines.join("\n")
}

fn timing_list(timings: &[Timing]) -> String {
    let one = |timing: &Timing| format!("{} {}", timing.name, duration(timing.us));
    timings.iter().map(one).collect::<Vec<_>>().join(", ")
}

pub fn summary_json(summary: &Summary) -> Value {
    json!({
        "generation": summary.generation,
        "at": summary.at_us as f64 / 1e6,
        "images": summary.images.iter().map(|image| &image.path).collect::<Vec<_>>(),
        "bytes": summary.bytes,
        "processes": summary.processes,
        "pause_us": summary.pause_us,
        "duration_us": summary.duration_us,
        "stages_us": timings_json(&summary.stages),
        "agent_stages_us": timings_json(&summary.agent_stages),
        "hooks": summary.hooks.iter().map(hook_json).collect::<Vec<_>>(),
        "notes": summary.notes,
        "events": summary.events.iter().map(moment_json).collect::<Vec<_>>(),
    })
}

pub fn moment_json(moment: &Moment) -> Value {
    let at = moment.at_us as f64 / 1e6;
    json!({ "event": moment.event.as_str(), "at": at, "us": moment.us, "hooks_us": moment.hooks_us })
}

/// What happened to a process.
pub fn process_json(row: &ProcessEvents) -> Value {
    let one = |moment: &ProcessMoment| {
        let at = moment.at_us as f64 / 1e6;
        json!({ "event": moment.event.as_str(), "at": at, "us": moment.us, "plugins_us": moment.plugins_us })
    };
    json!({ "pid": row.pid, "name": row.name, "events": row.events.iter().map(one).collect::<Vec<_>>() })
}

fn processes_of(rows: &[(String, ProcessEvents)]) -> Value {
    let one = |(host, row): &(String, ProcessEvents)| {
        let mut value = process_json(row);
        value["host"] = json!(host);
        value
    };
    rows.iter().map(one).collect()
}

fn last_json(last: &Summary) -> Value {
    let mut value = summary_json(last);
    value["process_events"] = processes_of(&last.process_events);
    value
}

fn restarted_json(last: &Restarted) -> Value {
    json!({
        "generation": last.generation,
        "events": [moment_json(&last.event)],
        "hooks": last.hooks.iter().map(hook_json).collect::<Vec<_>>(),
        "process_events": processes_of(&last.process_events),
    })
}

pub fn image_json(image: &ImageInfo) -> Value {
    let digest: String = image.digest.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({ "path": image.path, "bytes": image.bytes, "digest": digest, "host": image.host })
}

pub fn hook_json(report: &HookReport) -> Value {
    let (event, at) = (report.event.as_str(), report.at_us as f64 / 1e6);
    json!({ "event": event, "program": report.program, "at": at, "us": report.us, "failure": report.failure })
}

/// Why the checkpoint, which is complete, is not all that was asked for.
pub fn hook_failure(message: &CoordinatorMessage) -> Option<String> {
    let CoordinatorMessage::Done(summary) = message else { return None };
    let (report, why) = summary.hooks.iter().find_map(|report| Some((report, report.failure.as_ref()?)))?;
    Some(format!("{} hook {}: {why}", report.event.as_str(), report.program))
}

fn timings_json(timings: &[Timing]) -> Value {
    Value::Object(timings.iter().map(|timing| (timing.name.clone(), json!(timing.us))).collect::<Map<_, _>>())
}

fn agent_json(agent: &AgentInfo) -> Value {
    json!({ "client": agent.client, "host": agent.host, "pid": agent.pid, "program": agent.program })
}

fn processes_json(agents: &[(AgentInfo, Vec<ProcessRow>)], silent: &[AgentInfo]) -> Value {
    let with_rows = |(agent, rows): &(AgentInfo, Vec<ProcessRow>)| {
        let mut value = agent_json(agent);
        value["processes"] = json!(rows);
        value
    };
    json!({
        "agents": agents.iter().map(with_rows).collect::<Vec<_>>(),
        "silent": silent.iter().map(agent_json).collect::<Vec<_>>(),
    })
}

fn status_json(status: &Status) -> Value {
    let running = status.running.as_ref().map(|run| {
        let (generation, stage) = (run.generation, run.stage.as_str());
        json!({ "generation": generation, "stage": stage, "arrived": run.arrived, "members": run.members, "queued": run.queued })
    });
    json!({
        "port": status.port,
        "pid": status.pid,
        "computation": status.computation.to_string(),
        "next_generation": status.next_generation,
        "interval": status.interval,
        "agents": status.agents.iter().map(agent_json).collect::<Vec<_>>(),
        "running": running,
        "last": status.last.as_ref().map(|last| last_json(last)),
        "last_failure": status.last_failure,
        "restarted": status.restarted.as_ref().map(|last| restarted_json(last)),
    })
}

fn size(bytes: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} bytes"),
    }
}

fn duration(us: u64) -> String {
    match us {
        0..=999 => format!("{us} us"),
        1_000..=9_999 => format!("{:.1} ms", us as f64 / 1e3),
        10_000..=999_999 => format!("{} ms", us / 1_000),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        let path = "/elsewhere/images/counter-1a2b3c4d-g3.img".to_owned();
        let images = vec![ImageInfo { path, ..ImageInfo::default() }];
        Summary { generation: 3, images, bytes: 2_100_000, pause_us: 1_200, duration_us: 14_000, ..Summary::default() }
    }

    #[test]
    fn a_checkpoint_is_one_line() {
        assert_eq!(
            human(&CoordinatorMessage::Done(summary())),
            "checkpoint 3 complete: /elsewhere/images/counter-1a2b3c4d-g3.img (2.1 MB, paused 1.2 ms, 14 ms)"
        );
    }

    #[test]
    fn paths_below_here_are_relative() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(shorten(&here.join("images/a.img").display().to_string()), "images/a.img");
    }

    #[test]
    fn json_is_one_line_with_ok() {
        let done: Value = serde_json::from_str(&json(&CoordinatorMessage::Done(summary()))).unwrap();
        assert_eq!((&done["ok"], &done["generation"], &done["bytes"]), (&json!(true), &json!(3), &json!(2_100_000)));
        let failed = json(&CoordinatorMessage::Failed { reason: "why".into() });
        assert_eq!(failed, r#"{"error":"why","ok":false}"#);
        assert_eq!(json(&CoordinatorMessage::Ok), r#"{"ok":true}"#);
    }

    #[test]
    fn sizes_and_durations() {
        assert_eq!((size(12), size(1_500), size(1 << 30)), ("12 bytes".into(), "1.5 kB".into(), "1.1 GB".into()));
        assert_eq!(
            (duration(5), duration(14_321), duration(2_500_000)),
            ("5 us".into(), "14 ms".into(), "2.5 s".into())
        );
    }
}
