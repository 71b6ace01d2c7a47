//! POSIX message queues: taken out and put back, which keeps the order within each priority.

use crate::bytes::Bytes;
use crate::capture::Capturing;
use crate::model::{Kind, ObjectId, ObjectSet};
use crate::probe::Probe;
use crate::rebuild::Rebuilding;
use crate::sys;
use serde::{Deserialize, Serialize};
use std::ffi::CString;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct MqueueEnd {
    /// Index into `ObjectSet::queues`.
    pub queue: u32,
}

#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct MqueueState {
    pub ino: (u64, u64),
    /// With the leading slash.
    pub name: Bytes,
    pub unlinked: bool,
    pub mode: u32,
    pub max_messages: i64,
    pub message_size: i64,
    /// `(priority, message)`, first to be received first.
    pub messages: Vec<(u32, Bytes)>,
    pub notify: Option<Notify>,
}

/// A process waits to be told of a message in the empty queue.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    pub pid: i32,
    /// SIGEV_SIGNAL or SIGEV_NONE.
    /// SIGEV_SIGNAL, SIGEV_NONE or SIGEV_THREAD.
    pub how: i32,
    pub signal: i32,
    /// From the process, as the kernel does not tell them: `sigev_value`, and what SIGEV_THREAD calls.
    pub value: u64,
    pub function: u64,
}

impl ObjectSet {
    /// What `pid` has last asked for on its descriptor.
    pub fn asked_to_notify(&mut self, pid: i32, fd: i32, value: u64, function: u64) {
        let entry = self.descriptors(pid).and_then(|all| all.iter().find(|e| e.number == fd));
        let Some(Kind::Mqueue(end)) = entry.map(|e| &self.object(e.object).kind) else { return };
        let queue = end.queue as usize;
        if let Some(notify) = self.queues[queue].notify.as_mut().filter(|n| n.pid == pid) {
            (notify.value, notify.function) = (value, function);
        }
    }
}

pub fn capture(probe: &Probe, cx: &mut Capturing) -> io::Result<MqueueEnd> {
    let ino = (probe.stat.st_dev, probe.stat.st_ino);
    if let Some(known) = cx.set.queues.iter().position(|q| q.ino == ino) {
        return Ok(MqueueEnd { queue: known as u32 });
    }
    let attributes = attributes(probe.fd)?;
    let unlinked = probe.stat.st_nlink == 0;
    let stem = probe
        .link
        .strip_suffix(b" (deleted)")
        .filter(|_| unlinked)
        .unwrap_or(&probe.link);
    let base = stem.rsplit(|b| *b == b'/').next().unwrap_or_default();
    cx.set.queues.push(MqueueState {
        ino,
        name: [b"/", base].concat().as_slice().into(),
        unlinked,
        mode: probe.stat.st_mode & 0o7777,
        max_messages: attributes.mq_maxmsg,
        message_size: attributes.mq_msgsize,
        messages: Vec::new(),
        notify: notify(probe.fd)?,
    });
    Ok(MqueueEnd {
        queue: cx.set.queues.len() as u32 - 1,
    })
}

/// Reading the descriptor (not receiving) gives `QSIZE:5 NOTIFY:0 SIGNO:10 NOTIFY_PID:99`.
fn notify(fd: RawFd) -> io::Result<Option<Notify>> {
    let reader = sys::reopen(fd, libc::O_RDONLY | libc::O_NONBLOCK)?;
    let mut text = [0; 256];
    let n = sys::read(reader.as_raw_fd(), &mut text)?;
    let text = String::from_utf8_lossy(&text[..n]);
    let value = |key: &str| {
        text.split_whitespace()
            .find_map(|w| w.strip_prefix(key)?.strip_prefix(':')?.parse::<i32>().ok())
            .unwrap_or(0)
    };
    let pid = value("NOTIFY_PID");
    Ok((pid != 0).then(|| Notify {
        pid,
        how: value("NOTIFY"),
        signal: value("SIGNO"),
        value: 0,
        function: 0,
    }))
}

/// In the process that asked for it, whose number `fd` is.
pub fn register(fd: RawFd, notify: &Notify) -> io::Result<()> {
    // SAFETY: all zeroes are a valid sigevent.
    let mut event: libc::sigevent = unsafe { mem::zeroed() };
    event.sigev_notify = notify.how;
    event.sigev_signo = notify.signal;
    event.sigev_value.sival_ptr = std::ptr::without_provenance_mut(notify.value as usize);
    // SAFETY: a filled struct; the raw call takes the descriptor itself.
    sys::cvt(unsafe { libc::syscall(libc::SYS_mq_notify, fd, &event) } as i32).map(drop)
}

fn attributes(fd: RawFd) -> io::Result<libc::mq_attr> {
    // SAFETY: all zeroes are a valid mq_attr, which the kernel fills.
    unsafe {
        let mut attributes: libc::mq_attr = mem::zeroed();
        sys::cvt(libc::mq_getattr(fd, &mut attributes))?;
        Ok(attributes)
    }
}

