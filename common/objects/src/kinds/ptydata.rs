//! Bytes in a terminal, both ways. They cannot be peeked: they are read and put back under settings that change
//! nothing of them.

use super::pty::PtyState;
use crate::bytes::Bytes;
use crate::sys;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// The kernel's struct termios2.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Termios {
    pub iflag: u32,
    pub oflag: u32,
    pub cflag: u32,
    pub lflag: u32,
    pub line: u8,
    pub cc: [u8; 19],
    pub ispeed: u32,
    pub ospeed: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Raw {
    flags: [u32; 4],
    line: u8,
    cc: [u8; 19],
    speed: [u32; 2],
}

const TCGETS2: u64 = 0x802c_542a;
const TCSETS2: u64 = 0x402c_542b;

impl Termios {
    /// Through a master: the settings of its slave.
    pub fn read(fd: RawFd) -> io::Result<Termios> {
        let raw: Raw = sys::ioctl_get(fd, TCGETS2)?;
        let [iflag, oflag, cflag, lflag] = raw.flags;
        let [ispeed, ospeed] = raw.speed;
        Ok(Termios {
            iflag,
            oflag,
            cflag,
            lflag,
            line: raw.line,
            cc: raw.cc,
            ispeed,
            ospeed,
        })
    }

    pub fn write(&self, fd: RawFd) -> io::Result<()> {
        let flags = [self.iflag, self.oflag, self.cflag, self.lflag];
        let raw = Raw {
            flags,
            line: self.line,
            cc: self.cc,
            speed: [self.ispeed, self.ospeed],
        };
        sys::ioctl_set(fd, TCSETS2, &raw)
    }

    /// Bytes pass unchanged and unseen. `lines`: newlines, the program's own line ends and `end_of_file` still end a
    /// line, as canonical mode wants it.
    fn transparent(&self, lines: Option<u8>) -> Termios {
        let mut cc = [0; 19];
        cc[libc::VMIN] = u8::from(lines.is_none());
        let mut lflag = 0;
        if let Some(end_of_file) = lines {
            lflag = libc::ICANON | self.lflag & libc::IEXTEN;
            cc[libc::VEOF] = end_of_file;
            cc[libc::VEOL] = self.cc[libc::VEOL];
            cc[libc::VEOL2] = self.cc[libc::VEOL2];
        }
        Termios {
            iflag: 0,
            oflag: 0,
            lflag,
            cc,
            ..self.clone()
        }
    }

    /// Nothing is echoed or acted on, and what becomes a line would have become one: what is longer gets lost.
    fn unseen(&self) -> Termios {
        let mut quiet = self.transparent(self.by_lines().then_some(0));
        if self.by_lines() {
            quiet.cc[libc::VEOL2] = self.cc[libc::VEOF];
            if self.iflag & libc::ICRNL != 0 {
                quiet.cc[libc::VEOL] = b'\r';
            }
        }
        quiet
    }

    fn by_lines(&self) -> bool {
        self.lflag & (libc::ICANON | libc::EXTPROC) == libc::ICANON
    }
}

/// The kernel's struct termios.
const FIXED: usize = 36;
const TIOCGLCKTRMIOS: u64 = 0x5456;
const TIOCSLCKTRMIOS: u64 = 0x5457;

/// Which settings nobody may change; empty: all may be.
pub fn fixed(master: RawFd) -> Bytes {
    let mask = sys::ioctl_get::<[u8; FIXED]>(master, TIOCGLCKTRMIOS).unwrap_or([0; FIXED]);
    Bytes(if mask == [0; FIXED] { Vec::new() } else { mask.to_vec() })
}

/// As `fixed` told. Who may not (it takes CAP_SYS_ADMIN) leaves them free.
pub fn fix(master: RawFd, mask: &[u8]) {
    if let Ok(mask) = <[u8; FIXED]>::try_from(mask) {
        let _ = sys::ioctl_set(master, TIOCSLCKTRMIOS, &mask);
    }
}

/// What one read would have got of what was typed.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Typed {
    pub data: Bytes,
    /// Ended by ^D, which is not among the data; without data it is the end of the file.
    pub end_of_file: bool,
}

/// What a terminal held; all of it is there again.
#[derive(Default)]
pub struct Found {
    pub to_slave: Vec<Typed>,
    pub untold: Vec<u8>,
    pub to_master: Vec<u8>,
    pub stopped: bool,
}

/// What the line discipline takes. The rest waits in front of it, as it was written.
const TAKEN: usize = 4095;
/// What can wait there. The kernel counts half of the memory; at 8192 it still adds a piece of the longest kind.
const WAITING: usize = 2 * 8192 + LONG;
const LONG: usize = 2 * LONGEST;
const LONGEST: usize = 1792;

type Opener<'a> = &'a dyn Fn() -> io::Result<OwnedFd>;

