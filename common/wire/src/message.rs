//! The messages. A client says `Hello` first and hears `Welcome` or `Refused`; the rest depends on its role.

use crate::{Compression, ComputationId, PauseMode};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Everything a client can send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientMessage {
    Hello(Hello),
    Agent(AgentMessage),
    Command(CommandMessage),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// The host agent in `ckpt_launch` or `ckpt_restart`: a member of checkpoints.
    Agent,
    /// `ckpt_command`: asks and leaves.
    Command,
}

/// Who the client is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub version: u16,
    pub role: Role,
    pub host: String,
    pub pid: u32,
    pub program: String,
    /// Known after a restart, and when an agent comes back to a new coordinator.
    pub computation: Option<ComputationId>,
    /// The newest generation this agent knows of; 0 before the first checkpoint.
    pub generation: u32,
    /// Seconds between checkpoints, where `--interval` was given to this agent; 0 turns them off.
    pub interval: Option<u32>,
    /// Where this agent's images go.
    pub ckptdir: String,
    /// What `--hook` said to this agent.
    pub hooks: Option<HookRequest>,
}

/// Hooks that an agent brings along; they go with it. Only a client on the coordinator's host may bring any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookRequest {
    /// Lines for `/bin/sh`.
    pub programs: Vec<(HookEvent, String)>,
    /// Where the agent was started: they run there.
    pub folder: String,
    pub hold: bool,
    /// Seconds; `None` is the coordinator's own.
    pub timeout: Option<u32>,
}

impl Hello {
    /// A hello in this protocol version, of a program with no past.
    pub fn new(role: Role, host: String, pid: u32, program: String) -> Hello {
        let version = crate::PROTOCOL_VERSION;
        Hello { version, role, host, pid, program, computation: None, generation: 0, interval: None, ckptdir: String::new(), hooks: None }
    }
}

/// The points at which the members of a checkpoint wait for each other, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// Every thread stands still.
    Quiesced,
    /// The state is held by snapshots; with `--pause=cow` programs go on once this is released.
    Captured,
    /// The image is written and fsynced under a temporary name.
    Written,
    /// The image has its name: this generation can be restarted.
    Committed,
    /// After `Finish`: the programs run again, or have been killed. Nothing fails any more.
    Resumed,
}

impl Stage {
    pub const ALL: [Stage; 5] =
        [Stage::Quiesced, Stage::Captured, Stage::Written, Stage::Committed, Stage::Resumed];

    /// The stage after this one.
    pub fn next(self) -> Option<Stage> {
        Stage::ALL.get(self as usize + 1).copied()
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Quiesced => "quiesced",
            Stage::Captured => "captured",
            Stage::Written => "written",
            Stage::Committed => "committed",
            Stage::Resumed => "resumed",
        }
    }
}

/// A named duration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    pub name: String,
    pub us: u64,
}

/// A complete image file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageInfo {
    pub host: String,
    pub path: String,
    pub bytes: u64,
    /// SHA-256 of its header and metadata, which hold the checksums of all the rest.
    pub digest: [u8; 32],
}

/// What a hook may be named for, in the order in which it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HookEvent {
    /// A checkpoint was asked for; no program has been told yet.
    PreCheckpoint,
    /// Every image is complete, fsynced and renamed.
    PostWrite,
    /// The checkpoint is over, well or not, and the programs run.
    Resumed,
    /// Every member of a restarted computation runs.
    Restarted,
}

impl HookEvent {
    pub const ALL: [HookEvent; 4] =
        [HookEvent::PreCheckpoint, HookEvent::PostWrite, HookEvent::Resumed, HookEvent::Restarted];

    pub fn as_str(self) -> &'static str {
        match self {
            HookEvent::PreCheckpoint => "pre-checkpoint",
            HookEvent::PostWrite => "post-write",
            HookEvent::Resumed => "resumed",
            HookEvent::Restarted => "restarted",
        }
    }
}

/// How one hook went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookReport {
    pub event: HookEvent,
    pub program: String,
    /// Microseconds since 1970 when it was started.
    pub at_us: u64,
    pub us: u64,
    /// Why it counts as failed; `None`: it exited with 0.
    pub failure: Option<String>,
}

