//! Configuration of the SDK: region, credentials and endpoint by the standard chain (environment, profile, instance).

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_smithy_http_client::tls::{rustls_provider::CryptoMode, Provider};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use std::time::Duration;

#[derive(Clone, Debug, clap::Args)]
pub struct CloudOptions {
    /// Region; else that of the environment, the profile or the instance
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
    /// Seconds that one call may take, with its retries
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub timeout: u64,
}

/// The SDK's configuration, and the HTTP client that everything shares.
pub struct Cloud {
    pub sdk: SdkConfig,
    pub http: SharedHttpClient,
    /// how long one call may take, with its retries
    pub timeout: Duration,
}

impl Cloud {
    /// # Errors
    /// No region is named anywhere.
    pub async fn load(options: &CloudOptions) -> Result<Cloud, String> {
        let http = http_client();
        let timeout = Duration::from_secs(options.timeout.max(1));
        let limits = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(5).min(timeout))
            .operation_timeout(timeout)
            .operation_attempt_timeout(timeout.mul_f64(0.4))
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http.clone())
            .timeout_config(limits)
            .retry_config(RetryConfig::standard().with_max_attempts(5));
        if let Some(region) = &options.region {
            loader = loader.region(Region::new(region.clone()));
        }
        let sdk = loader.load().await;
        if sdk.region().is_none() {
            return Err("no region: give --region, or set AWS_REGION (on an instance it is found by itself)".into());
        }
        Ok(Cloud { sdk, http, timeout })
    }

    pub fn region(&self) -> String {
        self.sdk.region().map(ToString::to_string).unwrap_or_default()
    }
}

/// rustls with ring: nothing of the system's TLS is needed but its certificates.
pub fn http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}
