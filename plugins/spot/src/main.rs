//! Watches the instance's metadata for a notice that it will be taken away, takes a last checkpoint, has it uploaded,
//! and says so in the job record; meanwhile sets the interval between checkpoints.

mod commands;
mod interval;
mod options;
mod watch;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    ckpt_cloud::run("ckpt_spot", watch::run(options::Options::parse()))
}
