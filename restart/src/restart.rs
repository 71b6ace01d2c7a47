//! From the command line to a running computation.

use crate::ids::{self, Ids, Known, SharedIds};
use crate::image_set::{self, Member};
use crate::forward::{self, Forwarding};
use crate::loosen::Loosened;
use crate::options::{Options, Pretended, RestoreOption};
use crate::rebuild::{Family, Rebuild};
use crate::session::Restorer;
use crate::{again, clocks, environment, lazy, memory, namespace, preflight, sysv, validate};
use ckpt_agent::agent::Agent;
use ckpt_agent::checkpoint::host_name;
use ckpt_agent::events::Events;
use ckpt_agent::launch::{Failure, become_agent};
use ckpt_agent::link::Listener;
use ckpt_agent::settings::{Before, Settings};
use ckpt_agent::table::Table;
use ckpt_agent::{foreground, passes, paths, store, timings};
use ckpt_coordinator::client::Client;
use ckpt_coordinator::launch::{LaunchOptions, connect_or_start};
use ckpt_coordinator::options;
use ckpt_image::{ImageFile, Machine, UserKey};
use ckpt_objects::Severity;
use ckpt_sys::fault::Stage;
use ckpt_wire::{AgentMessage, ComputationId, Hello, ProcessEvents, Role};
use nix::sys::signal::Signal;
use std::cell::RefCell;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

pub fn main() {
    let options: Options = options::parse();
    ckpt_agent::arm_fault();
    if let Err(e) = restart(options) {
        eprintln!("ckpt_restart: {}", e.0);
        std::process::exit(e.1);
    }
}

fn restart(options: Options) -> Result<(), Failure> {
    // Not the monotonic clock, which may become another one on the way.
    let begun = SystemTime::now();
    passes(Stage::Read)?;
    let key = options.checkpoint.encrypt_key_file.as_deref().map(UserKey::load).transpose()?;
    let lazy = wants_lazy(&options);
    let (mut members, notes) = image_set::choose(&options.images, key.as_ref(), lazy)?;
    if !options.checkpoint.quiet {
        notes.iter().for_each(|n| eprintln!("ckpt_restart: note: {n}"));
    }
    passes(Stage::Validate)?;
    validate::check(&members)?;
    let loosened = RefCell::new(Loosened::of(&members, &options.map_path));
    check(&members, &options)?;
    redirect(&options)?;
    let environment = options.modify_env.as_deref().map(environment::read).transpose()?.unwrap_or_default();
    let library = paths::library().map_err(|e| Failure(e, 1))?;
    let known = Known::new(&members);
    let here = Machine::here();
    let time = clocks::wanted(&members, &here.clocks, options.pretend.contains(&Pretended::OtherBoot));
    // Again below, when the coordinator has its id; what cannot be had at all is said before anything starts.
    let decide = || ids::decide(options.ids, &members, &known, time).map_err(|e| Failure(e, 1));
    let time = time_namespace(&options, &members, &here, decide()?, time)?;
    let header = members[0].file.header;
    let program = members[0].meta.program.clone();
    let was = &members[0].meta.options;
    let before = timings_of(&members).map(|folder| Before { options: was, folder });
    let mut settings = Settings::new(&options.checkpoint, Path::new(&program), before)?;
    settings.signal = signal_of(&members).unwrap_or(settings.signal);
    let launch = LaunchOptions::new(&options.coord, &options.join);
    let mut hello = Hello::new(Role::Agent, host_name(), std::process::id(), program);
    hello.computation = Some(ComputationId(header.computation));
    // Restarted from an older one, it must not write over those that came after, nor be taken for older.
    hello.generation = header.generation.max(store::newest(&settings.folder, &header.computation));
    hello.interval = options.checkpoint.interval.or(Some(was.interval).filter(|&seconds| seconds > 0));
    hello.hooks = options.join.hooks.request();
    hello.ckptdir = settings.folder.display().to_string();
    let mut client = connect_or_start(&launch)?;
    let launch = LaunchOptions { address: client.address().clone(), explicit_port: true, port_file: None, ..launch };
    let ids = decide()?;
    for m in &mut members {
        m.outside = ckpt_objects::open_outside(&m.meta.objects);
    }
    if ids == Ids::Namespace {
        namespace::enter(sysv::needs_namespace(&members)).map_err(|e| Failure(format!("a user namespace cannot be had: {e}; give --ids virtual"), 1))?;
    }
    if let Some(offsets) = time {
        clocks::enter(offsets).map_err(|e| Failure(format!("a time namespace cannot be had: {e}; give another --ids, or --force"), 1))?;
    }
    let mut status = match ids {
        Ids::Exact => foreground::split_by(|| ids::clone_elsewhere(&ids::wanted(&members, &known)))?,
        _ => foreground::split()?,
    };
    become_agent()?;
    if ids == Ids::Namespace {
        namespace::settle()?;
    }
    let welcome = client.hello(&hello)?;
    let listener = Listener::new()?;
    let shared_ids = SharedIds::new()?;
    let table = Table(shared_ids.fd.try_clone()?);
    table.announce(header.computation, header.generation)?;
    let agent = Agent::new(settings, listener, launch, hello, table, options.checkpoint.quiet).with_ids(shared_ids.table, members[0].meta.agent.known).restarted_from(timings_of(&members));
    let family = Family::of(&members);
    let restorer = may_name_binary().then(|| Restorer::load(&library)).flatten();
    if ids == Ids::Exact {
        again::pretend(&options, &ids::wanted(&members, &known));
    }
    let rebuild = Rebuild { options: &options, members: &members, ids, known, shared_ids: &shared_ids, restorer, library, environment, agent: &agent, collapse: memory::huge_on_request(), lazy, no_hangup: foreground::is_ignored(Signal::SIGHUP), family, loosened: &loosened, forwards: forwards(&members, &here, &options) };
    let program = match rebuild.run() {
        Ok(program) => program,
        Err(failure) => return again::retry(failure, &options, ids, &mut status),
    };
    drop(rebuild);
    let took = begun.elapsed().unwrap_or_default();
    tell(&mut client, &agent, &members, took)?;
    drop(members);
    agent.run(agent.begin(client, welcome), program, status);
    Ok(())
}

