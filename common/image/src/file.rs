//! Reading and writing image files.

use crate::meta::{CHUNK, ImageMeta, Parent};
use crate::seal::{CHECK_LEN, OVERHEAD, SALT_LEN, Seal, UserKey};
use ckpt_objects::{BlobRef, BlobSink, BlobSource};
use ckpt_sys::crc::crc32c;
use ckpt_sys::fault::{self, Stage};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub const MAGIC: &[u8; 8] = b"CKPTIMG\n";
pub const VERSION: u32 = 1;
pub const HEADER_LEN: u64 = 4096;
const X86_64: u32 = 62;
const MAX_META: usize = 1 << 30;
/// The disk is set to work after so many bytes.
const WRITE_BACK: u64 = 2 << 20;
const O_NOFOLLOW: i32 = libc::O_NOFOLLOW;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// encrypted: what the file's key is made with, and what tells a wrong key
    pub salt: Option<([u8; SALT_LEN], [u8; CHECK_LEN])>,
}

#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("{path}: {source}", path = .0.display(), source = .1)]
    Io(PathBuf, #[source] io::Error),
    #[error("{}: not a ckpt image", .0.display())]
    BadMagic(PathBuf),
    #[error("{}: written by a newer ckpt (image version {}, this ckpt reads up to {})", .0.display(), .1, VERSION)]
    Newer(PathBuf, u32),
    #[error("{}: of image version {}, which this ckpt does not read any more; restart it with the ckpt that wrote it", .0.display(), .1)]
    Older(PathBuf, u32),
    #[error("{}: made on another kind of machine (architecture {}, page size {})", .0.display(), .1, .2)]
    Foreign(PathBuf, u32, u32),
    #[error("{}: truncated: {} bytes of {}", .0.display(), .1, .2)]
    Truncated(PathBuf, u64, u64),
    #[error("{}: damaged: {} bytes, but its header says {}", .0.display(), .1, .2)]
    TooLong(PathBuf, u64, u64),
    #[error("{}: damaged: {} does not match its checksum", .0.display(), .1)]
    Damaged(PathBuf, String),
    #[error("{}: encrypted; give its key with --encrypt-key-file", .0.display())]
    Encrypted(PathBuf),
    #[error("{}: encrypted with another key than the one given with --encrypt-key-file", .0.display())]
    WrongKey(PathBuf),
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
        if let Some((salt, check)) = &self.salt {
            b.extend_from_slice(&1u32.to_le_bytes());
            b.extend_from_slice(salt);
            b.extend_from_slice(check);
        }
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
        let whole = crc32c(&b[..HEADER_LEN as usize - 4]) == u32_at(HEADER_LEN as usize - 4);
        match u32_at(8) {
            VERSION if whole => {}
            VERSION => return Err(ImageError::Damaged(path(), "the header".into())),
            n if n > VERSION => return Err(ImageError::Newer(path(), n)),
            n => return Err(ImageError::Older(path(), n)),
        }
        if u32_at(16) != X86_64 || u32_at(20) != ckpt_sys::PAGE as u32 {
            return Err(ImageError::Foreign(path(), u32_at(16), u32_at(20)));
        }
        let mut computation = [0; 16];
        computation.copy_from_slice(&b[24..40]);
        let (mut salt, mut check) = ([0; SALT_LEN], [0; CHECK_LEN]);
        salt.copy_from_slice(&b[104..104 + SALT_LEN]);
        check.copy_from_slice(&b[104 + SALT_LEN..104 + SALT_LEN + CHECK_LEN]);
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
            salt: (u32_at(100) == 1).then_some((salt, check)),
        })
    }
}

/// A complete image, open for reading; header and metadata verified, data not yet (see `verify`).
pub struct ImageFile {
    pub path: PathBuf,
    pub file: File,
    pub header: Header,
    /// the header's own checksum
    checksum: u32,
    seal: Option<Seal>,
}

