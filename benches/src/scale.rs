//! Many: threads of one process, processes of one host, agents of one coordinator.

use crate::measure::{median, Bench};
use crate::table::{Row, Table};
use crate::ticker::{monotonic_ns, Ticker};
use crate::tool::Tool;
use ckpt_coordinator::client::{Client, Polled};
use ckpt_coordinator::Address;
use ckpt_wire::{AgentMessage, CheckpointStats, CommandMessage, CoordinatorMessage, Hello, Overrides, Role, Stage};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::time::Instant;

pub fn measure(b: &Bench, t: &mut Table) {
    if t.wants("100 threads") {
        let ratio = checkpoint(b, 1, "threads").and_then(|one| Ok(checkpoint(b, 100, "threads")? / one));
        let name = "100 threads: checkpoint command";
        t.add(ratio.map_or_else(|e| Row::failed(name, &e), |r| Row::ratio(name, r, 1.5, "one thread")));
    }
    if t.wants("1,000 processes") {
        match processes(b, 1000) {
            Ok((checkpoint, restart)) => {
                t.add(Row::seconds("1,000 processes: checkpoint command", checkpoint, f64::INFINITY));
                t.add(Row::seconds("1,000 processes: restart", restart, f64::INFINITY));
            }
            Err(e) => t.add(Row::failed("1,000 processes", &e)),
        }
    }
    if t.wants("10,000 agents") {
        let name = "10,000 agents: barrier";
        t.add(barrier(b, 10_000).map_or_else(|e| Row::failed(name, &e), |s| Row::seconds(name, s, 0.5)));
    }
}

/// Seconds, the median of the rounds.
fn checkpoint(b: &Bench, count: u32, kind: &'static str) -> io::Result<f64> {
    let dir = b.fresh(&format!("many-{count}-{kind}"))?;
    let ticker = Ticker::new(&dir, count, kind)?;
    let mut run = Tool::Ckpt.start(&b.bin, &dir, &b.dir.join("many"), &ticker, &[])?;
    (0..b.rounds.max(3)).map(|_| run.checkpoint()).collect::<io::Result<Vec<_>>>().map(median)
}

fn processes(b: &Bench, count: u32) -> io::Result<(f64, f64)> {
    let dir = b.fresh(&format!("many-{count}-processes"))?;
    let ticker = Ticker::new(&dir, count, "processes")?;
    let mut run = Tool::Ckpt.start(&b.bin, &dir, &b.dir.join("many"), &ticker, &[])?;
    let checkpoint = run.checkpoint()?;
    run.stop()?;
    let begun = run.restart()?;
    ticker.wait_running()?;
    Ok((checkpoint, (monotonic_ns() - begun) as f64 / 1e9))
}

/// From the request to the answer, with agents that have nothing to do: sockets in this process.
fn barrier(b: &Bench, count: usize) -> io::Result<f64> {
    raise_descriptors();
    let port = 20000 + (std::process::id() % 20000) as u16;
    let coordinator = || Command::new(b.bin.join("ckpt_coordinator"));
    coordinator().args(["--daemon", "-p", &port.to_string()]).output()?;
    let address = Address::local(port, None);
    let join = |role| -> Result<Client, ckpt_coordinator::ClientError> {
        let mut client = Client::connect(&address)?;
        client.hello(&Hello::new(role, "here".into(), 1, "simulated".into()))?;
        Ok(client)
    };
    let agents: Result<Vec<Client>, _> = (0..count).map(|_| join(Role::Agent)).collect();
    let mut agents = agents.map_err(io::Error::other)?;
    let mut command = join(Role::Command).map_err(io::Error::other)?;
    let watch = watch(agents.iter().chain([&command]))?;
    let all = (0..b.rounds.max(3)).map(|_| one_barrier(&watch, &mut agents, &mut command)).collect::<io::Result<Vec<_>>>();
    let _ = Command::new(b.bin.join("ckpt_command")).args(["-p", &port.to_string(), "-q"]).output();
    all.map(median)
}

fn one_barrier(watch: &OwnedFd, agents: &mut [Client], command: &mut Client) -> io::Result<f64> {
    let begun = Instant::now();
    command.command(&CommandMessage::Checkpoint { kill: false, overrides: Overrides::default() }).map_err(io::Error::other)?;
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; 1024];
    loop {
        // SAFETY: room for as many events as it is told.
        let n = unsafe { libc::epoll_wait(watch.as_raw_fd(), events.as_mut_ptr(), events.len() as i32, 60_000) };
        for event in &events[..usize::try_from(n).map_err(|_| io::Error::last_os_error())?] {
            match agents.get_mut(event.u64 as usize) {
                Some(agent) => answer(agent).map_err(io::Error::other)?,
                None => match command.try_recv().map_err(io::Error::other)? {
                    Polled::Nothing => {}
                    Polled::Message(m) if matches!(*m, CoordinatorMessage::Done(_)) => return Ok(begun.elapsed().as_secs_f64()),
                    other => return Err(io::Error::other(format!("the coordinator says {other:?}"))),
                },
            }
        }
    }
}

/// An epoll that tells of each by its place.
fn watch<'a>(all: impl Iterator<Item = &'a Client>) -> io::Result<OwnedFd> {
    // SAFETY: the descriptor is new; events are structs epoll_event.
    unsafe {
        let epoll = OwnedFd::from_raw_fd(libc::epoll_create1(libc::EPOLL_CLOEXEC));
        for (i, client) in all.enumerate() {
            let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: i as u64 };
            if libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, client.as_raw_fd(), &mut event) != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(epoll)
    }
}

/// Stands at the next stage at once.
fn answer(agent: &mut Client) -> Result<(), ckpt_coordinator::ClientError> {
    while let Polled::Message(m) = agent.try_recv()? {
        let (generation, stage) = match *m {
            CoordinatorMessage::Checkpoint { generation, .. } => (generation, Stage::Quiesced),
            CoordinatorMessage::Release { generation, stage, .. } => match stage.next() {
                Some(next) if next <= Stage::Committed => (generation, next),
                _ => continue,
            },
            CoordinatorMessage::Finish { generation, .. } => (generation, Stage::Resumed),
            _ => continue,
        };
        let stats = (stage == Stage::Committed).then(CheckpointStats::default);
        agent.send(&AgentMessage::Reached { generation, stage, stats })?;
    }
    Ok(())
}

fn raise_descriptors() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: limit is a struct rlimit.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
}
