use super::*;

fn hub() -> Hub {
    Hub::new(7779, Deadlines::default(), || ComputationId([7; 16]))
}

fn hello(computation: Option<ComputationId>, generation: u32) -> ClientMessage {
    let fresh = Hello::new(Role::Agent, "host".into(), 5, "prog".into());
    ClientMessage::Hello(Hello { computation, generation, ..fresh })
}

fn join(hub: &mut Hub, client: ClientId, computation: Option<ComputationId>, generation: u32) -> Vec<Action> {
    hub.connected(client, true);
    hub.message(0, client, hello(computation, generation))
}

fn welcome(actions: &[Action]) -> Welcome {
    let found = actions.iter().find_map(|action| match action {
        Action::Send { message: CoordinatorMessage::Welcome(welcome), .. } => Some(*welcome),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("no welcome: {actions:?}"))
}

#[test]
fn a_restarted_computation_is_adopted_with_its_generation() {
    let mut hub = hub();
    let id = ComputationId([9; 16]);
    let first = welcome(&join(&mut hub, 1, Some(id), 4));
    assert_eq!((first.computation, first.next_generation), (id, 5));
    let second = welcome(&join(&mut hub, 2, Some(id), 6));
    assert_eq!(second.next_generation, 7);
}

#[test]
fn a_launch_joins_the_computation_that_runs() {
    let mut hub = hub();
    let first = welcome(&join(&mut hub, 1, None, 0));
    let second = welcome(&join(&mut hub, 2, None, 0));
    assert_eq!(first.computation, second.computation);
}

#[test]
fn another_computation_is_refused_with_the_next_step() {
    let mut hub = hub();
    join(&mut hub, 1, Some(ComputationId([1; 16])), 1);
    let actions = join(&mut hub, 2, Some(ComputationId([2; 16])), 1);
    assert!(actions.contains(&Action::Close { client: 2 }));
    let refused = actions.iter().any(|action| {
        matches!(
            action,
            Action::Send { message: CoordinatorMessage::Refused { reason }, .. } if reason.contains("--new-coordinator")
        )
    });
    assert!(refused, "{actions:?}");
}

#[test]
fn generations_start_anew_with_a_new_computation() {
    let mut hub = hub();
    join(&mut hub, 1, Some(ComputationId([1; 16])), 9);
    hub.gone(0, 1);
    assert_eq!(welcome(&join(&mut hub, 2, None, 0)).next_generation, 1);
}

#[test]
fn another_protocol_version_is_refused() {
    let mut hub = hub();
    hub.connected(1, true);
    let old = Hello { version: 0, ..Hello::new(Role::Command, "h".into(), 1, "p".into()) };
    assert!(hub.message(0, 1, ClientMessage::Hello(old)).contains(&Action::Close { client: 1 }));
}

#[test]
fn speaking_out_of_turn_closes_the_connection() {
    let mut hub = hub();
    hub.connected(1, true);
    let actions = hub.message(0, 1, ClientMessage::Agent(AgentMessage::Leave));
    assert!(actions.contains(&Action::Close { client: 1 }));
    join(&mut hub, 2, None, 0);
    let actions = hub.message(0, 2, ClientMessage::Command(CommandMessage::Quit));
    assert!(actions.contains(&Action::Close { client: 2 }));
}

#[test]
fn quit_exits_when_the_agents_are_gone_and_takes_none_meanwhile() {
    let mut hub = hub();
    join(&mut hub, 1, None, 0);
    let asked = hub.message(0, CONSOLE, ClientMessage::Command(CommandMessage::Quit));
    assert!(asked.contains(&Action::Send { to: 1, message: CoordinatorMessage::Kill }));
    assert!(!asked.contains(&Action::Exit));
    assert!(join(&mut hub, 2, None, 0).contains(&Action::Close { client: 2 }));
    let left = hub.message(0, 1, ClientMessage::Agent(AgentMessage::Leave));
    assert!(left.contains(&Action::Exit));
}

#[test]
fn leave_then_end_of_connection_counts_once() {
    let mut hub = hub();
    join(&mut hub, 1, None, 0);
    hub.message(0, 1, ClientMessage::Agent(AgentMessage::Leave));
    assert!(hub.gone(0, 1).is_empty());
}

#[test]
fn hooks_are_brought_from_the_same_host_alone() {
    let mut hub = hub();
    let ClientMessage::Hello(plain) = hello(None, 0) else { unreachable!() };
    let with = Hello { hooks: Some(ckpt_wire::HookRequest::default()), ..plain };
    hub.connected(1, false);
    let actions = hub.message(0, 1, ClientMessage::Hello(with.clone()));
    assert!(actions.contains(&Action::Close { client: 1 }), "{actions:?}");
    hub.connected(2, true);
    let actions = hub.message(0, 2, ClientMessage::Hello(with));
    assert!(actions.iter().any(|action| matches!(action, Action::BringHooks { client: 2, .. })), "{actions:?}");
}

fn publish(hub: &mut Hub, client: ClientId, key: &[u8], value: &[u8]) -> Vec<Action> {
    hub.message(0, client, ClientMessage::Agent(AgentMessage::Published { key: key.into(), value: value.into() }))
}

#[test]
fn what_is_published_reaches_all_others_and_those_who_come_later() {
    let mut hub = hub();
    (1..=3).for_each(|client| drop(join(&mut hub, client, None, 0)));
    assert_eq!(publish(&mut hub, 1, b"port", b"80"), [published(2, b"port", b"80"), published(3, b"port", b"80")]);
    // An agent says all it knows to a coordinator that is new to it.
    assert!(publish(&mut hub, 2, b"port", b"80").is_empty());
    assert_eq!(publish(&mut hub, 2, b"port", b"81").len(), 2);
    assert!(join(&mut hub, 4, None, 0).contains(&published(4, b"port", b"81")));
}

#[test]
fn names_go_with_the_last_agent_and_have_a_limit() {
    let mut hub = hub();
    (1..=2).for_each(|client| drop(join(&mut hub, client, None, 0)));
    for key in 0..MAX_PUBLISHED_KEYS {
        publish(&mut hub, 1, key.to_string().as_bytes(), b"x");
    }
    assert!(publish(&mut hub, 1, b"one more", b"x").is_empty());
    assert_eq!(publish(&mut hub, 1, b"0", b"y").len(), 1);
    (1..=2).for_each(|client| drop(hub.gone(0, client)));
    join(&mut hub, 3, Some(ComputationId([7; 16])), 0);
    let told = join(&mut hub, 4, None, 0);
    assert!(!told.iter().any(|action| matches!(action, Action::Send { message: CoordinatorMessage::Published { .. }, .. })), "{told:?}");
}
