//! The coordinator's own prompt.

use ckpt_wire::{CommandMessage, Overrides};

pub const HELP: &str = "\
h       this help
c       checkpoint now
l       list the processes
s       status
i N     checkpoint every N seconds; 0 is never
k       kill the programs
q       kill the programs and quit";

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    Nothing,
    Help,
    Command(CommandMessage),
    /// Not understood, and why.
    Bad(String),
}

pub fn parse(line: &str) -> Asked {
    let mut words = line.split_whitespace();
    let (word, argument) = (words.next(), words.next());
    match (word, argument) {
        (None, _) => Asked::Nothing,
        (Some("h" | "?" | "help"), None) => Asked::Help,
        (Some("c"), None) => {
            Asked::Command(CommandMessage::Checkpoint { kill: false, overrides: Overrides::default() })
        }
        (Some("l"), None) => Asked::Command(CommandMessage::List),
        (Some("s"), None) => Asked::Command(CommandMessage::Status),
        (Some("k"), None) => Asked::Command(CommandMessage::Kill),
        (Some("q"), None) => Asked::Command(CommandMessage::Quit),
        (Some("i"), Some(seconds)) => match seconds.parse() {
            Ok(seconds) => Asked::Command(CommandMessage::Interval { seconds }),
            Err(_) => Asked::Bad(format!("{seconds} is not a number of seconds")),
        },
        (Some("i"), None) => Asked::Bad("i needs a number of seconds: i 60".into()),
        (Some(_), _) => Asked::Bad(format!("{} is not a command; h is help", line.trim())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        assert_eq!(parse("  \n"), Asked::Nothing);
        assert_eq!(parse("h"), Asked::Help);
        assert_eq!(parse(" l \n"), Asked::Command(CommandMessage::List));
        assert_eq!(parse("i 60"), Asked::Command(CommandMessage::Interval { seconds: 60 }));
        for bad in ["i", "i x", "checkpoint", "c now"] {
            assert!(matches!(parse(bad), Asked::Bad(_)), "{bad}");
        }
    }
}
