use super::*;
use ckpt_wire::ImageInfo;

const COMMAND: ClientId = 100;

fn with_agents(count: u32) -> Barrier {
    let mut barrier = Barrier::new(Deadlines::default(), 70);
    for client in 1..=count {
        barrier.step(0, Event::Joined { client, name: format!("agent{client}"), host: String::new(), place: String::new() });
    }
    barrier
}

fn request(barrier: &mut Barrier, kill: bool) -> Vec<Action> {
    barrier.step(0, Event::Requested { by: Some(COMMAND), kill, overrides: Overrides::default() })
}

fn reach(barrier: &mut Barrier, client: ClientId, generation: u32, stage: Stage) -> Vec<Action> {
    let one = CheckpointStats {
        images: vec![ImageInfo { path: format!("i{client}"), ..ImageInfo::default() }],
        bytes: 10,
        processes: 1,
        pause_us: u64::from(client),
        stages: vec![Timing { name: "write".into(), us: u64::from(client) }],
        notes: vec!["note".into()],
    };
    let stats = (stage == Stage::Committed).then_some(one);
    barrier.step(1, Event::Reached { client, generation, stage, stats })
}

fn reach_all(barrier: &mut Barrier, count: u32, generation: u32, stage: Stage) -> Vec<Action> {
    (1..=count).flat_map(|client| reach(barrier, client, generation, stage)).collect()
}

fn answer(actions: &[Action], to: ClientId) -> Option<&CoordinatorMessage> {
    actions.iter().find_map(|action| match action {
        Action::Send { to: receiver, message } if *receiver == to => Some(message),
        _ => None,
    })
}

fn failure_reason(actions: &[Action]) -> String {
    match answer(actions, COMMAND) {
        Some(CoordinatorMessage::Failed { reason }) => reason.clone(),
        other => panic!("not a failure: {other:?}"),
    }
}

fn is_abort(message: Option<&CoordinatorMessage>) -> bool {
    matches!(message, Some(CoordinatorMessage::Abort { .. }))
}

#[test]
fn a_checkpoint_goes_through_its_stages() {
    let mut barrier = with_agents(2);
    let begun = request(&mut barrier, false);
    assert!(matches!(
        answer(&begun, 2),
        Some(CoordinatorMessage::Checkpoint { generation: 1, member_index: 1, member_count: 2, kill_after: false, .. })
    ));
    for stage in Stage::ALL {
        assert!(reach(&mut barrier, 1, 1, stage).is_empty(), "{stage:?} waits for the second");
        let released = reach(&mut barrier, 2, 1, stage);
        if stage < Stage::Resumed {
            let expected =
                CoordinatorMessage::Release { generation: 1, stage, member_index: 0, member_count: 2 };
            assert_eq!(answer(&released, 1), Some(&expected));
        }
        if stage == Stage::Committed {
            assert_eq!(answer(&released, COMMAND), None);
            assert_eq!(finished(&released), [(1, true), (2, false)], "a note for one in each folder");
        }
        if stage == Stage::Resumed {
            let Some(CoordinatorMessage::Done(summary)) = answer(&released, COMMAND) else { panic!("{released:?}") };
            assert_eq!((summary.bytes, summary.processes, summary.pause_us), (20, 2, 2));
            assert_eq!(summary.images.iter().map(|image| &image.path).collect::<Vec<_>>(), ["i1", "i2"]);
            assert_eq!(summary.agent_stages, [Timing { name: "write".into(), us: 2 }]);
            assert_eq!(summary.stages.len(), 4);
        }
    }
    assert!(barrier.progress().is_none());
    assert_eq!(barrier.next_generation(), 2);
}

#[test]
fn an_agent_lost_at_any_stage_aborts_for_the_others() {
    for lost_at in Stage::ALL.into_iter().filter(|stage| *stage < Stage::Resumed) {
        let mut barrier = with_agents(3);
        request(&mut barrier, false);
        for stage in Stage::ALL.into_iter().filter(|stage| *stage < lost_at) {
            reach_all(&mut barrier, 3, 1, stage);
        }
        reach(&mut barrier, 1, 1, lost_at);
        let actions = barrier.step(2, Event::Vanished { client: 2 });
        assert!(is_abort(answer(&actions, 1)) && is_abort(answer(&actions, 3)), "{lost_at:?}: {actions:?}");
        assert_eq!(answer(&actions, 2), None);
        assert_eq!(failure_reason(&actions), format!("agent2 was lost before it had {}", lost_at.as_str()));
        let again = request(&mut barrier, false);
        assert!(matches!(
            answer(&again, 1),
            Some(CoordinatorMessage::Checkpoint { generation: 2, member_count: 2, .. })
        ));
    }
}

