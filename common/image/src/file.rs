//! Reading and writing image files.

use crate::meta::{ImageMeta, Parent};
use ckpt_objects::{BlobRef, BlobSink, BlobSource};
use ckpt_sys::crc::crc32c;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub const MAGIC: &[u8; 8] = b"CKPTIMG\n";
pub const VERSION: u32 = 1;
pub const HEADER_LEN: u64 = 4096;
const X86_64: u32 = 62;
const MAX_META: u64 = 1 << 30;
/// The disk is set to work after so many bytes.
const WRITE_BACK: u64 = 8 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub computation: [u8; 16],
    pub generation: u32,
    pub member_index: u32,
    pub member_count: u32,
    pub total: u64,
    pub meta_at: u64,
    pub meta_len: u64,
    pub meta_crc: u32,
    /// milliseconds since 1970
    pub created: u64,
    /// random, the same in all members of one checkpoint
    pub attempt: u64,
    /// generation of the image that this one builds on, 0: none; `finish` takes it from the metadata
    pub parent: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("{path}: {source}", path = .0.display(), source = .1)]
    Io(PathBuf, #[source] io::Error),
    #[error("{}: not a ckpt image", .0.display())]
    BadMagic(PathBuf),
    #[error("{}: written by a newer ckpt (image version {}, this ckpt reads up to {})", .0.display(), .1, VERSION)]
    Newer(PathBuf, u32),
    #[error("{}: made on another kind of machine (architecture {}, page size {})", .0.display(), .1, .2)]
    Foreign(PathBuf, u32, u32),
    #[error("{}: truncated: {} bytes of {}", .0.display(), .1, .2)]
    Truncated(PathBuf, u64, u64),
    #[error("{}: damaged: {} does not match its checksum", .0.display(), .1)]
    Damaged(PathBuf, &'static str),
    #[error("{}: damaged: {}", .0.display(), .1)]
    BadMeta(PathBuf, String),
}

impl Header {
    fn encode(&self) -> Vec<u8> {
        let mut b = Vec::with_capacity(HEADER_LEN as usize);
        b.extend_from_slice(MAGIC);
        for n in [VERSION, 0x0102_0304, X86_64, ckpt_sys::PAGE as u32] {
            b.extend_from_slice(&n.to_le_bytes());
        }
        b.extend_from_slice(&self.computation);
        for n in [self.generation, self.member_index, self.member_count, self.meta_crc] {
            b.extend_from_slice(&n.to_le_bytes());
        }
        for n in [self.total, self.meta_at, self.meta_len, self.created, self.attempt] {
            b.extend_from_slice(&n.to_le_bytes());
        }
        b.extend_from_slice(&self.parent.to_le_bytes());
        b.resize(HEADER_LEN as usize - 4, 0);
        let crc = crc32c(&b);
        b.extend_from_slice(&crc.to_le_bytes());
        b
    }

    fn decode(path: &Path, b: &[u8]) -> Result<Header, ImageError> {
        let path = || path.to_path_buf();
        let u32_at = |at: usize| u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
        let u64_at = |at: usize| u32_at(at) as u64 | (u32_at(at + 4) as u64) << 32;
        if b.len() < 12 || &b[..8] != MAGIC {
            return Err(ImageError::BadMagic(path()));
        }
        if b.len() < HEADER_LEN as usize {
            return Err(ImageError::Truncated(path(), b.len() as u64, HEADER_LEN));
        }
        if u32_at(8) > VERSION {
            return Err(ImageError::Newer(path(), u32_at(8)));
        }
        if crc32c(&b[..HEADER_LEN as usize - 4]) != u32_at(HEADER_LEN as usize - 4) {
            return Err(ImageError::Damaged(path(), "the header"));
        }
        if u32_at(16) != X86_64 || u32_at(20) != ckpt_sys::PAGE as u32 {
            return Err(ImageError::Foreign(path(), u32_at(16), u32_at(20)));
        }
        let mut computation = [0; 16];
        computation.copy_from_slice(&b[24..40]);
        Ok(Header {
            computation,
            generation: u32_at(40),
            member_index: u32_at(44),
            member_count: u32_at(48),
            meta_crc: u32_at(52),
            total: u64_at(56),
            meta_at: u64_at(64),
            meta_len: u64_at(72),
            created: u64_at(80),
            attempt: u64_at(88),
            parent: u32_at(96),
        })
    }
}

/// A complete image, open for reading; header and metadata verified, data not yet.
pub struct ImageFile {
    pub path: PathBuf,
    pub file: File,
    pub header: Header,
    /// the header's own checksum
    checksum: u32,
}

impl ImageFile {
    /// What an image that builds on this one says about it.
    pub fn as_parent(&self) -> Parent {
        let Header { computation, generation, created, .. } = self.header;
        Parent { computation, generation, created, checksum: self.checksum }
    }

    pub fn open(path: &Path) -> Result<ImageFile, ImageError> {
        let io = |e| ImageError::Io(path.to_path_buf(), e);
        let file = File::open(path).map_err(io)?;
        let len = file.metadata().map_err(io)?.len();
        let mut head = vec![0; HEADER_LEN.min(len) as usize];
        file.read_exact_at(&mut head, 0).map_err(io)?;
        let header = Header::decode(path, &head)?;
        if len < header.total || header.meta_at.checked_add(header.meta_len) != Some(header.total) {
            return Err(ImageError::Truncated(path.to_path_buf(), len, header.total));
        }
        let checksum = crc32c(&head[..HEADER_LEN as usize - 4]);
        Ok(ImageFile { path: path.to_path_buf(), file, header, checksum })
    }

    pub fn meta(&self) -> Result<ImageMeta, ImageError> {
        let damaged = || ImageError::Damaged(self.path.clone(), "the metadata");
        if self.header.meta_len > MAX_META {
            return Err(damaged());
        }
        let mut bytes = vec![0; self.header.meta_len as usize];
        self.file.read_exact_at(&mut bytes, self.header.meta_at).map_err(|e| ImageError::Io(self.path.clone(), e))?;
        if crc32c(&bytes) != self.header.meta_crc {
            return Err(damaged());
        }
        bincode::serde::decode_from_slice(&bytes, bincode::config::standard())
            .map(|(meta, _)| meta)
            .map_err(|e| ImageError::BadMeta(self.path.clone(), e.to_string()))
    }

    /// SHA-256 of header and metadata, which hold the checksums of all the rest: it names this image.
    pub fn digest(&self) -> Result<[u8; 32], ImageError> {
        use sha2::Digest;
        let mut bytes = vec![0; HEADER_LEN as usize + self.header.meta_len.min(MAX_META) as usize];
        let (head, meta) = bytes.split_at_mut(HEADER_LEN as usize);
        let read = self.file.read_exact_at(head, 0).and_then(|()| self.file.read_exact_at(meta, self.header.meta_at));
        read.map_err(|e| ImageError::Io(self.path.clone(), e))?;
        Ok(sha2::Sha256::digest(&bytes).into())
    }

    /// The bytes of a blob, in one piece.
    pub fn read_blob(&self, r: &BlobRef) -> io::Result<Vec<u8>> {
        if r.offset.checked_add(r.len).is_none_or(|end| end > self.header.total) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a piece lies outside the image"));
        }
        let mut bytes = vec![0; r.len as usize];
        self.file.read_exact_at(&mut bytes, r.offset)?;
        Ok(bytes)
    }
}

