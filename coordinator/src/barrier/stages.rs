//! A checkpoint from the request to the last stage that all members reach, or to the first failure.

use super::*;

impl Barrier {
    pub(super) fn start_queued(&mut self, now: Micros, out: &mut Vec<Action>) {
        if self.running.is_some() || self.killing.is_some() {
            return;
        }
        let Some(request) = self.queued.take() else { return };
        if self.agents.is_empty() {
            let reason = "nothing to checkpoint: no program is running; start one with ckpt_launch";
            return answer_all(&request.waiters, &failure(reason), out);
        }
        self.start(now, request, out);
    }

    pub(super) fn start(&mut self, now: Micros, request: Request, out: &mut Vec<Action>) {
        let generation = self.next_generation;
        self.next_generation = generation.saturating_add(1);
        self.interval_due = now + self.interval;
        let hook = self.hooks.pre_checkpoint.then_some(HookEvent::PreCheckpoint);
        self.running = Some(Running {
            generation,
            request,
            stage: Stage::Quiesced,
            members: BTreeMap::new(),
            arrived: 0,
            asked: now,
            started: now,
            stage_started: now,
            stages: Vec::new(),
            stats: CheckpointStats::default(),
            hook,
            reports: Vec::new(),
            summary: None,
        });
        match hook {
            Some(event) => out.push(Action::RunHooks(occasion(event, generation))),
            None => self.begin(now, out),
        }
    }

    /// Tells the members.
    pub(super) fn begin(&mut self, now: Micros, out: &mut Vec<Action>) {
        let interval = self.interval_seconds();
        let Some(run) = self.running.as_mut() else { return };
        (run.started, run.stage_started) = (now, now);
        run.members = self.agents.keys().map(|&client| (client, None)).collect();
        let (generation, member_count) = (run.generation, run.members.len() as u32);
        let (kill_after, overrides) = (run.request.kill, run.request.overrides);
        let hold = self.hooks.hold && self.hooks.post_write;
        self.attempts += 1;
        let attempt = self.session.wrapping_add(self.attempts);
        let seconds = |time: Micros| u32::try_from(time / SECOND).unwrap_or(u32::MAX);
        let patience = (seconds(self.deadlines.stage), seconds(self.deadlines.write));
        for (member_index, &to) in (0..).zip(run.members.keys()) {
            let message = CoordinatorMessage::Checkpoint {
                generation,
                attempt,
                patience,
                member_index,
                member_count,
                kill_after,
                hold,
                overrides,
                interval,
            };
            out.push(Action::Send { to, message });
        }
        out.push(Action::Note(format!("checkpoint {generation} of {member_count} agents begins")));
        if member_count == 0 {
            self.abort(now, "every program ended before it could be checkpointed", out);
        }
    }

    pub(super) fn reached(
        &mut self,
        now: Micros,
        client: ClientId,
        generation: u32,
        stage: Stage,
        stats: Option<CheckpointStats>,
        out: &mut Vec<Action>,
    ) {
        let Some(run) = self.running.as_mut().filter(|run| run.generation == generation) else { return };
        let Some(reached) = run.members.get_mut(&client) else { return };
        if reached.is_some_and(|before| before >= stage) {
            return;
        }
        let counted = reached.is_some_and(|before| before >= run.stage);
        *reached = Some(stage);
        run.arrived += usize::from(!counted && stage >= run.stage);
        if let (Stage::Committed, Some(stats)) = (stage, stats) {
            merge(&mut run.stats, stats);
        }
        self.release(now, out);
    }

    /// Lets the members go on from every stage that all of them have reached.
    pub(super) fn release(&mut self, now: Micros, out: &mut Vec<Action>) {
        let has_all = |run: &&mut Running| run.hook.is_none() && run.arrived == run.members.len();
        while let Some(run) = self.running.as_mut().filter(has_all) {
            run.stages.push(Timing { name: run.stage.as_str().into(), us: now - run.stage_started });
            run.stage_started = now;
            match run.stage {
                Stage::Committed => self.durable(now, out),
                Stage::Resumed => return self.resumed(now, out),
                _ => self.let_go(out),
            }
        }
    }

    pub(super) fn let_go(&mut self, out: &mut Vec<Action>) {
        let Some(run) = self.running.as_mut() else { return };
        let (generation, stage, member_count) = (run.generation, run.stage, run.members.len() as u32);
        for (member_index, &to) in (0..).zip(run.members.keys()) {
            let message = CoordinatorMessage::Release { generation, stage, member_index, member_count };
            out.push(Action::Send { to, message });
        }
        let Some(next) = stage.next() else { return };
        run.stage = next;
        run.arrived = run.members.values().filter(|reached| reached.is_some_and(|at| at >= next)).count();
    }

    pub(super) fn failed(&mut self, now: Micros, client: ClientId, generation: u32, reason: &str, out: &mut Vec<Action>) {
        let is_member = |run: &Running| run.generation == generation && run.members.contains_key(&client);
        if self.running.as_ref().is_some_and(is_member) {
            let reason = format!("{}: {reason}", self.name(client));
            self.abort(now, &reason, out);
        }
    }

    pub(super) fn abort(&mut self, now: Micros, reason: &str, out: &mut Vec<Action>) {
        let Some(run) = self.running.take_if(|run| run.summary.is_none()) else { return };
        let reason = clip(reason, MAX_REASON);
        let generation = run.generation;
        for &to in run.members.keys().filter(|client| self.agents.contains_key(client)) {
            out.push(Action::Send { to, message: CoordinatorMessage::Abort { generation, reason: reason.clone() } });
        }
        answer_all(&run.request.waiters, &failure(&reason), out);
        out.push(Action::Note(format!("checkpoint {generation} failed: {reason}")));
        self.interval_due = now + self.interval;
        self.last_failure = Some(format!("checkpoint {generation}: {reason}"));
        if self.hooks.resumed {
            out.push(Action::RunHooks(Occasion { failure: Some(reason), ..occasion(HookEvent::Resumed, generation) }));
        }
    }
}
