//! The job record: who works on a job, and where its newest complete checkpoint is.
//!
//! `step` says, as a pure function, what a request makes of a record; the table (table.rs) writes the outcome only if the
//! record is still the one that `step` saw. So two instances never both own a job, and a late writer changes nothing.
//! No clocks are compared between instances: an owner counts as gone when its record did not change for the length
//! of its lease while the claimant watched.

use serde::{Deserialize, Serialize};
use std::time::Duration;

pub mod table;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// An instance works on it.
    #[default]
    Running,
    /// Its instance gave it up: anyone may go on.
    Interrupted,
    Done,
    Failed,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    pub job: String,
    pub state: State,
    pub owner: String,
    pub epoch: u64,
    /// Grows with every write.
    pub version: u64,
    /// Seconds without a write after which the owner counts as gone.
    pub lease: u64,
    pub computation: String,
    /// Newest complete generation in the store, and its folder there; 0 and empty before the first.
    pub generation: u32,
    pub folder: String,
    /// Newest snapshot set.
    pub snapshots: Vec<String>,
    pub snapshot_generation: u32,
    /// How often an instance was lost, and seconds of work seen: the failure rate.
    pub interruptions: u64,
    pub run_seconds: u64,
    /// Seconds since 1970, by the clock of the last writer.
    pub updated: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `unchanged`: for how long the claimant has seen the record at this version.
    Claim { owner: String, lease: u64, unchanged: Duration, again: bool },
    Beat,
    Committed { computation: String, generation: u32, folder: String },
    Snapshots { generation: u32, ids: Vec<String> },
    End(State),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("job {job} is owned by {owner} now (owner {epoch} of this job): this instance must not go on with it")]
    NotOwner { job: String, owner: String, epoch: u64 },
    #[error("job {job} is owned by {owner}; wait for {} s without a sign of life, or end it there", .wait.as_secs())]
    Held { job: String, owner: String, wait: Duration },
    #[error("job {job} is {how}: nothing is left to do; --again starts it over")]
    Ended { job: String, how: &'static str },
    #[error("job {job} has no record: claim it first (ckpt_store job claim)")]
    Missing { job: String },
}

/// Who asks: an owner and its epoch. A claim needs none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller<'a> {
    pub owner: &'a str,
    pub epoch: u64,
}

/// The record after the request. `now` is seconds since 1970.
pub fn step(job: &str, old: Option<&Record>, caller: &Caller, request: Request, now: u64) -> Result<Record, Refusal> {
    if let Request::Claim { owner, lease, unchanged, again } = request {
        return claim(job, old, owner, lease, unchanged, again, now);
    }
    let old = old.ok_or_else(|| Refusal::Missing { job: job.into() })?;
    if old.owner != caller.owner || old.epoch != caller.epoch || old.state != State::Running {
        return Err(Refusal::NotOwner { job: job.into(), owner: old.owner.clone(), epoch: old.epoch });
    }
    let mut new = Record { version: old.version + 1, updated: now, ..old.clone() };
    // A clock that was set does not make a year of work.
    new.run_seconds += now.saturating_sub(old.updated).min(2 * old.lease);
    match request {
        Request::Claim { .. } | Request::Beat => {}
        Request::Committed { computation, generation, folder } => {
            // The same computation never goes back: a slow upload of an older generation changes nothing.
            if old.computation != computation || generation > old.generation || !old.folder.starts_with(&epoch_part(old.epoch)) {
                (new.computation, new.generation, new.folder) = (computation, generation, folder);
            }
        }
        Request::Snapshots { generation, ids } => (new.snapshot_generation, new.snapshots) = (generation, ids),
        Request::End(state) => new.state = state,
    }
    Ok(new)
}

/// Folders in the store begin with the epoch: `e000003-`.
pub fn epoch_part(epoch: u64) -> String {
    format!("e{epoch:06}-")
}

