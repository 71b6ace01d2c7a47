//! The command line of ckpt_coordinator.

use crate::barrier::{Deadlines, SECOND};
use crate::hooks::HookOptions;
use crate::options::CoordOptions;
use clap::Parser;
use std::path::PathBuf;

/// Coordinates checkpoints of the programs that ckpt_launch and ckpt_restart start.
#[derive(Parser, Debug, Clone)]
#[command(name = "ckpt_coordinator", version)]
pub struct Settings {
    #[command(flatten)]
    pub coord: CoordOptions,

    /// Run in the background; returns when the coordinator listens, and prints its port
    #[arg(long)]
    pub daemon: bool,

    /// Exit when the last client leaves
    #[arg(long)]
    pub exit_on_last: bool,

    /// Exit when there was no client for this long
    #[arg(long, value_name = "SECONDS", env = "CKPT_STALE_TIMEOUT")]
    pub stale_timeout: Option<u32>,

    /// Append what happens to this file instead of standard error
    #[arg(long, value_name = "FILE", env = "CKPT_COORD_LOG")]
    pub log: Option<PathBuf>,

    /// Seconds between checkpoints; 0 is never
    #[arg(short = 'i', long, value_name = "SECONDS", env = "CKPT_INTERVAL", default_value_t = 0)]
    pub interval: u32,

    /// Serve other hosts too, on this address; they need the key
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,

    /// Read commands from standard input even if it is no terminal
    #[arg(long)]
    pub prompt: bool,

    /// How long programs may take to stand still
    #[arg(long, value_name = "SECONDS", env = "CKPT_STAGE_TIMEOUT", default_value_t = 60)]
    pub stage_timeout: u32,

    /// How long images may take to be written
    #[arg(long, value_name = "SECONDS", env = "CKPT_WRITE_TIMEOUT", default_value_t = 21_600)]
    pub write_timeout: u32,

    #[command(flatten)]
    pub hooks: HookOptions,

    /// Where it was started.
    #[arg(skip)]
    pub folder: Option<PathBuf>,
}

impl Settings {
    /// The address to listen on for other hosts: --listen, or a --coord-host that is not this host's loopback.
    pub fn listen_address(&self) -> Option<String> {
        let host = self.coord.coord_host.as_deref();
        let outside = host.filter(|host| !matches!(*host, "" | "localhost" | "127.0.0.1" | "::1"));
        self.listen.as_deref().or(outside).map(str::to_owned)
    }

    pub fn deadlines(&self) -> Deadlines {
        let micros = |seconds: u32| u64::from(seconds.max(1)) * SECOND;
        Deadlines { stage: micros(self.stage_timeout), write: micros(self.write_timeout), ..Deadlines::default() }
    }
}
