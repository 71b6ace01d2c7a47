//! The name by which the hook of accept(2) knows a connection that stands in a backlog for another one.

const PREFIX: &[u8; 16] = b"\x01\0\0ckpt-waiting-";
/// Bytes of the whole address; getsockname and accept say it.
pub const LEN: usize = PREFIX.len() + 16;

/// An abstract address of AF_UNIX, `number` in hexadecimal.
pub fn name(number: u64) -> [u8; LEN] {
    let mut name = [0; LEN];
    name[..PREFIX.len()].copy_from_slice(PREFIX);
    for (i, byte) in name[PREFIX.len()..].iter_mut().enumerate() {
        *byte = b"0123456789abcdef"[(number >> (60 - 4 * i)) as usize & 15];
    }
    name
}

pub fn is_name(name: &[u8]) -> bool {
    name.len() == LEN && name.starts_with(PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_again() {
        assert!(is_name(&name(0xfedc_ba98_7654_3210)));
        assert!(name(0x10).ends_with(b"0000000000000010"));
        assert!(!is_name(b"\x01\0"));
    }
}
