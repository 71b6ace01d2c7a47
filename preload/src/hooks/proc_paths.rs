//! The open and stat families: `/proc/PID` and `/proc/PID/task/TID` in an absolute path name processes by id. Looked
//! at only while ids are virtual.

use super::abi::{bytes, errno, hook, store, Plain};
use super::proc_contents;
use super::process::{known, real};
use super::scratch::Scratch;
use crate::ids;
use ckpt_sys::calls;
use ckpt_sys::raw::Result;
use core::ffi::{c_char, c_int, c_uint, c_void};
use libc::pid_t;

/// A path argument; everything else goes through unseen.
macro_rules! path_hooks {
    ($(fn $name:ident([$($before:ident: $b:ty),*] path $(, $after:ident: $a:ty)*) -> $ret:ty;)*) => {
        $(
            hook! {
                unchecked fn $name($($before: $b,)* path: *const c_char $(, $after: $a)*) -> $ret,
                    when ids::active() => $name
            }
            fn $name($($before: $b,)* path: *const c_char $(, $after: $a)*) -> Plain<$ret> {
                Plain(with_real(path, |path| $name::next($($before,)* path $(, $after)*)))
            }
        )*
    };
}

/// As above, for calls that open: two files are replaced by translated copies.
macro_rules! open_hooks {
    ($(fn $name:ident([$($before:ident: $b:ty),*] path, flags $(, $after:ident: $a:ty)*) -> c_int => $copy:ident;)*) => {
        $(
            hook! {
                unchecked fn $name($($before: $b,)* path: *const c_char, flags: c_int $(, $after: $a)*) -> c_int,
                    when ids::active() => $name
            }
            fn $name($($before: $b,)* path: *const c_char, flags: c_int $(, $after: $a)*) -> Result<c_int> {
                proc_contents::$copy($($before,)* path, flags).unwrap_or_else(|| {
                    checked(with_real(path, |path| $name::next($($before,)* path, flags $(, $after)*)))
                })
            }
        )*
    };
}

/// libc's answer as ours: errno is in place already.
fn checked(answer: c_int) -> Result<c_int> {
    if answer == -1 {
        Err(errno())
    } else {
        Ok(answer)
    }
}

open_hooks! {
    fn open([] path, flags, mode: c_uint) -> c_int => open;
    fn open64([] path, flags, mode: c_uint) -> c_int => open;
    fn __open([] path, flags, mode: c_uint) -> c_int => open;
    fn __open64([] path, flags, mode: c_uint) -> c_int => open;
    fn openat([dir: c_int] path, flags, mode: c_uint) -> c_int => open_at;
    fn openat64([dir: c_int] path, flags, mode: c_uint) -> c_int => open_at;
    fn __open_2([] path, flags) -> c_int => open;
    fn __open64_2([] path, flags) -> c_int => open;
    fn __openat_2([dir: c_int] path, flags) -> c_int => open_at;
    fn __openat64_2([dir: c_int] path, flags) -> c_int => open_at;
}

hook! { unchecked fn fopen(path: *const c_char, mode: *const c_char) -> *mut c_void, when ids::restarted() => fopen }
hook! { unchecked fn fopen64(path: *const c_char, mode: *const c_char) -> *mut c_void, when ids::restarted() => fopen }

/// A translated copy is opened by its descriptor's name, so that libc makes the stream.
fn fopen(path: *const c_char, mode: *const c_char) -> Plain<*mut c_void> {
    let copy = bytes(mode).starts_with(b"r").then(|| proc_contents::open(path, libc::O_RDONLY | libc::O_CLOEXEC));
    let Some(Some(Ok(fd))) = copy else {
        return Plain(with_real(path, |path| fopen::next(path, mode)));
    };
    let mut name = Text::<32>::new();
    name.push(b"/proc/thread-self/fd/");
    name.number(fd);
    let stream = fopen::next(name.bytes.as_ptr().cast(), mode);
    calls::close(fd);
    Plain(stream)
}

path_hooks! {
    fn freopen([] path, mode: *const c_char, stream: *mut c_void) -> *mut c_void;
    fn freopen64([] path, mode: *const c_char, stream: *mut c_void) -> *mut c_void;
    fn opendir([] path) -> *mut c_void;
    fn chdir([] path) -> c_int;
    fn stat([] path, status: *mut c_void) -> c_int;
    fn stat64([] path, status: *mut c_void) -> c_int;
    fn lstat([] path, status: *mut c_void) -> c_int;
    fn lstat64([] path, status: *mut c_void) -> c_int;
    fn fstatat([dir: c_int] path, status: *mut c_void, flags: c_int) -> c_int;
    fn fstatat64([dir: c_int] path, status: *mut c_void, flags: c_int) -> c_int;
    fn __xstat([version: c_int] path, status: *mut c_void) -> c_int;
    fn __xstat64([version: c_int] path, status: *mut c_void) -> c_int;
    fn __lxstat([version: c_int] path, status: *mut c_void) -> c_int;
    fn __lxstat64([version: c_int] path, status: *mut c_void) -> c_int;
    fn __fxstatat([version: c_int, dir: c_int] path, status: *mut c_void, flags: c_int) -> c_int;
    fn __fxstatat64([version: c_int, dir: c_int] path, status: *mut c_void, flags: c_int) -> c_int;
    fn statx([dir: c_int] path, flags: c_int, mask: c_uint, status: *mut c_void) -> c_int;
    fn access([] path, mode: c_int) -> c_int;
    fn eaccess([] path, mode: c_int) -> c_int;
    fn euidaccess([] path, mode: c_int) -> c_int;
    fn faccessat([dir: c_int] path, mode: c_int, flags: c_int) -> c_int;
    fn statfs([] path, status: *mut c_void) -> c_int;
    fn statfs64([] path, status: *mut c_void) -> c_int;
}

