//! The coordinator: a barrier and a name service for the agents of one computation, and the client library that
//! agents and `ckpt_command` reach it with. Its state is rebuilt from its clients when it is lost.

pub mod address;
pub mod auth;
pub mod barrier;
pub mod client;
pub mod command;
pub mod daemon;
pub mod hooks;
pub mod hub;
pub mod launch;
pub mod listing;
pub mod options;
pub mod prompt;
pub mod report;
pub mod run_folder;
pub mod server;

pub use address::Address;
pub use client::{Client, ClientError, Polled};
pub use launch::{connect_or_start, reconnect, JoinMode, LaunchOptions};

/// This host's name as other hosts may know it.
pub fn host_name() -> String {
    nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_else(|_| "localhost".into())
}
