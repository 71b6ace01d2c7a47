//! A real coordinator and agents that only talk.

#![allow(dead_code)]

use ckpt_coordinator::{Address, Client, JoinMode, LaunchOptions};
use ckpt_wire::{
    AgentMessage, CheckpointStats, CommandMessage, ComputationId, CoordinatorMessage, Hello, ImageInfo, Overrides, Role,
    Stage, Status, Welcome,
};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

pub const BINARY: &str = env!("CARGO_BIN_EXE_ckpt_coordinator");
pub const COMMAND: &str = env!("CARGO_BIN_EXE_ckpt_command");

/// A coordinator in a folder of its own, killed at the end.
pub struct Coordinator {
    pub address: Address,
    pub tmpdir: PathBuf,
    pid: Option<Pid>,
}

pub fn tmpdir() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let unique = format!("ckpt-it-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(unique);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// The coordinator's command line, free of what the environment of the tests says.
pub fn coordinator_command(args: &[&str], tmpdir: &PathBuf) -> Command {
    let mut command = Command::new(BINARY);
    command.args(args).arg("--tmpdir").arg(tmpdir).env_remove("XDG_RUNTIME_DIR").stdin(std::process::Stdio::null());
    command
}

impl Coordinator {
    pub fn start(args: &[&str]) -> Coordinator {
        let tmpdir = tmpdir();
        let args = [&["--daemon", "-p", "0"], args].concat();
        let output = coordinator_command(&args, &tmpdir).output().unwrap();
        let port = text(&output.stdout).trim().parse().unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
        let mut started = Coordinator { address: Address::local(port, Some(&tmpdir)), tmpdir, pid: None };
        started.learn_pid();
        started
    }

    /// A folder and a free port, and nobody there yet.
    pub fn absent() -> Coordinator {
        let mut free = Coordinator::start(&[]);
        free.kill();
        free
    }

    pub fn learn_pid(&mut self) {
        self.pid = Some(Pid::from_raw(self.status().pid as i32));
    }

    pub fn pid(&self) -> Option<Pid> {
        self.pid
    }

    pub fn launch_options(&self, mode: JoinMode) -> LaunchOptions {
        let program = Some(PathBuf::from(BINARY));
        LaunchOptions { address: self.address.clone(), explicit_port: true, mode, port_file: None, program }
    }

    pub fn folder(&self) -> PathBuf {
        self.tmpdir.join(format!("ckpt-{}", nix::unistd::geteuid()))
    }

    pub fn command_client(&self) -> Client {
        let mut client = Client::connect(&self.address).unwrap();
        client.hello(&Hello::new(Role::Command, "here".into(), 1, "test".into())).unwrap();
        client
    }

    pub fn status(&self) -> Status {
        let mut client = self.command_client();
        client.command(&CommandMessage::Status).unwrap();
        match client.recv().unwrap() {
            Some(CoordinatorMessage::Status(status)) => status,
            other => panic!("no status: {other:?}"),
        }
    }

    pub fn ckpt_command(&self, args: &[&str]) -> Output {
        let mut command = Command::new(COMMAND);
        command.args(args).arg("-p").arg(self.address.port.to_string()).arg("--tmpdir").arg(&self.tmpdir);
        command.output().unwrap()
    }

    pub fn kill(&mut self) {
        if let Some(pid) = self.pid.take() {
            let _ = kill(pid, Signal::SIGKILL);
            self.wait_for_exit();
        }
    }

    /// The lock is free when the coordinator is gone.
    pub fn wait_for_exit(&mut self) {
        self.pid = None;
        let lock = self.folder().join(format!("{}.lock", self.address.port));
        if let Ok(file) = std::fs::File::open(lock) {
            drop(Flock::lock(file, FlockArg::LockShared));
        }
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.tmpdir);
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An agent without programs.
pub struct Agent {
    pub client: Client,
    pub welcome: Welcome,
}

pub fn agent_hello(computation: Option<ComputationId>, generation: u32) -> Hello {
    Hello { computation, generation, ..Hello::new(Role::Agent, "here".into(), std::process::id(), "fake".into()) }
}

impl Agent {
    pub fn join(coordinator: &Coordinator) -> Agent {
        let mut client = Client::connect(&coordinator.address).unwrap();
        let welcome = client.hello(&agent_hello(None, 0)).unwrap();
        Agent { client, welcome }
    }

    pub fn join_many(coordinator: &Coordinator, count: usize) -> Vec<Agent> {
        (0..count).map(|_| Agent::join(coordinator)).collect()
    }

    /// What is to be noted beside the images is left out.
    pub fn next(&mut self) -> CoordinatorMessage {
        loop {
            let message = self.client.recv().unwrap().expect("the coordinator is there");
            if !matches!(message, CoordinatorMessage::Happened { .. }) {
                return message;
            }
        }
    }

    /// Waits for the start of a checkpoint; its generation.
    pub fn begin(&mut self) -> u32 {
        match self.next() {
            CoordinatorMessage::Checkpoint { generation, .. } => generation,
            other => panic!("not a checkpoint: {other:?}"),
        }
    }

    pub fn reach(&mut self, generation: u32, stage: Stage) {
        let path = format!("/images/fake-{}-g{generation}.img", self.welcome.client);
        let images = vec![ImageInfo { path, host: "here".into(), bytes: 1_000, digest: [7; 32] }];
        let done = CheckpointStats { images, bytes: 1_000, processes: 1, pause_us: 900, stages: vec![], notes: vec![] };
        let stats = (stage == Stage::Committed).then_some(done);
        self.client.send(&AgentMessage::Reached { generation, stage, stats }).unwrap();
    }

    /// Waits until every member stands at `stage`; the final index and count.
    pub fn released(&mut self, generation: u32, stage: Stage) -> (u32, u32) {
        match self.next() {
            CoordinatorMessage::Release { generation: g, stage: s, member_index, member_count, .. }
                if (g, s) == (generation, stage) =>
            {
                (member_index, member_count)
            }
            other => panic!("not the release of {stage:?}: {other:?}"),
        }
    }

    /// Waits until post-write hooks have ended.
    pub fn finished(&mut self) {
        match self.next() {
            CoordinatorMessage::Finish { .. } => {}
            other => panic!("not finished: {other:?}"),
        }
    }

    pub fn aborted(&mut self) -> String {
        match self.next() {
            CoordinatorMessage::Abort { reason, .. } => reason,
            other => panic!("not an abort: {other:?}"),
        }
    }

    pub fn leave(mut self) {
        self.client.send(&AgentMessage::Leave).unwrap();
    }
}

pub fn ask_checkpoint(coordinator: &Coordinator, kill: bool) -> Client {
    let mut client = coordinator.command_client();
    client.command(&CommandMessage::Checkpoint { kill, overrides: Overrides::default() }).unwrap();
    client
}

pub fn pass_stages(agents: &mut [Agent], generation: u32, stages: &[Stage]) {
    for &stage in stages {
        if stage == Stage::Resumed {
            agents.iter_mut().for_each(Agent::finished);
        }
        agents.iter_mut().for_each(|agent| agent.reach(generation, stage));
        for agent in agents.iter_mut().filter(|_| stage != Stage::Resumed) {
            agent.released(generation, stage);
        }
    }
}

pub fn begin_all(agents: &mut [Agent]) -> u32 {
    agents.iter_mut().map(Agent::begin).max().unwrap()
}

pub fn failure(command: &mut Client) -> String {
    match command.recv().unwrap() {
        Some(CoordinatorMessage::Failed { reason }) => reason,
        other => panic!("not a failure: {other:?}"),
    }
}
