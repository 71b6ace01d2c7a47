//! UNIX sockets: data, names, descriptors on their way.

mod common;
use common::*;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

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
