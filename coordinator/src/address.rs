//! Where a coordinator is: a port of this host, reached through a UNIX socket, or a port of another host.

use crate::options::{CoordOptions, DEFAULT_PORT};
use crate::run_folder;
use std::fmt;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone)]
pub struct Address {
    /// Another host; `None` is this one.
    pub host: Option<String>,
    pub port: u16,
    /// Where the sockets and keys of local coordinators may be.
    pub folders: Vec<PathBuf>,
    /// The key for another host, where it is not in a run folder.
    pub key_file: Option<PathBuf>,
    pub tmpdir: Option<PathBuf>,
}

impl Address {
    pub fn from_options(options: &CoordOptions) -> Address {
        Address {
            host: options.remote_host().map(str::to_owned),
            port: options.port(),
            folders: run_folder::candidates(options.tmpdir.as_deref()),
            key_file: options.key_file.clone(),
            tmpdir: options.tmpdir.clone(),
        }
    }

    /// A port of this host.
    pub fn local(port: u16, tmpdir: Option<&Path>) -> Address {
        let (folders, tmpdir) = (run_folder::candidates(tmpdir), tmpdir.map(Path::to_owned));
        Address { host: None, port, folders, key_file: None, tmpdir }
    }

    pub fn with_port(&self, port: u16) -> Address {
        Address { port, ..self.clone() }
    }

    /// The key file to prove oneself with on another host.
    pub fn key_path(&self) -> Option<PathBuf> {
        let in_folder = || self.folders.iter().map(|folder| run_folder::key_path(folder, self.port));
        self.key_file.clone().or_else(|| in_folder().find(|path| path.exists()))
    }
}

impl Default for Address {
    fn default() -> Address {
        Address::local(DEFAULT_PORT, None)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) => write!(f, "port {} of host {host}", self.port),
            None => write!(f, "port {} of this host", self.port),
        }
    }
}
