//! Bytes on their way between two TCP sockets. What the receiver has can be peeked; what still waits in the sender
//! cannot, so then everything is read out and written back.

use super::unixqueue::PeekOffset;
use crate::sock;
use crate::sys;
use std::io;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(3);

/// A stream, and the urgent byte (MSG_OOB) that is beside it behind so many of its bytes.
#[derive(Default)]
pub struct Waiting {
    pub bytes: Vec<u8>,
    pub urgent: Option<(u64, u8)>,
}

/// Everything `reader` would still get. `writer`: the other end, and whether it has said FIN.
pub fn collect(reader: RawFd, writer: Option<(RawFd, bool)>) -> io::Result<Waiting> {
    match writer {
        // Reading would pass over the urgent byte.
        Some((writer, false)) if unsent(writer)? > 0 && has_urgent(reader) => {
            let corked = uncork(writer);
            let pulled = pull_over(reader, writer, 0);
            recork(writer, corked);
            pulled?;
            peek(reader)
        }
        Some((writer, false)) if unsent(writer)? > 0 => {
            let bytes = drain_and_refill(reader, writer, &mut |_| Ok(()))?;
            Ok(Waiting { bytes, urgent: None })
        }
        Some((writer, true)) if unsent(writer)? > 0 => {
            pull_over(reader, writer, FIN)?;
            peek(reader)
        }
        _ => peek(reader),
    }
}

fn has_urgent(reader: RawFd) -> bool {
    let _apart = Apart::set(reader);
    sock::peek_urgent(reader).is_some()
}

/// The end of the stream counts as one byte that is not acknowledged.
const FIN: usize = 1;

/// Bytes (and FIN) the other side has not acknowledged.
fn unsent(writer: RawFd) -> io::Result<usize> {
    sys::ioctl_get::<i32>(writer, libc::TIOCOUTQ).map(|n| n.max(0) as usize)
}

fn peek(reader: RawFd) -> io::Result<Waiting> {
    let _apart = Apart::set(reader);
    let Some(byte) = sock::peek_urgent(reader) else {
        return peek_plain(reader).map(|bytes| Waiting { bytes, urgent: None });
    };
    // The size that the kernel tells, and a peek, end at the mark; a peek from there goes on behind it.
    let at_mark = sock::at_mark(reader);
    let guard = PeekOffset::start(reader)?;
    let mut bytes = Vec::new();
    let mut before = if at_mark { Some(0) } else { None };
    let mut chunk = vec![0; 256 << 10];
    loop {
        guard.set(bytes.len() + usize::from(before.is_some() && !bytes.is_empty()))?;
        match sock::receive(reader, &mut chunk, libc::MSG_PEEK) {
            Ok(m) if m.len > 0 => bytes.extend_from_slice(&chunk[..m.len]),
            Err(e) if !sock::would_block(&e) => return Err(e),
            _ => break,
        }
        before = before.or(Some(bytes.len() as u64));
    }
    Ok(Waiting { urgent: Some((before.unwrap_or(0), byte)), bytes })
}

/// Urgent data beside the stream for a while (SO_OOBINLINE off), so that it can be told from the rest.
struct Apart(RawFd, bool);

impl Apart {
    fn set(fd: RawFd) -> Apart {
        let inline = sock::getsockopt_int(fd, libc::SOL_SOCKET, libc::SO_OOBINLINE).unwrap_or(0) != 0;
        if inline {
            let _ = sock::set_int(fd, libc::SOL_SOCKET, libc::SO_OOBINLINE, 0);
        }
        Apart(fd, inline)
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        if self.1 {
            let _ = sock::set_int(self.0, libc::SOL_SOCKET, libc::SO_OOBINLINE, 1);
        }
    }
}

fn peek_plain(reader: RawFd) -> io::Result<Vec<u8>> {
    let available = sys::readable_bytes(reader).unwrap_or(0);
    let mut data = vec![0; available];
    if available == 0 {
        return Ok(data);
    }
    let moved = sock::getsockopt_int(reader, libc::SOL_SOCKET, libc::SO_PEEK_OFF).is_ok_and(|o| o >= 0);
    let _guard = if moved { Some(PeekOffset::start(reader)?) } else { None };
    let got = sock::receive(reader, &mut data, libc::MSG_PEEK)?.len;
    if got < available {
        return Err(io::Error::other(format!(
            "only {got} of {available} waiting bytes can be read (urgent data?)"
        )));
    }
    Ok(data)
}

