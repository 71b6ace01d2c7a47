//! Image names, and which old generations go.

use ckpt_image::{Header, ImageFile};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// `PROGRAM-COMPUTATION[-HOST-PID]-gN.img`
pub fn image_name(program: &str, computation: &[u8; 16], member: &str, generation: u32) -> String {
    let id: String = computation[..4].iter().map(|b| format!("{b:02x}")).collect();
    let clean: String = program.chars().map(|c| if c.is_ascii_alphanumeric() || "._-+".contains(c) { c } else { '_' }).take(64).collect();
    let clean = clean.trim_start_matches('.');
    let clean = if clean.is_empty() { "program" } else { clean };
    format!("{clean}-{id}{member}-g{generation}.img")
}

/// Makes the folder, and those above it, if they are not there; then they are on the disk.
pub fn make(folder: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|f| !f.is_dir()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if missing.iter().any(|f| f.exists()) {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    for above in missing.iter().filter_map(|f| f.parent()) {
        // One that we may write to and not read cannot be synced.
        if let Ok(above) = File::open(above) {
            above.sync_all()?;
        }
    }
    Ok(())
}

/// Removes this computation's images that are more than `keep` generations old. Called after a commit.
pub fn remove_old(folder: &Path, computation: &[u8; 16], newest: u32, keep: u32) {
    if keep == 0 {
        return;
    }
    let mut images: Vec<(Header, PathBuf)> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|x| x == "img"))
        .filter_map(|p| ImageFile::open(&p).ok())
        .filter(|i| &i.header.computation == computation && i.header.generation <= newest)
        .map(|i| (i.header, i.path))
        .collect();
    let mut generations: Vec<u32> = images.iter().map(|i| i.0.generation).collect();
    generations.sort_unstable();
    generations.dedup();
    let stay = generations.split_off(generations.len().saturating_sub(keep as usize));
    let stay = with_parents(stay, images.iter().map(|i| (i.0.generation, i.0.parent)));
    images.retain(|i| !stay.contains(&i.0.generation));
    for (_, path) in images {
        let _ = std::fs::remove_file(path);
    }
}

/// The newest generation of a computation that has an image there; 0: none has.
pub fn newest(folder: &Path, computation: &[u8; 16]) -> u32 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path());
    let of = |path: PathBuf| match path.extension() {
        Some(x) if x == "img" => ImageFile::open(&path).ok().filter(|i| &i.header.computation == computation).map(|i| i.header.generation),
        _ => path.file_name()?.to_str()?.strip_prefix(&folder_prefix(computation))?.parse().ok(),
    };
    entries.filter_map(of).max().unwrap_or(0)
}

/// `--unique-dirs`: the folder of one checkpoint, the same for all who take part on this host.
pub fn folder_name(computation: &[u8; 16], generation: u32) -> String {
    format!("{}{generation}", folder_prefix(computation))
}

fn folder_prefix(computation: &[u8; 16]) -> String {
    let id: String = computation[..4].iter().map(|b| format!("{b:02x}")).collect();
    format!("ckpt-{id}-g")
}

/// Removes the folders of all but the newest `keep` checkpoints; what is not ours in them stays, and so do they.
pub fn remove_old_folders(folder: &Path, computation: &[u8; 16], keep: u32) {
    if keep == 0 {
        return;
    }
    let prefix = folder_prefix(computation);
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let numbered = entries.filter_map(|e| Some((e.file_name().to_str()?.strip_prefix(&prefix)?.parse::<u32>().ok()?, e.path())));
    let mut folders: Vec<(u32, PathBuf)> = numbered.collect();
    folders.sort_unstable();
    folders.truncate(folders.len().saturating_sub(keep as usize));
    for (_, old) in folders {
        for path in std::fs::read_dir(&old).into_iter().flatten().flatten().map(|e| e.path()) {
            let ours = path.file_name().is_some_and(|n| n == crate::script::NAME || n == crate::timings::NAME)
                || ImageFile::open(&path).is_ok_and(|i| &i.header.computation == computation);
            if ours {
                let _ = std::fs::remove_file(path);
            }
        }
        let _ = std::fs::remove_dir(old);
    }
}

/// Generations, and all that they build on. `images`: generation, generation of the parent or 0.
fn with_parents(mut generations: Vec<u32>, images: impl Iterator<Item = (u32, u32)>) -> Vec<u32> {
    let mut images: Vec<(u32, u32)> = images.filter(|i| i.1 != 0).collect();
    // A parent is older than its child: one pass from new to old is enough.
    images.sort_unstable_by_key(|i| std::cmp::Reverse(i.0));
    for (generation, parent) in images {
        if generations.contains(&generation) && !generations.contains(&parent) {
            generations.push(parent);
        }
    }
    generations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_stay() {
        let images = [(1, 0), (2, 1), (3, 2), (4, 0), (5, 4), (6, 5)];
        let mut stay = with_parents(vec![5, 6], images.into_iter());
        stay.sort_unstable();
        assert_eq!(stay, [4, 5, 6]);
        let mut stay = with_parents(vec![3, 4], images.into_iter());
        stay.sort_unstable();
        assert_eq!(stay, [1, 2, 3, 4]);
    }
}
