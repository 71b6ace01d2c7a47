//! Faults on purpose, for tests: `CKPT_FAULT=STAGE:EFFECT:N` makes the Nth pass through a stage go wrong. Compiled in
//! with the feature `faults` only; otherwise `at` is nothing.

/// Places where something can go wrong, in order: those of a checkpoint, those of it inside the process, those of a
/// restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    Create,
    Quiesce,
    Capture,
    Refill,
    Freeze,
    Write,
    Sync,
    Rename,
    FolderSync,
    Script,
    Committed,
    InQuiesce,
    InCapture,
    InFreeze,
    InWrite,
    Read,
    Validate,
    Rebuild,
    Fork,
    Join,
    Exec,
    Map,
    Restore,
    Barrier,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Effect {
    Eio,
    Enospc,
    Edquot,
    Erofs,
    /// for `STALL` seconds
    Stall,
    /// SIGKILL to the process that passes the stage
    KillSelf,
    KillMember,
    KillWriter,
    KillCoordinator,
    /// the part of ckpt_launch or ckpt_restart that the shell waits for
    KillForeground,
    /// SIGSTOP to the process that passes the stage
    StopSelf,
    StopMember,
    StopCoordinator,
    /// SIGINT to the group of the process that passes the stage, as the terminal sends it: agent, program and foreground part
    Interrupt,
}

/// Seconds.
pub const STALL: i64 = 3;

impl Stage {
    pub const CHECKPOINT: [Stage; 11] = [
        Stage::Create,
        Stage::Quiesce,
        Stage::Capture,
        Stage::Refill,
        Stage::Freeze,
        Stage::Write,
        Stage::Sync,
        Stage::Rename,
        Stage::FolderSync,
        Stage::Script,
        Stage::Committed,
    ];
    /// In libckpt.so, in every process but the one that was launched, which so survives.
    pub const INSIDE: [Stage; 4] = [Stage::InQuiesce, Stage::InCapture, Stage::InFreeze, Stage::InWrite];
    pub const RESTART: [Stage; 9] = [
        Stage::Read,
        Stage::Validate,
        Stage::Rebuild,
        Stage::Fork,
        Stage::Join,
        Stage::Exec,
        Stage::Map,
        Stage::Restore,
        Stage::Barrier,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Stage::Create => "create",
            Stage::Quiesce => "quiesce",
            Stage::Capture => "capture",
            Stage::Refill => "refill",
            Stage::Freeze => "freeze",
            Stage::Write => "write",
            Stage::Sync => "sync",
            Stage::Rename => "rename",
            Stage::FolderSync => "folder-sync",
            Stage::Script => "script",
            Stage::Committed => "committed",
            Stage::InQuiesce => "inside-quiesce",
            Stage::InCapture => "inside-capture",
            Stage::InFreeze => "inside-freeze",
            Stage::InWrite => "inside-write",
            Stage::Read => "read",
            Stage::Validate => "validate",
            Stage::Rebuild => "rebuild",
            Stage::Fork => "fork",
            Stage::Join => "join",
            Stage::Exec => "exec",
            Stage::Map => "map",
            Stage::Restore => "restore",
            Stage::Barrier => "barrier",
        }
    }
}

impl Effect {
    pub const ALL: [Effect; 14] = [
        Effect::Eio,
        Effect::Enospc,
        Effect::Edquot,
        Effect::Erofs,
        Effect::Stall,
        Effect::KillSelf,
        Effect::KillMember,
        Effect::KillWriter,
        Effect::KillCoordinator,
        Effect::KillForeground,
        Effect::StopSelf,
        Effect::StopMember,
        Effect::StopCoordinator,
        Effect::Interrupt,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Effect::Eio => "EIO",
            Effect::Enospc => "ENOSPC",
            Effect::Edquot => "EDQUOT",
            Effect::Erofs => "EROFS",
            Effect::Stall => "stall",
            Effect::KillSelf => "kill-self",
            Effect::KillMember => "kill-member",
            Effect::KillWriter => "kill-writer",
            Effect::KillCoordinator => "kill-coordinator",
            Effect::KillForeground => "kill-foreground",
            Effect::StopSelf => "stop-self",
            Effect::StopMember => "stop-member",
            Effect::StopCoordinator => "stop-coordinator",
            Effect::Interrupt => "Ctrl-C",
        }
    }
}

#[cfg(feature = "faults")]
mod armed {
    use super::{Effect, Stage, STALL};
    use crate::raw::{syscall2, Errno, Result};
    use core::sync::atomic::{AtomicI32, AtomicU32, Ordering::Relaxed};