struct At<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let want = buf.len().min(self.left as usize);
        let n = self.file.read_at(&mut buf[..want], self.at)?;
        self.at += n as u64;
        self.left -= n as u64;
        Ok(n)
    }
}

impl BlobSource for ImageFile {
    fn open_blob(&self, r: &BlobRef) -> io::Result<Box<dyn Read + '_>> {
        if r.offset.checked_add(r.len).is_none_or(|end| end > self.header.total) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a piece lies outside the image"));
        }
        Ok(Box::new(At { file: &self.file, at: r.offset, left: r.len }))
    }
}

/// An image under its temporary name. Dropped without `commit`, it is removed.
pub struct ImageWriter {
    pub file: File,
    temporary: PathBuf,
    next: AtomicU64,
    /// What lies before is on its way to the disk.
    begun: AtomicU64,
    done: bool,
}

impl ImageWriter {
    /// Creates `FOLDER/.NAME.PID.tmp`, mode 0600, never following a link.
    pub fn create(folder: &Path, name: &str) -> io::Result<ImageWriter> {
        let temporary = folder.join(format!(".{name}.{}.tmp", std::process::id()));
        let _ = std::fs::remove_file(&temporary);
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(0o400000) // O_NOFOLLOW
            .open(&temporary)?;
        Ok(ImageWriter { file, temporary, next: AtomicU64::new(HEADER_LEN), begun: AtomicU64::new(HEADER_LEN), done: false })
    }

