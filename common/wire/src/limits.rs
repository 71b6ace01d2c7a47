//! Limits of single fields, checked when a message is encoded and when it is decoded.

use crate::message::*;
use crate::WireError;
use alloc::string::String;

/// Hosts, process names, timing names.
pub const MAX_NAME: usize = 256;
pub const MAX_PROGRAM: usize = 4096;
pub const MAX_REASON: usize = 4096;
pub const MAX_PATH: usize = 4096;
/// Images of one agent.
pub const MAX_IMAGES: usize = 64;
/// What is published under a name, and the name; how many there are.
pub const MAX_PUBLISHED_KEY: usize = 56;
pub const MAX_PUBLISHED: usize = 192;
pub const MAX_PUBLISHED_KEYS: usize = 512;
/// Rows of one `Processes` message of an agent.
pub const MAX_ROWS: usize = 4096;
/// Hooks of one agent.
pub const MAX_HOOKS: usize = 64;
pub const MAX_TIMINGS: usize = 64;
/// Sentences about one checkpoint, of at most `MAX_NAME` bytes.
pub const MAX_NOTES: usize = 16;

/// A message whose fields can be checked.
pub trait Limited {
    fn check(&self) -> Result<(), WireError>;
}

/// `text`, cut at a character so that it fits into `limit` bytes.
pub fn clip(text: &str, limit: usize) -> String {
    let end = (0..=limit.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    String::from(&text[..end])
}

fn at_most(field: &'static str, len: usize, limit: usize) -> Result<(), WireError> {
    if len > limit {
        return Err(WireError::FieldTooLong { field, len, limit });
    }
    Ok(())
}

impl Limited for ClientMessage {
    fn check(&self) -> Result<(), WireError> {
        match self {
            ClientMessage::Hello(hello) => hello.check(),
            ClientMessage::Agent(message) => message.check(),
            ClientMessage::Command(_) => Ok(()),
        }
    }
}

impl Limited for Hello {
    fn check(&self) -> Result<(), WireError> {
        at_most("host", self.host.len(), MAX_NAME)?;
        at_most("program", self.program.len(), MAX_PROGRAM)?;
        at_most("ckptdir", self.ckptdir.len(), MAX_PATH)?;
        let Some(hooks) = &self.hooks else { return Ok(()) };
        at_most("hooks", hooks.programs.len(), MAX_HOOKS)?;
        at_most("hook folder", hooks.folder.len(), MAX_PATH)?;
        hooks.programs.iter().try_for_each(|(_, program)| at_most("hook", program.len(), MAX_PROGRAM))
    }
}

impl Limited for AgentMessage {
    fn check(&self) -> Result<(), WireError> {
        match self {
            AgentMessage::Reached { stats, .. } => stats.as_ref().map_or(Ok(()), Limited::check),
            AgentMessage::Failed { reason, .. } => at_most("reason", reason.len(), MAX_REASON),
            AgentMessage::Processes { rows, .. } => check_rows(rows),
            AgentMessage::Events { rows, .. } => check_events(rows),
            AgentMessage::Published { key, value } => check_published(key, value),
            AgentMessage::Restarted { .. } | AgentMessage::Request | AgentMessage::Leave => Ok(()),
        }
    }
}

impl Limited for CheckpointStats {
    fn check(&self) -> Result<(), WireError> {
        at_most("images", self.images.len(), MAX_IMAGES)?;
        for image in &self.images {
            at_most("image path", image.path.len(), MAX_PATH)?;
            at_most("image host", image.host.len(), MAX_NAME)?;
        }
        at_most("notes", self.notes.len(), MAX_NOTES)?;
        self.notes.iter().try_for_each(|note| at_most("note", note.len(), MAX_NAME))?;
        check_timings(&self.stages)
    }
}

fn check_published(key: &[u8], value: &[u8]) -> Result<(), WireError> {
    at_most("published key", key.len(), MAX_PUBLISHED_KEY)?;
    at_most("published value", value.len(), MAX_PUBLISHED)
}

fn check_rows(rows: &[ProcessRow]) -> Result<(), WireError> {
    at_most("rows", rows.len(), MAX_ROWS)?;
    rows.iter().try_for_each(|row| at_most("process name", row.name.len(), MAX_NAME))
}

fn check_events(rows: &[ProcessEvents]) -> Result<(), WireError> {
    at_most("rows", rows.len(), MAX_ROWS)?;
    rows.iter().try_for_each(|row| {
        at_most("events", row.events.len(), ProcessEvent::ALL.len())?;
        at_most("process name", row.name.len(), MAX_NAME)
    })
}

fn check_timings(timings: &[Timing]) -> Result<(), WireError> {
    at_most("timings", timings.len(), MAX_TIMINGS)?;
    timings.iter().try_for_each(|timing| at_most("timing name", timing.name.len(), MAX_NAME))
}

/// The coordinator's aggregates are bounded by the frame alone: their parts were checked when agents sent them.
impl Limited for CoordinatorMessage {
    fn check(&self) -> Result<(), WireError> {
        match self {
            CoordinatorMessage::Refused { reason }
            | CoordinatorMessage::Abort { reason, .. }
            | CoordinatorMessage::Failed { reason } => at_most("reason", reason.len(), MAX_REASON),
            CoordinatorMessage::Published { key, value } => check_published(key, value),
            CoordinatorMessage::Done(summary) => check_timings(&summary.agent_stages),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clip_cuts_between_characters() {
        assert_eq!(clip("abc", 10), "abc");
        assert_eq!(clip("aé", 2), "a");
        assert_eq!(clip("é", 0), "");
    }
}
