//! Message queues: peeked at with MSG_COPY, so that nobody can tell; taken out and put back at a restart.

use super::{Identity, IpcError, Maker, Members, Restore, done_by, make, making, proc_list};
use crate::bytes::Bytes;
use crate::sys;
use serde::{Deserialize, Serialize};
use std::io;
use std::ptr;

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub kind: i64,
    pub text: Bytes,
}

#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Queue {
    pub who: Identity,
    pub limit: u64,
    /// pids of who sent and who received last
    pub sender: i32,
    pub receiver: i32,
    pub messages: Vec<Message>,
}

const MSG_COPY: i32 = 0o40000;

fn stat(id: i32) -> io::Result<libc::msqid_ds> {
    // SAFETY: all zeroes are a valid msqid_ds, which the kernel fills.
    unsafe {
        let mut ds: libc::msqid_ds = std::mem::zeroed();
        sys::cvt(libc::msgctl(id, libc::IPC_STAT, &mut ds)).map(|_| ds)
    }
}

pub fn capture(members: &Members, held: &dyn Fn(i32) -> bool) -> Result<Vec<Queue>, IpcError> {
    let mut out = Vec::new();
    for row in proc_list::read("msg") {
        let id = row.id("msqid");
        let by_member = members.pids.contains(&row.id("lspid")) || members.pids.contains(&row.id("lrpid"));
        if !by_member && !held(id) {
            continue;
        }
        // Another user's, that no process of ours could use either.
        let Ok(ds) = stat(id) else { continue };
        let who = Identity::of(id, &ds.msg_perm);
        let messages = peek(id, ds.__msg_cbytes as usize).map_err(|e| who.fail("message queue", "copying its messages", e))?;
        out.push(Queue { limit: ds.msg_qbytes, sender: ds.msg_lspid, receiver: ds.msg_lrpid, messages, who });
    }
    Ok(out)
}

/// The `kind` of a receive: with MSG_COPY the place in the queue, else as msgrcv(2). None: no such message.
fn receive(id: i32, buffer: &mut [u64], kind: i64, flags: i32) -> io::Result<Option<Message>> {
    let room = (buffer.len() - 1) * 8;
    // SAFETY: the buffer holds a type and `room` bytes.
    let got = unsafe { libc::msgrcv(id, buffer.as_mut_ptr().cast(), room, kind, flags | libc::IPC_NOWAIT | libc::MSG_NOERROR) };
    let Ok(len) = usize::try_from(got) else {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::ENOMSG) { Ok(None) } else { Err(error) };
    };
    let text: Vec<u8> = buffer[1..].iter().flat_map(|w| w.to_ne_bytes()).take(len).collect();
    Ok(Some(Message { kind: buffer[0] as i64, text: text.as_slice().into() }))
}

fn room_for(bytes: usize) -> Vec<u64> {
    vec![0; bytes.div_ceil(8) + 2]
}

fn peek(id: i32, bytes: usize) -> io::Result<Vec<Message>> {
    let mut buffer = room_for(bytes);
    let mut out = Vec::new();
    while let Some(message) = receive(id, &mut buffer, out.len() as i64, MSG_COPY)? {
        out.push(message);
    }
    Ok(out)
}

fn send(id: i32, message: &Message) -> io::Result<()> {
    let mut buffer = message.kind.to_ne_bytes().to_vec();
    buffer.extend_from_slice(&message.text.0);
    // SAFETY: the buffer holds a type and the text.
    sys::cvt(unsafe { libc::msgsnd(id, buffer.as_ptr().cast(), message.text.0.len(), libc::IPC_NOWAIT) }).map(drop)
}

impl Queue {
    pub fn lives(&self, same_boot: bool) -> bool {
        stat(self.who.id).is_ok_and(|ds| self.who.is_same(&Identity::of(self.who.id, &ds.msg_perm), same_boot))
    }

    pub fn remove_unused(&self, are_gone: &dyn Fn(i32) -> bool) -> bool {
        let unused = |ds: libc::msqid_ds| are_gone(ds.msg_lspid) && are_gone(ds.msg_lrpid);
        // SAFETY: no buffer is used.
        stat(self.who.id).is_ok_and(unused) && unsafe { libc::msgctl(self.who.id, libc::IPC_RMID, ptr::null_mut()) } == 0
    }

    /// A type that no message has.
    fn free_kind(&self) -> i64 {
        let used = |kind: i64| self.messages.iter().any(|m| m.kind == kind);
        (1..i64::MAX).rev().find(|&k| !used(k)).unwrap_or(1)
    }
}

pub fn restore(q: &Queue, how: &Restore) -> Result<(), IpcError> {
    let fail = |step, e| q.who.fail("message queue", step, e);
    let id = q.who.id;
    if !q.lives(how.same_boot) {
        anew(q, how).map_err(|e| fail(making(&e), e))?;
    }
    let mut ds = stat(id).map_err(|e| fail("looking at it", e))?;
    let now = Identity::of(id, &ds.msg_perm);
    if (now.uid, now.gid, now.mode, ds.msg_qbytes) != (q.who.uid, q.who.gid, q.who.mode, q.limit) {
        q.who.put(&mut ds.msg_perm);
        ds.msg_qbytes = q.limit;
        // SAFETY: ds was filled by the kernel.
        let set = sys::cvt(unsafe { libc::msgctl(id, libc::IPC_SET, &mut ds) });
        set.map_err(|e| fail("setting its owner, mode and limit", e))?;
    }
    let content = peek(id, ds.__msg_cbytes as usize).map_err(|e| fail("copying its messages", e))?;
    if content != q.messages || (ds.msg_lspid, ds.msg_lrpid) != (q.sender, q.receiver) {
        refill(q, how, ds.__msg_cbytes as usize).map_err(|e| fail("putting its messages back", e))?;
    }
    Ok(())
}

fn anew(q: &Queue, how: &Restore) -> io::Result<()> {
    // SAFETY: numbers only.
    let get = |flags: i32| unsafe { libc::msgget(q.who.key, flags) };
    let remove = |id: i32| {
        // SAFETY: the queue that was just made.
        unsafe { libc::msgctl(id, libc::IPC_RMID, ptr::null_mut()) };
    };
    make(&q.who, q.sender, how, &Maker { sysctl: "msg_next_id", get: &get, remove: &remove })
}

/// The last receiver and then the last sender do something themselves, so that the kernel names them; an empty
/// message of a type of its own serves where there is none.
fn refill(q: &Queue, how: &Restore, bytes: usize) -> io::Result<()> {
    let id = q.who.id;
    let mut buffer = room_for(bytes);
    while receive(id, &mut buffer, 0, 0)?.is_some() {}
    let dummy = Message { kind: q.free_kind(), text: [].as_slice().into() };
    let send_dummy = |_: bool| send(id, &dummy);
    let take_dummy = |_: bool| receive(id, &mut room_for(0), dummy.kind, 0).map(drop);
    let Some((last, others)) = q.messages.split_last() else {
        if q.sender != 0 {
            done_by(q.sender, how, &send_dummy)?;
            done_by(q.receiver, how, &take_dummy)?;
        }
        return Ok(());
    };
    others.iter().try_for_each(|m| send(id, m))?;
    if q.receiver != 0 {
        done_by(q.receiver, how, &|in_child| send_dummy(in_child).and_then(|()| take_dummy(in_child)))?;
    }
    done_by(q.sender, how, &|_| send(id, last))
}
