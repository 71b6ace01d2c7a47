//! Joining a coordinator, or starting one that outlives us and leaves with its last client.

use crate::client::{Client, ClientError};
use crate::options::{CoordOptions, JoinOptions};
use crate::Address;
use ckpt_wire::{Hello, Welcome};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Exit status of ckpt_coordinator when its port is taken.
pub const EXIT_PORT_TAKEN: i32 = 3;

/// How long a coordinator that holds the port may take to listen.
const START_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinMode {
    /// Join, or start one.
    Any,
    /// Start one, always.
    New,
    /// Join, or fail.
    Join,
}

/// What `connect_or_start` needs to know.
#[derive(Debug, Clone)]
pub struct LaunchOptions {
    pub address: Address,
    /// The user named the port: no other one will do.
    pub explicit_port: bool,
    pub mode: JoinMode,
    pub port_file: Option<PathBuf>,
    /// The ckpt_coordinator to start; `None` is the one beside this program.
    pub program: Option<PathBuf>,
}

impl LaunchOptions {
    pub fn new(coord: &CoordOptions, join: &JoinOptions) -> LaunchOptions {
        let mode = match (join.new_coordinator, join.join_coordinator) {
            (true, _) => JoinMode::New,
            (_, true) => JoinMode::Join,
            _ => JoinMode::Any,
        };
        let explicit_port = coord.coord_port.is_some();
        LaunchOptions {
            address: Address::from_options(coord),
            explicit_port,
            mode,
            port_file: coord.port_file.clone(),
            program: None,
        }
    }

    fn program(&self) -> PathBuf {
        let beside = || Some(std::env::current_exe().ok()?.parent()?.join("ckpt_coordinator"));
        let found = self.program.clone().or_else(|| beside().filter(|path| path.exists()));
        found.unwrap_or_else(|| "ckpt_coordinator".into())
    }
}

/// Connects as `options` say. Call it before becoming a subreaper: the coordinator is to be nobody's child.
pub fn connect_or_start(options: &LaunchOptions) -> Result<Client, ClientError> {
    let joined = match (options.mode, options.address.port) {
        _ if options.address.host.is_some() => Client::connect(&options.address),
        (JoinMode::Join, _) => Client::connect(&options.address),
        (_, 0) => start_and_connect(options, 0),
        (JoinMode::New, port) => start_new(options, port),
        (JoinMode::Any, port) => join_or_start(options, port),
    }?;
    if let Some(file) = &options.port_file {
        std::fs::write(file, format!("{}\n", joined.port())).map_err(|e| ClientError::PortFile(file.clone(), e))?;
    }
    Ok(joined)
}

/// After the coordinator was lost: joins the one that others have started meanwhile, or starts one, and takes the
/// computation and its generation there.
pub fn reconnect(options: &LaunchOptions, hello: &Hello) -> Result<(Client, Welcome), ClientError> {
    let mode = if options.mode == JoinMode::Join { JoinMode::Join } else { JoinMode::Any };
    let mut client = connect_or_start(&LaunchOptions { mode, ..options.clone() })?;
    let welcome = client.hello(hello)?;
    Ok((client, welcome))
}

fn join_or_start(options: &LaunchOptions, port: u16) -> Result<Client, ClientError> {
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        match Client::connect(&options.address) {
            Err(error) if error.is_absent() => {}
            other => return other,
        }
        match start_and_connect(options, port) {
            // Somebody else starts one on this port just now, or one is leaving it.
            Err(ClientError::PortTaken(_) | ClientError::NoCoordinator(_)) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5))
            }
            other => return other,
        }
    }
}

fn start_new(options: &LaunchOptions, port: u16) -> Result<Client, ClientError> {
    match start_and_connect(options, port) {
        Err(ClientError::PortTaken(_)) if !options.explicit_port => {
            let client = start_and_connect(options, 0)?;
            eprintln!(
                "ckpt: port {port} is in use; the new coordinator has port {}: give --coord-port {0}",
                client.port()
            );
            Ok(client)
        }
        other => other,
    }
}

fn start_and_connect(options: &LaunchOptions, port: u16) -> Result<Client, ClientError> {
    let port = start(options, port)?;
    Client::connect(&options.address.with_port(port))
}

/// Starts a coordinator; returns its port once it listens.
fn start(options: &LaunchOptions, port: u16) -> Result<u16, ClientError> {
    let program = options.program();
    let failed = |reason: String| ClientError::Start { program: program.display().to_string(), reason };
    let mut command = Command::new(&program);
    command.args(["--daemon", "--exit-on-last", "--coord-host", "localhost", "--coord-port", &port.to_string()]);
    if let Some(tmpdir) = &options.address.tmpdir {
        command.arg("--tmpdir").arg(tmpdir);
    }
    for variable in ["LD_PRELOAD", "CKPT_AGENT", "CKPT_PORT_FILE", "CKPT_INTERVAL"] {
        command.env_remove(variable);
    }
    crate::hooks::forget(&mut command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.output().map_err(|error| failed(error.to_string()))?;
    if output.status.code() == Some(EXIT_PORT_TAKEN) {
        return Err(ClientError::PortTaken(port));
    }
    let said = String::from_utf8_lossy(&output.stdout);
    said.trim().parse().map_err(|_| failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
