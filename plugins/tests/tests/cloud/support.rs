//! The account that moto_server plays, seen through the SDK.

use ckpt_cloud_tests::{moto, scratch};
use serde_json::json;
use std::future::Future;
use std::path::Path;
use std::sync::OnceLock;

pub struct Account {
    pub sdk: aws_config::SdkConfig,
}

/// One runtime for all: connections that a client keeps belong to the runtime that made them.
pub fn wait<T>(work: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()).block_on(work)
}

impl Account {
    pub fn open() -> Account {
        let keys = aws_sdk_ec2::config::Credentials::new("AKIATEST", "SECRET", None, None, "tests");
        let sdk = aws_config::SdkConfig::builder()
            .behavior_version(aws_config::BehaviorVersion::latest())
            .region(aws_config::Region::new("us-east-1"))
            .endpoint_url(format!("http://127.0.0.1:{}", moto::port()))
            .credentials_provider(aws_sdk_ec2::config::SharedCredentialsProvider::new(keys))
            .http_client(ckpt_cloud::config::http_client())
            .build();
        Account { sdk }
    }

    /// An instance with its boot volume and one more; instance id, volume ids.
    pub fn instance(&self) -> (String, Vec<String>) {
        let ec2 = aws_sdk_ec2::Client::new(&self.sdk);
        wait(async {
            let run = ec2.run_instances().image_id("ami-12c6146b").min_count(1).max_count(1).send().await.unwrap();
            let id = run.instances()[0].instance_id().unwrap().to_owned();
            let volume = ec2.create_volume().size(1).availability_zone("us-east-1a").send().await.unwrap();
            let volume = volume.volume_id().unwrap().to_owned();
            ec2.attach_volume().instance_id(&id).volume_id(&volume).device("/dev/sdf").send().await.unwrap();
            let all = ec2.describe_instances().instance_ids(&id).send().await.unwrap();
            let mapped = all.reservations()[0].instances()[0].block_device_mappings().to_vec();
            let ids = mapped.iter().map(|m| m.ebs().unwrap().volume_id().unwrap().to_owned()).collect();
            (id, ids)
        })
    }

    /// Snapshots with this tag.
    pub fn snapshots(&self, key: &str, value: &str) -> Vec<aws_sdk_ec2::types::Snapshot> {
        let ec2 = aws_sdk_ec2::Client::new(&self.sdk);
        let filter = aws_sdk_ec2::types::Filter::builder().name(format!("tag:{key}")).values(value).build();
        wait(ec2.describe_snapshots().owner_ids("self").filters(filter).send()).unwrap().snapshots().to_vec()
    }

    pub fn s3(&self) -> aws_sdk_s3::Client {
        aws_sdk_s3::Client::from_conf(aws_sdk_s3::config::Builder::from(&self.sdk).force_path_style(true).build())
    }

    pub fn bucket(&self) -> String {
        let name = scratch::unique("bucket");
        wait(self.s3().create_bucket().bucket(&name).send()).unwrap();
        name
    }

    pub fn keys(&self, bucket: &str) -> Vec<String> {
        let list = wait(self.s3().list_objects_v2().bucket(bucket).send()).unwrap();
        list.contents().iter().map(|o| o.key().unwrap().to_owned()).collect()
    }
}

pub fn computation() -> String {
    scratch::unique("c0ffee")
}

/// An event with one small file for an image: ec2-snapshot does not look into it.
pub fn event(folder: &Path, computation: &str) -> String {
    let image = folder.join("a.img");
    std::fs::write(&image, b"image").unwrap();
    json!({ "event": "post-write", "computation": computation, "generation": 3, "ckptdir": folder, "hold": true,
            "images": [{ "path": image, "bytes": 5, "digest": "d1ce", "host": "here" }] })
    .to_string()
}
