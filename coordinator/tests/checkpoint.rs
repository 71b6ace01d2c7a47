//! Checkpoints through the real coordinator, with agents that vanish, come back and come in thousands.

mod support;

use ckpt_coordinator::{reconnect, JoinMode};
use ckpt_wire::{AgentMessage, CommandMessage, CoordinatorMessage, ProcessRow, Stage};
use support::*;

#[test]
fn two_agents_complete_a_checkpoint() {
    let coordinator = Coordinator::start(&[]);
    let mut agents = Agent::join_many(&coordinator, 2);
    let mut command = ask_checkpoint(&coordinator, false);
    let generation = begin_all(&mut agents);
    pass_stages(&mut agents, generation, &Stage::ALL);
    match command.recv().unwrap() {
        Some(CoordinatorMessage::Done(summary)) => {
            assert_eq!((summary.generation, summary.bytes, summary.pause_us), (1, 2_000, 900));
            assert_eq!(summary.images.len(), 2);
        }
        other => panic!("not done: {other:?}"),
    }
    let status = coordinator.status();
    assert_eq!((status.next_generation, status.agents.len()), (2, 2));
    assert_eq!(status.last.unwrap().stages.len(), 4);
}

#[test]
fn an_agent_that_vanishes_at_any_stage_fails_the_checkpoint_for_all() {
    let coordinator = Coordinator::start(&[]);
    for lost_at in Stage::ALL.into_iter().filter(|stage| *stage < Stage::Resumed) {
        let mut agents = Agent::join_many(&coordinator, 3);
        let mut command = ask_checkpoint(&coordinator, false);
        let generation = begin_all(&mut agents);
        let passed: Vec<_> = Stage::ALL.into_iter().filter(|stage| *stage < lost_at).collect();
        pass_stages(&mut agents, generation, &passed);
        agents[0].reach(generation, lost_at);
        drop(agents.remove(1));
        for agent in &mut agents {
            assert!(agent.aborted().contains("was lost before"));
        }
        assert!(failure(&mut command).contains(lost_at.as_str()));
        agents.into_iter().for_each(Agent::leave);
    }
}

#[test]
fn a_second_request_is_carried_out_afterwards() {
    let coordinator = Coordinator::start(&[]);
    let mut agents = Agent::join_many(&coordinator, 1);
    let mut first = ask_checkpoint(&coordinator, false);
    let generation = begin_all(&mut agents);
    let mut second = ask_checkpoint(&coordinator, false);
    while !coordinator.status().running.is_some_and(|run| run.queued) {}
    pass_stages(&mut agents, generation, &Stage::ALL);
    assert!(matches!(first.recv().unwrap(), Some(CoordinatorMessage::Done(done)) if done.generation == 1));
    let generation = begin_all(&mut agents);
    pass_stages(&mut agents, generation, &Stage::ALL);
    assert!(matches!(second.recv().unwrap(), Some(CoordinatorMessage::Done(done)) if done.generation == 2));
}

#[test]
fn a_program_that_ends_in_time_is_left_out() {
    let coordinator = Coordinator::start(&[]);
    let mut agents = Agent::join_many(&coordinator, 3);
    let mut command = ask_checkpoint(&coordinator, false);
    let generation = begin_all(&mut agents);
    agents.remove(0).leave();
    agents.iter_mut().for_each(|agent| agent.reach(generation, Stage::Quiesced));
    let places: Vec<_> = agents.iter_mut().map(|agent| agent.released(generation, Stage::Quiesced)).collect();
    assert_eq!(places, [(0, 2), (1, 2)]);
    pass_stages(&mut agents, generation, &Stage::ALL[1..]);
    assert!(matches!(command.recv().unwrap(), Some(CoordinatorMessage::Done(_))));
}

