//! From the command line to a running computation.

use crate::ids::{self, Ids, Known, SharedIds};
use crate::image_set::{self, Member};
use crate::lazy::{self, Filler, Share, Split};
use crate::options::{Options, RestoreOption};
use crate::session::{self, Gate, Restorer, Tree};
use crate::chain::Chain;
use crate::{environment, memory, namespace, plan, preflight, stand_in, sysv, tree, validate};
use ckpt_agent::agent::Agent;
use ckpt_agent::checkpoint::host_name;
use ckpt_agent::launch::{Failure, agent_variable, become_agent, settings};
use ckpt_agent::libraries::is_same;
use ckpt_agent::link::{self, Link, Listener};
use ckpt_agent::{foreground, passes, paths, timings};
use ckpt_sys::fault::{self, Effect, Stage};
use ckpt_coordinator::launch::{LaunchOptions, connect_or_start};
use ckpt_coordinator::options;
use ckpt_image::chain::Piece;
use ckpt_image::{Body, Credentials, FileIdentity, MapKind, MapMeta, ProcessMeta, RunState, SharedKind, UserKey};
use ckpt_objects::ipc::{self, Restored};
use ckpt_objects::kinds::outer;
use ckpt_objects::{AsProcess, FdEntry, Kind, ObjectSet, PidMap, RebuildContext, Rebuilt, Severity};
use ckpt_sys::flat::plan::{MqNotify, Read};
use ckpt_sys::flat::{Outer, Run, SemUndo, msg};
use ckpt_sys::idtable::VirtualPid;
use ckpt_wire::{AgentMessage, ComputationId, Hello, Role};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

pub fn main() {
    let options: Options = options::parse();
    ckpt_agent::arm_fault();
    if let Err(e) = restart(options) {
        eprintln!("ckpt_restart: {}", e.0);
        std::process::exit(e.1);
    }
}

