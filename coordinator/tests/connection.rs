//! Reaching, starting and leaving a coordinator; who is let in.

mod support;

use ckpt_coordinator::{
    connect_or_start, reconnect, run_folder, Address, Client, ClientError, JoinMode, LaunchOptions,
};
use ckpt_wire::{CommandMessage, Hello, Role, Stage};
use nix::sys::signal::{kill, Signal};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use support::*;

fn remote(coordinator: &Coordinator) -> Address {
    Address { host: Some("127.0.0.1".into()), ..coordinator.address.clone() }
}

#[test]
fn tcp_admits_who_knows_the_key() {
    let coordinator = Coordinator::start(&["--listen", "127.0.0.1"]);
    let mut client = Client::connect(&remote(&coordinator)).unwrap();
    let welcome = client.hello(&agent_hello(None, 0)).unwrap();
    assert_eq!(welcome.next_generation, 1);
}

#[test]
fn tcp_refuses_a_wrong_key() {
    let coordinator = Coordinator::start(&["--listen", "127.0.0.1"]);
    let wrong = coordinator.tmpdir.join("wrong.key");
    std::fs::write(&wrong, "00".repeat(32)).unwrap();
    std::fs::set_permissions(&wrong, std::fs::Permissions::from_mode(0o600)).unwrap();
    let address = Address { key_file: Some(wrong), ..remote(&coordinator) };
    assert!(matches!(Client::connect(&address), Err(ClientError::WrongKey(_))));
    let nobody = Address { folders: vec![], ..remote(&coordinator) };
    assert!(matches!(Client::connect(&nobody), Err(ClientError::NoKey(_))));
    assert_eq!(coordinator.status().agents.len(), 0);
}

#[test]
fn tcp_reads_no_message_before_the_proof() {
    let coordinator = Coordinator::start(&["--listen", "127.0.0.1"]);
    let mut stream = TcpStream::connect(("127.0.0.1", coordinator.address.port)).unwrap();
    stream.write_all(&[0x41; 4096]).unwrap();
    let mut said = Vec::new();
    // A reset is as good an end as an orderly one.
    let _ = stream.read_to_end(&mut said);
    assert!(said.len() <= 8 + 32, "the preamble and the challenge, no more");
    coordinator.status();
}

#[test]
fn garbage_ends_its_own_connection_only() {
    let coordinator = Coordinator::start(&[]);
    let mut agents = Agent::join_many(&coordinator, 1);
    let socket = run_folder::socket_path(&coordinator.folder(), coordinator.address.port);
    for garbage in [&[0xff; 64][..], b"GET / HTTP/1.0\r\n\r\n", &[3, 0, 0, 0, 9, 9, 9]] {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(garbage).unwrap();
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        assert_eq!(said.len(), 8, "the preamble, then the end");
    }
    let _command = ask_checkpoint(&coordinator, false);
    let generation = begin_all(&mut agents);
    pass_stages(&mut agents, generation, &Stage::ALL);
}

#[test]
fn a_client_that_does_not_read_is_dropped() {
    let coordinator = Coordinator::start(&[]);
    let mut wide = Client::connect(&coordinator.address).unwrap();
    wide.hello(&Hello::new(Role::Agent, "here".into(), 1, "x".repeat(4_096))).unwrap();
    let mut deaf = coordinator.command_client();
    while deaf.command(&CommandMessage::Status).is_ok() {}
    assert_eq!(coordinator.status().agents.len(), 1);
}

#[test]
fn many_launchers_find_one_coordinator() {
    let mut coordinator = Coordinator::absent();
    let options = coordinator.launch_options(JoinMode::Any);
    let clients: Vec<_> = std::thread::scope(|scope| {
        let start = || connect_or_start(&options).map(|mut client| (client.hello(&agent_hello(None, 0)), client));
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(start)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect()
    });
    coordinator.learn_pid();
    let ids: std::collections::HashSet<_> =
        clients.iter().map(|(hello, _)| hello.as_ref().unwrap().computation).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(coordinator.status().agents.len(), 6);
}

#[test]
fn a_started_coordinator_leaves_with_its_last_client() {
    let mut coordinator = Coordinator::absent();
    let mut client = connect_or_start(&coordinator.launch_options(JoinMode::Any)).unwrap();
    client.hello(&agent_hello(None, 0)).unwrap();
    drop(client);
    coordinator.wait_for_exit();
    assert!(Client::connect(&coordinator.address).is_err_and(|error| error.is_absent()));
    assert_eq!(std::fs::read_dir(coordinator.folder()).unwrap().count(), 0, "nothing is left in the run folder");
}

#[test]
fn join_needs_one_and_new_needs_none() {
    let absent = Coordinator::absent();
    let refused = connect_or_start(&absent.launch_options(JoinMode::Join)).unwrap_err();
    assert!(refused.is_absent());

    let taken = Coordinator::start(&[]);
    let refused = connect_or_start(&taken.launch_options(JoinMode::New)).unwrap_err();
    assert!(matches!(refused, ClientError::PortTaken(_)));
    let any_port = LaunchOptions { explicit_port: false, ..taken.launch_options(JoinMode::New) };
    let client = connect_or_start(&any_port).unwrap();
    assert_ne!(client.port(), taken.address.port);
    Command::new(&client).quit();
}

/// Ends a coordinator that only a client knows.
struct Command(Address);

