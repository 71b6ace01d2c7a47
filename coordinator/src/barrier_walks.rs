//! Any order of events: whoever asked is answered once, and nothing waits without a deadline.

use super::*;

/// xorshift64*
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % n
    }
}

const AGENTS: u64 = 4;

struct Walk {
    barrier: Barrier,
    random: Random,
    now: Micros,
    asked: BTreeSet<ClientId>,
    next_asker: ClientId,
    /// The stage each agent is at, in its own view.
    stages: BTreeMap<ClientId, (u32, usize)>,
}

impl Walk {
    fn event(&mut self) -> Event {
        let client = 1 + self.random.below(AGENTS) as ClientId;
        match self.random.below(20) {
            0 => Event::Joined { client, name: format!("agent{client}"), place: String::new(), host: String::new() },
            1 => Event::Left { client },
            2 => Event::Vanished { client },
            3 | 4 => {
                self.next_asker += 1;
                self.asked.insert(self.next_asker);
                let kill = self.random.below(8) == 0;
                Event::Requested { by: Some(self.next_asker), kill, overrides: Overrides::default() }
            }
            5 if self.random.below(8) == 0 => {
                self.next_asker += 1;
                self.asked.insert(self.next_asker);
                Event::KillRequested { by: self.next_asker }
            }
            6 => Event::Failed { client, generation: self.generation(client), reason: "why".into() },
            7 => Event::Requested { by: None, kill: false, overrides: Overrides::default() },
            8 => {
                self.now = self.barrier.next_due().unwrap_or(self.now).max(self.now);
                Event::Tick
            }
            _ => {
                let at = self.stages.entry(client).or_default();
                let (generation, stage) = *at;
                at.1 = (stage + 1).min(Stage::ALL.len() - 1);
                Event::Reached { client, generation, stage: Stage::ALL[stage], stats: None }
            }
        }
    }

    fn generation(&self, client: ClientId) -> u32 {
        self.stages.get(&client).map_or(0, |s| s.0)
    }

    fn step(&mut self, event: Event) {
        let shown = format!("{event:?}");
        for action in self.barrier.step(self.now, event) {
            let Action::Send { to, message } = action else { continue };
            match message {
                CoordinatorMessage::Checkpoint { generation, .. } => drop(self.stages.insert(to, (generation, 0))),
                CoordinatorMessage::Done(_) | CoordinatorMessage::Failed { .. } | CoordinatorMessage::Ok if to > 100 => {
                    assert!(self.asked.remove(&to), "{to} is answered twice, at {shown}");
                }
                _ => {}
            }
        }
        let waits = self.barrier.running.is_some() || self.barrier.killing.is_some();
        assert!(!waits || self.barrier.next_due().is_some(), "it waits for ever, at {shown}");
        assert!(waits || self.asked.is_empty(), "nobody is at work for {:?}, at {shown}", self.asked);
    }
}

#[test]
fn whatever_happens_everybody_is_answered() {
    for seed in 1..=300 {
        let random = Random(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15));
        let barrier = Barrier::new(Deadlines::default(), seed);
        let mut walk = Walk { barrier, random, now: 0, asked: BTreeSet::new(), next_asker: 100, stages: BTreeMap::new() };
        for _ in 0..400 {
            walk.now += walk.random.below(SECOND);
            let event = walk.event();
            walk.step(event);
        }
        // Every agent is lost, and no answer with them.
        (1..=AGENTS as ClientId).for_each(|client| walk.step(Event::Vanished { client }));
        while let Some(due) = walk.barrier.next_due().filter(|_| !walk.asked.is_empty()) {
            walk.now = due.max(walk.now);
            walk.step(Event::Tick);
        }
        assert!(walk.asked.is_empty(), "seed {seed}: never answered: {:?}", walk.asked);
    }
}