fn restart(options: Options) -> Result<(), Failure> {
    let begun = Instant::now();
    passes(Stage::Read)?;
    let key = options.checkpoint.encrypt_key_file.as_deref().map(UserKey::load).transpose()?;
    let lazy = wants_lazy(&options);
    let (members, notes) = image_set::choose(&options.images, key.as_ref(), lazy)?;
    if !options.checkpoint.quiet {
        notes.iter().for_each(|n| eprintln!("ckpt_restart: note: {n}"));
    }
    passes(Stage::Validate)?;
    validate::check(&members)?;
    check(&members, &options)?;
    redirect(&options)?;
    let environment = options.modify_env.as_deref().map(environment::read).transpose()?.unwrap_or_default();
    let library = paths::library().map_err(|e| Failure(e, 1))?;
    let known = Known::new(&members);
    // Again below, when the coordinator has its id; what cannot be had at all is said before anything starts.
    ids::decide(options.ids, &members, &known).map_err(|e| Failure(e, 1))?;
    let header = members[0].file.header;
    let program = members[0].meta.program.clone();
    let mut settings = settings(&options.checkpoint, Path::new(&program))?;
    settings.signal = signal_of(&members).unwrap_or(settings.signal);
    let launch = LaunchOptions::new(&options.coord, &options.join);
    let mut hello = Hello::new(Role::Agent, host_name(), std::process::id(), program);
    hello.computation = Some(ComputationId(header.computation));
    hello.generation = header.generation;
    hello.interval = options.checkpoint.interval;
    hello.ckptdir = settings.folder.display().to_string();
    let mut client = connect_or_start(&launch)?;
    let launch = LaunchOptions { address: client.address().clone(), explicit_port: true, port_file: None, ..launch };
    let ids = ids::decide(options.ids, &members, &known).map_err(|e| Failure(e, 1))?;
    if ids == Ids::Namespace {
        namespace::enter(sysv::needs_namespace(&members)).map_err(|e| Failure(format!("a user namespace cannot be had: {e}; give --ids virtual"), 1))?;
    }
    let status = match ids {
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
    let agent = Agent::new(settings, listener, launch, hello, options.checkpoint.quiet).with_ids(shared_ids.table, members[0].meta.agent.known);
    let restorer = may_name_binary().then(|| Restorer::load(&library)).flatten();
    let program = Rebuild { options: &options, members: &members, ids, known, shared_ids: &shared_ids, restorer, library, environment, agent: &agent, lazy }.run()?;
    let restarted = AgentMessage::Restarted { generation: header.generation, members: 1 };
    client.send(&restarted)?;
    note(&members, begun.elapsed());
    drop(members);
    agent.run(client, welcome, program, status);
    Ok(())
}

/// A line in timings.jsonl beside the images.
fn note(members: &[Member], took: Duration) {
    let images: Vec<&Path> = members.iter().map(|m| m.file.path.as_path()).collect();
    let processes = members.iter().map(|m| m.meta.processes.len()).sum();
    let header = members[0].file.header;
    if let Some(folder) = images[0].parent() {
        timings::note(folder, timings::restart(&header.computation, header.generation, &images, processes, took));
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

struct Rebuild<'a> {
    options: &'a Options,
    members: &'a [Member],
    ids: Ids,
    known: Known,
    shared_ids: &'a SharedIds,
    library: PathBuf,
    /// Changes to it, as `PlanHead::environment` has them.
    environment: Vec<u8>,
    agent: &'a Agent,
    /// memory is filled while the program runs
    lazy: bool,
    /// for processes that had not exec'ed either, where the kernel lets us name their binary
    restorer: Option<Restorer>,
}

/// Files to map, by path and whether they are written through.
type MapFiles = HashMap<(Vec<u8>, bool), OwnedFd>;

/// What one process needs to start.
struct Prepared {
    member: usize,
    process: usize,
    rebuilt: usize,
    link: Option<Link>,
    theirs: Option<OwnedFd>,
    plan: Option<OwnedFd>,
    images: Vec<OwnedFd>,
    feed: Option<OwnedFd>,
    /// what is restored before the start, where the rest is not
    eager: Option<Vec<Piece>>,
    share: Option<Share>,
    exe: PathBuf,
    exe_copy: Option<OwnedFd>,
    /// the binary, for a process that is restored without an exec
    exe_named: Option<OwnedFd>,
}

impl Rebuild<'_> {
    /// The pid whose status is the foreground part's.
    fn run(&self) -> Result<i32, Failure> {
        let base = self.first_own();
        self.pair_surroundings()?;
        let all: Vec<(usize, usize)> =
            self.members.iter().enumerate().flat_map(|(m, x)| (0..x.meta.processes.len()).map(move |p| (m, p))).collect();
        let gate = Gate::new(all.len())?;
        let pids: Vec<i32> = all.iter().map(|&(m, p)| self.members[m].meta.processes[p].pid).collect();
        let surroundings = self.surroundings_now();
        let pid_of: PidMap = Rc::new(move |then| pids.iter().position(|&p| p == then).map_or_else(|| surroundings(then), |i| gate.pid(i)));
        passes(Stage::Rebuild)?;
        let rebuilt: Vec<Rebuilt> = self.members.iter().map(|m| self.objects(m, &pid_of)).collect::<Result<_, _>>()?;
        for risk in rebuilt.iter().flat_map(|r| r.risks()).filter(|_| !self.options.checkpoint.quiet) {
            eprintln!("ckpt_restart: risk: {risk}");
        }
        let files = self.map_files(base)?;
        let sysv: Vec<Restored> = self.members.iter().map(|m| sysv::restore(m, self.ids, &self.known)).collect::<Result<_, _>>()?;
        let shared = self.shared_memory(base, &rebuilt, &sysv)?;
        let bodies = self.members.iter().flat_map(|m| &m.meta.processes).filter_map(|p| p.body.as_ref());
        let table = move_up(self.shared_ids.fd.try_clone()?, base)?;
        let id_table = (plan::free_address(bodies), table.as_raw_fd());
        let mut prepared = Vec::new();
        for &(member, process) in &all {
            prepared.push(self.prepare(member, process, base, &files, &shared, id_table)?);
        }
        let mapped: Vec<RawFd> = files.values().map(AsRawFd::as_raw_fd).chain(shared.values().filter_map(Source::fd)).chain([id_table.1]).collect();
        let program = self.start(&prepared, &rebuilt, &mapped, gate)?;
        drop((rebuilt, files, shared, table));
        self.wait_restored(&mut prepared)?;
        drop(sysv);
        Ok(program)
    }

    fn process(&self, p: &Prepared) -> &ProcessMeta {
        &self.members[p.member].meta.processes[p.process]
    }

    /// Above every number that the program uses.
    fn first_own(&self) -> i32 {
        let highest = self.members.iter().map(|m| m.meta.objects.highest_fd()).max().unwrap_or(2);
        ckpt_objects::raise_file_limit();
        (highest + 1).max(400)
    }

    /// The program's surroundings, as it knows them and as they are.
    fn outer(&self) -> Outer {
        let [agent, group, session] = self.members[0].meta.agent.known;
        // SAFETY: only ask.
        let (real_group, real_session) = unsafe { (libc::getpgrp(), libc::getsid(0)) };
        Outer { agent, group, real_group, session, real_session }
    }

    /// What the program knew as its surroundings has other ids now.
    fn pair_surroundings(&self) -> Result<(), Failure> {
        let [agent, group, session] = self.members[0].meta.agent.known;
        // SAFETY: only ask.
        let (pgid, sid) = unsafe { (libc::getpgrp(), libc::getsid(0)) };
        for (known, now) in [(session, sid), (agent, std::process::id() as i32), (group, pgid)] {
            self.shared_ids.pair(known, now)?;
        }
        Ok(())
    }

    /// Ids that belong to no process of ours, such as the group that the program was started in.
    fn surroundings_now(&self) -> impl Fn(i32) -> i32 + 'static {
        let (renamed, table) = (self.known.list(), self.shared_ids.table);
        move |then| {
            let program = renamed.iter().find(|r| r.then == then).map_or(then, |r| r.program);
            table.to_real(VirtualPid(program)).0
        }
    }

    fn objects(&self, m: &Member, pid_of: &PidMap) -> Result<Rebuilt, Failure> {
        let as_process: &AsProcess = &|then, work| stand_in::run(self.known.program_id(then), work);
        let ctx = RebuildContext {
            std: [0, 1, 2].map(|fd| is_open(fd).then_some(fd)),
            path_map: self.options.map_path.clone(),
            blobs: &m.file,
            pid_of: Rc::clone(pid_of),
            reserved: Vec::new(),
            as_process: (self.ids != Ids::Virtual).then_some(as_process),
        };
        Ok(ckpt_objects::rebuild(&m.meta.objects, &ctx)?)
    }

    fn map_files(&self, base: i32) -> Result<MapFiles, Failure> {
        let mut files = MapFiles::new();
        for m in self.members.iter().flat_map(|m| &m.meta.processes).filter_map(|p| p.body.as_ref()).flat_map(|b| &b.maps) {
            let MapKind::File(f) = &m.kind else { continue };
            let key = file_key(m, f);
            if anonymous_now(m, f) || files.contains_key(&key) {
                continue;
            }
            let path = preflight::mapped(&f.path, &self.options.map_path);
            let failed = |e: io::Error| Failure(format!("{}: {e}", path.display()), 1);
            let file = match self.saved_instead(m, f, &path) {
                Some(saved) => saved.map_err(failed)?,
                None => std::fs::File::options().read(true).write(key.1).open(&path).map_err(failed)?.into(),
            };
            files.insert(key, move_up(file, base)?);
        }
        Ok(files)
    }

    /// A library that was upgraded or removed since comes from the image.
    fn saved_instead(&self, m: &MapMeta, f: &FileIdentity, path: &Path) -> Option<io::Result<OwnedFd>> {
        if m.shared || std::fs::metadata(path).is_ok_and(|now| is_same(&now, f)) {
            return None;
        }
        let saved = |m: &'_ Member| m.meta.files.iter().position(|s| s.identity == *f);
        let (member, i) = self.members.iter().find_map(|m| Some((m, saved(m)?)))?;
        Some(memory::saved_file(member, &member.meta.files[i]))
    }

    /// Descriptor (or SysV id) of each piece of shared memory, by member and index.
    fn shared_memory(&self, base: i32, rebuilt: &[Rebuilt], sysv: &[Restored]) -> Result<HashMap<(usize, u32), Source>, Failure> {
        let mut out = HashMap::new();
        for (mi, m) in self.members.iter().enumerate() {
            for (i, s) in m.meta.shared.iter().enumerate() {
                let name = String::from_utf8_lossy(&s.name);
                let failed = |e: io::Error| Failure(format!("shared memory {name}: {e}"), 1);
                let source = match s.kind {
                    SharedKind::Object => {
                        let object = m.meta.objects.inode_object(s.dev, s.ino).and_then(|id| rebuilt[mi].fd(id));
                        let object = object.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
                        let object = for_mapping(object, is_written(m, i)).map_err(failed)?;
                        Source::Fd(move_up(object, base)?)
                    }
                    SharedKind::SysV { id, .. } => Source::SysV(sysv::id_now(&sysv[mi], id)),
                    _ => Source::Fd(move_up(memory::shared(m, s).map_err(failed)?, base)?),
                };
                out.insert((mi, i as u32), source);
            }
        }
        Ok(out)
    }

    fn prepare(
        &self,
        member: usize,
        process: usize,
        base: i32,
        files: &MapFiles,
        shared: &HashMap<(usize, u32), Source>,
        id_table: (u64, i32),
    ) -> Result<Prepared, Failure> {
        let m = &self.members[member];
        let mut out = Prepared { member, process, rebuilt: member, link: None, theirs: None, plan: None, images: Vec::new(), feed: None, eager: None, share: None, exe: PathBuf::new(), exe_copy: None, exe_named: None };
        let Some(body) = &m.meta.processes[process].body else { return Ok(out) };
        let (link, theirs) = link::pair()?;
        let theirs = move_up(theirs, base)?;
        if self.lazy {
            self.split(&mut out, body);
        }
        let lazy: Vec<Run> = out.share.iter().flat_map(|s| &s.ranges).map(|&(addr, bytes)| Run { addr, bytes }).collect();
        let reads = self.reads(&mut out, base)?;
        let map_fd = |map: &MapMeta| -> Option<i32> {
            match &map.kind {
                MapKind::File(f) if !anonymous_now(map, f) => files.get(&file_key(map, f)).map(AsRawFd::as_raw_fd),
                MapKind::Shared(i) => match shared.get(&(member, *i))? {
                    Source::Fd(fd) => Some(fd.as_raw_fd()),
                    Source::SysV(id) => Some(*id),
                },
                _ => None,
            }
        };
        let body_maps = self.mark_sysv(m, body);
        let body = body_maps.as_ref().unwrap_or(body);
        let signal = self.agent.settings.signal;
        let program = self.known.program_id(m.meta.agent.program);
        let agent_name = agent_variable(&self.agent.listener.name, program, Some((self.shared_ids.fd.as_raw_fd(), self.ids == Ids::Virtual)), self.outer(), signal);
        (out.exe, out.exe_copy) = self.executable(m, body, base)?;
        out.exe_named = self.binary(m, process, &out.exe, base)?;
        let preload = [b"LD_PRELOAD=", self.library.as_os_str().as_bytes()].concat();
        let own = |u: &&ipc::Undo| u.pid == m.meta.processes[process].pid;
        let undo = m.meta.sysv.undo.iter().filter(own).map(|u| SemUndo { id: u.id, number: u.number, adjust: u.adjust });
        let undo: Vec<SemUndo> = undo.collect();
        let given = plan::Given {
            map_fd: &map_fd,
            agent: theirs.as_raw_fd(),
            exe: out.exe_named.as_ref().map_or(-1, AsRawFd::as_raw_fd),
            reads: &reads,
            lazy: &lazy,
            first_own: base,
            exact: self.ids != Ids::Virtual,
            keep_ids: &keep_ids,
            agent_name: agent_name.as_bytes(),
            preload: &preload,
            environment: &self.environment,
            undo: &undo,
            told: &told_stops(m, m.meta.processes[process].pid),
            notifies: &notifies(&m.meta.objects, m.meta.processes[process].pid),
            fds: m.meta.objects.descriptors(m.meta.processes[process].pid).unwrap_or(&[]),
            late_seals: &|id| m.meta.objects.late_seals(id),
            id_table: if body.id_table != 0 { (body.id_table, id_table.1) } else { id_table },
            agent_pid: std::process::id() as i32,
            outer: self.outer(),
            renamed: &self.known.list(),
            program_id: &|then| self.known.program_id(then),
        };
        let mut bytes = plan::build(body, &given);
        if passes(Stage::Map).is_err() {
            plan::spoil(&mut bytes);
        }
        out.plan = Some(move_up(plan_file(&bytes)?, base)?);
        (out.link, out.theirs) = (Some(link), Some(theirs));
        Ok(out)
    }

    /// What of the process's memory is filled later.
    fn split(&self, p: &mut Prepared, body: &Body) {
        let Some(chain) = Chain::of(&self.members[p.member], p.process) else { return };
        let Split { eager, lazy, ranges } = lazy::split(&chain, body);
        p.eager = Some(eager);
        p.share = (!ranges.is_empty()).then_some(Share { member: p.member, process: p.process, lazy, ranges });
    }

    /// The memory that is there when the process starts.
    fn chain(&self, p: &Prepared) -> Option<Chain<'_>> {
        let chain = Chain::of(&self.members[p.member], p.process)?;
        Some(match &p.eager {
            Some(eager) => Chain { pieces: eager.clone(), ..chain },
            None => chain,
        })
    }

    /// What fills the process's memory: places in the images, or, where there is something to decode, a pipe.
    fn reads(&self, p: &mut Prepared, base: i32) -> Result<Vec<Read>, Failure> {
        let Some(chain) = self.chain(p) else { return Ok(Vec::new()) };
        // What is read in advance in a lazy restore is verified on the way.
        let compressed = chain.is_compressed() || self.lazy;
        if compressed {
            let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
            p.feed = Some(write);
            p.images.push(move_up(read, base)?);
        } else {
            let files = chain.sources.iter().map(|s| move_up(s.file.file.try_clone()?.into(), base));
            p.images = files.collect::<io::Result<_>>()?;
        }
        let mut before = 0;
        let read = |piece: &Piece| {
            let (fd, offset) = match compressed {
                true => (p.images[0].as_raw_fd(), u64::MAX),
                false => (p.images[piece.image].as_raw_fd(), chain.sources[piece.image].memory.pieces[0].offset + piece.at),
            };
            before += piece.len;
            Read { addr: piece.addr, len: piece.len, offset, before: before - piece.len, fd, pad: 0 }
        };
        Ok(chain.pieces.iter().map(read).collect())
    }

    /// SysV mappings are attached, not mapped: said in the plan by a flag.
    fn mark_sysv(&self, m: &Member, body: &Body) -> Option<Body> {
        let is_sysv = |k: &MapKind| matches!(k, MapKind::Shared(i) if matches!(m.meta.shared[*i as usize].kind, SharedKind::SysV { .. }));
        if !body.maps.iter().any(|x| is_sysv(&x.kind)) {
            return None;
        }
        let bytes = bincode::serde::encode_to_vec(body, bincode::config::standard()).ok()?;
        let (mut copy, _): (Body, usize) = bincode::serde::decode_from_slice(&bytes, bincode::config::standard()).ok()?;
        copy.maps.iter_mut().filter(|x| is_sysv(&x.kind)).for_each(|x| x.advice |= ckpt_sys::flat::plan::MAP_SHM);
        Some(copy)
    }

    /// The program's own binary, when it is still that; else its copy in the image.
    fn executable(&self, member: &Member, body: &Body, base: i32) -> Result<(PathBuf, Option<OwnedFd>), Failure> {
        let path = preflight::mapped(&body.exe.path, &self.options.map_path);
        let same = std::fs::metadata(&path).is_ok_and(|m| m.size() == body.exe.size);
        let runs = nix::unistd::access(&path, nix::unistd::AccessFlags::X_OK).is_ok();
        if same && runs && !body.exe.deleted {
            return Ok((path, None));
        }
        let saved = member.meta.files.iter().find(|s| s.identity.path == body.exe.path);
        let saved = saved.ok_or_else(|| Failure(format!("{}: gone, and not in the image; put it back", path.display()), 1))?;
        let own_name = body.exe.deleted && !body.exe.path.starts_with(b"/memfd:");
        let nameless = own_name.then(|| memory::saved_nameless(member, saved).ok()).flatten();
        let file = nameless.map_or_else(|| memory::saved_file(member, saved), Ok)?;
        let fd = move_up(file, base)?;
        Ok((PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd())), Some(fd)))
    }

    /// The binary of a process that needs no exec: it had not called it, or a child of its would lose its exit signal.
    fn binary(&self, m: &Member, process: usize, exe: &Path, base: i32) -> Result<Option<OwnedFd>, Failure> {
        let p = &m.meta.processes[process];
        let odd_child = |q: &ProcessMeta| q.ppid == p.pid && q.birth.exit_signal != libc::SIGCHLD;
        if self.restorer.is_none() || !p.birth.never_execed && !m.meta.processes.iter().any(odd_child) {
            return Ok(None);
        }
        let file = std::fs::File::open(exe).map_err(|e| Failure(format!("{}: {e}", exe.display()), 1))?;
        Ok(Some(move_up(file.into(), base)?))
    }

    /// Forks the tree; returns when every process of it has begun its exec.
    fn start(&self, prepared: &[Prepared], rebuilt: &[Rebuilt], mapped: &[RawFd], gate: &'static Gate) -> Result<i32, Failure> {
        let mut processes: Vec<ProcessMeta> = Vec::new();
        for p in prepared {
            let q = self.process(p);
            processes.push(ProcessMeta { body: None, name: q.name.clone(), ..*q });
        }
        let outer = self.members[0].meta.agent;
        let live: Vec<ProcessMeta> = prepared.iter().map(|p| { let q = self.process(p); ProcessMeta { body: None, name: String::new(), ..*q } }).collect();
        let groups = tree::leaderless_groups(&live, outer.pgid);
        let forest = tree::layout(&processes, outer.sid);
        let become_process = |i: usize| self.become_process(&prepared[i], rebuilt, mapped);
        let tree = Tree {
            gate,
            processes: &processes,
            exact: self.ids != Ids::Virtual,
            wanted: &ids::wanted(self.members, &self.known),
            ids: self.shared_ids,
            known: &self.known,
            outer_group: outer.pgid,
            // SAFETY: only asks.
            new_group: unsafe { libc::getpgrp() },
            groups: &groups,
            become_process: &become_process,
        };
        passes(Stage::Fork)?;
        tree.fork_all(&forest).map_err(|e| Failure(fork_failed(&e), 1))?;
        if !gate.wait_created(processes.len()) {
            let e = gate.failure().unwrap_or_else(|| io::ErrorKind::TimedOut.into());
            return Err(Failure(fork_failed(&e), 1));
        }
        fault::target(Effect::KillMember, gate.pid(processes.len() - 1));
        let is_program = |p: &ProcessMeta| self.known.program_id(p.pid) == self.known.program_id(outer.program);
        let program = processes.iter().position(is_program).or_else(|| processes.iter().position(|p| !processes.iter().any(|q| q.pid == p.ppid)));
        Ok(gate.pid(program.unwrap_or(0)))
    }

    /// In the child, in its place in the tree.
    fn become_process(&self, p: &Prepared, rebuilt: &[Rebuilt], mapped: &[RawFd]) -> io::Error {
        let meta = self.process(p);
        let Some(body) = &meta.body else { return io::ErrorKind::InvalidData.into() };
        if let Err(e) = passes(Stage::Exec) {
            return e;
        }
        let objects = &self.members[p.member].meta.objects;
        self.controlling_terminal(meta, &rebuilt[p.rebuilt]);
        let _ = std::fs::write("/proc/self/oom_score_adj", body.oom_score_adj.to_string());
        let _ = std::fs::write("/proc/self/coredump_filter", format!("{:#x}", body.coredump_filter));
        if let Err(e) = ipc::redo(&self.members[p.member].meta.sysv.undo, meta.pid) {
            return e;
        }
        let cwd = preflight::mapped(&body.cwd, &self.options.map_path);
        if let Err(e) = change_directory(&cwd) {
            return e;
        }
        if p.exe_named.is_none() && self.ids == Ids::Namespace && nix::unistd::geteuid().as_raw() != 0 {
            if let Err(e) = namespace::keep_capabilities() {
                return e;
            }
        }
        let (Some(plan), Some(theirs)) = (&p.plan, &p.theirs) else {
            return io::ErrorKind::InvalidData.into();
        };
        let own = [plan.as_raw_fd(), theirs.as_raw_fd()];
        let copy = p.exe_copy.iter().chain(&p.exe_named).map(AsRawFd::as_raw_fd);
        let keep: Vec<RawFd> = own.iter().chain(mapped).copied().chain(copy).chain(p.images.iter().map(AsRawFd::as_raw_fd)).collect();
        if let Err(e) = rebuilt[p.rebuilt].install(objects, meta.pid, &keep) {
            return io::Error::other(e.to_string());
        }
        for fd in &keep {
            let _ = nix::fcntl::fcntl(borrow(*fd), nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()));
        }
        if let Some(restorer) = self.restorer.as_ref().filter(|_| p.exe_named.is_some()) {
            restorer.enter(plan.as_raw_fd());
        }
        let mut env = vec![
            [b"LD_PRELOAD=", self.library.as_os_str().as_bytes()].concat(),
            format!("CKPT_RESTORE={}", plan.as_raw_fd()).into_bytes(),
        ];
        env.extend(self.library_path(p, body));
        session::exec(&p.exe, &meta.name, &env)
    }

    /// ld.so must find the binary's libraries once more before the restorer takes over.
    fn library_path(&self, p: &Prepared, body: &Body) -> Option<Vec<u8>> {
        let (start, end) = (body.mm[9], body.mm[10]);
        let env = Chain::of(&self.members[p.member], p.process)?.peek(start, end.checked_sub(start)?.min(1 << 20))?;
        env.split(|&b| b == 0).find(|v| v.starts_with(b"LD_LIBRARY_PATH=")).map(<[u8]>::to_vec)
    }

    fn controlling_terminal(&self, meta: &ProcessMeta, rebuilt: &Rebuilt) {
        for t in rebuilt.terminals().iter().filter(|t| t.session == meta.pid && meta.sid == meta.pid) {
            let Some(fd) = t.slave.and_then(|id| rebuilt.fd(id)) else { continue };
            // SAFETY: ioctls on our own descriptor; SIGTTOU is blocked in the agent's children.
            unsafe {
                libc::ioctl(fd.as_raw_fd(), libc::TIOCSCTTY, 0);
                if t.foreground > 0 {
                    libc::ioctl(fd.as_raw_fd(), libc::TIOCSPGRP, &t.foreground);
                }
            }
        }
    }

    /// All restorers say that they are ready; then all may go.
    fn wait_restored(&self, prepared: &mut [Prepared]) -> Result<(), Failure> {
        for p in prepared.iter_mut() {
            drop((p.theirs.take(), p.plan.take(), std::mem::take(&mut p.images), p.exe_named.take()));
        }
        let mut filler = self.filler(prepared)?;
        passes(Stage::Restore)?;
        std::thread::scope(|scope| {
            for p in prepared.iter_mut() {
                if let Some(pipe) = p.feed.take() {
                    if let Some(chain) = self.chain(p) {
                        scope.spawn(move || memory::feed(&chain, pipe));
                    }
                }
            }
            prepared.iter().filter(|p| p.link.is_some()).try_for_each(|p| self.wait_one(p, &mut filler))
        })?;
        if let Some(filler) = filler {
            let (helper, held) = filler.close()?;
            self.agent.filling.begin(helper, held);
        }
        self.stop_again(prepared)?;
        passes(Stage::Barrier)?;
        self.give_foreground();
        for p in prepared.iter() {
            let Some(link) = &p.link else { continue };
            // One that runs already may have killed it.
            let _ = link.send(msg::GO);
            if self.in_foreground(p) {
                // The terminal may have another size, and shows nothing of the program yet.
                // SAFETY: numbers only.
                unsafe { libc::kill(self.real(self.process(p).pid), libc::SIGWINCH) };
            }
        }
        Ok(())
    }

    /// Processes that were stopped stop in the restorer and go on from there with SIGCONT; their parents hear of it
    /// only if they had not before.
    fn stop_again(&self, prepared: &[Prepared]) -> Result<(), Failure> {
        let stopped = || prepared.iter().map(|p| self.process(p)).filter(|meta| meta.state == RunState::Stopped);
        for meta in stopped() {
            let pid = self.shared_ids.table.to_real(VirtualPid(self.known.program_id(meta.pid))).0;
            // SAFETY: numbers only.
            unsafe { libc::kill(pid, libc::SIGSTOP) };
            ckpt_agent::procfs::await_stop(pid);
        }
        for p in prepared.iter().filter(|p| stopped().any(|kid| kid.ppid == self.process(p).pid)) {
            // One that is stopped itself looks when it is continued.
            if let Some(link) = p.link.as_ref() {
                link.send(msg::SETTLE)?;
                if self.process(p).state != RunState::Stopped {
                    link.recv_within(Duration::from_secs(60))?;
                }
            }
        }
        Ok(())
    }

    fn real(&self, then: i32) -> i32 {
        self.shared_ids.table.to_real(VirtualPid(self.known.program_id(then))).0
    }

    /// A job of the program's that had the terminal has it again.
    fn give_foreground(&self) {
        for m in self.members {
            let Some(terminal) = &m.meta.objects.terminal else { continue };
            if m.meta.processes.iter().any(|p| p.pid == terminal.foreground) {
                outer::give_foreground(&[0, 1, 2].map(|fd| is_open(fd).then_some(fd)), self.real(terminal.foreground));
            }
        }
    }

    fn in_foreground(&self, p: &Prepared) -> bool {
        let terminal = &self.members[p.member].meta.objects.terminal;
        terminal.as_ref().is_some_and(|t| t.foreground == self.process(p).pgid)
    }

    /// The helper that fills memory later; None: all is there at the start.
    fn filler(&self, prepared: &[Prepared]) -> Result<Option<Filler>, Failure> {
        let shares: Vec<&Share> = prepared.iter().filter_map(|p| p.share.as_ref()).collect();
        if shares.is_empty() { Ok(None) } else { Ok(Some(Filler::start(self.members, &shares)?)) }
    }

    fn wait_one(&self, p: &Prepared, filler: &mut Option<Filler>) -> Result<(), Failure> {
        let meta = self.process(p);
        let Some(link) = &p.link else { return Ok(()) };
        let who = format!("process {} ({})", meta.pid, meta.name);
        match link.recv_within(Duration::from_secs(600)) {
            Ok(packet) if packet.msg.kind == msg::RESTORED => Ok(()),
            Ok(packet) if packet.msg.kind == msg::LAZY => {
                if let (Some(filler), Some(uffd)) = (filler.as_mut(), packet.fds.into_iter().next()) {
                    let pid = self.shared_ids.table.to_real(VirtualPid(self.known.program_id(meta.pid))).0;
                    filler.add((p.member, p.process), pid, uffd)?;
                }
                self.wait_one(p, filler)
            }
            Ok(packet) => Err(Failure(format!("{who}: {}", explain(&packet.msg)), 1)),
            Err(e) => Err(Failure(format!("{who}: its binary {} did not come up ({e})", p.exe.display()), 1)),
        }
    }
}

