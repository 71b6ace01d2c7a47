//! Command line. Every option has its place in docs/CLOUD.md.

use ckpt_cloud::CloudOptions;
use std::path::PathBuf;

#[derive(Clone, Debug, clap::Parser)]
#[command(name = "ckpt_spot", version, about = "Takes a last checkpoint when this spot instance is to be taken away", disable_help_flag = true)]
pub struct Options {
    /// Host of the coordinator
    #[arg(short = 'h', long, value_name = "HOST")]
    pub coord_host: Option<String>,
    /// Port of the coordinator
    #[arg(short = 'p', long, value_name = "PORT")]
    pub coord_port: Option<u16>,
    /// Folder of the images; a job claimed for it (ckpt_store job claim) is kept alive
    #[arg(long, env = "CKPT_CKPTDIR", value_name = "DIR", default_value = "./images")]
    pub ckptdir: PathBuf,
    /// Interval between checkpoints: seconds, or `auto`: the best for the cost of a checkpoint and the failure rate
    #[arg(short, long, value_name = "SECONDS|auto")]
    pub interval: Option<Interval>,
    /// Hours between losses of an instance, for `auto`; else learnt from the job record, beginning with 24
    #[arg(long, value_name = "HOURS")]
    pub mtbf: Option<f64>,
    /// On a notice let the programs run on after the checkpoint: what they do then is lost
    #[arg(long)]
    pub no_kill: bool,
    /// What a rebalance recommendation brings about
    #[arg(long, value_enum, default_value_t = Rebalance::Checkpoint)]
    pub rebalance: Rebalance,
    /// Run after each checkpoint that a notice brought about, by `sh -c`: an upload. CKPT_CKPTDIR and CKPT_NOTICE are set
    #[arg(long, value_name = "COMMAND")]
    pub then: Option<String>,
    /// Kill the programs here when another instance owns the job
    #[arg(long)]
    pub fence: bool,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    pub poll: f64,
    /// Where ckpt_command is
    #[arg(long, value_name = "PATH")]
    pub ckpt_command: Option<PathBuf>,
    /// Say what is done as lines of JSON
    #[arg(long)]
    pub json: bool,
    #[arg(long, action = clap::ArgAction::Help, help = "Print help")]
    pub help: Option<bool>,
    #[command(flatten)]
    pub cloud: CloudOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Rebalance {
    Checkpoint,
    Ignore,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    Auto,
    Seconds(u32),
}

impl std::str::FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Interval, String> {
        match text {
            "auto" => Ok(Interval::Auto),
            _ => text.parse().map(Interval::Seconds).map_err(|_| "seconds or `auto` is wanted".into()),
        }
    }
}
