//! exec(3): the new program gets the library too. May run in a vfork child: stack and mappings only, no lock.

use super::abi::{array, ask, environment, hook};
use super::environment::{for_program, Strings};
use super::path_search;
use super::scratch::Scratch;
use crate::ids;
use crate::state::ckpt_signal;
use crate::times::{self, Exec};
use ckpt_sys::flat::SigAction;
use ckpt_sys::idtable::RealPid;
use ckpt_sys::raw::{Errno, Result};
use core::ffi::{c_char, c_int};

type Path = *const c_char;

hook! { fn execve(path: Path, argv: Strings, envp: Strings) -> c_int => execve }
hook! { fn execv(path: Path, argv: Strings) -> c_int => execv }
hook! { fn execvp(file: Path, argv: Strings) -> c_int => execvp }
hook! { fn execvpe(file: Path, argv: Strings, envp: Strings) -> c_int => execvpe }
hook! { fn fexecve(fd: c_int, argv: Strings, envp: Strings) -> c_int => fexecve }
hook! {
    unchecked fn execveat(dir: c_int, path: Path, argv: Strings, envp: Strings, flags: c_int) -> c_int => execveat
}

pub fn execve(path: Path, argv: Strings, envp: Strings) -> Result<c_int> {
    with_library(path, envp, |envp| failed(ask!(libc::SYS_execve, path, argv, envp)))
}

fn execv(path: Path, argv: Strings) -> Result<c_int> {
    execve(path, argv, environment())
}

fn execvp(file: Path, argv: Strings) -> Result<c_int> {
    execvpe(file, argv, environment())
}

fn execvpe(file: Path, argv: Strings, envp: Strings) -> Result<c_int> {
    with_library(file, envp, |envp| path_search::execute(file, argv, envp))
}

fn fexecve(fd: c_int, argv: Strings, envp: Strings) -> Result<c_int> {
    if fd < 0 || argv.is_null() || envp.is_null() {
        return Err(Errno::INVAL);
    }
    execveat(fd, c"".as_ptr(), argv, envp, libc::AT_EMPTY_PATH)
}

pub fn execveat(dir: c_int, path: Path, argv: Strings, envp: Strings, flags: c_int) -> Result<c_int> {
    with_library(path, envp, |envp| failed(ask!(libc::SYS_execveat, dir, path, argv, envp, flags)))
}

/// A successful exec does not come back.
fn failed(outcome: Result<usize>) -> Errno {
    outcome.err().unwrap_or(Errno::INVAL)
}

fn with_library(program: Path, envp: Strings, exec: impl FnOnce(Strings) -> Errno) -> Result<c_int> {
    let mut scratch = Scratch::new();
    let at = times::now();
    let told_us = crate::plugin::told(crate::plugin::PRE_EXEC);
    let envp = for_program(&mut scratch, program, envp, Exec { at, told_us, fork_told_us: times::fork_told_us() })?;
    let _ignored = SignalIgnored::new();
    let own = RealPid(ckpt_sys::calls::getpid());
    let forked = ids::is_forked(own);
    if forked {
        ids::set_forked(own, false);
    }
    let error = exec(envp);
    if forked {
        ids::set_forked(own, true);
    }
    Err(error)
}

/// Our signal is ignored from here: over an exec a handler becomes the default, which would kill the new program if a
/// checkpoint was asked for before its constructor ran. Ignored stays ignored. Undone when the exec failed.
struct SignalIgnored(SigAction);

impl SignalIgnored {
    fn new() -> Self {
        let mut before = SigAction::default();
        let ignore = SigAction { handler: libc::SIG_IGN as u64, ..before };
        if ckpt_signal() != 0 {
            let _ = ask!(libc::SYS_rt_sigaction, ckpt_signal(), &raw const ignore, &raw mut before, 8);
        }
        SignalIgnored(before)
    }
}

impl Drop for SignalIgnored {
    fn drop(&mut self) {
        if ckpt_signal() != 0 {
            let _ = ask!(libc::SYS_rt_sigaction, ckpt_signal(), &raw const self.0, 0, 8);
        }
    }
}

/// execl, execlp, execle: (path, arg0, arg1, ..., NULL [, envp]). Pushed in front of those already on the stack, the
/// arguments in registers make one array; the return address waits behind it.
macro_rules! list_exec {
    ($name:ident => $array_function:ident) => {
        #[cfg(target_arch = "x86_64")]
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name() {
            core::arch::naked_asm!(
                "pop rax",
                "push r9",
                "push r8",
                "push rcx",
                "push rdx",
                "push rsi",
                "mov rsi, rsp",
                "push rax",
                "call {array_function}",
                "pop rcx",
                "add rsp, 40",
                "jmp rcx",
                array_function = sym $array_function,
            )
        }
    };
}
list_exec!(execl => execl_array);
list_exec!(execlp => execlp_array);
list_exec!(execle => execle_array);

extern "C" fn execl_array(path: Path, argv: Strings) -> c_int {
    super::abi::Answer::answer(execv(path, argv))
}

extern "C" fn execlp_array(file: Path, argv: Strings) -> c_int {
    super::abi::Answer::answer(execvp(file, argv))
}

extern "C" fn execle_array(path: Path, argv: Strings) -> c_int {
    // SAFETY: execle's caller put the environment behind the NULL that ends the arguments.
    let envp = unsafe { *argv.add(array(argv).len() + 1) };
    super::abi::Answer::answer(execve(path, argv, envp.cast()))
}
