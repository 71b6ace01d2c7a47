//! The barrier of a checkpoint as a pure state machine: `step(now, Event) -> Vec<Action>`.
//!
//! ```text
//!            Requested              all Quiesced      all Captured     all Written      all Committed
//!   idle ----------------> Quiesced ----------> Captured -------> Written -------> Committed -----> Resumed -> idle
//!    ^                        |  Failed, Vanished, deadline: Abort to the members, Failed to who asked
//!    +------------------------+-----------------------------------------------------------------
//! ```
//! Hooks run before the first stage, after Committed and at the end (`ending.rs`).
//!
//! A member that leaves before `Quiesced` is released only makes the membership smaller; one that has committed may
//! go when it likes. Requests that come while a checkpoint runs are merged into one that starts afterwards.

mod ending;
mod stages;

use crate::hooks::HookPlan;
use ckpt_wire::{
    clip, CheckpointStats, CoordinatorMessage, HookEvent, HookReport, HookRequest, Moment, Overrides, ProcessEvents,
    Progress, Restarted, Stage, Summary, Timing, MAX_REASON,
};
use std::collections::{BTreeMap, BTreeSet};

/// Microseconds on a clock of the caller's that never goes back.
pub type Micros = u64;
pub type ClientId = u32;

#[derive(Debug, Clone)]
pub enum Event {
    /// An agent is a member from the next checkpoint on. `name` is for diagnoses.
    Joined {
        client: ClientId,
        name: String,
        host: String,
        /// Host and folder of its images: one agent of each notes the timings there.
        place: String,
    },
    /// The agent's program ended.
    Left {
        client: ClientId,
    },
    /// The agent's connection was lost.
    Vanished {
        client: ClientId,
    },
    /// `by` is the command to answer, `None` the interval timer.
    Requested {
        by: Option<ClientId>,
        kill: bool,
        overrides: Overrides,
    },
    KillRequested {
        by: ClientId,
    },
    Reached {
        client: ClientId,
        generation: u32,
        stage: Stage,
        stats: Option<CheckpointStats>,
    },
    Failed {
        client: ClientId,
        generation: u32,
        reason: String,
    },
    IntervalSet {
        seconds: u32,
    },
    /// The hooks of an event are over.
    HooksEnded {
        event: HookEvent,
        generation: u32,
        reports: Vec<HookReport>,
    },
    /// One of `members` agents of a restarted computation has its programs running.
    Restarted {
        client: ClientId,
        generation: u32,
        members: u32,
        /// Since ckpt_restart was started.
        us: u64,
    },
    /// What happened to an agent's processes up to this checkpoint or restart.
    Happened {
        client: ClientId,
        generation: u32,
        rows: Vec<ProcessEvents>,
    },
    /// Some time went by: see what is due.
    Tick,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Send {
        to: ClientId,
        message: CoordinatorMessage,
    },
    /// A line for the log.
    Note(String),
    /// Run the hooks of this event, then step with `HooksEnded`.
    RunHooks(Occasion),
    /// An agent's own hooks come, and go.
    BringHooks {
        client: ClientId,
        request: HookRequest,
    },
    DropHooks {
        client: ClientId,
    },
    /// Drop this client's connection once what was sent to it is out.
    Close {
        client: ClientId,
    },
    /// The coordinator is to end.
    Exit,
}

/// What hooks are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occasion {
    pub event: HookEvent,
    pub generation: u32,
    /// Of the complete checkpoint.
    pub summary: Option<Box<Summary>>,
    /// Why the checkpoint failed.
    pub failure: Option<String>,
}

/// How long members may take.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// To quiesce and to capture.
    pub stage: Micros,
    /// To write and to commit.
    pub write: Micros,
    /// To end after a kill.
    pub kill: Micros,
    /// To say that the programs run again.
    pub resume: Micros,
}

pub const SECOND: Micros = 1_000_000;

impl Default for Deadlines {
    fn default() -> Deadlines {
        Deadlines { stage: 60 * SECOND, write: 6 * 3600 * SECOND, kill: 30 * SECOND, resume: 30 * SECOND }
    }
}

