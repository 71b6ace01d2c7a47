//! The end of connections between processes that are about to be killed: a reset leaves nothing in TIME_WAIT, which
//! would keep the ports from a restart for a minute.

use super::tcp::{place, Place};
use crate::sock;
use crate::sys;
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// Connections with one end elsewhere are left to end as always: their last words arrive.
pub fn end_without_trace(pids: &[i32]) {
    let mut found: Vec<(OwnedFd, Place, Place)> = Vec::new();
    for pid in pids {
        // A process that ends meanwhile needs no help.
        let _ = connections(*pid, &mut found);
    }
    let ends: HashSet<(Place, Place)> = found.iter().map(|(_, local, remote)| (*local, *remote)).collect();
    let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
    for (fd, local, remote) in &found {
        if ends.contains(&(*remote, *local)) {
            let _ = sock::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, sys::bytes_of(&at_once));
        }
    }
}

fn connections(pid: i32, found: &mut Vec<(OwnedFd, Place, Place)>) -> io::Result<()> {
    // SAFETY: numbers only.
    let process = sys::own(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as i32)?;
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))?.flatten() {
        let is_socket = std::fs::read_link(entry.path()).is_ok_and(|l| l.as_os_str().as_encoded_bytes().starts_with(b"socket:"));
        let number = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok());
        let Some(number) = number.filter(|_| is_socket) else { continue };
        // SAFETY: numbers only.
        let fd = sys::own(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) } as i32)?;
        let raw = fd.as_raw_fd();
        let protocol = sock::getsockopt_int(raw, libc::SOL_SOCKET, libc::SO_PROTOCOL).unwrap_or(0);
        let ends = sock::local_name(raw).ok().zip(sock::peer_name(raw).ok());
        let places = ends.and_then(|(local, remote)| Some((place(&local)?, place(&remote)?)));
        if let (Some((local, remote)), libc::IPPROTO_TCP) = (places, protocol) {
            found.push((fd, local, remote));
        }
    }
    Ok(())
}