/// The offsets of the time namespace to enter. Without one, the program is told what its clocks do, or, where they would
/// go back, not started.
fn time_namespace(options: &Options, members: &[Member], here: &Machine, ids: Ids, time: Option<[i64; 2]>) -> Result<Option<[i64; 2]>, Failure> {
    let Some(offsets) = time else { return Ok(None) };
    if ids == Ids::Namespace || clocks::may_enter(offsets) {
        return Ok(time);
    }
    match clocks::jump(members, &here.clocks) {
        Some((true, what)) if !options.force => return Err(Failure(what, 1)),
        Some((_, what)) if !options.checkpoint.quiet => eprintln!("ckpt_restart: risk: {what}"),
        _ => {}
    }
    Ok(None)
}

/// Of members that were checkpointed under another kernel.
fn forwards(members: &[Member], here: &Machine, options: &Options) -> Vec<Option<Forwarding>> {
    let pretended = options.pretend.contains(&Pretended::OtherKernel);
    let differs = |m: &&Member| m.meta.machine.vdso != here.vdso || pretended;
    members.iter().map(|m| Some(m).filter(differs).and_then(|m| forward::between(&m.meta.machine.vdso, &here.vdso).ok())).collect()
}

/// The programs run: the coordinator is told, and a line goes to timings.jsonl beside the images.
fn tell(client: &mut Client, agent: &Agent, members: &[Member], took: Duration) -> Result<(), Failure> {
    let generation = members[0].file.header.generation;
    let rows = agent.with_events(Events::rest);
    for rows in rows.chunks(500) {
        client.send(&AgentMessage::Events { generation, rows: rows.to_vec() })?;
    }
    client.send(&AgentMessage::Restarted { generation, members: 1, us: took.as_micros() as u64 })?;
    note(members, &rows, took);
    Ok(())
}

fn timings_of(members: &[Member]) -> Option<PathBuf> {
    let ImageFile { path, header, .. } = &members[0].file;
    timings::folder_of(path, &header.computation, header.generation)
}

fn note(members: &[Member], processes: &[ProcessEvents], took: Duration) {
    let images: Vec<&Path> = members.iter().map(|m| m.file.path.as_path()).collect();
    let header = members[0].file.header;
    if let Some(folder) = timings_of(members) {
        timings::note(&folder, timings::restart(&header.computation, header.generation, &images, processes, took));
    }
}

fn check(members: &[Member], options: &Options) -> Result<(), Failure> {
    let problems = preflight::check(members, options);
    let (mut stop, mut grave) = (false, false);
    for p in &problems {
        let is_risk = p.severity != Severity::Fatal;
        if p.severity != Severity::Risk || !options.checkpoint.quiet {
            eprintln!("ckpt_restart: {}{}", if is_risk { "risk: " } else { "" }, p.what);
        }
        stop |= !is_risk;
        grave |= p.severity == Severity::Grave;
    }
    let failed = |what: &str| Err(Failure(format!("nothing was started; put right what is listed above{what}"), 1));
    match () {
        _ if stop => failed(""),
        _ if grave && !options.force => failed(", or add --force"),
        _ => Ok(()),
    }
}

/// Falls back with a word.
fn wants_lazy(options: &Options) -> bool {
    if options.restore == RestoreOption::Eager {
        return false;
    }
    let probed = lazy::probe();
    if let Err(e) = &probed {
        if !options.checkpoint.quiet {
            eprintln!("ckpt_restart: note: memory is restored before the start: --restore lazy takes userfaultfd with CAP_SYS_PTRACE ({e})");
        }
    }
    probed.is_ok()
}

/// --stdin, --stdout, --stderr
fn redirect(options: &Options) -> Result<(), Failure> {
    let files = [(&options.stdin, 0, false), (&options.stdout, 1, true), (&options.stderr, 2, true)];
    for (path, fd, write) in files {
        let Some(path) = path else { continue };
        let file = if write { std::fs::File::create(path) } else { std::fs::File::open(path) };
        let file = file.map_err(|e| Failure(format!("{}: {e}", path.display()), 1))?;
        // SAFETY: replaces one of our own standard descriptors.
        unsafe { libc::dup2(file.as_raw_fd(), fd) };
    }
    Ok(())
}

/// The signal is the one the program was launched with: its handler is in the image.
fn signal_of(members: &[Member]) -> Option<i32> {
    let body = members.iter().flat_map(|m| &m.meta.processes).find_map(|p| p.body.as_ref())?;
    let on_signal = body.sigactions.iter().rposition(|a| a.0.mask == u64::MAX && a.0.handler > 1 && a.0.flags & 0x0800_0004 == 0x0800_0004);
    on_signal.map(|i| i as i32 + 1)
}

/// PR_SET_MM_MAP takes a descriptor of the binary from those with CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE.
fn may_name_binary() -> bool {
    const WANTED: u64 = 1 << 21 | 1 << 40;
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    ckpt_agent::procfs::status_hex(&status, "CapEff") & WANTED != 0
}
