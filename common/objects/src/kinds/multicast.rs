//! Multicast groups that a socket has joined. No call lists them: the host's groups are gone through, and of each the
//! socket is asked for its filter.

use crate::bytes::Bytes;
use crate::sys;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::RawFd;

/// `struct group_filter` (RFC 3678) as the kernel gave it: interface, group, mode and sources.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    pub level: i32,
    pub filter: Bytes,
}

const MCAST_JOIN_GROUP: i32 = 42;
const MCAST_MSFILTER: i32 = 48;
/// Interface, padding, group: `struct group_req`. Mode and number of sources follow.
const GROUP: usize = 8 + ADDRESS;
const ADDRESS: usize = size_of::<libc::sockaddr_storage>();
const HEAD: usize = GROUP + 8;
const SOURCES: usize = 64;
const EXCLUDE: u32 = 0;

pub fn capture(fd: RawFd, domain: i32) -> Vec<Membership> {
    let mut groups = Vec::new();
    if matches!(domain, libc::AF_INET | libc::AF_INET6) {
        groups.extend(v4_groups(&std::fs::read_to_string("/proc/self/net/igmp").unwrap_or_default()));
    }
    if domain == libc::AF_INET6 {
        groups.extend(v6_groups(&std::fs::read_to_string("/proc/self/net/igmp6").unwrap_or_default()));
    }
    groups.into_iter().filter_map(|(level, group)| Some(Membership { level, filter: filter(fd, level, &group)? })).collect()
}

pub(crate) type Group = (i32, [u8; GROUP]);

fn group(level: i32, interface: u32, family: i32, at: usize, address: &[u8]) -> Group {
    let mut out = [0; GROUP];
    out[..4].copy_from_slice(&interface.to_ne_bytes());
    out[8..10].copy_from_slice(&(family as u16).to_ne_bytes());
    out[8 + at..8 + at + address.len()].copy_from_slice(address);
    (level, out)
}

/// `1 lo : 1 V3`, and below it, one line for each group: `010000E0 1 0:00000000 0`.
pub(crate) fn v4_groups(text: &str) -> Vec<Group> {
    let mut interface = 0;
    let mut found = Vec::new();
    for line in text.lines().skip(1) {
        let first = line.split_whitespace().next().unwrap_or_default();
        if !line.starts_with(char::is_whitespace) {
            interface = first.parse().unwrap_or(0);
        } else if let Ok(address) = u32::from_str_radix(first, 16) {
            found.push(group(libc::IPPROTO_IP, interface, libc::AF_INET, 4, &address.to_ne_bytes()));
        }
    }
    found
}

/// `1 lo ff020000000000000000000000000001 1 0000000C 0`
pub(crate) fn v6_groups(text: &str) -> Vec<Group> {
    let parse = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let address = u128::from_str_radix(words.get(2)?, 16).ok()?;
        let interface = words[0].parse().ok()?;
        Some(group(libc::IPPROTO_IPV6, interface, libc::AF_INET6, 8, &address.to_be_bytes()))
    };
    text.lines().filter_map(parse).collect()
}

/// None: it has not joined.
fn filter(fd: RawFd, level: i32, group: &[u8; GROUP]) -> Option<Bytes> {
    let mut value = vec![0u8; HEAD + SOURCES * ADDRESS];
    value[..GROUP].copy_from_slice(group);
    value[GROUP + 4..HEAD].copy_from_slice(&(SOURCES as u32).to_ne_bytes());
    let mut len = value.len() as u32;
    // SAFETY: the buffer is as long as said.
    sys::cvt(unsafe { libc::getsockopt(fd, level, MCAST_MSFILTER, value.as_mut_ptr().cast(), &mut len) }).ok()?;
    let sources = sys::from_bytes::<u32>(&value[GROUP + 4..]) as usize;
    value.truncate(HEAD + sources.min(SOURCES) * ADDRESS);
    Some(Bytes(value))
}

pub fn join(fd: RawFd, all: &[Membership]) -> io::Result<()> {
    for m in all.iter().filter(|m| m.filter.len() >= HEAD) {
        crate::sock::setsockopt(fd, m.level, MCAST_JOIN_GROUP, &m.filter[..GROUP])?;
        let [mode, sources] = sys::from_bytes::<[u32; 2]>(&m.filter[GROUP..]);
        if mode != EXCLUDE || sources > 0 {
            crate::sock::setsockopt(fd, m.level, MCAST_MSFILTER, &m.filter)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_with_their_interface() {
        let v4 = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n3\teth0      :     2      V3\n\t\t\t\t050505EF     1 0:00000000\t\t0\n";
        assert_eq!(v4_groups(v4)[0].1[..4], 3u32.to_ne_bytes());
        assert_eq!(v4_groups(v4)[0].1[12..16], [239, 5, 5, 5]);
        let v6 = "1    lo              ff050000000000000000000000050005     1 00000004 0\n";
        assert_eq!(v6_groups(v6)[0].1[16..18], [0xff, 5]);
    }
}
