//! eventfd, timerfd, signalfd, epoll, inotify, message queues, terminals; and `install` in a child.

mod common;
use ckpt_objects::{ObjectSet, Rebuilt};
use common::*;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;

fn eventfd(count: u32, flags: i32) -> OwnedFd {
    // SAFETY: no memory involved.
    own(unsafe { libc::eventfd(count, flags) })
}

fn number_in(data: Vec<u8>) -> u64 {
    u64::from_ne_bytes(data.try_into().unwrap())
}

#[test]
fn eventfd_counts() {
    let _turn = turn();
    let (new, _, _) = cycle(vec![
        eventfd(7, 0),
        eventfd(3, libc::EFD_SEMAPHORE | libc::EFD_NONBLOCK),
    ]);
    assert_eq!(number_in(read(&new[0], 8).unwrap()), 7);
    for _ in 0..3 {
        assert_eq!(number_in(read(&new[1], 8).unwrap()), 1);
    }
    assert_eq!(errno(read(&new[1], 8)), libc::EAGAIN);
}

#[test]
fn timerfd_goes_on() {
    let _turn = turn();
    let make = |value: (i64, i64), interval: (i64, i64)| {
        // SAFETY: no memory involved.
        let fd = own(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK) });
        let time = |t: (i64, i64)| libc::timespec {
            tv_sec: t.0,
            tv_nsec: t.1,
        };
        let spec = libc::itimerspec {
            it_interval: time(interval),
            it_value: time(value),
        };
        // SAFETY: a filled struct.
        let done = unsafe { libc::timerfd_settime(fd.as_raw_fd(), 0, &spec, std::ptr::null_mut()) };
        assert_eq!(done, 0);
        fd
    };
    let long = make((1000, 0), (5, 0));
    let fired = make((0, 1), (0, 0));
    let unarmed = make((0, 0), (0, 0));
    let mut p = libc::pollfd {
        fd: fired.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one pollfd.
    assert_eq!(unsafe { libc::poll(&mut p, 1, -1) }, 1);
    let (new, _, _) = cycle(vec![long, fired, unarmed]);
    // SAFETY: all zeroes are a valid itimerspec, which the kernel fills.
    let spec = unsafe {
        let mut spec: libc::itimerspec = std::mem::zeroed();
        libc::timerfd_gettime(new[0].as_raw_fd(), &mut spec);
        spec
    };
    assert!((990..=1000).contains(&spec.it_value.tv_sec) && spec.it_interval.tv_sec == 5);
    assert_eq!(number_in(read(&new[1], 8).unwrap()), 1);
    assert_eq!(errno(read(&new[2], 8)), libc::EAGAIN);
}

#[test]
fn message_queues() {
    let _turn = turn();
    let name = std::ffi::CString::new(format!("/ckpt-objects-{}", pid())).unwrap();
    // SAFETY: all zeroes are a valid mq_attr.
    let mut attributes: libc::mq_attr = unsafe { std::mem::zeroed() };
    attributes.mq_maxmsg = 5;
    attributes.mq_msgsize = 64;
    // SAFETY: a NUL-terminated name, filled attributes.
    let fd = own(unsafe {
        libc::mq_open(
            name.as_ptr(),
            libc::O_CREAT | libc::O_RDWR | libc::O_NONBLOCK,
            0o600,
            &mut attributes as *mut _,
        )
    });
    for (text, priority) in [("low", 1), ("high", 9), ("low too", 1)] {
        // SAFETY: a message of the length given.
        let done = unsafe { libc::mq_send(fd.as_raw_fd(), text.as_ptr().cast(), text.len(), priority) };
        assert_eq!(done, 0);
    }
    checkpoint(&[fd.as_raw_fd()]);
    // SAFETY: a NUL-terminated name.
    unsafe { libc::mq_unlink(name.as_ptr()) };
    let (new, _, _) = cycle(vec![fd]);
    for expected in [("high", 9), ("low", 1), ("low too", 1)] {
        let mut buffer = [0u8; 64];
        let mut priority = 0;
        // SAFETY: a buffer of the length given.
        let n = unsafe { libc::mq_receive(new[0].as_raw_fd(), buffer.as_mut_ptr().cast(), 64, &mut priority) };
        assert_eq!(
            (std::str::from_utf8(&buffer[..n as usize]).unwrap(), priority),
            expected
        );
    }
}