impl ImageFile {
    /// What an image that builds on this one says about it.
    pub fn as_parent(&self) -> Parent {
        let Header { computation, generation, created, .. } = self.header;
        Parent { computation, generation, created, checksum: self.checksum }
    }

    pub fn open(path: &Path) -> Result<ImageFile, ImageError> {
        let io = |e| ImageError::Io(path.to_path_buf(), e);
        // A FIFO of that name must not hold us up.
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path).map_err(io)?;
        let status = file.metadata().map_err(io)?;
        if !status.is_file() {
            return Err(ImageError::BadMagic(path.to_path_buf()));
        }
        let len = status.len();
        let mut head = vec![0; HEADER_LEN.min(len) as usize];
        file.read_exact_at(&mut head, 0).map_err(io)?;
        let header = Header::decode(path, &head)?;
        if header.meta_at < HEADER_LEN || header.meta_at.checked_add(header.meta_len) != Some(header.total) {
            return Err(ImageError::Damaged(path.to_path_buf(), "the header".into()));
        }
        let checksum = crc32c(&head[..HEADER_LEN as usize - 4]);
        match len.cmp(&header.total) {
            std::cmp::Ordering::Less => Err(ImageError::Truncated(path.to_path_buf(), len, header.total)),
            std::cmp::Ordering::Greater => Err(ImageError::TooLong(path.to_path_buf(), len, header.total)),
            std::cmp::Ordering::Equal => Ok(ImageFile { path: path.to_path_buf(), file, header, checksum, seal: None }),
        }
    }

    /// Encrypted images are read after this only; others need no key.
    pub fn unlock(&mut self, key: Option<&UserKey>) -> Result<(), ImageError> {
        let Some((salt, check)) = &self.header.salt else { return Ok(()) };
        let key = key.ok_or_else(|| ImageError::Encrypted(self.path.clone()))?;
        if key.check(salt) != *check {
            return Err(ImageError::WrongKey(self.path.clone()));
        }
        self.seal = Some(key.for_file(salt));
        Ok(())
    }

    pub fn is_sealed(&self) -> bool {
        self.header.salt.is_some()
    }

    pub fn meta(&self) -> Result<ImageMeta, ImageError> {
        let damaged = || ImageError::Damaged(self.path.clone(), "the metadata".into());
        if self.header.meta_len > MAX_META as u64 {
            return Err(damaged());
        }
        let mut bytes = vec![0; self.header.meta_len as usize];
        self.file.read_exact_at(&mut bytes, self.header.meta_at).map_err(|e| ImageError::Io(self.path.clone(), e))?;
        if crc32c(&bytes) != self.header.meta_crc {
            return Err(damaged());
        }
        if self.is_sealed() {
            let seal = self.seal.as_ref().ok_or_else(|| ImageError::Encrypted(self.path.clone()))?;
            bytes = seal.open(self.header.meta_at, &self.header.context(), &bytes).map_err(|_| damaged())?;
        }
        let bad = |e: String| ImageError::BadMeta(self.path.clone(), e);
        let (meta, used) = bincode::serde::decode_from_slice(&bytes, CONFIG).map_err(|e| bad(e.to_string()))?;
        if used == bytes.len() { Ok(meta) } else { Err(bad("bytes follow the metadata".into())) }
    }

    /// A sealed piece as it was before.
    pub(crate) fn open_piece(&self, offset: u64, stored: &[u8]) -> io::Result<Vec<u8>> {
        let locked = || io::Error::new(io::ErrorKind::PermissionDenied, "the image is encrypted");
        self.seal.as_ref().ok_or_else(locked)?.open(offset, b"", stored)
    }

    /// SHA-256 of header and metadata, which hold the checksums of all the rest: it names this image.
    pub fn digest(&self) -> Result<[u8; 32], ImageError> {
        use sha2::Digest;
        let mut bytes = vec![0; HEADER_LEN as usize + self.header.meta_len.min(MAX_META as u64) as usize];
        let (head, meta) = bytes.split_at_mut(HEADER_LEN as usize);
        let read = self.file.read_exact_at(head, 0).and_then(|()| self.file.read_exact_at(meta, self.header.meta_at));
        read.map_err(|e| ImageError::Io(self.path.clone(), e))?;
        Ok(sha2::Sha256::digest(&bytes).into())
    }

    /// The bytes of a blob, in one piece.
    pub fn read_blob(&self, r: &BlobRef) -> io::Result<Vec<u8>> {
        let len = if self.is_sealed() { r.len.saturating_add(OVERHEAD) } else { r.len };
        if r.offset.checked_add(len).is_none_or(|end| end > self.header.total) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a piece lies outside the image"));
        }
        let mut bytes = vec![0; len as usize];
        self.file.read_exact_at(&mut bytes, r.offset)?;
        if self.is_sealed() { self.open_piece(r.offset, &bytes) } else { Ok(bytes) }
    }
}

