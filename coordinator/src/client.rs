//! The way to a coordinator for agents and `ckpt_command`: blocking, with a descriptor that can be polled.

use crate::auth::{self, Key, KeyError, Side};
use crate::run_folder;
use crate::Address;
use ckpt_wire::{
    encode, AgentMessage, ClientMessage, CommandMessage, CoordinatorMessage, FrameDecoder, FrameKey, Hello, Preamble, Welcome,
    WireError, AUTH_NONCE_LEN, AUTH_TAG_LEN, MAX_FRAME, MAX_REPLY, PREAMBLE_LEN, PROTOCOL_VERSION,
};
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{recv, send, setsockopt, sockopt, MsgFlags};
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a coordinator may take to say who it is.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no coordinator answers on {0}; start a program with ckpt_launch, or give --coord-port")]
    NoCoordinator(String),
    #[error(
        "no coordinator answers on {0}; run ckpt_coordinator --listen there, or give another --coord-host or -port"
    )]
    NoRemoteCoordinator(String),
    #[error("the coordinator on {0} does not answer; is it stopped? Kill it, or give another --coord-port")]
    Silent(String),
    #[error("{0} is not a coordinator; give the right --coord-port")]
    NotACoordinator(String),
    #[error(
        "the coordinator on {place} speaks protocol {theirs}, this program {ours}; use the same ckpt on both sides"
    )]
    Version { place: String, theirs: u16, ours: u16 },
    #[error(
        "a key is needed for {0}: copy PORT.key from the run folder of the coordinator's host, give it as --key-file"
    )]
    NoKey(String),
    #[error("{0} refused the key; copy PORT.key again from the coordinator's host and give it as --key-file")]
    WrongKey(String),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the coordinator refuses: {0}")]
    Refused(String),
    #[error("the coordinator went away; run the command again")]
    Closed,
    #[error("host {0} is not known: {1}; give another --coord-host")]
    NoHost(String, io::Error),
    #[error("port file {}: {}; give another --port-file", .0.display(), .1)]
    PortFile(PathBuf, io::Error),
    #[error("connection to the coordinator: {0}")]
    Io(#[from] io::Error),
    #[error("message to or from the coordinator: {0}")]
    Wire(#[from] WireError),
    #[error("the coordinator sent an answer that does not fit; use the same ckpt on both sides")]
    Unexpected,
    #[error(
        "port {0} has a coordinator already; leave --new-coordinator out to join it, or give another --coord-port"
    )]
    PortTaken(u16),
    #[error("cannot start {program}: {reason}; reinstall ckpt or start a coordinator by hand")]
    Start { program: String, reason: String },
}

impl ClientError {
    /// Nobody is there: one may be started.
    pub fn is_absent(&self) -> bool {
        matches!(self, ClientError::NoCoordinator(_) | ClientError::NoRemoteCoordinator(_) | ClientError::NoHost(..))
    }
}

/// What `try_recv` found.
#[derive(Debug)]
pub enum Polled {
    Message(Box<CoordinatorMessage>),
    Nothing,
    Closed,
}

/// A connection to a coordinator. Say `hello` first.
#[derive(Debug)]
pub struct Client {
    stream: OwnedFd,
    decoder: FrameDecoder,
    /// On TCP: a tag follows every frame.
    tags: Option<FrameKey>,
    address: Address,
}

impl Client {
    /// Connects and, on TCP, proves knowledge of the key.
    pub fn connect(address: &Address) -> Result<Client, ClientError> {
        let (stream, keys) = match &address.host {
            Some(host) => connect_remote(address, host)?,
            None => (connect_local(address)?, None),
        };
        let mut decoder = FrameDecoder::new(MAX_REPLY);
        let tags = keys.map(|keys| {
            decoder.set_key(keys.from_coordinator);
            keys.to_coordinator
        });
        Ok(Client { stream, decoder, tags, address: address.clone() })
    }

    /// Where this coordinator is: what to reconnect to and to pass on.
    pub fn address(&self) -> &Address {
        &self.address
    }

