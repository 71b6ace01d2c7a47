//! Encryption of images: ChaCha20-Poly1305, piece by piece, with a key of the file's own.
//!
//! The file's key is made of the user's and of a random salt in the header, so a place in the file is a nonce that
//! never comes twice. The header is authenticated with the metadata, and the metadata says where each piece lies:
//! pieces cannot be exchanged, left out or added.

use chacha20poly1305::aead::{Aead, AeadInPlace, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

pub const SALT_LEN: usize = 32;
pub const CHECK_LEN: usize = 16;
/// What sealing adds to a piece, bytes.
pub const OVERHEAD: u64 = 16;

#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("encryption key {path}: {source}")]
    Io { path: String, source: io::Error },
    #[error("encryption key {0} can be read by others or is not yours; chmod 600 it and make a new one")]
    Exposed(String),
    #[error("encryption key {0} does not hold 64 hexadecimal digits; make one: od -An -vtx1 -N32 /dev/urandom | tr -d ' \\n'")]
    Malformed(String),
}

/// The user's key: 256 bits.
#[derive(Clone)]
pub struct UserKey([u8; 32]);

/// A key is never printed.
impl std::fmt::Debug for UserKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UserKey(..)")
    }
}

impl UserKey {
    /// Reads a file of 64 hexadecimal digits that nobody else can read.
    pub fn load(path: &Path) -> Result<UserKey, SealError> {
        let name = path.display().to_string();
        let failed = |source| SealError::Io { path: name.clone(), source };
        const O_NONBLOCK: i32 = 0o4000;
        let file = std::fs::File::options().read(true).custom_flags(O_NONBLOCK).open(path).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        let own = std::fs::metadata("/proc/self").map_err(failed)?.uid();
        if meta.mode() & 0o077 != 0 || (meta.uid() != own && meta.uid() != 0) {
            return Err(SealError::Exposed(name));
        }
        let mut bytes = Vec::new();
        file.take(200).read_to_end(&mut bytes).map_err(failed)?;
        parse_hex(String::from_utf8_lossy(&bytes).trim()).map(UserKey).ok_or(SealError::Malformed(name))
    }

    pub fn from_bytes(bytes: [u8; 32]) -> UserKey {
        UserKey(bytes)
    }

    fn derive(&self, label: &[u8], salt: &[u8; SALT_LEN]) -> [u8; 32] {
        let mac = <Hmac<Sha256> as Mac>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.chain_update(label).chain_update(salt).finalize().into_bytes().into()
    }

    /// Tells a wrong key from a damaged image, and says nothing about the key.
    pub fn check(&self, salt: &[u8; SALT_LEN]) -> [u8; CHECK_LEN] {
        let all = self.derive(b"ckpt image check", salt);
        let mut check = [0; CHECK_LEN];
        check.copy_from_slice(&all[..CHECK_LEN]);
        check
    }

    pub fn for_file(&self, salt: &[u8; SALT_LEN]) -> Seal {
        Seal(ChaCha20Poly1305::new(&self.derive(b"ckpt image key", salt).into()))
    }
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

/// The key of one file.
pub struct Seal(ChaCha20Poly1305);

impl Seal {
    /// Each offset may be sealed once.
    pub fn seal(&self, offset: u64, context: &[u8], mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        self.0.encrypt_in_place(&nonce(offset), context, &mut bytes).map_err(|_| io::Error::other("a piece is too long to encrypt"))?;
        Ok(bytes)
    }

    /// Errors: the bytes are not what was sealed at this offset.
    pub fn open(&self, offset: u64, context: &[u8], bytes: &[u8]) -> io::Result<Vec<u8>> {
        let payload = Payload { msg: bytes, aad: context };
        self.0.decrypt(&nonce(offset), payload).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "an encrypted piece was altered"))
    }
}

fn nonce(offset: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&offset.to_le_bytes());
    nonce.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_place_and_context_open() {
        let (key, other) = (UserKey::from_bytes([1; 32]), UserKey::from_bytes([2; 32]));
        let (salt, other_salt) = ([3; SALT_LEN], [4; SALT_LEN]);
        let sealed = key.for_file(&salt).seal(4096, b"x", b"secret".to_vec()).unwrap();
        assert_eq!(sealed.len() as u64, 6 + OVERHEAD);
        assert_eq!(key.for_file(&salt).open(4096, b"x", &sealed).unwrap(), b"secret");
        assert!(key.for_file(&salt).open(8192, b"x", &sealed).is_err());
        assert!(key.for_file(&salt).open(4096, b"y", &sealed).is_err());
        assert!(key.for_file(&other_salt).open(4096, b"x", &sealed).is_err());
        assert!(other.for_file(&salt).open(4096, b"x", &sealed).is_err());
        assert!(key.for_file(&salt).open(4096, b"x", &sealed[..20]).is_err());
        assert_ne!(key.check(&salt), other.check(&salt));
    }
}
