//! pull: every part is checked as it comes; a file has its name when it is whole and durable.

use crate::bucket::Bucket;
use crate::manifest::{Manifest, Stored, StoredPart};
use crate::options::Pull;
use crate::parts;
use crate::push::job_of;
use ckpt_cloud::job::table::Jobs;
use ckpt_cloud::ownership::Ownership;
use ckpt_cloud::{files, set, Cloud, CloudError, Failure, Kind};
use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinSet;

/// Exit status: there is no checkpoint to pull, and nothing went wrong.
const NOTHING: u8 = 4;

pub async fn run(pull: Pull) -> Result<String, Failure> {
    let clock = Instant::now();
    let ownership = Ownership::load(&pull.folder)?;
    let cloud = Cloud::load(&pull.place.cloud).await?;
    let bucket = Bucket::new(&cloud, &pull.place, &job_of(&pull.place.job, ownership.as_ref()))?;
    let named = match &ownership {
        Some(o) => Jobs::new(&cloud, &o.table).read(&o.job).await?.map(|r| r.folder),
        None => None,
    };
    let manifests = bucket.manifests().await?;
    let Some(manifest) = choose(&manifests, pull.generation, named.as_deref()) else {
        let wanted = pull.generation.map(|g| format!("generation {g}")).unwrap_or("checkpoint".into());
        return Err(Failure::from(format!("{}: no complete {wanted} there", bucket.url(""))).with_status(NOTHING));
    };
    std::fs::create_dir_all(&pull.folder).map_err(|e| format!("{}: {e}", pull.folder.display()))?;
    let mut fetched = 0;
    for image in &manifest.images {
        fetched += fetch(&bucket, image, &pull.folder, usize::from(pull.place.parallel)).await?;
    }
    check(manifest, &pull.folder)?;
    let (mb, seconds) = (fetched as f64 / 1e6, clock.elapsed().as_secs_f64());
    Ok(format!("generation {} is in {} ({mb:.1} MB fetched, {seconds:.2} s)", manifest.generation, pull.folder.display()))
}

/// The record knows better than the clocks; without one, or with another wish, the newest that fits.
fn choose<'a>(sorted: &'a [Manifest], generation: Option<u32>, named: Option<&str>) -> Option<&'a Manifest> {
    match (generation, named) {
        (Some(g), _) => sorted.iter().find(|m| m.generation == g),
        // The job has a record and nothing was committed for it: what lies there is of an earlier run.
        (None, Some("")) => None,
        (None, Some(folder)) => sorted.iter().find(|m| m.folder() == folder),
        (None, None) => sorted.first(),
    }
}

/// Bytes fetched. What is there already, whole or in part, is not fetched again.
async fn fetch(bucket: &Bucket, image: &Stored, folder: &Path, parallel: usize) -> Result<u64, Failure> {
    let target = folder.join(&image.name);
    let unfinished = folder.join(format!(".{}.part", image.name));
    let io = |e: std::io::Error| format!("{}: {e}", unfinished.display());
    if !target.exists() || missing(&target, image).await? > 0 {
        let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(&unfinished).map_err(io)?;
        file.set_len(image.bytes).map_err(io)?;
        let fetched = fetch_parts(bucket, image, Arc::new(file), parallel).await?;
        let file = File::open(&unfinished).map_err(io)?;
        file.sync_all().map_err(io)?;
        std::fs::rename(&unfinished, &target).and_then(|()| files::sync_folder_of(&target)).map_err(io)?;
        return Ok(fetched);
    }
    Ok(0)
}

async fn missing(path: &Path, image: &Stored) -> Result<usize, String> {
    let io = |e: std::io::Error| format!("{}: {e}", path.display());
    let file = File::open(path).map_err(io)?;
    if file.metadata().map_err(io)?.len() != image.bytes {
        return Ok(image.parts.len());
    }
    let image = image.clone();
    let count = move || image.placed().filter(|(at, part)| !is_there(&file, *at, part)).count();
    tokio::task::spawn_blocking(count).await.map_err(|e| e.to_string())
}

