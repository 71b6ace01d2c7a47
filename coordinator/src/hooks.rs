//! Programs that the coordinator runs at events of the computation: how they are named, and what they are told.
//!
//! Whoever starts the coordinator names them, on its command line or in its environment; an agent on the same host, which
//! is the same user, brings its own along. Nobody else does: no other host, no image.

use crate::barrier::{Micros, Occasion};
use crate::report;
use clap::builder::BoolishValueParser;
use clap::Args;
use ckpt_wire::{ComputationId, HookEvent, HookRequest, ImageInfo};
use serde_json::{json, Value};
use std::path::Path;
use std::process::Command;

/// Hooks as options: the coordinator's own, and those that ckpt_launch and ckpt_restart bring along.
#[derive(Args, Debug, Clone, Default)]
pub struct HookOptions {
    /// Run PROGRAM, a line for /bin/sh, at pre-checkpoint, post-write, resumed or restarted; may be repeated (in the
    /// variable: one on each line)
    #[arg(long = "hook", value_name = "EVENT=PROGRAM", env = "CKPT_HOOK", value_delimiter = '\n', value_parser = parse_hook)]
    pub hooks: Vec<Hook>,

    /// Keep programs stopped until the post-write hooks have ended
    #[arg(long, env = "CKPT_HOLD", value_parser = BoolishValueParser::new())]
    pub hold: bool,

    /// How long one hook may take; it is killed then [default: 600]
    #[arg(long, value_name = "SECONDS", env = "CKPT_HOOK_TIMEOUT")]
    pub hook_timeout: Option<u32>,
}

/// One program at one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    pub event: HookEvent,
    pub program: String,
}

/// Which events have hooks.
#[derive(Debug, Clone, Copy, Default)]
pub struct HookPlan {
    pub pre_checkpoint: bool,
    pub post_write: bool,
    pub resumed: bool,
    pub restarted: bool,
    /// Programs stand still while post-write hooks run.
    pub hold: bool,
}

const DEFAULT_TIMEOUT: u32 = 600;

impl HookOptions {
    pub fn seconds(&self) -> u32 {
        self.hook_timeout.unwrap_or(DEFAULT_TIMEOUT).max(1)
    }

    /// What an agent brings along; None: nothing. They run where this process was started.
    pub fn request(&self) -> Option<HookRequest> {
        if self.hooks.is_empty() && !self.hold {
            return None;
        }
        let programs = self.hooks.iter().map(|hook| (hook.event, hook.program.clone())).collect();
        let folder = std::env::current_dir().map(|here| here.display().to_string()).unwrap_or_default();
        Some(HookRequest { programs, folder, hold: self.hold, timeout: self.hook_timeout })
    }
}

/// A coordinator that is started has none of its own: its agents bring theirs.
pub fn forget(command: &mut Command) {
    for variable in ["CKPT_HOOK", "CKPT_HOLD", "CKPT_HOOK_TIMEOUT"] {
        command.env_remove(variable);
    }
}

fn parse_hook(text: &str) -> Result<Hook, String> {
    let events = || HookEvent::ALL.map(HookEvent::as_str).join(", ");
    let (word, program) = text.split_once('=').ok_or_else(|| format!("expected EVENT=PROGRAM, EVENT one of {}", events()))?;
    let event = HookEvent::ALL.into_iter().find(|event| event.as_str() == word.trim());
    let event = event.ok_or_else(|| format!("{word} is not an event: {}", events()))?;
    match program.trim() {
        "" => Err(format!("no program is named for {word}")),
        program => Ok(Hook { event, program: program.to_owned() }),
    }
}

/// What does not change from event to event.
#[derive(Debug, Clone)]
pub struct Situation<'a> {
    pub computation: ComputationId,
    pub port: u16,
    pub ckptdir: Option<&'a str>,
    pub hold: bool,
    /// Since 1970.
    pub now: Micros,
}

/// The event as the hook finds it on its standard input.
pub fn event_json(occasion: &Occasion, situation: &Situation) -> Value {
    let summary = occasion.summary.as_deref();
    let mut value = match summary {
        Some(summary) => report::summary_json(summary),
        None => json!({ "generation": occasion.generation }),
    };
    let of_images = summary.and_then(|summary| folder_of(summary.images.first()?));
    value["event"] = json!(occasion.event.as_str());
    value["time"] = json!(situation.now as f64 / 1e6);
    value["computation"] = json!(situation.computation.to_string());
    value["port"] = json!(situation.port);
    value["ckptdir"] = json!(of_images.or(situation.ckptdir.map(str::to_owned)));
    value["hold"] = json!(situation.hold);
    if let Some(summary) = summary {
        value["images"] = summary.images.iter().map(report::image_json).collect();
    }
    if let Some(failure) = &occasion.failure {
        value["failure"] = json!(failure);
    }
    value
}

fn folder_of(image: &ImageInfo) -> Option<String> {
    Some(Path::new(&image.path).parent()?.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ckpt_wire::Summary;

    #[test]
    fn hooks_are_an_event_and_a_line_for_the_shell() {
        let hook = parse_hook("post-write=./snap --tag a=b").unwrap();
        assert_eq!((hook.event, hook.program.as_str()), (HookEvent::PostWrite, "./snap --tag a=b"));
        assert!(parse_hook("post-write").unwrap_err().contains("pre-checkpoint, post-write, resumed, restarted"));
        assert!(parse_hook("written=x").unwrap_err().starts_with("written is not an event"));
        assert!(parse_hook("resumed= ").is_err());
    }

    #[test]
    fn a_hook_is_told_everything() {
        let image = ImageInfo { host: "h".into(), path: "/d/images/a.img".into(), bytes: 7, digest: [0xab; 32] };
        let summary = Summary { generation: 3, images: vec![image], ..Summary::default() };
        let occasion = Occasion {
            event: HookEvent::PostWrite,
            generation: 3,
            summary: Some(Box::new(summary)),
            failure: None,
        };
        let situation = Situation {
            computation: ComputationId([1; 16]),
            port: 7779,
            ckptdir: Some("/elsewhere"),
            hold: true,
            now: 1_500_000,
        };
        let value = event_json(&occasion, &situation);
        assert_eq!((&value["event"], &value["time"]), (&json!("post-write"), &json!(1.5)));
        assert_eq!((&value["generation"], &value["ckptdir"]), (&json!(3), &json!("/d/images")));
        assert_eq!(value["images"][0]["bytes"], 7);
        assert_eq!(value["images"][0]["digest"].as_str().map(str::len), Some(64));
        assert_eq!(value["computation"], "01".repeat(16));
    }
}
