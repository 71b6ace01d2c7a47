//! When to call again. The SDK retries calls that may be repeated; this decides for those that may not be repeated
//! blindly (CreateSnapshots knows no client token).

use crate::error::{CloudError, Kind};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The call was not carried out: wait this long, then call again.
    Again(Duration),
    /// The call may have been carried out: wait, look for its effect, and call again only if there is none.
    Look(Duration),
    GiveUp,
}

/// `attempt` counts from 1; `spent` is the time since the first; nothing is begun that would end after `budget`.
/// `jitter` is in 0..1: instances that were throttled together do not come back together.
pub fn decide(e: &CloudError, attempt: u32, spent: Duration, budget: Duration, jitter: f64) -> Verdict {
    let wait = match (e.kind, e.code.as_deref()) {
        // At most one snapshot of a volume in 15 s.
        (Kind::Throttled, Some("SnapshotCreationPerVolumeRateExceeded")) => Duration::from_secs(15),
        (Kind::Throttled, Some("SnapshotLimitExceeded")) => return Verdict::GiveUp,
        (Kind::Throttled | Kind::Server | Kind::Timeout | Kind::Unreachable, _) => backoff(attempt, jitter),
        _ => return Verdict::GiveUp,
    };
    if spent + wait >= budget {
        return Verdict::GiveUp;
    }
    match e.kind {
        Kind::Timeout | Kind::Server => Verdict::Look(wait),
        _ => Verdict::Again(wait),
    }
}

/// 0.5 s, 1 s, 2 s, ... 20 s, each between half and the whole of it.
fn backoff(attempt: u32, jitter: f64) -> Duration {
    let whole = 0.5 * f64::from(1u32 << attempt.saturating_sub(1).min(10));
    Duration::from_secs_f64(whole.min(20.0) * (0.5 + jitter / 2.0))
}

/// A number in 0..1 from the clock: good enough to keep instances apart.
pub fn jitter() -> f64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    f64::from(now.subsec_nanos() % 1_000_003) / 1_000_003.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: Kind, code: Option<&str>) -> CloudError {
        CloudError { code: code.map(Into::into), ..CloudError::new("x", "ec2:CreateSnapshots", kind, "y") }
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn what_cannot_get_better_is_not_repeated() {
        for kind in [Kind::Denied, Kind::Expired, Kind::NoCredentials, Kind::NotFound, Kind::Conflict, Kind::Other] {
            assert_eq!(decide(&error(kind, None), 1, Duration::ZERO, MINUTE, 0.0), Verdict::GiveUp);
        }
        let full = error(Kind::Throttled, Some("SnapshotLimitExceeded"));
        assert_eq!(decide(&full, 1, Duration::ZERO, MINUTE, 0.0), Verdict::GiveUp);
    }

    #[test]
    fn throttling_backs_off() {
        let e = error(Kind::Throttled, Some("RequestLimitExceeded"));
        let wait = |n| decide(&e, n, Duration::ZERO, MINUTE, 1.0);
        assert_eq!(wait(1), Verdict::Again(Duration::from_millis(500)));
        assert_eq!(wait(2), Verdict::Again(Duration::from_secs(1)));
        assert_eq!(wait(40), Verdict::Again(Duration::from_secs(20)));
        let e = error(Kind::Throttled, Some("SnapshotCreationPerVolumeRateExceeded"));
        assert_eq!(decide(&e, 1, Duration::ZERO, MINUTE, 0.0), Verdict::Again(Duration::from_secs(15)));
    }

    #[test]
    fn an_unknown_outcome_is_looked_at_first() {
        assert!(matches!(decide(&error(Kind::Timeout, None), 1, Duration::ZERO, MINUTE, 0.0), Verdict::Look(_)));
        assert!(matches!(decide(&error(Kind::Server, None), 1, Duration::ZERO, MINUTE, 0.0), Verdict::Look(_)));
    }

    #[test]
    fn the_budget_ends_it() {
        let e = error(Kind::Timeout, None);
        assert_eq!(decide(&e, 1, Duration::from_secs(59) + Duration::from_millis(800), MINUTE, 1.0), Verdict::GiveUp);
    }
}
