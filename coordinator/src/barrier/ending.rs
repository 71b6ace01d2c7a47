//! From the moment when all is durable to the end of a checkpoint, and hooks at every point.
//!
//! ```text
//!   all Committed -> Release { Committed } -> post-write hooks -> Finish -> all Resumed -> resumed hooks -> Done
//! ```

use super::*;

impl Barrier {
    /// Every image is complete: nothing that happens from here on makes the checkpoint fail.
    pub(super) fn durable(&mut self, now: Micros, out: &mut Vec<Action>) {
        let Some(run) = self.running.as_mut() else { return };
        let stats = std::mem::take(&mut run.stats);
        let summary = Summary {
            generation: run.generation,
            at_us: self.epoch + run.started,
            images: stats.images,
            bytes: stats.bytes,
            processes: stats.processes,
            pause_us: stats.pause_us,
            duration_us: now - run.started,
            stages: run.stages.clone(),
            agent_stages: stats.stages,
            notes: stats.notes,
            hooks: run.reports.clone(),
        };
        out.push(Action::Note(format!("checkpoint {} complete, {} bytes", summary.generation, summary.bytes)));
        // Some committed and left while others still wrote.
        run.members.retain(|client, _| self.agents.contains_key(client));
        self.last_failure = None;
        self.last = Some(summary.clone());
        run.summary = Some(summary.clone());
        run.hook = self.hooks.post_write.then_some(HookEvent::PostWrite);
        let generation = run.generation;
        self.let_go(out);
        if !self.hooks.post_write {
            return self.finish(out);
        }
        let summary = Some(Box::new(summary));
        out.push(Action::RunHooks(Occasion { summary, ..occasion(HookEvent::PostWrite, generation) }));
    }

    /// Nothing is left to wait for: held programs may go on, and what there is to note is known.
    fn finish(&self, out: &mut Vec<Action>) {
        let Some(run) = &self.running else { return };
        let mut noted = BTreeSet::new();
        for &to in run.members.keys() {
            let place = self.agents.get(&to).map(|agent| agent.place.as_str());
            let note = run.summary.as_ref().filter(|_| noted.insert(place)).cloned().map(Box::new);
            out.push(Action::Send { to, message: CoordinatorMessage::Finish { generation: run.generation, note } });
        }
    }

    /// All programs go on, or are about to be killed.
    pub(super) fn resumed(&mut self, now: Micros, out: &mut Vec<Action>) {
        let Some(run) = self.running.as_mut() else { return };
        if !self.hooks.resumed || run.request.kill {
            return self.complete(now, out);
        }
        run.hook = Some(HookEvent::Resumed);
        let summary = run.summary.clone().map(Box::new);
        out.push(Action::RunHooks(Occasion { summary, ..occasion(HookEvent::Resumed, run.generation) }));
    }

    fn complete(&mut self, now: Micros, out: &mut Vec<Action>) {
        let Some(mut run) = self.running.take() else { return };
        let Some(summary) = run.summary.take() else { return };
        let done = CoordinatorMessage::Done(summary.clone());
        self.last = Some(summary);
        if !run.request.kill {
            return answer_all(&run.request.waiters, &done, out);
        }
        let deadline = now + self.deadlines.kill;
        let killing =
            self.killing.get_or_insert_with(|| Killing { awaited: BTreeSet::new(), answers: vec![], deadline });
        killing.awaited.extend(run.members.into_keys().filter(|client| self.agents.contains_key(client)));
        killing.answers.extend(run.request.waiters.into_iter().map(|waiter| (waiter, done.clone())));
        self.finish_killing(out);
    }

    pub(super) fn hooks_ended(
        &mut self,
        now: Micros,
        (event, generation): (HookEvent, u32),
        reports: Vec<HookReport>,
        out: &mut Vec<Action>,
    ) {
        let awaited = |run: &&mut Running| run.hook == Some(event) && run.generation == generation;
        // Nobody waits for those of a restart or of a failed checkpoint.
        let Some(run) = self.running.as_mut().filter(awaited) else { return };
        run.hook = None;
        run.stage_started = now;
        let failed = reports.iter().find_map(|report| Some(format!("{}: {}", report.program, report.failure.as_ref()?)));
        run.reports.extend(reports);
        if let Some(summary) = &mut run.summary {
            summary.hooks.clone_from(&run.reports);
            self.last = Some(summary.clone());
        }
        match (event, failed) {
            (HookEvent::PreCheckpoint, Some(why)) => self.abort(now, &format!("pre-checkpoint hook {why}"), out),
            (HookEvent::PreCheckpoint, None) => self.begin(now, out),
            (HookEvent::PostWrite, _) => {
                self.finish(out);
                self.release(now, out)
            }
            _ => self.complete(now, out),
        }
    }

    /// Somebody does not say that its programs run again: the checkpoint is good all the same.
    pub(super) fn give_up_waiting(&mut self, now: Micros, what: String, out: &mut Vec<Action>) {
        out.push(Action::Note(what));
        self.resumed(now, out);
    }

    pub(super) fn restarted(&mut self, client: ClientId, generation: u32, members: u32, out: &mut Vec<Action>) {
        self.restarted.insert(client);
        if self.restarted.len() < members as usize {
            return;
        }
        self.restarted.clear();
        out.push(Action::Note(format!("restarted from checkpoint {generation}")));
        if self.hooks.restarted {
            out.push(Action::RunHooks(occasion(HookEvent::Restarted, generation)));
        }
    }
}
