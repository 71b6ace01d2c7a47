//! The restore plan of one process: what the restorer does, in tables, in a memfd. `build` is pure.

use crate::forward::Forwarding;
use crate::rebuild::Relations;
use ckpt_image::{AioContext, Body, Credentials, MapKind, MapMeta};
use ckpt_sys::flat::plan::{self, Descriptor, Map, PlanHead, Read, Rlimit, Table};
use ckpt_sys::flat::{Outer, Pending, ProcessRecord, Run, SemUndo, SigAction, ThreadRecord, Timer, bytes_of};
use ckpt_sys::idtable;

/// What the plan needs besides the image.
pub struct Given<'a> {
    /// descriptor (or SysV id) for a mapping, None: anonymous
    pub map_fd: &'a dyn Fn(&MapMeta) -> Option<i32>,
    pub agent: i32,
    /// the binary, -1: it was exec'ed
    pub exe: i32,
    /// what goes into memory and where it comes from
    pub reads: &'a [Read],
    /// or through what
    pub feed: plan::Feed,
    /// what is filled later
    pub lazy: &'a [Run],
    /// first descriptor number that is ours
    pub first_own: i32,
    pub exact: bool,
    /// the kernel makes huge pages, but only on request
    pub collapse: bool,
    /// user and groups are right already
    pub keep_ids: &'a dyn Fn(&Credentials) -> bool,
    pub agent_name: &'a [u8],
    pub preload: &'a [u8],
    pub environment: &'a [u8],
    pub fds: &'a [ckpt_objects::FdEntry],
    pub late: &'a dyn Fn(ckpt_objects::ObjectId) -> ckpt_objects::Late,
    pub undo: &'a [SemUndo],
    /// stopped children (kernel's ids then) of whose stop the program was told
    pub told: &'a [i32],
    pub notifies: &'a [plan::MqNotify],
    /// with kernel's ids then
    pub thread_fds: &'a [plan::ThreadFd],
    /// address and descriptor of the table of ids
    pub id_table: (u64, i32),
    pub agent_pid: i32,
    /// ckpt_restart was started by nohup(1): so is what it brings back
    pub no_hangup: bool,
    /// this kernel's vdso is another one
    pub vdso: Option<&'a Forwarding>,
    pub outer: Outer,
    pub renamed: &'a [plan::Renamed],
    pub relations: &'a Relations,
    /// kernel's id then -> program's id
    pub program_id: &'a dyn Fn(i32) -> i32,
}

struct Layout {
    bytes: Vec<u8>,
}

impl Layout {
    fn table<T: Copy>(&mut self, items: &[T]) -> Table {
        self.bytes.resize(self.bytes.len().next_multiple_of(16), 0);
        let at = self.bytes.len() as u64;
        items.iter().for_each(|i| self.bytes.extend_from_slice(bytes_of(i)));
        Table { at, count: items.len() as u64 }
    }
}

