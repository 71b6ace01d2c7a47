//! getsockopt(2) SO_PEERCRED and SO_PEERPIDFD, SCM_CREDENTIALS and SCM_PIDFD messages: processes at the other end.

use super::abi::{ask, hook, load, store, Plain};
use super::process::real;
use super::scratch::Scratch;
use super::siginfo;
use crate::ids;
use ckpt_sys::idtable::RealPid;
use ckpt_sys::raw::{Errno, Result};
use core::ffi::{c_int, c_uint, c_void};
use libc::{cmsghdr, mmsghdr, msghdr, pid_t, socklen_t, timespec, ucred};

hook! {
    fn getsockopt(fd: c_int, level: c_int, option: c_int, value: *mut c_void, size: *mut socklen_t) -> c_int,
        when is_seen() => getsockopt
}
hook! { fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> isize, when is_seen() => recvmsg }
hook! { fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> isize, when ids::active() => sendmsg }
hook! {
    unchecked fn recvmmsg(fd: c_int, messages: *mut mmsghdr, n: c_uint, flags: c_int, timeout: *mut timespec) -> c_int,
        when is_seen() => recvmmsg
}

/// After a restart a pidfd may be one of who stood in for a process, also where that has its id.
fn is_seen() -> bool {
    ids::active() || crate::state::restarts() != 0
}

const SO_PEERPIDFD: c_int = 77;
const SCM_PIDFD: c_int = 4;

fn getsockopt(fd: c_int, level: c_int, option: c_int, value: *mut c_void, size: *mut socklen_t) -> Result<c_int> {
    ask!(libc::SYS_getsockopt, fd, level, option, value, size)?;
    let whole = load(size.cast_const()).is_some_and(|n| n as usize >= size_of::<c_int>());
    if level == libc::SOL_SOCKET && option == SO_PEERPIDFD && whole {
        let mut peer = ucred { pid: 0, uid: 0, gid: 0 };
        let mut len = size_of::<ucred>() as socklen_t;
        if ask!(libc::SYS_getsockopt, fd, level, libc::SO_PEERCRED, &raw mut peer, &raw mut len).is_ok() {
            name_again(peer.pid, value.cast());
        }
    }
    if level == libc::SOL_SOCKET && option == libc::SO_PEERCRED && whole && ids::active() {
        siginfo::translate_field(value.cast());
    }
    Ok(0)
}

fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> Plain<isize> {
    let got = recvmsg::next(fd, message, flags);
    if let Some(message) = load(message.cast_const()).filter(|_| got >= 0) {
        translate_control(&message);
    }
    Plain(got)
}

/// Of a message alone the kernel's pidfd does not say whom it was: where the credentials are beside it, they do.
fn translate_control(message: &msghdr) {
    let (control, size) = (message.msg_control.cast(), message.msg_controllen);
    for credentials in credentials(control, size) {
        let sender = load(credentials.cast_const()).map_or(0, |c| c.pid);
        entries(control, size, SCM_PIDFD, size_of::<c_int>()).for_each(|pidfd| name_again(sender, pidfd.cast()));
        if ids::active() {
            siginfo::translate_field(credentials.cast());
        }
    }
}

/// The pidfd at `place` is of the process `then`. Where that only stood in for another at the restart, and has ended, it
/// becomes one of that.
fn name_again(then: pid_t, place: *mut c_int) {
    let Some(old) = load(place.cast_const()) else {
        return;
    };
    if ask!(libc::SYS_pidfd_send_signal, old, 0, 0, 0) != Err(Errno::SRCH) {
        return;
    }
    let Ok(new) = ask!(libc::SYS_pidfd_open, real(ids::to_virtual(RealPid(then)).0), 0) else {
        return;
    };
    if old >= 0 && ask!(libc::SYS_dup3, new, old, libc::O_CLOEXEC).is_ok() {
        let _ = ask!(libc::SYS_close, new);
    } else {
        store(place, new as c_int);
    }
}

fn recvmmsg(fd: c_int, messages: *mut mmsghdr, n: c_uint, flags: c_int, timeout: *mut timespec) -> Plain<c_int> {
    let got = recvmmsg::next(fd, messages, n, flags, timeout);
    for i in 0..got.max(0) as usize {
        let Some(message) = load(messages.cast_const().wrapping_add(i)) else {
            break;
        };
        translate_control(&message.msg_hdr);
    }
    Plain(got)
}

/// The control data is sent from a copy with the kernel's ids.
fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> Plain<isize> {
    let Some(mut copy) = load(message) else {
        return Plain(sendmsg::next(fd, message, flags));
    };
    let size = copy.msg_controllen;
    if credentials(copy.msg_control.cast(), size).next().is_none() {
        return Plain(sendmsg::next(fd, message, flags));
    }
    let mut scratch = Scratch::new();
    let Ok(control) = scratch.reserve(size) else {
        return Plain(sendmsg::next(fd, message, flags));
    };
    // SAFETY: the program's control data is `size` bytes, the block as large.
    unsafe { core::ptr::copy_nonoverlapping(copy.msg_control.cast::<u8>(), control, size) };
    copy.msg_control = control.cast();
    for credentials in credentials(control, size) {
        if let Some(mut sender) = load(credentials.cast_const()) {
            sender.pid = real(sender.pid);
            store(credentials, sender);
        }
    }
    Plain(sendmsg::next(fd, &copy, flags))
}

/// The SCM_CREDENTIALS entries in control data.
fn credentials(control: *mut u8, size: usize) -> impl Iterator<Item = *mut ucred> {
    entries(control, size, libc::SCM_CREDENTIALS, size_of::<ucred>()).map(|at| at.cast())
}

/// What the entries of this kind say, in at least `room` bytes.
fn entries(control: *mut u8, size: usize, kind: c_int, room: usize) -> impl Iterator<Item = *mut u8> {
    const HEAD: usize = size_of::<cmsghdr>();
    let mut at = 0usize;
    core::iter::from_fn(move || {
        while !control.is_null() && at + HEAD <= size {
            let entry = control.wrapping_add(at);
            let head = load(entry.cast_const().cast::<cmsghdr>())?;
            let len = head.cmsg_len;
            if len < HEAD || len > size - at {
                return None;
            }
            at = at.saturating_add(len.next_multiple_of(size_of::<usize>()));
            if head.cmsg_level == libc::SOL_SOCKET && head.cmsg_type == kind && len >= HEAD + room {
                return Some(entry.wrapping_add(HEAD));
            }
        }
        None
    })
}
