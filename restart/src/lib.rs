//! ckpt_restart: read, validate, rebuild kernel objects, fork the tree; then be the agent of what runs.
//! ckpt_inspect: read, validate, tell.

mod again;
mod chain;
mod clocks;
mod environment;
mod forward;
mod gate;
#[doc(hidden)]
pub mod hostile;
mod ids;
mod feed;
mod image_set;
mod inspect;
mod lazy;
mod loosen;
mod memory;
mod namespace;
mod options;
mod plan;
mod preflight;
mod rebuild;
mod restart;
mod session;
mod stand_in;
mod sysv;
mod tree;
mod validate;

pub use inspect::main as inspect;
pub use restart::main;
