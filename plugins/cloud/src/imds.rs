//! What the instance knows about itself (IMDSv2): its id, and notices that it will be taken away.
//! Without an instance, `AWS_EC2_METADATA_SERVICE_ENDPOINT` names another source.

use crate::error::{CloudError, Kind};
use aws_config::imds::client::error::ImdsError;
use aws_config::provider_config::ProviderConfig;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use serde::Deserialize;
use std::time::Duration;

pub struct Imds(aws_config::imds::Client);

/// `spot/instance-action`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Notice {
    /// `terminate`, `stop` or `hibernate`
    pub action: String,
    /// UTC, as `2026-01-01T08:22:00Z`
    pub time: String,
}

impl Imds {
    pub fn new(http: &SharedHttpClient) -> Imds {
        let provider = ProviderConfig::without_region().with_http_client(http.clone());
        let client = aws_config::imds::Client::builder()
            .configure(&provider)
            .connect_timeout(Duration::from_secs(1))
            .read_timeout(Duration::from_secs(2))
            .max_attempts(2)
            .build();
        Imds(client)
    }

    /// One piece of metadata; none where there is no such piece.
    async fn get(&self, doing: &str, path: &str) -> Result<Option<String>, CloudError> {
        match self.0.get(path).await {
            Ok(text) => Ok(Some(text.into())),
            Err(ImdsError::ErrorResponse(r)) if r.response().status().as_u16() == 404 => Ok(None),
            Err(e) => {
                let reason = match &e {
                    // The whole response would be printed; it may hold more than the reader needs.
                    ImdsError::ErrorResponse(r) => format!("status {}", r.response().status().as_u16()),
                    _ => format!("{e} (no instance, or its metadata service is off)"),
                };
                Err(CloudError::new(doing, "IMDSv2", Kind::Unreachable, reason))
            }
        }
    }

    pub async fn instance_id(&self) -> Result<String, CloudError> {
        let doing = "which instance this is";
        let none = || CloudError::new(doing, "IMDSv2", Kind::NotFound, "the metadata have no instance-id");
        self.get(doing, "/latest/meta-data/instance-id").await?.ok_or_else(none)
    }

    /// That the instance will be taken away, usually two minutes ahead.
    pub async fn spot_action(&self) -> Result<Option<Notice>, CloudError> {
        let text = self.get("watch for a notice", "/latest/meta-data/spot/instance-action").await?;
        text.map(|t| parse_notice(&t)).transpose()
    }

    /// That it may be: the time since when.
    pub async fn rebalance(&self) -> Result<Option<String>, CloudError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Recommendation {
            notice_time: String,
        }
        let text = self.get("watch for a recommendation", "/latest/meta-data/events/recommendations/rebalance").await?;
        Ok(text.and_then(|t| serde_json::from_str::<Recommendation>(&t).ok()).map(|r| r.notice_time))
    }
}

fn parse_notice(text: &str) -> Result<Notice, CloudError> {
    serde_json::from_str(text)
        .map_err(|e| CloudError::new("watch for a notice", "IMDSv2", Kind::Other, format!("the notice is not understood: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices() {
        let n = parse_notice(r#"{"action": "terminate", "time": "2026-09-18T08:22:00Z"}"#).unwrap();
        assert_eq!((n.action.as_str(), n.time.as_str()), ("terminate", "2026-09-18T08:22:00Z"));
        assert!(parse_notice("<html>").is_err());
    }
}
