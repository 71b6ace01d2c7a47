//! Hooks of the real coordinator: what they are told, what their end means, and that nobody waits who need not.

mod support;

use ckpt_wire::{CoordinatorMessage, Hello, HookEvent, HookRequest, Stage, Summary};
use serde_json::Value;
use std::path::Path;
use support::*;

fn done(command: &mut ckpt_coordinator::Client) -> Summary {
    match command.recv().unwrap() {
        Some(CoordinatorMessage::Done(summary)) => summary,
        other => panic!("not done: {other:?}"),
    }
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Takes a checkpoint with one agent from the request to the answer.
fn whole_checkpoint(coordinator: &Coordinator) -> Summary {
    let mut agents = Agent::join_many(coordinator, 1);
    let mut command = ask_checkpoint(coordinator, false);
    let generation = begin_all(&mut agents);
    pass_stages(&mut agents, generation, &Stage::ALL);
    done(&mut command)
}

#[test]
fn each_event_reaches_its_hooks_in_order_with_the_event_on_standard_input() {
    let out = tmpdir();
    let save = |event: &str| format!("{event}=cat > {0}/{event}.json; echo {event} >> {0}/order", out.display());
    let hooks = ["resumed", "post-write", "pre-checkpoint"].map(save);
    let second = format!("post-write=echo second >> {}/order", out.display());
    let args: Vec<&str> = hooks.iter().chain([&second]).flat_map(|hook| ["--hook", hook.as_str()]).collect();
    let coordinator = Coordinator::start(&args);
    let summary = whole_checkpoint(&coordinator);
    assert_eq!(std::fs::read_to_string(out.join("order")).unwrap(), "pre-checkpoint\npost-write\nsecond\nresumed\n");
    let event = read_json(&out.join("post-write.json"));
    assert_eq!((&event["event"], &event["generation"]), (&"post-write".into(), &1.into()));
    assert_eq!(event["computation"], coordinator.status().computation.to_string());
    assert_eq!((&event["images"][0]["host"], &event["images"][0]["bytes"]), (&"here".into(), &1_000.into()));
    assert_eq!((&event["images"][0]["digest"], &event["ckptdir"]), (&"07".repeat(32).into(), &"/images".into()));
    assert!(event["stages_us"]["committed"].is_u64() && event["time"].as_f64().unwrap() > 1.7e9);
    assert!(read_json(&out.join("pre-checkpoint.json"))["images"].is_null());
    assert_eq!(summary.hooks.len(), 4);
    assert!(summary.hooks.iter().all(|report| report.failure.is_none()));
    std::fs::remove_dir_all(out).unwrap();
}

#[test]
fn a_hook_that_fails_is_reported_apart_and_its_output_is_in_the_log() {
    let out = tmpdir();
    let log = out.join("log");
    let hook = "post-write=echo to the log; echo no space >&2; exit 5";
    let coordinator = Coordinator::start(&["--hook", hook, "--log", log.to_str().unwrap()]);
    let mut agents = Agent::join_many(&coordinator, 1);
    let coordinator_at = &coordinator;
    let output = std::thread::scope(|scope| {
        let asked = scope.spawn(move || coordinator_at.ckpt_command(&["-c"]));
        let generation = begin_all(&mut agents);
        pass_stages(&mut agents, generation, &Stage::ALL);
        asked.join().unwrap()
    });
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stdout).starts_with("checkpoint 1 complete"));
    assert!(text(&output.stderr).contains("exited with status 5: no space"), "{}", text(&output.stderr));
    let logged = std::fs::read_to_string(&log).unwrap();
    assert!(logged.contains("| to the log") && logged.contains("exited with status 5"), "{logged}");
    let last = coordinator.status();
    assert_eq!((last.last_failure, last.last.unwrap().generation), (None, 1));
    std::fs::remove_dir_all(out).unwrap();
}

#[test]
fn a_hook_that_does_not_end_is_killed_with_its_children() {
    let out = tmpdir();
    let fifo = out.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // The child of the hook holds the fifo open; its end shows in our read.
    let hook = format!("post-write=sleep 1000 > {} & exec sleep 1000", fifo.display());
    let coordinator = Coordinator::start(&["--hook", &hook, "--hook-timeout", "1"]);
    let reader = std::thread::spawn(move || std::fs::read(fifo).unwrap());
    let summary = whole_checkpoint(&coordinator);
    assert_eq!(summary.hooks[0].failure.as_deref(), Some("did not end within 1 s and was killed"));
    assert!(reader.join().unwrap().is_empty());
    std::fs::remove_dir_all(out).unwrap();
}

