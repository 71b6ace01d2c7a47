//! The set is written down twice: in `snapshots.jsonl` beside the images, and off the instance (its tags, which were
//! made with it, and the job record, if the folder belongs to a job).

use crate::create::{digest, Made, Plan};
use crate::snapshot::Timings;
use ckpt_cloud::event::Event;
use ckpt_cloud::job::table::Jobs;
use ckpt_cloud::job::Request;
use ckpt_cloud::ownership::Ownership;
use ckpt_cloud::{files, Cloud, Failure};
use serde_json::json;
use std::time::{SystemTime, UNIX_EPOCH};

pub fn beside(event: &Event, plan: &Plan, set: &[Made], times: &Timings) -> Result<(), Failure> {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let line = json!({
        "time": time,
        "computation": event.computation,
        "generation": event.generation,
        "host": event.hosts(),
        "set": plan.set,
        "snapshots": set,
        "images": event.images,
        "digest": digest(event),
        "held": event.hold,
        "timings": times,
    });
    let path = event.ckptdir.join("snapshots.jsonl");
    files::append_line(&path, &line.to_string())
        .map_err(|e| format!("{}: {e}; the snapshots are found by their tags: ec2-snapshot --list {}", path.display(), event.computation).into())
}

pub async fn off_the_instance(cloud: &Cloud, event: &Event, set: &[Made]) -> Result<(), Failure> {
    let Some(ownership) = Ownership::load(&event.ckptdir)? else { return Ok(()) };
    let ids = set.iter().map(|s| s.id.clone()).collect();
    let request = Request::Snapshots { generation: event.generation, ids };
    Jobs::new(cloud, &ownership.table).tell(&ownership, request).await.map(drop).map_err(Failure::from)
}
