//! CreateSnapshots, once: a call whose answer was lost is looked for by its tag before it is made again.

use crate::describe;
use crate::options::Options;
use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::types::{CopyTagsFromSource, InstanceSpecification, ResourceType, Tag, TagSpecification};
use ckpt_cloud::event::Event;
use ckpt_cloud::retry::{decide, jitter, Verdict};
use ckpt_cloud::{Cloud, CloudError};
use sha2::{Digest, Sha256};
use std::time::Instant;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// All volumes of each, at one point in time.
    Instances(Vec<String>),
    /// One call each.
    Volumes(Vec<String>),
}

/// A snapshot whose point in time is fixed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Made {
    pub id: String,
    pub volume: String,
}

/// Everything that the calls will say.
#[derive(Clone, Debug)]
pub struct Plan {
    pub target: Target,
    /// Names this set among all: a tag on each of its snapshots.
    pub set: String,
    pub tags: Vec<(String, String)>,
    pub description: String,
    exclude_boot: bool,
    copy_tags: bool,
    dry_run: bool,
}

pub const SET: &str = "ckpt:set";
pub const COMPUTATION: &str = "ckpt:computation";
pub const GENERATION: &str = "ckpt:generation";
/// Unit of the set, of one call: instance or volume.
const SOURCE: &str = "ckpt:source";

/// EC2's limit for a tag's value, characters.
const MAX_VALUE: usize = 256;

impl Plan {
    pub fn new(options: &Options, event: &Event, target: Target) -> Plan {
        let set = format!("{}-g{}-{:x}", &clip(&event.computation, 36), event.generation, now_us());
        let named = |name: &str| format!("ckpt {name} of {}", event.computation);
        let description = options.description.clone().unwrap_or_else(|| named(&format!("generation {}", event.generation)));
        Plan {
            target,
            tags: tags(&set, event, &options.tag),
            set,
            description: clip(&description, 255),
            exclude_boot: options.exclude_boot,
            copy_tags: options.copy_tags,
            dry_run: options.dry_run,
        }
    }

    pub fn call(&self) -> &'static str {
        match self.target {
            Target::Instances(_) => "ec2:CreateSnapshots",
            Target::Volumes(_) => "ec2:CreateSnapshot",
        }
    }

    fn tagged(&self, source: &str) -> TagSpecification {
        let tag = |(key, value): &(String, String)| Tag::builder().key(key).value(value).build();
        let all = self.tags.iter().map(tag).chain([tag(&(SOURCE.into(), source.into()))]).collect();
        TagSpecification::builder().resource_type(ResourceType::Snapshot).set_tags(Some(all)).build()
    }
}

fn tags(set: &str, event: &Event, more: &[(String, String)]) -> Vec<(String, String)> {
    let mut tags = vec![
        (SET.to_owned(), set.to_owned()),
        (COMPUTATION.to_owned(), event.computation.clone()),
        (GENERATION.to_owned(), event.generation.to_string()),
        ("ckpt:host".to_owned(), event.hosts()),
        ("ckpt:folder".to_owned(), event.ckptdir.display().to_string()),
    ];
    tags.extend(event.hold.map(|held| ("ckpt:held".to_owned(), held.to_string())));
    tags.extend(digest(event).map(|d| ("ckpt:digest".to_owned(), d)));
    // A tag given by name wins over ours.
    tags.retain(|(key, _)| !more.iter().any(|(k, _)| k == key));
    tags.extend(more.iter().cloned());
    tags.into_iter().map(|(k, v)| (clip(&k, 128), clip(&v, MAX_VALUE))).collect()
}

/// That of the image; of several, the SHA-256 over a line `DIGEST NAME` for each in the order of their names.
pub fn digest(event: &Event) -> Option<String> {
    let mut lines = Vec::new();
    for image in &event.images {
        let name = image.path.file_name().unwrap_or_default().to_string_lossy();
        lines.push(format!("{}  {name}\n", image.digest.as_ref()?));
    }
    lines.sort_unstable();
    match (event.images.as_slice(), lines.is_empty()) {
        (_, true) => None,
        ([one], _) => one.digest.clone(),
        _ => Some(Sha256::digest(lines.concat()).iter().map(|b| format!("{b:02x}")).collect()),
    }
}

/// What was made, and what stopped it, if anything did. Of several calls those before a failure stay.
pub async fn create(cloud: &Cloud, plan: &Plan) -> (Vec<Made>, Option<CloudError>) {
    let client = aws_sdk_ec2::Client::new(&cloud.sdk);
    let (Target::Instances(sources) | Target::Volumes(sources)) = &plan.target;
    let mut all = Vec::new();
    for source in sources {
        match create_once(cloud, &client, plan, source).await {
            Ok(made) => all.extend(made),
            Err(e) => return (all, Some(e)),
        }
    }
    (all, None)
}