pub fn save(master: RawFd, state: &PtyState, is_open: bool, open_slave: Opener) -> io::Result<Found> {
    let printed = sys::poll(master, libc::POLLIN, 0)? & libc::POLLIN != 0;
    // Without an open slave there is nobody whose input could wait. One that we open and close hangs up.
    let slave = if state.locked || ((state.hung_up || !is_open) && !printed) {
        None
    } else {
        open_slave().ok()
    };
    let Some(slave) = slave else {
        return Ok(Found::default());
    };
    let slave = slave.as_raw_fd();
    if state.packet {
        sys::ioctl_set(master, libc::TIOCPKT, &0i32)?;
    }
    if !state.fixed.is_empty() {
        fix(master, &[0; FIXED]);
    }
    let saved = unblocked(master, || exchange(master, slave, &state.termios));
    fix(master, &state.fixed);
    if state.packet {
        sys::ioctl_set(master, libc::TIOCPKT, &1i32)?;
    }
    let saved = saved?;
    if saved.untold.len() > WAITING || saved.to_master.len() > TAKEN + WAITING {
        return Err(io::Error::other("it holds more than a new terminal takes; try again when some of it was read"));
    }
    Ok(saved)
}

/// Both ends are full at times, and what is put back must not wait for room.
fn unblocked<T>(master: RawFd, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let flags = sys::fcntl(master, libc::F_GETFL, 0)?;
    sys::fcntl(master, libc::F_SETFL, flags | libc::O_NONBLOCK)?;
    let done = work();
    sys::fcntl(master, libc::F_SETFL, flags)?;
    done
}

fn exchange(master: RawFd, slave: RawFd, termios: &Termios) -> io::Result<Found> {
    let mut found = Found { to_master: read_ready(master)?, ..Found::default() };
    // With nothing on its way to the master, only a stop keeps it from being printed on.
    found.stopped = sys::poll(slave, libc::POLLOUT, 0)? & libc::POLLOUT == 0;
    let taken = take(master, slave, termios, &mut found);
    // What was taken goes back, and so do the settings, whatever happened in between.
    let back = put_back(master, slave, termios, &found);
    taken.and(back).map(|()| found)
}

fn take(master: RawFd, slave: RawFd, termios: &Termios, found: &mut Found) -> io::Result<()> {
    if found.stopped {
        flow(slave, libc::TCOON)?;
    }
    termios.unseen().write(slave)?;
    found.to_master.extend(read_ready(master)?);
    read_typed(slave, termios, found)
}

fn put_back(master: RawFd, slave: RawFd, termios: &Termios, found: &Found) -> io::Result<()> {
    let filled = refill(master, slave, termios, &found.to_slave, &found.to_master);
    let settings = termios.write(slave);
    // Now the line discipline may see it, if it has room.
    let waits = write_waiting(master, &found.untold);
    if found.stopped {
        flow(slave, libc::TCOOFF)?;
    }
    filled.and(settings).and(waits)
}

fn flow(slave: RawFd, action: i32) -> io::Result<()> {
    sys::ioctl_value(slave, libc::TCXONC, i64::from(action)).map(drop)
}

/// Whole lines one by one, as only canonical mode tells where ^D was; then the beginning of the last line. What had
/// waited in front of the line discipline is read behind that.
fn read_typed(slave: RawFd, termios: &Termios, found: &mut Found) -> io::Result<()> {
    // Without the beginning of a line.
    let mut seen = sys::readable_bytes(slave)?;
    let mut rest = Vec::new();
    if termios.by_lines() {
        let mut line = [0; 8192];
        let mut room = TAKEN;
        // A terminal holds 4096 bytes: no more lines than that.
        while found.to_slave.len() < 4096 && sys::poll(slave, libc::POLLIN, 0)? & libc::POLLIN != 0 {
            let n = match sys::read(slave, &mut line) {
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            };
            let data = &line[..n];
            if n > seen {
                // It was completed just now.
                rest.extend(data);
                room = room.min(n - 1);
                break;
            }
            seen -= n;
            let ends = |c: &u8| *c == b'\n' || *c != 0 && (*c == termios.cc[libc::VEOL] || *c == termios.cc[libc::VEOL2]);
            let end_of_file = !data.last().is_some_and(ends);
            room = room.saturating_sub(n + usize::from(end_of_file));
            found.to_slave.push(Typed { data: data.into(), end_of_file });
        }
        seen = room;
    }
    termios.transparent(None).write(slave)?;
    rest.extend(read_ready(slave)?);
    found.untold = rest.split_off(seen.min(rest.len()));
    if !rest.is_empty() {
        found.to_slave.push(Typed { data: Bytes(rest), end_of_file: false });
    }
    Ok(())
}

