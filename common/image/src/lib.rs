//! The image file.
//!
//! ```text
//! 0        header, 4096 bytes, fixed layout, little endian, own checksum
//! 4096     data: pages of each process in the order of its runs, shared memory, blobs; page aligned pieces
//! meta_at  metadata: bincode of `ImageMeta`; its checksum is in the header
//! ```
//! The header is written last, so a file without a valid one is not an image. All data are covered by checksums in
//! the metadata, the metadata by one in the header; between pieces there are zeros. `verify` checks all of it.
//! Encrypted, each piece and the metadata are sealed, the header is authenticated with the metadata: `seal`.

pub mod chain;
pub mod file;
pub mod machine;
pub mod meta;
pub mod seal;
pub mod vdso;
pub mod verify;

pub use file::{HEADER_LEN, Header, ImageError, ImageFile, ImageWriter, VERSION, at_line};
pub use machine::{Clocks, Machine};
pub use meta::*;
pub use seal::UserKey;
pub use vdso::Vdso;
