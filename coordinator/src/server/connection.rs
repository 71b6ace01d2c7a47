//! One client's connection: what it sent so far, what it has yet to take, and whether it has proved itself.

use crate::auth::{self, Key, KeyError, Nonce, Side, Tag};
use ckpt_wire::{
    ClientMessage, FrameDecoder, FrameKey, Preamble, WireError, AUTH_NONCE_LEN, AUTH_TAG_LEN, MAX_FRAME, PROTOCOL_VERSION,
};
use nix::sys::socket::{recv, send, MsgFlags};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A client that lets more than this pile up is dropped.
const MAX_OUTBOX: usize = 32 << 20;
/// Reads at most this much in a row, so that one client cannot keep the others waiting.
const READ_TURNS: usize = 16;
/// Bytes.
pub const READ_AT_ONCE: usize = 32 << 10;
const PROOF_LEN: usize = AUTH_NONCE_LEN + AUTH_TAG_LEN;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error("closed by the client")]
    Ended,
    #[error("closed by the client in the middle of a message")]
    Truncated,
    #[error("the key was refused")]
    WrongKey,
    #[error("it does not take what it is sent")]
    Slow,
    #[error("{0}")]
    Wire(#[from] WireError),
    #[error("{0}")]
    Io(#[from] nix::Error),
}

#[derive(Debug)]
enum Trust {
    Proven,
    Challenged { key: Box<Key>, nonce: Nonce, proof: Vec<u8> },
}

#[derive(Debug)]
pub struct Connection {
    stream: OwnedFd,
    trust: Trust,
    decoder: FrameDecoder,
    /// A tag follows every frame that leaves.
    tags: Option<FrameKey>,
    outbox: Vec<u8>,
    /// Bytes at the front of `outbox` that are sent.
    sent: usize,
    /// Ends as soon as `outbox` is empty.
    pub closing: bool,
    /// epoll watches for room to write.
    pub watches_output: bool,
}

impl Connection {
    /// Greets the client; one that comes by TCP is challenged.
    pub fn new(stream: OwnedFd, key: Option<&Key>) -> Result<Connection, KeyError> {
        let mut outbox = Preamble { version: PROTOCOL_VERSION, key_wanted: key.is_some() }.to_bytes().to_vec();
        let trust = match key {
            None => Trust::Proven,
            Some(key) => {
                let nonce = auth::nonce()?;
                outbox.extend(nonce);
                Trust::Challenged { key: Box::new(key.clone()), nonce, proof: Vec::new() }
            }
        };
        Ok(Connection {
            stream,
            trust,
            decoder: FrameDecoder::new(MAX_FRAME),
            tags: None,
            outbox,
            sent: 0,
            closing: false,
            watches_output: false,
        })
    }

    pub fn is_proven(&self) -> bool {
        matches!(self.trust, Trust::Proven)
    }

    pub fn has_output(&self) -> bool {
        self.sent < self.outbox.len()
    }

    /// Takes what has arrived, by way of `chunk`. Messages before a break count.
    pub fn read(&mut self, chunk: &mut [u8], messages: &mut Vec<ClientMessage>) -> Result<(), Broken> {
        for _ in 0..READ_TURNS {
            let limit = self.read_limit(chunk.len());
            match recv(self.stream.as_raw_fd(), &mut chunk[..limit], MsgFlags::MSG_DONTWAIT) {
                Ok(0) if self.decoder.is_mid_frame() => return Err(Broken::Truncated),
                Ok(0) => return Err(Broken::Ended),
                Ok(len) => {
                    self.take(&chunk[..len], messages)?;
                    // epoll says so when there is more.
                    if len < limit {
                        return Ok(());
                    }
                }
                Err(nix::Error::EAGAIN) => return Ok(()),
                Err(nix::Error::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Not a byte more than the proof before it is verified.
    fn read_limit(&self, most: usize) -> usize {
        match &self.trust {
            Trust::Proven => most,
            Trust::Challenged { proof, .. } => PROOF_LEN - proof.len(),
        }
    }

    fn take(&mut self, bytes: &[u8], messages: &mut Vec<ClientMessage>) -> Result<(), Broken> {
        if let Trust::Challenged { key, nonce, proof } = &mut self.trust {
            proof.extend_from_slice(bytes);
            if proof.len() == PROOF_LEN {
                let agreed = verify(key, nonce, proof).ok_or(Broken::WrongKey)?;
                self.outbox.extend(agreed.answer);
                self.decoder.set_key(agreed.from_client);
                self.tags = Some(agreed.to_client);
                self.trust = Trust::Proven;
            }
            return Ok(());
        }
        self.decoder.push(bytes);
        while let Some(message) = self.decoder.next_message()? {
            messages.push(message);
        }
        Ok(())
    }

    pub fn queue(&mut self, frame: &[u8]) -> Result<(), Broken> {
        self.outbox.drain(..self.sent);
        self.sent = 0;
        if self.outbox.len() + frame.len() > MAX_OUTBOX {
            return Err(Broken::Slow);
        }
        self.outbox.extend_from_slice(frame);
        self.outbox.extend(self.tags.iter_mut().flat_map(|key| key.tag(ckpt_wire::body(frame))));
        Ok(())
    }

    /// Sends what the socket takes now.
    pub fn flush(&mut self) -> Result<(), Broken> {
        while self.has_output() {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match send(self.stream.as_raw_fd(), &self.outbox[self.sent..], flags) {
                Ok(len) => self.sent += len,
                Err(nix::Error::EAGAIN) => return Ok(()),
                Err(nix::Error::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.outbox.clear();
        self.sent = 0;
        Ok(())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

struct Agreed {
    /// Our own proof in return for the client's.
    answer: Tag,
    from_client: FrameKey,
    to_client: FrameKey,
}

fn verify(key: &Key, ours: &Nonce, proof: &[u8]) -> Option<Agreed> {
    let (theirs, tag) = proof.split_at(AUTH_NONCE_LEN);
    let (theirs, tag): (Nonce, Tag) = (theirs.try_into().ok()?, tag.try_into().ok()?);
    key.verify(Side::Client, ours, &theirs, &tag).then(|| Agreed {
        answer: key.tag(Side::Coordinator, ours, &theirs),
        from_client: key.frame_key(Side::Client, ours, &theirs),
        to_client: key.frame_key(Side::Coordinator, ours, &theirs),
    })
}
