//! What only the process itself can say: registers' whereabouts, signal state, timers. And its descriptors.

use crate::arena::Arena;
use crate::channel::Channel;
use crate::handler::{self, Slot};
use crate::sheet::Sheet;
use crate::state::{self, Seat};
use crate::{asm, descriptors, landlock, maps, procfs, signals, sysv, thread};
use ckpt_sys::flat::*;
use ckpt_sys::calls::*;
use ckpt_sys::raw::*;
use core::sync::atomic::Ordering::*;

/// Settings that the pause itself has changed.
pub struct Was {
    /// action of SIGCHLD
    pub child: Option<SigAction>,
    /// of SIGSETXID
    pub setxid: Option<SigAction>,
    pub subreaper: bool,
    pub undumpable: bool,
}

type Stage = (u32, Errno);

/// `given`: where the agent wants the records, or -1.
pub fn run(a: &Arena, st: &Seat, ch: &Channel, was: &Was, given: Fd) -> core::result::Result<(), Stage> {
    let records = records(a, st, was, given).map_err(|e| (stage::RECORDS, e))?;
    let sent = ch.send_with(Msg { kind: msg::RECORDS, ..Msg::default() }, &[], &[records]);
    if records != given {
        close(records);
    }
    sent.map_err(|e| (stage::RECORDS, e))?;
    let pid = getpid();
    let leader = thread::parked(a).find(|s| s.tid.load(Acquire) == pid);
    let owner = leader.or_else(|| thread::parked(a).next()).map_or_else(gettid, |slot| slot.tid.load(Acquire));
    descriptors::send(a, ch, owner, given).map_err(|e| (stage::DESCRIPTORS, e))?;
    ch.send(Msg { kind: msg::CAPTURED, ..Msg::default() });
    Ok(())
}

/// Descriptors of a thread that has a table of its own.
pub fn table(a: &Arena, ch: &Channel, tid: i32) -> core::result::Result<(), Stage> {
    descriptors::send_own(a, ch, tid).map_err(|e| (stage::DESCRIPTORS, e))?;
    ch.send(Msg { kind: msg::CAPTURED, ..Msg::default() });
    Ok(())
}

struct Out {
    sheet: Sheet,
    failed: Option<Errno>,
}

impl Out {
    fn put(&mut self, kind: u32, parts: &[&[u8]]) {
        let len = parts.iter().map(|p| p.len()).sum::<usize>() as u32;
        let head = RecordHead { kind, len };
        for part in core::iter::once(bytes_of(&head)).chain(parts.iter().copied()) {
            if let Err(e) = self.sheet.put(part) {
                self.failed = Some(e);
            }
        }
    }

    /// A whole /proc file: the length is known only afterwards, so it is read twice when it does not fit.
    fn put_file(&mut self, kind: u32, path: &core::ffi::CStr, scratch: &mut [u8]) {
        let copied = (|| {
            let fd = open(path, libc::O_RDONLY | libc::O_CLOEXEC)?;
            let at = self.sheet.len();
            self.sheet.put(bytes_of(&RecordHead { kind, len: 0 }))?;
            let mut len = 0;
            let copied = loop {
                match read(fd, scratch) {
                    Ok(0) => break Ok(()),
                    Ok(n) => {
                        self.sheet.put(&scratch[..n])?;
                        len += n;
                    }
                    Err(e) => break Err(e),
                }
            };
            close(fd);
            copied.and_then(|()| self.sheet.put_at(at, bytes_of(&RecordHead { kind, len: len as u32 })))
        })();
        if let Err(e) = copied {
            self.failed = Some(e);
        }
    }
}

/// Reading the table (modify_ldt) tells how long it is: none is empty.
fn has_segments() -> bool {
    let mut first = 0u64;
    // SAFETY: room for one segment.
    unsafe { syscall3(libc::SYS_modify_ldt, 0, &raw mut first as usize, size_of::<u64>()) }.is_ok_and(|bytes| bytes > 0)
}

/// In its process keyring; what is in the user's or the session's stays in the kernel.
fn has_keyring() -> bool {
    const KEYCTL_GET_KEYRING_ID: usize = 0;
    const KEY_SPEC_PROCESS_KEYRING: usize = -2isize as usize;
    // SAFETY: numbers only.
    unsafe { syscall3(libc::SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 0) }.is_ok()
}

