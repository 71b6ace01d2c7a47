//! Errors of the cloud in one line: what was being done, which call, why, and the next step.

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use std::error::Error;

/// What kind of trouble it is: decides the next step and whether a retry can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// too many calls, or too many snapshots under way
    Throttled,
    /// credentials that were good once
    Expired,
    NoCredentials,
    Denied,
    /// no answer in time: whether the call was carried out is not known
    Timeout,
    /// never reached the service
    Unreachable,
    NotFound,
    /// a condition of the call was not met: somebody else was there first
    Conflict,
    /// trouble on the side of the service
    Server,
    /// a dry run that would have worked
    DryRun,
    Other,
}

/// `doing: call: reason; next step`
#[derive(Clone, Debug, thiserror::Error)]
pub struct CloudError {
    pub doing: String,
    /// As policies name it: `ec2:CreateSnapshots`.
    pub call: &'static str,
    pub kind: Kind,
    /// The service's word for it, if it said one.
    pub code: Option<String>,
    pub reason: String,
}

impl std::fmt::Display for CloudError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}: {}; {}", self.doing, self.call, self.reason, next_step(self.kind, self.call))
    }
}

impl CloudError {
    pub fn new(doing: impl Into<String>, call: &'static str, kind: Kind, reason: impl Into<String>) -> CloudError {
        CloudError { doing: doing.into(), call, kind, code: None, reason: one_line(&reason.into()) }
    }

    /// Any SDK call's error.
    pub fn of<E>(doing: impl Into<String>, call: &'static str, e: SdkError<E, HttpResponse>) -> CloudError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let doing = doing.into();
        match &e {
            SdkError::ServiceError(s) => {
                let (code, message) = (s.err().code(), s.err().message());
                let status = s.raw().status().as_u16();
                let reason = match (code, message) {
                    (Some(code), Some(message)) => format!("{code}: {}", without_blob(message)),
                    (Some(code), None) => code.to_owned(),
                    (None, _) => format!("status {status}"),
                };
                let code = code.map(str::to_owned);
                let kind = kind(code.as_deref(), status);
                CloudError { doing, call, kind, code, reason: one_line(&reason) }
            }
            SdkError::TimeoutError(_) => CloudError::new(doing, call, Kind::Timeout, "no answer in time"),
            SdkError::DispatchFailure(d) if d.is_timeout() => CloudError::new(doing, call, Kind::Timeout, "no answer in time"),
            _ => match credentials_trouble(&e) {
                Some((kind, reason)) => CloudError::new(doing, call, kind, reason),
                None => {
                    // A connection that broke may have carried the request over: only one that was refused did not.
                    let kind = match &e {
                        SdkError::DispatchFailure(_) if refused(&e) => Kind::Unreachable,
                        SdkError::DispatchFailure(_) => Kind::Timeout,
                        SdkError::ConstructionFailure(_) => Kind::Other,
                        _ => Kind::Server,
                    };
                    CloudError::new(doing, call, kind, innermost(&e))
                }
            },
        }
    }
}

/// The kind of a service's answer, from its error code and HTTP status.
pub fn kind(code: Option<&str>, status: u16) -> Kind {
    match code.unwrap_or_default() {
        "DryRunOperation" => Kind::DryRun,
        "Throttling" | "ThrottlingException" | "ThrottledException" | "RequestLimitExceeded" | "RequestThrottled"
        | "RequestThrottledException" | "TooManyRequestsException" | "SlowDown" | "BandwidthLimitExceeded"
        | "ProvisionedThroughputExceededException" | "SnapshotCreationPerVolumeRateExceeded"
        | "PendingSnapshotLimitExceeded" | "ConcurrentSnapshotLimitExceeded" | "SnapshotLimitExceeded"
        | "PriorRequestNotComplete" | "LimitExceededException" => Kind::Throttled,
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" | "TokenRefreshRequired" => Kind::Expired,
        "AuthFailure" | "InvalidClientTokenId" | "InvalidAccessKeyId" | "SignatureDoesNotMatch"
        | "UnrecognizedClientException" | "InvalidToken" | "MissingAuthenticationToken"
        | "IncompleteSignature" => Kind::NoCredentials,
        "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" | "AllAccessDisabled" | "OptInRequired"
        | "Client.UnauthorizedOperation" => Kind::Denied,
        "ConditionalCheckFailedException" | "PreconditionFailed" | "ConditionalRequestConflict"
        | "TransactionConflictException" | "OperationAborted" => Kind::Conflict,
        "RequestTimeout" | "RequestTimeoutException" => Kind::Timeout,
        "InternalError" | "InternalFailure" | "InternalServerError" | "ServiceUnavailable" | "Unavailable" => Kind::Server,
        "NoSuchBucket" | "NoSuchKey" | "NoSuchUpload" | "NotFound" | "ResourceNotFoundException" => Kind::NotFound,
        other if other.starts_with("Invalid") && other.ends_with(".NotFound") => Kind::NotFound,
        _ => match status {
            429 => Kind::Throttled,
            401 | 403 => Kind::Denied,
            404 => Kind::NotFound,
            409 | 412 => Kind::Conflict,
            500.. => Kind::Server,
            _ => Kind::Other,
        },
    }
}

