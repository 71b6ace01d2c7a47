//! `/proc/.../stat`, `/proc/.../status` and `/proc/.../fdinfo/N` say ids in their text: while ids are virtual the program
//! reads a copy that says them as the program knows them. The first says also when a process began, which is to be as
//! before any restart.

use super::abi::{ask, bytes};
use super::proc_paths::{with_real, Text};
use crate::{ids, state};
use crate::procfs::Path;
use ckpt_sys::calls;
use ckpt_sys::idtable::RealPid;
use ckpt_sys::raw::{Errno, Result};
use core::ffi::{c_char, c_int, CStr};

/// The two files are a few hundred bytes to two kilobytes long.
const ROOM: usize = 4096;

type Translate = fn(&[u8], &mut Text<ROOM>);

/// What to do with the text of one of the two files.
fn translation(path: &[u8]) -> Option<Translate> {
    let rest = path.strip_prefix(b"/proc/")?;
    let mut names = rest.rsplit(|&b| b == b'/');
    match names.next().filter(|name| name.len() < rest.len())? {
        b"stat" => Some(stat),
        b"status" if ids::active() => Some(status),
        // of a pidfd
        _ if ids::active() && names.next() == Some(b"fdinfo") => Some(status),
        _ => None,
    }
}

/// A memfd with the translated text, when `path` is one of the two files and is opened for reading.
pub fn open(path: *const c_char, flags: c_int) -> Option<Result<c_int>> {
    let translate = translation(bytes(path))?;
    if !reads(flags) {
        return None;
    }
    Some(with_real(path, |path| copy(path, flags, translate)))
}

/// As `open`, for a path that begins at `dir`.
pub fn open_at(dir: c_int, path: *const c_char, flags: c_int) -> Option<Result<c_int>> {
    let name = bytes(path);
    if name.starts_with(b"/") {
        return open(path, flags);
    }
    if dir == libc::AT_FDCWD || !reads(flags) || !matches!(name, b"stat" | b"status") {
        return None;
    }
    let mut folder = [0; LINK];
    let mut whole = Text::<{ LINK + 8 }>::new();
    whole.push(link(dir, &mut folder)?);
    whole.push(b"/");
    whole.push(name);
    let translate = translation(whole.as_bytes())?;
    whole.push(b"\0");
    // The kernel's ids are in the folder's name already.
    Some(copy(whole.as_bytes().as_ptr().cast(), flags, translate))
}

fn reads(flags: c_int) -> bool {
    flags & (libc::O_ACCMODE | libc::O_PATH | libc::O_DIRECTORY) == libc::O_RDONLY
}

/// `/proc/PID/task/TID/status` and less.
const LINK: usize = 64;

fn link(fd: c_int, room: &mut [u8; LINK]) -> Option<&[u8]> {
    let path = Path::new("/proc/thread-self/fd/").number(fd);
    let len = ask!(libc::SYS_readlink, path.c_str().as_ptr(), room.as_mut_ptr(), LINK).ok()?;
    room.get(..len).filter(|_| len < LINK)
}

/// Translates what a read brought of one of the two, opened before the restart or without a copy; how long it is then.
/// `restarts`: how many there were when it was read.
pub fn translate_read(fd: c_int, buffer: *mut u8, got: isize, room: usize, restarts: u32) -> isize {
    let Some(len) = usize::try_from(got).ok().filter(|len| (16..=ROOM).contains(len)) else { return got };
    // SAFETY: the kernel has just filled it.
    let text = unsafe { core::slice::from_raw_parts(buffer.cast_const(), len) };
    let begins = text.starts_with(b"Name:\t") || text[0].is_ascii_digit() && text[..12].windows(2).any(|two| two == b" (");
    if begins { translate_whole(fd, text, buffer, room, restarts) } else { got }
}

#[cold]
#[inline(never)]
fn translate_whole(fd: c_int, text: &[u8], buffer: *mut u8, room: usize, restarts: u32) -> isize {
    let mut out = Text::<ROOM>::new();
    let Some(translate) = link(fd, &mut [0; LINK]).and_then(translation) else { return text.len() as isize };
    translate(text, &mut out);
    if state::restarts() != restarts {
        // The kernel said it before the restart.
        let again = state::restarts();
        return match ask!(libc::SYS_pread64, fd, buffer, room, 0) {
            Ok(got) => translate_read(fd, buffer, got as isize, room, again),
            Err(_) => text.len() as isize,
        };
    }
    let known = out.as_bytes();
    if known.is_empty() || known.len() > room {
        return text.len() as isize;
    }
    // SAFETY: the program's buffer has that room.
    unsafe { core::ptr::copy_nonoverlapping(known.as_ptr(), buffer, known.len()) };
    known.len() as isize
}

