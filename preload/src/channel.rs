//! Seqpacket socket to the agent, in the checkpoint thread's own descriptor table, if there is such a thread.

use ckpt_sys::flat::{Msg, bytes_of, from_bytes, msg};
use ckpt_sys::calls::*;
use ckpt_sys::raw::*;
use core::cell::UnsafeCell;
use core::sync::atomic::AtomicU32;

pub const MAX_FDS: usize = 200;
const MAX_BODY: usize = 4096;

pub struct Channel {
    fd: Fd,
    body: UnsafeCell<([u8; MAX_BODY], usize)>,
}

#[repr(C, align(8))]
struct Control {
    len: usize,
    level: i32,
    kind: i32,
    fds: [i32; MAX_FDS],
}

impl Channel {
    /// Connects to the abstract name. Errors: ECONNREFUSED when the agent is gone, EPERM when the name is
    /// another user's.
    pub fn connect(name: &[u8]) -> Result<Channel> {
        // SAFETY: numbers only.
        let fd = unsafe {
            syscall3(libc::SYS_socket, libc::AF_UNIX as usize, (libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC) as usize, 0)
        }? as Fd;
        let channel = Channel::on(fd);
        let mut addr = [0u8; 110];
        addr[..2].copy_from_slice(&(libc::AF_UNIX as u16).to_ne_bytes());
        let n = name.len().min(107);
        addr[3..3 + n].copy_from_slice(&name[..n]);
        // SAFETY: addr is a sockaddr_un of 3 + n bytes.
        let connected = unsafe { syscall3(libc::SYS_connect, fd as usize, addr.as_ptr() as usize, 3 + n) };
        match connected.and_then(|_| channel.check_peer()) {
            Ok(()) => Ok(channel),
            Err(e) => {
                close(fd);
                Err(e)
            }
        }
    }

    pub fn on(fd: Fd) -> Channel {
        Channel { fd, body: UnsafeCell::new(([0; MAX_BODY], 0)) }
    }

    pub fn fd(&self) -> Fd {
        self.fd
    }

    /// Only root and our own user may be the agent.
    fn check_peer(&self) -> Result<()> {
        let mut cred = [0u32; 3];
        let mut len = 12u32;
        // SAFETY: cred is a struct ucred of 12 bytes.
        unsafe {
            syscall5(libc::SYS_getsockopt, self.fd as usize, libc::SOL_SOCKET as usize, libc::SO_PEERCRED as usize,
                     cred.as_mut_ptr() as usize, &raw mut len as usize)?;
        }
        // SAFETY: no arguments.
        let own = unsafe { syscall0(libc::SYS_geteuid) }? as u32;
        if cred[1] == 0 || cred[1] == own || own == 0 { Ok(()) } else { Err(Errno::PERM) }
    }

    pub fn send(&self, m: Msg) -> bool {
        self.send_with(m, &[], &[]).is_ok()
    }

    pub fn fail(&self, stage: u32, errno: Errno, tid: i32) {
        self.send(Msg { kind: msg::FAILED, pid: getpid(), errno: errno.0, tid, stage, ..Msg::default() });
    }

    pub fn send_with(&self, m: Msg, body: &[u8], fds: &[Fd]) -> Result<()> {
        let iov = [(bytes_of(&m).as_ptr() as usize, size_of::<Msg>()), (body.as_ptr() as usize, body.len())];
        let mut control = Control { len: 16 + 4 * fds.len(), level: libc::SOL_SOCKET, kind: libc::SCM_RIGHTS, fds: [0; MAX_FDS] };
        let n = fds.len().min(MAX_FDS);
        control.fds[..n].copy_from_slice(&fds[..n]);
        let control_len = if n == 0 { 0 } else { (16 + 4 * n + 7) & !7 };
        let header = [0, 0, iov.as_ptr() as usize, 2, &raw const control as usize, control_len, 0];
        let mut tries = 0;
        loop {
            // SAFETY: header has the layout of struct msghdr and its pointers outlive the call.
            let sent = unsafe { syscall3(libc::SYS_sendmsg, self.fd as usize, header.as_ptr() as usize, libc::MSG_NOSIGNAL as usize) };
            match sent {
                Err(Errno::INTR) => {}
                // The user has as many descriptors under way as RLIMIT_NOFILE allows: the agent is about to take ours.
                Err(Errno(libc::ETOOMANYREFS)) if tries < 2000 => {
                    tries += 1;
                    let _ = futex_wait(&AtomicU32::new(0), 0, 1);
                }
                other => return other.map(drop),
            }
        }
    }

    /// From here on an agent that says nothing for so many seconds counts as gone; 0: never.
    pub fn limit_silence(&self, seconds: u64) {
        let time = [seconds.min(i32::MAX as u64), 0];
        // SAFETY: time has the layout of struct timeval.
        let _ = unsafe {
            syscall5(libc::SYS_setsockopt, self.fd as usize, libc::SOL_SOCKET as usize, libc::SO_RCVTIMEO as usize,
                     time.as_ptr() as usize, size_of_val(&time))
        };
    }

    /// The next message and its descriptors; None when the agent is gone.
    pub fn recv(&self) -> Option<(Msg, [Fd; 4])> {
        // SAFETY: one thread uses a channel; the body is handed out only until the next recv.
        let body = unsafe { &mut *self.body.get() };
        let mut m = Msg::default();
        let mut control = Control { len: 0, level: 0, kind: 0, fds: [0; MAX_FDS] };
        let iov = [(&raw mut m as usize, size_of::<Msg>()), (body.0.as_mut_ptr() as usize, MAX_BODY)];
        let mut header = [0, 0, iov.as_ptr() as usize, 2, &raw mut control as usize, size_of::<Control>(), 0];
        let n = loop {
            // SAFETY: header has the layout of struct msghdr and its pointers outlive the call.
            let got = unsafe { syscall3(libc::SYS_recvmsg, self.fd as usize, header.as_mut_ptr() as usize, libc::MSG_CMSG_CLOEXEC as usize) };
            match got {
                Err(Errno::INTR) => {}
                other => break other.ok()?,
            }
        };
        if n < size_of::<Msg>() {
            return None;
        }
        body.1 = n - size_of::<Msg>();
        let mut fds = [-1; 4];
        if header[5] >= 16 && control.kind == libc::SCM_RIGHTS {
            let count = ((control.len - 16) / 4).min(4);
            fds[..count].copy_from_slice(&control.fds[..count]);
        }
        Some((m, fds))
    }

    /// Has the other side hung up?
    pub fn is_over(&self) -> bool {
        let mut poll = libc::pollfd { fd: self.fd, events: 0, revents: 0 };
        let at = &raw mut poll as usize;
        // SAFETY: poll is a struct pollfd.
        let ready = unsafe { syscall3(libc::SYS_poll, at, 1, 0) };
        ready.is_ok() && poll.revents & (libc::POLLHUP | libc::POLLNVAL) != 0
    }

    /// What came behind the last message.
    pub fn body(&self) -> &[u8] {
        // SAFETY: as in recv.
        let body = unsafe { &*self.body.get() };
        &body.0[..body.1]
    }

    pub fn in_call(&self) -> Option<[u64; 9]> {
        from_bytes(self.body())
    }
}
