//! Command line. Every option has its place in docs/CLOUD.md.

use ckpt_cloud::CloudOptions;
use std::path::PathBuf;

#[derive(Clone, Debug, clap::Parser)]
#[command(name = "ec2-snapshot", version, about = "Snapshots of the volumes of this instance, at the moment when a checkpoint is complete")]
pub struct Options {
    /// The event, instead of standard input
    #[arg(long, value_name = "FILE")]
    pub event: Option<PathBuf>,
    /// Instance, instead of this one; repeat it for a computation on several
    #[arg(long, value_name = "ID")]
    pub instance: Vec<String>,
    /// Only these volumes, one call each: not one point in time for all; repeatable
    #[arg(long, value_name = "ID", conflicts_with_all = ["instance", "exclude_boot", "copy_tags"])]
    pub volume: Vec<String>,
    /// Leave the boot volume out
    #[arg(long)]
    pub exclude_boot: bool,
    /// A further tag on each snapshot; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub tag: Vec<(String, String)>,
    /// Tags of each volume go on its snapshot too
    #[arg(long)]
    pub copy_tags: bool,
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Another folder whose file system is to be synced: data files of the program; repeatable
    #[arg(long, value_name = "DIR")]
    pub sync: Vec<PathBuf>,
    /// The programs may run on meanwhile (no --hold): files in the snapshot may be newer than the memory in the images
    #[arg(long)]
    pub free: bool,
    /// Only see whether the calls would be allowed
    #[arg(long)]
    pub dry_run: bool,
    /// Return when the snapshots are completed, not when their point in time is fixed
    #[arg(long)]
    pub wait: bool,
    /// How long --wait waits
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    pub wait_timeout: u64,
    /// List the sets of this computation (or of all: `any`), newest first, and do nothing else
    #[arg(long, value_name = "COMPUTATION")]
    pub list: Option<String>,
    /// Answer with one line of JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub cloud: CloudOptions,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, _)) if key.starts_with("aws:") => Err("keys that begin with aws: are Amazon's own".into()),
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => Err("KEY=VALUE is wanted".into()),
    }
}
