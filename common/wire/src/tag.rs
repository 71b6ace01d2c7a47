//! A tag behind every frame that comes by TCP: nobody on the way can change, repeat, drop or insert a message unseen.

use crate::AUTH_TAG_LEN;
use hmac::{Hmac, Mac};
use sha2::Sha256;

type Tag = [u8; AUTH_TAG_LEN];

/// The key of one direction of one connection, and the number of the next frame: HMAC-SHA256(key, number LE, body).
#[derive(Clone)]
pub struct FrameKey {
    mac: Hmac<Sha256>,
    number: u64,
}

/// A key is never printed.
impl core::fmt::Debug for FrameKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("FrameKey(..)")
    }
}

impl FrameKey {
    /// `key` must be a secret of this connection and direction alone.
    pub fn new(key: &Tag) -> FrameKey {
        FrameKey { mac: <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes keys of any length"), number: 0 }
    }

    fn next(&mut self, body: &[u8]) -> Hmac<Sha256> {
        let number = self.number;
        self.number += 1;
        self.mac.clone().chain_update(number.to_le_bytes()).chain_update(body)
    }

    /// The tag of the next frame that is sent.
    pub fn tag(&mut self, body: &[u8]) -> Tag {
        self.next(body).finalize().into_bytes().into()
    }

    /// Is this the tag of the next frame that is due? Compares in constant time.
    pub fn verify(&mut self, body: &[u8], tag: &[u8]) -> bool {
        self.next(body).verify_slice(tag).is_ok()
    }
}