/// `len` bytes of `buf`, which grows, that begin at a cache line: to others the kernel copies at a fifth of the speed on
/// some processors (docs/FACTS.md).
pub fn at_line(buf: &mut Vec<u8>, len: usize) -> &mut [u8] {
    const LINE: usize = 64;
    if buf.len() < len + LINE {
        buf.resize(len + LINE, 0);
    }
    let skip = buf.as_ptr().align_offset(LINE).min(LINE);
    &mut buf[skip..skip + len]
}

type Config = bincode::config::Configuration<bincode::config::LittleEndian, bincode::config::Varint, bincode::config::Limit<MAX_META>>;
/// The limit keeps a length that lies from reserving memory.
const CONFIG: Config = bincode::config::standard().with_limit::<MAX_META>();

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
        if self.is_sealed() {
            return Ok(Box::new(io::Cursor::new(self.read_blob(r)?)));
        }
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
    sealed: Option<Sealed>,
    sums: Mutex<Vec<(BlobRef, u32)>>,
}

struct Sealed {
    salt: [u8; SALT_LEN],
    check: [u8; CHECK_LEN],
    seal: Seal,
}

impl Sealed {
    fn new(key: &UserKey) -> io::Result<Sealed> {
        let mut salt = [0; SALT_LEN];
        // SAFETY: salt is writable for its length.
        let n = unsafe { libc::getrandom(salt.as_mut_ptr().cast(), SALT_LEN, 0) };
        if n != SALT_LEN as isize {
            return Err(io::Error::last_os_error());
        }
        Ok(Sealed { salt, check: key.check(&salt), seal: key.for_file(&salt) })
    }
}

impl ImageWriter {
    /// Creates `FOLDER/.NAME.PID.tmp`, mode 0600, never following a link. With a key everything is encrypted.
    pub fn create(folder: &Path, name: &str, key: Option<&UserKey>) -> io::Result<ImageWriter> {
        let sealed = key.map(Sealed::new).transpose()?;
        let temporary = folder.join(format!(".{name}.{}.tmp", std::process::id()));
        let _ = std::fs::remove_file(&temporary);
        passes(Stage::Create)?;
        let file = File::options().read(true).write(true).create_new(true).mode(0o600).custom_flags(O_NOFOLLOW).open(&temporary)?;
        // Held while we live: a file without it was left behind.
        // SAFETY: our own descriptor.
        unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
        Ok(ImageWriter { file, temporary, next: AtomicU64::new(HEADER_LEN), begun: AtomicU64::new(HEADER_LEN), done: false, sealed, sums: Mutex::default() })
    }

    pub fn is_sealed(&self) -> bool {
        self.sealed.is_some()
    }

    /// A page-aligned place for `len` bytes.
    pub fn reserve(&self, len: u64) -> u64 {
        self.next.fetch_add((len + 4095) & !4095, Ordering::Relaxed)
    }

    /// Writes a piece; where it is, and the checksum of what is stored.
    pub fn append(&self, bytes: &[u8]) -> io::Result<(BlobRef, u32)> {
        let len = bytes.len() as u64;
        let offset = self.reserve(if self.is_sealed() { len + OVERHEAD } else { len });
        Ok((BlobRef { offset, len }, self.put_at(bytes, offset)?))
    }

