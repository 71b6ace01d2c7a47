//! The options that ckpt_launch, ckpt_restart, ckpt_command and ckpt_coordinator share. `-h` is the coordinator's
//! host, so help is `--help` only.

use crate::hooks::HookOptions;
use ckpt_wire::{Compression, PauseMode};
use clap::builder::{BoolishValueParser, PossibleValuesParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, Args, Parser};
use std::ffi::OsString;
use std::path::PathBuf;

/// The port a coordinator has unless told otherwise.
pub const DEFAULT_PORT: u16 = 7779;

/// Where the coordinator is.
#[derive(Args, Debug, Clone, Default)]
#[command(disable_help_flag = true)]
pub struct CoordOptions {
    /// Host of the coordinator [default: this host]
    #[arg(short = 'h', long = "coord-host", value_name = "HOST", env = "CKPT_COORD_HOST")]
    pub coord_host: Option<String>,

    /// Port of the coordinator; 0 picks a free one [default: 7779]
    #[arg(short = 'p', long = "coord-port", value_name = "PORT", env = "CKPT_COORD_PORT")]
    pub coord_port: Option<u16>,

    /// Write the coordinator's port to this file
    #[arg(long, value_name = "FILE", env = "CKPT_PORT_FILE")]
    pub port_file: Option<PathBuf>,

    /// Key that admits to a coordinator over TCP [default: PORT.key in the run folder]
    #[arg(long, value_name = "FILE", env = "CKPT_KEY_FILE")]
    pub key_file: Option<PathBuf>,

    /// Folder for temporary files and the run folder
    #[arg(long, value_name = "DIR", env = "CKPT_TMPDIR")]
    pub tmpdir: Option<PathBuf>,

    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

impl CoordOptions {
    /// The host, where it is another one than this.
    pub fn remote_host(&self) -> Option<&str> {
        let host = self.coord_host.as_deref()?;
        let local = matches!(host, "" | "localhost" | "127.0.0.1" | "::1") || host == crate::host_name();
        (!local).then_some(host)
    }

    pub fn port(&self) -> u16 {
        self.coord_port.unwrap_or(DEFAULT_PORT)
    }
}

/// Which coordinator ckpt_launch and ckpt_restart go to.
#[derive(Args, Debug, Clone, Default)]
pub struct JoinOptions {
    /// Start a coordinator of one's own; another port is taken if the default one is in use
    #[arg(long, conflicts_with_all = ["join_coordinator", "any_coordinator"])]
    pub new_coordinator: bool,

    /// Join the coordinator that runs; fail if there is none
    #[arg(long, conflicts_with = "any_coordinator")]
    pub join_coordinator: bool,

    /// Join the coordinator that runs, start one if there is none (the default)
    #[arg(long)]
    pub any_coordinator: bool,

    #[command(flatten)]
    pub hooks: HookOptions,
}

/// How checkpoints are made.
#[derive(Args, Debug, Clone)]
pub struct CheckpointOptions {
    /// Folder for images [default: ./images; after a restart, where they lie]
    #[arg(long, value_name = "DIR", env = "CKPT_CKPTDIR")]
    pub ckptdir: Option<PathBuf>,

    /// Seconds between checkpoints; 0 is never [default: 0]
    #[arg(short = 'i', long, value_name = "SECONDS", env = "CKPT_INTERVAL")]
    pub interval: Option<u32>,

    /// Signal used inside the program: a number or a name like RTMAX-1 [default: the last free real-time signal]
    #[arg(long, value_name = "SIGNAL", env = "CKPT_SIGNAL", value_parser = parse_signal)]
    pub ckpt_signal: Option<i32>,

    /// Compression of images [default: auto]
    #[arg(long, value_name = "HOW", env = "CKPT_COMPRESS", value_parser = compression_parser())]
    pub compress: Option<Compression>,

    /// Same as --compress gzip, and wins over it
    #[arg(long, conflicts_with = "no_gzip")]
    pub gzip: bool,

    /// Same as --compress none, and wins over it
    #[arg(long)]
    pub no_gzip: bool,

    /// Let the program go on while its image is written (cow), or hold it until the image is durable; auto holds it
    /// where memory is short [default: auto]
    #[arg(long, value_name = "HOW", env = "CKPT_PAUSE", value_parser = pause_parser())]
    pub pause: Option<PauseMode>,

    /// Generations of images to keep; 0 keeps all [default: 2]
    #[arg(long, value_name = "N", env = "CKPT_KEEP")]
    pub keep: Option<u32>,

    /// Write only what changed since the last image; a full image every N, 8 unless given; 0 is off [default: 0]
    #[arg(long, value_name = "N", env = "CKPT_INCREMENTAL", num_args = 0..=1, require_equals = true, default_missing_value = "8")]
    pub incremental: Option<u32>,

    /// Encrypt images with the key in this file, 64 hexadecimal digits, mode 0600; the restart needs it too
    #[arg(long, value_name = "FILE", env = "CKPT_ENCRYPT_KEY_FILE")]
    pub encrypt_key_file: Option<PathBuf>,

    /// Print nothing but errors
    #[arg(short = 'q', long, env = "CKPT_QUIET", value_parser = BoolishValueParser::new())]
    pub quiet: bool,

