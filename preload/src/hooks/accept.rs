//! accept(2): what was sent on a connection before it was accepted can be read back by an accept only, and nothing goes
//! back into a backlog. A checkpoint leaves a stand-in there: a connection with one message, which holds the real one.

use super::abi::{ask, errno, hook, kernel, load, store};
use ckpt_sys::raw::{Errno, Result};
use ckpt_sys::stand_in;
use core::ffi::c_int;
use libc::{cmsghdr, iovec, msghdr, sockaddr, socklen_t, ucred};

hook! { fn accept(fd: c_int, name: *mut sockaddr, size: *mut socklen_t) -> c_int => accept }
hook! { fn accept4(fd: c_int, name: *mut sockaddr, size: *mut socklen_t, flags: c_int) -> c_int => accept4 }

fn accept(fd: c_int, name: *mut sockaddr, size: *mut socklen_t) -> Result<c_int> {
    accepted(name, size, 0, |name, size| checked(accept::next(fd, name, size)))
}

fn accept4(fd: c_int, name: *mut sockaddr, size: *mut socklen_t, flags: c_int) -> Result<c_int> {
    accepted(name, size, flags, |name, size| checked(accept4::next(fd, name, size, flags)))
}

fn checked(fd: c_int) -> Result<c_int> {
    if fd < 0 { Err(errno()) } else { Ok(fd) }
}

/// SYS_accept and SYS_accept4 by number.
pub fn by_number(n: libc::c_long, a: [usize; 6]) -> Result<usize> {
    let flags = if n == libc::SYS_accept4 { a[3] as c_int } else { 0 };
    let call = |name: *mut sockaddr, size: *mut socklen_t| kernel(n, [a[0], name as usize, size as usize, a[3], 0, 0]).map(|fd| fd as c_int);
    accepted(a[1] as *mut _, a[2] as *mut _, flags, call).map(|fd| fd as usize)
}

/// Long enough for every name that is of interest here.
#[repr(C, align(8))]
struct Name([u8; 128]);

fn accepted(
    name: *mut sockaddr,
    size: *mut socklen_t,
    flags: c_int,
    call: impl FnOnce(*mut sockaddr, *mut socklen_t) -> Result<c_int>,
) -> Result<c_int> {
    let mut own = Name([0; 128]);
    let mut own_size = size_of::<Name>() as socklen_t;
    // An address that is none at all is left to the kernel.
    if !name.is_null() && (size as usize) < ckpt_sys::PAGE {
        return call(name, size);
    }
    let room = if name.is_null() { 0 } else { load(size.cast_const()).unwrap_or(0) };
    let fd = match name.is_null() {
        true => call((&raw mut own).cast(), &mut own_size)?,
        false => call(name, size)?,
    };
    let said = if name.is_null() { own_size } else { load(size.cast_const()).unwrap_or(0) };
    if said as usize != stand_in::LEN || !is_stand_in(fd) {
        return Ok(fd);
    }
    let real = take(fd);
    if real.is_err() {
        let _ = ask!(libc::SYS_close, fd);
    }
    real?;
    let _ = ask!(libc::SYS_fcntl, fd, libc::F_SETFL, flags & libc::SOCK_NONBLOCK);
    let _ = ask!(libc::SYS_fcntl, fd, libc::F_SETFD, if flags & libc::SOCK_CLOEXEC != 0 { libc::FD_CLOEXEC } else { 0 });
    if !name.is_null() {
        store(size, room);
        let _ = ask!(libc::SYS_getpeername, fd, name, size);
    }
    Ok(fd)
}

/// By name, and made by root or this user: a message of anybody else's is not taken for a connection.
fn is_stand_in(fd: c_int) -> bool {
    let mut name = Name([0; 128]);
    let mut size = size_of::<Name>() as socklen_t;
    let named = ask!(libc::SYS_getpeername, fd, &raw mut name, &raw mut size).is_ok();
    if !named || name.0.get(..size as usize).is_none_or(|n| !stand_in::is_name(n)) {
        return false;
    }
    let mut who = ucred { pid: 0, uid: u32::MAX, gid: 0 };
    let mut size = size_of::<ucred>() as socklen_t;
    let asked = ask!(libc::SYS_getsockopt, fd, libc::SOL_SOCKET, libc::SO_PEERCRED, &raw mut who, &raw mut size);
    let user = |n| ask!(n).is_ok_and(|uid| uid == who.uid as usize);
    asked.is_ok() && (who.uid == 0 || user(libc::SYS_getuid) || user(libc::SYS_geteuid))
}

const SO_PASSPIDFD: c_int = 76;
static NO: c_int = 0;

/// Puts what the stand-in's message holds at its number.
fn take(fd: c_int) -> Result<()> {
    // What the listener asks for with every message would come first.
    for option in [libc::SO_PASSCRED, libc::SO_PASSSEC, SO_PASSPIDFD] {
        let _ = ask!(libc::SYS_setsockopt, fd, libc::SOL_SOCKET, option, &raw const NO, size_of::<c_int>());
    }
    #[repr(C)]
    struct Control {
        head: cmsghdr,
        fd: c_int,
        room: [c_int; 3],
    }
    let mut byte = 0u8;
    let mut control = Control { head: cmsghdr { cmsg_len: 0, cmsg_level: 0, cmsg_type: 0 }, fd: -1, room: [0; 3] };
    let mut iov = iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // SAFETY: all zeroes are a valid msghdr.
    let mut message: msghdr = unsafe { core::mem::zeroed() };
    message.msg_iov = &raw mut iov;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of::<Control>();
    ask!(libc::SYS_recvmsg, fd, &raw mut message, libc::MSG_PEEK | libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC)?;
    // SAFETY: the kernel has written it.
    let real = unsafe { (&raw const control.fd).read_volatile() };
    if real < 0 {
        return Err(Errno(libc::ECONNABORTED));
    }
    ask!(libc::SYS_dup3, real, fd, 0)?;
    ask!(libc::SYS_close, real).map(drop)
}
