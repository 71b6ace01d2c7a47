//! The records in DynamoDB: one item for each job, key `job`, written only under the condition that its version is the
//! one that was read.

use super::{step, Caller, Record, Refusal, Request};
use crate::error::{CloudError, Kind};
use crate::{Cloud, Failure};
use crate::ownership::Ownership;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableStatus,
};
use serde_json::{Map, Number, Value};
use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub struct Jobs {
    client: aws_sdk_dynamodb::Client,
    table: String,
}

#[derive(Debug, thiserror::Error)]
pub enum JobError {
    #[error(transparent)]
    Cloud(#[from] CloudError),
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Status 3: the job is not this instance's.
impl From<JobError> for Failure {
    fn from(e: JobError) -> Failure {
        let status = if matches!(e, JobError::Refused(_)) { 3 } else { 1 };
        Failure::from(e.to_string()).with_status(status)
    }
}

const GET: &str = "dynamodb:GetItem";
const PUT: &str = "dynamodb:PutItem";

impl Jobs {
    pub fn new(cloud: &Cloud, table: &str) -> Jobs {
        Jobs { client: aws_sdk_dynamodb::Client::new(&cloud.sdk), table: table.to_owned() }
    }

    pub async fn read(&self, job: &str) -> Result<Option<Record>, CloudError> {
        let doing = || format!("record of job {job}");
        let key = AttributeValue::S(job.to_owned());
        let get = self.client.get_item().table_name(&self.table).key("job", key).consistent_read(true);
        let item = get.send().await.map_err(|e| CloudError::of(doing(), GET, e))?.item;
        item.map(|item| record(item).map_err(|e| CloudError::new(doing(), GET, Kind::Other, e))).transpose()
    }

    /// Reads, asks `step`, writes; again when somebody else wrote in between.
    pub async fn apply(&self, job: &str, caller: &Caller<'_>, request: Request) -> Result<Record, JobError> {
        loop {
            let old = self.read(job).await?;
            let new = step(job, old.as_ref(), caller, request.clone(), now())?;
            match self.write(&new, old.as_ref().map(|o| o.version)).await {
                Err(e) if e.kind == Kind::Conflict => {
                    // Our own write whose answer was lost looks like another's: then the record says what was wanted.
                    if self.read(job).await?.as_ref() == Some(&new) {
                        return Ok(new);
                    }
                }
                other => return Ok(other.map(|()| new)?),
            }
        }
    }

    async fn write(&self, record: &Record, seen: Option<u64>) -> Result<(), CloudError> {
        let put = self.client.put_item().table_name(&self.table).set_item(Some(item(record)));
        let put = match seen {
            None => put.condition_expression("attribute_not_exists(job)"),
            Some(version) => put
                .condition_expression("#version = :seen")
                .expression_attribute_names("#version", "version")
                .expression_attribute_values(":seen", AttributeValue::N(version.to_string())),
        };
        put.send().await.map(drop).map_err(|e| CloudError::of(format!("record of job {}", record.job), PUT, e))
    }

    /// Waits for the job to be free, `patience` at most: an owner that gives no sign of life for its lease has gone.
    pub async fn claim(&self, job: &str, owner: &str, lease: u64, again: bool, patience: Duration) -> Result<(Ownership, Record), JobError> {
        let begun = Instant::now();
        let mut seen = (0, Instant::now());
        loop {
            let version = self.read(job).await?.map_or(0, |r| r.version);
            if version != seen.0 {
                seen = (version, Instant::now());
            }
            let request = Request::Claim { owner: owner.into(), lease, unchanged: seen.1.elapsed(), again };
            match self.apply(job, &Caller { owner, epoch: 0 }, request).await {
                Err(JobError::Refused(Refusal::Held { wait, .. })) if begun.elapsed() + Duration::from_millis(50) < patience => {
                    let left = patience.saturating_sub(begun.elapsed());
                    tokio::time::sleep(wait.min(left).clamp(Duration::from_millis(50), Duration::from_secs(5))).await;
                }
                Err(e) => return Err(e),
                Ok(record) => {
                    let ownership =
                        Ownership { table: self.table.clone(), job: job.into(), owner: owner.into(), epoch: record.epoch };
                    return Ok((ownership, record));
                }
            }
        }
    }

    /// A request of the owner that `job.json` names.
    pub async fn tell(&self, ownership: &Ownership, request: Request) -> Result<Record, JobError> {
        let caller = Caller { owner: &ownership.owner, epoch: ownership.epoch };
        self.apply(&ownership.job, &caller, request).await
    }

    /// Makes the table, paid by request; fine if it is there.
    pub async fn create_table(&self) -> Result<(), CloudError> {
        let call = "dynamodb:CreateTable";
        let doing = || format!("table {}", self.table);
        let wrong = |e: aws_smithy_types::error::operation::BuildError| CloudError::new(doing(), call, Kind::Other, e.to_string());
        let key = KeySchemaElement::builder().attribute_name("job").key_type(KeyType::Hash).build().map_err(wrong)?;
        let attribute = AttributeDefinition::builder()
            .attribute_name("job")
            .attribute_type(ScalarAttributeType::S)
            .build()
            .map_err(wrong)?;
        let create = self.client.create_table().table_name(&self.table).key_schema(key).attribute_definitions(attribute);
        match create.billing_mode(BillingMode::PayPerRequest).send().await.map_err(|e| CloudError::of(doing(), call, e)) {
            Err(e) if e.code.as_deref() != Some("ResourceInUseException") => return Err(e),
            _ => {}
        }
        for _ in 0..60 {
            let described = self.client.describe_table().table_name(&self.table).send().await;
            let table = described.map_err(|e| CloudError::of(doing(), "dynamodb:DescribeTable", e))?.table;
            if table.and_then(|t| t.table_status) == Some(TableStatus::Active) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Err(CloudError::new(doing(), call, Kind::Timeout, "it is still being made"))
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

fn item(record: &Record) -> HashMap<String, AttributeValue> {
    match serde_json::to_value(record) {
        Ok(Value::Object(map)) => map.into_iter().map(|(k, v)| (k, attribute(v))).collect(),
        _ => HashMap::new(),
    }
}

fn record(item: HashMap<String, AttributeValue>) -> Result<Record, String> {
    let map: Map<String, Value> = item.into_iter().map(|(k, v)| (k, value(v))).collect();
    serde_json::from_value(Value::Object(map)).map_err(|e| format!("it is not one of ckpt's: {e}"))
}

fn attribute(v: Value) -> AttributeValue {
    match v {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(b) => AttributeValue::Bool(b),
        Value::Number(n) => AttributeValue::N(n.to_string()),
        Value::String(s) => AttributeValue::S(s),
        Value::Array(a) => AttributeValue::L(a.into_iter().map(attribute).collect()),
        Value::Object(m) => AttributeValue::M(m.into_iter().map(|(k, v)| (k, attribute(v))).collect()),
    }
}

fn value(a: AttributeValue) -> Value {
    match a {
        AttributeValue::Bool(b) => Value::Bool(b),
        AttributeValue::N(n) => n.parse::<Number>().map_or(Value::Null, Value::Number),
        AttributeValue::S(s) => Value::String(s),
        AttributeValue::L(l) => Value::Array(l.into_iter().map(value).collect()),
        AttributeValue::M(m) => Value::Object(m.into_iter().map(|(k, v)| (k, value(v))).collect()),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::State;

    #[test]
    fn a_record_survives_the_table() {
        let r = Record { job: "j".into(), snapshots: vec!["snap-1".into()], epoch: 3, state: State::Done, ..Record::default() };
        assert_eq!(record(item(&r)).unwrap(), r);
    }

    #[test]
    fn a_record_of_an_older_version_is_read() {
        let item = HashMap::from([("job".to_owned(), AttributeValue::S("j".into()))]);
        assert_eq!(record(item).unwrap(), Record { job: "j".into(), ..Record::default() });
    }
}
