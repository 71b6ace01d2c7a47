//! The program's descriptors, for the agent. The checkpoint thread's table is a copy made when the first thread had
//! stopped, or empty; the others went on for a moment, so that the list is read, and what differs is fetched, from a thread
//! of the program now that all have stopped. Done in place (`Arena::is_in_place`), the table is the program's, and what is open
//! for the checkpoint is left out.

use crate::arena::Arena;
use crate::channel::{Channel, MAX_FDS};
use crate::procfs::{self, Path};
use crate::queues;
use ckpt_sys::calls::*;
use ckpt_sys::flat::{FdEntry, Msg, msg};
use ckpt_sys::raw::*;

/// A stopped thread of the program, whose table is the program's.
struct Owner {
    tid: i32,
    /// its table is that of the main thread
    is_process: bool,
    pidfd: Option<Fd>,
}

struct Batch<'a> {
    channel: &'a Channel,
    entries: [FdEntry; MAX_FDS],
    fds: [Fd; MAX_FDS],
    len: usize,
}

/// Numbers that the checkpoint thread needs: its socket, files of /proc, what it fetches.
const ROOM: Fd = 12;

/// The program may have used up its limit (RLIMIT_NOFILE): the highest numbers are freed in our copy of its table, and
/// fetched when it is their turn. Not queues: closing one ends the process's mq_notify(3).
pub fn make_room() {
    const MQUEUE_MAGIC: u64 = 0x1980_0202;
    let mut limit = [0u64; 2];
    // SAFETY: limit has the layout of struct rlimit64.
    let asked = unsafe { syscall4(libc::SYS_prlimit64, 0, libc::RLIMIT_NOFILE as usize, 0, limit.as_mut_ptr() as usize) };
    let end = limit[0].min(i32::MAX as u64) as Fd;
    for number in (end - ROOM).max(0)..end {
        let mut status = [0u64; 15];
        // SAFETY: status is as long as struct statfs.
        let known = unsafe { syscall2(libc::SYS_fstatfs, number as usize, status.as_mut_ptr() as usize) };
        if asked.is_ok() && known.is_ok() && status[0] != MQUEUE_MAGIC {
            close(number);
        }
    }
}

/// May the checkpoint thread begin without descriptors? A copy would keep alive what other threads close while they still run:
/// a lock, a port, the end of a pipe. Not where a copy of a queue's must stay open (mq_notify(3)), nor where it is not sure
/// that we may fetch them. Asked by a thread of the program, in whose table nothing may be opened.
pub fn may_begin_bare() -> bool {
    is_one_of_several() && !queues::any() && prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) == Ok(0) && is_main_there() && fetches()
}

fn is_one_of_several() -> bool {
    let mut stat = [0u64; 18];
    // SAFETY: stat is as long as struct stat, whose third word is the number of links: two, and one for each thread.
    let known = unsafe { syscall4(libc::SYS_newfstatat, libc::AT_FDCWD as usize, c"/proc/self/task".as_ptr() as usize, stat.as_mut_ptr() as usize, 0) };
    known.is_ok() && stat[2] > 3
}

/// Before Linux 6.9 only the main thread has a pidfd. Of one that has ended there is no binary.
fn is_main_there() -> bool {
    let mut byte = 0u8;
    // SAFETY: one writable byte.
    unsafe { syscall4(libc::SYS_readlinkat, libc::AT_FDCWD as usize, c"/proc/self/exe".as_ptr() as usize, &raw mut byte as usize, 1) }.is_ok()
}

/// Does the kernel know the two calls? They are asked for nothing.
fn fetches() -> bool {
    // SAFETY: numbers only.
    let (open, fetch) = unsafe { (syscall2(libc::SYS_pidfd_open, 0, 0), syscall3(libc::SYS_pidfd_getfd, usize::MAX, 0, 0)) };
    (open, fetch) == (Err(Errno::INVAL), Err(Errno(libc::EBADF)))
}