/// An event of the whole computation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    pub event: HookEvent,
    /// Microseconds since 1970.
    pub at_us: u64,
    /// How long it took to get there from the event before, hooks not counted.
    pub us: u64,
    /// What the hooks of this event took.
    pub hooks_us: u64,
}

/// What happens to one process, in the order in which it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ProcessEvent {
    /// The program that `ckpt_launch` started has begun.
    Init,
    /// It was born by fork, vfork, clone or posix_spawn.
    Fork,
    /// exec was called for the program that it runs now.
    PreExec,
    /// That program has begun.
    PostExec,
    /// It was brought back.
    Restart,
    /// A thread was stopped; the others still run.
    PreSuspend,
    /// Every thread stands still.
    PreCheckpoint,
    /// All go on.
    Resume,
    /// It has ended.
    Exit,
}

impl ProcessEvent {
    pub const ALL: [ProcessEvent; 9] = [
        ProcessEvent::Init,
        ProcessEvent::Fork,
        ProcessEvent::PreExec,
        ProcessEvent::PostExec,
        ProcessEvent::Restart,
        ProcessEvent::PreSuspend,
        ProcessEvent::PreCheckpoint,
        ProcessEvent::Resume,
        ProcessEvent::Exit,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            ProcessEvent::Init => "init",
            ProcessEvent::Fork => "fork",
            ProcessEvent::PreExec => "pre-exec",
            ProcessEvent::PostExec => "post-exec",
            ProcessEvent::Restart => "restart",
            ProcessEvent::PreSuspend => "pre-suspend",
            ProcessEvent::PreCheckpoint => "pre-checkpoint",
            ProcessEvent::Resume => "resume",
            ProcessEvent::Exit => "exit",
        }
    }
}

/// An event of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessMoment {
    pub event: ProcessEvent,
    /// Microseconds since 1970.
    pub at_us: u64,
    pub us: u64,
    /// What plugins and callbacks of the program took of it.
    pub plugins_us: u64,
}

/// What happened to one process since the report before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessEvents {
    pub pid: i32,
    pub name: String,
    pub events: Vec<ProcessMoment>,
}

/// What one agent did in a checkpoint; sent with `Committed`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointStats {
    pub images: Vec<ImageInfo>,
    pub bytes: u64,
    pub processes: u32,
    /// The longest time any process of this agent stood still.
    pub pause_us: u64,
    pub stages: Vec<Timing>,
    /// What was chosen for this checkpoint, and why, in a sentence each.
    pub notes: Vec<String>,
}

/// One process as `--list` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRow {
    pub pid: i32,
    pub ppid: i32,
    pub name: String,
    /// The letter of `/proc/PID/stat`.
    pub state: char,
    pub threads: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AgentMessage {
    /// This member stands at `stage`. `stats` comes with `Committed`.
    Reached { generation: u32, stage: Stage, stats: Option<CheckpointStats> },
    /// This member cannot take part; everybody else is told to give up.
    Failed { generation: u32, reason: String },
    /// An answer to `ListProcesses`, in as many messages as its rows need.
    Processes { request: u32, rows: Vec<ProcessRow>, last: bool },
    /// What happened to processes up to this checkpoint or restart; before `Reached { Resumed }` or `Restarted`.
    Events { generation: u32, rows: Vec<ProcessEvents> },
    /// The programs of a restart run. `members`: how many agents bring this generation back; `us`: how long it took.
    Restarted { generation: u32, members: u32, us: u64 },
    /// A program asks for a checkpoint: answered with `Done` or `Failed`, each request in its turn.
    Request,
    /// A process told the computation's others something (`ckpt_publish`).
    Published { key: Vec<u8>, value: Vec<u8> },
    /// The program ended; the connection closes next.
    Leave,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandMessage {
    Checkpoint {
        kill: bool,
        overrides: Overrides,
    },
    List,
    Status,
    /// Seconds between checkpoints; 0 turns them off.
    Interval {
        seconds: u32,
    },
    /// End every program of the computation.
    Kill,
    /// `Kill`, then the coordinator exits.
    Quit,
}

/// What one checkpoint does otherwise than the agent's own options say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overrides {
    pub compression: Option<Compression>,
    pub pause: Option<PauseMode>,
}

