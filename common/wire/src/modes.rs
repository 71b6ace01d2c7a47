//! How an image is compressed and how long the program is held: words shared by options and messages.

use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};

/// How image data is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compression {
    None,
    Lz4,
    Zstd,
    Gzip,
    /// The agent picks what the data and the disk call for.
    Auto,
}

/// When the program goes on: after the copy-on-write capture, or when its image is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PauseMode {
    /// `Cow`, or `Hold` where memory is short.
    Auto,
    Cow,
    Hold,
}

/// Not one of the words of a mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadMode(&'static [&'static str]);

macro_rules! words {
    ($mode:ident { $($variant:ident = $word:literal),+ }) => {
        impl $mode {
            /// The words this mode is written as.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word on the command line and in JSON.
            pub fn as_str(self) -> &'static str {
                match self { $($mode::$variant => $word),+ }
            }
        }

        impl FromStr for $mode {
            type Err = BadMode;

            fn from_str(word: &str) -> Result<Self, BadMode> {
                match word { $($word => Ok($mode::$variant),)+ _ => Err(BadMode(Self::WORDS)) }
            }
        }

        impl fmt::Display for $mode {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words!(Compression { None = "none", Lz4 = "lz4", Zstd = "zstd", Gzip = "gzip", Auto = "auto" });
words!(PauseMode { Auto = "auto", Cow = "cow", Hold = "hold" });

impl fmt::Display for BadMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not one of")?;
        self.0.iter().try_for_each(|word| write!(f, " {word}"))
    }
}

impl core::error::Error for BadMode {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_round_trips() {
        for word in Compression::WORDS {
            assert_eq!(word.parse::<Compression>().map(Compression::as_str), Ok(*word));
        }
        for word in PauseMode::WORDS {
            assert_eq!(word.parse::<PauseMode>().map(PauseMode::as_str), Ok(*word));
        }
        assert!("zip".parse::<Compression>().is_err());
    }
}