pub fn drain(cx: &mut Capturing) -> Result<(), (ObjectId, io::Error)> {
    for index in 0..cx.set.queues.len() {
        let end = |id: &ObjectId| matches!(cx.kind(*id), Some(Kind::Mqueue(e)) if e.queue as usize == index);
        let Some(id) = cx.ids().find(end) else { continue };
        let fd = cx.probe(id).fd;
        if cx.set.queues[index].notify.is_some() && attributes(fd).map_err(|e| (id, e))?.mq_curmsgs > 0 {
            // Putting the first message back would send the notification.
            cx.risk(format!(
                "{}: its messages are not saved, because a process waits for a notification",
                cx.describe(id)
            ));
            continue;
        }
        cx.set.queues[index].messages = take_and_return(fd).map_err(|e| (id, e))?;
    }
    Ok(())
}

fn take_and_return(fd: RawFd) -> io::Result<Vec<(u32, Bytes)>> {
    if attributes(fd)?.mq_curmsgs == 0 {
        return Ok(Vec::new());
    }
    // Both directions and no waiting, whatever the program opened.
    let both = sys::reopen(fd, libc::O_RDWR | libc::O_NONBLOCK)?;
    let mut messages = Vec::new();
    let taken = receive_all(both.as_raw_fd(), &mut messages);
    put_all(both.as_raw_fd(), &messages)?;
    taken.map(|()| messages)
}

fn receive_all(fd: RawFd, messages: &mut Vec<(u32, Bytes)>) -> io::Result<()> {
    let mut buffer = vec![0u8; attributes(fd)?.mq_msgsize as usize];
    loop {
        let mut priority = 0;
        // SAFETY: the buffer is as long as said.
        let n = unsafe { libc::mq_receive(fd, buffer.as_mut_ptr().cast(), buffer.len(), &mut priority) };
        match usize::try_from(n) {
            Ok(n) => messages.push((priority, buffer[..n].into())),
            Err(_) => {
                let error = io::Error::last_os_error();
                return if error.kind() == io::ErrorKind::WouldBlock {
                    Ok(())
                } else {
                    Err(error)
                };
            }
        }
    }
}

fn put_all(fd: RawFd, messages: &[(u32, Bytes)]) -> io::Result<()> {
    for (priority, message) in messages {
        // SAFETY: the message is as long as said.
        sys::cvt(unsafe { libc::mq_send(fd, message.as_ptr().cast(), message.len(), *priority) })?;
    }
    Ok(())
}

pub fn open(end: &MqueueEnd, flags: i32, rb: &Rebuilding) -> io::Result<OwnedFd> {
    let queue = &rb.set.queues[end.queue as usize];
    let name = CString::new(queue.name.0.clone())?;
    // SAFETY: all zeroes are a valid mq_attr.
    let mut attributes: libc::mq_attr = unsafe { mem::zeroed() };
    attributes.mq_maxmsg = queue.max_messages;
    attributes.mq_msgsize = queue.message_size;
    // F_GETFL shows O_CLOEXEC here as it was asked for; what comes out is closed on exec in any case.
    let flags = flags & (libc::O_ACCMODE | libc::O_NONBLOCK | libc::O_CLOEXEC) | libc::O_CREAT;
    // SAFETY: a NUL-terminated name and filled attributes.
    let fd = sys::own(unsafe {
        libc::mq_open(
            name.as_ptr(),
            flags,
            queue.mode as libc::mode_t,
            &mut attributes as *mut _,
        )
    })?;
    sys::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC)?;
    Ok(fd)
}

/// The queue may have survived: what it holds now is replaced by what it held then.
pub fn refill(rb: &mut Rebuilding) -> Result<(), (ObjectId, io::Error)> {
    let set = rb.set;
    for (index, queue) in set.queues.iter().enumerate() {
        let end = |o: &(ObjectId, &crate::Object)| matches!(&o.1.kind, Kind::Mqueue(e) if e.queue as usize == index);
        let Some((id, _)) = set.ids().find(end) else { continue };
        let fd = rb.raw(id).map_err(|e| (id, e))?;
        replace(fd, queue).map_err(|e| (id, e))?;
    }
    Ok(())
}

fn replace(fd: RawFd, queue: &MqueueState) -> io::Result<()> {
    let both = sys::reopen(fd, libc::O_RDWR | libc::O_NONBLOCK)?;
    receive_all(both.as_raw_fd(), &mut Vec::new())?;
    put_all(both.as_raw_fd(), &queue.messages)?;
    if queue.unlinked {
        let name = CString::new(queue.name.0.clone())?;
        // SAFETY: a NUL-terminated name; someone else may have removed it.
        unsafe { libc::mq_unlink(name.as_ptr()) };
    }
    Ok(())
}