/// The coordinator takes the client in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    pub client: u32,
    pub computation: ComputationId,
    pub next_generation: u32,
}

/// Everything the coordinator can send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CoordinatorMessage {
    Welcome(Welcome),
    /// The client cannot join; the connection closes next.
    Refused {
        reason: String,
    },

    // To agents.
    /// Quiesce. Index and count are provisional until `Release { stage: Quiesced }`.
    Checkpoint {
        generation: u32,
        /// Tells this attempt from another one at the same generation: images of two are never mixed.
        attempt: u64,
        /// How long the coordinator waits for a stage and for the writing, seconds: a member that hears nothing
        /// for longer gives up.
        patience: (u32, u32),
        member_index: u32,
        member_count: u32,
        kill_after: bool,
        /// The programs stand still until `Finish`, whatever the pause mode.
        hold: bool,
        overrides: Overrides,
        /// Seconds between checkpoints, 0: none by itself. For the image, and for a coordinator that comes after.
        interval: u32,
    },
    /// Every member stands at `stage`: go on. Index and count are final.
    Release {
        generation: u32,
        stage: Stage,
        member_index: u32,
        member_count: u32,
    },
    /// Post-write hooks have ended: held programs go on. `note` is to be written beside the images.
    Finish {
        generation: u32,
        note: Option<Box<Summary>>,
    },
    /// To be noted beside the images: `Resumed` or `Restarted`, with what its hooks took.
    Happened {
        generation: u32,
        event: Moment,
        hooks: Vec<HookReport>,
    },
    /// Give this generation up: remove what was written and let the program go on.
    Abort {
        generation: u32,
        reason: String,
    },
    /// Answer with `Processes` of the same `request`.
    ListProcesses {
        request: u32,
    },
    /// What a process of another agent has published.
    Published {
        key: Vec<u8>,
        value: Vec<u8>,
    },
    /// End the program, then `Leave`.
    Kill,

    // To commands.
    Done(Summary),
    Failed {
        reason: String,
    },
    Processes {
        agents: Vec<(AgentInfo, Vec<ProcessRow>)>,
        silent: Vec<AgentInfo>,
    },
    Status(Status),
    /// The command was carried out and has nothing more to say.
    Ok,
}

/// An agent as commands see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentInfo {
    pub client: u32,
    pub host: String,
    pub pid: u32,
    pub program: String,
    pub ckptdir: String,
}

/// A finished checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    pub generation: u32,
    /// Microseconds since 1970 when the programs were told.
    pub at_us: u64,
    pub images: Vec<ImageInfo>,
    pub bytes: u64,
    pub processes: u32,
    /// The longest pause of any process.
    pub pause_us: u64,
    /// From the first message of the coordinator to the last answer.
    pub duration_us: u64,
    /// How long the barrier took to reach each stage.
    pub stages: Vec<Timing>,
    /// The slowest agent's own timings, by name.
    pub agent_stages: Vec<Timing>,
    /// Not part of `duration_us`.
    pub hooks: Vec<HookReport>,
    /// What the agents chose, and why.
    pub notes: Vec<String>,
    pub events: Vec<Moment>,
    /// By host. Not in `Done`, whoever wants them asks for the status.
    pub process_events: Vec<(String, ProcessEvents)>,
}

/// The last restart of the computation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restarted {
    pub generation: u32,
    pub event: Moment,
    pub hooks: Vec<HookReport>,
    pub process_events: Vec<(String, ProcessEvents)>,
}

/// A checkpoint that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub generation: u32,
    /// The stage that is awaited.
    pub stage: Stage,
    pub arrived: u32,
    pub members: u32,
    pub queued: bool,
}

/// The coordinator's whole state in brief.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub port: u16,
    pub pid: u32,
    pub computation: ComputationId,
    pub next_generation: u32,
    /// Seconds; 0 is off.
    pub interval: u32,
    pub agents: Vec<AgentInfo>,
    pub running: Option<Progress>,
    pub last: Option<alloc::boxed::Box<Summary>>,
    pub last_failure: Option<String>,
    pub restarted: Option<Box<Restarted>>,
}