fn pty() -> (OwnedFd, OwnedFd) {
    let (mut master, mut slave) = (0, 0);
    let null = std::ptr::null_mut();
    // SAFETY: two numbers to fill, no name, settings or size given.
    let done = unsafe { libc::openpty(&mut master, &mut slave, null, null as *const _, null as *const _) };
    assert_eq!(done, 0);
    (own(master), own(slave))
}

#[test]
fn terminals_keep_settings_and_data() {
    let _turn = turn();
    let (master, slave) = pty();
    let size = libc::winsize {
        ws_row: 33,
        ws_col: 77,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: a filled struct.
    unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSWINSZ, &size) };
    write(&slave, b"printed\n").unwrap();
    write(&master, b"typed\npart").unwrap();
    // Read the echo too: what is in the master now is `printed`, `typed`, `part`.
    let numbers = [master.as_raw_fd(), slave.as_raw_fd()];
    checkpoint(&numbers);
    let (set, blobs) = checkpoint(&numbers);
    let check = |master: &OwnedFd, slave: &OwnedFd| {
        assert_eq!(
            String::from_utf8(read(master, 100).unwrap()).unwrap(),
            "printed\r\ntyped\r\npart"
        );
        assert_eq!(read(slave, 100).unwrap(), b"typed\n");
        write(master, b"ial\n").unwrap();
        assert_eq!(read(slave, 100).unwrap(), b"partial\n");
        // SAFETY: a struct that the kernel fills.
        let now = unsafe {
            let mut now: libc::winsize = std::mem::zeroed();
            libc::ioctl(slave.as_raw_fd(), libc::TIOCGWINSZ, &mut now);
            now
        };
        assert_eq!((now.ws_row, now.ws_col), (33, 77));
    };
    check(&master, &slave);
    drop((master, slave));
    let rebuilt = restart(&set, &blobs);
    check(&at(&set, &rebuilt, numbers[0]), &at(&set, &rebuilt, numbers[1]));
    assert_eq!(rebuilt.terminals().len(), 1);
}

#[test]
fn a_terminal_whose_slave_has_closed() {
    let _turn = turn();
    let (master, slave) = pty();
    write(&slave, b"bye").unwrap();
    drop(slave);
    let (new, _, _) = cycle(vec![master]);
    assert_eq!(read(&new[0], 100).unwrap(), b"bye");
    assert_eq!(errno(read(&new[0], 100)), libc::EIO);
}

/// Runs `check` in a child that has installed the descriptors of `pid`.
fn in_child(set: &ObjectSet, rebuilt: &Rebuilt, check: impl Fn() -> bool) {
    // SAFETY: the child only installs, checks and exits.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let installed = rebuilt.install(set, pid_of(set), &[]);
        let code = match installed {
            Ok(()) if check() => 0,
            Ok(()) => 1,
            Err(_) => 2,
        };
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: waits for the child just made.
    unsafe { libc::waitpid(child, &mut status, 0) };
    assert_eq!(libc::WEXITSTATUS(status), 0, "status {status:x}");
}

fn pid_of(set: &ObjectSet) -> i32 {
    set.processes[0].0
}

fn epoll_add(epoll: &OwnedFd, fd: RawFd, events: i32, data: u64) {
    let mut event = libc::epoll_event {
        events: events as u32,
        u64: data,
    };
    // SAFETY: a filled struct.
    let done = unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &mut event) };
    assert_eq!(done, 0);
}

fn epoll_ready(epoll: RawFd) -> Vec<(u32, u64)> {
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 16];
    // SAFETY: room for as many events as said.
    let n = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), 16, 0) };
    let mut ready: Vec<(u32, u64)> = events[..n.max(0) as usize].iter().map(|e| (e.events, e.u64)).collect();
    ready.sort_by_key(|r| r.1);
    ready
}

