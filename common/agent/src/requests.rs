//! Checkpoints that the program itself asks for (`ckpt_checkpoint`): requests on their way to the coordinator, answers on
//! their way back. An answer is delivered as a checkpoint is begun: by the signal, to the thread that waits.

use crate::link::{Link, Packet};
use crate::procfs;
use ckpt_sys::flat::{msg, Msg};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// A thread of the program that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Waiter {
    pid: i32,
    tid: i32,
}

struct Answer {
    to: Waiter,
    failure: Option<String>,
    signalled: Option<Instant>,
}

#[derive(Default)]
struct Inner {
    new: Vec<Waiter>,
    /// One batch for each request that the coordinator has not answered.
    asked: VecDeque<Vec<Waiter>>,
    answers: Vec<Answer>,
    told: Vec<Told>,
}

/// A process whose callbacks have been told of an event. In microseconds, `at_us` since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    pub pid: i32,
    /// include/ckpt/ckpt.h
    pub event: u32,
    pub at_us: u64,
    pub us: u32,
}

pub const TOLD_RESTART: u32 = 4;
pub const TOLD_EXIT: u32 = 7;

#[derive(Default)]
pub struct Requests(Mutex<Inner>);

/// A signal may be swallowed by an exec or a checkpoint that begins: it is sent again after this.
const AGAIN: Duration = Duration::from_millis(100);
/// A process that connects says at once what it wants.
const GREETING: Duration = Duration::from_secs(2);
/// What a message of the library's has room for.
const MAX_TEXT: usize = 1000;

impl Requests {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// False: it wants an answer.
    pub fn note(&self, pid: i32, packet: &Packet) -> bool {
        let (mut inner, m) = (self.inner(), &packet.msg);
        match m.kind {
            msg::REQUEST => inner.new.push(Waiter { pid, tid: m.tid }),
            msg::TOLD => {
                let us = u32::try_from(m.arg2).unwrap_or(u32::MAX);
                inner.told.push(Told { pid, event: m.count, at_us: m.arg / 1_000, us });
                if !packet.body.is_empty() {
                    let name = procfs::stat(pid).map(|stat| stat.name).unwrap_or_default();
                    eprintln!("ckpt: process {pid} ({name}): {}; the program runs on", String::from_utf8_lossy(&packet.body));
                }
            }
            _ => return false,
        }
        true
    }

    /// What callbacks took, since this was asked last.
    pub fn take_told(&self) -> Vec<Told> {
        std::mem::take(&mut self.inner().told)
    }

    /// A process that came by itself: with a request or a word, or for its answer.
    pub fn greet(&self, link: &Link, pid: i32) {
        let Ok(hello) = link.recv_within(GREETING) else { return };
        if self.note(pid, &hello) {
            return;
        }
        let mut inner = self.inner();
        let Some(at) = inner.answers.iter().position(|answer| answer.to.pid == pid) else {
            let _ = link.send(msg::CANCEL);
            return;
        };
        let answer = inner.answers.swap_remove(at);
        let text = ckpt_wire::clip(answer.failure.as_deref().unwrap_or_default(), MAX_TEXT);
        let m = Msg { kind: msg::ANSWER, tid: answer.to.tid, arg: answer.failure.is_none() as u64, ..Msg::default() };
        let _ = link.send_with(m, text.as_bytes(), &[]);
    }

    /// True: the coordinator is to be asked, once.
    pub fn take_new(&self) -> bool {
        let mut inner = self.inner();
        let new = std::mem::take(&mut inner.new);
        if new.is_empty() {
            return false;
        }
        inner.asked.push_back(new);
        true
    }

    /// The coordinator answered the oldest request.
    pub fn answered(&self, failure: Option<&str>) {
        let mut inner = self.inner();
        let waiters = inner.asked.pop_front().unwrap_or_default();
        let to_answer = |to| Answer { to, failure: failure.map(str::to_owned), signalled: None };
        inner.answers.extend(waiters.into_iter().map(to_answer));
    }

    /// The coordinator is gone, and with it what it was asked for.
    pub fn lost(&self) {
        while !self.inner().asked.is_empty() {
            self.answered(Some("the coordinator went away; ask again"));
        }
    }

    /// Sends the signal to those who have an answer. How long until this is to be called again.
    pub fn deliver(&self, signal: i32) -> Option<Duration> {
        let mut inner = self.inner();
        inner.answers.retain_mut(|answer| {
            if answer.signalled.is_some_and(|at| at.elapsed() < AGAIN) {
                return true;
            }
            answer.signalled = Some(Instant::now());
            // SAFETY: numbers only.
            unsafe { libc::syscall(libc::SYS_tgkill, answer.to.pid, answer.to.tid, signal) == 0 }
        });
        (!inner.answers.is_empty()).then_some(AGAIN)
    }
}
