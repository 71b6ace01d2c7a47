//! Unfinished images that killed agents left behind.

use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Removes those of this computation, on any host: of other generations, and held locked by nobody any more.
pub fn remove(folder: &Path, computation: &[u8; 16], generation: u32) {
    let id: String = computation[..4].iter().map(|b| format!("{b:02x}")).collect();
    let (id, now) = (format!("-{id}"), format!("-g{generation}.img."));
    for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()) {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let ours = name.starts_with('.') && name.ends_with(".tmp") && name.contains(&id) && !name.contains(&now);
        if ours && is_abandoned(&path) {
            let _ = std::fs::remove_file(&path);
        }
    }
}

fn is_abandoned(path: &Path) -> bool {
    let Ok(file) = std::fs::File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path) else { return false };
    // SAFETY: our own descriptor.
    unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::image_name;
    use ckpt_image::ImageWriter;

    #[test]
    fn only_what_nobody_writes_is_removed() {
        let folder = std::env::temp_dir().join(format!("ckpt-stale-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let name = |generation| image_name("p", &[7; 16], "", generation);
        let (left, other) = (folder.join(format!(".{}.1.tmp", name(1))), folder.join(".p-08080808-g1.img.1.tmp"));
        std::fs::write(&left, "x").unwrap();
        std::fs::write(&other, "x").unwrap();
        let held = ImageWriter::create(&folder, &name(2), None).unwrap();
        remove(&folder, &[7; 16], 3);
        assert_eq!((left.exists(), other.exists(), std::fs::read_dir(&folder).unwrap().count()), (false, true, 2));
        drop(held);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
