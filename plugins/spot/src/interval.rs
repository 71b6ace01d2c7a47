//! How long to work between two checkpoints: long enough that their cost is small, short enough that a loss is.
//!
//! J. T. Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps", 2006; its first term is
//! J. W. Young's of 1974.

use std::time::Duration;

/// The period that loses least, for a checkpoint that costs `cost`, where an instance lasts `mtbf` on average. Seconds.
pub fn daly(cost: f64, mtbf: f64) -> f64 {
    if cost >= 2.0 * mtbf {
        return mtbf;
    }
    let ratio = (cost / (2.0 * mtbf)).sqrt();
    (2.0 * cost * mtbf).sqrt() * (1.0 + ratio / 3.0 + ratio * ratio / 9.0) - cost
}

/// What is believed before anything was seen: an instance lasts a day.
pub const PRIOR: Duration = Duration::from_secs(24 * 3600);

/// Mean time between losses, after `lost` of them in `worked`: the prior counts as one loss that was seen.
pub fn learnt(lost: u64, worked: Duration) -> f64 {
    (PRIOR.as_secs_f64() + worked.as_secs_f64()) / (lost as f64 + 1.0)
}

/// The interval to set, in whole seconds. The coordinator counts from the beginning of one checkpoint to that of the
/// next, so the cost is part of it; never so short that the checkpoints take more than half of the time.
pub fn period(cost: Duration, mtbf: f64) -> u32 {
    let cost = cost.as_secs_f64().max(0.001);
    let whole = (daly(cost, mtbf) + cost).max(2.0 * cost).round();
    (whole as u32).clamp(1, 7 * 24 * 3600)
}

/// A new interval is set only if it differs by more than a tenth: the cost of each checkpoint is a little different.
pub fn differs(set: Option<u32>, wanted: u32) -> bool {
    set.is_none_or(|set| set.abs_diff(wanted) * 10 > set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_to_young_where_checkpoints_are_cheap() {
        let young = (2.0_f64 * 1.0 * 86_400.0).sqrt();
        assert!((daly(1.0, 86_400.0) - young).abs() < 1.0);
    }

    #[test]
    fn the_higher_terms_count_where_they_are_dear() {
        // 5 minutes in 24 hours: Young says 120 minutes, Daly 120 * (1 + 0.0139 + 0.0002) - 5.
        assert!((daly(300.0, 86_400.0) / 60.0 - 116.7).abs() < 0.5);
    }

    #[test]
    fn no_interval_loses_less() {
        // Expected share of time lost, Daly's complete model without restart cost.
        let lost = |t: f64, c: f64, m: f64| (m * ((t + c) / m).exp_m1()) / t - 1.0;
        for (c, m) in [(0.5, 3600.0), (10.0, 7200.0), (60.0, 3600.0)] {
            let best = daly(c, m);
            for other in [0.7, 0.9, 1.1, 1.4] {
                assert!(lost(best, c, m) < lost(best * other, c, m), "{c} {m} {other}");
            }
        }
    }

    #[test]
    fn where_a_checkpoint_takes_longer_than_an_instance_lasts() {
        assert_eq!(daly(100.0, 40.0), 40.0);
        assert_eq!(period(Duration::from_secs(100), 40.0), 200);
    }

    #[test]
    fn losses_are_learnt() {
        assert_eq!(learnt(0, Duration::ZERO), 86_400.0);
        assert_eq!(learnt(3, Duration::from_secs(24 * 3600)), 43_200.0);
        assert!(learnt(100, Duration::from_secs(360_000)) < 4_500.0);
    }

    #[test]
    fn small_changes_are_left_alone() {
        assert!(differs(None, 60) && differs(Some(60), 70) && !differs(Some(60), 65) && !differs(Some(60), 54));
        assert!(differs(Some(1), 2));
    }
}
