//! list: what can be pulled.

use crate::bucket::Bucket;
use crate::options::List;
use crate::push::job_of;
use ckpt_cloud::{Cloud, Failure};
use serde_json::json;

pub async fn run(list: List) -> Result<String, Failure> {
    let cloud = Cloud::load(&list.place.cloud).await?;
    let bucket = Bucket::new(&cloud, &list.place, &job_of(&list.place.job, None))?;
    let lines = bucket.manifests().await?.into_iter().map(|m| match list.json {
        true => json!({ "generation": m.generation, "computation": m.computation, "epoch": m.epoch, "host": m.host,
                        "created": m.created, "bytes": m.bytes(), "images": m.images.len(), "url": bucket.url(&m.folder()) })
        .to_string(),
        false => format!("generation {}: {} images, {:.1} MB, from {}, {}", m.generation, m.images.len(), m.bytes() as f64 / 1e6, m.host, bucket.url(&m.folder())),
    });
    Ok(lines.collect::<Vec<_>>().join("\n"))
}
