//! The steps in their order: read the event, sync, create, record, wait.

use crate::create::{self, Plan, Target};
use crate::describe;
use crate::options::Options;
use crate::record;
use ckpt_cloud::event::Event;
use ckpt_cloud::imds::Imds;
use ckpt_cloud::{files, Cloud, Failure, Kind};
use serde_json::json;
use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

/// Microseconds that each step took.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Timings {
    pub sync_us: u64,
    /// Finding region, credentials and instance.
    pub identify_us: u64,
    /// Until the point in time is fixed.
    pub create_us: u64,
    pub record_us: u64,
    pub wait_us: u64,
}

/// Files and memory agree by default; that they need not is asked for by name.
const RUNS_ON: &str = "the programs run on meanwhile, so that files in the snapshot may be newer than the memory in the images: \
    let them wait with --hold (ckpt_launch, ckpt_coordinator), or allow it here with --free; no snapshot was taken";

pub async fn run(options: Options) -> Result<String, Failure> {
    if let Some(computation) = &options.list {
        let cloud = Cloud::load(&options.cloud).await?;
        return describe::list(&cloud, computation, options.json).await.map_err(Failure::from);
    }
    let event = read_event(options.event.as_deref())?;
    if event.hold == Some(false) && !options.free && !options.dry_run {
        return Err(RUNS_ON.to_owned().into());
    }
    let mut times = Timings::default();

    // Before anything that needs the network: what is slow there must not lie between sync and snapshot.
    let clock = Instant::now();
    let cloud = Cloud::load(&options.cloud).await?;
    let target = target(&options, &cloud).await?;
    times.identify_us = micros(clock);

    let clock = Instant::now();
    sync(&event, &options)?;
    times.sync_us = micros(clock);

    let clock = Instant::now();
    let plan = Plan::new(&options, &event, target);
    let (set, failure) = create::create(&cloud, &plan).await;
    times.create_us = micros(clock);
    if failure.as_ref().is_some_and(|e| e.kind == Kind::DryRun) {
        return Ok(format!("dry run: {} would be allowed for generation {}", plan.call(), event.generation));
    }

    let mut failure = failure.map(Failure::from);
    if !set.is_empty() {
        let clock = Instant::now();
        let off = record::off_the_instance(&cloud, &event, &set).await;
        times.record_us = micros(clock);
        let beside = record::beside(&event, &plan, &set, &times);
        // What failed first is what is said; the other steps were tried all the same.
        failure = failure.or(beside.err()).or(off.err());
    }
    if let Some(failure) = failure {
        let made: Vec<&str> = set.iter().map(|s| s.id.as_str()).collect();
        let kept = if made.is_empty() { String::new() } else { format!(" (made all the same: {})", made.join(" ")) };
        return Err(Failure { message: failure.message + &kept, ..failure });
    }
    let mut state = "pending";
    if options.wait {
        let clock = Instant::now();
        describe::wait(&cloud, &set, Duration::from_secs(options.wait_timeout)).await?;
        (state, times.wait_us) = ("completed", micros(clock));
    }
    Ok(answer(&options, &event, &plan, &set, state, &times))
}

fn read_event(from: Option<&Path>) -> Result<Event, String> {
    match from {
        Some(path) => Event::read(File::open(path).map_err(|e| format!("{}: {e}", path.display()))?),
        None => Event::read(std::io::stdin()),
    }
}

async fn target(options: &Options, cloud: &Cloud) -> Result<Target, Failure> {
    if !options.volume.is_empty() {
        return Ok(Target::Volumes(options.volume.clone()));
    }
    if !options.instance.is_empty() {
        return Ok(Target::Instances(options.instance.clone()));
    }
    let id = Imds::new(&cloud.http).instance_id().await.map_err(|e| Failure::from(format!("{e}; or give --instance or --volume")))?;
    Ok(Target::Instances(vec![id]))
}

/// What the images are on, and what was asked for besides; a file system once is enough, but twice does no harm.
fn sync(event: &Event, options: &Options) -> Result<(), String> {
    let here = event.images.iter().filter_map(|i| i.path.parent()).filter(|p| p.exists());
    let mut folders: Vec<&Path> = here.chain([event.ckptdir.as_path()]).chain(options.sync.iter().map(|p| p.as_path())).collect();
    folders.sort_unstable();
    folders.dedup();
    for folder in folders {
        files::sync_file_system(folder).map_err(|e| format!("{}: cannot be synced: {e}; no snapshot was taken", folder.display()))?;
    }
    Ok(())
}

fn answer(options: &Options, event: &Event, plan: &Plan, set: &[create::Made], state: &str, times: &Timings) -> String {
    if options.json {
        let ids: Vec<&str> = set.iter().map(|s| s.id.as_str()).collect();
        let (generation, computation) = (event.generation, &event.computation);
        return json!({ "ok": true, "set": plan.set, "computation": computation, "generation": generation,
                       "snapshots": ids, "state": state, "timings": times })
        .to_string();
    }
    let ids: Vec<String> = set.iter().map(|s| format!("{} of {}", s.id, s.volume)).collect();
    let ms = |us: u64| us as f64 / 1e3;
    format!(
        "generation {}: {} {state} (sync {:.1} ms, create {:.1} ms, record {:.1} ms)",
        event.generation,
        ids.join(", "),
        ms(times.sync_us),
        ms(times.create_us),
        ms(times.record_us)
    )
}

fn micros(since: Instant) -> u64 {
    since.elapsed().as_micros() as u64
}