    static STAGE: AtomicU32 = AtomicU32::new(u32::MAX);
    static EFFECT: AtomicU32 = AtomicU32::new(0);
    static LEFT: AtomicU32 = AtomicU32::new(0);
    static TARGETS: [AtomicI32; Effect::ALL.len()] = [const { AtomicI32::new(0) }; Effect::ALL.len()];

    /// False: the text names no fault.
    pub fn arm(text: &str) -> bool {
        let mut words = text.split(':');
        let (stage, effect, pass) = (words.next(), words.next(), words.next());
        let stages = Stage::CHECKPOINT.into_iter().chain(Stage::INSIDE).chain(Stage::RESTART);
        let stage = stage.and_then(|w| stages.into_iter().find(|s| s.name() == w));
        let effect = effect.and_then(|w| Effect::ALL.into_iter().find(|e| e.name() == w));
        let (Some(stage), Some(effect)) = (stage, effect) else { return false };
        EFFECT.store(effect as u32, Relaxed);
        LEFT.store(pass.and_then(|n| n.parse().ok()).unwrap_or(1), Relaxed);
        STAGE.store(stage as u32, Relaxed);
        true
    }

    /// Whom a kill hits.
    pub fn target(effect: Effect, pid: i32) {
        TARGETS[effect as usize].store(pid, Relaxed);
    }

    pub fn at(stage: Stage) -> Result<()> {
        due(stage).map_or(Ok(()), strike)
    }

    /// The effect of this pass, for somebody else who is to `strike`.
    pub fn due(stage: Stage) -> Option<Effect> {
        let is_it = STAGE.load(Relaxed) == stage as u32 && LEFT.fetch_sub(1, Relaxed) == 1;
        is_it.then(|| Effect::ALL[EFFECT.load(Relaxed) as usize])
    }

    pub fn strike(effect: Effect) -> Result<()> {
        match effect {
            Effect::Eio => Err(Errno(libc::EIO)),
            Effect::Enospc => Err(Errno(libc::ENOSPC)),
            Effect::Edquot => Err(Errno(libc::EDQUOT)),
            Effect::Erofs => Err(Errno(libc::EROFS)),
            Effect::Stall => {
                let time = [STALL, 0];
                // SAFETY: time has the layout of struct timespec.
                unsafe { syscall2(libc::SYS_nanosleep, time.as_ptr() as usize, 0) }.map(drop)
            }
            Effect::KillSelf => {
                send(libc::SIGKILL, crate::calls::getpid())?;
                // The first process of a pid namespace is not killed by its own signal.
                crate::calls::exit_group(128 + libc::SIGKILL)
            }
            // The thread itself: another one would take a while to stop it.
            Effect::StopSelf => crate::calls::tgkill(crate::calls::getpid(), crate::calls::gettid(), libc::SIGSTOP),
            Effect::StopMember => send(libc::SIGSTOP, TARGETS[Effect::KillMember as usize].load(Relaxed)),
            Effect::StopCoordinator => send(libc::SIGSTOP, TARGETS[Effect::KillCoordinator as usize].load(Relaxed)),
            Effect::Interrupt => {
                // SAFETY: numbers only.
                let _ = unsafe { syscall2(libc::SYS_kill, 0, libc::SIGINT as usize) };
                Ok(())
            }
            _ => send(libc::SIGKILL, TARGETS[effect as usize].load(Relaxed)),
        }
    }

    fn send(signal: i32, pid: i32) -> Result<()> {
        if pid > 0 {
            // SAFETY: numbers only.
            let _ = unsafe { syscall2(libc::SYS_kill, pid as usize, signal as usize) };
        }
        Ok(())
    }
}

/// `CKPT_FAULT` is read.
pub const COMPILED_IN: bool = cfg!(feature = "faults");

#[cfg(feature = "faults")]
pub use armed::{arm, at, due, strike, target};

#[cfg(not(feature = "faults"))]
mod absent {
    use super::{Effect, Stage};

    #[inline(always)]
    pub fn arm(_: &str) -> bool {
        false
    }

    #[inline(always)]
    pub fn target(_: Effect, _: i32) {}

    #[inline(always)]
    pub fn at(_: Stage) -> crate::Result<()> {
        Ok(())
    }

    #[inline(always)]
    pub fn due(_: Stage) -> Option<Effect> {
        None
    }

    #[inline(always)]
    pub fn strike(_: Effect) -> crate::Result<()> {
        Ok(())
    }
}

#[cfg(not(feature = "faults"))]
pub use absent::{arm, at, due, strike, target};