fn claim(
    job: &str,
    old: Option<&Record>,
    owner: String,
    lease: u64,
    unchanged: Duration,
    again: bool,
    now: u64,
) -> Result<Record, Refusal> {
    let Some(old) = old else {
        return Ok(Record { job: job.into(), owner, lease, epoch: 1, version: 1, updated: now, ..Record::default() });
    };
    match old.state {
        State::Done | State::Failed if again => {
            // From the beginning: what the earlier run left in the store is not gone on with.
            let fresh = Record { job: job.into(), owner, lease, updated: now, ..Record::default() };
            return Ok(Record { epoch: old.epoch + 1, version: old.version + 1, ..fresh });
        }
        State::Done => return Err(Refusal::Ended { job: job.into(), how: "done" }),
        State::Failed => return Err(Refusal::Ended { job: job.into(), how: "marked as failed" }),
        State::Interrupted => {}
        State::Running if old.owner == owner => {}
        State::Running => {
            let wait = Duration::from_secs(old.lease).saturating_sub(unchanged);
            if !wait.is_zero() {
                return Err(Refusal::Held { job: job.into(), owner: old.owner.clone(), wait });
            }
        }
    }
    Ok(Record {
        state: State::Running,
        owner,
        lease,
        epoch: old.epoch + 1,
        version: old.version + 1,
        interruptions: old.interruptions + 1,
        updated: now,
        ..old.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Caller = Caller { owner: "i-a", epoch: 1 };
    const LEASE: Duration = Duration::from_secs(60);

    fn claim_by(old: Option<&Record>, owner: &str, unchanged: Duration) -> Result<Record, Refusal> {
        step("j", old, &A, Request::Claim { owner: owner.into(), lease: 60, unchanged, again: false }, 1000)
    }

    fn committed(generation: u32, epoch: u64) -> Request {
        Request::Committed { computation: "c".into(), generation, folder: format!("{}g{generation}", epoch_part(epoch)) }
    }

    #[test]
    fn a_new_job_is_claimed_at_once_and_held_against_others() {
        let r = claim_by(None, "i-a", Duration::ZERO).unwrap();
        assert_eq!((r.owner.as_str(), r.epoch, r.version, r.state), ("i-a", 1, 1, State::Running));
        let held = claim_by(Some(&r), "i-b", Duration::from_secs(20)).unwrap_err();
        assert_eq!(held, Refusal::Held { job: "j".into(), owner: "i-a".into(), wait: Duration::from_secs(40) });
    }

    #[test]
    fn a_vanished_owner_is_followed_and_fenced_off() {
        let a = claim_by(None, "i-a", Duration::ZERO).unwrap();
        let a = step("j", Some(&a), &A, committed(7, 1), 1010).unwrap();
        let b = claim_by(Some(&a), "i-b", LEASE).unwrap();
        assert_eq!((b.owner.as_str(), b.epoch, b.generation, b.interruptions), ("i-b", 2, 7, 1));
        for late in [Request::Beat, committed(8, 1), Request::End(State::Done)] {
            assert!(matches!(step("j", Some(&b), &A, late, 1100), Err(Refusal::NotOwner { epoch: 2, .. })));
        }
    }

    #[test]
    fn a_job_given_up_is_free_at_once() {
        let a = claim_by(None, "i-a", Duration::ZERO).unwrap();
        let a = step("j", Some(&a), &A, Request::End(State::Interrupted), 1010).unwrap();
        assert!(step("j", Some(&a), &A, Request::Beat, 1011).is_err());
        assert_eq!(claim_by(Some(&a), "i-b", Duration::ZERO).unwrap().epoch, 2);
    }

    #[test]
    fn a_job_done_stays_done_unless_asked() {
        let a = claim_by(None, "i-a", Duration::ZERO).unwrap();
        let a = step("j", Some(&a), &A, committed(3, 1), 1005).unwrap();
        let a = step("j", Some(&a), &A, Request::End(State::Done), 1010).unwrap();
        assert_eq!(claim_by(Some(&a), "i-b", LEASE), Err(Refusal::Ended { job: "j".into(), how: "done" }));
        let again = Request::Claim { owner: "i-b".into(), lease: 60, unchanged: Duration::ZERO, again: true };
        let b = step("j", Some(&a), &A, again, 1020).unwrap();
        assert_eq!((b.generation, b.folder.as_str(), b.epoch), (0, "", 2));
    }

    #[test]
    fn a_slow_upload_never_goes_back() {
        let a = claim_by(None, "i-a", Duration::ZERO).unwrap();
        let a = step("j", Some(&a), &A, committed(7, 1), 1010).unwrap();
        let late = step("j", Some(&a), &A, committed(6, 1), 1020).unwrap();
        assert_eq!((late.generation, late.folder.as_str()), (7, "e000001-g7"));
    }

    #[test]
    fn work_is_counted_without_jumps_of_the_clock() {
        let a = claim_by(None, "i-a", Duration::ZERO).unwrap();
        let a = step("j", Some(&a), &A, Request::Beat, 1020).unwrap();
        assert_eq!(a.run_seconds, 20);
        assert_eq!(step("j", Some(&a), &A, Request::Beat, 9_000_000).unwrap().run_seconds, 140);
        assert_eq!(step("j", Some(&a), &A, Request::Beat, 5).unwrap().run_seconds, 20);
    }
}