fn records(a: &Arena, st: &Seat, was: &Was, given: Fd) -> Result<Fd> {
    let mut out = Out { sheet: Sheet::new(c"ckpt-records", given)?, failed: None };
    crate::filters::note_threads(a)?;
    out.put(record::PROCESS, &[bytes_of(&process(a, was))]);
    timers(&mut out, a);
    sysv::held(|h| out.put(record::SYSV, &[bytes_of(&h)]));
    sysv::undos(|u| out.put(record::UNDO, &[bytes_of(&u)]));
    if landlock::confines(a) {
        out.put(record::LANDLOCK, &[]);
    }
    if has_segments() {
        out.put(record::SEGMENTS, &[]);
    }
    if has_keyring() {
        out.put(record::KEYRING, &[]);
    }
    crate::queues::asked(|q| out.put(record::MQ_ASKED, &[bytes_of(&q)]));
    policies(&mut out, a);
    drain_signals(a, st);
    let mut actions = [SigAction::default(); 64];
    for (i, act) in actions.iter_mut().enumerate() {
        let before = match i as i32 + 1 {
            libc::SIGCHLD => was.child,
            signals::SIGSETXID => was.setxid,
            _ => None,
        };
        *act = before.or_else(|| signals::action(i as i32 + 1).ok()).unwrap_or_default();
        crate::hooks::keep_handler(i as i32 + 1, act);
    }
    out.put(record::SIGACTIONS, &[bytes_of(&actions)]);
    for slot in thread::parked(a) {
        // SAFETY: the thread is parked; whatever is due now will be delivered on resume and on restart alike.
        unsafe { crate::eintr::undo(slot, slot.pending | signals::pending_set()) };
        out.put(record::THREAD, &[bytes_of(&thread_record(slot))]);
    }
    for p in signals::pendings(a) {
        out.put(record::PENDING, &[bytes_of(p)]);
    }
    // SAFETY: this thread alone uses the scratch.
    let scratch = unsafe { a.scratch() };
    out.put_file(record::MAPS, c"/proc/thread-self/maps", scratch);
    out.put_file(record::STAT, c"/proc/thread-self/stat", scratch);
    out.put_file(record::AUXV, c"/proc/thread-self/auxv", scratch);
    let cut = out.sheet.cut();
    match out.failed.map_or(cut, Err) {
        Ok(()) => Ok(out.sheet.fd),
        Err(e) => {
            close(out.sheet.fd);
            Err(e)
        }
    }
}

fn drain_signals(a: &Arena, st: &Seat) {
    let any = thread::parked(a).fold(signals::pending_set(), |set, s| set | s.pending);
    if any == 0 {
        return;
    }
    signals::drain_shared(a);
    let (pid, own) = (getpid(), gettid());
    thread::command(a, st, handler::DRAIN, |s| s.pending != 0 && s.tid.load(Relaxed) != own);
    if thread::parked(a).any(|s| s.tid.load(Relaxed) == pid) {
        thread::command(a, st, handler::REQUEUE, |s| s.tid.load(Relaxed) == pid);
    } else {
        signals::requeue_shared(a);
    }
}

fn process(a: &Arena, was: &Was) -> ProcessRecord {
    let mut itimers = [[0u64; 2]; 3];
    for (which, t) in itimers.iter_mut().enumerate() {
        let mut it = [0u64; 4];
        // SAFETY: it has the layout of struct itimerval.
        if unsafe { syscall2(libc::SYS_getitimer, which, it.as_mut_ptr() as usize) }.is_ok() {
            *t = [it[0] * 1_000_000 + it[1], it[2] * 1_000_000 + it[3]];
        }
    }
    let pid = getpid();
    // SAFETY: brk(0) and personality(-1) only ask.
    let (brk, personality) = unsafe { (syscall1(libc::SYS_brk, 0), syscall1(libc::SYS_personality, 0xffff_ffff)) };
    ProcessRecord {
        pid,
        threads: thread::parked(a).count() as u32,
        control: state::control_addr() as u64,
        leave: asm::leave as *const () as u64,
        restarted: crate::plugin::restarted as *const () as u64,
        state_page: state::state_page_addr() as u64,
        arena: core::ptr::from_ref(a) as u64,
        arena_len: a.len as u64,
        brk: brk.unwrap_or(0) as u64,
        dumpable: if was.undumpable { 0 } else { prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0).unwrap_or(1) as i32 },
        subreaper: was.subreaper as i32,
        thp_disable: prctl(libc::PR_GET_THP_DISABLE, 0, 0, 0, 0).unwrap_or(0) as i32,
        personality: personality.unwrap_or(0) as u32,
        mdwe: prctl(66, 0, 0, 0, 0).unwrap_or(0) as i32,
        leader_gone: !thread::parked(a).any(|s| s.tid.load(Relaxed) == pid) as i32,
        itimers,
        xcomp: xcomp_permission(),
        membarrier: membarrier_registrations(),
        mlock_future: mlock_future(),
        wants_restart: crate::plugin::wants(crate::plugin::RESTART) as u32,
        neighbour: state::neighbour(pid),
        pad: 0,
        memory_merge: prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0).unwrap_or(0) as i32,
    }
}

