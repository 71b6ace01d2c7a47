//! fcntl(2), ioctl(2), tcsetpgrp(3), read(2) of a signalfd or a file below /proc: ids that travel inside arguments.

use super::abi::{ask, hook, load, set_errno, store, Plain};
use super::process::{known_group, known_session, real};
use super::{proc_contents, siginfo};
use crate::{ids, state};
use ckpt_sys::idtable::RealPid;
use ckpt_sys::raw::{Errno, Result};
use core::ffi::{c_int, c_ulong, c_void};
use libc::{flock, pid_t};

hook! {
    unchecked fn fcntl(fd: c_int, command: c_int, argument: usize) -> c_int,
        when ids::active() || is_seen(command) => fcntl
}
hook! {
    unchecked fn fcntl64(fd: c_int, command: c_int, argument: usize) -> c_int,
        when ids::active() || is_seen(command) => fcntl
}
hook! { unchecked fn ioctl(fd: c_int, request: c_ulong, argument: usize) -> c_int => ioctl }
hook! { fn tcgetpgrp(fd: c_int) -> pid_t => tcgetpgrp }
hook! { fn tcsetpgrp(fd: c_int, group: pid_t) -> c_int => tcsetpgrp }
hook! { unchecked fn tcgetsid(fd: c_int) -> pid_t => tcgetsid }
hook! { fn read(fd: c_int, buffer: *mut c_void, size: usize) -> isize, when ids::restarted() => read }
hook! {
    unchecked fn __read_chk(fd: c_int, buffer: *mut c_void, size: usize, room: usize) -> isize,
        when ids::restarted() => read_chk
}
#[repr(C)]
#[derive(Clone, Copy)]
struct Owner {
    kind: c_int,
    pid: pid_t,
}

/// dnotify is not there, as in a kernel built without it: nothing tells what was asked for. inotify(7) is.
fn fcntl(fd: c_int, command: c_int, argument: usize) -> Plain<c_int> {
    if command == libc::F_NOTIFY {
        set_errno(Errno::INVAL);
        return Plain(-1);
    }
    Plain(with_real_owner(command, argument, |argument| fcntl::next(fd, command, argument)))
}

/// An owner may be the group that the program was launched in, which has another id after any restart.
fn is_seen(command: c_int) -> bool {
    matches!(command, libc::F_SETOWN | libc::F_GETOWN | F_SETOWN_EX | F_GETOWN_EX | libc::F_NOTIFY)
}

/// Makes the call with the kernel's ids, and puts the program's into what it brought.
pub fn with_real_owner(command: c_int, argument: usize, call: impl FnOnce(usize) -> c_int) -> c_int {
    match command {
        libc::F_SETOWN => call(real(argument as pid_t) as usize),
        libc::F_GETOWN => match call(argument) {
            -1 => -1,
            owner => known_owner(owner),
        },
        F_SETOWN_EX => {
            let Some(mut owner) = load(argument as *const Owner) else {
                return call(argument);
            };
            owner.pid = real(owner.pid);
            call(&raw const owner as usize)
        }
        F_GETOWN_EX => {
            let result = call(argument);
            if let Some(owner) = load(argument as *const Owner).filter(|_| result == 0) {
                let sign = if owner.kind == F_OWNER_PGRP { -1 } else { 1 };
                store(argument as *mut Owner, Owner { pid: known_owner(sign * owner.pid) * sign, ..owner });
            }
            result
        }
        libc::F_GETLK | libc::F_OFD_GETLK => {
            let result = call(argument);
            let lock = argument as *mut flock;
            let held = |lock: &flock| result == 0 && lock.l_type != libc::F_UNLCK as i16;
            if let Some(mut found) = load(lock.cast_const()).filter(held) {
                found.l_pid = ids::to_virtual(RealPid(found.l_pid)).0;
                store(lock, found);
            }
            result
        }
        _ => call(argument),
    }
}

/// Groups are negative.
fn known_owner(owner: pid_t) -> pid_t {
    match owner {
        ..0 => known_group(Ok(-owner as usize)).map_or(owner, |group| -group),
        _ => ids::to_virtual(RealPid(owner)).0,
    }
}

const F_OWNER_PGRP: c_int = 2;
const F_SETOWN_EX: c_int = 15;
const F_GETOWN_EX: c_int = 16;

