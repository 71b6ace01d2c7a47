//! Pipes, fifos and sockets with data on its way.

mod common;
use common::*;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

fn fill(fd: &OwnedFd, seed: u64) -> Vec<u8> {
    let flags = fcntl(fd, libc::F_GETFL, 0);
    nonblocking(fd);
    let mut sent = Vec::new();
    let data = pattern(1 << 20, seed);
    while sent.len() < data.len() {
        match write(fd, &data[sent.len()..data.len().min(sent.len() + 3000)]) {
            Ok(n) => sent.extend_from_slice(&data[sent.len()..sent.len() + n]),
            Err(_) => break,
        }
    }
    fcntl(fd, libc::F_SETFL, flags);
    sent
}

fn read_exactly(fd: &OwnedFd, len: usize) -> Vec<u8> {
    let mut data = Vec::new();
    while data.len() < len {
        let piece = read(fd, len - data.len()).unwrap();
        assert!(!piece.is_empty(), "end after {} of {len}", data.len());
        data.extend(piece);
    }
    data
}

fn assert_empty(fd: &OwnedFd) {
    nonblocking(fd);
    assert_eq!(errno(read(fd, 10)), libc::EAGAIN);
}

#[test]
fn full_pipes_and_socketpairs_stay_and_come_back() {
    let _turn = turn();
    let mut ends = Vec::new();
    let mut contents = Vec::new();
    for i in 0..100 {
        let (r, w) = if i % 2 == 0 {
            pipe()
        } else {
            socketpair(libc::SOCK_STREAM)
        };
        contents.push(fill(&w, i));
        ends.extend([r, w]);
    }
    let numbers: Vec<i32> = ends.iter().map(|fd| fd.as_raw_fd()).collect();
    // Twice: the first capture leaves everything as it was.
    checkpoint(&numbers);
    let (set, blobs) = checkpoint(&numbers);
    for (i, content) in contents.iter().enumerate() {
        assert_eq!(read_exactly(&ends[2 * i], content.len()), *content, "original {i}");
        assert_empty(&ends[2 * i]);
    }
    drop(ends);
    let rebuilt = restart(&set, &blobs);
    for (i, content) in contents.iter().enumerate() {
        let r = at(&set, &rebuilt, numbers[2 * i]);
        assert_eq!(read_exactly(&r, content.len()), *content, "rebuilt {i}");
        let w = at(&set, &rebuilt, numbers[2 * i + 1]);
        write(&w, b"more").unwrap();
        assert_eq!(read(&r, 10).unwrap(), b"more");
        assert_empty(&r);
    }
}

#[test]
fn a_pipe_with_one_end_closed() {
    let _turn = turn();
    let (r, w) = pipe();
    write(&w, b"last words").unwrap();
    drop(w);
    let (r2, w2) = pipe();
    drop(r2);
    let (new, _, _) = cycle(vec![r, w2]);
    assert_eq!(read(&new[0], 100).unwrap(), b"last words");
    assert_eq!(read(&new[0], 100).unwrap(), b"");
    assert_eq!(write(&new[1], b"x").unwrap_err().raw_os_error(), Some(libc::EPIPE));
}

#[test]
fn packets_and_size_of_a_pipe() {
    let _turn = turn();
    let (r, w) = pipe();
    fcntl(&w, libc::F_SETFL, libc::O_DIRECT | libc::O_NONBLOCK);
    fcntl(&w, libc::F_SETPIPE_SZ, 16384);
    for packet in ["one", "second", "3"] {
        write(&w, packet.as_bytes()).unwrap();
    }
    let (new, _, _) = cycle(vec![r, w]);
    assert_eq!(fcntl(&new[1], libc::F_GETPIPE_SZ, 0), 16384);
    assert_eq!(
        fcntl(&new[1], libc::F_GETFL, 0) & (libc::O_DIRECT | libc::O_NONBLOCK),
        libc::O_DIRECT | libc::O_NONBLOCK
    );
    assert_eq!(fcntl(&new[0], libc::F_GETFL, 0) & libc::O_NONBLOCK, 0);
    for packet in ["one", "second", "3"] {
        assert_eq!(read(&new[0], 100).unwrap(), packet.as_bytes());
    }
}

