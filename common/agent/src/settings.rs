//! What the command line says of images.

use ckpt_image::UserKey;
use ckpt_sys::flat::PROTOCOL;
use ckpt_wire::{Compression, PauseMode};
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

impl Settings {
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