fn ioctl(fd: c_int, request: c_ulong, argument: usize) -> Result<c_int> {
    if ids::active() {
        return translated_ioctl(fd, request, argument);
    }
    ask!(libc::SYS_ioctl, fd, request, argument).map(|value| value as c_int)
}

const FIOSETOWN: c_ulong = 0x8901;
const SIOCSPGRP: c_ulong = 0x8902;
const FIOGETOWN: c_ulong = 0x8903;
const SIOCGPGRP: c_ulong = 0x8904;

pub fn translated_ioctl(fd: c_int, request: c_ulong, argument: usize) -> Result<c_int> {
    let field = argument as *mut pid_t;
    let value = match (request, load(field.cast_const())) {
        (libc::TIOCSPGRP | FIOSETOWN | SIOCSPGRP, Some(id)) => {
            let id = real(id);
            ask!(libc::SYS_ioctl, fd, request, &raw const id)?
        }
        _ => ask!(libc::SYS_ioctl, fd, request, argument)?,
    };
    if matches!(request, libc::TIOCGPGRP | libc::TIOCGSID | FIOGETOWN | SIOCGPGRP) {
        siginfo::translate_field(field);
    }
    Ok(value as c_int)
}

fn tcgetpgrp(fd: c_int) -> Result<pid_t> {
    let mut group: pid_t = 0;
    ask!(libc::SYS_ioctl, fd, libc::TIOCGPGRP, &raw mut group)?;
    known_group(Ok(group as usize))
}

fn tcsetpgrp(fd: c_int, group: pid_t) -> Result<c_int> {
    let group = real(group);
    ask!(libc::SYS_ioctl, fd, libc::TIOCSPGRP, &raw const group).map(|_| 0)
}

fn tcgetsid(fd: c_int) -> Result<pid_t> {
    let mut session: pid_t = 0;
    ask!(libc::SYS_ioctl, fd, libc::TIOCGSID, &raw mut session)?;
    known_session(Ok(session as usize))
}

fn read(fd: c_int, buffer: *mut c_void, size: usize) -> Plain<isize> {
    let restarts = state::restarts();
    let got = read::next(fd, buffer, size);
    if ids::active() {
        signals_read(fd, buffer.cast(), got);
    }
    Plain(proc_contents::translate_read(fd, buffer.cast(), got, size, restarts))
}

fn read_chk(fd: c_int, buffer: *mut c_void, size: usize, room: usize) -> Plain<isize> {
    let restarts = state::restarts();
    let got = __read_chk::next(fd, buffer, size, room);
    if ids::active() {
        signals_read(fd, buffer.cast(), got);
    }
    Plain(proc_contents::translate_read(fd, buffer.cast(), got, size, restarts))
}

/// struct signalfd_siginfo.
const RECORD: usize = 128;
const CODE: usize = 8;
const PID: usize = 12;

/// Translates the senders in what a signalfd delivered. The first word tells nearly everything else apart.
fn signals_read(fd: c_int, buffer: *mut u8, got: isize) {
    if got <= 0
        || !(got as usize).is_multiple_of(RECORD)
        || !matches!(load(buffer.cast_const().cast::<u32>()), Some(1..=64))
    {
        return;
    }
    if !is_signalfd(fd) {
        return;
    }
    for record in (0..got as usize).step_by(RECORD).map(|at| buffer.wrapping_add(at)) {
        let word = |at: usize| load(record.wrapping_add(at).cast_const().cast::<c_int>()).unwrap_or(0);
        if siginfo::carries_pid(word(0), word(CODE)) {
            siginfo::translate_field(record.wrapping_add(PID).cast());
        }
    }
}

fn is_signalfd(fd: c_int) -> bool {
    const TARGET: &[u8] = b"anon_inode:[signalfd]";
    let mut path = *b"/proc/thread-self/fd/\0\0\0\0\0\0\0\0\0\0\0";
    let mut digits = [0u8; super::proc_paths::DIGITS];
    for (slot, digit) in path[21..31].iter_mut().zip(super::proc_paths::decimal(fd, &mut digits)) {
        *slot = *digit;
    }
    let mut target = [0u8; 32];
    let read = ask!(libc::SYS_readlink, path.as_ptr(), target.as_mut_ptr(), target.len());
    read == Ok(TARGET.len()) && target.starts_with(TARGET)
}
