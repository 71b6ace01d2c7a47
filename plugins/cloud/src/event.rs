//! The event that the coordinator gives a hook on standard input: one JSON object.

use serde::{Deserialize, Serialize};
use std::io::Read;
use std::path::PathBuf;

/// What is used of it; other fields are left alone.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Event {
    pub event: String,
    pub computation: String,
    pub generation: u32,
    pub ckptdir: PathBuf,
    #[serde(default)]
    pub images: Vec<Image>,
    /// Do the programs stand still until the hooks have ended? None: it does not say.
    #[serde(default)]
    pub hold: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Image {
    pub path: PathBuf,
    #[serde(default, alias = "size")]
    pub bytes: u64,
    #[serde(default)]
    pub digest: Option<String>,
    #[serde(default)]
    pub host: String,
}

/// Events are small; something else on standard input is not read to its end.
const MAX: u64 = 16 << 20;

impl Event {
    pub fn read(from: impl Read) -> Result<Event, String> {
        let mut text = String::new();
        from.take(MAX).read_to_string(&mut text).map_err(|e| format!("the event cannot be read: {e}"))?;
        Event::parse(&text)
    }

    /// The hosts of the images.
    pub fn hosts(&self) -> String {
        let mut all: Vec<&str> = self.images.iter().map(|i| i.host.as_str()).collect();
        all.sort_unstable();
        all.dedup();
        all.join(" ").trim().to_owned()
    }

    pub fn parse(text: &str) -> Result<Event, String> {
        let event: Event = serde_json::from_str(text.trim())
            .map_err(|e| format!("standard input has no event of ckpt's ({e}); this program is a hook: ckpt_coordinator --hook post-write=..."))?;
        match event.event.as_str() {
            "post-write" => Ok(event),
            other => Err(format!("the event is {other}, not post-write: no images are complete then; use --hook post-write=...")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_are_left_alone() {
        let e = Event::parse(
            r#"{"event":"post-write","computation":"c","generation":3,"ckptdir":"/i","new":[1],
               "images":[{"path":"/i/a.img","host":"h","bytes":7,"digest":"d","more":{}}],"pause_us":3}"#,
        )
        .unwrap();
        assert_eq!(e.hosts(), "h");
        assert_eq!((e.generation, e.images[0].bytes, e.images[0].digest.as_deref()), (3, 7, Some("d")));
    }

    #[test]
    fn other_events_and_other_input_are_refused() {
        assert!(Event::parse("").unwrap_err().contains("--hook post-write"));
        let e = Event::parse(r#"{"event":"resumed","computation":"c","generation":3,"ckptdir":"/i"}"#);
        assert!(e.unwrap_err().starts_with("the event is resumed"));
    }
}