#[test]
fn fifos() {
    let _turn = turn();
    let folder = Folder::new("fifo");
    let path = folder.path("f");
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: a NUL-terminated path.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let both = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let w: OwnedFd = std::fs::OpenOptions::new().write(true).open(&path).unwrap().into();
    write(&w, b"in a fifo").unwrap();
    let (new, _, _) = cycle(vec![both.into(), w]);
    assert_eq!(read(&new[0], 100).unwrap(), b"in a fifo");
    write(&new[1], b"again").unwrap();
    std::fs::remove_file(&path).unwrap();
    let (new, _, _) = cycle(new);
    assert_eq!(read(&new[0], 100).unwrap(), b"again");
    assert!(!path.exists());
}

#[test]
fn datagram_and_packet_pairs_keep_their_messages() {
    let _turn = turn();
    for kind in [libc::SOCK_DGRAM, libc::SOCK_SEQPACKET] {
        let (a, b) = socketpair(kind);
        write(&a, b"first").unwrap();
        write(&a, &pattern(5000, 1)).unwrap();
        write(&b, b"back").unwrap();
        let (new, _, _) = cycle(vec![a, b]);
        assert_eq!(read(&new[1], 9000).unwrap(), b"first");
        assert_eq!(read(&new[1], 9000).unwrap(), pattern(5000, 1));
        assert_eq!(read(&new[0], 9000).unwrap(), b"back");
        assert_empty(&new[0]);
        assert_empty(&new[1]);
    }
}

#[test]
fn unix_connections_keep_their_names() {
    let _turn = turn();
    let folder = Folder::new("names");
    let path = folder.path("sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut client = UnixStream::connect(&path).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(b"to server").unwrap();
    server.write_all(b"to client").unwrap();
    let waiting = UnixStream::connect(&path).unwrap();
    let (new, _, _) = cycle(vec![listener.into(), client.into(), server.into(), waiting.into()]);
    let mut new = new.into_iter();
    let listener = UnixListener::from(new.next().unwrap());
    let mut client = UnixStream::from(new.next().unwrap());
    let mut server = UnixStream::from(new.next().unwrap());
    let mut waiting = UnixStream::from(new.next().unwrap());
    assert_eq!(server.local_addr().unwrap().as_pathname(), Some(path.as_path()));
    assert_eq!(client.peer_addr().unwrap().as_pathname(), Some(path.as_path()));
    let mut data = [0; 9];
    server.read_exact(&mut data).unwrap();
    assert_eq!(&data, b"to server");
    client.read_exact(&mut data).unwrap();
    assert_eq!(&data, b"to client");
    let (mut accepted, _) = listener.accept().unwrap();
    waiting.write_all(b"was wait.").unwrap();
    accepted.read_exact(&mut data).unwrap();
    assert_eq!(&data, b"was wait.");
    UnixStream::connect(&path).unwrap();
}

#[test]
fn an_unlinked_listener_and_its_connection() {
    let _turn = turn();
    let folder = Folder::new("unlinked");
    let path = folder.path("sock");
    let listener = UnixListener::bind(&path).unwrap();
    let client = UnixStream::connect(&path).unwrap();
    let (server, _) = listener.accept().unwrap();
    std::fs::remove_file(&path).unwrap();
    let (new, _, rebuilt) = cycle(vec![listener.into(), client.into(), server.into()]);
    assert!(rebuilt.risks().is_empty(), "{:?}", rebuilt.risks());
    assert!(!path.exists());
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 0);
    let mut new = new.into_iter();
    let listener = UnixListener::from(new.next().unwrap());
    assert_eq!(listener.local_addr().unwrap().as_pathname(), Some(path.as_path()));
    let client = new.next().unwrap();
    let server = new.next().unwrap();
    write(&client, b"hi").unwrap();
    assert_eq!(read(&server, 10).unwrap(), b"hi");
}