#[test]
fn while_a_hook_runs_the_coordinator_answers_and_held_programs_stand_still() {
    let out = tmpdir();
    let fifo = out.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let hook = format!("post-write=ckpt_is_asked=$(\"{COMMAND}\" --status) && cat {} && echo \"$ckpt_is_asked\"", fifo.display());
    let coordinator = Coordinator::start(&["--hook", &hook, "--hold", "--exit-on-last"]);
    let mut agents = Agent::join_many(&coordinator, 1);
    let mut command = ask_checkpoint(&coordinator, false);
    match agents[0].next() {
        CoordinatorMessage::Checkpoint { hold, .. } => assert!(hold),
        other => panic!("not a checkpoint: {other:?}"),
    }
    pass_stages(&mut agents, 1, &Stage::ALL[..3]);
    agents[0].reach(1, Stage::Committed);
    agents[0].released(1, Stage::Committed);
    // The hook opens the fifo only after it was answered.
    let mut wake = std::fs::File::options().write(true).open(&fifo).unwrap();
    assert!(matches!(agents[0].client.try_recv().unwrap(), ckpt_coordinator::Polled::Nothing));
    std::io::Write::write_all(&mut wake, b"go on\n").unwrap();
    drop(wake);
    agents[0].finished();
    agents[0].reach(1, Stage::Resumed);
    assert_eq!(done(&mut command).hooks[0].failure, None);
    std::fs::remove_dir_all(out).unwrap();
}

#[test]
fn a_coordinator_that_leaves_with_its_last_client_ends_its_hooks_first() {
    let out = tmpdir();
    let fifo = out.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let hook = format!("resumed=cat {0}; echo done > {1}/done", fifo.display(), out.display());
    let mut coordinator = Coordinator::start(&["--hook", &hook, "--exit-on-last"]);
    let mut agents = Agent::join_many(&coordinator, 1);
    let command = ask_checkpoint(&coordinator, false);
    let generation = begin_all(&mut agents);
    pass_stages(&mut agents, generation, &Stage::ALL);
    let wake = std::fs::File::options().write(true).open(&fifo).unwrap();
    agents.into_iter().for_each(Agent::leave);
    drop(command);
    drop(wake);
    coordinator.wait_for_exit();
    assert!(out.join("done").exists());
    std::fs::remove_dir_all(out).unwrap();
}

#[test]
fn a_failing_pre_checkpoint_hook_prevents_the_checkpoint() {
    let coordinator = Coordinator::start(&["--hook", "pre-checkpoint=echo not now; exit 1"]);
    let _agent = Agent::join(&coordinator);
    let output = coordinator.ckpt_command(&["-c"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("exited with status 1: not now"), "{}", text(&output.stderr));
}

#[test]
fn the_restarted_hook_runs_when_all_members_do() {
    let out = tmpdir();
    let hook = format!("restarted=cat > {0}/tmp && mv {0}/tmp {0}/event", out.display());
    let coordinator = Coordinator::start(&["--hook", &hook, "--exit-on-last"]);
    let mut agents = Agent::join_many(&coordinator, 2);
    for agent in &mut agents {
        agent.client.send(&ckpt_wire::AgentMessage::Restarted { generation: 4, members: 2, us: 7 }).unwrap();
    }
    // Who has left is no member any more, and its word does not count.
    while !out.join("event").exists() {
        std::thread::yield_now();
    }
    agents.into_iter().for_each(Agent::leave);
    let mut coordinator = coordinator;
    coordinator.wait_for_exit();
    let event = read_json(&out.join("event"));
    assert_eq!((&event["event"], &event["generation"]), (&HookEvent::Restarted.as_str().into(), &4.into()));
    std::fs::remove_dir_all(out).unwrap();
}

/// An agent that brings one hook along.
fn bring(coordinator: &Coordinator, program: &str, folder: &Path) -> Agent {
    let programs = vec![(HookEvent::PostWrite, program.to_owned())];
    let hooks = Some(HookRequest { programs, folder: folder.display().to_string(), hold: false, timeout: None });
    let mut client = ckpt_coordinator::Client::connect(&coordinator.address).unwrap();
    let welcome = client.hello(&Hello { hooks, ..agent_hello(None, 0) }).unwrap();
    Agent { client, welcome }
}

#[test]
fn hooks_that_agents_bring_run_once_where_they_were_named_and_go_with_them() {
    let out = tmpdir();
    let coordinator = Coordinator::start(&[]);
    let mut agents = vec![Agent::join(&coordinator)];
    agents.extend((0..2).map(|_| bring(&coordinator, "pwd; echo once >> told", &out)));
    let mut command = ask_checkpoint(&coordinator, false);
    let generation = begin_all(&mut agents);
    pass_stages(&mut agents, generation, &Stage::ALL);
    assert_eq!(done(&mut command).hooks.len(), 1);
    assert_eq!(std::fs::read_to_string(out.join("told")).unwrap(), "once\n");
    agents.drain(1..).for_each(Agent::leave);
    while coordinator.status().agents.len() > 1 {
        std::thread::yield_now();
    }
    let mut command = ask_checkpoint(&coordinator, false);
    let generation = begin_all(&mut agents);
    pass_stages(&mut agents, generation, &Stage::ALL);
    let last = done(&mut command);
    assert!(last.hooks.is_empty());
    let events: Vec<HookEvent> = last.events.iter().map(|one| one.event).collect();
    assert_eq!(events, [HookEvent::PreCheckpoint, HookEvent::PostWrite, HookEvent::Resumed]);
    assert!(last.events.is_sorted_by_key(|one| one.at_us));
    std::fs::remove_dir_all(out).unwrap();
}