#[test]
fn a_program_that_ends_before_quiesce_reduces_the_membership() {
    let mut barrier = with_agents(3);
    request(&mut barrier, false);
    reach(&mut barrier, 1, 1, Stage::Quiesced);
    reach(&mut barrier, 3, 1, Stage::Quiesced);
    let released = barrier.step(2, Event::Left { client: 2 });
    let expected =
        CoordinatorMessage::Release { generation: 1, stage: Stage::Quiesced, member_index: 1, member_count: 2 };
    assert_eq!(answer(&released, 3), Some(&expected));
}

#[test]
fn a_program_that_ends_after_reaching_quiesce_is_not_counted_twice() {
    let mut barrier = with_agents(2);
    request(&mut barrier, false);
    reach(&mut barrier, 1, 1, Stage::Quiesced);
    assert!(barrier.step(2, Event::Left { client: 1 }).is_empty());
    assert!(answer(&reach(&mut barrier, 2, 1, Stage::Quiesced), 2).is_some());
}

#[test]
fn a_program_that_ends_later_aborts() {
    for ended_at in [Stage::Captured, Stage::Written, Stage::Committed] {
        let mut barrier = with_agents(2);
        request(&mut barrier, false);
        for stage in Stage::ALL.into_iter().filter(|stage| *stage < ended_at) {
            reach_all(&mut barrier, 2, 1, stage);
        }
        let actions = barrier.step(2, Event::Left { client: 1 });
        assert!(is_abort(answer(&actions, 2)));
        assert_eq!(failure_reason(&actions), format!("agent1 ended before it had {}", ended_at.as_str()));
    }
}

#[test]
fn a_member_that_has_committed_may_go() {
    let mut barrier = with_agents(2);
    request(&mut barrier, false);
    for stage in [Stage::Quiesced, Stage::Captured, Stage::Written] {
        reach_all(&mut barrier, 2, 1, stage);
    }
    reach(&mut barrier, 1, 1, Stage::Committed);
    assert!(barrier.step(2, Event::Vanished { client: 1 }).is_empty());
    reach(&mut barrier, 2, 1, Stage::Committed);
    let actions = reach(&mut barrier, 2, 1, Stage::Resumed);
    assert!(matches!(answer(&actions, COMMAND), Some(CoordinatorMessage::Done(_))));
}

#[test]
fn nothing_fails_a_checkpoint_that_is_durable() {
    let mut barrier = with_agents(2);
    request(&mut barrier, false);
    for stage in Stage::ALL.into_iter().filter(|stage| *stage < Stage::Resumed) {
        reach_all(&mut barrier, 2, 1, stage);
    }
    reach(&mut barrier, 2, 1, Stage::Resumed);
    assert!(barrier.step(2, Event::Failed { client: 1, generation: 1, reason: "late".into() }).is_empty());
    let actions = barrier.step(2, Event::Vanished { client: 1 });
    assert!(matches!(answer(&actions, COMMAND), Some(CoordinatorMessage::Done(_))));
    request(&mut barrier, false);
    for stage in Stage::ALL.into_iter().filter(|stage| *stage < Stage::Resumed) {
        reach(&mut barrier, 2, 2, stage);
    }
    let late = barrier.step(barrier.next_due().unwrap(), Event::Tick);
    assert!(matches!(answer(&late, COMMAND), Some(CoordinatorMessage::Done(_))));
}

/// Who is told that it may finish, and whether it is to write a note.
fn finished(actions: &[Action]) -> Vec<(ClientId, bool)> {
    let finish = |action: &Action| match action {
        Action::Send { to, message: CoordinatorMessage::Finish { note, .. } } => Some((*to, note.is_some())),
        _ => None,
    };
    actions.iter().filter_map(finish).collect()
}

