//! Bytes in a terminal, both ways. They cannot be peeked: they are read and put back under settings that change
//! nothing of them.

use super::pty::PtyState;
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

    /// Bytes pass unchanged and unseen. `lines`: a newline still ends a line, as canonical mode wants it.
    fn transparent(&self, lines: bool) -> Termios {
        let lflag = if lines { libc::ICANON } else { 0 };
        let mut cc = [0; 19];
        cc[libc::VMIN] = if lines { 0 } else { 1 };
        Termios {
            iflag: 0,
            oflag: 0,
            lflag,
            cc,
            ..self.clone()
        }
    }

    fn by_lines(&self) -> bool {
        self.lflag & libc::ICANON != 0
    }
}

type Opener<'a> = &'a dyn Fn() -> io::Result<OwnedFd>;

/// `(to slave, to master)`; both are where they were afterwards.
pub fn save(master: RawFd, state: &PtyState, open_slave: Opener) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let printed = sys::poll(master, libc::POLLIN, 0)? & libc::POLLIN != 0;
    // Without an open slave there is nobody whose input could wait.
    let slave = if state.locked || (state.hung_up && !printed) {
        None
    } else {
        open_slave().ok()
    };
    let Some(slave) = slave else {
        return Ok((Vec::new(), Vec::new()));
    };
    let slave = slave.as_raw_fd();
    if state.packet {
        sys::ioctl_set(master, libc::TIOCPKT, &0i32)?;
    }
    let saved = exchange(master, slave, state);
    // Settings go back whatever happened in between.
    let settings = state.termios.write(slave);
    if state.packet {
        sys::ioctl_set(master, libc::TIOCPKT, &1i32)?;
    }
    let saved = saved?;
    settings?;
    Ok(saved)
}

fn exchange(master: RawFd, slave: RawFd, state: &PtyState) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let to_master = read_ready(master)?;
    state.termios.transparent(false).write(slave)?;
    let typed = read_ready(slave);
    let to_slave = typed.unwrap_or_default();
    refill(master, slave, &state.termios, &to_slave, &to_master)?;
    Ok((to_slave, to_master))
}

/// Output first, while nothing can be echoed into it.
fn refill(master: RawFd, slave: RawFd, termios: &Termios, to_slave: &[u8], to_master: &[u8]) -> io::Result<()> {
    termios.transparent(termios.by_lines()).write(slave)?;
    write_ready(slave, to_master)?;
    write_ready(master, to_slave)?;
    // poll lets the kernel's line discipline finish what was written.
    sys::poll(slave, libc::POLLIN, 0)?;
    sys::poll(master, libc::POLLIN, 0)?;
    if !to_slave.is_empty() {
        arrived(slave, termios, to_slave)?;
    }
    Ok(())
}

/// Waits until all typed bytes passed the line discipline: after that the real settings apply again.
fn arrived(slave: RawFd, termios: &Termios, typed: &[u8]) -> io::Result<()> {
    let countable = match termios.by_lines() {
        true => typed.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1),
        false => typed.len(),
    };
    for _ in 0..1000 {
        if sys::readable_bytes(slave)? >= countable {
            return Ok(());
        }
        sys::poll(slave, 0, 1)?;
    }
    Err(io::Error::other("the terminal's input did not come back"))
}

pub fn refill_new(master: RawFd, slave: RawFd, state: &PtyState) -> io::Result<()> {
    refill(master, slave, &state.termios, &state.to_slave, &state.to_master)
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

fn write_ready(fd: RawFd, mut data: &[u8]) -> io::Result<()> {
    let mut stalled = 0;
    while !data.is_empty() {
        if sys::poll(fd, libc::POLLOUT, 10)? & libc::POLLOUT == 0 {
            stalled += 1;
            if stalled > 100 {
                return Err(io::Error::other(format!(
                    "{} bytes do not fit back into the terminal",
                    data.len()
                )));
            }
            continue;
        }
        // Small pieces: a blocking end must not wait for room for all.
        let piece = data.len().min(256);
        match sys::write(fd, &data[..piece]) {
            Ok(n) => data = &data[n..],
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => stalled += 1,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
