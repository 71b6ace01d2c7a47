//! Who is connected and what each may say: turns messages into events of the barrier and the listing. No I/O.

use crate::barrier::{Action, Barrier, ClientId, Deadlines, Event, Micros};
use crate::hooks::HookPlan;
use crate::listing::Listing;
use ckpt_wire::{
    AgentInfo, AgentMessage, ClientMessage, CommandMessage, ComputationId, CoordinatorMessage, Hello, HookEvent,
    HookReport, Overrides, Role, Status, Welcome, MAX_PUBLISHED_KEYS, PROTOCOL_VERSION,
};
use std::collections::BTreeMap;

/// The prompt of the coordinator itself, as a client.
pub const CONSOLE: ClientId = 0;

#[derive(Debug)]
enum Client {
    /// Has not said hello. `local`: it came by the socket in the run folder, which is the same user's.
    Stranger { local: bool },
    Agent(AgentInfo),
    Command,
    /// Said `Leave` or was refused; its connection closes next.
    Leaving,
}

#[derive(Debug)]
pub struct Hub {
    barrier: Barrier,
    listing: Listing,
    clients: BTreeMap<ClientId, Client>,
    computation: ComputationId,
    port: u16,
    new_id: fn() -> ComputationId,
    had_agents: bool,
    ending: bool,
    /// What processes have told the others, for agents that join later. Gone with the last agent: a restart begins anew.
    published: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Hub {
    pub fn new(port: u16, deadlines: Deadlines, new_id: fn() -> ComputationId) -> Hub {
        Hub {
            barrier: Barrier::new(deadlines, session_of(new_id())),
            listing: Listing::default(),
            clients: BTreeMap::from([(CONSOLE, Client::Command)]),
            computation: new_id(),
            port,
            new_id,
            had_agents: false,
            ending: false,
            published: BTreeMap::new(),
        }
    }

    pub fn connected(&mut self, client: ClientId, local: bool) {
        self.clients.insert(client, Client::Stranger { local });
    }

    pub fn gone(&mut self, now: Micros, client: ClientId) -> Vec<Action> {
        let mut out = match self.clients.remove(&client) {
            Some(Client::Agent(agent)) => self.agent_gone(now, &agent, Event::Vanished { client }),
            _ => Vec::new(),
        };
        out.extend(self.listing.gone(now, client));
        out.extend(self.exit_when_done());
        out
    }

    pub fn message(&mut self, now: Micros, client: ClientId, message: ClientMessage) -> Vec<Action> {
        let known = self.clients.get(&client);
        let mut out = match (known, message) {
            (Some(&Client::Stranger { local }), ClientMessage::Hello(hello)) => self.hello(now, client, hello, local),
            (Some(Client::Agent(_)), ClientMessage::Agent(message)) => self.agent_said(now, client, message),
            (Some(Client::Command), ClientMessage::Command(message)) => self.commanded(now, client, message),
            (Some(Client::Leaving) | None, _) => Vec::new(),
            _ => {
                let note = format!("client {client} spoke out of turn; its connection is closed");
                vec![Action::Note(note), Action::Close { client }]
            }
        };
        out.extend(self.exit_when_done());
        out
    }

    pub fn tick(&mut self, now: Micros) -> Vec<Action> {
        let mut out = self.barrier.step(now, Event::Tick);
        out.extend(self.listing.finish(now));
        out.extend(self.exit_when_done());
        out
    }

    /// Before the first client, and when hooks come or go. `epoch`: microseconds since 1970 at zero of the caller's clock.
    pub fn configure(&mut self, hooks: HookPlan, epoch: Micros) {
        self.barrier.configure(hooks, epoch);
    }

    pub fn hooks_ended(&mut self, now: Micros, (event, generation): (HookEvent, u32), reports: Vec<HookReport>) -> Vec<Action> {
        let mut out = self.barrier.step(now, Event::HooksEnded { event, generation, reports });
        out.extend(self.exit_when_done());
        out
    }

    pub fn computation(&self) -> ComputationId {
        self.computation
    }

    /// Where images go, as far as an agent has said.
    pub fn ckptdir(&self) -> Option<&str> {
        self.agents().map(|agent| agent.ckptdir.as_str()).find(|folder| !folder.is_empty())
    }

    pub fn set_interval(&mut self, now: Micros, seconds: u32) {
        self.barrier.step(now, Event::IntervalSet { seconds });
    }

    pub fn next_due(&self) -> Option<Micros> {
        [self.barrier.next_due(), self.listing.next_due()].into_iter().flatten().min()
    }

    /// An agent was here at some time.
    pub fn had_agents(&self) -> bool {
        self.had_agents
    }

    fn hello(&mut self, now: Micros, client: ClientId, hello: Hello, local: bool) -> Vec<Action> {
        if hello.version != PROTOCOL_VERSION {
            let (theirs, ours) = (hello.version, PROTOCOL_VERSION);
            return self
                .refuse(client, format!("it speaks protocol {ours}, not {theirs}; use the same ckpt everywhere"));
        }
        if hello.role == Role::Command {
            self.clients.insert(client, Client::Command);
            return vec![self.welcome(client)];
        }
        if hello.hooks.is_some() && !local {
            return self.refuse(client, "hooks run on the coordinator's host and are named there: give --hook and --hold to ckpt_coordinator".into());
        }
        match self.adopt(&hello) {
            Ok(()) => self.join(now, client, hello),
            Err(reason) => self.refuse(client, reason),
        }
    }

    /// Agrees with a joining agent on the computation and its generation.
    fn adopt(&mut self, hello: &Hello) -> Result<(), String> {
        if self.ending || self.barrier.is_killing() {
            return Err("its programs are being killed; try again in a moment".into());
        }
        let is_first = self.agents().next().is_none();
        match hello.computation {
            Some(id) if is_first && id != self.computation => {
                self.computation = id;
                self.barrier.reset_generation();
            }
            Some(id) if id != self.computation => {
                let (busy, port) = (self.computation, self.port);
                return Err(format!(
                    "port {port} is busy with another computation, {busy}; add --new-coordinator or another --coord-port"
                ));
            }
            None if is_first && self.had_agents => {
                self.computation = (self.new_id)();
                self.barrier.reset_generation();
            }
            _ => {}
        }
        self.barrier.adopt_generation(hello.generation);
        Ok(())
    }

    fn join(&mut self, now: Micros, client: ClientId, hello: Hello) -> Vec<Action> {
        let name = format!("{} (pid {} on {})", hello.program, hello.pid, hello.host);
        let (host, place) = (hello.host.clone(), format!("{}:{}", hello.host, hello.ckptdir));
        let agent =
            AgentInfo { client, host: hello.host, pid: hello.pid, program: hello.program, ckptdir: hello.ckptdir };
        self.had_agents = true;
        self.clients.insert(client, Client::Agent(agent));
        let mut out = vec![Action::Note(format!("{name} joins as client {client}")), self.welcome(client)];
        out.extend(self.published.iter().map(|(key, value)| published(client, key, value)));
        out.extend(hello.hooks.map(|request| Action::BringHooks { client, request }));
        if let Some(seconds) = hello.interval {
            self.set_interval(now, seconds);
        }
        out.extend(self.barrier.step(now, Event::Joined { client, name, host, place }));
        out
    }

    fn welcome(&self, client: ClientId) -> Action {
        let (computation, next_generation) = (self.computation, self.barrier.next_generation());
        let welcome = Welcome { client, computation, next_generation };
        Action::Send { to: client, message: CoordinatorMessage::Welcome(welcome) }
    }

    fn refuse(&mut self, client: ClientId, reason: String) -> Vec<Action> {
        self.clients.insert(client, Client::Leaving);
        let note = Action::Note(format!("client {client} is refused: {reason}"));
        let refusal = Action::Send { to: client, message: CoordinatorMessage::Refused { reason } };
        vec![note, refusal, Action::Close { client }]
    }

    fn agent_said(&mut self, now: Micros, client: ClientId, message: AgentMessage) -> Vec<Action> {
        match message {
            AgentMessage::Reached { generation, stage, stats } => {
                self.barrier.step(now, Event::Reached { client, generation, stage, stats })
            }
            AgentMessage::Failed { generation, reason } => {
                self.barrier.step(now, Event::Failed { client, generation, reason })
            }
            AgentMessage::Processes { request, rows, last } => self.listing.answered(now, client, request, rows, last),
            AgentMessage::Events { generation, rows } => {
                self.barrier.step(now, Event::Happened { client, generation, rows })
            }
            AgentMessage::Restarted { generation, members, us } => {
                self.barrier.step(now, Event::Restarted { client, generation, members, us })
            }
            AgentMessage::Request => {
                self.barrier.step(now, Event::Requested { by: Some(client), kill: false, overrides: Overrides::default() })
            }
            AgentMessage::Published { key, value } => self.publish(client, key, value),
            AgentMessage::Leave => match self.clients.insert(client, Client::Leaving) {
                Some(Client::Agent(agent)) => self.agent_gone(now, &agent, Event::Left { client }),
                _ => Vec::new(),
            },
        }
    }

    /// What is known already is not told again: agents say all they know to a coordinator that is new to them.
    fn publish(&mut self, by: ClientId, key: Vec<u8>, value: Vec<u8>) -> Vec<Action> {
        let known = self.published.get(&key);
        if known == Some(&value) || known.is_none() && self.published.len() >= MAX_PUBLISHED_KEYS {
            return Vec::new();
        }
        let others = self.agents().map(|agent| agent.client).filter(|&client| client != by);
        let out = others.map(|client| published(client, &key, &value)).collect();
        self.published.insert(key, value);
        out
    }

    fn agent_gone(&mut self, now: Micros, agent: &AgentInfo, event: Event) -> Vec<Action> {
        let how = if matches!(event, Event::Left { .. }) { "leaves" } else { "is lost" };
        let mut out = vec![Action::Note(format!("{} (pid {} on {}) {how}", agent.program, agent.pid, agent.host))];
        out.extend(self.barrier.step(now, event));
        out.extend(self.listing.gone(now, agent.client));
        out.push(Action::DropHooks { client: agent.client });
        if self.agents().next().is_none() {
            self.published.clear();
        }
        out
    }

    fn commanded(&mut self, now: Micros, client: ClientId, message: CommandMessage) -> Vec<Action> {
        match message {
            CommandMessage::Checkpoint { kill, overrides } => {
                self.barrier.step(now, Event::Requested { by: Some(client), kill, overrides })
            }
            CommandMessage::List => {
                let agents = self.agents().cloned().collect();
                self.listing.start(now, client, agents)
            }
            CommandMessage::Status => {
                vec![Action::Send { to: client, message: CoordinatorMessage::Status(self.status()) }]
            }
            CommandMessage::Interval { seconds } => {
                self.set_interval(now, seconds);
                vec![Action::Send { to: client, message: CoordinatorMessage::Ok }]
            }
            CommandMessage::Kill => self.barrier.step(now, Event::KillRequested { by: client }),
            CommandMessage::Quit => {
                self.ending = true;
                self.barrier.step(now, Event::KillRequested { by: client })
            }
        }
    }

    fn exit_when_done(&self) -> Option<Action> {
        (self.ending && !self.barrier.is_killing()).then_some(Action::Exit)
    }

    fn agents(&self) -> impl Iterator<Item = &AgentInfo> {
        self.clients.values().filter_map(|client| match client {
            Client::Agent(agent) => Some(agent),
            _ => None,
        })
    }

    fn status(&self) -> Status {
        Status {
            port: self.port,
            pid: std::process::id(),
            computation: self.computation,
            next_generation: self.barrier.next_generation(),
            interval: self.barrier.interval_seconds(),
            agents: self.agents().cloned().collect(),
            running: self.barrier.progress(),
            last: self.barrier.last().cloned().map(Into::into),
            last_failure: self.barrier.last_failure().map(str::to_owned),
            restarted: self.barrier.last_restart().cloned().map(Into::into),
        }
    }
}

fn published(to: ClientId, key: &[u8], value: &[u8]) -> Action {
    let (key, value) = (key.to_vec(), value.to_vec());
    Action::Send { to, message: CoordinatorMessage::Published { key, value } }
}

fn session_of(random: ComputationId) -> u64 {
    random.0.iter().fold(0, |all, &byte| all << 8 | u64::from(byte))
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