fn hooked(count: u32, hold: bool) -> Barrier {
    let mut barrier = with_agents(count);
    let plan = HookPlan { pre_checkpoint: true, post_write: true, resumed: true, restarted: true, hold };
    barrier.configure(plan, 1_000);
    barrier
}

fn hooks_of(actions: &[Action]) -> Vec<&Occasion> {
    actions.iter().filter_map(|action| if let Action::RunHooks(occasion) = action { Some(occasion) } else { None }).collect()
}

fn end_hooks(barrier: &mut Barrier, event: HookEvent, generation: u32, failure: Option<&str>) -> Vec<Action> {
    let failure = failure.map(str::to_owned);
    let report = HookReport { event, program: "p".into(), at_us: 0, us: 5, failure };
    barrier.step(1, Event::HooksEnded { event, generation, reports: vec![report] })
}

#[test]
fn hooks_run_in_their_order_and_everything_waits_for_them() {
    let mut barrier = hooked(2, true);
    let asked = request(&mut barrier, false);
    assert_eq!((hooks_of(&asked)[0].event, answer(&asked, 1)), (HookEvent::PreCheckpoint, None));
    let begun = end_hooks(&mut barrier, HookEvent::PreCheckpoint, 1, None);
    assert!(matches!(answer(&begun, 1), Some(CoordinatorMessage::Checkpoint { generation: 1, hold: true, .. })));
    for stage in [Stage::Quiesced, Stage::Captured, Stage::Written] {
        reach_all(&mut barrier, 2, 1, stage);
    }
    let durable = reach_all(&mut barrier, 2, 1, Stage::Committed);
    assert_eq!(hooks_of(&durable)[0].summary.as_ref().map(|summary| summary.images.len()), Some(2));
    assert!(matches!(answer(&durable, 1), Some(CoordinatorMessage::Release { stage: Stage::Committed, .. })));
    assert_eq!((finished(&durable), barrier.next_due()), (vec![], None));
    let released = end_hooks(&mut barrier, HookEvent::PostWrite, 1, Some("exited with status 1"));
    assert_eq!(finished(&released), [(1, true), (2, false)]);
    let resumed = reach_all(&mut barrier, 2, 1, Stage::Resumed);
    assert_eq!((hooks_of(&resumed)[0].event, answer(&resumed, COMMAND)), (HookEvent::Resumed, None));
    let done = end_hooks(&mut barrier, HookEvent::Resumed, 1, None);
    let Some(CoordinatorMessage::Done(summary)) = answer(&done, COMMAND) else { panic!("{done:?}") };
    let events: Vec<_> = summary.hooks.iter().map(|report| report.event).collect();
    assert_eq!(events, [HookEvent::PreCheckpoint, HookEvent::PostWrite, HookEvent::Resumed]);
    assert!(summary.hooks[1].failure.is_some());
    assert_eq!(barrier.last_failure(), None);
}

#[test]
fn a_pre_checkpoint_hook_that_fails_prevents_the_checkpoint() {
    let mut barrier = hooked(1, false);
    request(&mut barrier, false);
    let actions = end_hooks(&mut barrier, HookEvent::PreCheckpoint, 1, Some("exited with status 1"));
    assert_eq!(failure_reason(&actions), "pre-checkpoint hook p: exited with status 1");
    assert_eq!(answer(&actions, 1), None);
    let after = hooks_of(&actions)[0];
    assert_eq!((after.event, after.failure.is_some()), (HookEvent::Resumed, true));
    // The hook of that failure belongs to no checkpoint any more.
    request(&mut barrier, false);
    assert!(end_hooks(&mut barrier, HookEvent::PreCheckpoint, 1, None).is_empty());
    assert!(answer(&end_hooks(&mut barrier, HookEvent::PreCheckpoint, 2, None), 1).is_some());
}

#[test]
fn a_kill_during_a_post_write_hook_is_answered_and_the_checkpoint_stays_complete() {
    let mut barrier = hooked(1, false);
    request(&mut barrier, false);
    end_hooks(&mut barrier, HookEvent::PreCheckpoint, 1, None);
    for stage in Stage::ALL.into_iter().filter(|stage| *stage < Stage::Resumed) {
        reach(&mut barrier, 1, 1, stage);
    }
    barrier.step(5, Event::KillRequested { by: 101 });
    let gone = barrier.step(5, Event::Left { client: 1 });
    assert_eq!(answer(&gone, 101), Some(&CoordinatorMessage::Ok));
    end_hooks(&mut barrier, HookEvent::PostWrite, 1, None);
    let done = end_hooks(&mut barrier, HookEvent::Resumed, 1, None);
    assert!(matches!(answer(&done, COMMAND), Some(CoordinatorMessage::Done(_))));
}

