//! `cargo xtask`: builds the product and tests it.
//!
//! `test` runs small self-checking programs (guests) natively and under the product; `demo` shows the main job; `stress` loads
//! what is shared between processes.

mod build;
mod demo;
mod deep;
mod faults;
mod fixtures;
mod guests;
mod leftovers;
mod product;
mod programs;
mod report;
mod run;
mod soak;
mod stress;
mod suite;
mod timings;

use clap::{Args, Parser, Subcommand};
use nix::sys::signal::{SigHandler, Signal, signal};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run the guests, or the real programs, in every mode
    Test(TestArgs),
    /// Launch, checkpoint, kill and restart a real program, visibly
    Demo,
    /// Every fault at every stage of a checkpoint and of a restart
    Faults {
        /// Only those of which STAGE:FAULT contains this
        #[arg(long)]
        filter: Option<String>,
        /// Take the programs beside xtask as they are
        #[arg(long)]
        no_build: bool,
        /// Renew the table in this file
        #[arg(long)]
        report: Option<PathBuf>,
    },
    /// Checkpoint, kill and restart over and over; what grows
    Soak {
        #[arg(long, default_value_t = 500)]
        cycles: usize,
        /// Folder of the programs to test
        #[arg(long)]
        bin: Option<PathBuf>,
        /// Of ckpt_launch and ckpt_restart, in one word; compressed or not must not depend on the load
        #[arg(long, default_value = "--compress none", allow_hyphen_values = true)]
        options: String,
    },
    /// Make the stored images of tests/fixtures and what the fuzzers begin with anew
    Fixtures,
    /// The pure crates under Miri (nightly)
    Miri,
    /// The library's phases and locks, every interleaving (loom)
    Loom,
    /// Coordinator and agent under ThreadSanitizer (nightly, rust-src)
    Tsan,
    /// Every fuzzing target (nightly, cargo-fuzz)
    Fuzz {
        /// Of each target
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Only this one
        #[arg(long)]
        target: Option<String>,
    },
    /// A thousand streams over twenty restarts, and a computation of two hundred processes
    Stress(stress::StressArgs),
    /// One guest in one mode; `test` calls this for each run
    #[command(hide = true)]
    RunOne(run::Spec),
}

/// Which runs, and how.
#[derive(Args, Clone)]
pub struct TestArgs {
    /// Only guests whose name contains this
    #[arg(long)]
    filter: Option<String>,
    /// Only these modes
    #[arg(long, value_delimiter = ',', default_value = "native,launched,resume,restart,twice")]
    modes: Vec<run::Mode>,
    /// What to run: the guests, or real programs such as python3 and make
    #[arg(long, default_value = "guests")]
    group: Group,
    /// Runs at a time
    #[arg(long, default_value_t = 4)]
    jobs: usize,
    /// Run everything as this user (needs root)
    #[arg(long)]
    user: Option<String>,
    /// Passed on to ckpt_restart --ids
    #[arg(long)]
    ids: Option<String>,
    /// Passed on to ckpt_launch, in one word: "--incremental=4 --compress lz4"
    #[arg(long, value_name = "OPTIONS", allow_hyphen_values = true)]
    launch_args: Option<String>,
    /// Passed on to ckpt_restart, in one word
    #[arg(long, value_name = "OPTIONS", allow_hyphen_values = true)]
    restart_args: Option<String>,
    /// Checkpoints at each point where a mode takes one; the last counts
    #[arg(long, default_value_t = 1)]
    checkpoints: usize,
    /// Seconds until a run counts as hanging
    #[arg(long, default_value_t = 30)]
    deadline: u64,
    /// Repeat every run this often
    #[arg(long, default_value_t = 1)]
    repeat: usize,
    /// Keep the folder of every run
    #[arg(long)]
    keep: bool,
    /// Take target/release as it is
    #[arg(long)]
    no_build: bool,
    /// Write the matrix of guests and modes to this file
    #[arg(long)]
    report: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Group {
    Guests,
    Programs,
}

/// What a login shell has; the machine that runs the tests may have more.
fn usual_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(1024), hard);
    }
}

fn main() -> ExitCode {
    // Under nohup(1) a restart makes programs ignore it; guests compare what they have set.
    // SAFETY: our own disposition.
    let _ = unsafe { signal(Signal::SIGHUP, SigHandler::SigDfl) };
    let done = match Cli::parse().task {
        Task::Test(args) => suite::test(&args),
        Task::Stress(args) => stress::stress(&args),
        Task::Demo => demo::demo().map(|()| true),
        Task::Faults { filter, no_build, report } => faults::faults(filter.as_deref(), no_build, report.as_deref()),
        Task::Soak { cycles, bin, options } => soak::soak(cycles, bin.as_deref(), &options),
        Task::Fixtures => fixtures::fixtures(),
        Task::Miri => deep::miri(),
        Task::Loom => deep::loom(),
        Task::Tsan => deep::tsan(),
        Task::Fuzz { seconds, target } => deep::fuzz(seconds, target.as_deref()),
        Task::RunOne(spec) => {
            usual_file_limit();
            println!("{}", run::run_one(spec));
            Ok(true)
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}
