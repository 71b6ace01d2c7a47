//! Where the coordinator listens: always on its UNIX socket, on TCP where asked to.

use super::settings::Settings;
use crate::auth::{Key, KeyError};
use crate::run_folder::{self, Claim, RunFolderError};
use nix::sys::socket::{getsockopt, sockopt};
use std::io;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error(transparent)]
    RunFolder(#[from] RunFolderError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("cannot listen on {address} port {port}: {source}; give another --listen or --coord-port")]
    Tcp { address: String, port: u16, source: io::Error },
}

impl ListenError {
    pub fn is_port_taken(&self) -> bool {
        match self {
            ListenError::RunFolder(RunFolderError::PortTaken(_)) => true,
            ListenError::Tcp { source, .. } => source.kind() == io::ErrorKind::AddrInUse,
            _ => false,
        }
    }
}

#[derive(Debug)]
pub struct Listeners {
    pub claim: Claim,
    pub tcp: Option<(TcpListener, Key)>,
}

pub fn open(settings: &Settings) -> Result<Listeners, ListenError> {
    let folders = run_folder::candidates(settings.coord.tmpdir.as_deref());
    let Some(address) = settings.listen_address() else {
        let claim = match settings.coord.port() {
            0 => run_folder::claim_any(&folders)?,
            port => run_folder::claim(&folders, port)?,
        };
        return Ok(Listeners { claim, tcp: None });
    };
    let tcp = bind(&address, settings.coord.port())?;
    let port = tcp.local_addr().map_or(settings.coord.port(), |bound| bound.port());
    let claim = run_folder::claim(&folders, port)?;
    let key = match &settings.coord.key_file {
        Some(path) if path.exists() => Key::load(path)?,
        Some(path) => Key::create(path)?,
        None => Key::create(&claim.key_path())?,
    };
    Ok(Listeners { claim, tcp: Some((tcp, key)) })
}

fn bind(address: &str, port: u16) -> Result<TcpListener, ListenError> {
    let failed = |source| ListenError::Tcp { address: address.into(), port, source };
    let addresses: Vec<_> = (address, port).to_socket_addrs().map_err(failed)?.collect();
    let listener = TcpListener::bind(&addresses[..]).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// A local client is served if it is this user's or root's.
pub fn admit_local(stream: UnixStream) -> io::Result<Option<OwnedFd>> {
    let peer = getsockopt(&stream, sockopt::PeerCredentials)?;
    let ours = nix::unistd::geteuid().as_raw();
    Ok((peer.uid() == ours || peer.uid() == 0).then(|| stream.into()))
}

pub fn prepare_remote(stream: TcpStream) -> io::Result<OwnedFd> {
    use nix::sys::socket::setsockopt;
    stream.set_nodelay(true)?;
    setsockopt(&stream, sockopt::KeepAlive, &true)?;
    setsockopt(&stream, sockopt::TcpKeepIdle, &60)?;
    setsockopt(&stream, sockopt::TcpKeepInterval, &20)?;
    setsockopt(&stream, sockopt::TcpKeepCount, &3)?;
    Ok(stream.into())
}