enum Source {
    Fd(OwnedFd),
    SysV(i32),
}

impl Source {
    fn fd(&self) -> Option<RawFd> {
        match self {
            Source::Fd(fd) => Some(fd.as_raw_fd()),
            Source::SysV(_) => None,
        }
    }
}

/// Stopped children of a process whose stop it was told of.
fn told_stops(m: &Member, parent: i32) -> Vec<i32> {
    let told = m.meta.processes.iter().filter(|p| p.ppid == parent && p.state == RunState::Stopped && p.stop_told);
    told.map(|p| p.pid).collect()
}

fn explain(m: &ckpt_sys::flat::Msg) -> String {
    let step = match m.stage {
        20 => "no place for the restorer was found",
        21 => "the old address space could not be removed",
        22 => "the kernel's vdso differs from that at the checkpoint; restart under the same kernel",
        23 => "a mapping could not be made",
        24 => "memory could not be read from the image",
        25 => "a protection could not be set",
        26 => "the address space could not be described to the kernel",
        28 => "a timer could not be made",
        29 => "a thread could not be made",
        30 => "user, groups or capabilities could not be set; restart as the user who launched it",
        32 => "memory could not be registered for --restore lazy; restart without it",
        31 => "a native AIO context could not be made; is fs.aio-max-nr reached?",
        _ => "its state could not be set",
    };
    format!("{step} ({}, at {:#x})", io::Error::from_raw_os_error(m.errno), m.arg)
}

