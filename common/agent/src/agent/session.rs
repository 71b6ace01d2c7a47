//! The agent's talk with the coordinator, at rest and through a checkpoint.

use super::*;
use crate::followers::{self, follow};
use crate::hands;
use crate::link::Link;
use crate::table::Exchange;
use ckpt_sys::flat::{Msg, msg};
use std::os::fd::RawFd;

/// Whom a fault named kill-coordinator hits.
pub(super) fn aim_at_coordinator(client: &Client) {
    if let Ok(peer) = nix::sys::socket::getsockopt(client, nix::sys::socket::sockopt::PeerCredentials) {
        ckpt_sys::fault::target(ckpt_sys::fault::Effect::KillCoordinator, peer.pid());
    }
}

impl Session<'_> {
    /// Its process, where we can see it.
    pub(super) fn coordinator(&self) -> Option<OwnedFd> {
        let peer = nix::sys::socket::getsockopt(self.client.as_ref()?, nix::sys::socket::sockopt::PeerCredentials).ok()?;
        procfs::pidfd(peer.pid()).ok()
    }
}

pub struct Session<'a> {
    pub(super) agent: &'a Agent,
    pub(super) client: Option<Client>,
    /// The start of a checkpoint that came before the one before had ended here.
    pub(super) next: Option<CoordinatorMessage>,
    pub(super) computation: [u8; 16],
    pub(super) generation: u32,
    /// What the coordinator said of it last.
    pub(super) interval: Option<u32>,
    /// The coordinator has yet to say what is to be noted of a restart or a resumed checkpoint.
    pub(super) awaits_event: bool,
    /// Another agent of the computation on this host, which is asked to look after our program or does.
    pub(super) leader: Option<Leader>,
    /// None where another agent does it.
    pub(super) exchange: Option<Exchange>,
}

pub(super) struct Leader {
    link: Link,
    follows: bool,
}

/// How long what comes at once is waited for.
pub(super) const MOMENT: Duration = Duration::from_secs(2);

