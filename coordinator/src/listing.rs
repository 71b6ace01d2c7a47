//! `--list`: asks every agent for its processes and answers when all did, or without those who are slow.

use crate::barrier::{Action, ClientId, Micros, SECOND};
use ckpt_wire::{AgentInfo, CoordinatorMessage, ProcessRow};
use std::collections::BTreeMap;

const PATIENCE: Micros = 2 * SECOND;
/// More rows than this from one agent are dropped.
const MAX_AGENT_ROWS: usize = 1 << 16;

#[derive(Debug)]
struct Pending {
    by: ClientId,
    deadline: Micros,
    awaited: BTreeMap<ClientId, (AgentInfo, Vec<ProcessRow>)>,
    answered: Vec<(AgentInfo, Vec<ProcessRow>)>,
}

#[derive(Debug, Default)]
pub struct Listing {
    next: u32,
    pending: BTreeMap<u32, Pending>,
}

impl Listing {
    pub fn start(&mut self, now: Micros, by: ClientId, agents: Vec<AgentInfo>) -> Vec<Action> {
        let request = self.next;
        self.next = request.wrapping_add(1);
        let message = CoordinatorMessage::ListProcesses { request };
        let mut out: Vec<_> =
            agents.iter().map(|agent| Action::Send { to: agent.client, message: message.clone() }).collect();
        let awaited = agents.into_iter().map(|agent| (agent.client, (agent, Vec::new()))).collect();
        self.pending.insert(request, Pending { by, deadline: now + PATIENCE, awaited, answered: Vec::new() });
        out.extend(self.finish(now));
        out
    }

    pub fn answered(
        &mut self,
        now: Micros,
        client: ClientId,
        request: u32,
        rows: Vec<ProcessRow>,
        last: bool,
    ) -> Vec<Action> {
        let Some(pending) = self.pending.get_mut(&request) else { return Vec::new() };
        let Some((_, known)) = pending.awaited.get_mut(&client) else { return Vec::new() };
        let room = MAX_AGENT_ROWS - known.len();
        known.extend(rows.into_iter().take(room));
        if last {
            pending.answered.extend(pending.awaited.remove(&client));
        }
        self.finish(now)
    }

    /// An agent or a command is gone.
    pub fn gone(&mut self, now: Micros, client: ClientId) -> Vec<Action> {
        self.pending.retain(|_, pending| pending.by != client);
        for pending in self.pending.values_mut() {
            pending.awaited.remove(&client);
        }
        self.finish(now)
    }

    pub fn next_due(&self) -> Option<Micros> {
        self.pending.values().map(|pending| pending.deadline).min()
    }

    /// Answers what is complete or overdue.
    pub fn finish(&mut self, now: Micros) -> Vec<Action> {
        let is_due = |pending: &Pending| pending.awaited.is_empty() || now >= pending.deadline;
        let due: Vec<u32> = self.pending.iter().filter(|(_, one)| is_due(one)).map(|(&request, _)| request).collect();
        due.iter().filter_map(|request| self.pending.remove(request)).map(Pending::answer).collect()
    }
}

impl Pending {
    fn answer(mut self) -> Action {
        self.answered.sort_by_key(|(agent, _)| agent.client);
        let silent = self.awaited.into_values().map(|(agent, _)| agent).collect();
        Action::Send { to: self.by, message: CoordinatorMessage::Processes { agents: self.answered, silent } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(client: ClientId) -> AgentInfo {
        AgentInfo { client, host: "h".into(), pid: client, program: "p".into(), ckptdir: "/i".into() }
    }

    fn row(pid: i32) -> ProcessRow {
        ProcessRow { pid, ppid: 1, name: "p".into(), state: 'S', threads: 1 }
    }

    fn reply(actions: Vec<Action>) -> Option<(usize, usize)> {
        actions.into_iter().find_map(|action| match action {
            Action::Send { message: CoordinatorMessage::Processes { agents, silent }, .. } => {
                Some((agents.iter().map(|(_, rows)| rows.len()).sum(), silent.len()))
            }
            _ => None,
        })
    }

    #[test]
    fn answers_when_the_last_agent_did() {
        let mut listing = Listing::default();
        assert_eq!(listing.start(0, 9, vec![agent(1), agent(2)]).len(), 2);
        assert_eq!(reply(listing.answered(0, 1, 0, vec![row(1)], false)), None);
        assert_eq!(reply(listing.answered(0, 1, 0, vec![row(2)], true)), None);
        assert_eq!(reply(listing.answered(0, 2, 0, vec![row(3)], true)), Some((3, 0)));
        assert_eq!(listing.next_due(), None);
    }

    #[test]
    fn goes_on_without_the_slow_and_the_gone() {
        let mut listing = Listing::default();
        listing.start(0, 9, vec![agent(1), agent(2), agent(3)]);
        listing.answered(0, 1, 0, vec![row(1)], true);
        assert_eq!(reply(listing.gone(0, 2)), None);
        assert_eq!(reply(listing.finish(PATIENCE)), Some((1, 1)));
    }

    #[test]
    fn nobody_to_ask_is_an_empty_list() {
        assert_eq!(reply(Listing::default().start(0, 9, vec![])), Some((0, 0)));
    }
}