    /// Writes a piece to a place that was reserved; the checksum of what is stored.
    pub fn put_at(&self, bytes: &[u8], offset: u64) -> io::Result<u32> {
        match &self.sealed {
            None => self.put(bytes, offset),
            Some(sealed) => self.put(&sealed.seal.seal(offset, b"", bytes.to_vec())?, offset),
        }
    }

    fn put(&self, bytes: &[u8], offset: u64) -> io::Result<u32> {
        self.file.write_all_at(bytes, offset)?;
        let (end, begun) = (offset + bytes.len() as u64, self.begun.load(Ordering::Relaxed));
        if end.saturating_sub(begun) >= WRITE_BACK && self.begun.compare_exchange(begun, end, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.write_back(begun, end - begun);
        }
        Ok(crc32c(bytes))
    }

    /// As `append`, for what keeps no checksum of its own: it goes to `ImageMeta::sums`.
    pub fn append_listed(&self, bytes: &[u8]) -> io::Result<BlobRef> {
        let (piece, crc) = self.append(bytes)?;
        self.list(piece.clone(), crc);
        Ok(piece)
    }

    /// Reads back what was written to this place by others and lists its checksums.
    pub fn list_written(&self, place: &BlobRef) -> io::Result<()> {
        let mut buf = Vec::new();
        for offset in (place.offset..place.offset + place.len).step_by(CHUNK as usize) {
            let len = CHUNK.min(place.offset + place.len - offset);
            let bytes = at_line(&mut buf, len as usize);
            self.file.read_exact_at(bytes, offset)?;
            self.list(BlobRef { offset, len }, crc32c(bytes));
        }
        Ok(())
    }

    fn list(&self, piece: BlobRef, crc: u32) {
        self.sums.lock().unwrap_or_else(|e| e.into_inner()).push((piece, crc));
    }

    /// What was listed, for `ImageMeta::sums`.
    pub fn take_sums(&self) -> Vec<(BlobRef, u32)> {
        std::mem::take(&mut self.sums.lock().unwrap_or_else(|e| e.into_inner()))
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
        let mut bytes = bincode::serde::encode_to_vec(meta, CONFIG).map_err(io::Error::other)?;
        let overhead = if self.is_sealed() { OVERHEAD } else { 0 };
        let meta_len = bytes.len() as u64 + overhead;
        let meta_at = self.reserve(meta_len);
        let total = meta_at + meta_len;
        let salt = self.sealed.as_ref().map(|s| (s.salt, s.check));
        let parent = meta.parent.map_or(0, |p| p.generation);
        let mut header = Header { parent, total, meta_at, meta_len, salt, ..header };
        if let Some(sealed) = &self.sealed {
            bytes = sealed.seal.seal(meta_at, &header.context(), bytes)?;
        }
        header.meta_crc = crc32c(&bytes);
        self.file.write_all_at(&bytes, meta_at)?;
        self.file.write_all_at(&header.encode(), 0)?;
        passes(Stage::Sync)?;
        self.file.sync_all()?;
        Ok(total)
    }

    /// The one commit point: rename, then fsync of the folder. After an error the image is gone.
    pub fn commit(&mut self, to: &Path) -> io::Result<()> {
        passes(Stage::Rename)?;
        std::fs::rename(&self.temporary, to)?;
        self.done = true;
        let folder = to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let synced = passes(Stage::FolderSync).and_then(|()| File::open(folder)?.sync_all());
        synced.inspect_err(|_| drop(std::fs::remove_file(to)))
    }
}

fn passes(stage: Stage) -> io::Result<()> {
    fault::at(stage).map_err(|e| io::Error::from_raw_os_error(e.0))
}

impl Header {
    /// What is authenticated with the metadata.
    fn context(&self) -> Vec<u8> {
        Header { meta_crc: 0, ..*self }.encode()
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
        self.0.append_listed(&bytes)
    }
}
