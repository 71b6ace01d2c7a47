//! system(3), by posix_spawn: libc's own starts the shell by an internal call that no hook sees.

use super::abi::{ask, environment, hook, set_errno, Plain};
use super::lock::Lock;
use super::spawn::{posix_spawn, SpawnAttributes};
use crate::ids;
use ckpt_sys::flat::SigAction;
use ckpt_sys::idtable::VirtualPid;
use ckpt_sys::raw::{Errno, Result};
use core::cell::UnsafeCell;
use core::ffi::{c_char, c_int};

hook! { fn system(command: *const c_char) -> c_int => system }

fn system(command: *const c_char) -> Plain<c_int> {
    if command.is_null() {
        return Plain((run(c"exit 0".as_ptr()) == Ok(0)) as c_int);
    }
    Plain(run(command).unwrap_or_else(|e| {
        set_errno(e);
        -1
    }))
}

/// POSIX: a shell that cannot be started looks like one that called _exit(127).
const NO_SHELL: c_int = 127 << 8;

static BLOCKED: u64 = 1 << (libc::SIGCHLD - 1);

fn run(command: *const c_char) -> Result<c_int> {
    let defaults = ignore_keyboard();
    let mut mask = 0u64;
    let _ = ask!(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, &raw const BLOCKED, &raw mut mask, 8);
    let status = match start(command, defaults, mask) {
        Ok(shell) => wait(shell),
        Err(e) => {
            set_errno(e);
            Ok(NO_SHELL)
        }
    };
    restore_keyboard();
    let _ = ask!(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const mask, 0, 8);
    status
}

fn start(command: *const c_char, defaults: u64, mask: u64) -> Result<VirtualPid> {
    let mut attributes = SpawnAttributes {
        flags: (libc::POSIX_SPAWN_SETSIGDEF | libc::POSIX_SPAWN_SETSIGMASK) as i16,
        group: 0,
        defaults: [0; 16],
        mask: [0; 16],
        priority: 0,
        policy: 0,
        reserved: [0; 16],
    };
    attributes.defaults[0] = defaults;
    attributes.mask[0] = mask;
    let argv = [c"sh".as_ptr(), c"-c".as_ptr(), command, core::ptr::null()];
    let mut shell = 0;
    let attributes = (&raw const attributes).cast();
    let (argv, envp) = (argv.as_ptr().cast(), environment().cast());
    posix_spawn(&mut shell, c"/bin/sh".as_ptr(), core::ptr::null(), attributes, argv, envp).0?;
    Ok(VirtualPid(shell))
}

fn wait(shell: VirtualPid) -> Result<c_int> {
    let mut status = 0;
    loop {
        match ask!(libc::SYS_wait4, ids::to_real(shell).0, &raw mut status, 0, 0) {
            Err(Errno::INTR) => {}
            outcome => return outcome.map(|_| status),
        }
    }
}

const NONE: SigAction = SigAction { handler: 0, flags: 0, restorer: 0, mask: 0 };

/// SIGINT and SIGQUIT are ignored while any thread is in system(): the first one saves, the last one puts back.
struct Keyboard {
    lock: Lock,
    state: UnsafeCell<(usize, SigAction, SigAction)>,
}

// SAFETY: `state` is touched by the lock's holder only.
unsafe impl Sync for Keyboard {}

static KEYBOARD: Keyboard = Keyboard { lock: Lock::new(), state: UnsafeCell::new((0, NONE, NONE)) };

/// The signals, as a mask, that the shell shall have at their defaults: those that the program did not ignore.
fn ignore_keyboard() -> u64 {
    let _held = KEYBOARD.lock.hold();
    // SAFETY: the lock is held.
    let (users, interrupt, quit) = unsafe { &mut *KEYBOARD.state.get() };
    *users += 1;
    if *users == 1 {
        let ignore = SigAction { handler: libc::SIG_IGN as u64, ..NONE };
        let _ = ask!(libc::SYS_rt_sigaction, libc::SIGINT, &raw const ignore, &raw mut *interrupt, 8);
        let _ = ask!(libc::SYS_rt_sigaction, libc::SIGQUIT, &raw const ignore, &raw mut *quit, 8);
    }
    let default = |action: &SigAction, sig: c_int| {
        if action.handler == libc::SIG_IGN as u64 {
            0
        } else {
            1u64 << (sig - 1)
        }
    };
    default(interrupt, libc::SIGINT) | default(quit, libc::SIGQUIT)
}

fn restore_keyboard() {
    let _held = KEYBOARD.lock.hold();
    // SAFETY: the lock is held.
    let (users, interrupt, quit) = unsafe { &mut *KEYBOARD.state.get() };
    *users -= 1;
    if *users == 0 {
        let _ = ask!(libc::SYS_rt_sigaction, libc::SIGINT, &raw const *interrupt, 0, 8);
        let _ = ask!(libc::SYS_rt_sigaction, libc::SIGQUIT, &raw const *quit, 0, 8);
    }
}