/// Before the real settings apply again all that was typed has passed the line discipline: else it would be echoed.
fn refill(master: RawFd, slave: RawFd, termios: &Termios, typed: &[Typed], to_master: &[u8]) -> io::Result<()> {
    let used = |c: &u8| typed.iter().any(|t| t.data.contains(c)) || [termios.cc[libc::VEOL], termios.cc[libc::VEOL2]].contains(c);
    // Any byte that does not occur stands for ^D.
    let end_of_file = (1..=255).find(|c| *c != b'\n' && !used(c)).unwrap_or(0);
    let quiet = termios.transparent(termios.by_lines().then_some(end_of_file));
    quiet.write(slave)?;
    let mut countable = 0;
    for (i, piece) in typed.iter().enumerate() {
        let whole = !termios.by_lines() || piece.end_of_file || i + 1 < typed.len() || piece.data.ends_with(b"\n");
        if !whole && i > 0 {
            arrived(slave, countable)?;
            type_seen(master, slave, &quiet, &piece.data)?;
            continue;
        }
        write_all(master, &piece.data)?;
        if piece.end_of_file {
            write_all(master, &[end_of_file])?;
        }
        countable += if whole { piece.data.len() } else { 0 };
    }
    // With nothing to be read, poll lets the kernel's line discipline finish what was written.
    sys::poll(slave, libc::POLLIN, 0)?;
    if !typed.is_empty() {
        arrived(slave, countable)?;
    }
    let (taken, waiting) = to_master.split_at(to_master.len().min(TAKEN));
    write_all(slave, taken)?;
    if !waiting.is_empty() {
        arrived(master, taken.len())?;
        write_waiting(slave, waiting)?;
    }
    sys::poll(master, libc::POLLIN, 0).map(drop)
}

/// The beginning of a line behind whole ones: neither poll nor FIONREAD tells when it has arrived, but its echo does.
/// Nothing else may be on its way to the master.
fn type_seen(master: RawFd, slave: RawFd, quiet: &Termios, data: &[u8]) -> io::Result<()> {
    Termios { lflag: quiet.lflag | libc::ECHO, ..quiet.clone() }.write(slave)?;
    for piece in data.chunks(256) {
        write_all(master, piece)?;
        let mut seen = 0;
        while seen < piece.len() {
            if sys::poll(master, libc::POLLIN, 1000)? & libc::POLLIN == 0 {
                return Err(io::Error::other("the terminal's input did not come back"));
            }
            seen += sys::read(master, &mut [0; 256])?;
        }
    }
    quiet.write(slave)
}

/// Waits until all typed bytes passed the line discipline: after that the real settings apply again.
fn arrived(slave: RawFd, countable: usize) -> io::Result<()> {
    for _ in 0..1000 {
        if sys::readable_bytes(slave)? >= countable {
            return Ok(());
        }
        sys::poll(slave, 0, 1)?;
    }
    Err(io::Error::other("the terminal's input did not come back"))
}

pub fn refill_new(master: RawFd, slave: RawFd, state: &PtyState) -> io::Result<()> {
    let found = Found {
        to_slave: state.to_slave.clone(),
        untold: state.untold.to_vec(),
        to_master: state.to_master.to_vec(),
        stopped: state.stopped,
    };
    unblocked(master, || put_back(master, slave, &state.termios, &found))
}

/// Everything that can be read; the kernel hands on the rest of a full buffer a moment after a read.
fn read_ready(fd: RawFd) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    let mut chunk = [0; 8192];
    let mut patience = 0;
    while sys::poll(fd, libc::POLLIN, patience)? & libc::POLLIN != 0 {
        match sys::read(fd, &mut chunk) {
            Ok(0) => break,
            Ok(n) => data.extend_from_slice(&chunk[..n]),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock || e.raw_os_error() == Some(libc::EIO) => break,
            Err(e) => return Err(e),
        }
        patience = 2;
    }
    Ok(data)
}

/// In small pieces: their memory is kept when they were read, and used again before room is asked for. In other pieces it
/// would be room for more than there was.
fn write_all(fd: RawFd, data: &[u8]) -> io::Result<()> {
    write_by(fd, data, 256)
}

/// What the line discipline has no room for.
fn write_waiting(fd: RawFd, data: &[u8]) -> io::Result<()> {
    let last = if data.len() > 2 * 8192 { LONG } else { 0 };
    let (first, last) = data.split_at(data.len() - last);
    write_all(fd, first)?;
    write_by(fd, last, LONGEST)
}

fn write_by(fd: RawFd, mut data: &[u8], piece: usize) -> io::Result<()> {
    let mut stalled = 0;
    while !data.is_empty() {
        // Small ones at last: there may be memory of such.
        let piece = data.len().min(if stalled < 20 { piece } else { 256 });
        match sys::write(fd, &data[..piece]) {
            Ok(n) => data = &data[n..],
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && stalled < 100 => {
                // Memory whose content has arrived is free a moment later.
                sys::poll(fd, 0, 10)?;
                stalled += 1;
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::Error::other(format!("{} bytes do not fit back into the terminal", data.len())));
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
