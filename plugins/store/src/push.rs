//! push: images first, the manifest last, then the job record; at the end what is too old goes.

use crate::bucket::Bucket;
use crate::manifest::{self, Manifest};
use crate::options::Push;
use crate::parts;
use crate::pieces::Known;
use crate::upload::{upload, Local, Moved};
use ckpt_cloud::event::Event;
use ckpt_cloud::job::table::Jobs;
use ckpt_cloud::job::{Record, Request};
use ckpt_cloud::ownership::Ownership;
use ckpt_cloud::set::{self, Set};
use ckpt_cloud::{Cloud, Failure};
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

pub async fn run(push: Push) -> Result<String, Failure> {
    let clock = Instant::now();
    let (folder, set) = match push.hook {
        true => {
            let event = Event::read(std::io::stdin())?;
            (event.ckptdir.clone(), set::of_event(&event)?)
        }
        false => (push.folder.clone(), set::newest_in(&push.folder)?),
    };
    // By hand, of images that may be old; those of a hook were written a moment ago.
    if !push.hook {
        set::verify(&set)?;
    }
    let ownership = owner_of(&folder)?;
    let cloud = Cloud::load(&push.place.cloud).await?;
    let bucket = Bucket::new(&cloud, &push.place, &job_of(&push.place.job, ownership.as_ref()))?;
    let jobs = ownership.as_ref().map(|o| (Jobs::new(&cloud, &o.table), o));
    // Before the work: another's job is not uploaded.
    tell(&jobs, Request::Beat).await?;

    let mut manifests = bucket.manifests().await?;
    let epoch = ownership.as_ref().map_or(0, |o| o.epoch);
    let name = manifest::folder(epoch, set.generation, &set.computation);
    let mut moved = Moved::default();
    let was_there = manifests.iter().any(|m| m.folder() == name);
    if !was_there {
        let manifest = send(&push, &bucket, &set, epoch, &manifests, &mut moved).await?;
        let bytes = serde_json::to_vec_pretty(&manifest).map_err(|e| e.to_string())?;
        // Somebody else's manifest here can only be of the same push, made twice.
        bucket.put_new(&format!("{name}/{}", manifest::FILE), bytes).await?;
        manifests.push(manifest);
        manifest::sort(&mut manifests);
    }
    let (computation, generation) = (set.computation.clone(), set.generation);
    let record = tell(&jobs, Request::Committed { computation, generation, folder: name.clone() }).await?;
    let pruned = prune(&bucket, &manifests, &push, record.as_ref(), &name).await;
    let how = match was_there {
        true => "was there already".to_owned(),
        false => {
            let seconds = clock.elapsed().as_secs_f64();
            let mb = |bytes: u64| bytes as f64 / 1e6;
            format!("{:.1} MB sent, {:.1} MB were there, {seconds:.2} s", mb(moved.sent), mb(moved.spared))
        }
    };
    // The checkpoint is safe: that old ones could not be removed is said, and no failure.
    let note = pruned.err().map(|e| format!("; old generations stay: {}", e.message)).unwrap_or_default();
    Ok(format!("generation {} is at {} ({how}){note}", set.generation, bucket.url(&name)))
}

pub fn job_of(named: &Option<String>, ownership: Option<&Ownership>) -> String {
    named.clone().or_else(|| ownership.map(|o| o.job.clone())).unwrap_or_else(|| "default".into())
}

/// Of the folder, or of the one in which it is that of one checkpoint.
fn owner_of(folder: &Path) -> Result<Option<Ownership>, String> {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    match (Ownership::load(&folder)?, folder.parent()) {
        (None, Some(parent)) if set::is_unique_folder(&folder) => Ownership::load(parent),
        (found, _) => Ok(found),
    }
}

async fn tell(jobs: &Option<(Jobs, &Ownership)>, request: Request) -> Result<Option<Record>, Failure> {
    match jobs {
        Some((jobs, ownership)) => Ok(Some(jobs.tell(ownership, request).await?)),
        None => Ok(None),
    }
}

async fn send(push: &Push, bucket: &Bucket, set: &Set, epoch: u64, manifests: &[Manifest], moved: &mut Moved) -> Result<Manifest, Failure> {
    let folder = manifest::folder(epoch, set.generation, &set.computation);
    let largest = set.images.iter().filter_map(|p| p.metadata().ok()).map(|m| m.len()).max().unwrap_or(0);
    let least = parts::size_for(largest, u64::from(push.part_size) << 20);
    let parallel = usize::from(push.place.parallel);
    let known = Known::of(manifests);
    let mut locals = Vec::new();
    for path in &set.images {
        locals.push(Local::open(path, parallel).await?);
    }
    let mut images = Vec::new();
    for local in locals {
        if let Some(same) = manifests.iter().flat_map(|m| &m.images).find(|i| local.same_as(i)) {
            moved.spared += local.bytes;
            images.push(same.clone());
            continue;
        }
        let parts = local.parts(&known, least, parallel).await?;
        let (stored, one) = upload(bucket, &folder, &local, parts, parallel).await?;
        moved.sent += one.sent;
        moved.spared += one.spared;
        images.push(stored);
    }
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (computation, generation) = (set.computation.clone(), set.generation);
    Ok(Manifest { version: manifest::VERSION, computation, generation, epoch, host: host(), created, images })
}

pub fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map(|h| h.trim().to_owned()).unwrap_or_default()
}

/// Manifests before what they name; uploads that were cut off and are of no use any more.
async fn prune(bucket: &Bucket, manifests: &[Manifest], push: &Push, record: Option<&Record>, current: &str) -> Result<(), Failure> {
    let named = record.map_or(current, |r| r.folder.as_str());
    let (gone, objects) = manifest::prune(manifests, push.keep as usize, named);
    let names: Vec<String> = gone.iter().map(|m| format!("{}/{}", m.folder(), manifest::FILE)).collect();
    bucket.delete(&names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    bucket.delete(&objects).await?;
    for (key, id) in bucket.unfinished("").await {
        let folder = Path::new(&key).parent().map(|p| p.display().to_string()).unwrap_or_default();
        let ours = manifest::epoch_of(&folder) <= manifest::epoch_of(current);
        if ours && folder != current {
            bucket.abort(&key, &id).await;
        }
    }
    Ok(())
}
