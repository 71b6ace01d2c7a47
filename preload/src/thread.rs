//! The checkpoint thread: lives from the signal to the resume, talks to the agent, touches no libc.

use crate::arena::Arena;
use crate::channel::Channel;
use crate::handler::{ASKED, GONE, LEAVING, PARKED, STAY, Slot};
use crate::state::{self, IDLE, RELEASE, Seat};
use crate::{api, api_delay, asm, capture, crowded, descriptors, faults, kept, plugin, procfs, signals, times, writer};
use ckpt_sys::fault::Stage;
use ckpt_sys::flat::{Msg, PROTOCOL, SigAction, Times, bytes_of, msg, stage};
use ckpt_sys::calls::*;
use ckpt_sys::raw::*;
use core::sync::atomic::{Ordering::*, fence};

/// Starts the thread on the arena's stack. Signals are all blocked in the caller, so they are here.
pub fn spawn(arena: *mut Arena) -> Result<()> {
    let flags = libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_SIGHAND | libc::CLONE_THREAD | libc::CLONE_SYSVSEM;
    let (flags, entry): (_, unsafe extern "C" fn(usize) -> !) =
        if descriptors::may_begin_bare() { (flags | libc::CLONE_FILES, main_bare) } else { (flags, main) };
    // SAFETY: the stack is the arena's and unused; the entry never returns.
    let start = || check(unsafe { asm::clone_thread(flags as usize, (*arena).stack_top(), entry, arena as usize) }).map(drop);
    match start() {
        Err(Errno(libc::EAGAIN)) => with_room(start),
        done => done,
    }
}

/// Under a low RLIMIT_NPROC: for the moment of the clone only, for the program could see it.
fn with_room(start: impl Fn() -> Result<()>) -> Result<()> {
    let mut was = [0u64; 2];
    let set = |new: usize, old: usize| {
        // SAFETY: both are 0 or have the layout of struct rlimit64.
        unsafe { syscall4(libc::SYS_prlimit64, 0, libc::RLIMIT_NPROC as usize, new, old) }
    };
    set(0, was.as_mut_ptr() as usize)?;
    let most = [was[1]; 2];
    if was[0] >= most[0] {
        return Err(Errno(libc::EAGAIN));
    }
    set(most.as_ptr() as usize, 0)?;
    let done = start();
    let _ = set(was.as_ptr() as usize, 0);
    done
}

const ARCH_SET_CPUID: usize = 0x1012;

unsafe extern "C" fn main_bare(arena: usize) -> ! {
    descriptors::leave_table();
    // SAFETY: by the contract of `main`.
    unsafe { main(arena) }
}

unsafe extern "C" fn main(arena: usize) -> ! {
    // SAFETY: spawn passes the arena; it is unmapped only below.
    let a = unsafe { &*(arena as *const Arena) };
    if let Some(st) = state::seat(getpid()) {
        // SAFETY: the word lies in the state page, which stays; the kernel clears it when this thread has ended.
        let _ = unsafe { syscall1(libc::SYS_set_tid_address, st.helper.as_ptr() as usize) };
    }
    // Inherited from a thread of the program; a checksum asks what the processor can do.
    // SAFETY: a number only.
    let _ = unsafe { syscall2(libc::SYS_arch_prctl, ARCH_SET_CPUID, 1) };
    crate::identity::be_effective();
    descriptors::make_room();
    let handed_over = converse(a);
    // Should all have ended before they could park, this thread ends the process, as they would have.
    let code = if parked(a).next().is_none() { procfs::exit_code(getpid()) } else { 0 };
    if handed_over {
        exit_thread(code)
    }
    // SAFETY: nobody else uses the arena: every thread has left the handler.
    unsafe { asm::unmap_exit(arena, a.len, code) }
}

/// The same by a thread of the program in its handler: its descriptors are the program's, and no copy of the process can be
/// made. On the arena's stack, for its own may be small.
pub fn run_in_place(a: &Arena) {
    let mut noted = 0;
    // SAFETY: nobody uses the stack; `in_place` gets the arena, which outlives the call.
    unsafe { asm::call_on(a.stack_top(), core::ptr::from_ref(a) as usize, in_place as *const () as usize, &raw mut noted) }
}

