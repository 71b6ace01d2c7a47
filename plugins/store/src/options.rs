//! Command line. Every option has its place in docs/CLOUD.md.

use ckpt_cloud::job::State;
use ckpt_cloud::CloudOptions;
use std::path::PathBuf;

#[derive(Clone, Debug, clap::Parser)]
#[command(name = "ckpt_store", version, about = "Copies complete checkpoints to and from S3; keeps the record of a job in DynamoDB")]
pub struct Options {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Copy the newest complete checkpoint of a folder to the store; as a post-write hook, that of the event
    Push(Push),
    /// Copy a complete checkpoint from the store to a folder
    Pull(Pull),
    /// The complete checkpoints in the store, newest first
    List(List),
    /// The record of a job: who works on it
    Job(Job),
}

#[derive(Clone, Debug, clap::Args)]
pub struct Place {
    /// s3://BUCKET/PREFIX
    #[arg(long, env = "CKPT_STORE", value_name = "URL")]
    pub store: String,
    /// Job; else the one that was claimed for the folder, else `default`
    #[arg(long, env = "CKPT_JOB", value_name = "NAME")]
    pub job: Option<String>,
    /// Parts copied at a time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub parallel: u8,
    #[command(flatten)]
    pub cloud: CloudOptions,
}

#[derive(Clone, Debug, clap::Args)]
pub struct Push {
    /// Folder of the images
    #[arg(env = "CKPT_CKPTDIR", value_name = "DIR", default_value = "./images")]
    pub folder: PathBuf,
    /// Read the event of a post-write hook from standard input
    #[arg(long)]
    pub hook: bool,
    /// MiB in a part at least; twice that at most
    #[arg(long, value_name = "MIB", default_value_t = 8, value_parser = clap::value_parser!(u32).range(5..=1024))]
    pub part_size: u32,
    /// Generations to keep in the store; 0 keeps all
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub keep: u32,
    #[command(flatten)]
    pub place: Place,
}

#[derive(Clone, Debug, clap::Args)]
pub struct Pull {
    /// Folder for the images
    #[arg(env = "CKPT_CKPTDIR", value_name = "DIR", default_value = "./images")]
    pub folder: PathBuf,
    /// Generation; else the one that the job record names, else the newest
    #[arg(long, value_name = "N")]
    pub generation: Option<u32>,
    #[command(flatten)]
    pub place: Place,
}

#[derive(Clone, Debug, clap::Args)]
pub struct List {
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub place: Place,
}

#[derive(Clone, Debug, clap::Args)]
pub struct Job {
    #[command(subcommand)]
    pub action: Action,
}

#[derive(Clone, Debug, clap::Args)]
pub struct Record {
    /// DynamoDB table
    #[arg(long, env = "CKPT_JOB_TABLE", value_name = "NAME", default_value = "ckpt-jobs")]
    pub table: String,
    #[command(flatten)]
    pub cloud: CloudOptions,
}

#[derive(Clone, Debug, clap::Subcommand)]
pub enum Action {
    /// Make the table (paid by request)
    CreateTable {
        #[command(flatten)]
        record: Record,
    },
    /// Take a job for this instance; waits for an owner that gives no sign of life. Exits with 3 if it is not to be had
    Claim {
        #[arg(env = "CKPT_JOB")]
        job: String,
        /// Folder of the images, where job.json is put
        #[arg(long, env = "CKPT_CKPTDIR", value_name = "DIR", default_value = "./images")]
        ckptdir: PathBuf,
        /// Name of this owner; else the id of the instance, else the host's name
        #[arg(long, value_name = "NAME")]
        owner: Option<String>,
        /// Seconds without a sign of life after which this owner counts as gone
        #[arg(long, value_name = "SECONDS", default_value_t = 60)]
        lease: u64,
        /// How long to wait for it
        #[arg(long, value_name = "SECONDS", default_value_t = 300)]
        wait: u64,
        /// Begin a job anew that is done
        #[arg(long)]
        again: bool,
        #[command(flatten)]
        record: Record,
    },
    /// Say that the work on it has ended here
    End {
        #[arg(value_enum)]
        state: End,
        #[arg(long, env = "CKPT_CKPTDIR", value_name = "DIR", default_value = "./images")]
        ckptdir: PathBuf,
        #[command(flatten)]
        cloud: CloudOptions,
    },
    /// The record, as one line of JSON
    Show {
        #[arg(env = "CKPT_JOB")]
        job: String,
        #[command(flatten)]
        record: Record,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum End {
    Interrupted,
    Done,
    Failed,
}

impl From<End> for State {
    fn from(end: End) -> State {
        match end {
            End::Interrupted => State::Interrupted,
            End::Done => State::Done,
            End::Failed => State::Failed,
        }
    }
}
