//! Every kernel object behind a file descriptor: recognise, capture, rebuild, install.
//!
//! The agent calls [`capture`] while all members of the computation are stopped; it holds a duplicate of each of
//! their descriptors. Nothing a program could notice is different afterwards. `ckpt_restart` calls [`preflight`] and
//! [`rebuild`] before it forks the tree; every forked child calls [`Rebuilt::install`] and execs.
//!
//! An *object* is an open file description (what `dup` and `fork` share), not a descriptor.

mod bytes;
mod capture;
mod check;
mod error;
mod install;
mod intern;
pub mod ipc;
pub mod kinds;
mod locks;
mod model;
#[doc(hidden)]
pub mod parsers;
mod preflight;
mod probe;
mod rebuild;
mod sock;
mod sockopt;
mod sys;

pub use bytes::Bytes;
pub use capture::{capture, BlobSink, CaptureContext, ProcessFd, ProcessFds};
pub use error::{CaptureError, RebuildError, Refusal};
pub use model::{BlobRef, FdEntry, Kind, Late, Object, ObjectId, ObjectSet, RangeLock, RecordLock, SignalOwner};
pub use kinds::tcpend::end_without_trace;
pub use preflight::{preflight, PreflightOptions, Problem, Severity};
pub use sys::raise_file_limit;
pub use rebuild::{open_outside, rebuild, AsProcess, BlobSource, PidMap, RebuildContext, Rebuilt, Terminal};
