//! The libraries of a binary, which ld.so must find once more before the restorer takes over: where the program said that
//! they are, and, of those that are gone since, the copies in the image.

use super::{MapFiles, Prepared, Rebuild};
use crate::chain::Chain;
use crate::preflight;
use ckpt_image::Body;
use std::ffi::OsStr;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

const VARIABLE: &[u8] = b"LD_LIBRARY_PATH=";

/// A folder of links to them, which is gone with this. The children have the descriptors at the same numbers.
#[derive(Default)]
pub(super) struct Libraries(Option<PathBuf>);

impl Drop for Libraries {
    fn drop(&mut self) {
        if let Some(folder) = &self.0 {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

impl Libraries {
    fn folder(&mut self) -> io::Result<&Path> {
        if self.0.is_none() {
            let folder = std::env::temp_dir().join(format!("ckpt-libraries-{}", std::process::id()));
            std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
            self.0 = Some(folder);
        }
        Ok(self.0.as_deref().unwrap_or(Path::new("/")))
    }

    fn link(&mut self, path: &Path, file: i32) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default().as_bytes();
        for name in names(name).map(OsStr::from_bytes) {
            if !path.with_file_name(name).exists() {
                let at = self.folder()?.join(name);
                let made = symlink(format!("/proc/self/fd/{file}"), at);
                made.or_else(|e| if e.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(e) })?;
            }
        }
        Ok(())
    }
}

/// By which a library may be asked for whose file is libx.so.1.2: that, libx.so.1, libx.so.
fn names(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = |at: &usize| file[*at..].is_empty() || file[*at] == b'.';
    let so = (3..=file.len()).find(|at| file[..*at].ends_with(b".so") && ends(at)).unwrap_or(usize::MAX);
    (so..=file.len()).filter(ends).map(|at| &file[..at])
}

impl Rebuild<'_> {
    /// What is gone of what was mapped.
    pub(super) fn libraries(&self, files: &MapFiles) -> io::Result<Libraries> {
        let mut all = Libraries::default();
        for ((path, _), file) in files {
            let path = preflight::mapped(path, &self.options.map_path);
            if !path.exists() {
                all.link(&path, file.as_raw_fd())?;
            }
        }
        Ok(all)
    }

    /// While the images are open.
    pub(super) fn library_path(&self, p: &Prepared, body: &Body, gone: &Libraries) -> Option<Vec<u8>> {
        let theirs = self.theirs(p, body);
        let ours = gone.0.as_ref().map(|folder| folder.as_os_str().as_bytes().to_vec());
        let all: Vec<Vec<u8>> = ours.into_iter().chain(theirs).collect();
        (!all.is_empty()).then(|| [VARIABLE, &all.join(&b':')].concat())
    }

    /// As the program was started with.
    fn theirs(&self, p: &Prepared, body: &Body) -> Option<Vec<u8>> {
        let (start, end) = (body.mm[9], body.mm[10]);
        let env = Chain::of(&self.members[p.member], p.process)?.peek(start, end.checked_sub(start)?.min(1 << 20))?;
        env.split(|&b| b == 0).find_map(|v| v.strip_prefix(VARIABLE)).map(<[u8]>::to_vec)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_of_a_library() {
        let of = |file: &'static str| super::names(file.as_bytes()).map(|n| std::str::from_utf8(n).unwrap()).collect::<Vec<_>>();
        assert_eq!(of("libx.so.1.2"), ["libx.so", "libx.so.1", "libx.so.1.2"]);
        assert_eq!(of("libx-1.0.so"), ["libx-1.0.so"]);
        assert!(of("program").is_empty() && of("x.sock").is_empty());
    }
}
