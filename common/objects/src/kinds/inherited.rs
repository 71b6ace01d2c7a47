//! What belongs to whoever started us: the terminal, pipes to and from other programs.

use crate::rebuild::Rebuilding;
use crate::sys;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum Inherited {
    /// The same open file as the agent's descriptor 0, 1 or 2.
    Std(u8),
    /// Another description of a terminal outside the computation; the number of a standard stream that has it.
    Terminal { like: Option<u8> },
    /// An end of a pipe whose other end is outside; the number 0..2 it had in the computation, if any.
    OuterPipe { like: Option<u8> },
    /// The peer of a socket at 0, 1 or 2 is outside.
    OuterSocket { like: u8 },
    /// A terminal whose master was closed: it reads as ended and takes nothing.
    HungUp,
}

pub fn rebuild(state: &Inherited, flags: i32, name: &str, rb: &mut Rebuilding) -> io::Result<OwnedFd> {
    match state {
        Inherited::Std(i) => std_stream(*i, flags, name, rb),
        Inherited::Terminal { like } => terminal(*like, flags, name, rb),
        Inherited::OuterPipe { like: Some(i) } | Inherited::OuterSocket { like: i } => std_stream(*i, flags, name, rb),
        Inherited::OuterPipe { like: None } => broken_pipe(flags, name, rb),
        Inherited::HungUp => super::pty::hung_up(flags),
    }
}

fn std_stream(index: u8, flags: i32, name: &str, rb: &mut Rebuilding) -> io::Result<OwnedFd> {
    let Some(fd) = rb.ctx.std[index as usize] else {
        rb.risk(format!(
            "{name}: ckpt_restart has no descriptor {index}; the program gets /dev/null"
        ));
        return sys::open(Path::new("/dev/null"), libc::O_RDWR, 0);
    };
    let wanted = flags & (libc::O_NONBLOCK | libc::O_APPEND);
    let have = sys::fcntl(fd, libc::F_GETFL, 0)?;
    if wanted & !have != 0 {
        sys::fcntl(fd, libc::F_SETFL, have | wanted)?;
    }
    sys::dup(fd)
}

fn terminal(like: Option<u8>, flags: i32, name: &str, rb: &mut Rebuilding) -> io::Result<OwnedFd> {
    let open = super::file::open_flags(flags);
    let preferred = like.and_then(|i| rb.ctx.std[i as usize]);
    let terminals = preferred.into_iter().chain(rb.ctx.std.iter().copied().flatten());
    for fd in terminals {
        // SAFETY: no memory involved.
        if unsafe { libc::isatty(fd) } == 1 {
            return sys::reopen(fd, open);
        }
    }
    sys::open(Path::new("/dev/tty"), open, 0).or_else(|_| {
        rb.risk(format!("{name}: no terminal here; the program gets /dev/null"));
        sys::open(Path::new("/dev/null"), flags & libc::O_ACCMODE, 0)
    })
}

/// Nobody is at the other end any more: EOF for a reader, EPIPE for a writer.
fn broken_pipe(flags: i32, name: &str, rb: &mut Rebuilding) -> io::Result<OwnedFd> {
    rb.risk(format!(
        "{name}: the program at the other end was not checkpointed; the pipe is closed"
    ));
    let (reader, writer) = sys::pipe(0)?;
    let end = if flags & libc::O_ACCMODE == libc::O_WRONLY {
        writer
    } else {
        reader
    };
    sys::fcntl(end.as_raw_fd(), libc::F_SETFL, flags & libc::O_NONBLOCK)?;
    Ok(end)
}
