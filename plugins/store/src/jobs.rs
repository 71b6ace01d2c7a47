//! job: who works on what.

use crate::options::{Action, Job, Record};
use crate::push::host;
use ckpt_cloud::imds::Imds;
use ckpt_cloud::job::table::Jobs;
use ckpt_cloud::job::Request;
use ckpt_cloud::ownership::Ownership;
use ckpt_cloud::{Cloud, Failure};
use std::time::Duration;

pub async fn run(job: Job) -> Result<String, Failure> {
    match job.action {
        Action::CreateTable { record } => {
            let (jobs, _) = open(&record).await?;
            jobs.create_table().await?;
            Ok(format!("table {} is ready", record.table))
        }
        Action::Claim { job, ckptdir, owner, lease, wait, again, record } => {
            let (jobs, cloud) = open(&record).await?;
            let owner = match owner {
                Some(owner) => owner,
                None => Imds::new(&cloud.http).instance_id().await.unwrap_or_else(|_| host()),
            };
            let (ownership, now) = jobs.claim(&job, &owner, lease.max(1), again, Duration::from_secs(wait)).await?;
            ownership.save(&ckptdir)?;
            serde_json::to_string(&now).map_err(|e| Failure::from(e.to_string()))
        }
        Action::End { state, ckptdir, cloud } => {
            let none = || format!("{}: no job was claimed for this folder", ckptdir.display());
            let ownership = Ownership::load(&ckptdir)?.ok_or_else(none)?;
            let cloud = Cloud::load(&cloud).await?;
            Jobs::new(&cloud, &ownership.table).tell(&ownership, Request::End(state.into())).await?;
            Ok(format!("job {} is {}", ownership.job, format!("{state:?}").to_lowercase()))
        }
        Action::Show { job, record } => {
            let (jobs, _) = open(&record).await?;
            let none = || format!("job {job} has no record in table {}", record.table);
            let found = jobs.read(&job).await?.ok_or_else(none)?;
            serde_json::to_string(&found).map_err(|e| Failure::from(e.to_string()))
        }
    }
}

async fn open(record: &Record) -> Result<(Jobs, Cloud), Failure> {
    let cloud = Cloud::load(&record.cloud).await?;
    Ok((Jobs::new(&cloud, &record.table), cloud))
}
