//! The coordinator process: one thread and epoll move bytes between clients and the hub.

mod connection;
mod console;
mod events;
mod hook_runner;
mod listen;
mod log;
mod settings;
mod setup;

pub use listen::ListenError;
pub use settings::Settings;

use crate::daemon;
use crate::launch::EXIT_PORT_TAKEN;
use events::Server;
use std::io;
use std::process::ExitCode;

#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("{what}: {source}; correct the option or the folder")]
    File { what: String, source: io::Error },
    #[error("system call failed: {0}; is the limit of open files or memory reached?")]
    System(#[from] nix::Error),
    #[error("cannot go to the background: {0}; run it without --daemon")]
    Daemon(io::Error),
}

impl ServerError {
    fn status(&self) -> u8 {
        match self {
            ServerError::Listen(error) if error.is_port_taken() => EXIT_PORT_TAKEN as u8,
            _ => 1,
        }
    }
}

/// Runs the coordinator to its end.
pub fn main(mut settings: Settings) -> ExitCode {
    settings.folder = std::env::current_dir().ok();
    // Who ignores it, by inheritance too, cannot wait for a hook.
    // SAFETY: our own disposition, with one thread.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    let served = match settings.daemon {
        true => serve_detached(&settings),
        false => Server::open(&settings).and_then(|server| serve_here(&settings, server)),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ckpt_coordinator: {error}");
            ExitCode::from(error.status())
        }
    }
}

fn serve_here(settings: &Settings, mut server: Server) -> Result<(), ServerError> {
    server.watch_console(settings.prompt)?;
    server.announce();
    server.run()
}

fn serve_detached(settings: &Settings) -> Result<(), ServerError> {
    let readiness = daemon::detach().map_err(ServerError::Daemon)?;
    let mut server = match Server::open(settings) {
        Ok(server) => server,
        Err(error) => {
            readiness.failed(error.status(), &error.to_string());
            return Ok(());
        }
    };
    let port = server.port().to_string();
    readiness.ready(settings.log.as_deref(), &port).map_err(ServerError::Daemon)?;
    server.announce();
    server.run()
}