fn fork_failed(e: &io::Error) -> String {
    match e.raw_os_error() {
        Some(libc::EEXIST) => "an id of the program is in use by another process; wait until it has ended, or give --ids namespace".into(),
        _ => format!("the processes could not be made: {e}"),
    }
}

/// Which queues the process waits for. An exec makes the kernel forget (`self_exec_id`), so the restorer asks again.
fn notifies(set: &ObjectSet, pid: i32) -> Vec<MqNotify> {
    let mine = |e: &FdEntry| {
        let Kind::Mqueue(end) = &set.object(e.object).kind else { return None };
        let notify = set.queues[end.queue as usize].notify.as_ref().filter(|n| n.pid == pid)?;
        let signal = if notify.how == libc::SIGEV_THREAD { glibc_listens_at(set, pid)? } else { notify.signal };
        let of_queue = MqNotify { fd: e.number, how: notify.how, signal, pad: 0, value: notify.value, function: notify.function };
        Some((end.queue, of_queue))
    };
    let all: HashMap<u32, MqNotify> = set.descriptors(pid).unwrap_or(&[]).iter().filter_map(mine).collect();
    all.into_values().collect()
}

fn is_written(m: &Member, shared: usize) -> bool {
    let maps = m.meta.processes.iter().filter_map(|p| p.body.as_ref()).flat_map(|b| &b.maps);
    maps.filter(|map| matches!(map.kind, MapKind::Shared(i) if i as usize == shared)).any(|map| map.prot & libc::PROT_WRITE as u32 != 0)
}

