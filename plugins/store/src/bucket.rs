//! A job's place in S3: small calls, each with its errors in one line.

use crate::manifest::{self, Manifest};
use crate::options::Place;
use crate::parts::Held;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use aws_smithy_types::timeout::TimeoutConfig;
use ckpt_cloud::{Cloud, CloudError, Kind};
use std::time::Duration;

#[derive(Clone)]
pub struct Bucket {
    pub client: aws_sdk_s3::Client,
    pub name: String,
    /// Ends with a slash.
    pub prefix: String,
    timeout: Duration,
}

/// `s3://BUCKET/PREFIX`
pub fn parse(url: &str) -> Result<(String, String), String> {
    let wrong = || format!("{url}: s3://BUCKET/PREFIX is wanted (--store or CKPT_STORE)");
    let rest = url.strip_prefix("s3://").ok_or_else(wrong)?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    match bucket.is_empty() {
        true => Err(wrong()),
        false => Ok((bucket.to_owned(), prefix.trim_matches('/').to_owned())),
    }
}

impl Bucket {
    pub fn new(cloud: &Cloud, place: &Place, job: &str) -> Result<Bucket, String> {
        let (name, prefix) = parse(&place.store)?;
        if job.is_empty() || job.starts_with('.') || !job.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
            return Err(format!("job {job:?}: letters, digits and -_. are allowed"));
        }
        let prefix = [prefix.as_str(), job].iter().filter(|p| !p.is_empty()).map(|p| format!("{p}/")).collect();
        // Stores other than Amazon's seldom have a host name for each bucket.
        let own_endpoint = cloud.sdk.endpoint_url().is_some() || std::env::var_os("AWS_ENDPOINT_URL_S3").is_some();
        let config = aws_sdk_s3::config::Builder::from(&cloud.sdk).force_path_style(own_endpoint).build();
        Ok(Bucket { client: aws_sdk_s3::Client::from_conf(config), name, prefix, timeout: cloud.timeout })
    }

    pub fn key(&self, below: &str) -> String {
        format!("{}{below}", self.prefix)
    }

    /// For calls that move this many bytes: a slow line is no failure, one that stands still is. As long again for each
    /// 8 MiB, so that who wants to know soon is told soon.
    pub fn patient(&self, bytes: u64) -> aws_sdk_s3::config::Builder {
        let more = self.timeout.mul_f64(bytes as f64 / f64::from(8 << 20));
        let limits = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(5).min(self.timeout))
            .operation_timeout(self.timeout + more * 2)
            .operation_attempt_timeout(self.timeout.mul_f64(0.4) + more);
        aws_sdk_s3::config::Builder::new().timeout_config(limits.build())
    }

    pub fn url(&self, below: &str) -> String {
        format!("s3://{}/{}{below}", self.name, self.prefix)
    }

    /// All manifests of the job, newest first.
    pub async fn manifests(&self) -> Result<Vec<Manifest>, CloudError> {
        let mut all = Vec::new();
        for folder in self.folders().await? {
            let below = format!("{folder}/{}", manifest::FILE);
            let Some(bytes) = self.get_small(&below).await? else { continue };
            let parsed = Manifest::parse(&bytes);
            all.push(parsed.map_err(|e| CloudError::new(self.url(&below), "s3:GetObject", Kind::Other, e.to_string()))?);
        }
        manifest::sort(&mut all);
        Ok(all)
    }

    async fn folders(&self) -> Result<Vec<String>, CloudError> {
        let list = self.client.list_objects_v2().bucket(&self.name).prefix(&self.prefix).delimiter("/");
        let mut pages = list.into_paginator().send();
        let mut all = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| CloudError::of(self.url(""), "s3:ListBucket", e))?;
            let below = |p: &str| p.strip_prefix(&self.prefix).map(|f| f.trim_end_matches('/').to_owned());
            all.extend(page.common_prefixes().iter().filter_map(|p| below(p.prefix()?)));
        }
        Ok(all)
    }

    async fn get_small(&self, below: &str) -> Result<Option<Vec<u8>>, CloudError> {
        let call = "s3:GetObject";
        let out = match self.client.get_object().bucket(&self.name).key(self.key(below)).send().await {
            Ok(out) => out,
            Err(e) => {
                let e = CloudError::of(self.url(below), call, e);
                return if e.kind == Kind::NotFound { Ok(None) } else { Err(e) };
            }
        };
        let bytes = out.body.collect().await;
        let bytes = bytes.map_err(|e| CloudError::new(self.url(below), call, Kind::Timeout, e.to_string()))?;
        Ok(Some(bytes.to_vec()))
    }

    /// Writes an object that is not there yet. False: it is.
    pub async fn put_new(&self, below: &str, bytes: Vec<u8>) -> Result<bool, CloudError> {
        let put = self.client.put_object().bucket(&self.name).key(self.key(below)).if_none_match("*");
        match put.content_type("application/json").body(ByteStream::from(bytes)).send().await {
            Ok(_) => Ok(true),
            Err(e) => {
                let e = CloudError::of(self.url(below), "s3:PutObject", e);
                if e.kind == Kind::Conflict { Ok(false) } else { Err(e) }
            }
        }
    }

    /// Bytes of an object.
    pub async fn get_range(&self, below: &str, etag: &str, offset: u64, len: u64) -> Result<Vec<u8>, CloudError> {
        let call = "s3:GetObject";
        let get = self.client.get_object().bucket(&self.name).key(self.key(below)).if_match(etag);
        let get = if len > 0 { get.range(format!("bytes={offset}-{}", offset + len - 1)) } else { get };
        let out = get.customize().config_override(self.patient(len)).send().await;
        let out = out.map_err(|e| CloudError::of(self.url(below), call, e))?;
        let bytes = out.body.collect().await;
        let cut = |e| CloudError::new(self.url(below), call, Kind::Timeout, format!("the answer was cut off: {e}"));
        Ok(bytes.map_err(cut)?.to_vec())
    }

    pub async fn delete(&self, below: &[&str]) -> Result<(), CloudError> {
        let wrong = |e: aws_sdk_s3::error::BuildError| CloudError::new(self.url(""), "s3:DeleteObject", Kind::Other, e.to_string());
        for some in below.chunks(1000) {
            let ids = some.iter().map(|b| ObjectIdentifier::builder().key(self.key(b)).build()).collect::<Result<Vec<_>, _>>();
            let delete = Delete::builder().set_objects(Some(ids.map_err(wrong)?)).quiet(true).build().map_err(wrong)?;
            let out = self.client.delete_objects().bucket(&self.name).delete(delete).send().await;
            let out = out.map_err(|e| CloudError::of(self.url(""), "s3:DeleteObject", e))?;
            if let Some(e) = out.errors().first() {
                let code = e.code().unwrap_or_default();
                return Err(CloudError::new(self.url(""), "s3:DeleteObject", ckpt_cloud::error::kind(Some(code), 0), code));
            }
        }
        Ok(())
    }

    /// Unfinished uploads of the job: object, upload id. Empty where looking is not allowed: nothing is gone on with then.
    pub async fn unfinished(&self, below: &str) -> Vec<(String, String)> {
        let list = self.client.list_multipart_uploads().bucket(&self.name).prefix(self.key(below)).send().await;
        let Ok(list) = list else { return Vec::new() };
        let one = |u: &aws_sdk_s3::types::MultipartUpload| Some((u.key()?.strip_prefix(&self.prefix)?.to_owned(), u.upload_id()?.to_owned()));
        list.uploads().iter().filter_map(one).collect()
    }

    pub async fn held(&self, below: &str, upload: &str) -> Vec<Held> {
        let list = self.client.list_parts().bucket(&self.name).key(self.key(below)).upload_id(upload);
        let mut pages = list.into_paginator().send();
        let mut all = Vec::new();
        while let Some(Ok(page)) = pages.next().await {
            all.extend(page.parts().iter().filter_map(|p| {
                let sha256 = p.checksum_sha256().map(str::to_owned);
                Some(Held { number: p.part_number()?, len: p.size()? as u64, etag: p.e_tag()?.to_owned(), sha256 })
            }));
        }
        all
    }

    pub async fn abort(&self, below: &str, upload: &str) {
        let abort = self.client.abort_multipart_upload().bucket(&self.name).key(self.key(below)).upload_id(upload);
        // What stays is removed by the lifecycle rule that docs/CLOUD.md has.
        let _ = abort.send().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        assert_eq!(parse("s3://b/a/c/"), Ok(("b".into(), "a/c".into())));
        assert_eq!(parse("s3://b"), Ok(("b".into(), String::new())));
        assert!(parse("https://b/a").is_err() && parse("s3:///a").is_err());
    }
}