impl Session<'_> {
    pub fn send(&mut self, m: AgentMessage) {
        if self.client.as_mut().is_some_and(|c| c.send(&m).is_err()) {
            self.client = None;
        }
    }

    /// Another agent looks after our program.
    pub fn follows(&self) -> bool {
        self.leader.as_ref().is_some_and(|l| l.follows)
    }

    pub fn leader_fd(&self) -> Option<RawFd> {
        self.leader.as_ref().map(|l| l.link.fd())
    }

    /// Asks to follow who leads on this host, or leads. After a restart an agent has ids of its own to look after.
    pub fn find_leader(&mut self) {
        const TRIES: usize = 20;
        let agent = self.agent;
        let kinship = agent.settings.kinship().filter(|_| agent.id_table.is_none());
        for _ in 0..TRIES {
            if let Some(kinship) = &kinship {
                match followers::ask(&self.computation, kinship, agent.listener.fd.as_raw_fd()) {
                    Ok(Some(link)) => return self.leader = Some(Leader { link, follows: false }),
                    Ok(None) => {}
                    Err(_) => return,
                }
            }
            // Somebody may have come first.
            match agent.listener.followers.lead(&self.computation) {
                Ok(false) if kinship.is_some() => {}
                _ => return,
            }
        }
    }

    /// It answers at once, unless it is taking a checkpoint.
    pub fn await_leader(&mut self) {
        let end = Instant::now() + MOMENT;
        while let (Some(fd), false) = (self.leader_fd(), self.follows()) {
            match poll(&[fd], end.saturating_duration_since(Instant::now())) {
                Ok(ready) if !ready.is_empty() => self.hear_leader(),
                _ => return,
            }
        }
    }

    /// Passes on what processes have published since.
    pub fn exchange(&mut self) {
        if self.follows() {
            self.exchange = None;
            return;
        }
        if self.exchange.is_none() {
            self.exchange = Exchange::open(&self.agent.table).ok();
        }
        if let (Some(exchange), Some(client)) = (&mut self.exchange, &mut self.client) {
            if exchange.tell(client).is_err() {
                self.client = None;
            }
        }
    }

    pub fn exchange_fd(&self) -> Option<RawFd> {
        self.exchange.as_ref().map(Exchange::fd)
    }

    pub fn hear_leader(&mut self) {
        let Some(leader) = &mut self.leader else { return };
        let heard = leader.link.recv();
        let fds = heard.as_ref().map(|p| p.fds.as_slice()).unwrap_or_default();
        match heard.as_ref().map(|p| (p.msg.kind, p.msg.arg, p.msg.arg2)) {
            Ok((msg::FOLLOW, follow::WELCOME, _)) => {
                fds.iter().for_each(|table| self.agent.table.replace(table));
                let begin = Msg { kind: msg::FOLLOW, arg: follow::BEGIN, ..Msg::default() };
                // Before the coordinator knows: a checkpoint that it begins then finds our program with the leader.
                leader.follows = leader.link.send_with(begin, &[], &[]).is_ok();
                if leader.follows {
                    self.send(AgentMessage::Leave);
                    self.client = None;
                    self.next = None;
                }
            }
            Ok((msg::FOLLOW, follow::GENERATION, newest)) => self.generation = self.generation.max(newest as u32),
            Ok((msg::FOLLOW, follow::END, _)) => {
                // It waits for the link to close, and leaves the coordinator then.
                let _ending = self.leader.take();
                self.find_leader();
                self.await_leader();
                if !self.follows() {
                    self.reconnect();
                }
            }
            Ok((msg::CANCEL, ..)) => self.leader = None,
            Ok(_) => {}
            Err(_) => {
                self.leader = None;
                self.find_leader();
            }
        }
    }

    pub fn serve_coordinator(&mut self) {
        if self.follows() {
            return;
        }
        if self.client.is_none() {
            self.next = None;
            return self.reconnect();
        }
        loop {
            if let Some(next) = self.next.take() {
                self.handle(next);
            }
            let Some(client) = &mut self.client else { return };
            match client.try_recv() {
                Ok(Polled::Message(m)) => self.handle(*m),
                Ok(Polled::Nothing) => return,
                Ok(Polled::Closed) | Err(_) => self.client = None,
            }
        }
    }

    /// A coordinator that died is replaced; the computation goes on meanwhile.
    fn reconnect(&mut self) {
        self.agent.listener.requests.lost();
        let mut hello = self.agent.hello.clone();
        hello.computation = Some(ckpt_wire::ComputationId(self.computation));
        hello.generation = self.generation;
        hello.interval = self.interval.or(hello.interval);
        if self.agent.ended.load(Ordering::Acquire) {
            return;
        }
        if let Ok((client, _)) = launch::reconnect(&self.agent.launch, &hello) {
            aim_at_coordinator(&client);
            self.client = Some(client);
            self.exchange.iter_mut().for_each(Exchange::forget);
        }
    }

    fn handle(&mut self, m: CoordinatorMessage) {
        match m {
            CoordinatorMessage::Checkpoint { generation, attempt, patience, kill_after, hold, overrides, interval, .. } => {
                self.interval = Some(interval);
                self.checkpoint(generation, attempt, patience, Asked { kill: kill_after, hold_for_hooks: hold, overrides, interval });
            }
            CoordinatorMessage::ListProcesses { request } => {
                let rows = self.agent.rows();
                let chunks: Vec<&[ProcessRow]> = if rows.is_empty() { vec![&[]] } else { rows.chunks(500).collect() };
                let last = chunks.len() - 1;
                for (i, part) in chunks.into_iter().enumerate() {
                    self.send(AgentMessage::Processes { request, rows: part.to_vec(), last: i == last });
                }
            }
            CoordinatorMessage::Done(_) => self.agent.listener.requests.answered(None),
            CoordinatorMessage::Failed { reason } => self.agent.listener.requests.answered(Some(&reason)),
            CoordinatorMessage::Published { key, value } => self.exchange.iter_mut().for_each(|x| x.hear(&key, &value)),
            CoordinatorMessage::Kill => self.agent.kill_all(),
            CoordinatorMessage::Happened { generation, event, hooks } => self.note_event(generation, event, &hooks),
            _ => {}
        }
    }

    /// Before the agent leaves: what is to be noted and comes in a moment.
    pub fn hear_last(&mut self) {
        let end = Instant::now() + MOMENT;
        let patient = self.awaits_event && !self.agent.killed.load(Ordering::Acquire);
        while let Some(client) = &mut self.client {
            match client.try_recv() {
                Ok(Polled::Message(m)) => {
                    if let CoordinatorMessage::Happened { generation, event, hooks } = *m {
                        self.note_event(generation, event, &hooks);
                    }
                }
                Ok(Polled::Nothing) if patient && self.awaits_event && Instant::now() < end => {
                    let _ = poll(&[client.as_raw_fd()], end.saturating_duration_since(Instant::now()));
                }
                _ => return,
            }
        }
    }

    fn note_event(&mut self, generation: u32, event: Moment, hooks: &[HookReport]) {
        let folder = match (&self.agent.restarted_from, event.event) {
            (Some(folder), HookEvent::Restarted) => folder,
            _ => &self.agent.settings.folder,
        };
        timings::note(folder, timings::event(&self.computation, generation, event, hooks));
        self.awaits_event = false;
    }

    fn checkpoint(&mut self, generation: u32, attempt: u64, patience: (u32, u32), asked: Asked) {
        let agent = self.agent;
        let computation = self.computation;
        // Known from here on, so that no coordinator gives this number again.
        self.generation = self.generation.max(generation);
        agent.await_filling();
        agent.attend();
        agent.listener.followers.tell_generation(generation);
        let work = Checkpoint { settings: &agent.settings, listener: &agent.listener, computation, generation, attempt, asked, disk: &agent.disk, choices: Choices::default(), program: agent.program.load(Ordering::Acquire), id_table: agent.id_table, outer: agent.outer, writers: &agent.writers, tracker: &agent.tracker, events: &agent.events };
        let mut barrier = Waiting { session: self, generation, patience };
        agent.checkpointing.store(true, Ordering::Release);
        let done = work.run(&mut barrier, &|| agent.kill_all());
        agent.checkpointing.store(false, Ordering::Release);
        if done.is_ok() {
            self.exchange.iter().for_each(|x| x.complete(computation, generation));
        }
        if let Err(e) = done {
            work.leave_folder();
            let reason = e.to_string();
            if !agent.quiet {
                eprintln!("ckpt: checkpoint {generation} failed: {reason}");
            }
            self.send(AgentMessage::Failed { generation, reason: ckpt_wire::clip(&reason, ckpt_wire::MAX_REASON) });
        }
    }

    /// While a checkpoint is under way only questions are answered; a kill is obeyed. One that was called off may have
    /// to wait for a disk that stalls: the next is begun then.
    fn handle_during(&mut self, m: CoordinatorMessage) {
        match m {
            CoordinatorMessage::Checkpoint { .. } => self.next = Some(m),
            CoordinatorMessage::Abort { generation, .. } => {
                self.next.take_if(|next| matches!(next, CoordinatorMessage::Checkpoint { generation: g, .. } if *g == generation));
            }
            other => self.handle(other),
        }
    }
}