/// A program may map memory to write and keep a read-only descriptor alone.
fn for_mapping(object: BorrowedFd, written: bool) -> io::Result<OwnedFd> {
    // SAFETY: only asks.
    let read_only = unsafe { libc::fcntl(object.as_raw_fd(), libc::F_GETFL) } & libc::O_ACCMODE == libc::O_RDONLY;
    if written && read_only {
        let path = format!("/proc/self/fd/{}", object.as_raw_fd());
        return Ok(std::fs::File::options().read(true).write(true).open(path)?.into());
    }
    object.try_clone_to_owned()
}

/// glibc has one netlink socket and one thread for all notifications of a process by SIGEV_THREAD.
fn glibc_listens_at(set: &ObjectSet, pid: i32) -> Option<i32> {
    let is_it = |e: &&FdEntry| {
        let Kind::Netlink(socket) = &set.object(e.object).kind else { return false };
        e.cloexec && socket.kind == libc::SOCK_RAW && socket.protocol == 0
    };
    set.descriptors(pid)?.iter().rfind(is_it).map(|e| e.number)
}

/// Private mappings of files that are gone were saved whole and come back without a file.
fn anonymous_now(m: &MapMeta, f: &FileIdentity) -> bool {
    !m.shared && f.deleted
}

fn file_key(m: &MapMeta, f: &FileIdentity) -> (Vec<u8>, bool) {
    (f.path.clone(), m.shared && m.prot & libc::PROT_WRITE as u32 != 0)
}

