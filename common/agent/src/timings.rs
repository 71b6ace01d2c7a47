//! `timings.jsonl` beside the images: one line of JSON for each checkpoint and restart.

use crate::store;
use ckpt_coordinator::report;
use ckpt_wire::{ComputationId, HookReport, Moment, ProcessEvents, Summary};
use serde_json::{json, Value};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub const NAME: &str = "timings.jsonl";
/// Lines from before the file grew past `FULL`; older ones are gone.
const BEFORE: &str = "timings-before.jsonl";
/// bytes
const FULL: u64 = 16 << 20;

/// Appends a line. What goes wrong here is no reason to call a checkpoint or a restart failed.
pub fn note(folder: &Path, line: Value) {
    let path = folder.join(NAME);
    if std::fs::symlink_metadata(&path).is_ok_and(|file| file.len() >= FULL) {
        let _ = std::fs::rename(&path, folder.join(BEFORE));
    }
    let file = File::options().create(true).append(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path);
    if let Ok(mut file) = file {
        let _ = file.write_all(format!("{line}\n").as_bytes());
    }
}

/// Where lines about an image belong: beside it, or beside the folder that is its checkpoint's own (`--unique-dirs`).
pub fn folder_of(image: &Path, computation: &[u8; 16], generation: u32) -> Option<PathBuf> {
    // A bare name has an empty one, in which nothing is found.
    let image = std::path::absolute(image).ok()?;
    let folder = image.parent()?;
    let own = folder.file_name().is_some_and(|name| name == store::folder_name(computation, generation).as_str());
    Some(if own { folder.parent()? } else { folder }.to_owned())
}

/// The line of a checkpoint: as `ckpt_command --status --json` has it under `last`.
pub fn checkpoint(computation: &[u8; 16], summary: &Summary) -> Value {
    let mut line = report::summary_json(summary);
    line["kind"] = json!("checkpoint");
    line["computation"] = json!(ComputationId(*computation).to_string());
    line["images"] = summary.images.iter().map(report::image_json).collect();
    line
}

/// An event of the computation that came when the line of its checkpoint or restart was written.
pub fn event(computation: &[u8; 16], generation: u32, event: Moment, hooks: &[HookReport]) -> Value {
    json!({
        "kind": "event",
        "computation": ComputationId(*computation).to_string(),
        "generation": generation,
        "events": [report::moment_json(&event)],
        "hooks": hooks.iter().map(report::hook_json).collect::<Vec<_>>(),
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_makes_room() {
        let folder = std::env::temp_dir().join(format!("ckpt-timings-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        File::create(folder.join(NAME)).unwrap().set_len(FULL).unwrap();
        note(&folder, json!({"kind": "checkpoint"}));
        note(&folder, json!({"kind": "restart"}));
        let text = std::fs::read_to_string(folder.join(NAME)).unwrap();
        assert_eq!(text, "{\"kind\":\"checkpoint\"}\n{\"kind\":\"restart\"}\n");
        assert_eq!(std::fs::metadata(folder.join(BEFORE)).unwrap().len(), FULL);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn images_named_from_within_their_folder_lie_there() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(folder_of(Path::new("a.img"), &[1; 16], 1), Some(here.clone()));
        assert_eq!(folder_of(Path::new("images/a.img"), &[1; 16], 1), Some(here.join("images")));
        let own = PathBuf::from("/i").join(store::folder_name(&[1; 16], 1)).join("a.img");
        assert_eq!(folder_of(&own, &[1; 16], 1), Some("/i".into()));
    }
}
