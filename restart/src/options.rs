//! The command line.

use ckpt_coordinator::options::{CheckpointOptions, CoordOptions, JoinOptions};
use clap::{Parser, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Bring a checkpointed computation back
#[derive(Parser)]
#[command(name = "ckpt_restart", version, disable_help_flag = true)]
pub struct Options {
    #[command(flatten)]
    pub coord: CoordOptions,
    #[command(flatten)]
    pub join: JoinOptions,
    #[command(flatten)]
    pub checkpoint: CheckpointOptions,

    /// How processes keep the ids they had
    #[arg(long, value_enum, default_value = "auto", env = "CKPT_IDS")]
    pub ids: IdsOption,

    /// Fill memory before the program goes on, or while it does
    #[arg(long, value_enum, value_name = "WHEN", default_value = "eager")]
    pub restore: RestoreOption,

    /// Another folder for the files of one: may be given several times
    #[arg(long, value_name = "OLD=NEW", value_parser = parse_map)]
    pub map_path: Vec<(PathBuf, PathBuf)>,

    /// File for standard input instead of ckpt_restart's own
    #[arg(long, value_name = "FILE")]
    pub stdin: Option<PathBuf>,

    /// File for standard output
    #[arg(long, value_name = "FILE")]
    pub stdout: Option<PathBuf>,

    /// File for standard error
    #[arg(long, value_name = "FILE")]
    pub stderr: Option<PathBuf>,

    /// Change the environment that programs see: NAME=VALUE on each line of this file, NAME alone removes it
    #[arg(long, value_name = "FILE", env = "CKPT_MODIFY_ENV")]
    pub modify_env: Option<PathBuf>,

    /// How long processes may take to be made; their memory, ten times as long and more where there is much of it
    #[arg(long, value_name = "SECONDS", env = "CKPT_STAGE_TIMEOUT", default_value_t = 60)]
    pub stage_timeout: u32,

    /// Restart even where a check found a risk
    #[arg(long)]
    pub force: bool,

    /// For tests: take this machine for one with another kernel, for booted since, or for busy
    #[arg(long, value_enum, value_delimiter = ',', hide = true)]
    pub pretend: Vec<Pretended>,

    /// How often this restart was begun: by itself, see `again.rs`
    #[arg(long, hide = true, default_value_t = 1)]
    pub attempt: u32,

    /// Images of one computation; of several generations the newest complete one is taken
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<PathBuf>,
}

impl Options {
    /// At each step of making processes.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.stage_timeout.into())
    }

    /// Until a process with `bytes` of memory is restored: a disk may be slow.
    pub fn patience_with_memory(&self, bytes: u64) -> Duration {
        const SLOW_DISK: u64 = 5_000_000;
        self.patience() * 10 + Duration::from_secs(bytes / SLOW_DISK)
    }
}

#[derive(Clone, Copy, ValueEnum, PartialEq, Eq, Debug)]
pub enum IdsOption {
    /// exact where it works, else virtual or namespace
    Auto,
    /// the real ids are those of before (root, CAP_CHECKPOINT_RESTORE)
    Exact,
    /// the library translates
    Virtual,
    /// a private user and pid namespace
    Namespace,
}

#[derive(Clone, Copy, ValueEnum, PartialEq, Eq, Debug)]
pub enum Pretended {
    OtherKernel,
    OtherBoot,
    /// at the first attempt, an id goes to a stranger after it was found free
    TakenId,
}

#[derive(Clone, Copy, ValueEnum, PartialEq, Eq, Debug)]
pub enum RestoreOption {
    /// before it goes on
    Eager,
    /// in the background (root, CAP_SYS_PTRACE)
    Lazy,
}

fn parse_map(text: &str) -> Result<(PathBuf, PathBuf), String> {
    let (old, new) = text.split_once('=').ok_or("expected OLD=NEW")?;
    if !old.starts_with('/') || !new.starts_with('/') {
        return Err("both folders must be absolute".into());
    }
    Ok((old.into(), new.into()))
}