#[derive(Debug)]
struct Agent {
    name: String,
    host: String,
    place: String,
}

#[derive(Debug, Default)]
struct Request {
    waiters: Vec<ClientId>,
    kill: bool,
    overrides: Overrides,
}

#[derive(Debug)]
struct Running {
    generation: u32,
    request: Request,
    /// The stage that is awaited.
    stage: Stage,
    /// The last stage each member has reached.
    members: BTreeMap<ClientId, Option<Stage>>,
    /// How many members have reached `stage`.
    arrived: usize,
    /// When it was asked for, and when the programs were told.
    asked: Micros,
    started: Micros,
    stage_started: Micros,
    stages: Vec<Timing>,
    stats: CheckpointStats,
    /// Hooks that everything waits for.
    hook: Option<HookEvent>,
    reports: Vec<HookReport>,
    /// From the moment when all is durable.
    summary: Option<Summary>,
}

/// Members are ending; who asked is answered when they are gone.
#[derive(Debug)]
struct Killing {
    awaited: BTreeSet<ClientId>,
    answers: Vec<(ClientId, CoordinatorMessage)>,
    deadline: Micros,
}

#[derive(Debug)]
pub struct Barrier {
    agents: BTreeMap<ClientId, Agent>,
    next_generation: u32,
    running: Option<Running>,
    queued: Option<Request>,
    killing: Option<Killing>,
    interval: Micros,
    interval_due: Micros,
    deadlines: Deadlines,
    session: u64,
    attempts: u64,
    last: Option<Summary>,
    last_failure: Option<String>,
    last_restart: Option<Restarted>,
    hooks: HookPlan,
    /// Microseconds since 1970 at zero of the caller's clock.
    epoch: Micros,
    /// Who runs again after a restart, until all do.
    restarted: BTreeSet<ClientId>,
    /// Of the restart that is under way, or of the last one.
    restart_events: Vec<(String, ProcessEvents)>,
}

impl Barrier {
    /// `session` is random: no other coordinator's attempts look like ours.
    pub fn new(deadlines: Deadlines, session: u64) -> Barrier {
        Barrier {
            session,
            agents: BTreeMap::new(),
            next_generation: 1,
            running: None,
            queued: None,
            killing: None,
            interval: 0,
            interval_due: 0,
            deadlines,
            attempts: 0,
            last: None,
            last_failure: None,
            last_restart: None,
            hooks: HookPlan::default(),
            epoch: 0,
            restarted: BTreeSet::new(),
            restart_events: Vec::new(),
        }
    }

    /// Before the first step, and when hooks come or go.
    pub fn configure(&mut self, hooks: HookPlan, epoch: Micros) {
        (self.hooks, self.epoch) = (hooks, epoch);
    }

    pub fn step(&mut self, now: Micros, event: Event) -> Vec<Action> {
        let mut out = Vec::new();
        match event {
            Event::Joined { client, name, host, place } => drop(self.agents.insert(client, Agent { name, host, place })),
            Event::Left { client } => self.left(now, client, true, &mut out),
            Event::Vanished { client } => self.left(now, client, false, &mut out),
            Event::Requested { by, kill, overrides } => self.requested(by, kill, overrides),
            Event::KillRequested { by } => self.kill_requested(now, by, &mut out),
            Event::Reached { client, generation, stage, stats } => {
                self.reached(now, client, generation, stage, stats, &mut out)
            }
            Event::Failed { client, generation, reason } => self.failed(now, client, generation, &reason, &mut out),
            Event::IntervalSet { seconds } => {
                self.interval = Micros::from(seconds) * SECOND;
                self.interval_due = now + self.interval;
            }
            Event::HooksEnded { event, generation, reports } => {
                self.hooks_ended(now, (event, generation), reports, &mut out)
            }
            Event::Restarted { client, generation, members, us } => {
                self.restarted(now, client, (generation, members, us), &mut out)
            }
            Event::Happened { client, generation, rows } => self.happened(client, generation, rows),
            Event::Tick => self.tick(now, &mut out),
        }
        self.start_queued(now, &mut out);
        out
    }

