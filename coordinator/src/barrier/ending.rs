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
            events: vec![
                moment(HookEvent::PreCheckpoint, self.epoch + run.asked, 0, &run.reports),
                moment(HookEvent::PostWrite, self.epoch + now, now - run.started, &[]),
            ],
            process_events: Vec::new(),
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
        if run.request.kill {
            return self.complete(now, out);
        }
        if let Some(summary) = &mut run.summary {
            let durable = summary.events.last().map_or(0, |one| one.at_us + one.hooks_us);
            let at = self.epoch + now;
            summary.events.push(moment(HookEvent::Resumed, at, at.saturating_sub(durable), &[]));
        }
        if !self.hooks.resumed {
            return self.complete(now, out);
        }
        run.hook = Some(HookEvent::Resumed);
        let summary = run.summary.clone().map(Box::new);
        out.push(Action::RunHooks(Occasion { summary, ..occasion(HookEvent::Resumed, run.generation) }));
    }

    fn complete(&mut self, now: Micros, out: &mut Vec<Action>) {
        let Some(mut run) = self.running.take() else { return };
        let Some(summary) = run.summary.take() else { return };
        if let Some(event) = summary.events.iter().find(|one| one.event == HookEvent::Resumed) {
            self.note(run.generation, *event, &run.reports, out);
        }
        let done = CoordinatorMessage::Done(Summary { process_events: Vec::new(), ..summary.clone() });
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
        if let (HookEvent::Restarted, Some(last)) = (event, self.last_restart.as_mut().filter(|last| last.generation == generation)) {
            last.event.hooks_us = total(event, &reports);
            last.hooks.clone_from(&reports);
            let event = last.event;
            self.note(generation, event, &reports, out);
        }
        let awaited = |run: &&mut Running| run.hook == Some(event) && run.generation == generation;
        // Nobody waits for those of a restart or of a failed checkpoint.
        let Some(run) = self.running.as_mut().filter(awaited) else { return };
        run.hook = None;
        run.stage_started = now;
        let failed = reports.iter().find_map(|report| Some(format!("{}: {}", report.program, report.failure.as_ref()?)));
        run.reports.extend(reports);
        if let Some(summary) = &mut run.summary {
            summary.hooks.clone_from(&run.reports);
            for one in summary.events.iter_mut().filter(|one| one.event == event) {
                one.hooks_us = total(event, &run.reports);
            }
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

    /// Before `Resumed` of a checkpoint, or before `Restarted`.
    pub(super) fn happened(&mut self, client: ClientId, generation: u32, rows: Vec<ProcessEvents>) {
        let Some(host) = self.agents.get(&client).map(|agent| agent.host.clone()) else { return };
        let rows = rows.into_iter().map(|row| (host.clone(), row));
        match self.running.as_mut().filter(|run| run.generation == generation) {
            Some(run) => {
                if let Some(summary) = &mut run.summary {
                    summary.process_events.extend(rows);
                }
            }
            None => self.restart_events.extend(rows),
        }
    }

    pub(super) fn restarted(
        &mut self,
        now: Micros,
        client: ClientId,
        (generation, members, us): (u32, u32, u64),
        out: &mut Vec<Action>,
    ) {
        self.restarted.insert(client);
        if self.restarted.len() < members as usize {
            return;
        }
        self.restarted.clear();
        let event = moment(HookEvent::Restarted, self.epoch + now, us, &[]);
        let process_events = std::mem::take(&mut self.restart_events);
        self.last_restart = Some(Restarted { generation, event, hooks: Vec::new(), process_events });
        out.push(Action::Note(format!("restarted from checkpoint {generation}")));
        if self.hooks.restarted {
            out.push(Action::RunHooks(occasion(HookEvent::Restarted, generation)));
        } else {
            self.note(generation, event, &[], out);
        }
    }

    /// One agent of each place writes it beside the images.
    fn note(&self, generation: u32, event: Moment, reports: &[HookReport], out: &mut Vec<Action>) {
        let hooks: Vec<HookReport> = reports.iter().filter(|report| report.event == event.event).cloned().collect();
        let mut noted = BTreeSet::new();
        for (&to, _) in self.agents.iter().filter(|(_, agent)| noted.insert(&agent.place)) {
            out.push(Action::Send { to, message: CoordinatorMessage::Happened { generation, event, hooks: hooks.clone() } });
        }
    }
}

fn moment(event: HookEvent, at_us: u64, us: u64, reports: &[HookReport]) -> Moment {
    Moment { event, at_us, us, hooks_us: total(event, reports) }
}

fn total(event: HookEvent, reports: &[HookReport]) -> u64 {
    reports.iter().filter(|report| report.event == event).map(|report| report.us).sum()
}