#[test]
fn a_relative_socket_name() {
    let _turn = turn();
    let folder = Folder::new("relative");
    let before = std::env::current_dir().unwrap();
    std::env::set_current_dir(&folder.0).unwrap();
    let listener = UnixListener::bind("rel").unwrap();
    let (set, blobs) = checkpoint(&[listener.as_raw_fd()]);
    std::env::set_current_dir(&before).unwrap();
    let number = listener.as_raw_fd();
    drop(listener);
    let rebuilt = restart(&set, &blobs);
    let listener = UnixListener::from(at(&set, &rebuilt, number));
    assert_eq!(
        listener.local_addr().unwrap().as_pathname(),
        Some(std::path::Path::new("rel"))
    );
    UnixStream::connect(folder.path("rel")).unwrap();
    assert_eq!(std::env::current_dir().unwrap(), before);
}

#[test]
fn abstract_and_half_closed() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;
    let _turn = turn();
    let name = SocketAddr::from_abstract_name(format!("ckpt-test-{}", pid())).unwrap();
    let listener = UnixListener::bind_addr(&name).unwrap();
    let mut client = UnixStream::connect_addr(&name).unwrap();
    let (server, _) = listener.accept().unwrap();
    client.write_all(b"bye").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let (new, _, _) = cycle(vec![listener.into(), client.into(), server.into()]);
    let mut new = new.into_iter();
    assert_eq!(
        UnixListener::from(new.next().unwrap())
            .local_addr()
            .unwrap()
            .as_abstract_name(),
        name.as_abstract_name()
    );
    let client = new.next().unwrap();
    let server = new.next().unwrap();
    assert_eq!(read(&server, 10).unwrap(), b"bye");
    assert_eq!(read(&server, 10).unwrap(), b"");
    write(&server, b"still").unwrap();
    assert_eq!(read(&client, 10).unwrap(), b"still");
    assert_eq!(write(&client, b"x").unwrap_err().raw_os_error(), Some(libc::EPIPE));
}

#[test]
fn a_peer_that_is_gone_or_outside() {
    let _turn = turn();
    let (a, b) = socketpair(libc::SOCK_STREAM);
    write(&b, b"farewell").unwrap();
    drop(b);
    let (c, _outside) = socketpair(libc::SOCK_STREAM);
    let (new, set, _) = cycle(vec![a, c]);
    assert_eq!(set.risks.len(), 1, "{:?}", set.risks);
    assert_eq!(read(&new[0], 100).unwrap(), b"farewell");
    assert_eq!(read(&new[0], 100).unwrap(), b"");
    assert_eq!(read(&new[1], 100).unwrap(), b"");
    assert_eq!(write(&new[1], b"x").unwrap_err().raw_os_error(), Some(libc::EPIPE));
}

#[test]
fn named_datagram_sockets() {
    let _turn = turn();
    let folder = Folder::new("dgram");
    let (pa, pb) = (folder.path("a"), folder.path("b"));
    let a = UnixDatagram::bind(&pa).unwrap();
    let b = UnixDatagram::bind(&pb).unwrap();
    b.connect(&pa).unwrap();
    b.send(b"from b").unwrap();
    let c = UnixDatagram::unbound().unwrap();
    c.send_to(b"from nobody", &pa).unwrap();
    let gone = folder.path("gone");
    UnixDatagram::bind(&gone).unwrap().send_to(b"from gone", &pa).unwrap();
    std::fs::remove_file(&gone).unwrap();
    let (new, _, _) = cycle(vec![a.into(), b.into(), c.into()]);
    let mut new = new.into_iter().map(UnixDatagram::from);
    let (a, b) = (new.next().unwrap(), new.next().unwrap());
    let mut data = [0; 100];
    for (text, from) in [("from b", Some(&pb)), ("from nobody", None), ("from gone", Some(&gone))] {
        let (n, sender) = a.recv_from(&mut data).unwrap();
        assert_eq!(&data[..n], text.as_bytes());
        assert_eq!(sender.as_pathname(), from.map(|p| p.as_path()));
    }
    b.send(b"again").unwrap();
    assert_eq!(a.recv(&mut data).unwrap(), 5);
}

