//! The key that admits to a coordinator over TCP, and the proof of knowing it. Nothing else is read before.

use ckpt_wire::{FrameKey, AUTH_NONCE_LEN, AUTH_TAG_LEN};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

pub type Nonce = [u8; AUTH_NONCE_LEN];
pub type Tag = [u8; AUTH_TAG_LEN];

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("key file {path}: {source}")]
    Io { path: String, source: io::Error },
    #[error("key file {0} can be read by others or is not yours; chmod 600 it and make a new key")]
    Exposed(String),
    #[error("key file {0} does not hold 64 hexadecimal digits; copy it again from the coordinator's host")]
    Malformed(String),
    #[error("no random numbers from the system: {0}")]
    Random(getrandom::Error),
}

/// 256 random bits; a text file of 64 hexadecimal digits.
#[derive(Clone)]
pub struct Key([u8; 32]);

/// A key is never printed.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Which side proves itself: the two proofs of one connection must differ.
#[derive(Debug, Clone, Copy)]
pub enum Side {
    Client,
    Coordinator,
}

impl Key {
    pub fn load(path: &Path) -> Result<Key, KeyError> {
        let name = path.display().to_string();
        let failed = |source| KeyError::Io { path: name.clone(), source };
        let meta = path.metadata().map_err(failed)?;
        let uid = nix::unistd::geteuid().as_raw();
        if meta.mode() & 0o077 != 0 || (meta.uid() != uid && meta.uid() != 0) {
            return Err(KeyError::Exposed(name));
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        parse_hex(text.trim()).map(Key).ok_or(KeyError::Malformed(name))
    }

    /// Makes a new key and leaves it at `path`, readable by this user alone.
    pub fn create(path: &Path) -> Result<Key, KeyError> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(KeyError::Random)?;
        let text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        let _ = std::fs::remove_file(path);
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .and_then(|mut file| writeln!(file, "{text}"))
            .map_err(|source| KeyError::Io { path: path.display().to_string(), source })?;
        Ok(Key(key))
    }

    /// The proof that `side` knows this key.
    pub fn tag(&self, side: Side, coordinator: &Nonce, client: &Nonce) -> Tag {
        self.mac(proof(side), coordinator, client).finalize().into_bytes().into()
    }

    /// What the tags of the frames that `side` sends on this connection are made with.
    pub fn frame_key(&self, side: Side, coordinator: &Nonce, client: &Nonce) -> FrameKey {
        let label: &[u8] = match side {
            Side::Client => b"ckpt client frames",
            Side::Coordinator => b"ckpt coordinator frames",
        };
        FrameKey::new(&self.mac(label, coordinator, client).finalize().into_bytes().into())
    }

    /// Compares in constant time.
    pub fn verify(&self, side: Side, coordinator: &Nonce, client: &Nonce, tag: &Tag) -> bool {
        self.mac(proof(side), coordinator, client).verify_slice(tag).is_ok()
    }

    fn mac(&self, label: &[u8], coordinator: &Nonce, client: &Nonce) -> Hmac<Sha256> {
        let mac = <Hmac<Sha256> as Mac>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.chain_update(label).chain_update(coordinator).chain_update(client)
    }
}

fn proof(side: Side) -> &'static [u8] {
    match side {
        Side::Client => b"ckpt client",
        Side::Coordinator => b"ckpt coordinator",
    }
}

pub fn nonce() -> Result<Nonce, KeyError> {
    let mut nonce = [0; AUTH_NONCE_LEN];
    getrandom::fill(&mut nonce).map_err(KeyError::Random)?;
    Ok(nonce)
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_tag_proves_one_key_side_and_connection() {
        let (key, other) = (Key([1; 32]), Key([2; 32]));
        let (s, c) = ([3; 32], [4; 32]);
        let tag = key.tag(Side::Client, &s, &c);
        assert!(key.verify(Side::Client, &s, &c, &tag));
        assert!(!other.verify(Side::Client, &s, &c, &tag));
        assert!(!key.verify(Side::Coordinator, &s, &c, &tag));
        assert!(!key.verify(Side::Client, &c, &s, &tag));
    }

    #[test]
    fn key_files_are_private() {
        let path = std::env::temp_dir().join(format!("ckpt-test-key-{}", std::process::id()));
        let key = Key::create(&path).unwrap();
        assert_eq!(Key::load(&path).unwrap().0, key.0);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Key::load(&path), Err(KeyError::Exposed(_))));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "short").unwrap();
        assert!(matches!(Key::load(&path), Err(KeyError::Malformed(_))));
        std::fs::remove_file(path).unwrap();
    }
}