    /// A page-aligned place for `len` bytes.
    pub fn reserve(&self, len: u64) -> u64 {
        self.next.fetch_add((len + 4095) & !4095, Ordering::Relaxed)
    }

    pub fn append(&self, bytes: &[u8]) -> io::Result<BlobRef> {
        let offset = self.reserve(bytes.len() as u64);
        self.file.write_all_at(bytes, offset)?;
        let (end, begun) = (offset + bytes.len() as u64, self.begun.load(Ordering::Relaxed));
        if end.saturating_sub(begun) >= WRITE_BACK && self.begun.compare_exchange(begun, end, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.write_back(begun, end - begun);
        }
        Ok(BlobRef { offset, len: bytes.len() as u64 })
    }

    /// Where the next piece goes: how many bytes there are so far, or will be.
    pub fn reserved(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Waits until what is there is on the disk, which has to get along without metadata; how long that took.
    pub fn wait_written(&self) -> Duration {
        let begun = Instant::now();
        let all = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
        // SAFETY: numbers only.
        unsafe { libc::sync_file_range(self.file.as_raw_fd(), 0, 0, all) };
        begun.elapsed()
    }

    /// Sets the disk to work on a range, so that the fsync at the end waits for little. Errors come back from there.
    pub fn write_back(&self, offset: u64, len: u64) {
        // SAFETY: numbers only.
        unsafe { libc::sync_file_range(self.file.as_raw_fd(), offset as i64, len as i64, libc::SYNC_FILE_RANGE_WRITE) };
    }

    /// Metadata and header, fsync; the file keeps its temporary name. The total length.
    pub fn finish(&self, meta: &ImageMeta, header: Header) -> io::Result<u64> {
        let bytes = bincode::serde::encode_to_vec(meta, bincode::config::standard()).map_err(io::Error::other)?;
        let meta_at = self.reserve(bytes.len() as u64);
        self.file.write_all_at(&bytes, meta_at)?;
        let total = meta_at + bytes.len() as u64;
        let parent = meta.parent.map_or(0, |p| p.generation);
        let header = Header { parent, total, meta_at, meta_len: bytes.len() as u64, meta_crc: crc32c(&bytes), ..header };
        self.file.write_all_at(&header.encode(), 0)?;
        self.file.sync_all()?;
        Ok(total)
    }

    /// The one commit point: rename, then fsync of the folder.
    pub fn commit(&mut self, to: &Path) -> io::Result<()> {
        std::fs::rename(&self.temporary, to)?;
        self.done = true;
        File::open(to.parent().unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for ImageWriter {
    fn drop(&mut self) {
        if !self.done {
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Blobs of kernel objects go where the pages go.
pub struct Blobs<'a>(pub &'a ImageWriter);

impl BlobSink for Blobs<'_> {
    fn write_blob(&mut self, data: &mut dyn Read) -> io::Result<BlobRef> {
        let mut bytes = Vec::new();
        data.read_to_end(&mut bytes)?;
        self.0.append(&bytes)
    }
}
