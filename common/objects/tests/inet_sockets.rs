//! TCP and UDP.

mod common;
use common::*;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

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

/// Before anything is started; all of them, each by its number.
#[test]
fn ports_that_somebody_else_has_are_named_before() {
    let _turn = turn();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (one, two) = (tcp.local_addr().unwrap(), udp.local_addr().unwrap());
    let (set, _) = checkpoint(&[tcp.as_raw_fd(), udp.as_raw_fd()]);
    // The sockets that were captured stand for the stranger's.
    let problems = ckpt_objects::preflight(&set, &Default::default());
    let said: Vec<&str> = problems.iter().map(|p| p.what.as_str()).collect();
    assert!(problems.iter().all(|p| p.severity == ckpt_objects::Severity::Fatal), "{said:?}");
    assert!(said.len() == 2 && said[0].contains(&format!("TCP port {}: ", one.port())) && said[1].contains(&format!("UDP port {}: ", two.port())), "{said:?}");
    drop((tcp, udp));
    assert!(ckpt_objects::preflight(&set, &Default::default()).is_empty());
}
