//! What the command line says of images.

use crate::launch::Failure;
use ckpt_coordinator::options::CheckpointOptions;
use ckpt_image::{ImageOptions, UserKey};
use ckpt_sys::flat::PROTOCOL;
use ckpt_wire::{Compression, PauseMode};
use nix::unistd::AccessFlags;
use std::path::{Path, PathBuf};

/// What a checkpoint needs to know that does not change between checkpoints.
#[derive(Debug)]
pub struct Settings {
    pub folder: PathBuf,
    pub program: String,
    pub signal: i32,
    pub compression: Compression,
    pub pause: PauseMode,
    pub keep: u32,
    pub unique_names: bool,
    pub unique_dirs: bool,
    pub save_open_files: bool,
    /// a full image every so many, 0: always
    pub incremental: u32,
    /// images are encrypted with it
    pub key: Option<UserKey>,
}

/// What a restart goes on with where nothing else is given.
pub struct Before<'a> {
    pub options: &'a ImageOptions,
    /// where its images lie
    pub folder: PathBuf,
}

/// Generations that are kept unless told otherwise.
const KEEP: u32 = 2;

impl Settings {
    /// Errors: options that exclude each other; a key that cannot be had.
    pub fn new(c: &CheckpointOptions, program: &Path, before: Option<Before>) -> Result<Settings, Failure> {
        let none = ImageOptions { keep: KEEP, ..ImageOptions::default() };
        let was = before.as_ref().map_or(&none, |b| b.options);
        let folder = match (&c.ckptdir, before.as_ref().map(|b| &b.folder)) {
            (Some(given), _) => given,
            (None, Some(there)) if nix::unistd::access(there, AccessFlags::W_OK).is_ok() => there,
            _ => Path::new("images"),
        };
        let settings = Settings {
            folder: std::path::absolute(folder)?,
            program: program.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
            signal: c.ckpt_signal.unwrap_or_else(|| libc::SIGRTMAX()),
            compression: c.compression().or_else(|| was.compress.parse().ok()).unwrap_or(Compression::Auto),
            pause: c.pause.or_else(|| was.pause.parse().ok()).unwrap_or(PauseMode::Auto),
            keep: c.keep.unwrap_or(was.keep),
            unique_names: c.unique_names || was.unique_names,
            unique_dirs: c.unique_dirs || was.unique_dirs && c.incremental.unwrap_or(0) == 0,
            save_open_files: c.save_open_files || was.save_open_files,
            incremental: c.incremental.unwrap_or(if c.unique_dirs { 0 } else { was.incremental }),
            key: c.encrypt_key_file.as_deref().map(UserKey::load).transpose()?,
        };
        if settings.unique_dirs && settings.incremental > 0 {
            return Err(Failure("--unique-dirs and --incremental exclude each other: an incremental image lies beside the one it builds on".into(), 2));
        }
        Ok(settings)
    }

    /// For a restart to go on with.
    pub fn options(&self, interval: u32) -> ImageOptions {
        let Settings { compression, pause, keep, unique_names, unique_dirs, save_open_files, incremental, folder: _, program: _, signal: _, key: _ } = *self;
        let (compress, pause) = (compression.as_str().into(), pause.as_str().into());
        ImageOptions { interval, compress, pause, keep, incremental, unique_names, unique_dirs, save_open_files }
    }

    /// The same for programs that can share an image. None: this one wants its own.
    pub fn kinship(&self) -> Option<String> {
        let Settings { folder, signal, compression, pause, keep, unique_names, unique_dirs, save_open_files, incremental, key, program: _ } = self;
        let rest = (env!("CARGO_PKG_VERSION"), PROTOCOL, signal, compression, pause, keep, unique_names, unique_dirs, save_open_files, incremental);
        key.is_none().then(|| format!("{rest:?} {}", resolved(folder).display()))
    }
}

/// It need not exist yet.
fn resolved(folder: &Path) -> PathBuf {
    let by_parent = || Some(folder.parent()?.canonicalize().ok()?.join(folder.file_name()?));
    folder.canonicalize().ok().or_else(by_parent).unwrap_or_else(|| folder.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        checkpoint: CheckpointOptions,
    }

    fn after(options: &ImageOptions, folder: &Path, args: &[&str]) -> Option<Settings> {
        let line = Line::try_parse_from(["ckpt_restart"].iter().chain(args)).ok()?;
        Settings::new(&line.checkpoint, Path::new("/bin/a"), Some(Before { options, folder: folder.into() })).ok()
    }

    #[test]
    fn a_restart_goes_on_as_before_unless_told() -> Result<(), &'static str> {
        let was = ImageOptions { interval: 9, compress: "lz4".into(), pause: "hold".into(), keep: 7, incremental: 3, save_open_files: true, ..Default::default() };
        let here = std::env::temp_dir();
        let same = after(&was, &here, &[]).ok_or("refused")?;
        assert_eq!((same.options(9), same.folder), (was.clone(), here.clone()));
        let other = after(&was, Path::new("/nowhere"), &["--compress", "zstd", "--keep", "0", "--unique-dirs"]).ok_or("refused")?;
        assert_eq!((other.compression, other.pause, other.keep, other.incremental, other.unique_dirs), (Compression::Zstd, PauseMode::Hold, 0, 0, true));
        assert!(other.folder.ends_with("images"));
        // What no release of ckpt writes is not believed.
        assert_eq!(after(&ImageOptions { compress: "rar".into(), ..was.clone() }, &here, &[]).ok_or("refused")?.compression, Compression::Auto);
        assert!(after(&was, &here, &["--unique-dirs", "--incremental"]).is_none());
        Ok(())
    }
}
