//! One image to the store, in parts: those that it lacks are sent, several at a time, each with its SHA-256, which the
//! store checks.

use crate::bucket::Bucket;
use crate::manifest::{Stored, StoredPart};
use crate::parts::{self, Part, Way};
use crate::pieces::{self, Known, Piece, Place};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use ckpt_cloud::{CloudError, Failure};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::task::JoinSet;

/// Bytes, by how they came there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    pub sent: u64,
    /// in the store already: in an unfinished upload, an older object, or the same file
    pub spared: u64,
}

/// A local image, open: retention may remove its name meanwhile.
pub struct Local {
    pub path: PathBuf,
    pub file: Arc<File>,
    pub bytes: u64,
    pub pieces: Vec<Piece>,
}

/// Pieces that are hashed at a time.
const BATCH: usize = 64;

impl Local {
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    pub async fn open(path: &Path, parallel: usize) -> Result<Local, String> {
        let io = |e: std::io::Error| format!("{}: {e}", path.display());
        let file = Arc::new(File::open(path).map_err(io)?);
        let bytes = file.metadata().map_err(io)?.len();
        let whole = file.clone();
        let cuts = joined(tokio::task::spawn_blocking(move || pieces::cut(&whole, bytes)).await).map_err(io)?;
        let batches: Vec<Vec<(u64, u32)>> = cuts.chunks(BATCH).map(<[_]>::to_vec).collect();
        let all = at_once(batches, parallel, {
            let file = file.clone();
            move |_, batch: Vec<(u64, u32)>| batch.iter().map(|&(at, len)| pieces::piece(&file, at, len)).collect::<std::io::Result<Vec<_>>>()
        });
        let pieces = all.await.map_err(io)?.concat();
        Ok(Local { path: path.to_owned(), file, bytes, pieces })
    }

    /// The store has this very file.
    pub fn same_as(&self, stored: &Stored) -> bool {
        stored.name == self.name() && stored.bytes == self.bytes && stored.pieces == pieces::pack(&self.pieces)
    }

    /// As it is sent to a store that has what is known.
    pub async fn parts(&self, known: &Known, least: u64, parallel: usize) -> Result<Vec<Part>, String> {
        let file = self.file.clone();
        let parts = at_once(known.parts(&self.pieces, least), parallel, move |index, cut| parts::part(&file, index, cut));
        parts.await.map_err(|e| format!("{}: {e}", self.path.display()))
    }
}

/// So many at a time; answers in the order of the work.
async fn at_once<W, T>(work: Vec<W>, parallel: usize, one: impl Fn(usize, W) -> std::io::Result<T> + Clone + Send + 'static) -> std::io::Result<Vec<T>>
where
    W: Send + 'static,
    T: Send + 'static,
{
    let mut set = JoinSet::new();
    let mut done = Vec::new();
    for (index, work) in work.into_iter().enumerate() {
        let one = one.clone();
        set.spawn_blocking(move || one(index, work).map(|answer| (index, answer)));
        while set.len() >= parallel {
            done.extend(set.join_next().await.map(joined).transpose()?);
        }
    }
    while let Some(answer) = set.join_next().await {
        done.push(joined(answer)?);
    }
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, answer)| answer).collect())
}

fn joined<T>(result: Result<std::io::Result<T>, tokio::task::JoinError>) -> std::io::Result<T> {
    result.unwrap_or_else(|e| Err(std::io::Error::other(e)))
}

/// Where parts of an image go.
#[derive(Clone)]
struct Upload {
    bucket: Bucket,
    key: String,
    id: String,
}

/// Goes on with an upload of this object that was cut off, if there is one.
pub async fn upload(
    bucket: &Bucket,
    folder: &str,
    local: &Local,
    parts: Vec<Part>,
    parallel: usize,
) -> Result<(Stored, Moved), Failure> {
    let below = format!("{folder}/{}", local.name());
    let (upload, held) = begin(bucket, &below).await?;
    let mut set = JoinSet::new();
    let mut done = Vec::new();
    let mut moved = Moved::default();
    let stored = parts.iter().map(|p| StoredPart { bytes: p.len, sha256: p.sha256.clone() }).collect();
    for part in parts {
        let way = parts::way(&part, &held);
        match way {
            Way::Send => moved.sent += part.len,
            _ => moved.spared += part.len,
        }
        let (upload, file) = (upload.clone(), local.file.clone());
        set.spawn(async move { upload.part(way, &part, &file).await });
        while set.len() >= parallel {
            done.extend(set.join_next().await.map(finished).transpose()?);
        }
    }
    while let Some(part) = set.join_next().await {
        done.push(finished(part)?);
    }
    done.sort_by_key(|p| p.part_number);
    let etag = upload.complete(done).await?;
    Ok((Stored { name: local.name(), key: below, bytes: local.bytes, etag, parts: stored, pieces: pieces::pack(&local.pieces) }, moved))
}