    /// A generation that a client knows of is never given again.
    pub fn adopt_generation(&mut self, known: u32) {
        self.next_generation = self.next_generation.max(known.saturating_add(1));
    }

    /// A new computation counts from one.
    pub fn reset_generation(&mut self) {
        self.next_generation = 1;
    }

    pub fn next_generation(&self) -> u32 {
        self.next_generation
    }

    pub fn interval_seconds(&self) -> u32 {
        (self.interval / SECOND) as u32
    }

    pub fn last(&self) -> Option<&Summary> {
        self.last.as_ref()
    }

    pub fn last_failure(&self) -> Option<&str> {
        self.last_failure.as_deref()
    }

    pub fn last_restart(&self) -> Option<&Restarted> {
        self.last_restart.as_ref()
    }

    pub fn is_killing(&self) -> bool {
        self.killing.is_some()
    }

    pub fn progress(&self) -> Option<Progress> {
        let run = self.running.as_ref()?;
        let (generation, stage, queued) = (run.generation, run.stage, self.queued.is_some());
        Some(Progress { generation, stage, arrived: run.arrived as u32, members: run.members.len() as u32, queued })
    }

    /// When `Tick` has something to do at the latest.
    pub fn next_due(&self) -> Option<Micros> {
        let awaited = self.running.as_ref().filter(|run| run.hook.is_none());
        let stage = awaited.map(|run| run.stage_started + self.patience(run.stage));
        let kill = self.killing.as_ref().map(|killing| killing.deadline);
        let interval = (self.interval > 0).then_some(self.interval_due);
        [stage, kill, interval].into_iter().flatten().min()
    }

    fn patience(&self, stage: Stage) -> Micros {
        match stage {
            Stage::Quiesced | Stage::Captured => self.deadlines.stage,
            Stage::Written | Stage::Committed => self.deadlines.write,
            Stage::Resumed => self.deadlines.resume,
        }
    }

    fn requested(&mut self, by: Option<ClientId>, kill: bool, overrides: Overrides) {
        let queued = self.queued.get_or_insert_with(Request::default);
        queued.waiters.extend(by);
        queued.kill |= kill;
        queued.overrides.compression = overrides.compression.or(queued.overrides.compression);
        queued.overrides.pause = overrides.pause.or(queued.overrides.pause);
    }

    fn left(&mut self, now: Micros, client: ClientId, in_order: bool, out: &mut Vec<Action>) {
        let name = self.name(client);
        self.agents.remove(&client);
        self.member_left(now, client, &name, in_order, out);
        if let Some(killing) = self.killing.as_mut() {
            killing.awaited.remove(&client);
            self.finish_killing(out);
        }
    }

    fn member_left(&mut self, now: Micros, client: ClientId, name: &str, in_order: bool, out: &mut Vec<Action>) {
        self.restarted.remove(&client);
        let Some(run) = self.running.as_mut() else { return };
        let Some(&reached) = run.members.get(&client) else { return };
        let is_over = run.summary.is_some();
        if reached == Some(Stage::Committed) && !is_over {
            return;
        }
        let awaited = run.stage;
        if !is_over && (!in_order || awaited > Stage::Quiesced) {
            let how = if in_order { "ended" } else { "was lost" };
            return self.abort(now, &format!("{name} {how} before it had {}", awaited.as_str()), out);
        }
        run.members.remove(&client);
        run.arrived -= usize::from(reached.is_some_and(|at| at >= awaited));
        match run.members.is_empty() && !is_over {
            true => self.abort(now, "every program ended before it could be checkpointed", out),
            false => self.release(now, out),
        }
    }