impl Agent {
    fn rows(&self) -> Vec<ProcessRow> {
        let members = members::find(&self.listener.agents(), &self.writers.known());
        let row = |c: members::Candidate| {
            let s: procfs::Stat = c.stat;
            ProcessRow { pid: s.pid, ppid: s.ppid, name: s.name, state: s.state, threads: s.threads }
        };
        members.into_iter().map(row).collect()
    }
}

struct Waiting<'a, 'b> {
    session: &'a mut Session<'b>,
    generation: u32,
    /// seconds for a stage, seconds for the writing
    patience: (u32, u32),
}

/// What the coordinator had to say.
enum Heard {
    Release(u32, u32),
    Finish(Option<Box<Summary>>),
    Abort(String),
    Lost(String),
}

/// The coordinator's own deadlines come first: what is late is named there.
const GRACE: Duration = Duration::from_secs(5);

const PATIENCE: Duration = Duration::from_secs(3600);

impl Waiting<'_, '_> {
    /// Answers what there is; why the checkpoint is called off, if it is.
    fn attend(&mut self) -> Option<String> {
        loop {
            match self.session.client.as_mut()?.try_recv() {
                Ok(Polled::Message(m)) => match *m {
                    CoordinatorMessage::Abort { generation, reason } if generation == self.generation => return Some(reason),
                    other => self.session.handle_during(other),
                },
                Ok(Polled::Nothing) => return None,
                Ok(Polled::Closed) | Err(_) => {
                    self.session.client = None;
                    return Some("the coordinator went away; run ckpt_command --checkpoint again".into());
                }
            }
        }
    }

