//! A hook for `ckpt_coordinator --hold --hook post-write=ec2-snapshot`: syncs the file system of the images, has EC2
//! fix the point in time of a snapshot set, and records the set beside the images and off the instance.

mod create;
mod describe;
mod options;
mod record;
mod snapshot;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    ckpt_cloud::run("ec2-snapshot", snapshot::run(options::Options::parse()))
}