type Buffer = *mut c_char;

hook! { fn readlink(path: *const c_char, out: Buffer, size: usize) -> isize, when ids::active() => readlink }
hook! {
    fn readlinkat(dir: c_int, path: *const c_char, out: Buffer, size: usize) -> isize, when ids::active() => readlinkat
}
hook! {
    unchecked fn __readlink_chk(path: *const c_char, out: Buffer, size: usize, room: usize) -> isize,
        when ids::active() => readlink_chk
}

fn readlink(path: *const c_char, out: Buffer, size: usize) -> Plain<isize> {
    Plain(match own_link(path) {
        Some(link) => link.copy(out, size),
        None => with_real(path, |path| readlink::next(path, out, size)),
    })
}

fn readlink_chk(path: *const c_char, out: Buffer, size: usize, room: usize) -> Plain<isize> {
    if size > room {
        return Plain(__readlink_chk::next(path, out, size, room));
    }
    readlink(path, out, size)
}

fn readlinkat(dir: c_int, path: *const c_char, out: Buffer, size: usize) -> Plain<isize> {
    Plain(match own_link(path) {
        Some(link) => link.copy(out, size),
        None => with_real(path, |path| readlinkat::next(dir, path, out, size)),
    })
}

/// `/proc/self` is a link to PID, `/proc/thread-self` to PID/task/TID.
fn own_link(path: *const c_char) -> Option<Text<32>> {
    let threads = match bytes(path) {
        b"/proc/self" => false,
        b"/proc/thread-self" => true,
        _ => return None,
    };
    let mut link = Text::new();
    link.number(known(Ok(calls::getpid() as usize)).ok()?);
    if threads {
        link.push(b"/task/");
        link.number(known(Ok(calls::gettid() as usize)).ok()?);
    }
    Some(link)
}

pub struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    pub fn new() -> Self {
        Text { bytes: [0; N], len: 0 }
    }

    pub fn clear(&mut self) {
        self.len = 0;
    }

    pub fn push(&mut self, part: &[u8]) {
        for (slot, byte) in self.bytes.iter_mut().skip(self.len).zip(part) {
            *slot = *byte;
            self.len += 1;
        }
    }

    pub fn number(&mut self, number: impl Into<i64>) {
        self.push(decimal(number, &mut [0; DIGITS]));
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    /// As readlink: cut at the buffer's size, no NUL; the bytes copied.
    fn copy(&self, out: Buffer, size: usize) -> isize {
        let n = self.len.min(size);
        for (i, &byte) in self.bytes.iter().take(n).enumerate() {
            store(out.wrapping_add(i), byte as c_char);
        }
        n as isize
    }
}

/// Of the longest number.
pub const DIGITS: usize = 19;

/// A number's digits, at the end of `room`.
pub fn decimal(number: impl Into<i64>, room: &mut [u8; DIGITS]) -> &[u8] {
    let mut rest = number.into().unsigned_abs();
    let mut first = room.len();
    for (i, slot) in room.iter_mut().enumerate().rev() {
        *slot = b'0' + (rest % 10) as u8;
        first = i;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    room.get(first..).unwrap_or(&[])
}

/// Digits as an id, if that is all there is.
pub fn id(component: &[u8]) -> Option<pid_t> {
    if component.is_empty() {
        return None;
    }
    component.iter().try_fold(0 as pid_t, |n, d| {
        d.is_ascii_digit().then(|| n.checked_mul(10)?.checked_add((d - b'0') as pid_t)).flatten()
    })
}

const PROC: &[u8] = b"/proc/";
const SECOND_ID: &[u8] = b"task";

/// Calls `with` with the path that names the same processes to the kernel.
pub fn with_real<T>(path: *const c_char, with: impl FnOnce(*const c_char) -> T) -> T {
    let Some(rest) = bytes(path).strip_prefix(PROC) else {
        return with(path);
    };
    let mut scratch = Scratch::new();
    // Two ids may grow by nine digits each.
    match scratch.reserve(PROC.len() + rest.len() + 2 * 10 + 1) {
        // SAFETY: the block holds the path, two longer ids and a NUL.
        Ok(room) if unsafe { rewrite(rest, room) } => with(room.cast_const().cast()),
        _ => with(path),
    }
}

/// Writes `/proc/` and `rest` with real ids to `room`; false when there are none in it.
///
/// # Safety
/// `room` has 26 bytes more than `rest`, and one for a NUL.
unsafe fn rewrite(rest: &[u8], room: *mut u8) -> bool {
    let mut at = room;
    let mut append = |part: &[u8]| {
        // SAFETY: by the contract.
        unsafe {
            core::ptr::copy_nonoverlapping(part.as_ptr(), at, part.len());
            at = at.add(part.len());
        }
    };
    append(b"/proc");
    let (mut found, mut previous) = (false, &b""[..]);
    for (i, component) in rest.split(|&b| b == b'/').enumerate() {
        append(b"/");
        match id(component).filter(|_| i == 0 || i == 2 && previous == SECOND_ID) {
            Some(id) => {
                let mut digits = [0; DIGITS];
                append(decimal(real(id), &mut digits));
                found = true;
            }
            None => append(component),
        }
        previous = component;
    }
    append(b"\0");
    found
}
