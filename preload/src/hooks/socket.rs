//! getsockopt(2) SO_PEERCRED and SCM_CREDENTIALS messages: ids of processes at the other end.

use super::abi::{ask, hook, load, store, Plain};
use super::process::real;
use super::scratch::Scratch;
use super::siginfo;
use crate::ids;
use ckpt_sys::raw::Result;
use core::ffi::{c_int, c_uint, c_void};
use libc::{cmsghdr, mmsghdr, msghdr, socklen_t, timespec, ucred};

hook! {
    fn getsockopt(fd: c_int, level: c_int, option: c_int, value: *mut c_void, size: *mut socklen_t) -> c_int,
        when ids::active() => getsockopt
}
hook! { fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> isize, when ids::active() => recvmsg }
hook! { fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> isize, when ids::active() => sendmsg }
hook! {
    unchecked fn recvmmsg(fd: c_int, messages: *mut mmsghdr, n: c_uint, flags: c_int, timeout: *mut timespec) -> c_int,
        when ids::active() => recvmmsg
}

fn getsockopt(fd: c_int, level: c_int, option: c_int, value: *mut c_void, size: *mut socklen_t) -> Result<c_int> {
    ask!(libc::SYS_getsockopt, fd, level, option, value, size)?;
    let whole = load(size.cast_const()).is_some_and(|n| n as usize >= size_of::<c_int>());
    if level == libc::SOL_SOCKET && option == libc::SO_PEERCRED && whole {
        siginfo::translate_field(value.cast());
    }
    Ok(0)
}

fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> Plain<isize> {
    let got = recvmsg::next(fd, message, flags);
    if let Some(message) = load(message.cast_const()).filter(|_| got >= 0) {
        for credentials in credentials(message.msg_control.cast(), message.msg_controllen) {
            siginfo::translate_field(credentials.cast());
        }
    }
    Plain(got)
}

fn recvmmsg(fd: c_int, messages: *mut mmsghdr, n: c_uint, flags: c_int, timeout: *mut timespec) -> Plain<c_int> {
    let got = recvmmsg::next(fd, messages, n, flags, timeout);
    for i in 0..got.max(0) as usize {
        let Some(message) = load(messages.cast_const().wrapping_add(i)) else {
            break;
        };
        for credentials in credentials(message.msg_hdr.msg_control.cast(), message.msg_hdr.msg_controllen) {
            siginfo::translate_field(credentials.cast());
        }
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
            let whole = len >= HEAD + size_of::<ucred>();
            if head.cmsg_level == libc::SOL_SOCKET && head.cmsg_type == libc::SCM_CREDENTIALS && whole {
                return Some(entry.wrapping_add(HEAD).cast());
            }
        }
        None
    })
}
