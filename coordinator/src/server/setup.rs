//! What the server needs before and beside its loop.

use super::Settings;
use ckpt_wire::{encode, ComputationId, CoordinatorMessage, WireError, MAX_REPLY};
use nix::sys::resource::{getrlimit, setrlimit, Resource};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// What a hook that calls `ckpt_command` needs in its environment.
pub(super) fn variables(settings: &Settings, port: u16) -> Vec<(&'static str, String)> {
    let tmpdir = settings.coord.tmpdir.iter().map(|folder| ("CKPT_TMPDIR", folder.display().to_string()));
    std::iter::once(("CKPT_COORD_PORT", port.to_string())).chain(tmpdir).collect()
}

/// An answer that is too long is cut to what still says the most.
pub(super) fn encode_fitting(message: &CoordinatorMessage) -> Result<Vec<u8>, WireError> {
    let encoded = encode(message, MAX_REPLY);
    if !matches!(encoded, Err(WireError::FrameTooLong { .. })) {
        return encoded;
    }
    let shorter = match message {
        CoordinatorMessage::Done(summary) => {
            let mut summary = summary.clone();
            summary.images.truncate(1_000);
            CoordinatorMessage::Done(summary)
        }
        CoordinatorMessage::Status(status) => {
            let mut status = status.clone();
            status.last.iter_mut().for_each(|last| last.process_events.clear());
            status.restarted.iter_mut().for_each(|last| last.process_events.clear());
            CoordinatorMessage::Status(status)
        }
        _ => CoordinatorMessage::Failed { reason: "the answer is too long to be sent; ask on one host".into() },
    };
    encode(&shorter, MAX_REPLY)
}

pub(super) fn watch_signals() -> Result<SignalFd, nix::Error> {
    let watched = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    watched.thread_block()?;
    // Read from the background, the terminal answers EIO instead of stopping us.
    SigSet::from_iter([Signal::SIGTTIN, Signal::SIGTTOU]).thread_block()?;
    SignalFd::with_flags(&watched, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

/// Thousands of clients need as many descriptors.
pub(super) fn raise_file_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // The old limit serves fewer clients, no less well.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

pub(super) fn random_id() -> ComputationId {
    let mut id = [0; 16];
    if getrandom::fill(&mut id).is_err() {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos());
        id = now.to_le_bytes();
    }
    ComputationId(id)
}