/// The thread shares the program's table: from here on it has one of its own, with nothing in it.
pub fn leave_table() {
    const CLOSE_RANGE_UNSHARE: usize = 2;
    // SAFETY: numbers only; the table is this thread's alone, or becomes so.
    let _ = unsafe { syscall3(libc::SYS_close_range, 0, u32::MAX as usize, CLOSE_RANGE_UNSHARE).or_else(|_| syscall1(libc::SYS_unshare, libc::CLONE_FILES as usize)) };
}

/// Asks something of what the stopped thread `tid` of the program has at `number`.
pub fn with<T>(tid: i32, number: Fd, ask: impl FnOnce(Fd) -> T) -> Option<T> {
    let mut owner = Owner { tid, is_process: true, pidfd: None };
    let fd = owner.descriptor(number).ok()?;
    let answer = ask(fd);
    if fd != number {
        close(fd);
    }
    Some(answer)
}

/// Every descriptor of the program but those that plugins have taken over, in batches that one message carries. `given`: one
/// that the agent has sent, or -1.
pub fn send(a: &Arena, channel: &Channel, tid: i32, given: Fd) -> Result<()> {
    let owner = Owner { tid, is_process: true, pidfd: None };
    if !a.is_in_place() {
        drop_stale(channel.fd(), tid)?;
        return send_all(channel, owner, |fd, _| a.call.is_taken(fd));
    }
    if have_tables_apart(tid) {
        return Err(Errno(libc::EOPNOTSUPP));
    }
    send_all(channel, owner, |fd, listing| a.call.is_taken(fd) || [channel.fd(), given, listing].contains(&fd))
}

/// Those of a thread that shares its table with no main thread. Errors: EOPNOTSUPP where they could be fetched into the
/// program's table only.
pub fn send_own(a: &Arena, channel: &Channel, tid: i32) -> Result<()> {
    if a.is_in_place() {
        return Err(Errno(libc::EOPNOTSUPP));
    }
    send_all(channel, Owner { tid, is_process: false, pidfd: None }, |fd, _| a.call.is_taken(fd))
}

/// kcmp(2): has the thread another table than we? Where it is denied they have one, as threads do.
fn have_tables_apart(tid: i32) -> bool {
    const KCMP_FILES: usize = 2;
    // SAFETY: numbers only.
    unsafe { syscall5(libc::SYS_kcmp, gettid() as usize, tid as usize, KCMP_FILES, 0, 0) }.is_ok_and(|order| order != 0)
}

/// `without` is asked about each, and told of the one that they are listed with.
fn send_all(channel: &Channel, mut owner: Owner, without: impl Fn(Fd, Fd) -> bool) -> Result<()> {
    let tid = owner.tid;
    let mut batch = Batch { channel, entries: [FdEntry::default(); MAX_FDS], fds: [0; MAX_FDS], len: 0 };
    let mut done = Ok(());
    procfs::each_entry(Path::new("/proc/self/task/").number(tid).text("/fd").c_str(), |number, listing| {
        if done.is_ok() && !without(number, listing) {
            let found = match owner.descriptor(number) {
                Err(Errno(libc::EMFILE)) => batch.flush().and_then(|()| owner.descriptor(number)),
                found => found,
            };
            done = found.and_then(|fd| batch.add(number, owner.is_cloexec(number), fd));
        }
    })?;
    done.and_then(|()| batch.flush())
}

/// What the program closed since our copy was made must not live on in it: a pipe would not end, a port stay taken.
fn drop_stale(keep: Fd, tid: i32) -> Result<()> {
    let mut stale = [0; MAX_FDS];
    let mut len = 0;
    procfs::each_number(c"/proc/thread-self/fd", |number| {
        if number != keep && len < MAX_FDS && same_file(gettid(), tid, number) == Ok(false) {
            stale[len] = number;
            len += 1;
        }
    })?;
    // The listing's own descriptor is among them, closed already: closing the number again does nothing.
    stale[..len].iter().for_each(|&fd| close(fd));
    Ok(())
}

