//! posix_spawn(3): the real one, with the library in the new program's environment.

use super::abi::{hook, load, store, Code};
use super::environment::{for_program, Strings};
use super::scratch::Scratch;
use crate::ids;
use ckpt_sys::idtable::{RealPid, VirtualPid};
use ckpt_sys::raw::{Errno, Result};
use core::ffi::{c_char, c_int};
use libc::{pid_t, posix_spawn_file_actions_t, posix_spawnattr_t};

type Actions = *const posix_spawn_file_actions_t;
type Attributes = *const posix_spawnattr_t;
/// `posix_spawn` and `posix_spawnp` are declared with `*mut` strings.
type MutStrings = *const *mut c_char;

hook! {
    fn posix_spawn(pid: *mut pid_t, path: *const c_char, actions: Actions, attributes: Attributes, argv: MutStrings,
                   envp: MutStrings) -> c_int => posix_spawn
}
hook! {
    fn posix_spawnp(pid: *mut pid_t, file: *const c_char, actions: Actions, attributes: Attributes, argv: MutStrings,
                    envp: MutStrings) -> c_int => posix_spawnp
}

pub fn posix_spawn(
    pid: *mut pid_t,
    path: *const c_char,
    actions: Actions,
    attributes: Attributes,
    argv: MutStrings,
    envp: MutStrings,
) -> Code {
    Code(spawn(pid, path, attributes, envp.cast(), |pid, attributes, envp| {
        posix_spawn::next(pid, path, actions, attributes, argv, envp.cast())
    }))
}

fn posix_spawnp(
    pid: *mut pid_t,
    file: *const c_char,
    actions: Actions,
    attributes: Attributes,
    argv: MutStrings,
    envp: MutStrings,
) -> Code {
    Code(spawn(pid, file, attributes, envp.cast(), |pid, attributes, envp| {
        posix_spawnp::next(pid, file, actions, attributes, argv, envp.cast())
    }))
}

fn spawn(
    pid: *mut pid_t,
    program: *const c_char,
    attributes: Attributes,
    envp: Strings,
    real: impl FnOnce(*mut pid_t, Attributes, Strings) -> c_int,
) -> Result<()> {
    let mut scratch = Scratch::new();
    let envp = for_program(&mut scratch, program, envp, crate::times::Exec::now())?;
    let mut child: pid_t = 0;
    let translated =
        load(attributes.cast::<SpawnAttributes>()).filter(|a| ids::active() && a.group > 0).map(|mut a| {
            a.group = ids::to_real(VirtualPid(a.group)).0;
            a
        });
    let attributes = translated.as_ref().map_or(attributes, |a| core::ptr::from_ref(a).cast());
    let restarts = crate::state::restarts();
    match real(&mut child, attributes, envp) {
        0 => {
            store(pid, ids::of_child(RealPid(child), restarts).0);
            Ok(())
        }
        code => Err(Errno(code)),
    }
}

/// glibc's `posix_spawnattr_t`: 336 bytes on 64-bit machines, part of its ABI.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SpawnAttributes {
    pub flags: i16,
    pub group: pid_t,
    pub defaults: [u64; 16],
    pub mask: [u64; 16],
    pub priority: c_int,
    pub policy: c_int,
    pub reserved: [c_int; 16],
}

const _: () = assert!(size_of::<SpawnAttributes>() == size_of::<posix_spawnattr_t>());
