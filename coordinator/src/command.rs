//! `ckpt_command`: one command to the coordinator, one answer.

use crate::options::{compression_parser, pause_parser, CoordOptions};
use crate::{report, Address, Client, ClientError};
use ckpt_wire::{CommandMessage, Compression, CoordinatorMessage, Hello, Overrides, PauseMode, Role, Welcome};
use clap::{ArgGroup, Parser};
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

/// Commands the coordinator of running programs.
#[derive(Parser, Debug)]
#[command(name = "ckpt_command", version)]
#[command(group(ArgGroup::new("command").required(true).multiple(true)
    .args(["checkpoint", "list", "status", "set_interval", "kill", "quit"])))]
pub struct Options {
    #[command(flatten)]
    coord: CoordOptions,

    /// Checkpoint; returns when it is complete and durable
    #[arg(short, long)]
    checkpoint: bool,

    /// Show the processes
    #[arg(short, long, conflicts_with_all = ["checkpoint", "status", "set_interval", "kill", "quit"])]
    list: bool,

    /// Show the coordinator's state and the last checkpoint's timings
    #[arg(short, long, conflicts_with_all = ["checkpoint", "set_interval", "kill", "quit"])]
    status: bool,

    /// Checkpoint every so many seconds; 0 is never
    #[arg(id = "set_interval", short = 'i', long = "interval", value_name = "SECONDS")]
    #[arg(conflicts_with_all = ["checkpoint", "kill", "quit"])]
    interval: Option<u32>,

    /// Kill the programs; with --checkpoint, once the checkpoint is durable
    #[arg(short, long, conflicts_with = "quit")]
    kill: bool,

    /// Kill the programs and end the coordinator
    #[arg(short, long, conflicts_with = "checkpoint")]
    quit: bool,

    /// Compression of this one checkpoint
    #[arg(long, value_name = "HOW", value_parser = compression_parser(), requires = "checkpoint")]
    compress: Option<Compression>,

    /// When programs go on in this one checkpoint
    #[arg(long, value_name = "HOW", value_parser = pause_parser(), requires = "checkpoint")]
    pause: Option<PauseMode>,

    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl Options {
    fn command(&self) -> CommandMessage {
        let overrides = Overrides { compression: self.compress, pause: self.pause };
        match (self.checkpoint, self.list, self.status, self.interval) {
            (true, ..) => CommandMessage::Checkpoint { kill: self.kill, overrides },
            (_, true, ..) => CommandMessage::List,
            (_, _, true, _) => CommandMessage::Status,
            (.., Some(seconds)) => CommandMessage::Interval { seconds },
            _ if self.quit => CommandMessage::Quit,
            _ => CommandMessage::Kill,
        }
    }
}

/// Runs the command; the exit status says whether it worked: 1 it failed, 2 there is nobody to
/// ask, 3 the checkpoint is complete but a hook failed.
pub fn main(options: Options) -> ExitCode {
    match ask(&Address::from_options(&options.coord), &options.command()) {
        Ok(answer) => tell(&options, &answer),
        Err(error) => {
            complain(&options, &error.to_string());
            ExitCode::from(if error.is_absent() || matches!(error, ClientError::Silent(_)) { 2 } else { 1 })
        }
    }
}

fn tell(options: &Options, answer: &CoordinatorMessage) -> ExitCode {
    if let CoordinatorMessage::Failed { reason } = answer {
        complain(options, reason);
        return ExitCode::from(1);
    }
    let text = if options.json { report::json(answer) } else { report::human(answer) };
    if !text.is_empty() {
        let _ = writeln!(std::io::stdout(), "{text}");
    }
    if let Some(failure) = report::hook_failure(answer) {
        if !options.json {
            eprintln!("ckpt_command: the checkpoint is complete, but its {failure}");
        }
        return ExitCode::from(3);
    }
    ExitCode::SUCCESS
}

fn complain(options: &Options, reason: &str) {
    if options.json {
        let _ = writeln!(std::io::stdout(), "{}", report::failure_json(reason));
    } else {
        let what = if options.checkpoint { "checkpoint failed: " } else { "" };
        let absent = reason.starts_with("no coordinator answers");
        eprintln!("ckpt_command: {}{reason}", if absent { "" } else { what });
    }
}

fn ask(address: &Address, command: &CommandMessage) -> Result<CoordinatorMessage, ClientError> {
    let (mut client, welcome) = introduce(address)?;
    client.command(command)?;
    match answer(&mut client, address) {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) | Err(ClientError::Io(_)) if matches!(command, CommandMessage::Checkpoint { .. }) => {
            after_restart(address, &welcome)
        }
        Ok(None) => Err(ClientError::Closed),
        Err(error) => Err(error),
    }
}

/// A checkpoint may take hours; a coordinator that does not even greet any more will not answer.
fn answer(client: &mut Client, address: &Address) -> Result<Option<CoordinatorMessage>, ClientError> {
    const SILENCE: Duration = Duration::from_secs(5);
    loop {
        match client.recv_within(SILENCE) {
            Err(ClientError::Silent(_)) => {}
            heard => return heard,
        }
        if let Err(silent @ ClientError::Silent(_)) = Client::connect(address) {
            return Err(silent);
        }
    }
}

fn introduce(address: &Address) -> Result<(Client, Welcome), ClientError> {
    let mut client = Client::connect(address)?;
    let hello =
        Hello::new(Role::Command, ckpt_wire::clip(&crate::host_name(), 256), std::process::id(), "ckpt_command".into());
    let welcome = client.hello(&hello)?;
    Ok((client, welcome))
}

/// A program that checkpoints itself by way of us finds us in its image. After the restart our connection is gone,
/// but the coordinator that serves the computation now knows that the checkpoint we asked for was made.
fn after_restart(address: &Address, before: &Welcome) -> Result<CoordinatorMessage, ClientError> {
    let (mut client, now) = introduce(address).map_err(|_| ClientError::Closed)?;
    if now.computation != before.computation || now.next_generation <= before.next_generation {
        return Err(ClientError::Closed);
    }
    client.command(&CommandMessage::Status)?;
    let generation = now.next_generation - 1;
    match client.recv()? {
        Some(CoordinatorMessage::Status(status)) => {
            let unknown = || ckpt_wire::Summary { generation, ..Default::default() };
            let summary = status.last.map_or_else(unknown, |last| *last);
            Ok(CoordinatorMessage::Done(summary))
        }
        _ => Err(ClientError::Closed),
    }
}