async fn create_once(cloud: &Cloud, client: &aws_sdk_ec2::Client, plan: &Plan, source: &str) -> Result<Vec<Made>, CloudError> {
    let begun = Instant::now();
    let mut attempt = 0;
    loop {
        attempt += 1;
        let e = match call(client, plan, source).await {
            Ok(made) => return Ok(made),
            Err(e) => e,
        };
        let (wait, look) = match decide(&e, attempt, begun.elapsed(), cloud.timeout, jitter()) {
            Verdict::GiveUp => return Err(e),
            Verdict::Again(wait) => (wait, false),
            Verdict::Look(wait) => (wait, true),
        };
        tokio::time::sleep(wait).await;
        if look {
            // Not known, and not made twice: what stands in the way of knowing is said.
            let made = describe::by_tags(client, &[(SET, plan.set.as_str()), (SOURCE, source)]).await.map_err(|look| CloudError {
                doing: format!("whether the snapshot of {source} was made, since the answer was lost ({})", e.reason),
                ..look
            })?;
            if !made.is_empty() {
                return Ok(made.into_iter().map(|s| Made { id: s.id, volume: s.volume }).collect());
            }
        }
    }
}

async fn call(client: &aws_sdk_ec2::Client, plan: &Plan, source: &str) -> Result<Vec<Made>, CloudError> {
    let once = || aws_sdk_ec2::config::Builder::new().retry_config(RetryConfig::disabled());
    let doing = format!("snapshot of {source}");
    let dry_run = plan.dry_run.then_some(true);
    match plan.target {
        Target::Instances(_) => {
            let instance = InstanceSpecification::builder().instance_id(source).exclude_boot_volume(plan.exclude_boot).build();
            let call = client
                .create_snapshots()
                .instance_specification(instance)
                .description(&plan.description)
                .tag_specifications(plan.tagged(source))
                .set_copy_tags_from_source(plan.copy_tags.then_some(CopyTagsFromSource::Volume))
                .set_dry_run(dry_run);
            let out = call.customize().config_override(once()).send().await;
            let out = out.map_err(|e| CloudError::of(doing, "ec2:CreateSnapshots", e))?;
            let made = |s: &aws_sdk_ec2::types::SnapshotInfo| Made {
                id: s.snapshot_id().unwrap_or_default().to_owned(),
                volume: s.volume_id().unwrap_or_default().to_owned(),
            };
            Ok(out.snapshots().iter().map(made).collect())
        }
        Target::Volumes(_) => {
            let call = client
                .create_snapshot()
                .volume_id(source)
                .description(&plan.description)
                .tag_specifications(plan.tagged(source))
                .set_dry_run(dry_run);
            let out = call.customize().config_override(once()).send().await;
            let out = out.map_err(|e| CloudError::of(doing, "ec2:CreateSnapshot", e))?;
            Ok(vec![Made { id: out.snapshot_id().unwrap_or_default().to_owned(), volume: source.to_owned() }])
        }
    }
}

fn now_us() -> u128 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap_or_default().as_micros() << 16 | u128::from(std::process::id() & 0xffff)
}

fn clip(text: &str, max: usize) -> String {
    text.chars().take(max).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ckpt_cloud::event::Image;

    fn event(digests: &[Option<&str>]) -> Event {
        let image = |(n, d): (usize, &Option<&str>)| Image { path: format!("/i/{n}.img").into(), digest: d.map(Into::into), ..Image::default() };
        let images = digests.iter().enumerate().map(image).collect();
        Event { event: "post-write".into(), computation: "c".into(), generation: 4, images, ..Event::default() }
    }

    #[test]
    fn one_image_gives_its_own_digest_several_one_over_all() {
        assert_eq!(digest(&event(&[Some("abc")])), Some("abc".into()));
        assert_eq!(digest(&event(&[Some("abc"), None])), None);
        assert_eq!(digest(&event(&[])), None);
        let two = digest(&event(&[Some("a"), Some("b")])).unwrap();
        assert_eq!(two.len(), 64);
        assert_ne!(Some(two), digest(&event(&[Some("b"), Some("a")])));
    }

    #[test]
    fn tags_say_what_the_set_is_of_and_can_be_replaced() {
        let t = tags("s", &event(&[Some("abc")]), &[("Team".into(), "x".into()), ("ckpt:host".into(), "other".into())]);
        let get = |k: &str| t.iter().filter(|(key, _)| key == k).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
        assert_eq!(get(COMPUTATION), ["c"]);
        assert_eq!(get(GENERATION), ["4"]);
        assert_eq!(get("ckpt:digest"), ["abc"]);
        assert_eq!(get("ckpt:host"), ["other"]);
        assert_eq!(get("Team"), ["x"]);
    }
}
