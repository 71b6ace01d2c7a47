//! `timings.jsonl` beside the images: one line of JSON for each checkpoint and restart.

use ckpt_coordinator::report;
use ckpt_wire::{ComputationId, ProcessEvents, Summary};
use serde_json::{json, Value};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub const NAME: &str = "timings.jsonl";

/// Appends a line. What goes wrong here is no reason to call a checkpoint or a restart failed.
pub fn note(folder: &Path, line: Value) {
    let file = File::options().create(true).append(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(folder.join(NAME));
    if let Ok(mut file) = file {
        let _ = file.write_all(format!("{line}\n").as_bytes());
    }
}

/// The line of a checkpoint: as `ckpt_command --status --json` has it under `last`.
pub fn checkpoint(computation: &[u8; 16], summary: &Summary) -> Value {
    let mut line = report::summary_json(summary);
    line["kind"] = json!("checkpoint");
    line["computation"] = json!(ComputationId(*computation).to_string());
    line["images"] = summary.images.iter().map(report::image_json).collect();
    line
}

/// What happened to the processes of this host up to a checkpoint.
pub fn processes(computation: &[u8; 16], generation: u32, rows: &[ProcessEvents]) -> Value {
    json!({
        "kind": "processes",
        "computation": ComputationId(*computation).to_string(),
        "generation": generation,
        "host": crate::checkpoint::host_name(),
        "processes": rows.iter().map(report::process_json).collect::<Vec<_>>(),
    })
}

/// The line of a restart from `images`, which took `took` from the start of ckpt_restart until the programs ran.
pub fn restart(computation: &[u8; 16], generation: u32, images: &[&Path], processes: &[ProcessEvents], took: Duration) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    json!({
        "kind": "restart",
        "computation": ComputationId(*computation).to_string(),
        "generation": generation,
        "at": now.saturating_sub(took).as_secs_f64(),
        "duration_us": took.as_micros() as u64,
        "images": images.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
        "processes": processes.iter().map(report::process_json).collect::<Vec<_>>(),
    })
}
