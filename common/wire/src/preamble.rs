//! The first bytes of a connection, from the coordinator: who speaks, in which version, and whether a key is wanted.
//!
//! ```text
//! 0..4 "CKPT"   4..6 protocol version LE   6 key wanted (0 or 1)   7 zero
//! ```
//! Where a key is wanted, and before any frame:
//! ```text
//! coordinator -> client   32 random bytes S
//! client -> coordinator   32 random bytes C, HMAC-SHA256(key, "ckpt client" S C)
//! coordinator -> client   HMAC-SHA256(key, "ckpt coordinator" S C)
//! ```
//! From then on a tag follows every frame (`tag.rs`), by the key HMAC-SHA256(key, "ckpt client frames" S C), or
//! "ckpt coordinator frames" for those that the coordinator sends.

pub const PREAMBLE_LEN: usize = 8;
pub const AUTH_NONCE_LEN: usize = 32;
pub const AUTH_TAG_LEN: usize = 32;

const MAGIC: [u8; 4] = *b"CKPT";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preamble {
    pub version: u16,
    pub key_wanted: bool,
}

impl Preamble {
    pub fn to_bytes(self) -> [u8; PREAMBLE_LEN] {
        let version = self.version.to_le_bytes();
        [MAGIC[0], MAGIC[1], MAGIC[2], MAGIC[3], version[0], version[1], u8::from(self.key_wanted), 0]
    }

    /// `None` where the other side is no coordinator.
    pub fn from_bytes(bytes: [u8; PREAMBLE_LEN]) -> Option<Preamble> {
        let known = bytes[..4] == MAGIC && bytes[6] <= 1 && bytes[7] == 0;
        known.then(|| Preamble { version: u16::from_le_bytes([bytes[4], bytes[5]]), key_wanted: bytes[6] == 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_refuses_others() {
        let preamble = Preamble { version: 0x1234, key_wanted: true };
        assert_eq!(Preamble::from_bytes(preamble.to_bytes()), Some(preamble));
        assert_eq!(Preamble::from_bytes(*b"SSH-2.0-"), None);
    }
}