/// A sender that has said FIN cannot be written to again: let all its data come over, but for `left` bytes, and peek there.
fn pull_over(reader: RawFd, writer: RawFd, left: usize) -> io::Result<()> {
    let buffers = Buffers::of(reader)?;
    let clamp = sock::getsockopt_int(reader, libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP);
    sock::widen(reader);
    // Else the window grows with each packet only.
    let _ = sock::set_int(reader, libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP, 1 << 28);
    let pulled = wait_for_all(reader, writer, left);
    if let Ok(clamp) = clamp {
        let _ = sock::set_int(reader, libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP, clamp);
    }
    buffers.restore(reader);
    pulled
}

fn wait_for_all(reader: RawFd, writer: RawFd, left: usize) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while unsent(writer)? > left {
        if Instant::now() > deadline {
            return Err(io::Error::other(
                "half-closed, or with urgent data, and more data than the receiver may hold; let it read first",
            ));
        }
        // Only a read, a peek too, makes the kernel announce the larger window.
        let _ = sock::receive(reader, &mut [0], libc::MSG_PEEK);
        sys::poll(writer, 0, 1)?;
    }
    Ok(())
}

/// Reads until sender and receiver are both empty, then writes all back. `check` stands for whatever may fail in
/// between; the data goes back also then.
pub fn drain_and_refill(
    reader: RawFd,
    writer: RawFd,
    check: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Vec<u8>> {
    let corked = uncork(writer);
    let mut data = Vec::new();
    let drained = drain(reader, writer, &mut data).and_then(|()| check(&data));
    let refilled = put_back(writer, &data);
    recork(writer, corked);
    refilled?;
    drained.map(|()| data)
}

fn drain(reader: RawFd, writer: RawFd, data: &mut Vec<u8>) -> io::Result<()> {
    let mut chunk = vec![0; 256 << 10];
    let mut deadline = Instant::now() + PATIENCE;
    loop {
        match sock::receive(reader, &mut chunk, 0) {
            Ok(message) if message.len > 0 => {
                data.extend_from_slice(&chunk[..message.len]);
                deadline = Instant::now() + PATIENCE;
            }
            Ok(_) => return Ok(()),
            Err(e) if sock::would_block(&e) => {
                if unsent(writer)? == 0 && sys::readable_bytes(reader)? == 0 {
                    return Ok(());
                }
                if Instant::now() > deadline {
                    return Err(io::Error::other("its peer's data does not arrive"));
                }
                sys::poll(reader, libc::POLLIN, 5)?;
            }
            Err(e) => return Err(e),
        }
    }
}

/// It fitted before, so it fits again, except for how the kernel accounts for small pieces: then the buffer grows.
pub fn put_back(writer: RawFd, mut data: &[u8]) -> io::Result<()> {
    let buffers = Buffers::of(writer)?;
    let deadline = Instant::now() + PATIENCE;
    let mut stalled = 0;
    while !data.is_empty() {
        match sock::send(writer, data, None, &[]) {
            Ok(sent) => data = &data[sent..],
            Err(e) if sock::would_block(&e) && Instant::now() < deadline => {
                stalled += 1;
                if stalled == 20 {
                    sock::widen(writer);
                }
                sys::poll(writer, libc::POLLOUT, 5)?;
            }
            Err(e) => return Err(e),
        }
    }
    if stalled >= 20 {
        buffers.restore(writer);
    }
    Ok(())
}

/// Buffer sizes and whether the program has set them.
struct Buffers(Vec<(i32, i32)>);

impl Buffers {
    fn of(fd: RawFd) -> io::Result<Buffers> {
        const SO_BUF_LOCK: i32 = 72;
        let get = |name| Some((name, sock::getsockopt_int(fd, libc::SOL_SOCKET, name).ok()?));
        Ok(Buffers(
            [libc::SO_SNDBUF, libc::SO_RCVBUF, SO_BUF_LOCK]
                .into_iter()
                .filter_map(get)
                .collect(),
        ))
    }

    fn restore(&self, fd: RawFd) {
        for (name, value) in &self.0 {
            let doubled = *name == libc::SO_SNDBUF || *name == libc::SO_RCVBUF;
            let value = if doubled { value / 2 } else { *value };
            let _ = sock::set_int(fd, libc::SOL_SOCKET, *name, value);
        }
    }
}

/// Nagle and TCP_CORK hold a last small piece back.
fn uncork(writer: RawFd) -> (i32, i32) {
    let get = |name| sock::getsockopt_int(writer, libc::IPPROTO_TCP, name).unwrap_or(0);
    let before = (get(libc::TCP_NODELAY), get(libc::TCP_CORK));
    let _ = sock::set_int(writer, libc::IPPROTO_TCP, libc::TCP_CORK, 0);
    let _ = sock::set_int(writer, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1);
    before
}

fn recork(writer: RawFd, (nodelay, cork): (i32, i32)) {
    let _ = sock::set_int(writer, libc::IPPROTO_TCP, libc::TCP_NODELAY, nodelay);
    let _ = sock::set_int(writer, libc::IPPROTO_TCP, libc::TCP_CORK, cork);
}

/// Refill of a new connection. Its buffers have the default size; they grow only under traffic, so a large amount
/// is preceded by some.
pub fn fill_new(writer: RawFd, reader: RawFd, data: &[u8], urgent: Option<(u64, u8)>) -> io::Result<()> {
    let corked = uncork(writer);
    if data.len() > 64 << 10 {
        warm_up(writer, reader)?;
    }
    let before = urgent.map_or(data.len(), |u| data.len().min(u.0 as usize));
    let mut result = put_back(writer, &data[..before]);
    if let Some((_, byte)) = urgent {
        result = result.and_then(|()| sock::send_urgent(writer, byte)).and_then(|()| put_back(writer, &data[before..]));
    }
    recork(writer, corked);
    result
}

fn warm_up(writer: RawFd, reader: RawFd) -> io::Result<()> {
    let chunk = vec![0; 256 << 10];
    let mut sink = vec![0; 1 << 20];
    let (mut sent, mut received) = (0, 0);
    while sent < 32 << 20 {
        match sock::send(writer, &chunk, None, &[]) {
            Ok(n) => sent += n,
            Err(e) if sock::would_block(&e) => {}
            Err(e) => return Err(e),
        }
        received += read_some(reader, &mut sink)?;
    }
    let deadline = Instant::now() + PATIENCE;
    while received < sent {
        if Instant::now() > deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        sys::poll(reader, libc::POLLIN, 5)?;
        received += read_some(reader, &mut sink)?;
    }
    Ok(())
}

fn read_some(reader: RawFd, sink: &mut [u8]) -> io::Result<usize> {
    match sock::receive(reader, sink, 0) {
        Ok(message) => Ok(message.len),
        Err(e) if sock::would_block(&e) => Ok(0),
        Err(e) => Err(e),
    }
}

/// After shutdown(SHUT_RD) an empty queue reads as the end.
pub fn is_deaf(reader: RawFd) -> io::Result<bool> {
    let hung_up = sys::poll(reader, libc::POLLRDHUP, 0)? & libc::POLLRDHUP != 0;
    Ok(hung_up)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    fn full_connection() -> io::Result<(TcpStream, TcpStream, Vec<u8>)> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut client = TcpStream::connect(listener.local_addr()?)?;
        let (server, _) = listener.accept()?;
        client.set_nonblocking(true)?;
        let mut sent = Vec::new();
        loop {
            let piece: Vec<u8> = (0..65536usize).map(|i| (i * 7 + sent.len()) as u8).collect();
            match client.write(&piece) {
                Ok(n) => sent.extend_from_slice(&piece[..n]),
                Err(_) => return Ok((client, server, sent)),
            }
        }
    }

    #[test]
    fn a_failure_between_drain_and_refill_loses_nothing() -> io::Result<()> {
        let (client, mut server, sent) = full_connection()?;
        let mut fail = |data: &[u8]| match data.len() == sent.len() {
            true => Err(io::Error::other("injected")),
            false => Err(io::Error::other("drained too little")),
        };
        let result = drain_and_refill(server.as_raw_fd(), client.as_raw_fd(), &mut fail);
        assert_eq!(result.err().map(|e| e.to_string()).as_deref(), Some("injected"));
        let mut got = vec![0; sent.len()];
        server.read_exact(&mut got)?;
        assert!(got == sent);
        server.set_nonblocking(true)?;
        assert!(server.read(&mut [0; 1]).is_err_and(|e| sock::would_block(&e)));
        Ok(())
    }
}