    pub fn port(&self) -> u16 {
        self.address.port
    }

    /// Joins. The coordinator's refusal is `ClientError::Refused`.
    pub fn hello(&mut self, hello: &Hello) -> Result<Welcome, ClientError> {
        self.send_message(&ClientMessage::Hello(hello.clone()))?;
        match self.recv_within(GREETING_TIMEOUT)? {
            Some(CoordinatorMessage::Welcome(welcome)) => Ok(welcome),
            Some(CoordinatorMessage::Refused { reason }) => Err(ClientError::Refused(reason)),
            Some(_) => Err(ClientError::Unexpected),
            None => Err(ClientError::Closed),
        }
    }

    pub fn send(&mut self, message: &AgentMessage) -> Result<(), ClientError> {
        self.send_message(&ClientMessage::Agent(message.clone()))
    }

    pub fn command(&mut self, message: &CommandMessage) -> Result<(), ClientError> {
        self.send_message(&ClientMessage::Command(message.clone()))
    }

    fn send_message(&mut self, message: &ClientMessage) -> Result<(), ClientError> {
        let mut frame = encode(message, MAX_FRAME)?;
        if let Some(key) = &mut self.tags {
            let tag = key.tag(ckpt_wire::body(&frame));
            frame.extend(tag);
        }
        let mut rest = &frame[..];
        while !rest.is_empty() {
            match send(self.stream.as_raw_fd(), rest, MsgFlags::MSG_NOSIGNAL) {
                Ok(sent) => rest = &rest[sent..],
                Err(nix::Error::EINTR) => continue,
                Err(nix::Error::EPIPE | nix::Error::ECONNRESET) => return Err(ClientError::Closed),
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
        Ok(())
    }

    /// The next message; waits for it. `None` when the coordinator is gone.
    pub fn recv(&mut self) -> Result<Option<CoordinatorMessage>, ClientError> {
        match self.poll_message(MsgFlags::empty())? {
            Polled::Message(message) => Ok(Some(*message)),
            Polled::Nothing | Polled::Closed => Ok(None),
        }
    }

    /// As `recv`; `ClientError::Silent` when nothing comes for so long.
    pub(crate) fn recv_within(&mut self, patience: Duration) -> Result<Option<CoordinatorMessage>, ClientError> {
        let end = Instant::now() + patience;
        loop {
            match self.try_recv()? {
                Polled::Message(message) => return Ok(Some(*message)),
                Polled::Closed => return Ok(None),
                Polled::Nothing => {}
            }
            let left = end.saturating_duration_since(Instant::now());
            let mut ready = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)];
            match poll(&mut ready, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
                Ok(0) if left.is_zero() => return Err(ClientError::Silent(self.address.to_string())),
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
    }

    /// The next message if one is there. Call it until `Nothing` before polling the descriptor again.
    pub fn try_recv(&mut self) -> Result<Polled, ClientError> {
        self.poll_message(MsgFlags::MSG_DONTWAIT)
    }

    fn poll_message(&mut self, flags: MsgFlags) -> Result<Polled, ClientError> {
        let mut chunk = [0; 16 << 10];
        loop {
            if let Some(message) = self.decoder.next_message()? {
                return Ok(Polled::Message(Box::new(message)));
            }
            match recv(self.stream.as_raw_fd(), &mut chunk, flags) {
                Ok(0) | Err(nix::Error::ECONNRESET) => return Ok(Polled::Closed),
                Ok(len) => self.decoder.push(&chunk[..len]),
                Err(nix::Error::EINTR) => continue,
                Err(nix::Error::EAGAIN) => return Ok(Polled::Nothing),
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
    }
}

impl AsRawFd for Client {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn connect_local(address: &Address) -> Result<OwnedFd, ClientError> {
    let place = address.to_string();
    for folder in address.folders.iter().filter(|folder| run_folder::is_safe(folder)) {
        let Ok(mut stream) = UnixStream::connect(run_folder::socket_path(folder, address.port)) else { continue };
        stream.set_read_timeout(Some(GREETING_TIMEOUT))?;
        match read_preamble(&mut stream, &place) {
            // It was on its way out: as good as gone.
            Err(ClientError::NoCoordinator(_)) => continue,
            other => other?,
        };
        stream.set_read_timeout(None)?;
        return Ok(stream.into());
    }
    Err(ClientError::NoCoordinator(place))
}

fn connect_remote(address: &Address, host: &str) -> Result<(OwnedFd, Option<FrameKeys>), ClientError> {
    let place = address.to_string();
    let absent = || ClientError::NoRemoteCoordinator(place.clone());
    let peers = (host, address.port).to_socket_addrs().map_err(|e| ClientError::NoHost(host.into(), e))?;
    let connect = |peer| TcpStream::connect_timeout(&peer, GREETING_TIMEOUT).ok();
    let mut stream = peers.into_iter().find_map(connect).ok_or_else(absent)?;
    stream.set_read_timeout(Some(GREETING_TIMEOUT))?;
    stream.set_nodelay(true)?;
    let preamble = read_preamble(&mut stream, &place)?;
    // Whoever takes a message over TCP must know the key: one that does not ask for it is no coordinator of ours.
    if !preamble.key_wanted {
        return Err(ClientError::NotACoordinator(place));
    }
    let path = address.key_path().ok_or_else(|| ClientError::NoKey(place.clone()))?;
    let keys = prove(&mut stream, &Key::load(&path)?, &place)?;
    stream.set_read_timeout(None)?;
    // A host that vanished without a word is noticed within two minutes.
    setsockopt(&stream, sockopt::KeepAlive, &true).map_err(io::Error::from)?;
    setsockopt(&stream, sockopt::TcpKeepIdle, &60).map_err(io::Error::from)?;
    setsockopt(&stream, sockopt::TcpKeepInterval, &20).map_err(io::Error::from)?;
    setsockopt(&stream, sockopt::TcpKeepCount, &3).map_err(io::Error::from)?;
    Ok((stream.into(), Some(keys)))
}

fn read_preamble(stream: &mut impl Read, place: &str) -> Result<Preamble, ClientError> {
    let mut bytes = [0; PREAMBLE_LEN];
    stream.read_exact(&mut bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => ClientError::NoCoordinator(place.into()),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ClientError::Silent(place.into()),
        _ => ClientError::Io(error),
    })?;
    let preamble = Preamble::from_bytes(bytes).ok_or_else(|| ClientError::NotACoordinator(place.into()))?;
    if preamble.version != PROTOCOL_VERSION {
        let (theirs, ours) = (preamble.version, PROTOCOL_VERSION);
        return Err(ClientError::Version { place: place.into(), theirs, ours });
    }
    Ok(preamble)
}

/// What the tags of both directions are made with.
struct FrameKeys {
    to_coordinator: FrameKey,
    from_coordinator: FrameKey,
}

/// Both sides prove that they know the key: an impostor learns nothing and is not talked to.
fn prove(stream: &mut (impl Read + Write), key: &Key, place: &str) -> Result<FrameKeys, ClientError> {
    let refused = |_| ClientError::WrongKey(place.into());
    let mut theirs = [0; AUTH_NONCE_LEN];
    stream.read_exact(&mut theirs)?;
    let ours = auth::nonce()?;
    stream.write_all(&[ours, key.tag(Side::Client, &theirs, &ours)].concat())?;
    let mut tag = [0; AUTH_TAG_LEN];
    stream.read_exact(&mut tag).map_err(refused)?;
    if !key.verify(Side::Coordinator, &theirs, &ours, &tag) {
        return Err(ClientError::WrongKey(place.into()));
    }
    let frames = |side| key.frame_key(side, &theirs, &ours);
    Ok(FrameKeys { to_coordinator: frames(Side::Client), from_coordinator: frames(Side::Coordinator) })
}
