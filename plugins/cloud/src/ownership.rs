//! Which job this instance works on, beside the images: `job.json`. Hooks find it there.

use crate::files;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    pub table: String,
    pub job: String,
    pub owner: String,
    /// Counts the owners that the job has had: what an older one writes is told apart from ours.
    pub epoch: u64,
}

fn path(folder: &Path) -> PathBuf {
    folder.join("job.json")
}

impl Ownership {
    /// None where no job was claimed for this folder.
    pub fn load(folder: &Path) -> Result<Option<Ownership>, String> {
        let path = path(folder);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|e| format!("{}: {e}; claim the job again: ckpt_store job claim", path.display())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(format!("{}: {e}", path.display())),
        }
    }

    pub fn save(&self, folder: &Path) -> Result<(), String> {
        let text = serde_json::to_vec(self).map_err(|e| e.to_string())?;
        std::fs::create_dir_all(folder)
            .and_then(|()| files::replace(&path(folder), &text))
            .map_err(|e| format!("{}: {e}", path(folder).display()))
    }
}
