//! epoll: the watched (descriptor, events, data) are in fdinfo; kcmp says which open file each one is.

use crate::capture::Capturing;
use crate::model::{Kind, ObjectId};
use crate::probe::Probe;
use crate::sys;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct EpollState {
    pub watched: Vec<Watched>,
    /// `struct epoll_params` (busy polling), where it is set.
    pub params: Option<[u32; 2]>,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    pub number: i32,
    pub events: u32,
    pub data: u64,
    pub object: ObjectId,
    /// Edge triggered, ready, and the program has been told.
    pub told: bool,
}

/// One `tfd:` line.
pub(crate) struct Line {
    number: i32,
    events: u32,
    data: u64,
    ino: u64,
    dev: u64,
}

pub(crate) fn parse(line: &str) -> Option<Line> {
    let mut words = line.split_whitespace();
    let mut value = |key: &str| {
        // `tfd: 3` or `pos:0`.
        loop {
            let word = words.next()?;
            if let Some(rest) = word.strip_prefix(key).and_then(|r| r.strip_prefix(':')) {
                return if rest.is_empty() { words.next() } else { Some(rest) };
            }
        }
    };
    let number = value("tfd")?.parse().ok()?;
    let hex = |text: Option<&str>| u64::from_str_radix(text?, 16).ok();
    let events = hex(value("events"))? as u32;
    let data = hex(value("data"))?;
    let ino = hex(value("ino")).unwrap_or(0);
    let dev = hex(value("sdev")).unwrap_or(0);
    Some(Line {
        number,
        events,
        data,
        ino,
        dev,
    })
}

/// Runs when all objects are known.
pub fn capture(probe: &Probe, cx: &Capturing) -> io::Result<EpollState> {
    let mut watched: Vec<Watched> = Vec::new();
    let lines: Vec<Line> = probe.fdinfo()?.lines().filter_map(parse).collect();
    for (i, line) in lines.iter().enumerate() {
        let nth = lines[..i].iter().filter(|l| l.number == line.number).count() as u32;
        if let Some(object) = find(probe.fd, line, nth, cx) {
            watched.push(Watched {
                number: line.number,
                events: line.events,
                data: line.data,
                object,
                told: false,
            });
        }
        // Else: its last descriptor is outside the computation, and only there could it be removed or reported.
    }
    if watched.len() == lines.len() && watched.iter().any(|w| is_edge(w.events)) && may_ask(&watched, cx) {
        mark_told(probe.fd, &mut watched, cx)?;
    }
    let params = sys::ioctl_get::<[u32; 2]>(probe.fd, EPIOCGPARAMS).ok().filter(|p| *p != [0; 2]);
    Ok(EpollState { watched, params })
}

const EPIOCSPARAMS: u64 = 0x4008_8a01;
const EPIOCGPARAMS: u64 = 0x8008_8a02;

/// A signalfd answers for whoever asks: the set would believe us that it is not ready.
fn may_ask(watched: &[Watched], cx: &Capturing) -> bool {
    let asks_back = |w: &Watched| matches!(cx.kind(w.object), Some(Kind::Signalfd(_) | Kind::Epoll(_)) | None);
    !watched.iter().any(asks_back)
}

/// A set that is not ready itself has nothing to tell: edges of what is ready were told.
fn mark_told(epoll: RawFd, watched: &mut [Watched], cx: &Capturing) -> io::Result<()> {
    if sys::poll(epoll, libc::POLLIN, 0)? & libc::POLLIN != 0 {
        return Ok(());
    }
    for w in watched.iter_mut().filter(|w| is_edge(w.events)) {
        w.told = sys::poll(cx.probe(w.object).fd, w.events as i16, 0)? != 0;
    }
    Ok(())
}

fn is_edge(events: u32) -> bool {
    events & libc::EPOLLET as u32 != 0 && events & libc::EPOLLONESHOT as u32 == 0
}

fn find(epoll: RawFd, line: &Line, nth: u32, cx: &Capturing) -> Option<ObjectId> {
    let at_number = cx.at_number(line.number);
    let others = cx.ids().filter(|id| same_inode(&cx.probe(*id), line));
    let candidates = at_number.into_iter().chain(others);
    for id in candidates {
        match sys::kcmp_epoll(cx.probe(id).fd, epoll, line.number as u32, nth) {
            Ok(true) => return Some(id),
            Ok(false) => {}
            // kcmp denied: the number and the inode must do.
            Err(_) if same_inode(&cx.probe(id), line) => return Some(id),
            Err(_) => {}
        }
    }
    None
}

/// fdinfo shows the kernel's own device number: major << 20 | minor.
fn same_inode(probe: &Probe, line: &Line) -> bool {
    let dev = libc::makedev((line.dev >> 20) as u32, (line.dev & 0xfffff) as u32);
    probe.stat.st_ino == line.ino && probe.stat.st_dev == dev
}

pub fn rebuild(state: &EpollState) -> io::Result<OwnedFd> {
    // SAFETY: no memory involved.
    let fd = sys::own(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
    if let Some(params) = &state.params {
        // Not before Linux 6.9, and more than a default only for a privileged process: it is about speed alone.
        let _ = sys::ioctl_set(fd.as_raw_fd(), EPIOCSPARAMS, params);
    }
    Ok(fd)
}

/// Takes the edges that the program was told of before. Nothing else may be in the set yet.
pub fn take_edges(epoll: RawFd) -> io::Result<()> {
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
    // SAFETY: room for as many events as said.
    while sys::cvt(unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), 64, 0) })? > 0 {}
    Ok(())
}

const PRIVATE: u32 = (libc::EPOLLWAKEUP | libc::EPOLLONESHOT | libc::EPOLLET | libc::EPOLLEXCLUSIVE) as u32;

/// EPOLLONESHOT that has fired and was not armed again.
pub fn is_disabled(watched: &Watched) -> bool {
    watched.events & libc::EPOLLONESHOT as u32 != 0 && watched.events & !PRIVATE == 0
}

/// `number` must be the watched file in this process: it is half of the kernel's key.
pub fn add(epoll: RawFd, watched: &Watched) -> io::Result<()> {
    let mut events = watched.events;
    if is_disabled(watched) {
        // It is disabled again by letting it fire once, see `disarm`.
        events |= (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLPRI | libc::EPOLLRDHUP) as u32;
    }
    control(epoll, libc::EPOLL_CTL_ADD, watched, events)
}

fn control(epoll: RawFd, operation: i32, watched: &Watched, events: u32) -> io::Result<()> {
    let mut event = libc::epoll_event {
        events,
        u64: watched.data,
    };
    // SAFETY: a filled struct.
    sys::cvt(unsafe { libc::epoll_ctl(epoll, operation, watched.number, &mut event) }).map(drop)
}

/// Fires a one-shot entry that was just added as the only armed one; if its file is not ready, it is left with no
/// event but errors.
pub fn disarm(epoll: RawFd, watched: &Watched) -> io::Result<()> {
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    // SAFETY: room for one event.
    let fired = sys::cvt(unsafe { libc::epoll_wait(epoll, &mut event, 1, 0) })?;
    match fired {
        0 => control(epoll, libc::EPOLL_CTL_MOD, watched, watched.events),
        _ => Ok(()),
    }
}