unsafe extern "C" fn in_place(arena: usize) {
    // SAFETY: `run_in_place` passes the arena.
    converse(unsafe { &*(arena as *const Arena) });
}

/// From the first word to the agent until all threads are out of the handler. True: see `session`.
fn converse(a: &Arena) -> bool {
    let Some(st) = state::seat(getpid()) else { return false };
    let mut handed_over = false;
    if let Ok(channel) = Channel::connect(state::agent_name()) {
        let told_us;
        (handed_over, told_us) = session(a, st, &channel);
        forget_copies(a, handed_over, channel.fd());
        release(a, st);
        channel.send(Msg { kind: msg::RESUME, arg: told_us.into(), ..Msg::default() });
        if a.is_in_place() {
            close(channel.fd());
        }
    } else {
        unasked(a, st);
        forget_copies(a, false, -1);
        release(a, st);
    }
    st.arena.store(0, Release);
    st.phase.store(IDLE, Release);
    handed_over
}

/// What the program closes from now on is to be closed: a lock that a descriptor of ours kept, a port, the end of a pipe would
/// live on until this thread has ended, which is after the program went on.
fn forget_copies(a: &Arena, handed_over: bool, channel: Fd) {
    if !a.is_in_place() && !handed_over {
        let _ = writer::keep_only(channel, -1);
    }
}

/// Lets the threads go and waits until the last, but for ourselves, is out of the handler. One of them stays there until
/// we have ended.
fn release(a: &Arena, st: &Seat) {
    let ours = a.is_in_place() as u32;
    st.keeper.store(parked(a).next().map_or(0, |slot| slot.tid.load(Acquire)), Release);
    st.phase.store(RELEASE, Release);
    wake(st);
    fence(SeqCst);
    loop {
        let inside = st.inside.load(Acquire);
        if inside == ours {
            return;
        }
        let _ = futex_wait(&st.inside, inside, 100);
    }
}

pub fn wake(st: &Seat) {
    st.epoch.fetch_add(1, AcqRel);
    futex_wake_all(&st.epoch);
}

/// What is changed for the time of the pause and put back after it.
struct Borrowed {
    setxid: Option<SigAction>,
    child: Option<SigAction>,
    subreaper: bool,
    undumpable: bool,
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let Some(old) = &self.setxid {
            let _ = signals::set_action(signals::SIGSETXID, old);
        }
        if let Some(old) = &self.child {
            let _ = signals::set_action(libc::SIGCHLD, old);
        }
        if self.subreaper {
            let _ = prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        }
        if self.undumpable {
            let _ = prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
        }
    }
}

/// True: a helper has taken over our copies of descriptors, and the arena. The agent knows whether it matters to the
/// program who closes them; when it does not answer, it may.
///
/// And what callbacks took before all go on, in microseconds.
fn session(a: &Arena, st: &Seat, ch: &Channel) -> (bool, u32) {
    let mut seen = Times { suspended: times::now(), ..state::state().map(times::of).unwrap_or_default() };
    let hello = Msg { kind: msg::HELLO, pid: getpid(), arg: PROTOCOL as u64, arg2: a as *const Arena as u64, ..Msg::default() };
    ch.send(hello);
    let Some((proceed, _)) = ch.recv() else {
        unasked(a, st);
        return (false, 0);
    };
    match proceed.kind {
        msg::PROCEED => note_starter(a, ch, &proceed),
        msg::ANSWER => {
            api::answered(&proceed, ch.body());
            return (false, 0);
        }
        _ => {
            unasked(a, st);
            return (false, 0);
        }
    }
    let told = plugin::any();
    let agreed = told.then(|| plugin::call(a, st, plugin::PRE_SUSPEND));
    seen.suspend_told_us = if told { times::since(seen.suspended) } else { 0 };
    let handed_over = match agreed {
        Some(Err(())) => veto(a, ch),
        _ => stop(a, st, ch, &proceed, &mut seen),
    };
    // Every pre-suspend is followed by this, whatever became of the checkpoint.
    if !told {
        return (handed_over, 0);
    }
    let begin = times::now();
    if plugin::call(a, st, plugin::RESUME).is_err() {
        plugin::say_late(a, begin);
    }
    (handed_over, times::since(begin))
}