impl Command {
    fn new(client: &Client) -> Command {
        Command(client.address().clone())
    }

    fn quit(self) {
        let mut client = Client::connect(&self.0).unwrap();
        client.hello(&Hello::new(Role::Command, "here".into(), 1, "test".into())).unwrap();
        client.command(&CommandMessage::Quit).unwrap();
        client.recv().unwrap();
    }
}

#[test]
fn a_port_file_tells_the_port() {
    let file = tmpdir().join("port");
    let coordinator = Coordinator::start(&["--port-file", file.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), coordinator.address.port.to_string());
    std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
}

#[test]
fn ckpt_command_says_what_happened() {
    let coordinator = Coordinator::start(&[]);
    let nothing = coordinator.ckpt_command(&["--checkpoint"]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(text(&nothing.stderr).starts_with("ckpt_command: checkpoint failed: nothing to checkpoint"));

    let mut agents = Agent::join_many(&coordinator, 1);
    let output = std::thread::scope(|scope| {
        let asked = scope.spawn(|| coordinator.ckpt_command(&["-c"]));
        let generation = begin_all(&mut agents);
        pass_stages(&mut agents, generation, &Stage::ALL);
        asked.join().unwrap()
    });
    let line = text(&output.stdout);
    assert!(line.starts_with("checkpoint 1 complete: /images/fake-"), "{line}");
    assert!(line.contains("(1.0 kB, paused 900 us, "), "{line}");

    let status = coordinator.ckpt_command(&["--status", "--json"]);
    let value: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!((&value["ok"], &value["last"]["generation"]), (&true.into(), &1.into()));
}

/// A program that checkpoints itself finds its ckpt_command in the image: that one waits on a connection to a
/// coordinator that is gone.
#[test]
fn ckpt_command_that_was_restarted_learns_that_its_checkpoint_is_complete() {
    let mut coordinator = Coordinator::start(&[]);
    let mut agents = Agent::join_many(&coordinator, 1);
    let computation = agents[0].welcome.computation;
    let (port, tmpdir) = (coordinator.address.port.to_string(), coordinator.tmpdir.clone());
    let mut command = std::process::Command::new(COMMAND);
    command.args(["-c", "-p", &port, "--tmpdir"]).arg(tmpdir).stdout(Stdio::piped());
    let command = command.spawn().unwrap();
    let generation = begin_all(&mut agents);
    let pid = nix::unistd::Pid::from_raw(command.id() as i32);
    kill(pid, Signal::SIGSTOP).unwrap();
    coordinator.kill();

    let options = coordinator.launch_options(JoinMode::Any);
    let _agent = reconnect(&options, &agent_hello(Some(computation), generation)).unwrap();
    coordinator.learn_pid();
    kill(pid, Signal::SIGCONT).unwrap();
    let output = command.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout).trim()), (Some(0), "checkpoint 1 complete"));
}

/// Neither who has asked already nor who comes to join waits for ever.
#[test]
fn a_coordinator_that_stands_still_is_given_up() {
    let coordinator = Coordinator::start(&[]);
    let mut agents = Agent::join_many(&coordinator, 1);
    let mut newcomer = Client::connect(&coordinator.address).unwrap();
    let pid = coordinator.pid().unwrap();
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| coordinator.ckpt_command(&["-c"]));
        begin_all(&mut agents);
        kill(pid, Signal::SIGSTOP).unwrap();
        assert!(matches!(newcomer.hello(&agent_hello(None, 0)), Err(ClientError::Silent(_))));
        let output = asked.join().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("does not answer; is it stopped?"), "{}", text(&output.stderr));
    });
}

#[test]
fn ckpt_command_without_a_coordinator_exits_with_2() {
    let absent = Coordinator::absent();
    let output = absent.ckpt_command(&["--status"]);
    assert_eq!(output.status.code(), Some(2));
    let expected = format!(
        "ckpt_command: no coordinator answers on port {} of this host; start a program with ckpt_launch, or give \
         --coord-port\n",
        absent.address.port
    );
    assert_eq!(text(&output.stderr), expected);
}

#[test]
fn quit_ends_agents_and_coordinator() {
    let mut coordinator = Coordinator::start(&[]);
    let mut agents = Agent::join_many(&coordinator, 1);
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| coordinator.ckpt_command(&["--quit"]));
        assert_eq!(agents[0].next(), ckpt_wire::CoordinatorMessage::Kill);
        agents.remove(0).leave();
        assert!(asked.join().unwrap().status.success());
    });
    coordinator.wait_for_exit();
}

#[test]
fn the_prompt_takes_commands_from_a_pipe() {
    let tmpdir = tmpdir();
    let mut command = coordinator_command(&["-p", "0", "--prompt"], &tmpdir);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"s\nnonsense\nc\nq\n").unwrap();
    let said = text(&child.wait_with_output().unwrap().stdout);
    for part in ["agents: 0", "nonsense is not a command", "nothing to checkpoint", "done"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    std::fs::remove_dir_all(tmpdir).unwrap();
}

#[test]
fn a_second_coordinator_on_the_port_is_told_so() {
    let coordinator = Coordinator::start(&[]);
    let port = coordinator.address.port.to_string();
    let output = coordinator_command(&["--daemon", "-p", &port], &coordinator.tmpdir).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("has a coordinator already"));
}