fn send_fds(socket: &OwnedFd, data: &[u8], fds: &[i32]) {
    let mut control = [0u64; 16];
    let mut iov = libc::iovec {
        iov_base: data.as_ptr() as *mut _,
        iov_len: data.len(),
    };
    // SAFETY: every buffer of the header is as long as it says.
    unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_iov = &mut iov;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = libc::CMSG_SPACE(4 * fds.len() as u32) as usize;
        let cmsg = libc::CMSG_FIRSTHDR(&header);
        (*cmsg).cmsg_level = libc::SOL_SOCKET;
        (*cmsg).cmsg_type = libc::SCM_RIGHTS;
        (*cmsg).cmsg_len = libc::CMSG_LEN(4 * fds.len() as u32) as usize;
        std::ptr::copy_nonoverlapping(fds.as_ptr(), libc::CMSG_DATA(cmsg).cast(), fds.len());
        assert!(libc::sendmsg(socket.as_raw_fd(), &header, 0) >= 0);
    }
}

fn receive_fd(socket: &OwnedFd, len: usize) -> (Vec<u8>, Option<OwnedFd>) {
    let mut data = vec![0u8; len];
    let mut control = [0u64; 16];
    let mut iov = libc::iovec {
        iov_base: data.as_mut_ptr().cast(),
        iov_len: len,
    };
    // SAFETY: every buffer of the header is as long as it says.
    unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_iov = &mut iov;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = 128;
        let n = libc::recvmsg(socket.as_raw_fd(), &mut header, libc::MSG_DONTWAIT);
        assert!(n >= 0, "{}", std::io::Error::last_os_error());
        data.truncate(n as usize);
        let cmsg = libc::CMSG_FIRSTHDR(&header);
        let fd = (!cmsg.is_null()).then(|| own(libc::CMSG_DATA(cmsg).cast::<i32>().read_unaligned()));
        (data, fd)
    }
}

#[test]
fn descriptors_on_their_way() {
    let _turn = turn();
    for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET] {
        let (a, b) = socketpair(kind);
        let (r, w) = pipe();
        let (inner_a, inner_b) = socketpair(libc::SOCK_STREAM);
        write(&inner_a, b"nested").unwrap();
        write(&a, b"plain").unwrap();
        send_fds(&a, b"with-pipe", &[w.as_raw_fd()]);
        send_fds(&a, b"with-socket", &[inner_b.as_raw_fd()]);
        write(&a, b"tail").unwrap();
        drop((w, inner_b));
        let numbers = [a.as_raw_fd(), b.as_raw_fd(), r.as_raw_fd(), inner_a.as_raw_fd()];
        checkpoint(&numbers);
        let (new, _, _) = cycle(vec![a, b, r, inner_a]);
        // The sharp bound: descriptors belong to the bytes they were sent with.
        let (data, none) = receive_fd(&new[1], 5);
        assert_eq!((data.as_slice(), none.is_none()), (&b"plain"[..], true));
        let (data, w) = receive_fd(&new[1], 100);
        assert_eq!(data, b"with-pipe");
        write(&w.unwrap(), b"through").unwrap();
        assert_eq!(read(&new[2], 100).unwrap(), b"through");
        let (data, inner) = receive_fd(&new[1], 100);
        assert_eq!(data, b"with-socket");
        assert_eq!(read(&inner.unwrap(), 100).unwrap(), b"nested");
        assert_eq!(receive_fd(&new[1], 100).0, b"tail");
    }
}

fn tcp_pair(address: &str) -> (TcpListener, TcpStream, TcpStream) {
    let listener = TcpListener::bind(address).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    (listener, client, server)
}