/// What to do about it, as the end of a sentence.
fn next_step(kind: Kind, call: &str) -> String {
    match kind {
        Kind::Throttled => "the program and its images are unharmed: try again later, or checkpoint less often".into(),
        Kind::Expired => "renew the credentials; on an instance, see that its role is still attached".into(),
        Kind::NoCredentials => "attach a role to the instance, or set AWS_PROFILE or AWS_ACCESS_KEY_ID".into(),
        Kind::Denied => format!("allow {call} in the policy of the role (docs/CLOUD.md has one to copy)"),
        Kind::Timeout => "the program and its images are unharmed: check the network, then try again".into(),
        Kind::Unreachable => "check the network, the region (--region) and AWS_ENDPOINT_URL".into(),
        Kind::NotFound => "check the name and the region (--region)".into(),
        Kind::Conflict => "another instance was there first: see ckpt_store job show".into(),
        Kind::Server => "the service is in trouble: try again later".into(),
        Kind::DryRun => "nothing was done".into(),
        Kind::Other => "see docs/CLOUD.md".into(),
    }
}

fn chain<'a>(e: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(e), |&e| e.source())
}

fn refused(e: &(dyn Error + 'static)) -> bool {
    let never = |e: &std::io::Error| {
        use std::io::ErrorKind::{AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable};
        matches!(e.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable | AddrNotAvailable)
    };
    chain(e).any(|e| e.downcast_ref::<std::io::Error>().is_some_and(never) || e.to_string().contains("dns error"))
}

fn credentials_trouble(e: &(dyn Error + 'static)) -> Option<(Kind, String)> {
    let found = chain(e).find_map(|e| e.downcast_ref::<CredentialsError>())?;
    let reason = match found {
        CredentialsError::ProviderTimedOut(_) => "credentials were not given in time",
        CredentialsError::InvalidConfiguration(_) => "the configuration of the credentials is wrong",
        _ => "no credentials found",
    };
    Some((Kind::NoCredentials, reason.into()))
}

fn innermost(e: &(dyn Error + 'static)) -> String {
    chain(e).last().map(ToString::to_string).unwrap_or_default()
}

/// The encoded authorization message is long, and says nothing to a reader.
fn without_blob(message: &str) -> &str {
    message.split(" Encoded authorization failure message").next().unwrap_or(message)
}

/// Control characters out, and not too long.
pub fn one_line(text: &str) -> String {
    let flat: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match flat.char_indices().nth(600) {
        Some((end, _)) => format!("{}...", &flat[..end]),
        None => flat.trim_end_matches('.').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_kinds() {
        assert_eq!(kind(Some("RequestLimitExceeded"), 503), Kind::Throttled);
        assert_eq!(kind(Some("SnapshotCreationPerVolumeRateExceeded"), 400), Kind::Throttled);
        assert_eq!(kind(Some("RequestExpired"), 400), Kind::Expired);
        assert_eq!(kind(Some("UnauthorizedOperation"), 403), Kind::Denied);
        assert_eq!(kind(Some("InvalidVolume.NotFound"), 400), Kind::NotFound);
        assert_eq!(kind(Some("ConditionalCheckFailedException"), 400), Kind::Conflict);
        assert_eq!(kind(Some("DryRunOperation"), 412), Kind::DryRun);
    }

    #[test]
    fn without_a_code_the_status_decides() {
        assert_eq!((kind(None, 503), kind(None, 403), kind(None, 404)), (Kind::Server, Kind::Denied, Kind::NotFound));
        assert_eq!((kind(None, 412), kind(None, 429), kind(Some("New"), 400)), (Kind::Conflict, Kind::Throttled, Kind::Other));
    }

    #[test]
    fn an_error_is_one_line_with_a_next_step() {
        let e = CloudError::new("snapshot of i-1", "ec2:CreateSnapshots", Kind::Denied, "UnauthorizedOperation: not\nallowed.");
        assert_eq!(
            e.to_string(),
            "snapshot of i-1: ec2:CreateSnapshots: UnauthorizedOperation: not allowed; \
             allow ec2:CreateSnapshots in the policy of the role (docs/CLOUD.md has one to copy)"
        );
    }

    #[test]
    fn encoded_messages_are_cut() {
        assert_eq!(without_blob("You are not allowed. Encoded authorization failure message: abc"), "You are not allowed.");
        assert!(one_line(&"x".repeat(5000)).len() < 700);
    }
}
