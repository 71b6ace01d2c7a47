//! ckpt_command, as a child process: this program holds no connection that a checkpoint would wait for.

use crate::options::Options;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

#[derive(Clone)]
pub struct Commands {
    program: PathBuf,
    common: Vec<String>,
}

/// What `--status --json` says, as far as it is used.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Status {
    #[serde(default)]
    pub interval: u32,
    #[serde(default)]
    pub last: Option<Last>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Last {
    pub generation: u32,
    #[serde(default)]
    pub duration_us: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// The checkpoint is complete and durable, but a hook failed.
    HookFailed(String),
    Failed(String),
    /// No coordinator answers: the programs have ended.
    Gone,
}

impl Commands {
    pub fn new(options: &Options) -> Commands {
        let beside = std::env::current_exe().ok().map(|p| p.with_file_name("ckpt_command")).filter(|p| p.exists());
        let program = options.ckpt_command.clone().or(beside).unwrap_or_else(|| "ckpt_command".into());
        let host = options.coord_host.iter().flat_map(|h| ["-h".to_owned(), h.clone()]);
        let port = options.coord_port.iter().flat_map(|p| ["-p".to_owned(), p.to_string()]);
        Commands { program, common: host.chain(port).chain(["--json".to_owned()]).collect() }
    }

    pub async fn status(&self) -> Result<Status, Outcome> {
        let text = self.ask(&["--status"], Duration::from_secs(20)).await?;
        serde_json::from_str(&text).map_err(|e| Outcome::Failed(format!("its status is not understood: {e}")))
    }

    pub async fn set_interval(&self, seconds: u32) -> Result<(), Outcome> {
        self.ask(&["--interval", &seconds.to_string()], Duration::from_secs(20)).await.map(drop)
    }

    pub async fn checkpoint(&self, kill: bool, patience: Duration) -> Outcome {
        let arguments: &[&str] = if kill { &["--checkpoint", "--kill"] } else { &["--checkpoint"] };
        self.ask(arguments, patience).await.map_or_else(|outcome| outcome, |_| Outcome::Done)
    }

    /// `sh -c`, told where the images are and why.
    pub async fn then(line: &str, ckptdir: &Path, notice: &str) -> Result<(), String> {
        let mut command = tokio::process::Command::new("/bin/sh");
        command.args(["-c", line]).env("CKPT_CKPTDIR", ckptdir).env("CKPT_NOTICE", notice).stdin(Stdio::null());
        command.kill_on_drop(true);
        match command.status().await {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("`{line}` ended with {status}; the images are in {}", ckptdir.display())),
            Err(e) => Err(format!("/bin/sh: {e}")),
        }
    }

    pub async fn kill(&self) -> Outcome {
        self.ask(&["--kill"], Duration::from_secs(60)).await.map_or_else(|outcome| outcome, |_| Outcome::Done)
    }

    async fn ask(&self, arguments: &[&str], patience: Duration) -> Result<String, Outcome> {
        let mut command = tokio::process::Command::new(&self.program);
        command.args(&self.common).args(arguments).stdin(Stdio::null()).stderr(Stdio::piped()).stdout(Stdio::piped());
        command.kill_on_drop(true);
        let output = match tokio::time::timeout(patience, command.output()).await {
            Err(_) => return Err(Outcome::Failed(format!("no answer within {:.0} s", patience.as_secs_f64()))),
            Ok(Err(e)) => return Err(Outcome::Failed(format!("{}: {e}; give --ckpt-command", self.program.display()))),
            Ok(Ok(output)) => output,
        };
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        match output.status.code() {
            Some(0) => Ok(text),
            Some(2) => Err(Outcome::Gone),
            Some(3) => Err(Outcome::HookFailed(reason(&text, &output.stderr))),
            _ => Err(Outcome::Failed(reason(&text, &output.stderr))),
        }
    }
}

fn reason(json: &str, stderr: &[u8]) -> String {
    let said = serde_json::from_str::<serde_json::Value>(json).ok();
    let said = said.and_then(|v| v["error"].as_str().or(v["hook_failure"].as_str()).map(str::to_owned));
    let or = || match String::from_utf8_lossy(stderr).trim() {
        "" => "it failed".to_owned(),
        text => text.to_owned(),
    };
    ckpt_cloud::error::one_line(&said.unwrap_or_else(or))
}