fn finished(result: Result<Result<CompletedPart, Failure>, tokio::task::JoinError>) -> Result<CompletedPart, Failure> {
    result.unwrap_or_else(|e| Err(Failure::from(e.to_string())))
}

async fn begin(bucket: &Bucket, below: &str) -> Result<(Upload, Vec<parts::Held>), CloudError> {
    let unfinished = bucket.unfinished(below).await.into_iter().find(|(key, _)| key == below);
    if let Some((_, id)) = unfinished {
        let held = bucket.held(below, &id).await;
        return Ok((Upload { bucket: bucket.clone(), key: below.to_owned(), id }, held));
    }
    let create = bucket.client.create_multipart_upload().bucket(&bucket.name).key(bucket.key(below));
    let created = create.checksum_algorithm(ChecksumAlgorithm::Sha256).content_type("application/octet-stream").send().await;
    let created = created.map_err(|e| CloudError::of(bucket.url(below), "s3:PutObject", e))?;
    let id = created.upload_id().unwrap_or_default().to_owned();
    Ok((Upload { bucket: bucket.clone(), key: below.to_owned(), id }, Vec::new()))
}

impl Upload {
    async fn part(&self, way: Way, part: &Part, file: &Arc<File>) -> Result<CompletedPart, Failure> {
        let etag = match way {
            Way::Held { etag } => etag,
            // The object may have gone, or the copy be forbidden: sending it works all the same.
            Way::Copy(place) => match self.copy(&place, part).await {
                Ok(etag) => etag,
                Err(_) => self.send(part, file).await?,
            },
            Way::Send => self.send(part, file).await?,
        };
        Ok(CompletedPart::builder().part_number(part.number).e_tag(etag).checksum_sha256(&part.sha256).build())
    }

    async fn send(&self, part: &Part, file: &Arc<File>) -> Result<String, Failure> {
        let (file, offset, len) = (file.clone(), part.offset, part.len);
        let data = tokio::task::spawn_blocking(move || parts::read(&file, offset, len)).await;
        let data = joined(data).map_err(|e| format!("{}: {e}", self.key))?;
        let bucket = &self.bucket;
        let put = bucket.client.upload_part().bucket(&bucket.name).key(bucket.key(&self.key)).upload_id(&self.id);
        let put = put.part_number(part.number).checksum_sha256(&part.sha256).body(ByteStream::from(data));
        let out = put.customize().config_override(bucket.patient(part.len)).send().await;
        let out = out.map_err(|e| CloudError::of(bucket.url(&self.key), "s3:PutObject", e))?;
        Ok(out.e_tag().unwrap_or_default().to_owned())
    }

    async fn copy(&self, place: &Place, part: &Part) -> Result<String, CloudError> {
        let bucket = &self.bucket;
        let copy = bucket.client.upload_part_copy().bucket(&bucket.name).key(bucket.key(&self.key)).upload_id(&self.id);
        let copy = copy.copy_source(source(&bucket.name, &bucket.key(&place.key))).copy_source_if_match(&place.etag);
        let range = format!("bytes={}-{}", place.offset, place.offset + place.len - 1);
        let copy = copy.copy_source_range(range).part_number(part.number);
        let out = copy.customize().config_override(bucket.patient(part.len)).send().await;
        let out = out.map_err(|e| CloudError::of(bucket.url(&self.key), "s3:PutObject", e))?;
        let result = out.copy_part_result();
        let wrong = result.and_then(|r| r.checksum_sha256()).is_some_and(|sha| sha != part.sha256);
        match result.and_then(|r| r.e_tag()) {
            Some(etag) if !wrong => Ok(etag.to_owned()),
            _ => Err(CloudError::new(bucket.url(&self.key), "s3:PutObject", ckpt_cloud::Kind::Other, "the copy is not what it should be")),
        }
    }

    async fn complete(&self, parts: Vec<CompletedPart>) -> Result<String, CloudError> {
        let bucket = &self.bucket;
        let all = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let complete = bucket.client.complete_multipart_upload().bucket(&bucket.name).key(bucket.key(&self.key));
        let out = complete.upload_id(&self.id).multipart_upload(all).send().await;
        let out = out.map_err(|e| CloudError::of(bucket.url(&self.key), "s3:PutObject", e))?;
        Ok(out.e_tag().unwrap_or_default().to_owned())
    }
}

/// As the header wants it: percent-encoded, slashes as they are.
fn source(bucket: &str, key: &str) -> String {
    let byte = |b: u8| match b {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => (b as char).to_string(),
        _ => format!("%{b:02X}"),
    };
    format!("{bucket}/{}", key.bytes().map(byte).collect::<String>())
}

#[cfg(test)]
mod tests {
    #[test]
    fn copy_sources_are_encoded() {
        assert_eq!(super::source("b", "j/a+b c.img"), "b/j/a%2Bb%20c.img");
    }
}
