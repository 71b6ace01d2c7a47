//! The terminal that the computation was started on. It is not ours, but an editor that put it into raw mode finds the
//! next one in raw mode too, a job that was in the foreground is there again, and all there hear of a new window.

use super::ptydata::Termios;
use crate::capture::Capturing;
use serde::{Deserialize, Serialize};
use std::os::fd::RawFd;

#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct OuterTerminal {
    pub termios: Termios,
    /// The group in the foreground: one of the computation's, or the one it was started in.
    pub foreground: i32,
}

/// None: there is no terminal, or the computation was in the background, when its settings were somebody else's.
pub fn capture(cx: &Capturing) -> Option<OuterTerminal> {
    let fd = terminal(&cx.ctx.std)?;
    // SAFETY: only ask.
    let (foreground, own) = unsafe { (libc::tcgetpgrp(fd), libc::getpgrp()) };
    // SAFETY: only asks.
    let group_of = |pid: i32| unsafe { libc::getpgid(pid) };
    let theirs = || cx.set.processes.iter().any(|p| p.0 > 0 && group_of(p.0) == foreground);
    if foreground <= 0 || foreground != own && !theirs() {
        return None;
    }
    Some(OuterTerminal { termios: Termios::read(fd).ok()?, foreground })
}

fn terminal(std: &[Option<RawFd>; 3]) -> Option<RawFd> {
    // SAFETY: only asks.
    std.iter().copied().flatten().find(|fd| unsafe { libc::isatty(*fd) } == 1)
}

/// Only where we are in the foreground: a shell's own settings are left alone.
pub fn restore(state: &OuterTerminal, std: &[Option<RawFd>; 3]) {
    let Some(fd) = terminal(std) else { return };
    // SAFETY: only asks.
    if unsafe { libc::tcgetpgrp(fd) == libc::getpgrp() } {
        // A refusal leaves the terminal as the user has it.
        let _ = state.termios.write(fd);
    }
}

/// When its processes exist: `group` is the foreground group now, if it is one of the computation's.
pub fn give_foreground(std: &[Option<RawFd>; 3], group: i32) {
    let Some(fd) = terminal(std) else { return };
    // SAFETY: our own session's terminal; refused where it is not.
    unsafe {
        if libc::tcgetpgrp(fd) == libc::getpgrp() {
            libc::tcsetpgrp(fd, group);
        }
    }
}
