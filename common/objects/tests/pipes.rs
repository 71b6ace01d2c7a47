//! Pipes, fifos and what is in them.

mod common;
use common::*;
use std::os::fd::{AsRawFd, OwnedFd};

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
