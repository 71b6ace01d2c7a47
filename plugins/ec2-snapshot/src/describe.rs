//! Looking at snapshots: by their tags, and until they are completed.

use crate::create::{Made, COMPUTATION, GENERATION, SET};
use aws_sdk_ec2::types::{Filter, Snapshot, SnapshotState};
use ckpt_cloud::{Cloud, CloudError, Failure, Kind};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const CALL: &str = "ec2:DescribeSnapshots";

pub struct Seen {
    pub id: String,
    pub volume: String,
    pub state: SnapshotState,
    pub started: i64,
    pub tags: BTreeMap<String, String>,
}

/// The account's own snapshots that have all these tags.
pub async fn by_tags(client: &aws_sdk_ec2::Client, tags: &[(&str, &str)]) -> Result<Vec<Seen>, CloudError> {
    let filter = |(key, value): &(&str, &str)| match *value {
        "" => Filter::builder().name("tag-key").values(*key).build(),
        value => Filter::builder().name(format!("tag:{key}")).values(value).build(),
    };
    let filters = tags.iter().map(filter).collect();
    let mut pages = client.describe_snapshots().owner_ids("self").set_filters(Some(filters)).into_paginator().send();
    let mut all = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|e| CloudError::of("look for snapshots", CALL, e))?;
        all.extend(page.snapshots().iter().map(seen));
    }
    Ok(all)
}

fn seen(s: &Snapshot) -> Seen {
    let tag = |t: &aws_sdk_ec2::types::Tag| (t.key().unwrap_or_default().to_owned(), t.value().unwrap_or_default().to_owned());
    Seen {
        id: s.snapshot_id().unwrap_or_default().to_owned(),
        volume: s.volume_id().unwrap_or_default().to_owned(),
        state: s.state().cloned().unwrap_or(SnapshotState::Pending),
        started: s.start_time().map_or(0, |t| t.secs()),
        tags: s.tags().iter().map(tag).collect(),
    }
}

/// Until all are completed. Copying to S3 takes minutes for new volumes, seconds for small changes.
pub async fn wait(cloud: &Cloud, set: &[Made], patience: Duration) -> Result<(), Failure> {
    let client = aws_sdk_ec2::Client::new(&cloud.sdk);
    let begun = Instant::now();
    let mut pause = Duration::from_millis(500);
    loop {
        let ids = set.iter().map(|s| s.id.clone()).collect();
        let out = client.describe_snapshots().set_snapshot_ids(Some(ids)).send().await;
        let (all, trouble): (Vec<Seen>, _) = match out.map_err(|e| CloudError::of("wait for the snapshots", CALL, e)) {
            Ok(out) => (out.snapshots().iter().map(seen).collect(), None),
            // Trouble that passes; the set is made and recorded.
            Err(e) if matches!(e.kind, Kind::Throttled | Kind::Server | Kind::Timeout | Kind::Unreachable) && begun.elapsed() < patience => {
                (Vec::new(), Some(e.reason))
            }
            Err(e) => return Err(e.into()),
        };
        if let Some(bad) = all.iter().find(|s| s.state == SnapshotState::Error) {
            return Err(format!("{}: {CALL}: the snapshot failed; the images on {} are unharmed: take another", bad.id, bad.volume).into());
        }
        if all.len() == set.len() && all.iter().all(|s| s.state == SnapshotState::Completed) {
            return Ok(());
        }
        if begun.elapsed() + pause > patience {
            let seconds = patience.as_secs();
            let why = trouble.map(|t| format!(": {t}")).unwrap_or_default();
            return Err(format!("{CALL}: not completed within {seconds} s (--wait-timeout){why}; the point in time is fixed, they go on by themselves").into());
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(15));
    }
}

/// One line for each set, newest first: what a new instance goes by.
pub async fn list(cloud: &Cloud, computation: &str, as_json: bool) -> Result<String, CloudError> {
    let client = aws_sdk_ec2::Client::new(&cloud.sdk);
    let wanted = if computation == "any" { "" } else { computation };
    let mut sets: BTreeMap<(i64, String), Vec<Seen>> = BTreeMap::new();
    let all = by_tags(&client, &[(COMPUTATION, wanted)]).await?;
    let of_set = |name: &str| all.iter().filter(|s| s.tags.get(SET).is_some_and(|t| t == name)).map(|s| s.started).min();
    let keys: Vec<(i64, String)> = all
        .iter()
        .map(|s| s.tags.get(SET).cloned().unwrap_or_default())
        .map(|name| (of_set(&name).unwrap_or(0), name))
        .collect();
    for (key, one) in keys.into_iter().zip(all) {
        sets.entry(key).or_default().push(one);
    }
    let lines = sets.into_iter().rev().map(|((started, set), members)| line(started, &set, &members, as_json));
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

fn line(started: i64, set: &str, members: &[Seen], as_json: bool) -> String {
    let tag = |key: &str| members[0].tags.get(key).cloned().unwrap_or_default();
    let (computation, generation) = (tag(COMPUTATION), tag(GENERATION));
    let state = match members.iter().all(|s| s.state == SnapshotState::Completed) {
        true => "completed",
        false => "pending",
    };
    let ids: Vec<&str> = members.iter().map(|s| s.id.as_str()).collect();
    match as_json {
        true => json!({ "set": set, "computation": computation, "generation": generation, "started": started,
                        "state": state, "snapshots": ids, "folder": tag("ckpt:folder"), "host": tag("ckpt:host") })
        .to_string(),
        false => format!("{computation} generation {generation}: {} {state}", ids.join(" ")),
    }
}