/// MCL_FUTURE shows in a fresh page: it is locked, at once or as it is touched.
fn mlock_future() -> u32 {
    const ONFAULT: usize = 4;
    let locked = locked_kb();
    if locked == 0 {
        return 0;
    }
    let Ok(page) = map_anon(ckpt_sys::PAGE) else { return 0 };
    let future = locked_kb() > locked;
    let mut present = 0u8;
    // SAFETY: asks about the fresh page; then it goes.
    unsafe {
        let _ = syscall3(libc::SYS_mincore, page as usize, ckpt_sys::PAGE, &raw mut present as usize);
        let _ = munmap(page as usize, ckpt_sys::PAGE);
    }
    match (future, present & 1) {
        (false, _) => 0,
        (true, 0) => (libc::MCL_FUTURE as usize | ONFAULT) as u32,
        (true, _) => libc::MCL_FUTURE as u32,
    }
}

/// VmLck of /proc/self/status.
fn locked_kb() -> i32 {
    let mut buf = [0; 4096];
    let Ok(fd) = open(c"/proc/thread-self/status", libc::O_RDONLY | libc::O_CLOEXEC) else { return 0 };
    let n = read_full(fd, &mut buf).unwrap_or(0);
    close(fd);
    let line = buf[..n].split(|&b| b == b'\n').find_map(|l| l.strip_prefix(b"VmLck:"));
    line.map_or(0, |l| l.iter().filter(|b| b.is_ascii_digit()).fold(0, |n, b| n * 10 + (b - b'0') as i32))
}

const PR_GET_MEMORY_MERGE: i32 = 68;
const ARCH_GET_XCOMP_PERM: usize = 0x1022;
const MEMBARRIER_GET_REGISTRATIONS: usize = 1 << 9;

fn xcomp_permission() -> u64 {
    let mut bits = 0u64;
    // SAFETY: bits is 8 writable bytes.
    let _ = unsafe { syscall2(libc::SYS_arch_prctl, ARCH_GET_XCOMP_PERM, &raw mut bits as usize) };
    bits
}

fn membarrier_registrations() -> u32 {
    // SAFETY: numbers only.
    unsafe { syscall3(libc::SYS_membarrier, MEMBARRIER_GET_REGISTRATIONS, 0, 0) }.unwrap_or(0) as u32
}

fn thread_record(slot: &Slot) -> ThreadRecord {
    let tid = slot.tid.load(Relaxed);
    let mut r = ThreadRecord {
        tid,
        pdeathsig: slot.pdeathsig,
        frame: slot.frame.load(Acquire),
        fs: slot.fs,
        gs: slot.gs,
        clear_tid: slot.clear_tid,
        rseq: slot.rseq,
        timer_slack: slot.timer_slack,
        no_new_privs: slot.no_new_privs,
        securebits: slot.securebits,
        keepcaps: slot.keepcaps,
        tsc: slot.tsc,
        cpuid_faults: slot.cpuid_faults as u32,
        mce_kill: slot.mce_kill,
        credentials: slot.credentials,
        mempolicy: slot.mempolicy,
        nodes: slot.nodes,
        name: slot.name,
        rewound: slot.rewound.load(Acquire),
        ..ThreadRecord::default()
    };
    let mut len = 0usize;
    // SAFETY: every out-pointer is a local of the size that the call writes.
    unsafe {
        let _ = syscall3(libc::SYS_get_robust_list, tid as usize, &raw mut r.robust as usize, &raw mut len as usize);
        let _ = syscall4(libc::SYS_sched_getattr, tid as usize, r.sched.as_mut_ptr() as usize, size_of_val(&r.sched), 0);
        r.nice = nice(tid, &r.sched);
        r.ioprio = syscall2(libc::SYS_ioprio_get, 1, tid as usize).unwrap_or(0) as i32;
        let _ = syscall3(libc::SYS_sched_getaffinity, tid as usize, 128, r.affinity.as_mut_ptr() as usize);
    }
    r
}