    fn reach(&mut self, stage: Stage, stats: Option<CheckpointStats>) -> Heard {
        self.session.send(AgentMessage::Reached { generation: self.generation, stage, stats });
        self.hear(stage)
    }

    /// Until `stage` is released or, for Resumed, the checkpoint is finished.
    fn hear(&mut self, stage: Stage) -> Heard {
        let seconds = if stage < Stage::Written { self.patience.0 } else { self.patience.1 };
        let deadline = Instant::now() + Duration::from_secs(seconds.into()) + GRACE;
        loop {
            let Some(client) = &mut self.session.client else {
                return Heard::Lost("the coordinator went away; run ckpt_command --checkpoint again".into());
            };
            match client.try_recv() {
                Ok(Polled::Message(m)) => match *m {
                    CoordinatorMessage::Release { generation, stage: s, member_index, member_count }
                        if generation == self.generation && s == stage =>
                    {
                        return Heard::Release(member_index, member_count);
                    }
                    CoordinatorMessage::Finish { generation, note } if generation == self.generation && stage == Stage::Resumed => {
                        return Heard::Finish(note);
                    }
                    CoordinatorMessage::Abort { generation, reason } if generation == self.generation => return Heard::Abort(reason),
                    other => self.session.handle_during(other),
                },
                Ok(Polled::Nothing) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Heard::Lost(format!("the coordinator has not answered for {seconds} s; is it stopped?"));
                    }
                    let _ = poll(&[client.as_raw_fd()], left);
                }
                Ok(Polled::Closed) | Err(_) => self.session.client = None,
            }
        }
    }
}

impl Barrier for Waiting<'_, '_> {
    fn silence(&self) -> (u32, u32) {
        let most = |patience: u32, stages: u32| patience.saturating_add(GRACE.as_secs() as u32).saturating_mul(stages);
        (most(self.patience.0, 3), most(self.patience.1, 3))
    }

    fn wait(&mut self, stage: Stage) -> Result<(u32, u32), String> {
        match self.reach(stage, None) {
            Heard::Release(index, count) => Ok((index, count)),
            Heard::Abort(reason) | Heard::Lost(reason) => Err(reason),
            Heard::Finish(_) => Err("the coordinator answers out of turn; use the same ckpt everywhere".into()),
        }
    }

    fn during(&mut self, work: &mut (dyn FnMut() + Send), give_up: &dyn Fn()) -> Result<(), String> {
        let (ended, end) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(|e| e.to_string())?;
        let mut called_off = None;
        std::thread::scope(|scope| {
            hands::start(scope, move || {
                work();
                drop(end);
            });
            loop {
                let mut fds = vec![ended.as_raw_fd()];
                fds.extend(self.session.client.as_ref().map(AsRawFd::as_raw_fd));
                if poll(&fds, PATIENCE).unwrap_or_default().contains(&ended.as_raw_fd()) {
                    return;
                }
                if let (Some(reason), None) = (self.attend(), &called_off) {
                    give_up();
                    called_off = Some(reason);
                }
            }
        });
        called_off.map_or(Ok(()), Err)
    }

    fn committed(&mut self, stats: CheckpointStats) -> Verdict {
        match self.reach(Stage::Committed, Some(stats)) {
            Heard::Release(..) | Heard::Finish(_) => Verdict::Complete,
            Heard::Abort(reason) => Verdict::Aborted(reason),
            Heard::Lost(reason) => Verdict::Unknown(reason),
        }
    }

    fn finish(&mut self) -> Option<Box<Summary>> {
        match self.hear(Stage::Resumed) {
            Heard::Finish(note) => note,
            _ => None,
        }
    }

    fn resumed(&mut self, events: Vec<ProcessEvents>) {
        for rows in events.chunks(500) {
            self.session.send(AgentMessage::Events { generation: self.generation, rows: rows.to_vec() });
        }
        self.session.send(AgentMessage::Reached { generation: self.generation, stage: Stage::Resumed, stats: None });
        self.session.awaits_event = true;
    }
}