/// The copy takes the lowest number, as the file itself would.
fn copy(path: *const c_char, flags: c_int, translate: Translate) -> Result<c_int> {
    let close_on_exec = if flags & libc::O_CLOEXEC != 0 { libc::MFD_CLOEXEC } else { 0 };
    let fd = ask!(libc::SYS_memfd_create, c"proc".as_ptr(), close_on_exec)? as c_int;
    let mut out = Text::new();
    let read = loop {
        let restarts = state::restarts();
        out.clear();
        let read = read_all(path, |text| translate(text, &mut out));
        // What the kernel says before a restart cannot be translated after it.
        if state::restarts() == restarts {
            break read;
        }
    };
    if let Err(e) = read.and_then(|()| calls::write_all(fd, out.as_bytes())).and_then(|()| ask!(libc::SYS_lseek, fd, 0, libc::SEEK_SET).map(drop)) {
        calls::close(fd);
        return Err(e);
    }
    Ok(fd)
}

fn read_all(path: *const c_char, with: impl FnOnce(&[u8])) -> Result<()> {
    // SAFETY: a path argument, NUL-terminated.
    let path = unsafe { CStr::from_ptr(path) };
    let file = calls::open(path, libc::O_RDONLY | libc::O_CLOEXEC)?;
    let mut text = [0u8; ROOM];
    let read = calls::read_full(file, &mut text);
    calls::close(file);
    with(text.get(..read?).ok_or(Errno::INVAL)?);
    Ok(())
}

fn number<T: core::str::FromStr>(digits: &[u8]) -> Option<T> {
    core::str::from_utf8(digits).ok()?.parse().ok()
}

fn push_known(field: &[u8], out: &mut Text<ROOM>) {
    match number(field).filter(|&id| id > 0) {
        Some(id) => out.number(ids::to_virtual(RealPid(id)).0),
        None => out.push(field),
    }
}

/// `pid (name) state ppid pgrp session tty_nr tpgid ...`; the name may hold anything but ends at the last parenthesis.
fn stat(text: &[u8], out: &mut Text<ROOM>) {
    const IDS_BEHIND_NAME: [usize; 4] = [2, 3, 4, 6];
    const STARTED: usize = 20;
    let name = text.iter().position(|&b| b == b' ').unwrap_or(0);
    let behind = text.iter().rposition(|&b| b == b')').map_or(name, |at| at + 1);
    let (Some(pid), Some(shown), Some(fields)) = (text.get(..name), text.get(name..behind), text.get(behind..)) else {
        return;
    };
    push_known(pid, out);
    out.push(shown);
    for (i, field) in fields.split(|&b| b == b' ').enumerate() {
        if i > 0 {
            out.push(b" ");
        }
        match (number(pid), number(field)) {
            (Some(pid), Some(now)) if i == STARTED => out.number(ids::started(RealPid(pid), now) as i64),
            _ if IDS_BEHIND_NAME.contains(&i) => push_known(field, out),
            _ => out.push(field),
        }
    }
}

/// `Name:\tvalue` lines; in those of the list every number is an id.
fn status(text: &[u8], out: &mut Text<ROOM>) {
    const IDS: [&[u8]; 9] = [b"Tgid", b"Ngid", b"Pid", b"PPid", b"TracerPid", b"NStgid", b"NSpid", b"NSpgid", b"NSsid"];
    for line in text.split_inclusive(|&b| b == b'\n') {
        let name = line.split(|&b| b == b':').next().unwrap_or(line);
        if !IDS.contains(&name) {
            out.push(line);
            continue;
        }
        for part in line.split_inclusive(|&b| b == b'\t' || b == b'\n') {
            let digits = part.split(|&b| b == b'\t' || b == b'\n').next().unwrap_or(part);
            push_known(digits, out);
            out.push(part.get(digits.len()..).unwrap_or(&[]));
        }
    }
}