/// sched_getattr(2) says it, except for real-time threads, whose file does.
fn nice(tid: i32, attr: &[u64]) -> i32 {
    let policy = (attr[0] >> 32) as i32;
    match policy {
        libc::SCHED_FIFO | libc::SCHED_RR | libc::SCHED_DEADLINE => procfs::nice(tid).unwrap_or(0),
        _ => attr[2] as i32,
    }
}

/// get_mempolicy(2) with MPOL_F_ADDR, of each mapping.
fn policies(out: &mut Out, a: &Arena) {
    const OF_ADDRESS: usize = 1 << 1;
    // SAFETY: this thread alone uses the scratch.
    let buf = unsafe { a.scratch() };
    let _ = maps::each(buf, |m| {
        let mut p = RangePolicy { addr: m.start, len: m.end - m.start, ..RangePolicy::default() };
        let mut mode = 0i32;
        let (to, nodes) = (&raw mut mode as usize, &raw mut p.nodes as usize);
        // SAFETY: the out-pointers are locals of the size that the call writes.
        unsafe { syscall5(libc::SYS_get_mempolicy, to, nodes, 64, m.start as usize, OF_ADDRESS) }?;
        p.mode = mode as u64;
        if mode != 0 {
            out.put(record::POLICY, &[bytes_of(&p)]);
        }
        Ok(())
    });
}

fn timers(out: &mut Out, a: &Arena) {
    // SAFETY: this thread alone uses the scratch.
    let buf = unsafe { a.scratch() };
    let Ok(fd) = open(c"/proc/thread-self/timers", libc::O_RDONLY | libc::O_CLOEXEC)
        .or_else(|_| open(c"/proc/self/timers", libc::O_RDONLY | libc::O_CLOEXEC))
    else {
        return;
    };
    let n = read_full(fd, buf).unwrap_or(0);
    close(fd);
    let mut t = Timer::default();
    for line in buf[..n].split(|&b| b == b'\n') {
        if let Some(id) = line.strip_prefix(b"ID: ") {
            t = Timer { id: procfs::parse(id).unwrap_or(0), ..Timer::default() };
        } else if let Some(rest) = line.strip_prefix(b"signal: ") {
            let mut parts = rest.splitn(2, |&b| b == b'/');
            t.signal = parts.next().and_then(procfs::parse).unwrap_or(0);
            t.value = parts.next().map_or(0, hex);
        } else if let Some(rest) = line.strip_prefix(b"notify: ") {
            parse_notify(&mut t, rest);
        } else if let Some(clock) = line.strip_prefix(b"ClockID: ") {
            t.clock = match clock {
                [b'-', digits @ ..] => -procfs::parse(digits).unwrap_or(0),
                digits => procfs::parse(digits).unwrap_or(0),
            };
            timer_state(&mut t);
            out.put(record::TIMER, &[bytes_of(&t)]);
        }
    }
}

/// `signal/pid.1234`, `none/tid.1234`
fn parse_notify(t: &mut Timer, text: &[u8]) {
    let how = text.split(|&b| b == b'/').next().unwrap_or(b"");
    t.notify = match how {
        b"none" => libc::SIGEV_NONE,
        b"thread" => libc::SIGEV_THREAD,
        _ => libc::SIGEV_SIGNAL,
    };
    if let Some(at) = text.windows(4).position(|w| w == b"tid.") {
        t.notify |= libc::SIGEV_THREAD_ID;
        t.tid = procfs::parse(&text[at + 4..]).unwrap_or(0);
    }
}

fn timer_state(t: &mut Timer) {
    let mut spec = [0u64; 4];
    // SAFETY: spec has the layout of struct itimerspec.
    unsafe {
        let _ = syscall2(libc::SYS_timer_gettime, t.id as usize, spec.as_mut_ptr() as usize);
        t.overrun = syscall1(libc::SYS_timer_getoverrun, t.id as usize).unwrap_or(0) as i32;
    }
    t.spec = [spec[0] * 1_000_000_000 + spec[1], spec[2] * 1_000_000_000 + spec[3]];
}

fn hex(text: &[u8]) -> u64 {
    text.iter().fold(0, |n, &c| n << 4 | (c as char).to_digit(16).unwrap_or(0) as u64)
}