#[test]
fn restarted_comes_once_when_every_member_runs() {
    let mut barrier = hooked(2, false);
    let restarted = |client| Event::Restarted { client, generation: 4, members: 2, us: 7 };
    assert!(hooks_of(&barrier.step(0, restarted(1))).is_empty());
    let actions = barrier.step(0, restarted(2));
    assert_eq!((hooks_of(&actions)[0].event, hooks_of(&actions)[0].generation), (HookEvent::Restarted, 4));
}

#[test]
fn the_last_program_ending_fails_the_request() {
    let mut barrier = with_agents(1);
    request(&mut barrier, false);
    let actions = barrier.step(2, Event::Left { client: 1 });
    assert_eq!(failure_reason(&actions), "every program ended before it could be checkpointed");
}

#[test]
fn an_agent_that_fails_names_itself_and_its_reason() {
    let mut barrier = with_agents(2);
    request(&mut barrier, false);
    let wrong = Event::Failed { client: 2, generation: 7, reason: "old".into() };
    assert!(barrier.step(2, wrong).is_empty());
    let actions = barrier.step(2, Event::Failed { client: 2, generation: 1, reason: "disk full".into() });
    assert!(is_abort(answer(&actions, 1)));
    assert_eq!(failure_reason(&actions), "agent2: disk full");
    assert_eq!(barrier.last_failure(), Some("checkpoint 1: agent2: disk full"));
}

#[test]
fn a_deadline_names_who_did_not_arrive() {
    let mut barrier = with_agents(6);
    request(&mut barrier, false);
    reach(&mut barrier, 1, 1, Stage::Quiesced);
    let due = barrier.next_due().unwrap();
    assert!(barrier.step(due - 1, Event::Tick).is_empty());
    let actions = barrier.step(due, Event::Tick);
    let reason = failure_reason(&actions);
    assert!(reason.starts_with("not quiesced within 60 s: agent2, agent3, agent4, 2 more"), "{reason}");
}

#[test]
fn a_second_request_starts_a_new_checkpoint_afterwards() {
    let mut barrier = with_agents(1);
    request(&mut barrier, false);
    assert!(barrier
        .step(0, Event::Requested { by: Some(101), kill: false, overrides: Overrides::default() })
        .is_empty());
    assert!(barrier
        .step(0, Event::Requested { by: Some(102), kill: true, overrides: Overrides::default() })
        .is_empty());
    let mut last = Vec::new();
    for stage in Stage::ALL {
        last = reach(&mut barrier, 1, 1, stage);
    }
    assert!(matches!(answer(&last, COMMAND), Some(CoordinatorMessage::Done(_))));
    let begun = CoordinatorMessage::Checkpoint {
        generation: 2,
        attempt: 72,
        patience: (60, 6 * 3600),
        member_index: 0,
        member_count: 1,
        kill_after: true,
        hold: false,
        overrides: Overrides::default(),
        interval: 0,
    };
    assert!(last.contains(&Action::Send { to: 1, message: begun }));
    for stage in Stage::ALL {
        reach(&mut barrier, 1, 2, stage);
    }
    let gone = barrier.step(3, Event::Left { client: 1 });
    for waiter in [101, 102] {
        assert!(matches!(answer(&gone, waiter), Some(CoordinatorMessage::Done(one)) if one.generation == 2));
    }
}

#[test]
fn a_queued_request_survives_an_abort() {
    let mut barrier = with_agents(2);
    request(&mut barrier, false);
    request(&mut barrier, false);
    let actions = barrier.step(0, Event::Vanished { client: 1 });
    assert!(actions.iter().any(|action| matches!(
        action,
        Action::Send { to: 2, message: CoordinatorMessage::Checkpoint { generation: 2, .. } }
    )));
}

