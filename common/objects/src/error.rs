use std::fmt;
use std::io;

/// One descriptor that cannot be checkpointed, and why.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub pid: i32,
    pub number: i32,
    pub what: String,
    pub why: String,
    /// It passes when the program has run a little further.
    pub passing: bool,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(
            f,
            "process {}: descriptor {} ({}) cannot be checkpointed: {}",
            self.pid, self.number, self.what, self.why
        )
    }
}

#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// Every object that cannot be checkpointed, one line each.
    #[error("{}", lines(.0))]
    Refused(Vec<Refusal>),
    #[error("process {pid}: descriptor {number} ({what}): {step}: {error}")]
    Object {
        pid: i32,
        number: i32,
        what: String,
        step: &'static str,
        error: io::Error,
    },
}

impl CaptureError {
    /// Is it worth while to let the program run on for a moment and look again?
    pub fn passes(&self) -> bool {
        matches!(self, CaptureError::Refused(all) if all.iter().all(|r| r.passing))
    }
}

fn lines(refusals: &[Refusal]) -> String {
    let lines: Vec<String> = refusals.iter().map(Refusal::to_string).collect();
    lines.join("\n")
}

#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error("{what}: {step}: {error}")]
    Object {
        what: String,
        step: &'static str,
        error: io::Error,
    },
    #[error("descriptor {number} of process {pid} ({what}) cannot be installed: {error}")]
    Install {
        pid: i32,
        number: i32,
        what: String,
        error: io::Error,
    },
    #[error("the image has no descriptors of process {0}")]
    NoSuchProcess(i32),
    #[error("no free descriptor numbers: {0}; raise the hard limit (ulimit -Hn)")]
    TooManyDescriptors(io::Error),
}