#[test]
fn agents_take_their_computation_to_a_new_coordinator() {
    let mut coordinator = Coordinator::start(&[]);
    let mut agents = Agent::join_many(&coordinator, 4);
    let computation = agents[0].welcome.computation;
    let command = ask_checkpoint(&coordinator, false);
    let generation = begin_all(&mut agents);
    pass_stages(&mut agents, generation, &Stage::ALL);
    coordinator.kill();
    assert!(agents.iter_mut().all(|agent| agent.client.recv().unwrap().is_none()));
    drop(command);

    // All at once: one of them starts the coordinator that the others find.
    let options = coordinator.launch_options(JoinMode::Any);
    let rejoin = || reconnect(&options, &agent_hello(Some(computation), generation)).unwrap();
    let joined: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(rejoin)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    coordinator.learn_pid();
    for (_, welcome) in &joined {
        assert_eq!((welcome.computation, welcome.next_generation), (computation, generation + 1));
    }
    let mut agents: Vec<_> = joined.into_iter().map(|(client, welcome)| Agent { client, welcome }).collect();
    let mut command = ask_checkpoint(&coordinator, false);
    let next = begin_all(&mut agents);
    assert_eq!(next, generation + 1);
    pass_stages(&mut agents, next, &Stage::ALL);
    assert!(matches!(command.recv().unwrap(), Some(CoordinatorMessage::Done(_))));
}

#[test]
fn a_thousand_agents_pass_the_barrier() {
    let (_, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let coordinator = Coordinator::start(&[]);
    let mut agents = Agent::join_many(&coordinator, 1_000);
    let mut command = ask_checkpoint(&coordinator, false);
    let generation = begin_all(&mut agents);
    pass_stages(&mut agents, generation, &Stage::ALL);
    match command.recv().unwrap() {
        Some(CoordinatorMessage::Done(summary)) => {
            assert_eq!((summary.images.len(), summary.processes), (1_000, 1_000))
        }
        other => panic!("not done: {other:?}"),
    }
}

#[test]
fn a_stage_deadline_names_the_stage() {
    let coordinator = Coordinator::start(&["--stage-timeout", "1"]);
    let mut agents = Agent::join_many(&coordinator, 2);
    let mut command = ask_checkpoint(&coordinator, false);
    let generation = begin_all(&mut agents);
    agents[0].reach(generation, Stage::Quiesced);
    assert!(failure(&mut command).starts_with("not quiesced within 1 s: fake (pid "));
    assert!(agents[1].aborted().starts_with("not quiesced"));
}

#[test]
fn the_interval_makes_checkpoints() {
    let coordinator = Coordinator::start(&["--interval", "1"]);
    let mut agents = Agent::join_many(&coordinator, 1);
    for _ in 0..2 {
        let generation = begin_all(&mut agents);
        pass_stages(&mut agents, generation, &Stage::ALL);
    }
    assert!(coordinator.ckpt_command(&["-i", "0"]).status.success());
    assert_eq!(coordinator.status().interval, 0);
}

#[test]
fn checkpoint_and_kill_returns_when_the_programs_are_gone() {
    let coordinator = Coordinator::start(&[]);
    let mut agents = Agent::join_many(&coordinator, 1);
    let mut command = ask_checkpoint(&coordinator, true);
    let generation = begin_all(&mut agents);
    pass_stages(&mut agents, generation, &Stage::ALL);
    assert!(matches!(command.try_recv().unwrap(), ckpt_coordinator::Polled::Nothing));
    agents.remove(0).leave();
    assert!(matches!(command.recv().unwrap(), Some(CoordinatorMessage::Done(_))));
}

#[test]
fn list_gathers_rows_of_every_agent() {
    let coordinator = Coordinator::start(&[]);
    let mut agents = Agent::join_many(&coordinator, 2);
    let mut command = coordinator.command_client();
    command.command(&CommandMessage::List).unwrap();
    for agent in &mut agents {
        let CoordinatorMessage::ListProcesses { request } = agent.next() else { panic!("no list") };
        let row = ProcessRow { pid: 1, ppid: 0, name: "x".into(), state: 'S', threads: 1 };
        for last in [false, true] {
            agent.client.send(&AgentMessage::Processes { request, rows: vec![row.clone()], last }).unwrap();
        }
    }
    match command.recv().unwrap() {
        Some(CoordinatorMessage::Processes { agents, silent }) => {
            assert_eq!(agents.iter().map(|(_, rows)| rows.len()).collect::<Vec<_>>(), [2, 2]);
            assert!(silent.is_empty());
        }
        other => panic!("no rows: {other:?}"),
    }
}
