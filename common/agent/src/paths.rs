//! Where our own files are: beside the running program, or in ../lib of it.

use std::path::{Path, PathBuf};

/// Those of our programs that take no part in a checkpoint when run inside a computation. `ckpt_launch` becomes there
/// what it was to launch.
pub const TOOLS: [&str; 4] = ["ckpt_command", "ckpt_coordinator", "ckpt_restart", "ckpt_inspect"];

/// libckpt.so, absolute. Err: the folders that were searched.
pub fn library() -> Result<PathBuf, String> {
    let exe = std::env::current_exe().map_err(|e| e.to_string())?;
    let folder = exe.parent().unwrap_or(Path::new("/")).to_path_buf();
    let places = [folder.clone(), folder.join("../lib"), folder.join("../lib/ckpt")];
    places
        .iter()
        .map(|p| p.join("libckpt.so"))
        .find(|p| p.exists())
        .and_then(|p| p.canonicalize().ok())
        .ok_or_else(|| format!("libckpt.so not found in {0} or {0}/../lib; reinstall ckpt", folder.display()))
}

pub fn is_own_tool(exe: &Path) -> bool {
    exe.file_name().is_some_and(|n| TOOLS.iter().any(|t| n == *t))
}