#[test]
fn epoll_watches_the_same_files() {
    let _turn = turn();
    // SAFETY: no memory involved.
    let make = || own(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) });
    let (outer, inner) = (make(), make());
    let (quiet, loud, oneshot, moved) = (eventfd(0, 0), eventfd(1, 0), eventfd(1, 0), eventfd(1, 0));
    epoll_add(&inner, quiet.as_raw_fd(), libc::EPOLLIN, 11);
    epoll_add(&inner, loud.as_raw_fd(), libc::EPOLLIN | libc::EPOLLET, 12);
    epoll_add(&outer, inner.as_raw_fd(), libc::EPOLLIN, 21);
    epoll_add(&outer, oneshot.as_raw_fd(), libc::EPOLLIN | libc::EPOLLONESHOT, 22);
    assert_eq!(epoll_ready(outer.as_raw_fd()).len(), 2);
    // Registered under a number that is closed now; the file lives on under another.
    epoll_add(&outer, moved.as_raw_fd(), libc::EPOLLIN, 23);
    let elsewhere = dup(moved.as_raw_fd());
    drop(moved);
    let fds = vec![outer, inner, quiet, loud, oneshot, elsewhere];
    let (outer, inner, oneshot) = (fds[0].as_raw_fd(), fds[1].as_raw_fd(), fds[4].as_raw_fd());
    let numbers: Vec<RawFd> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
    let (set, blobs) = checkpoint(&numbers);
    drop(fds);
    let rebuilt = restart(&set, &blobs);
    in_child(&set, &rebuilt, || {
        let input = libc::EPOLLIN as u32;
        let first = epoll_ready(outer);
        let nested = epoll_ready(inner);
        let mut event = libc::epoll_event { events: input, u64: 99 };
        // SAFETY: a filled struct.
        let rearmed = unsafe { libc::epoll_ctl(outer, libc::EPOLL_CTL_MOD, oneshot, &mut event) };
        first == [(input, 21), (input, 23)]
            && nested == [(input, 12)]
            && rearmed == 0
            && epoll_ready(outer) == [(input, 23), (input, 99)]
    });
}

#[test]
fn install_puts_everything_into_place() {
    let _turn = turn();
    let folder = Folder::new("install");
    let path = folder.path("locked");
    std::fs::write(&path, b"0123456789").unwrap();
    let locked: OwnedFd = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap()
        .into();
    let lock = libc::flock {
        l_type: libc::F_WRLCK as i16,
        l_whence: 0,
        l_start: 2,
        l_len: 3,
        l_pid: 0,
    };
    // SAFETY: a filled struct.
    assert_eq!(unsafe { libc::fcntl(locked.as_raw_fd(), libc::F_SETLK, &lock) }, 0);
    // SAFETY: no memory involved.
    let pidfd = own(unsafe { libc::syscall(libc::SYS_pidfd_open, pid(), 0) } as i32);
    let status: OwnedFd = std::fs::File::open("/proc/self/status").unwrap().into();
    let fds = vec![locked, pidfd, status];
    let numbers: Vec<RawFd> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
    let (set, blobs) = checkpoint(&numbers);
    assert_eq!(set.record_locks.len(), 1);
    drop(fds);
    let rebuilt = restart(&set, &blobs);
    in_child(&set, &rebuilt, || {
        // The listing itself takes one more.
        let open = std::fs::read_dir("/proc/self/fd").unwrap().count();
        let text = String::from_utf8(read(&numbers[2], 4096).unwrap()).unwrap();
        let text = text.lines().any(|l| l == format!("Pid:\t{}", pid_of(&set)));
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        let me = format!("WRITE {} ", std::process::id());
        let locked = locks
            .lines()
            .any(|l| l.contains("POSIX") && l.contains(&me) && l.ends_with(" 2 4"));
        // SAFETY: signal 0 only asks.
        let signal = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, numbers[1], 0, 0usize, 0) };
        open == 4 && text && locked && signal == 0
    });
}

#[test]
fn inotify_keeps_its_numbers() {
    let _turn = turn();
    let folder = Folder::new("inotify");
    std::fs::create_dir(folder.path("a")).unwrap();
    std::fs::create_dir(folder.path("b")).unwrap();
    // Ordinary users' files are found near what is open.
    let near: OwnedFd = std::fs::File::open(&folder.0).unwrap().into();
    // SAFETY: no memory involved.
    let fd = own(unsafe { libc::inotify_init1(libc::IN_NONBLOCK) });
    let add = |path: &Path| {
        let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: a NUL-terminated path.
        unsafe { libc::inotify_add_watch(fd.as_raw_fd(), name.as_ptr(), libc::IN_CREATE) }
    };
    let first = add(&folder.path("a"));
    // SAFETY: no memory involved.
    unsafe { libc::inotify_rm_watch(fd.as_raw_fd(), first) };
    read(&fd, 4096).unwrap();
    let wd = add(&folder.path("b"));
    assert_eq!(wd, 2);
    let (new, set, _) = cycle(vec![near, fd]);
    assert!(set.risks.is_empty(), "{:?}", set.risks);
    std::fs::write(folder.path("b").join("new"), b"").unwrap();
    let event = read(&new[1], 4096).unwrap();
    assert_eq!(i32::from_ne_bytes(event[..4].try_into().unwrap()), 2);
}