/// Nobody wants a checkpoint now: a second signal to a slow process came late. The thread that took it is about to park.
fn unasked(a: &Arena, st: &Seat) {
    const TRIES: u32 = 200;
    for _ in 0..TRIES {
        let seen = st.parked.load(Acquire);
        if !a.used().any(|s| s.state.load(Acquire) == ASKED) {
            break;
        }
        let _ = futex_wait(&st.parked, seen, 5);
    }
    rewind(a);
}

/// Calls that our signal has ended are to be repeated.
fn rewind(a: &Arena) {
    let mut clocks = crate::clocks::Clocks::new();
    for slot in parked(a) {
        // SAFETY: the thread is parked.
        unsafe { crate::eintr::rewind(slot, &mut clocks) };
    }
}

/// The process was not stopped, or not in time: it goes on as if nobody had asked.
fn give_up(a: &Arena, ch: &Channel, why: u32, tid: i32) -> bool {
    ch.fail(why, Errno(libc::ETIMEDOUT), tid);
    rewind(a);
    writer::hand_over(a, ch.fd())
}

fn veto(a: &Arena, ch: &Channel) -> bool {
    rewind(a);
    let _ = ch.send_with(Msg { kind: msg::FAILED, pid: getpid(), stage: stage::PLUGIN, ..Msg::default() }, a.call.reason(), &[]);
    writer::hand_over(a, ch.fd())
}

/// Stops the process and does what the agent says, until it goes on.
fn stop(a: &Arena, st: &Seat, ch: &Channel, proceed: &Msg, seen: &mut Times) -> bool {
    let mut borrowed = Borrowed { setxid: None, child: None, subreaper: false, undumpable: false };
    if let Err(tid) = api_delay::wait(proceed.arg) {
        return give_up(a, ch, stage::DELAYED, tid);
    }
    if faults::at(Stage::InQuiesce).is_err() {
        return give_up(a, ch, stage::THREADS, getpid());
    }
    if let Err(tid) = quiesce(a, st, proceed.arg, &mut borrowed) {
        let why = if api_delay::is_delaying(tid) { stage::DELAYED } else { stage::THREADS };
        return give_up(a, ch, why, tid);
    }
    if parked(a).next().is_none() {
        return false;
    }
    seen.suspend_us = times::since(seen.suspended);
    if plugin::any() {
        let begin = times::now();
        if plugin::call(a, st, plugin::PRE_CHECKPOINT).is_err() {
            return veto(a, ch);
        }
        seen.checkpoint_told_us = times::since(begin);
    }
    rewind(a);
    borrowed.child = signals::silence_stops();
    borrowed.undumpable = matches!(prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0), Ok(0 | 2))
        && prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0).is_ok();
    let quiesced = Msg { kind: msg::QUIESCED, count: parked(a).count() as u32, ..Msg::default() };
    let _ = ch.send_with(quiesced, bytes_of(seen), &[]);
    // An agent that is stopped or hangs must not hold the program for ever.
    let mut patience = (0, 0);
    while let Some((m, fds)) = ch.recv() {
        let done = match m.kind {
            msg::CAPTURE => {
                // Who was about to end has ended by now: no orphan of theirs goes to the agent instead.
                borrowed.subreaper = is_subreaper() && prctl(libc::PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0).is_ok();
                let was = capture::Was { child: borrowed.child, setxid: borrowed.setxid, subreaper: borrowed.subreaper, undumpable: borrowed.undumpable };
                faults::at(Stage::InCapture).map_err(|e| (stage::RECORDS, e)).and_then(|()| capture::run(a, st, ch, &was, fds[0]))
            }
            msg::TABLE => capture::table(a, ch, m.tid),
            msg::SHARED => writer::shared(a, ch, &m, fds[0]),
            msg::TRACK => {
                kept::track(ch);
                Ok(())
            }
            msg::ASK_STOP | msg::TAKE_STOP => {
                let told = signals::reports_stop(m.arg as i32, m.kind == msg::TAKE_STOP);
                ch.send(Msg { kind: m.kind, arg: told as u64, ..Msg::default() });
                Ok(())
            }
            msg::FREEZE => {
                if m.arg != 0 {
                    ch.limit_silence(patience.1);
                    Channel::on(fds[0]).limit_silence(patience.1);
                }
                writer::freeze(a, ch, &fds, &m)
            }
            msg::SILENCE => {
                patience = (m.arg, m.arg2);
                ch.limit_silence(patience.0);
                Ok(())
            }
            _ => return m.arg != 0 && writer::hand_over(a, ch.fd()),
        };
        fds.iter().filter(|&&fd| fd >= 0).for_each(|&fd| close(fd));
        if let Err((stage, errno)) = done {
            ch.fail(stage, errno, 0);
        }
    }
    writer::hand_over(a, ch.fd())
}

