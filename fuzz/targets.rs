//! What is fuzzed: used by the targets of cargo-fuzz and, for a bounded time, by `tests/tests/fuzz.rs`. Nothing that is
//! fed to them may panic, hang or take much memory.
#![allow(dead_code)]

use ckpt_image::HEADER_LEN;
use ckpt_sys::crc::crc32c;
use std::cell::RefCell;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Both directions of the coordinator's protocol, with tags and without.
pub fn wire(data: &[u8]) {
    use ckpt_wire::{ClientMessage, CoordinatorMessage, FrameDecoder, FrameKey, MAX_FRAME, MAX_REPLY};
    fn feed<M: ckpt_wire::Limited + serde::de::DeserializeOwned + serde::Serialize>(data: &[u8], limit: usize, key: bool) {
        let mut decoder = FrameDecoder::new(limit);
        if key {
            decoder.set_key(FrameKey::new(&[7; 32]));
        }
        for piece in data.chunks(17) {
            decoder.push(piece);
            while let Ok(Some(message)) = decoder.next_message::<M>() {
                // What is taken can be sent again.
                ckpt_wire::encode(&message, limit).expect("a message that was taken");
            }
        }
    }
    feed::<ClientMessage>(data, MAX_FRAME, false);
    feed::<CoordinatorMessage>(data, MAX_REPLY, false);
    feed::<ClientMessage>(data, MAX_FRAME, true);
}

thread_local!(static SCRATCH: RefCell<Option<File>> = const { RefCell::new(None) });

/// The bytes as a file.
fn as_file(bytes: &[u8], read: impl FnOnce(PathBuf)) {
    SCRATCH.with_borrow_mut(|scratch| {
        let file = scratch.get_or_insert_with(|| {
            // SAFETY: a literal name; the descriptor is new and ours.
            unsafe { File::from_raw_fd(libc::memfd_create(c"ckpt-fuzz".as_ptr(), libc::MFD_CLOEXEC)) }
        });
        file.set_len(bytes.len() as u64).expect("a memfd takes any length");
        file.write_all_at(bytes, 0).expect("a memfd takes any byte");
        read(PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())));
    })
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn long(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].try_into().map_or(0, u64::from_le_bytes)
}

/// Whole image files. Checksums of header and metadata are put right: who writes an image can do that too.
pub fn image(data: &[u8]) {
    let mut bytes = data.to_vec();
    if bytes.len() >= HEADER_LEN as usize {
        let (at, len) = (long(&bytes, 64), long(&bytes, 72));
        let meta = at.checked_add(len).and_then(|end| bytes.get(at as usize..end as usize));
        let crc = meta.map(crc32c);
        put(&mut bytes, 52, &crc.unwrap_or(0).to_le_bytes());
        sign(&mut bytes);
    }
    as_file(&bytes, |path| drop(ckpt_restart::hostile::examine(&path)));
}

fn sign(bytes: &mut [u8]) {
    let end = HEADER_LEN as usize - 4;
    let crc = crc32c(&bytes[..end]);
    put(bytes, end, &crc.to_le_bytes());
}

/// Bytes of data that metadata may refer to.
const DATA: usize = 64 << 10;

/// Metadata alone, in an image that is right in all else, up to the plan for the restorer.
pub fn plan(data: &[u8]) {
    let meta_at = HEADER_LEN as usize + DATA;
    let mut bytes = vec![0; meta_at + data.len()];
    put(&mut bytes, 0, ckpt_image::file::MAGIC);
    for (at, n) in [(8, ckpt_image::VERSION), (12, 0x0102_0304), (16, 62), (20, 4096), (40, 1), (48, 1), (52, crc32c(data))] {
        put(&mut bytes, at, &n.to_le_bytes());
    }
    for (at, n) in [(56, bytes.len()), (64, meta_at), (72, data.len())] {
        put(&mut bytes, at, &(n as u64).to_le_bytes());
    }
    put(&mut bytes, meta_at, data);
    sign(&mut bytes);
    as_file(&bytes, |path| drop(ckpt_restart::hostile::plan_only(&path)));
}

/// One chunk of memory as it is stored; the first two bytes choose codec and length.
pub fn codec(data: &[u8]) {
    use ckpt_image::Codec;
    let [choice, scale, packed @ ..] = data else { return };
    let codec = [Codec::None, Codec::Lz4, Codec::Zstd, Codec::Gzip, Codec::Stored][*choice as usize % 5];
    let len = (*scale as usize + 1) * 512;
    if let Ok(raw) = ckpt_agent::codec::unpack(codec, packed, len) {
        assert_eq!(raw.len(), len);
        let again = ckpt_agent::codec::pack(codec, &raw).expect("what was unpacked can be packed");
        assert_eq!(ckpt_agent::codec::unpack(codec, &again, len).ok(), Some(raw));
    }
}

/// Every parser of /proc text.
pub fn proc(data: &[u8]) {
    use ckpt_agent::gather::{parse_maps, VmFlags};
    use ckpt_agent::procfs;
    let text = String::from_utf8_lossy(data);
    ckpt_objects::parsers::all(&text);
    procfs::parse_stat(data);
    for key in ["SigBlk", "Uid", "CapEff"] {
        procfs::status_value(&text, key);
        procfs::status_hex(&text, key);
    }
    // Names are looked up: only those that no file has.
    if !data.contains(&b'/') {
        parse_maps(data, &VmFlags::parse(data), 1 << 30);
    }
    for line in data.split(|&b| b == b'\n') {
        ckpt_sys::procfs::map_line(line);
        ckpt_sys::procfs::number(line);
    }
    ckpt_sys::procfs::state(data);
    ckpt_sys::procfs::processor(data);
    ckpt_sys::procfs::last_ran(data);
    ckpt_sys::procfs::in_call(data);
    ckpt_sys::procfs::mask(data, b"SigBlk:\t");
}