impl Owner {
    /// What the program has at `number`: our copy, or a new descriptor of ours.
    fn descriptor(&mut self, number: Fd) -> Result<Fd> {
        let ours = same_file(gettid(), self.tid, number);
        if ours == Ok(true) {
            return Ok(number);
        }
        match (self.fetch(number), ours) {
            // Neither is allowed here: our copy is right unless the number was reused this moment.
            (Err(Errno::PERM | Errno::NOSYS), Err(_)) if self.is_process => Ok(number),
            (fetched, _) => fetched,
        }
    }

    /// Permitted for threads of one process, whoever they belong to.
    fn fetch(&mut self, number: Fd) -> Result<Fd> {
        let pidfd = match self.pidfd {
            Some(pidfd) => pidfd,
            None => *self.pidfd.insert(self.open()?),
        };
        // SAFETY: numbers only.
        unsafe { syscall3(libc::SYS_pidfd_getfd, pidfd as usize, number as usize, 0) }.map(|fd| fd as Fd)
    }

    /// Before Linux 6.9 only the main thread has a pidfd.
    fn open(&self) -> Result<Fd> {
        const PIDFD_THREAD: usize = libc::O_EXCL as usize;
        // SAFETY: numbers only.
        let open = |tid: i32, flags| unsafe { syscall2(libc::SYS_pidfd_open, tid as usize, flags) };
        match open(self.tid, PIDFD_THREAD) {
            Err(_) if self.is_process => open(getpid(), 0),
            opened => opened,
        }
        .map(|fd| fd as Fd)
    }

    fn is_cloexec(&self, number: Fd) -> bool {
        let path = Path::new("/proc/self/task/").number(self.tid).text("/fdinfo/").number(number);
        let mut buf = [0u8; 64];
        let Ok(fd) = open(path.c_str(), libc::O_RDONLY | libc::O_CLOEXEC) else { return false };
        let len = read(fd, &mut buf).unwrap_or(0);
        close(fd);
        flags(&buf[..len]) & libc::O_CLOEXEC != 0
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.pidfd.into_iter().for_each(close);
    }
}

impl Batch<'_> {
    fn add(&mut self, number: Fd, cloexec: bool, fd: Fd) -> Result<()> {
        self.entries[self.len] = FdEntry { number, cloexec: cloexec as u32 };
        self.fds[self.len] = fd;
        self.len += 1;
        if self.len == MAX_FDS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let (entries, fds) = (&self.entries[..self.len], &self.fds[..self.len]);
        if entries.is_empty() {
            return Ok(());
        }
        let m = Msg { kind: msg::FDS, count: fds.len() as u32, ..Msg::default() };
        // SAFETY: entries are flat records.
        let body = unsafe { core::slice::from_raw_parts(entries.as_ptr().cast(), size_of_val(entries)) };
        let sent = self.channel.send_with(m, body, fds);
        for (_, &fetched) in entries.iter().zip(fds).filter(|(e, fd)| e.number != **fd) {
            close(fetched);
        }
        self.len = 0;
        sent
    }
}

/// kcmp(2): have the two threads the same open file at `number`?
fn same_file(a: i32, b: i32, number: Fd) -> Result<bool> {
    const KCMP_FILE: usize = 0;
    let n = number as usize;
    // SAFETY: numbers only.
    match unsafe { syscall6(libc::SYS_kcmp, a as usize, b as usize, KCMP_FILE, n, n, 0) } {
        Ok(order) => Ok(order == 0),
        // We have nothing there.
        Err(Errno(libc::EBADF)) => Ok(false),
        Err(e) => Err(e),
    }
}

/// The number after `flags:` in fdinfo, which is octal.
fn flags(text: &[u8]) -> i32 {
    let line = text.split(|&b| b == b'\n').find_map(|line| line.strip_prefix(b"flags:\t"));
    line.unwrap_or_default().iter().fold(0, |n, &c| n << 3 | (c.wrapping_sub(b'0') & 7) as i32)
}
