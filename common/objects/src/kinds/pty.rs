//! Pseudo terminals: one object owns both ends. The number is new after a restart; `Terminal` says which.

use super::inherited::Inherited;
use super::ptydata::{self, Termios, Typed};
use crate::bytes::Bytes;
use crate::capture::Capturing;
use crate::model::{Kind, ObjectId, ObjectSet};
use crate::probe::Probe;
use crate::rebuild::{Rebuilding, Terminal};
use crate::sys;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct PtyEnd {
    /// Index into `ObjectSet::ptys`.
    pub pty: u32,
    pub master: bool,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default)]
pub struct PtyState {
    pub number: u32,
    /// Its master is in the computation; a terminal without is somebody else's.
    pub ours: bool,
    pub termios: Termios,
    pub size: (u16, u16, u16, u16),
    pub packet: bool,
    pub exclusive: bool,
    /// The slave, which then nobody can open but root.
    pub slave_exclusive: bool,
    pub locked: bool,
    /// The last slave was closed: the master reads EIO.
    pub hung_up: bool,
    /// tcflow(TCOOFF) or ^S: nothing can be printed.
    pub stopped: bool,
    /// Settings that nobody may change (TIOCSLCKTRMIOS), struct termios; empty: there are none.
    pub fixed: Bytes,
    pub session: i32,
    pub foreground: i32,
    /// Typed, not read.
    pub to_slave: Vec<Typed>,
    /// Typed behind that: the line discipline, being full, has not seen it.
    pub untold: Bytes,
    /// Printed, not read.
    pub to_master: Bytes,
}

const TIOCGPTN: u64 = 0x8004_5430;
const TIOCSPTLCK: u64 = 0x4004_5431;
const TIOCGPTPEER: u64 = 0x5441;
const TIOCGPKT: u64 = 0x8004_5438;
const TIOCGPTLCK: u64 = 0x8004_5439;
const TIOCGEXCL: u64 = 0x8004_5440;

fn index(number: u32, cx: &mut Capturing) -> u32 {
    if let Some(known) = cx.set.ptys.iter().position(|p| p.number == number) {
        return known as u32;
    }
    cx.set.ptys.push(PtyState {
        number,
        ..PtyState::default()
    });
    cx.set.ptys.len() as u32 - 1
}

pub fn capture_master(probe: &Probe, cx: &mut Capturing) -> io::Result<PtyEnd> {
    let fd = probe.fd;
    let pty = index(sys::ioctl_get::<u32>(fd, TIOCGPTN)?, cx);
    let flag = |request| sys::ioctl_get::<i32>(fd, request).unwrap_or(0) != 0;
    let state = &mut cx.set.ptys[pty as usize];
    state.ours = true;
    state.termios = Termios::read(fd)?;
    let size: libc::winsize = sys::ioctl_get(fd, libc::TIOCGWINSZ)?;
    state.size = (size.ws_row, size.ws_col, size.ws_xpixel, size.ws_ypixel);
    state.fixed = ptydata::fixed(fd);
    state.packet = flag(TIOCGPKT);
    state.exclusive = flag(TIOCGEXCL);
    state.locked = flag(TIOCGPTLCK);
    state.hung_up = sys::poll(fd, 0, 0)? & libc::POLLHUP != 0;
    state.session = sys::ioctl_get(fd, libc::TIOCGSID).unwrap_or(0);
    state.foreground = sys::ioctl_get(fd, libc::TIOCGPGRP).unwrap_or(0);
    Ok(PtyEnd { pty, master: true })
}

pub fn capture_slave(probe: &Probe, cx: &mut Capturing) -> io::Result<Kind> {
    // EIO: its master was closed (vhangup), which no other descriptor of it survives.
    if Termios::read(probe.fd).is_err_and(|e| e.raw_os_error() == Some(libc::EIO)) {
        return Ok(Kind::Inherited(Inherited::HungUp));
    }
    let pty = index(slave_number(probe.stat.st_rdev), cx);
    cx.set.ptys[pty as usize].slave_exclusive |= sys::ioctl_get::<i32>(probe.fd, TIOCGEXCL).unwrap_or(0) != 0;
    Ok(Kind::Pty(PtyEnd { pty, master: false }))
}