#[test]
fn checkpoint_and_kill_is_answered_when_the_members_are_gone() {
    let mut barrier = with_agents(2);
    request(&mut barrier, true);
    let mut last = Vec::new();
    for stage in Stage::ALL {
        last = reach_all(&mut barrier, 2, 1, stage);
    }
    assert_eq!(answer(&last, COMMAND), None);
    assert!(barrier.step(2, Event::Left { client: 1 }).is_empty());
    let actions = barrier.step(2, Event::Vanished { client: 2 });
    assert!(matches!(answer(&actions, COMMAND), Some(CoordinatorMessage::Done(_))));
}

#[test]
fn kill_gives_a_running_checkpoint_up_and_waits() {
    let mut barrier = with_agents(1);
    request(&mut barrier, false);
    let actions = barrier.step(0, Event::KillRequested { by: 101 });
    assert!(actions.contains(&Action::Send { to: 1, message: CoordinatorMessage::Kill }));
    assert_eq!(failure_reason(&actions), "the programs are being killed");
    assert_eq!(answer(&actions, 101), None);
    let gone = barrier.step(0, Event::Left { client: 1 });
    assert_eq!(answer(&gone, 101), Some(&CoordinatorMessage::Ok));
}

#[test]
fn kill_of_nothing_is_answered_at_once_and_a_stuck_one_is_named() {
    let mut barrier = with_agents(0);
    assert_eq!(answer(&barrier.step(0, Event::KillRequested { by: 9 }), 9), Some(&CoordinatorMessage::Ok));
    let mut barrier = with_agents(1);
    barrier.step(0, Event::KillRequested { by: COMMAND });
    let late = barrier.step(barrier.next_due().unwrap(), Event::Tick);
    assert!(failure_reason(&late).starts_with("still there after the kill: agent1"));
}

#[test]
fn the_interval_timer_checkpoints_again_and_again() {
    let mut barrier = with_agents(1);
    barrier.step(0, Event::IntervalSet { seconds: 5 });
    assert!(barrier.step(5 * SECOND - 1, Event::Tick).is_empty());
    for generation in 1..3 {
        let due = barrier.next_due().unwrap();
        let begun = barrier.step(due, Event::Tick);
        assert!(answer(&begun, 1).is_some());
        for stage in Stage::ALL {
            barrier.step(due, Event::Reached { client: 1, generation, stage, stats: None });
        }
        assert_eq!(barrier.next_due(), Some(due + 5 * SECOND));
    }
    barrier.step(0, Event::IntervalSet { seconds: 0 });
    assert_eq!(barrier.next_due(), None);
}

#[test]
fn nothing_to_checkpoint_says_so() {
    let mut barrier = with_agents(0);
    let reason = failure_reason(&request(&mut barrier, false));
    assert!(reason.starts_with("nothing to checkpoint"), "{reason}");
}

#[test]
fn repeated_and_foreign_arrivals_count_once() {
    let mut barrier = with_agents(2);
    request(&mut barrier, false);
    for client in [1, 1, 77] {
        assert!(reach(&mut barrier, client, 1, Stage::Quiesced).is_empty());
    }
    assert!(reach(&mut barrier, 2, 9, Stage::Quiesced).is_empty());
    assert_eq!(barrier.progress().map(|progress| progress.arrived), Some(1));
}

#[test]
fn a_member_ahead_of_the_others_is_not_lost() {
    let mut barrier = with_agents(2);
    request(&mut barrier, false);
    reach(&mut barrier, 1, 1, Stage::Captured);
    let actions = reach(&mut barrier, 2, 1, Stage::Captured);
    assert_eq!(barrier.progress().map(|progress| progress.stage), Some(Stage::Written));
    assert_eq!(actions.iter().filter(|action| matches!(action, Action::Send { to: 1, .. })).count(), 2);
}

#[test]
fn an_agent_that_joins_meanwhile_is_a_member_of_the_next() {
    let mut barrier = with_agents(1);
    request(&mut barrier, false);
    barrier.step(0, Event::Joined { client: 2, name: "late".into(), host: String::new(), place: String::new() });
    let released = reach(&mut barrier, 1, 1, Stage::Quiesced);
    assert_eq!(answer(&released, 2), None);
    assert!(barrier.step(0, Event::Vanished { client: 2 }).is_empty());
}

#[test]
fn generations_only_rise() {
    let mut barrier = with_agents(1);
    barrier.adopt_generation(7);
    barrier.adopt_generation(3);
    assert_eq!(barrier.next_generation(), 8);
}
