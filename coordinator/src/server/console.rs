//! Standard input as a source of commands, and the answers on standard output.

use crate::hub::CONSOLE;
use crate::prompt::{self, Asked};
use crate::report;
use ckpt_wire::{CommandMessage, CoordinatorMessage};
use std::io::{self, IsTerminal, Write};

#[derive(Debug, Default)]
pub struct Console {
    line: Vec<u8>,
    terminal: bool,
    pub ended: bool,
}

impl Console {
    pub fn wanted(forced: bool) -> bool {
        forced || io::stdin().is_terminal()
    }

    pub fn new() -> Console {
        Console { terminal: io::stdin().is_terminal(), ..Console::default() }
    }

    /// Reads once; the commands of whole lines.
    pub fn read(&mut self) -> Vec<CommandMessage> {
        let mut chunk = [0; 4096];
        match nix::unistd::read(io::stdin(), &mut chunk) {
            Err(nix::Error::EINTR | nix::Error::EAGAIN) => return Vec::new(),
            // EIO: we were sent to the background.
            Ok(0) | Err(_) => self.ended = true,
            Ok(len) => self.line.extend_from_slice(&chunk[..len]),
        }
        let mut commands = Vec::new();
        while let Some(end) = self.line.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            commands.extend(self.asked(&String::from_utf8_lossy(&line)));
        }
        commands
    }

    fn asked(&self, line: &str) -> Option<CommandMessage> {
        match prompt::parse(line) {
            Asked::Nothing => self.prompt(),
            Asked::Help => self.say(prompt::HELP),
            Asked::Bad(why) => self.say(&why),
            Asked::Command(command) => return Some(command),
        }
        None
    }

    /// Prints an answer.
    pub fn answer(&self, message: &CoordinatorMessage) {
        match report::human(message).as_str() {
            "" => self.say("done"),
            text => self.say(text),
        }
    }

    fn say(&self, text: &str) {
        let _ = writeln!(io::stdout(), "{text}");
        self.prompt();
    }

    pub fn prompt(&self) {
        if self.terminal {
            let _ = write!(io::stdout(), "ckpt> ").and_then(|()| io::stdout().flush());
        }
    }
}

/// Whose answers come here.
pub const CLIENT: u32 = CONSOLE;