fn is_subreaper() -> bool {
    let mut on = 0i32;
    prctl(libc::PR_GET_CHILD_SUBREAPER, &raw mut on as usize, 0, 0, 0).is_ok() && on != 0
}

/// The thread that took the first signal was looked at by the agent, before it sent it.
fn note_starter(a: &Arena, ch: &Channel, proceed: &Msg) {
    if let (Some(slot), Some(in_call)) = (a.find(proceed.tid), ch.in_call()) {
        slot.last_ran.store(proceed.arg2, Relaxed);
        slot.processor.store(proceed.count, Relaxed);
        note(slot, in_call);
    }
}

fn note(slot: &Slot, in_call: [u64; 9]) {
    // SAFETY: only this thread writes the field; the parked thread reads it after `in_call_known`.
    unsafe { (&raw const slot.in_call).cast_mut().write(in_call) };
    slot.in_call_known.store(1, Release);
}

/// Slots of threads that did park.
pub fn parked(a: &Arena) -> impl Iterator<Item = &Slot> {
    a.used().filter(|s| s.state.load(Acquire) == PARKED)
}

/// Signals every thread until the list of tasks holds no new one. Err: the tid that did not answer.
fn quiesce(a: &Arena, st: &Seat, deadline_ms: u64, borrowed: &mut Borrowed) -> core::result::Result<(), i32> {
    let deadline = monotonic_ns() + deadline_ms * 1_000_000;
    crowded::look();
    loop {
        let asked = signal_new(a).map_err(|_| 0)?;
        wait_parked(a, st, deadline, borrowed)?;
        if asked == 0 {
            return Ok(());
        }
    }
}

fn signal_new(a: &Arena) -> Result<usize> {
    let (pid, own) = (getpid(), gettid());
    let mut asked = 0;
    procfs::each_task(|tid| {
        if tid == own || a.find(tid).is_some() || (tid == pid && procfs::is_dead(tid)) {
            return;
        }
        let Some(slot) = a.insert(tid) else { return };
        asked += look_and_ask(slot, pid, tid) as usize;
    })?;
    Ok(asked)
}

/// False: it has ended.
fn look_and_ask(slot: &Slot, pid: i32, tid: i32) -> bool {
    let in_call = procfs::in_call(tid);
    if crowded::is(tid, in_call.as_ref(), &slot.looks) {
        slot.state.store(LEAVING, Release);
        return true;
    }
    if let Some(in_call) = in_call {
        if crate::eintr::has_timeout(in_call[0] as i64) {
            slot.last_ran.store(procfs::last_ran(tid).unwrap_or(0), Relaxed);
            slot.processor.store(procfs::processor(tid).unwrap_or(u32::MAX), Relaxed);
        }
        note(slot, in_call);
    }
    slot.state.store(ASKED, Release);
    let asked = ask(slot, pid, tid).is_ok();
    if !asked {
        slot.state.store(GONE, Release);
    }
    asked
}