#[test]
fn tcp_keeps_addresses_data_and_options() {
    let _turn = turn();
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (listener, mut client, mut server) = tcp_pair(address);
        client.set_nodelay(true).unwrap();
        client.write_all(b"to server").unwrap();
        server.write_all(b"to client").unwrap();
        let names = (client.local_addr().unwrap(), client.peer_addr().unwrap());
        let (new, _, rebuilt) = cycle(vec![listener.into(), client.into(), server.into()]);
        assert!(rebuilt.risks().is_empty(), "{:?}", rebuilt.risks());
        let mut new = new.into_iter();
        let listener = TcpListener::from(new.next().unwrap());
        let mut client = TcpStream::from(new.next().unwrap());
        let mut server = TcpStream::from(new.next().unwrap());
        assert_eq!(names, (client.local_addr().unwrap(), client.peer_addr().unwrap()));
        assert_eq!(names, (server.peer_addr().unwrap(), server.local_addr().unwrap()));
        assert!(client.nodelay().unwrap());
        let mut data = [0; 9];
        server.read_exact(&mut data).unwrap();
        assert_eq!(&data, b"to server");
        client.read_exact(&mut data).unwrap();
        assert_eq!(&data, b"to client");
        TcpStream::connect(names.1).unwrap();
        listener.accept().unwrap();
    }
}

#[test]
fn tcp_full_to_the_brim_stays_and_comes_back() {
    let _turn = turn();
    let (listener, client, server) = tcp_pair("127.0.0.1:0");
    let (client, server) = (OwnedFd::from(client), OwnedFd::from(server));
    let mut sent = Vec::new();
    nonblocking(&client);
    loop {
        let piece = pattern(65536, sent.len() as u64);
        match write(&client, &piece) {
            Ok(n) => sent.extend_from_slice(&piece[..n]),
            Err(_) => break,
        }
    }
    let numbers = [listener.as_raw_fd(), client.as_raw_fd(), server.as_raw_fd()];
    checkpoint(&numbers);
    let (set, blobs) = checkpoint(&numbers);
    assert_eq!(read_exactly(&server, sent.len()), sent);
    assert_empty(&server);
    drop((listener, client, server));
    let rebuilt = restart(&set, &blobs);
    let server = at(&set, &rebuilt, numbers[2]);
    fcntl(&server, libc::F_SETFL, 0);
    assert_eq!(read_exactly(&server, sent.len()), sent);
    assert_empty(&server);
}

#[test]
fn tcp_half_closed_gone_and_outside() {
    let _turn = turn();
    let (l1, mut c1, s1) = tcp_pair("127.0.0.1:0");
    c1.write_all(b"bye").unwrap();
    c1.shutdown(Shutdown::Write).unwrap();
    let (_l2, mut c2, s2) = tcp_pair("127.0.0.1:0");
    c2.write_all(b"gone").unwrap();
    drop(c2);
    let (_l3, mut c3, s3) = tcp_pair("127.0.0.1:0");
    c3.write_all(b"outside").unwrap();
    let (new, set, _) = cycle(vec![l1.into(), c1.into(), s1.into(), s2.into(), s3.into()]);
    assert_eq!(set.risks.len(), 1, "{:?}", set.risks);
    let [_, c1, s1, s2, s3] = &new[..] else { panic!() };
    assert_eq!(read(s1, 10).unwrap(), b"bye");
    assert_eq!(read(s1, 10).unwrap(), b"");
    write(s1, b"answer").unwrap();
    assert_eq!(read(c1, 10).unwrap(), b"answer");
    assert_eq!(write(c1, b"x").unwrap_err().raw_os_error(), Some(libc::EPIPE));
    assert_eq!(read(s2, 10).unwrap(), b"gone");
    assert_eq!(read(s2, 10).unwrap(), b"");
    assert_eq!(read(s3, 10).unwrap(), b"outside");
    assert_eq!(errno(read(s3, 10)), libc::ECONNRESET);
}

