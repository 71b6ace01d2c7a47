//! Whatever happens to an image's bytes is noticed, and the image is named.

mod sample;

use ckpt_image::{HEADER_LEN, ImageError, UserKey, VERSION};
use ckpt_sys::crc::crc32c;
use sample::{Folder, Sample, bytes, read};
use std::os::unix::fs::FileExt;
use std::path::Path;

fn key(byte: u8) -> Option<UserKey> {
    Some(UserKey::from_bytes([byte; 32]))
}

fn refused(path: &Path, key: Option<&UserKey>, what: &str) -> ImageError {
    let error = read(path, key).err().unwrap_or_else(|| panic!("{what}: not noticed"));
    assert!(error.to_string().contains(&path.display().to_string()), "{what}: {error}");
    error
}

#[test]
fn every_flipped_byte_is_noticed() {
    for key in [None, key(1)] {
        let folder = Folder::new(if key.is_some() { "flip-sealed" } else { "flip" });
        let path = Sample { key: key.clone(), ..Sample::default() }.write(&folder.0, "a.img");
        let good = std::fs::read(&path).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        for at in 0..good.len() {
            for flip in if key.is_none() { &[0x01, 0xff][..] } else { &[0x10] } {
                file.write_all_at(&[good[at] ^ flip], at as u64).unwrap();
                refused(&path, key.as_ref(), &format!("byte {at} ^ {flip:#x}"));
            }
            file.write_all_at(&good[at..=at], at as u64).unwrap();
        }
        read(&path, key.as_ref()).unwrap();
        println!("{} bytes, sealed: {}", good.len(), key.is_some());
    }
}

#[test]
fn every_length_but_the_right_one_is_noticed() {
    let folder = Folder::new("cut");
    let path = Sample::default().write(&folder.0, "a.img");
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let len = file.metadata().unwrap().len();
    file.set_len(len + 1).unwrap();
    assert!(matches!(refused(&path, None, "one byte more"), ImageError::TooLong(..)));
    for shorter in (0..len).rev() {
        file.set_len(shorter).unwrap();
        let error = refused(&path, None, &format!("{shorter} of {len} bytes"));
        if shorter >= HEADER_LEN {
            assert!(matches!(error, ImageError::Truncated(_, is, of) if (is, of) == (shorter, len)));
        }
    }
}

/// The header with `value` at `at`, and a checksum that fits.
fn patch_header(path: &Path, at: u64, value: u32) {
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    file.write_all_at(&value.to_le_bytes(), at).unwrap();
    let mut head = vec![0; HEADER_LEN as usize - 4];
    file.read_exact_at(&mut head, 0).unwrap();
    file.write_all_at(&crc32c(&head).to_le_bytes(), HEADER_LEN - 4).unwrap();
}

#[test]
fn other_versions_and_machines_are_named() {
    let folder = Folder::new("other");
    let path = |n: u32, at, value| {
        let path = Sample::default().write(&folder.0, &format!("{n}.img"));
        patch_header(&path, at, value);
        path
    };
    assert!(matches!(refused(&path(1, 8, VERSION + 1), None, "newer"), ImageError::Newer(..)));
    assert!(matches!(refused(&path(2, 8, 0), None, "older"), ImageError::Older(..)));
    assert!(matches!(refused(&path(3, 16, 183), None, "aarch64"), ImageError::Foreign(..)));
    assert!(matches!(refused(&path(4, 20, 65536), None, "page size"), ImageError::Foreign(..)));
    let text = folder.0.join("text.img");
    std::fs::write(&text, "not an image").unwrap();
    assert!(matches!(refused(&text, None, "text"), ImageError::BadMagic(_)));
    nix::unistd::mkfifo(&folder.0.join("fifo.img"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(matches!(refused(&folder.0.join("fifo.img"), None, "a FIFO"), ImageError::BadMagic(_)));
}

#[test]
fn an_encrypted_image_tells_nothing_without_its_key() {
    let folder = Folder::new("sealed");
    let path = Sample { key: key(1), ..Sample::default() }.write(&folder.0, "a.img");
    assert!(matches!(refused(&path, None, "no key"), ImageError::Encrypted(_)));
    assert!(matches!(refused(&path, key(2).as_ref(), "wrong key"), ImageError::WrongKey(_)));
    let (image, meta) = read(&path, key(1).as_ref()).unwrap();
    let piece = &meta.processes[0].body.as_ref().unwrap().memory.pieces[0];
    assert_eq!(image.read_blob(piece).unwrap(), bytes(8192, 1));
    let raw = std::fs::read(&path).unwrap();
    let plain = |needle: &[u8]| raw.windows(needle.len()).any(|w| w == needle);
    assert!(!plain(b"/bin/sample") && !plain(&bytes(8192, 1)[..64]));
}

/// Checksums that fit do not help who exchanges sealed pieces or takes the header of another image.
#[test]
fn sealed_pieces_cannot_be_exchanged() {
    let folder = Folder::new("exchange");
    let path = Sample { key: key(1), ..Sample::default() }.write(&folder.0, "a.img");
    patch_header(&path, 40, 9);
    assert!(matches!(refused(&path, key(1).as_ref(), "another generation"), ImageError::Damaged(..)));
}

#[test]
fn an_abandoned_image_leaves_nothing() {
    let folder = Folder::new("abandoned");
    let image = ckpt_image::ImageWriter::create(&folder.0, "a.img", None).unwrap();
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 1);
    drop(image);
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 0);
}

/// Whoever can write to the folder may have put links there under the names that are going to be used.
#[test]
fn an_image_is_its_owners_alone_and_no_link_is_followed() {
    use std::os::unix::fs::{MetadataExt, symlink};
    let folder = Folder::new("links");
    let victim = folder.0.join("victim");
    std::fs::write(&victim, "untouched").unwrap();
    symlink(&victim, folder.0.join(format!(".a.img.{}.tmp", std::process::id()))).unwrap();
    symlink(&victim, folder.0.join("a.img")).unwrap();
    let path = Sample::default().write(&folder.0, "a.img");
    let status = std::fs::symlink_metadata(&path).unwrap();
    assert!(status.is_file() && status.mode() & 0o777 == 0o600, "{status:?}");
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "untouched");
    read(&path, None).unwrap();
}
