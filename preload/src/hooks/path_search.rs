//! The search of execvp(3), with glibc's rules for what ends it.

use super::abi::{array, ask, bytes};
use super::environment::{variable, Strings};
use super::scratch::Scratch;
use ckpt_sys::raw::{Errno, Result};
use core::ffi::c_char;

const NAME_MAX: usize = 255;
const PATH_MAX: usize = 4096;

/// Executes `file`, looked up in PATH when it has no slash. Returns only when that failed.
pub fn execute(file: *const c_char, argv: Strings, envp: Strings) -> Errno {
    let name = bytes(file);
    if name.is_empty() {
        return Errno::NOENT;
    }
    if name.contains(&b'/') {
        return execute_at(file, argv, envp);
    }
    if name.len() > NAME_MAX {
        return Errno(libc::ENAMETOOLONG);
    }
    search(name, argv, envp).unwrap_or_else(|e| e)
}

/// Tries each folder; the error to report.
fn search(name: &[u8], argv: Strings, envp: Strings) -> Result<Errno> {
    let path = variable(b"PATH=").unwrap_or(b"/bin:/usr/bin");
    let longest = path.len().min(PATH_MAX - 1) + 1;
    let mut scratch = Scratch::new();
    let candidate = scratch.reserve(longest + 1 + name.len() + 1)?;
    let (mut refused, mut last) = (false, Errno::NOENT);
    for folder in path.split(|&b| b == b':').filter(|f| f.len() < longest) {
        // SAFETY: the block holds the longest folder, a slash, the name and a NUL.
        unsafe { join(candidate, folder, name) };
        last = execute_at(candidate.cast(), argv, envp);
        match last.0 {
            libc::EACCES => refused = true,
            libc::ENOENT | libc::ESTALE | libc::ENOTDIR | libc::ENODEV | libc::ETIMEDOUT => {}
            _ => return Ok(last),
        }
    }
    Ok(if refused { Errno(libc::EACCES) } else { last })
}

/// # Safety
/// `to` has room for both, a slash and a NUL.
unsafe fn join(to: *mut u8, folder: &[u8], name: &[u8]) {
    let mut at = to;
    for part in [folder, if folder.is_empty() { b"" } else { b"/" }, name, b"\0"] {
        // SAFETY: by the contract.
        unsafe {
            core::ptr::copy_nonoverlapping(part.as_ptr(), at, part.len());
            at = at.add(part.len());
        }
    }
}

/// A file that no loader takes is a shell script.
fn execute_at(path: *const c_char, argv: Strings, envp: Strings) -> Errno {
    match ask!(libc::SYS_execve, path, argv, envp) {
        Err(Errno(libc::ENOEXEC)) => execute_script(path, argv, envp).err().unwrap_or(Errno(libc::ENOEXEC)),
        Err(e) => e,
        Ok(_) => Errno::INVAL,
    }
}

fn execute_script(path: *const c_char, argv: Strings, envp: Strings) -> Result<()> {
    let arguments = array(argv).get(1..).unwrap_or(&[]);
    let mut scratch = Scratch::new();
    let list: *mut *const c_char = scratch.reserve((arguments.len() + 3) * size_of::<*const c_char>())?.cast();
    // SAFETY: the block holds the shell, the path, the arguments and the NULL.
    unsafe {
        list.write(c"/bin/sh".as_ptr());
        list.add(1).write(path);
        core::ptr::copy_nonoverlapping(arguments.as_ptr(), list.add(2), arguments.len());
        list.add(2 + arguments.len()).write(core::ptr::null());
    }
    ask!(libc::SYS_execve, c"/bin/sh".as_ptr(), list, envp).map(drop)
}
