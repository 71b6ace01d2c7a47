//! Which of the images given are restarted: the newest generation of which all members are there and verify.

use ckpt_image::{ImageError, ImageFile, ImageMeta, Parent, UserKey, verify};
use ckpt_objects::ObjectId;
use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum SetError {
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error("generation {generation} is incomplete: member {missing} of {count} is missing; give all images of a generation")]
    Incomplete { generation: u32, missing: u32, count: u32 },
    #[error("{image}: holds only what changed since generation {generation}, whose image is missing or another one; put that back beside it")]
    NoParent { image: String, generation: u32 },
    #[error("{0}: no image in this folder; give the images themselves")]
    EmptyFolder(String),
    #[error("{0}: no such image; they lie where ckpt_launch was started, in images, or in its --ckptdir")]
    NoMatch(String),
}

pub struct Member {
    pub file: ImageFile,
    pub meta: ImageMeta,
    /// What the image leaves out is in these, the nearest first.
    pub parents: Vec<(ImageFile, ImageMeta)>,
    /// of other processes than ours, opened before anything starts
    pub outside: HashMap<ObjectId, OwnedFd>,
}

impl Member {
    /// An image with all that it builds on, looked for beside it.
    pub fn open(mut file: ImageFile, key: Option<&UserKey>) -> Result<Member, SetError> {
        file.unlock(key)?;
        let meta = file.meta()?;
        let mut parents: Vec<(ImageFile, ImageMeta)> = Vec::new();
        let mut newer = file.header.generation;
        while let Some(parent) = parents.last().map_or(&meta, |p| &p.1).parent {
            let missing = || SetError::NoParent { image: file.path.display().to_string(), generation: parent.generation };
            let mut found = beside(&file.path, &parent).filter(|_| parent.generation < newer).ok_or_else(missing)?;
            newer = parent.generation;
            found.unlock(key)?;
            parents.push((found.meta().map(|meta| (found, meta)))?);
        }
        Ok(Member { file, meta, parents, outside: HashMap::new() })
    }

    /// Every checksum, of what it builds on too; `memory_later`: whoever reads memory compares its checksums then.
    pub fn verify(&self, memory_later: bool) -> Result<(), SetError> {
        let images = std::iter::once((&self.file, &self.meta)).chain(self.parents.iter().map(|p| (&p.0, &p.1)));
        Ok(images.into_iter().try_for_each(|(file, meta)| verify::verify(file, meta, memory_later))?)
    }
}

fn beside(path: &Path, parent: &Parent) -> Option<ImageFile> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let files = std::fs::read_dir(folder).ok()?.flatten().map(|e| e.path());
    files.filter(|p| is_image(p)).filter_map(|p| ImageFile::open(&p).ok()).find(|i| i.as_parent() == *parent)
}

/// The members to restart; notes for the user about images passed over. Of several computations the one that was
/// checkpointed last is taken.
pub fn choose(paths: &[PathBuf], key: Option<&UserKey>, memory_later: bool) -> Result<(Vec<Member>, Vec<String>), SetError> {
    let mut notes = Vec::new();
    let mut broken: Option<ImageError> = None;
    let mut images = Vec::new();
    for path in expand(paths)? {
        match ImageFile::open(&path) {
            Ok(image) => images.push(image),
            Err(e) => {
                notes.push(e.to_string());
                broken.get_or_insert(e);
            }
        }
    }
    let Some(newest) = images.iter().max_by_key(|i| i.header.created).map(|i| i.header.computation) else {
        return Err(broken.map_or_else(|| SetError::EmptyFolder(shown(paths)), SetError::from));
    };
    let (images, others): (Vec<_>, Vec<_>) = images.into_iter().partition(|i| i.header.computation == newest);
    notes.extend(others.iter().map(|i| format!("{}: of another computation, checkpointed earlier; passed over", i.path.display())));
    // Attempts of one generation are told apart: their images are never mixed.
    let mut attempts: BTreeMap<(u32, u64), Vec<ImageFile>> = BTreeMap::new();
    images.into_iter().for_each(|i| attempts.entry((i.header.generation, i.header.attempt)).or_default().push(i));
    let mut attempts: Vec<_> = attempts.into_iter().collect();
    attempts.sort_by_key(|((generation, _), images)| (*generation, images.iter().map(|i| i.header.created).max()));
    let mut failure = None;
    for ((generation, _), images) in attempts.into_iter().rev() {
        match complete(generation, images, key, memory_later) {
            Ok(members) => return Ok((members, notes)),
            Err(e) => {
                notes.push(e.to_string());
                failure.get_or_insert(e);
            }
        }
    }
    Err(failure.unwrap_or_else(|| SetError::EmptyFolder(shown(paths))))
}

fn shown(paths: &[PathBuf]) -> String {
    paths.first().map(|p| p.display().to_string()).unwrap_or_default()
}

/// A folder stands for the images in it.
fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>, SetError> {
    let mut out = Vec::new();
    for path in paths {
        // What a shell makes of a pattern that nothing matches.
        if !path.exists() && path.as_os_str().as_bytes().contains(&b'*') {
            return Err(SetError::NoMatch(path.display().to_string()));
        }
        if path.is_dir() {
            let list = std::fs::read_dir(path).map_err(|e| ImageError::Io(path.clone(), e))?;
            let before = out.len();
            out.extend(list.flatten().map(|e| e.path()).filter(|p| is_image(p)));
            if out.len() == before {
                return Err(SetError::EmptyFolder(path.display().to_string()));
            }
        } else {
            out.push(path.clone());
        }
    }
    Ok(out)
}

fn is_image(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
    !hidden && path.extension().is_some_and(|x| x == "img")
}

fn complete(generation: u32, mut images: Vec<ImageFile>, key: Option<&UserKey>, memory_later: bool) -> Result<Vec<Member>, SetError> {
    images.sort_by_key(|i| i.header.member_index);
    images.dedup_by_key(|i| i.header.member_index);
    let count = images.first().map_or(1, |i| i.header.member_count);
    // An index beyond the count is not believed.
    images.retain(|i| i.header.member_index < count);
    let missing = (0..count).find(|n| !images.iter().any(|i| i.header.member_index == *n && i.header.member_count == count));
    if let Some(missing) = missing {
        return Err(SetError::Incomplete { generation, missing: missing + 1, count });
    }
    images.into_iter().map(|file| Member::open(file, key).and_then(|m| m.verify(memory_later).map(|()| m))).collect()
}