pub fn build(body: &Body, g: &Given) -> Vec<u8> {
    let mut out = Layout { bytes: vec![0; size_of::<PlanHead>()] };
    let id = |then| (g.program_id)(then);
    let related = g.relations;
    let apart: Vec<plan::Apart> = related.apart.iter().map(|(a, cwd)| plan::Apart { cwd: out.table(cwd), ..*a }).collect();
    let mut head = PlanHead {
        magic: plan::MAGIC,
        maps: out.table(&all_maps(body, g)),
        reads: out.table(g.reads),
        lazy: out.table(g.lazy),
        threads: out.table(&body.threads.iter().map(|t| ThreadRecord { tid: id(t.0.tid), ..t.0 }).collect::<Vec<_>>()),
        sigactions: out.table(&actions(body, g.no_hangup)),
        pendings: out.table(&body.pendings.iter().map(|p| Pending { tid: id(p.0.tid), ..p.0 }).collect::<Vec<_>>()),
        timers: out.table(&body.timers.iter().map(|t| Timer { tid: id(t.0.tid), clock: clock(t.0.clock, &id), ..t.0 }).collect::<Vec<_>>()),
        fds: out.table(&fds(g)),
        rlimits: out.table(&rlimits(body)),
        auxv: out.table(&body.auxv),
        preload: out.table(g.preload),
        environment: out.table(g.environment),
        credentials: out.table(&credentials(body, g)),
        groups: out.table(&all_credentials(body).flat_map(|(_, c)| c.groups.iter().copied()).collect::<Vec<_>>()),
        renamed: out.table(g.renamed),
        policies: out.table(&body.policies.iter().map(|p| p.0).collect::<Vec<_>>()),
        guards: out.table(&body.memory.guards.iter().map(|&(addr, bytes)| Run { addr, bytes }).collect::<Vec<_>>()),
        aio: out.table(&body.aio.iter().map(aio).collect::<Vec<_>>()),
        aio_events: out.table(&body.aio.iter().flat_map(|a| a.events.iter().copied()).collect::<Vec<_>>()),
        vdso_other: g.vdso.is_some() as u64,
        vdso_image: out.table(g.vdso.map_or(&[], |v| &v.old)),
        forwards: out.table(g.vdso.map_or(&[], |v| &v.entries)),
        undo: out.table(g.undo),
        told: out.table(&g.told.iter().map(|&pid| id(pid)).collect::<Vec<_>>()),
        notifies: out.table(g.notifies),
        thread_fds: out.table(&g.thread_fds.iter().map(|t| plan::ThreadFd { tid: id(t.tid), ..*t }).collect::<Vec<_>>()),
        process: ProcessRecord { pid: id(body.record.0.pid), ..body.record.0 },
        agent: g.agent,
        exe: g.exe,
        umask: body.umask,
        exact_ids: g.exact as u32,
        oom_score_adj: body.oom_score_adj,
        flags: g.first_own as u64,
        feed: g.feed,
        id_table: g.id_table.0,
        agent_pid: g.agent_pid,
        outer: g.outer,
        kin: out.table(&related.kin),
        takes: out.table(&related.takes),
        apart: out.table(&apart),
        cwd: out.table(&related.cwd),
        files: related.files,
        pgid: id(related.place.0),
        sid: id(related.place.1),
        own_files: related.own_files as u32,
        coredump_filter: body.coredump_filter,
        ..PlanHead::default()
    };
    head.mm[..11].copy_from_slice(&body.mm);
    let n = g.agent_name.len().min(head.control.len() - 1);
    head.control[..n].copy_from_slice(&g.agent_name[..n]);
    kernel_pages(body, &mut head);
    head.total = out.bytes.len() as u64;
    out.bytes[..size_of::<PlanHead>()].copy_from_slice(bytes_of(&head));
    out.bytes
}

/// A fault on purpose: no kernel takes the first mapping.
pub fn spoil(bytes: &mut [u8]) {
    let Some(head) = ckpt_sys::flat::from_bytes::<PlanHead>(bytes) else { return };
    let at = head.maps.at as usize + std::mem::offset_of!(Map, flags);
    bytes[at..at + 4].fill(0);
}

fn kernel_pages(body: &Body, head: &mut PlanHead) {
    for m in &body.maps {
        match m.kind {
            MapKind::Vdso => {
                head.vdso = m.start;
                head.vdso_len += m.end - m.start;
            }
            MapKind::Vvar => {
                head.vvar = if head.vvar == 0 { m.start } else { head.vvar.min(m.start) };
                head.vvar_len += m.end - m.start;
            }
            _ => {}
        }
    }
}

/// Negative: the CPU time of a process or thread, whose id is in it.
fn clock(then: i32, id: &dyn Fn(i32) -> i32) -> i32 {
    match !(then >> 3) {
        of if then < 0 && of > 0 => !id(of) << 3 | then & 7,
        _ => then,
    }
}

/// The program's, and the table of ids, in order.
fn all_maps(body: &Body, g: &Given) -> Vec<Map> {
    let mut all = maps(body, g);
    let (addr, fd) = g.id_table;
    let prot = (libc::PROT_READ | libc::PROT_WRITE) as u32;
    let len = (idtable::SIZE as u64).next_multiple_of(4096);
    let place = all.partition_point(|m| m.addr < addr);
    all.insert(place, Map { addr, len, prot, flags: libc::MAP_SHARED as u32, fd, advice: 0, offset: 0 });
    all
}

/// An address for the table that no process uses.
pub fn free_address<'a>(bodies: impl Iterator<Item = &'a Body> + Clone) -> u64 {
    let len = (idtable::SIZE as u64).next_multiple_of(4096) + 4096;
    let mut at: u64 = 0x1100_0000_0000;
    loop {
        let clash = bodies.clone().flat_map(|b| &b.maps).find(|m| m.start < at + len && at < m.end);
        match clash {
            Some(m) => at = m.end.next_multiple_of(4096),
            None => return at,
        }
    }
}