#[test]
fn netlink_is_made_again() {
    let _turn = turn();
    // SAFETY: no memory involved.
    let fd = own(unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE) });
    let (new, _, _) = cycle(vec![fd]);
    assert_eq!(new.len(), 1);
}

#[test]
fn ten_plain_descriptors_cost_little() {
    let _turn = turn();
    let fds: Vec<OwnedFd> = (0..10)
        .map(|_| std::fs::File::open("/etc/passwd").unwrap().into())
        .collect();
    let numbers: Vec<RawFd> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
    let best = (0..20).map(|_| {
        let start = std::time::Instant::now();
        checkpoint(&numbers);
        start.elapsed()
    });
    let best = best.min().unwrap();
    println!("ten descriptors: {best:?}");
    assert!(best < std::time::Duration::from_millis(1), "{best:?}");
}

#[test]
fn standard_streams_are_inherited_and_files_are_not() {
    let _turn = turn();
    let folder = Folder::new("std");
    std::fs::write(folder.path("out"), b"").unwrap();
    let (_r, outer) = pipe();
    let out: OwnedFd = std::fs::OpenOptions::new()
        .write(true)
        .open(folder.path("out"))
        .unwrap()
        .into();
    let (lost, _w) = pipe();
    let mut blobs = Blobs::default();
    let std = [Some(outer.as_raw_fd()), Some(out.as_raw_fd()), None];
    let mut ctx = ckpt_objects::CaptureContext {
        others_std: &[],
        std,
        save_open_files: false,
        blobs: &mut blobs,
    };
    let numbers = [outer.as_raw_fd(), out.as_raw_fd(), lost.as_raw_fd()];
    let set = ckpt_objects::capture(&[table(pid(), &numbers)], &mut ctx).unwrap();
    let kinds: Vec<String> = set.objects.iter().map(|o| format!("{:?}", o.kind)).collect();
    assert_eq!(kinds[0], "Inherited(Std(0))");
    assert!(kinds[1].starts_with("File"), "{}", kinds[1]);
    assert_eq!(kinds[2], "Inherited(OuterPipe { like: None })");
    let rebuilt = restart(&set, &blobs);
    assert_eq!(rebuilt.risks().len(), 1);
    assert_eq!(read(&at(&set, &rebuilt, numbers[2]), 10).unwrap(), b"");
}

#[test]
fn signal_owners() {
    let _turn = turn();
    let (r, w) = pipe();
    // SAFETY: no memory involved.
    unsafe { libc::fcntl(r.as_raw_fd(), libc::F_SETOWN, libc::getpid()) };
    fcntl(&r, 10, libc::SIGUSR1);
    let numbers = [r.as_raw_fd(), w.as_raw_fd()];
    let (set, blobs) = checkpoint(&numbers);
    drop((r, w));
    let rebuilt = restart(&set, &blobs);
    in_child(&set, &rebuilt, || {
        fcntl(&numbers[0], libc::F_GETOWN, 0) == pid_of(&set) && fcntl(&numbers[0], 11, 0) == libc::SIGUSR1
    });
}

#[test]
fn a_notification_is_registered_again() {
    let _turn = turn();
    let name = std::ffi::CString::new(format!("/ckpt-notify-{}", pid())).unwrap();
    // SAFETY: all zeroes are a valid mq_attr and a valid sigevent.
    let (mut attributes, mut event): (libc::mq_attr, libc::sigevent) = unsafe { std::mem::zeroed() };
    attributes.mq_maxmsg = 2;
    attributes.mq_msgsize = 8;
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = libc::SIGURG;
    // SAFETY: a NUL-terminated name and filled structs.
    let fd = unsafe {
        let fd = own(libc::mq_open(
            name.as_ptr(),
            libc::O_CREAT | libc::O_RDWR,
            0o600,
            &mut attributes as *mut _,
        ));
        assert_eq!(libc::syscall(libc::SYS_mq_notify, fd.as_raw_fd(), &event), 0);
        libc::mq_unlink(name.as_ptr());
        fd
    };
    let number = fd.as_raw_fd();
    let (set, blobs) = checkpoint(&[number]);
    assert_eq!(
        set.queues[0].notify.as_ref().map(|n| (n.pid, n.signal)),
        Some((pid(), libc::SIGURG))
    );
    drop(fd);
    let rebuilt = restart(&set, &blobs);
    in_child(&set, &rebuilt, || {
        let text = String::from_utf8(read(&number, 200).unwrap()).unwrap();
        text.contains(&format!("NOTIFY_PID:{}", std::process::id()))
    });
}