    /// Save the content of open regular files too, and put it back at a restart
    #[arg(long, env = "CKPT_SAVE_OPEN_FILES", value_parser = BoolishValueParser::new())]
    pub save_open_files: bool,

    /// Put host, time and pid into image names, so that they never repeat
    #[arg(long)]
    pub unique_names: bool,

    /// Give each checkpoint a folder of its own, DIR/ckpt-ID-gN; not with --incremental
    #[arg(long, env = "CKPT_UNIQUE_DIRS", value_parser = BoolishValueParser::new())]
    pub unique_dirs: bool,
}

impl CheckpointOptions {
    /// The compression that --compress, --gzip and --no-gzip come to, if any was given.
    pub fn compression(&self) -> Option<Compression> {
        match (self.gzip, self.no_gzip) {
            (true, _) => Some(Compression::Gzip),
            (_, true) => Some(Compression::None),
            _ => self.compress,
        }
    }
}

/// `none`, `lz4`, ...: for an option of one's own.
pub fn compression_parser() -> impl TypedValueParser<Value = Compression> {
    PossibleValuesParser::new(Compression::WORDS).try_map(|word| word.parse::<Compression>())
}

/// `auto`, `cow` or `hold`.
pub fn pause_parser() -> impl TypedValueParser<Value = PauseMode> {
    PossibleValuesParser::new(PauseMode::WORDS).try_map(|word| word.parse::<PauseMode>())
}

/// A signal that a program can be without: no KILL or STOP, and none that says the program did wrong.
fn parse_signal(text: &str) -> Result<i32, String> {
    let number = signal_number(text).ok_or("not a signal number, nor a name like USR2 or RTMAX-1")?;
    let unfit = [libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP];
    if !(1..=libc::SIGRTMAX()).contains(&number) || (32..libc::SIGRTMIN()).contains(&number) {
        return Err(format!("signals are 1 to 31 and {} to {}", libc::SIGRTMIN(), libc::SIGRTMAX()));
    }
    if unfit.contains(&number) {
        return Err("this signal cannot be handled or means a fault; choose another".into());
    }
    Ok(number)
}

fn signal_number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let name = text.strip_prefix("SIG").unwrap_or(text);
    let offset = |rest: &str, sign: char| match rest {
        "" => Some(0),
        _ => rest.strip_prefix(sign)?.parse::<i32>().ok(),
    };
    if let Some(rest) = name.strip_prefix("RTMAX") {
        return Some(libc::SIGRTMAX() - offset(rest, '-')?);
    }
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return Some(libc::SIGRTMIN() + offset(rest, '+')?);
    }
    format!("SIG{name}").parse::<nix::sys::signal::Signal>().ok().map(|signal| signal as i32)
}

/// Parses the command line, or prints the diagnosis and exits; a bad value from the environment is named as such.
pub fn parse<P: Parser>() -> P {
    parse_from(std::env::args_os().collect()).unwrap_or_else(|error| match error {
        BadOptions::Clap(error) => error.exit(),
        BadOptions::Environment(text) => {
            eprintln!("{}: {text}", P::command().get_name());
            std::process::exit(2)
        }
    })
}

/// Why a command line was refused.
#[derive(Debug, thiserror::Error)]
pub enum BadOptions {
    #[error("{0}")]
    Clap(clap::Error),
    #[error("{0}")]
    Environment(String),
}

/// As `parse`, for any command line.
pub fn parse_from<P: Parser>(args: Vec<OsString>) -> Result<P, BadOptions> {
    P::try_parse_from(&args).map_err(|error| match blame_environment::<P>(&error, &args) {
        Some(text) => BadOptions::Environment(text),
        None => BadOptions::Clap(error),
    })
}

/// clap names the option even where the value came from the environment; find the variable.
fn blame_environment<P: Parser>(error: &clap::Error, args: &[OsString]) -> Option<String> {
    let (option, value) = bad_value(error)?;
    let mut command = P::command();
    command.build();
    let arg = command.get_arguments().find(|arg| arg.to_string() == option)?.clone();
    let variable = arg.get_env()?.to_str()?;
    let without = P::command().mut_arg(arg.get_id(), |arg| arg.env(None::<&str>));
    if without.try_get_matches_from(args).is_err_and(|still| bad_value(&still).is_some_and(|(same, _)| same == option))
    {
        return None;
    }
    let why = std::error::Error::source(error).map(|why| why.to_string()).unwrap_or_else(|| expected(error));
    Some(format!("environment variable {variable}={value}: {why}; correct or unset it (it stands for {option})"))
}

/// The option that an error is about, and its value.
fn bad_value(error: &clap::Error) -> Option<(&str, &str)> {
    if !matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation) {
        return None;
    }
    match (error.get(ContextKind::InvalidArg), error.get(ContextKind::InvalidValue)) {
        (Some(ContextValue::String(option)), Some(ContextValue::String(value))) => Some((option, value)),
        _ => None,
    }
}

fn expected(error: &clap::Error) -> String {
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(words)) => format!("expected one of {}", words.join(", ")),
        _ => "not a valid value".into(),
    }
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
