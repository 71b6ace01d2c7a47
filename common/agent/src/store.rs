//! Image names, and which old generations go.

use ckpt_image::ImageFile;
use std::path::{Path, PathBuf};

/// `PROGRAM-COMPUTATION[-HOST-PID]-gN.img`
pub fn image_name(program: &str, computation: &[u8; 16], member: &str, generation: u32) -> String {
    let id: String = computation[..4].iter().map(|b| format!("{b:02x}")).collect();
    let clean: String = program.chars().map(|c| if c.is_ascii_alphanumeric() || "._-+".contains(c) { c } else { '_' }).take(64).collect();
    let clean = clean.trim_start_matches('.');
    let clean = if clean.is_empty() { "program" } else { clean };
    format!("{clean}-{id}{member}-g{generation}.img")
}

/// Removes this computation's images that are more than `keep` generations old. Called after a commit.
pub fn remove_old(folder: &Path, computation: &[u8; 16], newest: u32, keep: u32) {
    if keep == 0 {
        return;
    }
    let mut images: Vec<(u32, PathBuf)> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|x| x == "img"))
        .filter_map(|p| ImageFile::open(&p).ok())
        .filter(|i| &i.header.computation == computation && i.header.generation < newest)
        .map(|i| (i.header.generation, i.path))
        .collect();
    let mut generations: Vec<u32> = images.iter().map(|i| i.0).collect();
    generations.sort_unstable();
    generations.dedup();
    let stay = generations.split_off(generations.len().saturating_sub(keep as usize - 1));
    images.retain(|i| !stay.contains(&i.0));
    for (_, path) in images {
        let _ = std::fs::remove_file(path);
    }
}
