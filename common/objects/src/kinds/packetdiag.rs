//! packet_diag: what a packet socket has that no getsockopt tells.

use super::tcpdiag::{answers, attributes, SOCK_DIAG_BY_FAMILY};
use crate::bytes::Bytes;
use crate::sys;
use std::io;

#[derive(Default)]
pub struct Extras {
    /// `struct packet_mreq` of each membership (PACKET_ADD_MEMBERSHIP), once for each time that it was joined
    pub memberships: Vec<Bytes>,
    /// Packets come or go by memory that the kernel shares (PACKET_RX_RING, PACKET_TX_RING).
    pub ring: bool,
}

const SHOW_MEMBERSHIPS: u32 = 2;
const SHOW_RINGS: u32 = 4;
const MEMBERSHIPS: u16 = 1;
const RX_RING: u16 = 2;
const TX_RING: u16 = 3;
/// nlmsghdr, `struct packet_diag_msg`
const HEAD: usize = 16 + 16;
/// `struct packet_diag_mclist`: interface, times joined, kind, length, address of up to 32 bytes
const MEMBERSHIP: usize = 44;

/// Nothing of a socket that the kernel does not list (built without CONFIG_PACKET_DIAG).
pub fn extras(inode: u64) -> io::Result<Extras> {
    let all = answers(&request())?;
    let is_it = |m: &&Vec<u8>| m.len() >= HEAD && u64::from(sys::from_bytes::<u32>(&m[20..24])) == inode;
    Ok(all.iter().find(is_it).map_or_else(Extras::default, |m| read(&m[HEAD..])))
}

fn request() -> Vec<u8> {
    const LEN: u32 = 16 + 20;
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ROOT | libc::NLM_F_MATCH) as u16;
    let mut message = Vec::with_capacity(LEN as usize);
    message.extend(LEN.to_ne_bytes());
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    // struct packet_diag_req: family, protocol, inode, what to show, cookie.
    message.extend([libc::AF_PACKET as u8, 0, 0, 0]);
    message.extend(0u32.to_ne_bytes());
    message.extend((SHOW_MEMBERSHIPS | SHOW_RINGS).to_ne_bytes());
    message.extend([0xff; 8]);
    message
}

fn read(all: &[u8]) -> Extras {
    let mut found = Extras::default();
    for (kind, content) in attributes(all) {
        match kind {
            MEMBERSHIPS => found.memberships = content.chunks_exact(MEMBERSHIP).flat_map(memberships).collect(),
            RX_RING | TX_RING => found.ring = true,
            _ => {}
        }
    }
    found
}

/// `struct packet_mreq`: interface, kind, length, address.
fn memberships(entry: &[u8]) -> impl Iterator<Item = Bytes> {
    let times = sys::from_bytes::<u32>(&entry[4..8]).min(64) as usize;
    let asked = [&entry[..4], &entry[8..20]].concat();
    std::iter::repeat_n(Bytes(asked), times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_and_cut_ones_are_not() {
        let mut entry = vec![1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0];
        entry.resize(MEMBERSHIP, 0);
        let mut all = vec![MEMBERSHIP as u8 + 4, 0, 1, 0];
        all.extend(entry);
        all.extend([8, 0, 2, 0, 0, 0, 0, 0]);
        let found = read(&all);
        assert_eq!(found.memberships.len(), 2);
        assert_eq!(found.memberships[0].len(), 16);
        assert!(found.ring);
        assert!(!read(&all[..all.len() - 5]).ring);
        assert!(read(&[3, 0, 2, 0]).memberships.is_empty());
    }
}