/// A slave whose master is closed again.
pub fn hung_up(flags: i32) -> io::Result<OwnedFd> {
    let master = sys::open(Path::new("/dev/ptmx"), libc::O_RDWR | libc::O_NOCTTY, 0)?;
    sys::ioctl_set(master.as_raw_fd(), TIOCSPTLCK, &0i32)?;
    open_slave(master.as_raw_fd(), flags & (libc::O_ACCMODE | libc::O_NONBLOCK))
}

/// `/dev/tty`: the terminal it stands for. None for a console.
pub fn capture_controlling(probe: &Probe, cx: &mut Capturing) -> Option<PtyEnd> {
    const TIOCGDEV: u64 = 0x8004_5432;
    let device = u64::from(sys::ioctl_get::<u32>(probe.fd, TIOCGDEV).ok()?);
    let number = (136..144)
        .contains(&libc::major(device))
        .then(|| slave_number(device))?;
    Some(PtyEnd {
        pty: index(number, cx),
        master: false,
    })
}

fn slave_number(device: u64) -> u32 {
    (libc::major(device) - 136) * 256 + libc::minor(device)
}

/// A slave whose master is outside is the user's terminal.
pub fn relate(cx: &mut Capturing) {
    for id in cx.ids() {
        let Some(Kind::Pty(end)) = cx.kind(id) else { continue };
        if cx.set.ptys[end.pty as usize].ours {
            continue;
        }
        let like = cx.std_number(id);
        if let Some(kind) = cx.kind_mut(id) {
            *kind = Kind::Inherited(Inherited::Terminal { like });
        }
    }
}

pub fn drain(cx: &mut Capturing) -> Result<(), (ObjectId, io::Error)> {
    for id in cx.ids() {
        let Some(Kind::Pty(PtyEnd { pty, master: true })) = cx.kind(id) else {
            continue;
        };
        let pty = *pty as usize;
        let line = cx.set.ptys[pty].termios.line;
        if line != 0 {
            let what = format!("its line discipline is number {line}, and what that holds cannot be read; give it N_TTY again");
            return Err((id, io::Error::other(what)));
        }
        let master = cx.probe(id).fd;
        let state = &cx.set.ptys[pty];
        let is_slave = |id: ObjectId| matches!(cx.kind(id), Some(Kind::Pty(end)) if end.pty as usize == pty && !end.master);
        let is_open = cx.ids().any(is_slave);
        let found = ptydata::save(master, state, is_open, &|| open_slave(master, libc::O_RDWR | libc::O_NONBLOCK));
        let found = found.map_err(|e| (id, e))?;
        let state = &mut cx.set.ptys[pty];
        state.stopped = found.stopped;
        state.to_slave = found.to_slave;
        state.untold = Bytes(found.untold);
        state.to_master = Bytes(found.to_master);
    }
    Ok(())
}

pub fn open_slave(master: RawFd, flags: i32) -> io::Result<OwnedFd> {
    let flags = flags | libc::O_NOCTTY;
    match sys::ioctl_value(master, TIOCGPTPEER, i64::from(flags)) {
        Ok(fd) => {
            let fd = sys::own(fd)?;
            sys::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC)?;
            Ok(fd)
        }
        Err(_) => sys::open(&slave_path(master)?, flags, 0),
    }
}

fn slave_path(master: RawFd) -> io::Result<PathBuf> {
    let number: u32 = sys::ioctl_get(master, TIOCGPTN)?;
    Ok(PathBuf::from(format!("/dev/pts/{number}")))
}