/// PR_SET_MM_MAP takes a descriptor of the binary from those with CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE.
fn may_name_binary() -> bool {
    const WANTED: u64 = 1 << 21 | 1 << 40;
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    ckpt_agent::procfs::status_hex(&status, "CapEff") & WANTED != 0
}

fn keep_ids(c: &Credentials) -> bool {
    // SAFETY: only ask.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    let own = c.uid.iter().all(|&u| u == uid) && c.gid.iter().all(|&g| g == gid);
    own || uid != 0
}

/// A directory that had no name any more is made again for the moment.
fn change_directory(cwd: &Path) -> io::Result<()> {
    let Some(gone) = cwd.as_os_str().as_bytes().strip_suffix(b" (deleted)") else { return std::env::set_current_dir(cwd) };
    let gone = Path::new(std::ffi::OsStr::from_bytes(gone));
    let made = std::fs::create_dir_all(gone).is_ok();
    std::env::set_current_dir(gone)?;
    if made { std::fs::remove_dir(gone) } else { Ok(()) }
}

fn plan_file(bytes: &[u8]) -> io::Result<OwnedFd> {
    // SAFETY: a literal name; the descriptor is new.
    let fd = unsafe { libc::memfd_create(c"ckpt-plan".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made.
    let mut file = unsafe { std::fs::File::from_raw_fd(fd) };
    io::Write::write_all(&mut file, bytes)?;
    Ok(file.into())
}

/// To a number that no process of the program uses.
fn move_up(fd: OwnedFd, base: i32) -> io::Result<OwnedFd> {
    // SAFETY: fcntl on our own descriptor; the new one is ours alone.
    unsafe {
        let up = libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, base);
        if up < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(up)) }
    }
}

fn is_open(fd: RawFd) -> bool {
    // SAFETY: only asks.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

fn borrow(fd: RawFd) -> std::os::fd::BorrowedFd<'static> {
    // SAFETY: callers checked that it is open; the process is about to exec.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) }
}