/// Threads that were in the vdso have gone back to it: they need a moment to leave it. Others have no room for our frame
/// in the handler that they are in.
fn ask_again(a: &Arena) {
    const MOMENT: [u64; 2] = [0, 20_000];
    let leaving = || a.used().filter(|s| s.state.load(Acquire) == LEAVING);
    if leaving().next().is_none() {
        return;
    }
    // SAFETY: MOMENT is a struct timespec.
    let _ = unsafe { syscall2(libc::SYS_nanosleep, MOMENT.as_ptr() as usize, 0) };
    for slot in leaving() {
        slot.in_call_known.store(0, Release);
        look_and_ask(slot, getpid(), slot.tid.load(Acquire));
    }
}

/// RLIMIT_SIGPENDING refuses signals of the real-time numbers, but not kill(2)'s, which any thread may take that has not
/// parked yet: one is on its way at a time, `look_after_missing` sends the next.
fn ask(slot: &Slot, pid: i32, tid: i32) -> Result<()> {
    match tgkill(pid, tid, state::ckpt_signal()) {
        Err(Errno(libc::EAGAIN)) => {
            slot.by_process.store(1, Release);
            kill(pid, state::ckpt_signal())
        }
        done => done,
    }
}

fn wait_parked(a: &Arena, st: &Seat, deadline: u64, borrowed: &mut Borrowed) -> core::result::Result<(), i32> {
    let mut idle = 0;
    let expected = a.used().filter(|s| matches!(s.state.load(Acquire), ASKED | PARKED)).count();
    st.awaited.store(expected as u32, Release);
    loop {
        let seen = st.parked.load(Acquire);
        ask_again(a);
        let Some(missing) = a.used().find(|s| matches!(s.state.load(Acquire), ASKED | LEAVING)) else { return Ok(()) };
        if monotonic_ns() > deadline {
            return Err(missing.tid.load(Acquire));
        }
        if futex_wait(&st.parked, seen, 5).is_err_and(|e| e.0 == libc::ETIMEDOUT) {
            idle += 1;
            look_after_missing(a, borrowed, idle == 4);
        }
    }
}

/// Threads that ended never answer; threads that block our signal are asked with glibc's own.
fn look_after_missing(a: &Arena, borrowed: &mut Borrowed, ask_again: bool) {
    let pid = getpid();
    for slot in a.used().filter(|s| s.state.load(Acquire) == ASKED) {
        let tid = slot.tid.load(Acquire);
        if tgkill(pid, tid, 0).is_err() || (tid == pid && procfs::is_dead(tid)) {
            let _ = slot.state.compare_exchange(ASKED, GONE, AcqRel, Acquire);
        } else if slot.by_process.load(Acquire) != 0 {
            let _ = kill(pid, state::ckpt_signal());
        } else if ask_again && !api_delay::is_delaying(tid) && procfs::blocks(tid, state::ckpt_signal()) {
            if borrowed.setxid.is_none() {
                borrowed.setxid = signals::borrow_setxid().ok().flatten();
            }
            if signals::has_setxid() {
                slot.by_setxid.store(1, Release);
                let _ = signals::ask_by_setxid(pid, tid);
            }
        }
    }
}

/// Has the chosen threads carry out `command`; returns when all have.
pub fn command(a: &Arena, st: &Seat, command: u32, which: impl Fn(&Slot) -> bool) {
    let own = gettid();
    for slot in parked(a).filter(|s| which(s) && s.tid.load(Acquire) != own) {
        slot.command.store(command, Release);
    }
    wake(st);
    a.find(own).into_iter().filter(|s| which(s)).for_each(|s| crate::handler::obey(a, s, command));
    loop {
        let seen = st.parked.load(Acquire);
        if parked(a).all(|s| s.command.load(Acquire) == STAY) {
            return;
        }
        let _ = futex_wait(&st.parked, seen, 100);
    }
}
