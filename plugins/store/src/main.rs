//! Complete checkpoints in S3, and the record of a job: what a new instance needs to go on with the work of another.

mod bucket;
mod jobs;
mod list;
mod manifest;
mod options;
mod parts;
mod pieces;
mod pull;
mod push;
mod upload;

use clap::Parser;
use options::{Command, Options};
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = Options::parse();
    ckpt_cloud::run("ckpt_store", async {
        match options.command {
            Command::Push(push) => push::run(push).await,
            Command::Pull(pull) => pull::run(pull).await,
            Command::List(list) => list::run(list).await,
            Command::Job(job) => jobs::run(job).await,
        }
    })
}