fn maps(body: &Body, g: &Given) -> Vec<Map> {
    let is_ours = |m: &&MapMeta| !matches!(m.kind, MapKind::Vdso | MapKind::Vvar | MapKind::Kernel);
    let arena = (body.record.0.arena, body.record.0.arena + body.record.0.arena_len);
    body.maps.iter().filter(is_ours).flat_map(|m| without(m, arena)).map(|m| map(&m, g)).collect()
}

/// The checkpoint's own memory does not come back; the kernel may have merged it with its neighbours.
fn without(m: &MapMeta, hole: (u64, u64)) -> Vec<MapMeta> {
    if hole.1 <= m.start || m.end <= hole.0 {
        return vec![m.clone()];
    }
    let below = MapMeta { end: hole.0.max(m.start), ..m.clone() };
    let above = MapMeta { start: hole.1.min(m.end), ..m.clone() };
    [below, above].into_iter().filter(|p| p.start < p.end).collect()
}

fn map(m: &MapMeta, g: &Given) -> Map {
    let fd = (g.map_fd)(m);
    const MAP_DROPPABLE: i32 = 8;
    let mut flags = match m.shared {
        true => libc::MAP_SHARED,
        false if m.advice & plan::MAP_DROPPABLE != 0 => MAP_DROPPABLE,
        false => libc::MAP_PRIVATE,
    };
    if fd.is_none() {
        flags |= libc::MAP_ANONYMOUS;
    }
    if m.grows_down {
        flags |= libc::MAP_GROWSDOWN;
    }
    if m.no_reserve {
        flags |= libc::MAP_NORESERVE;
    }
    let offset = if fd.is_some() { m.offset } else { 0 };
    let small = m.shared || fd.is_some() || m.advice & (plan::MAP_NOHUGE | plan::MAP_MERGEABLE) != 0;
    let collapse = if g.collapse && !small { plan::MAP_COLLAPSE } else { 0 };
    let advice = m.advice & !plan::MAP_COLLAPSE | collapse;
    Map { addr: m.start, len: m.end - m.start, prot: m.prot, flags: flags as u32, fd: fd.unwrap_or(-1), advice, offset }
}

fn aio(a: &AioContext) -> plan::Aio {
    plan::Aio { addr: a.start, len: a.len, slots: a.slots as u64, events: a.events.len() as u64 }
}

fn actions(body: &Body, no_hangup: bool) -> Vec<SigAction> {
    let mut all: Vec<SigAction> = body.sigactions.iter().map(|f| f.0).collect();
    let hangup = all.get_mut(libc::SIGHUP as usize - 1).filter(|a| no_hangup && a.handler == libc::SIG_DFL as u64);
    hangup.into_iter().for_each(|a| a.handler = libc::SIG_IGN as u64);
    all
}

fn fds(g: &Given) -> Vec<Descriptor> {
    let one = |f: &ckpt_objects::FdEntry| {
        let late = (g.late)(f.object);
        let owner = if late.owner == 0 { 0 } else { (g.program_id)(late.owner) };
        Descriptor { number: f.number, cloexec: f.cloexec as u32, seals: late.seals as u32, owner, reopen: late.reopen as u32 }
    };
    g.fds.iter().map(one).collect()
}

fn rlimits(body: &Body) -> Vec<Rlimit> {
    body.rlimits.iter().enumerate().map(|(n, &(soft, hard))| Rlimit { resource: n as u64, soft, hard }).collect()
}

/// The process's, then those that one thread (kernel's id then) has for itself.
fn all_credentials(body: &Body) -> impl Iterator<Item = (i32, &Credentials)> {
    std::iter::once((0, &body.credentials)).chain(body.thread_credentials.iter().map(|(tid, c)| (*tid, c)))
}

fn credentials(body: &Body, g: &Given) -> Vec<plan::Credentials> {
    let mut first = 0;
    let flat = |(tid, c): (i32, &Credentials)| {
        let [inheritable, permitted, effective, bounding, ambient] = c.caps;
        let groups = [first, c.groups.len() as u32];
        first += groups[1];
        let keep_ids = (g.keep_ids)(c) as u32;
        let tid = if tid == 0 { 0 } else { (g.program_id)(tid) };
        plan::Credentials { tid, keep_ids, groups, uid: c.uid, gid: c.gid, inheritable, permitted, effective, bounding, ambient }
    };
    all_credentials(body).map(flat).collect()
}
