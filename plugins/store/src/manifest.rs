//! What the store says about a complete checkpoint. The manifest is the last object of a generation to be written: without
//! it nothing of that generation exists.
//!
//! ```text
//! s3://BUCKET/PREFIX/JOB/e000002-g000008-1a2b3c4d/manifest.json
//!                       /e000002-g000008-1a2b3c4d/NAME.img          an image is one object, sent in parts
//! ```

use serde::{Deserialize, Serialize};

pub const VERSION: u32 = 1;
pub const FILE: &str = "manifest.json";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub version: u32,
    pub computation: String,
    pub generation: u32,
    /// Of the owner that pushed it; 0 without a job record.
    pub epoch: u64,
    pub host: String,
    /// Seconds since 1970.
    pub created: u64,
    pub images: Vec<Stored>,
}

/// One image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    pub name: String,
    /// Where it lies, below the job: this generation's folder, or that of an older one with the same file.
    pub key: String,
    pub bytes: u64,
    pub etag: String,
    /// In their order, without gaps.
    pub parts: Vec<StoredPart>,
    /// What later images are compared with (`pieces::pack`).
    #[serde(default)]
    pub pieces: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPart {
    pub bytes: u64,
    /// base64
    pub sha256: String,
}

impl Stored {
    /// Each part and its offset in the image.
    pub fn placed(&self) -> impl Iterator<Item = (u64, &StoredPart)> {
        self.parts.iter().scan(0, |next, part| {
            let at = *next;
            *next += part.bytes;
            Some((at, part))
        })
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadManifest {
    #[error("not a manifest: {0}")]
    NotOne(String),
    #[error("a manifest of version {0}; this program knows {VERSION}: use a newer one")]
    Newer(u32),
    #[error("a manifest that contradicts itself ({0}); push the checkpoint again")]
    Contradiction(&'static str),
}

impl Manifest {
    /// Believes nothing before it is checked.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, BadManifest> {
        #[derive(Deserialize)]
        struct Any {
            version: u32,
        }
        let not_one = |e: serde_json::Error| BadManifest::NotOne(e.to_string());
        let any: Any = serde_json::from_slice(bytes).map_err(not_one)?;
        if any.version > VERSION {
            return Err(BadManifest::Newer(any.version));
        }
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(not_one)?;
        manifest.check().map_err(BadManifest::Contradiction)?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.images.is_empty() {
            return Err("no images");
        }
        for image in &self.images {
            if !is_file_name(&image.name) {
                return Err("an image has a name that is no file's");
            }
            match image.key.split_once('/') {
                Some((folder, name)) if is_file_name(folder) && name == image.name => {}
                _ => return Err("an image lies outside the job"),
            }
            let sum = image.parts.iter().try_fold(0u64, |sum, part| sum.checked_add(part.bytes));
            if sum != Some(image.bytes) || image.parts.is_empty() {
                return Err("the parts of an image are not what its length says");
            }
        }
        let mut names: Vec<&str> = self.images.iter().map(|i| i.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() != self.images.len() { Err("an image is named twice") } else { Ok(()) }
    }

    pub fn folder(&self) -> String {
        folder(self.epoch, self.generation, &self.computation)
    }

    pub fn bytes(&self) -> u64 {
        self.images.iter().map(|i| i.bytes).sum()
    }
}

/// Begins with the epoch: an owner that came too late writes where nobody looks.
pub fn folder(epoch: u64, generation: u32, computation: &str) -> String {
    let id: String = computation.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    format!("{}g{generation:06}-{id}", ckpt_cloud::job::epoch_part(epoch))
}

pub fn epoch_of(folder: &str) -> Option<u64> {
    folder.strip_prefix('e')?.split_once('-')?.0.parse().ok()
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && !name.starts_with('.') && !name.contains(['/', '\0'])
}

/// Newest first: a later owner's before an earlier one's, then by time.
pub fn sort(manifests: &mut [Manifest]) {
    manifests.sort_by_key(|m| std::cmp::Reverse((m.epoch, m.created, m.generation)));
}

/// Manifests that go, and objects that nothing kept refers to any more. `manifests` is sorted; `named` stays in any case.
pub fn prune<'a>(manifests: &'a [Manifest], keep: usize, named: &str) -> (Vec<&'a Manifest>, Vec<&'a str>) {
    if keep == 0 {
        return (Vec::new(), Vec::new());
    }
    let stays = |(n, m): &(usize, &Manifest)| *n < keep || m.folder() == named;
    let (kept, gone): (Vec<_>, Vec<_>) = manifests.iter().enumerate().partition(stays);
    let used = |key: &str| kept.iter().any(|(_, m)| m.images.iter().any(|i| i.key == key));
    let mut objects: Vec<&str> = gone.iter().flat_map(|(_, m)| m.images.iter().map(|i| i.key.as_str())).filter(|k| !used(k)).collect();
    objects.sort_unstable();
    objects.dedup();
    (gone.into_iter().map(|(_, m)| m).collect(), objects)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn manifest(epoch: u64, generation: u32, keys: &[&str]) -> Manifest {
        let image = |key: &&str| Stored {
            name: key.split_once('/').unwrap().1.into(),
            key: (*key).into(),
            bytes: 10,
            etag: "e".into(),
            parts: vec![StoredPart { bytes: 10, sha256: "p".into() }],
            pieces: String::new(),
        };
        Manifest {
            version: VERSION,
            computation: "0011223344556677".into(),
            generation,
            epoch,
            host: "h".into(),
            created: u64::from(generation),
            images: keys.iter().map(image).collect(),
        }
    }

    fn parse(m: &Manifest) -> Result<Manifest, BadManifest> {
        Manifest::parse(&serde_json::to_vec(m).unwrap())
    }

    #[test]
    fn a_manifest_survives() {
        let m = manifest(2, 8, &["f/a.img", "f/b.img"]);
        assert_eq!(parse(&m).unwrap(), m);
        assert_eq!(m.folder(), "e000002-g000008-00112233");
        assert_eq!(epoch_of(&m.folder()), Some(2));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let bad = |change: fn(&mut Manifest)| {
            let mut m = manifest(1, 1, &["f/a.img", "f/b.img"]);
            change(&mut m);
            assert!(matches!(parse(&m), Err(BadManifest::Contradiction(_))), "{m:?}");
        };
        bad(|m| m.images.clear());
        bad(|m| m.images[0].bytes = 101);
        bad(|m| m.images[0].parts.clear());
        bad(|m| m.images[0].name = "../a.img".into());
        bad(|m| m.images[0].name = ".hidden".into());
        bad(|m| m.images[0].key = "../f/a.img".into());
        bad(|m| m.images[1] = m.images[0].clone());
    }

    #[test]
    fn newer_versions_and_other_files_are_named() {
        assert_eq!(Manifest::parse(br#"{"version":9,"other":1}"#), Err(BadManifest::Newer(9)));
        assert!(matches!(Manifest::parse(b"<xml>"), Err(BadManifest::NotOne(_))));
    }

    #[test]
    fn a_later_owner_is_newer_whatever_its_clock_says() {
        let mut all = vec![manifest(1, 9, &["f/a.img"]), manifest(2, 8, &["f/a.img"]), manifest(2, 7, &["f/a.img"])];
        sort(&mut all);
        assert_eq!(all.iter().map(|m| (m.epoch, m.generation)).collect::<Vec<_>>(), [(2, 8), (2, 7), (1, 9)]);
    }

    #[test]
    fn what_is_still_referred_to_is_kept() {
        let all = vec![manifest(1, 3, &["g3/a.img", "g1/base.img"]), manifest(1, 2, &["g2/a.img", "g1/base.img"]), manifest(1, 1, &["g1/base.img"])];
        let (gone, objects) = prune(&all, 1, "");
        assert_eq!((gone.len(), objects), (2, vec!["g2/a.img"]));
        assert_eq!(prune(&all, 0, "").0.len(), 0);
        assert_eq!(prune(&all, 1, &all[2].folder()).0, [&all[1]]);
    }
}