#[test]
fn tcp_backlog() {
    let _turn = turn();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let waiting: Vec<TcpStream> = (0..3)
        .map(|_| TcpStream::connect(listener.local_addr().unwrap()).unwrap())
        .collect();
    let ports: Vec<u16> = waiting.iter().map(|w| w.local_addr().unwrap().port()).collect();
    let mut fds = vec![OwnedFd::from(listener)];
    fds.extend(waiting.into_iter().map(OwnedFd::from));
    let (new, _, _) = cycle(fds);
    let mut new = new.into_iter();
    let listener = TcpListener::from(new.next().unwrap());
    let mut accepted: Vec<u16> = (0..3).map(|_| listener.accept().unwrap().1.port()).collect();
    accepted.sort_unstable();
    let mut ports = ports;
    ports.sort_unstable();
    assert_eq!(accepted, ports);
}

#[test]
fn tcp_backlog_with_data() {
    let _turn = turn();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let texts = ["first", "second", ""];
    let mut clients: Vec<TcpStream> = Vec::new();
    for text in texts {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(text.as_bytes()).unwrap();
        clients.push(client);
    }
    clients[1].shutdown(Shutdown::Write).unwrap();
    let ports: Vec<u16> = clients.iter().map(|w| w.local_addr().unwrap().port()).collect();
    let check = |listener: &TcpListener, clients: Vec<TcpStream>| {
        for (i, mut client) in clients.into_iter().enumerate() {
            let (mut server, from) = listener.accept().unwrap();
            assert_eq!(from.port(), ports[i]);
            if i != 1 {
                client.write_all(b"!").unwrap();
            }
            client.shutdown(Shutdown::Write).unwrap();
            let mut text = String::new();
            server.read_to_string(&mut text).unwrap();
            assert_eq!(text, format!("{}{}", texts[i], if i == 1 { "" } else { "!" }));
            server.write_all(b"answer").unwrap();
            drop(server);
            text.clear();
            client.read_to_string(&mut text).unwrap();
            assert_eq!(text, "answer");
        }
    };
    let mut numbers = vec![listener.as_raw_fd()];
    numbers.extend(clients.iter().map(|c| c.as_raw_fd()));
    checkpoint(&numbers);
    let (set, blobs) = checkpoint(&numbers);
    check(&listener, clients);
    drop(listener);
    let rebuilt = restart(&set, &blobs);
    let clients = numbers[1..]
        .iter()
        .map(|n| TcpStream::from(at(&set, &rebuilt, *n)))
        .collect();
    check(&TcpListener::from(at(&set, &rebuilt, numbers[0])), clients);
}

#[test]
fn udp_keeps_its_datagrams() {
    let _turn = turn();
    let a = UdpSocket::bind("127.0.0.1:0").unwrap();
    let b = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (pa, pb) = (a.local_addr().unwrap(), b.local_addr().unwrap());
    b.connect(pa).unwrap();
    b.send(b"from b").unwrap();
    let gone = UdpSocket::bind("127.0.0.1:0").unwrap();
    gone.send_to(b"from gone", pa).unwrap();
    let pg = gone.local_addr().unwrap();
    drop(gone);
    let numbers = [a.as_raw_fd(), b.as_raw_fd()];
    checkpoint(&numbers);
    let (new, _, _) = cycle(vec![a.into(), b.into()]);
    let mut new = new.into_iter().map(UdpSocket::from);
    let (a, b) = (new.next().unwrap(), new.next().unwrap());
    assert_eq!(
        (a.local_addr().unwrap(), b.local_addr().unwrap(), b.peer_addr().unwrap()),
        (pa, pb, pa)
    );
    let mut data = [0; 100];
    for (text, from) in [("from b", pb), ("from gone", pg)] {
        let (n, sender) = a.recv_from(&mut data).unwrap();
        assert_eq!((&data[..n], sender), (text.as_bytes(), from));
    }
    a.send_to(b"back", pb).unwrap();
    assert_eq!(b.recv(&mut data).unwrap(), 4);
}
