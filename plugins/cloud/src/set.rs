//! The images that make up a complete checkpoint.

use ckpt_image::ImageFile;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What one image says about the checkpoint that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub path: PathBuf,
    pub computation: String,
    pub generation: u32,
    /// A generation that was tried again: its images are never mixed with those of the first time.
    pub attempt: u64,
    pub index: u32,
    pub count: u32,
    /// milliseconds since 1970
    pub created: u64,
}

/// All members of one generation, and the images that these build on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    pub computation: String,
    pub generation: u32,
    pub images: Vec<PathBuf>,
}

/// The newest complete checkpoint in a folder, of the computation that was checkpointed last; also where each checkpoint
/// has a folder of its own in it (`--unique-dirs`).
pub fn newest_in(folder: &Path) -> Result<Set, String> {
    let mut paths = entries(folder)?;
    let subfolders = paths.iter().filter(|path| is_unique_folder(path)).map(|path| entries(path));
    let below: Vec<PathBuf> = subfolders.filter_map(Result::ok).flatten().collect();
    paths.extend(below);
    newest(paths.iter().filter(|path| is_image(path)).filter_map(|path| member(path).ok()).collect())
        .ok_or_else(|| format!("{}: no complete checkpoint here; take one: ckpt_command --checkpoint", folder.display()))
        .and_then(with_parents)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let list = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    Ok(list.flatten().map(|entry| entry.path()).collect())
}

/// A folder that `--unique-dirs` makes for one checkpoint.
pub fn is_unique_folder(path: &Path) -> bool {
    path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("ckpt-")) && path.is_dir()
}

/// Every byte against its checksum: what is damaged here already is not passed on. Encrypted images are opened by those
/// who have the key, and are not looked into here.
pub fn verify(set: &Set) -> Result<(), String> {
    set.images.iter().try_for_each(|path| {
        let image = ImageFile::open(path).map_err(|e| e.to_string())?;
        if image.is_sealed() {
            return Ok(());
        }
        let meta = image.meta().map_err(|e| e.to_string())?;
        ckpt_image::verify::verify(&image, &meta, false).map_err(|e| e.to_string())
    })
}

/// The images that an event names, seen to be all there.
pub fn of_event(event: &crate::event::Event) -> Result<Set, String> {
    let mut members = Vec::new();
    for image in &event.images {
        members.push(member(&image.path).map_err(|e| match image.path.exists() {
            true => e,
            false => format!("{}: not on this host; images of several hosts need a folder that all share", image.path.display()),
        })?);
    }
    let set = newest(members).filter(|set| set.generation == event.generation).ok_or_else(|| {
        let (folder, generation) = (event.ckptdir.display(), event.generation);
        format!("{folder}: the images of generation {generation} are not complete; nothing was copied")
    })?;
    with_parents(set)
}

/// An incremental image is nothing without those that it builds on; they lie beside it.
fn with_parents(mut set: Set) -> Result<Set, String> {
    let mut next = 0;
    while let Some(path) = set.images.get(next).cloned() {
        next += 1;
        let image = ImageFile::open(&path).map_err(|e| e.to_string())?;
        if image.header.parent == 0 {
            continue;
        }
        let all = entries(path.parent().unwrap_or(Path::new(".")))?.into_iter().filter(|p| is_image(p));
        let found: Vec<PathBuf> = parents(&image, all.filter_map(|p| ImageFile::open(&p).ok()))?;
        if found.is_empty() {
            return Err(format!("{}: the image of generation {} that it builds on is missing", path.display(), image.header.parent));
        }
        found.into_iter().for_each(|path| {
            if !set.images.contains(&path) {
                set.images.push(path);
            }
        });
    }
    Ok(set)
}

/// Which of `others` the image builds on. An encrypted one says only of which generation it is: all that may be it.
fn parents(image: &ImageFile, others: impl Iterator<Item = ImageFile>) -> Result<Vec<PathBuf>, String> {
    let header = &image.header;
    if image.is_sealed() {
        let same = |h: &ckpt_image::Header| (h.computation, h.member_index, h.generation) == (header.computation, header.member_index, header.parent);
        return Ok(others.filter(|other| same(&other.header)).map(|other| other.path).collect());
    }
    let Some(parent) = image.meta().map_err(|e| e.to_string())?.parent else { return Ok(Vec::new()) };
    Ok(others.filter(|other| other.as_parent() == parent).map(|other| other.path).take(1).collect())
}

fn is_image(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
    !hidden && path.extension().is_some_and(|x| x == "img")
}

pub fn member(path: &Path) -> Result<Member, String> {
    let header = ImageFile::open(path).map_err(|e| e.to_string())?.header;
    Ok(Member {
        path: path.to_owned(),
        computation: hex(&header.computation),
        generation: header.generation,
        attempt: header.attempt,
        index: header.member_index,
        count: header.member_count,
        created: header.created,
    })
}

/// As the coordinator writes a computation's id.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The newest generation of which all members are there.
fn newest(members: Vec<Member>) -> Option<Set> {
    let computation = members.iter().max_by_key(|m| m.created)?.computation.clone();
    let mut attempts: BTreeMap<(u32, u64), Vec<Member>> = BTreeMap::new();
    let of_it = members.into_iter().filter(|m| m.computation == computation);
    of_it.for_each(|m| attempts.entry((m.generation, m.attempt)).or_default().push(m));
    let mut attempts: Vec<_> = attempts.into_iter().collect();
    attempts.sort_by_key(|((generation, _), set)| (*generation, set.iter().map(|m| m.created).max()));
    attempts.into_iter().rev().find_map(|((generation, _), mut set)| {
        set.sort_by(|a, b| (a.index, &a.path).cmp(&(b.index, &b.path)));
        set.dedup_by_key(|m| m.index);
        let complete = set.len() == set[0].count as usize && set.iter().zip(0..).all(|(m, n)| m.index == n);
        let images = set.into_iter().map(|m| m.path).collect();
        complete.then(|| Set { computation: computation.clone(), generation, images })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn m(computation: &str, generation: u32, index: u32, count: u32) -> Member {
        let path = format!("{computation}-{index}-g{generation}.img").into();
        Member { path, computation: computation.into(), generation, attempt: 1, index, count, created: u64::from(generation) }
    }

    #[test]
    fn the_newest_complete_generation_is_taken() {
        let set = newest(vec![m("a", 1, 0, 2), m("a", 1, 1, 2), m("a", 2, 0, 2)]).unwrap();
        assert_eq!((set.generation, set.images.len()), (1, 2));
    }

    #[test]
    fn a_member_is_not_counted_twice() {
        let copy = Member { path: "copy.img".into(), ..m("a", 1, 0, 2) };
        assert_eq!(newest(vec![m("a", 1, 0, 2), copy]), None);
    }

    #[test]
    fn attempts_are_not_mixed() {
        let other = Member { attempt: 2, ..m("a", 1, 1, 2) };
        assert_eq!(newest(vec![m("a", 1, 0, 2), other]), None);
    }

    #[test]
    fn of_several_computations_the_last_one() {
        let set = newest(vec![m("a", 1, 0, 1), m("b", 5, 0, 1)]).unwrap();
        assert_eq!((set.computation.as_str(), set.generation), ("b", 5));
        assert_eq!(newest(vec![]), None);
    }
}