pub fn rebuild(rb: &mut Rebuilding) -> Result<(), (ObjectId, io::Error)> {
    let set = rb.set;
    for index in 0..set.ptys.len() as u32 {
        let ends = set.ids().filter_map(|(id, o)| match &o.kind {
            Kind::Pty(end) if end.pty == index => Some((id, end.master)),
            _ => None,
        });
        let (masters, slaves): (Vec<_>, Vec<_>) = ends.partition(|e| e.1);
        let Some((master, _)) = masters.first().copied() else {
            continue;
        };
        let slaves: Vec<ObjectId> = slaves.into_iter().map(|s| s.0).collect();
        one(&set.ptys[index as usize], master, &slaves, rb).map_err(|e| (master, e))?;
    }
    Ok(())
}

fn one(state: &PtyState, master: ObjectId, slaves: &[ObjectId], rb: &mut Rebuilding) -> io::Result<()> {
    let set = rb.set;
    let fd = open_numbered(state.number, set)?;
    let raw = fd.as_raw_fd();
    sys::ioctl_set(raw, TIOCSPTLCK, &0i32)?;
    let new_path = slave_path(raw)?;
    for id in slaves {
        let slave = open_slave(raw, set.object(*id).flags & (libc::O_ACCMODE | libc::O_NONBLOCK))?;
        rb.put(*id, slave)?;
    }
    let data = !(state.to_master.is_empty() && state.to_slave.is_empty() && state.untold.is_empty());
    if data || state.hung_up || state.stopped {
        let helper = open_slave(raw, libc::O_RDWR | libc::O_NONBLOCK)?;
        ptydata::refill_new(raw, helper.as_raw_fd(), state)?;
    }
    if state.slave_exclusive {
        let slave = open_slave(raw, libc::O_RDWR | libc::O_NONBLOCK)?;
        sys::ioctl_value(slave.as_raw_fd(), libc::TIOCEXCL, 0)?;
    }
    finish(raw, state)?;
    rb.put(master, fd)?;
    let old_path = PathBuf::from(format!("/dev/pts/{}", state.number));
    if old_path != new_path {
        rb.risk(format!("terminal {} is {} now", old_path.display(), new_path.display()));
    }
    rb.terminals.push(Terminal {
        old_path,
        new_path,
        master: Some(master),
        slave: slaves.first().copied(),
        session: state.session,
        foreground: state.foreground,
    });
    Ok(())
}

/// The kernel gives the lowest free number: pairs are made until the old one comes, unless somebody has it. Numbers
/// that other terminals of ours want are left to them.
fn open_numbered(wanted: u32, set: &ObjectSet) -> io::Result<OwnedFd> {
    let mut aside = Vec::new();
    loop {
        let fd = match sys::open(Path::new("/dev/ptmx"), libc::O_RDWR | libc::O_NOCTTY, 0) {
            Ok(fd) => fd,
            // No more of them: any will do.
            Err(e) => return aside.pop().ok_or(e),
        };
        let number: u32 = sys::ioctl_get(fd.as_raw_fd(), TIOCGPTN)?;
        let for_others = set.ptys.iter().any(|p| p.ours && p.number == number);
        if number == wanted || number > wanted && !for_others {
            return Ok(fd);
        }
        aside.push(fd);
    }
}

fn finish(master: RawFd, state: &PtyState) -> io::Result<()> {
    state.termios.write(master)?;
    ptydata::fix(master, &state.fixed);
    let (ws_row, ws_col, ws_xpixel, ws_ypixel) = state.size;
    sys::ioctl_set(
        master,
        libc::TIOCSWINSZ,
        &libc::winsize {
            ws_row,
            ws_col,
            ws_xpixel,
            ws_ypixel,
        },
    )?;
    if state.packet {
        sys::ioctl_set(master, libc::TIOCPKT, &1i32)?;
    }
    if state.exclusive {
        sys::ioctl_value(master, libc::TIOCEXCL, 0)?;
    }
    if state.locked {
        sys::ioctl_set(master, TIOCSPTLCK, &1i32)?;
    }
    Ok(())
}
