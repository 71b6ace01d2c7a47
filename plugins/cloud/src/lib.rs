//! What the cloud programs share: configuration, instance metadata, errors, retries, events, the job record.
//!
//! Nothing here is ever loaded into a checkpointed program: these are programs of their own, started by the
//! coordinator as hooks, or by a person.

pub mod config;
pub mod error;
pub mod event;
pub mod files;
pub mod imds;
pub mod job;
pub mod ownership;
pub mod retry;
pub mod set;

pub use config::{Cloud, CloudOptions};
pub use error::{CloudError, Kind};

use std::process::ExitCode;

/// Runs a program to its end: its one line of success on standard output, its one line of failure on standard error.
/// Exits with 0, 1, or the status that the outcome asks for.
pub fn run<F, T>(program: &str, work: F) -> ExitCode
where
    F: std::future::Future<Output = Result<T, Failure>>,
    T: Into<Done>,
{
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return fail(program, &Failure::from(format!("cannot start: {e}"))),
    };
    match runtime.block_on(work) {
        Ok(done) => {
            let done: Done = done.into();
            if !done.line.is_empty() {
                use std::io::Write;
                // A reader that left is no failure of the work.
                let _ = writeln!(std::io::stdout(), "{}", done.line);
            }
            ExitCode::from(done.status)
        }
        Err(failure) => fail(program, &failure),
    }
}

/// The end of a program that did what it was for.
#[derive(Debug)]
pub struct Done {
    pub line: String,
    pub status: u8,
}

impl From<String> for Done {
    fn from(line: String) -> Done {
        Done { line, status: 0 }
    }
}

fn fail(program: &str, failure: &Failure) -> ExitCode {
    eprintln!("{program}: {}", error::one_line(&failure.message));
    ExitCode::from(failure.status)
}

/// The end of a program that did not succeed.
#[derive(Debug)]
pub struct Failure {
    pub message: String,
    pub status: u8,
}

impl Failure {
    pub fn with_status(self, status: u8) -> Failure {
        Failure { status, ..self }
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Failure {
        Failure { message, status: 1 }
    }
}

impl From<CloudError> for Failure {
    fn from(e: CloudError) -> Failure {
        Failure::from(e.to_string())
    }
}