fn is_there(file: &File, at: u64, part: &StoredPart) -> bool {
    parts::read(file, at, part.bytes).is_ok_and(|data| parts::sha256(&data) == part.sha256)
}

async fn fetch_parts(bucket: &Bucket, image: &Stored, file: Arc<File>, parallel: usize) -> Result<u64, Failure> {
    let mut set = JoinSet::new();
    let mut fetched = 0;
    let image = Arc::new(image.clone());
    for (offset, part) in image.placed() {
        let (bucket, file, image, part) = (bucket.clone(), file.clone(), image.clone(), part.clone());
        set.spawn(async move { fetch_part(&bucket, &image, file, offset, part).await });
        while set.len() >= parallel {
            fetched += set.join_next().await.map(flat).transpose()?.unwrap_or(0);
        }
    }
    while let Some(one) = set.join_next().await {
        fetched += flat(one)?;
    }
    Ok(fetched)
}

fn flat(result: Result<Result<u64, Failure>, tokio::task::JoinError>) -> Result<u64, Failure> {
    result.unwrap_or_else(|e| Err(Failure::from(e.to_string())))
}

async fn fetch_part(bucket: &Bucket, image: &Stored, file: Arc<File>, offset: u64, part: StoredPart) -> Result<u64, Failure> {
    let (look, wanted) = (file.clone(), part.clone());
    if tokio::task::spawn_blocking(move || is_there(&look, offset, &wanted)).await.unwrap_or(false) {
        return Ok(0);
    }
    let len = part.bytes;
    let mut tries = 0;
    loop {
        tries += 1;
        match bucket.get_range(&image.key, &image.etag, offset, len).await {
            Ok(data) if parts::sha256(&data) == part.sha256 => {
                let write = tokio::task::spawn_blocking(move || file.write_all_at(&data, offset)).await;
                write.unwrap_or_else(|e| Err(std::io::Error::other(e))).map_err(|e| format!("{}: {e}", image.name))?;
                return Ok(len);
            }
            // Bytes that were changed or cut off on the way come right the next time; an object that is damaged does not.
            Ok(_) if tries < 3 => {}
            Err(e) if e.kind == Kind::Timeout && tries < 3 => {}
            Err(e) => return Err(e.into()),
            Ok(_) => {
                let what = format!("the part at byte {offset} is damaged (its SHA-256 is another); pull another with --generation");
                return Err(CloudError::new(bucket.url(&image.key), "s3:GetObject", Kind::Other, what).into());
            }
        }
    }
}

/// What came is what the manifest promised, as the images themselves say it.
fn check(manifest: &Manifest, folder: &Path) -> Result<(), String> {
    let mut found = 0;
    for image in &manifest.images {
        let member = set::member(&folder.join(&image.name))?;
        if member.computation != manifest.computation {
            return Err(format!("{}: of another computation than its manifest says; push it again", image.name));
        }
        found += u32::from(member.generation == manifest.generation);
    }
    if found == 0 { Err(format!("no image of generation {} is among those that were fetched", manifest.generation)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{sort, tests::manifest};

    #[test]
    fn the_record_decides() {
        let mut all = vec![manifest(1, 9, &["f/a"]), manifest(2, 8, &["f/a"])];
        sort(&mut all);
        let chosen = |generation, named| choose(&all, generation, named).map(|m| (m.epoch, m.generation));
        assert_eq!(chosen(None, None), Some((2, 8)));
        let older = all[1].folder();
        assert_eq!(chosen(None, Some(older.as_str())), Some((1, 9)));
        assert_eq!(chosen(None, Some("")), None);
        assert_eq!(chosen(Some(9), Some("x")), Some((1, 9)));
        assert_eq!(chosen(Some(7), None), None);
    }
}
