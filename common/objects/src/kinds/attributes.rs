//! Extended attributes of a file without a name.

use crate::bytes::Bytes;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::RawFd;

/// What a file system has no room for, or hides from this user, is left out.
pub fn of(fd: RawFd) -> Vec<(Bytes, Bytes)> {
    // SAFETY: the buffer is as long as said.
    let list = filled(|buffer, size| unsafe { libc::flistxattr(fd, buffer.cast(), size) }).unwrap_or_default();
    let named = |name: &[u8]| {
        let c_name = CString::new(name).ok()?;
        Some((Bytes::from(name), Bytes(value(fd, &c_name).ok()?)))
    };
    list.split(|b| *b == 0).filter(|name| !name.is_empty()).filter_map(named).collect()
}

fn value(fd: RawFd, name: &CStr) -> io::Result<Vec<u8>> {
    // SAFETY: a C string, and a buffer as long as said.
    filled(|buffer, size| unsafe { libc::fgetxattr(fd, name.as_ptr(), buffer.cast(), size) })
}

/// Asked for its length first.
fn filled(ask: impl Fn(*mut u8, usize) -> isize) -> io::Result<Vec<u8>> {
    let len = usize::try_from(ask(std::ptr::null_mut(), 0)).map_err(|_| io::Error::last_os_error())?;
    let mut buffer = vec![0; len];
    let got = usize::try_from(ask(buffer.as_mut_ptr(), len)).map_err(|_| io::Error::last_os_error())?;
    buffer.truncate(got);
    Ok(buffer)
}

/// What is refused stays out.
pub fn set(fd: RawFd, attributes: &[(Bytes, Bytes)]) {
    for (name, value) in attributes {
        if let Ok(name) = CString::new(&name[..]) {
            // SAFETY: a C string, and a value as long as said.
            unsafe { libc::fsetxattr(fd, name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
        }
    }
}