    fn kill_requested(&mut self, now: Micros, by: ClientId, out: &mut Vec<Action>) {
        self.abort(now, "the programs are being killed", out);
        if let Some(request) = self.queued.take() {
            answer_all(&request.waiters, &failure("the programs are being killed"), out);
        }
        for &to in self.agents.keys() {
            out.push(Action::Send { to, message: CoordinatorMessage::Kill });
        }
        let deadline = now + self.deadlines.kill;
        let killing =
            self.killing.get_or_insert_with(|| Killing { awaited: BTreeSet::new(), answers: vec![], deadline });
        killing.awaited.extend(self.agents.keys());
        killing.answers.push((by, CoordinatorMessage::Ok));
        self.finish_killing(out);
    }

    fn finish_killing(&mut self, out: &mut Vec<Action>) {
        if let Some(killing) = self.killing.take_if(|killing| killing.awaited.is_empty()) {
            out.extend(killing.answers.into_iter().map(|(to, message)| Action::Send { to, message }));
        }
    }

    fn tick(&mut self, now: Micros, out: &mut Vec<Action>) {
        if let Some(run) = self.running.as_ref().filter(|run| run.hook.is_none() && now >= run.stage_started + self.patience(run.stage)) {
            let absent = run.members.iter().filter(|(_, reached)| reached.is_none_or(|at| at < run.stage));
            let names = self.list_names(absent.map(|(&client, _)| client));
            let (stage, seconds) = (run.stage.as_str(), self.patience(run.stage) / SECOND);
            let what = format!("not {stage} within {seconds} s: {names}; see ckpt_command --list");
            match run.summary {
                None => self.abort(now, &what, out),
                Some(_) => self.give_up_waiting(now, what, out),
            }
        }
        if let Some(killing) = self.killing.take_if(|killing| now >= killing.deadline) {
            let names = self.list_names(killing.awaited.into_iter());
            let reason = format!("still there after the kill: {names}; kill them by hand");
            out.extend(killing.answers.into_iter().map(|(to, _)| Action::Send { to, message: failure(&reason) }));
        }
        if self.interval > 0 && now >= self.interval_due {
            self.interval_due = now + self.interval;
            let idle = self.running.is_none() && !self.agents.is_empty();
            if idle {
                self.requested(None, false, Overrides::default());
            }
        }
    }

    fn name(&self, client: ClientId) -> String {
        self.agents.get(&client).map_or_else(|| format!("client {client}"), |agent| agent.name.clone())
    }

    fn list_names(&self, clients: impl Iterator<Item = ClientId>) -> String {
        let mut names: Vec<String> = clients.map(|client| self.name(client)).collect();
        let more = names.len().saturating_sub(3);
        names.truncate(3);
        if more > 0 {
            names.push(format!("{more} more"));
        }
        names.join(", ")
    }
}

fn occasion(event: HookEvent, generation: u32) -> Occasion {
    Occasion { event, generation, summary: None, failure: None }
}

fn failure(reason: &str) -> CoordinatorMessage {
    CoordinatorMessage::Failed { reason: clip(reason, MAX_REASON) }
}

fn answer_all(waiters: &[ClientId], message: &CoordinatorMessage, out: &mut Vec<Action>) {
    out.extend(waiters.iter().map(|&to| Action::Send { to, message: message.clone() }));
}

/// Sums and lists add up; of times the longest counts.
fn merge(total: &mut CheckpointStats, one: CheckpointStats) {
    total.images.extend(one.images);
    total.bytes = total.bytes.saturating_add(one.bytes);
    total.processes = total.processes.saturating_add(one.processes);
    total.pause_us = total.pause_us.max(one.pause_us);
    for note in one.notes {
        if total.notes.len() < ckpt_wire::MAX_NOTES && !total.notes.contains(&note) {
            total.notes.push(note);
        }
    }
    for timing in one.stages {
        let has_room = total.stages.len() < ckpt_wire::MAX_TIMINGS;
        match total.stages.iter_mut().find(|known| known.name == timing.name) {
            Some(known) => known.us = known.us.max(timing.us),
            None if has_room => total.stages.push(timing),
            None => {}
        }
    }
}

#[cfg(test)]
#[path = "barrier_tests.rs"]
mod tests;
#[cfg(test)]
#[path = "barrier_walks.rs"]
mod walks;
