//! The name of a computation.

use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};

/// 16 random bytes, printed as 32 hexadecimal digits. The same before and after every restart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ComputationId(pub [u8; 16]);

/// Not 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadComputationId;

impl fmt::Display for ComputationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ComputationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ComputationId {
    type Err = BadComputationId;

    fn from_str(text: &str) -> Result<Self, BadComputationId> {
        let digits = text.as_bytes();
        if digits.len() != 32 {
            return Err(BadComputationId);
        }
        let mut id = [0u8; 16];
        for (byte, pair) in id.iter_mut().zip(digits.chunks(2)) {
            *byte = hex(pair[0])? << 4 | hex(pair[1])?;
        }
        Ok(ComputationId(id))
    }
}

fn hex(digit: u8) -> Result<u8, BadComputationId> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(BadComputationId),
    }
}

impl fmt::Display for BadComputationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a computation id is 32 hexadecimal digits")
    }
}

impl core::error::Error for BadComputationId {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn prints_and_parses() {
        let id = ComputationId([0xa5; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("a5".parse::<ComputationId>(), Err(BadComputationId));
        assert_eq!("zz".repeat(16).parse::<ComputationId>(), Err(BadComputationId));
    }
}
