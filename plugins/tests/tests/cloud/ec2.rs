//! ec2-snapshot.

use crate::support::{computation, event, Account};
use ckpt_cloud_tests::programs::{cloud, contents, run, run_with};
use ckpt_cloud_tests::proxy::{dynamodb_error, ec2_error};
use ckpt_cloud_tests::{Fault, Imds, Proxy, Ran, Scratch, Victim};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

struct Case {
    account: Account,
    proxy: Proxy,
    imds: Imds,
    folder: Scratch,
    computation: String,
    volumes: Vec<String>,
    instance: String,
}

fn case() -> Case {
    let account = Account::open();
    let (instance, volumes) = account.instance();
    let imds = Imds::start(&instance);
    Case { account, proxy: Proxy::start(), imds, folder: Scratch::new("ec2"), computation: computation(), volumes, instance }
}

impl Case {
    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = cloud("ec2-snapshot", &self.proxy, Some(&self.imds));
        command.args(arguments);
        command
    }

    /// Without keys in its environment.
    fn bare(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = self.command(arguments);
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
        command
    }

    fn hook(&self, arguments: &[&str]) -> Ran {
        run_with(&mut self.command(arguments), &event(self.folder.path(), &self.computation))
    }

    fn snapshots(&self) -> Vec<aws_sdk_ec2::types::Snapshot> {
        self.account.snapshots("ckpt:computation", &self.computation)
    }

    /// The image is as it was, and nothing half-done lies about.
    fn images_are_unharmed(&self) {
        let names: Vec<_> = contents(self.folder.path()).into_iter().filter(|(n, _)| n != "snapshots.jsonl" && n != "job.json").collect();
        assert_eq!(names, [("a.img".to_owned(), b"image".to_vec())]);
    }
}

#[test]
fn a_set_of_all_volumes_is_made_tagged_and_recorded() {
    let c = case();
    let out: Value = serde_json::from_str(&c.hook(&["--json", "--tag", "Team=x", "--description", "of mine"]).ok()).unwrap();
    assert_eq!((&out["ok"], out["snapshots"].as_array().unwrap().len()), (&Value::Bool(true), 2));
    let made = c.snapshots();
    assert_eq!(made.len(), 2);
    for snapshot in &made {
        let tag = |k: &str| snapshot.tags().iter().find(|t| t.key() == Some(k)).and_then(|t| t.value()).unwrap_or_default().to_owned();
        assert_eq!((tag("ckpt:generation"), tag("ckpt:host"), tag("ckpt:digest")), ("3".into(), "here".into(), "d1ce".into()));
        assert_eq!(tag("ckpt:held"), "true");
        assert_eq!((tag("Team"), tag("ckpt:set")), ("x".into(), out["set"].as_str().unwrap().to_owned()));
        assert_eq!(snapshot.description(), Some("of mine"));
        assert!(c.volumes.contains(&snapshot.volume_id().unwrap().to_owned()));
    }
    let record = std::fs::read_to_string(c.folder.join("snapshots.jsonl")).unwrap();
    let record: Value = serde_json::from_str(record.trim()).unwrap();
    assert_eq!((&record["generation"], &record["set"]), (&Value::from(3), &out["set"]));
    assert_eq!(record["snapshots"].as_array().unwrap().len(), 2);
    c.images_are_unharmed();
}

#[test]
fn programs_that_run_on_are_snapshot_only_if_that_is_asked_for() {
    let c = case();
    let running = event(c.folder.path(), &c.computation).replace("\"hold\":true", "\"hold\":false");
    let hook = |arguments: &[&str]| run_with(&mut c.command(arguments), &running);
    hook(&[]).failed(1, &["--hold", "--free", "no snapshot was taken"]);
    assert_eq!(c.proxy.count("Action="), 0);
    hook(&["--free"]).ok();
    let held = |s: &aws_sdk_ec2::types::Snapshot| s.tags().iter().any(|t| (t.key(), t.value()) == (Some("ckpt:held"), Some("false")));
    assert!(c.snapshots().len() == 2 && c.snapshots().iter().all(held));
    c.images_are_unharmed();
}

#[test]
fn without_the_boot_volume_there_is_one_less() {
    let c = case();
    c.hook(&["--exclude-boot", "--copy-tags"]).ok();
    assert_eq!(c.snapshots().len(), 1);
    assert_eq!(c.proxy.count("CopyTagsFromSource=volume"), 1);
}

#[test]
fn named_volumes_have_a_call_each() {
    let c = case();
    c.hook(&["--volume", &c.volumes[0], "--volume", &c.volumes[1]]).ok();
    assert_eq!((c.snapshots().len(), c.proxy.count("Action=CreateSnapshot&")), (2, 2));
}

#[test]
fn a_volume_that_fails_leaves_the_others_recorded() {
    let c = case();
    let ran = c.hook(&["--volume", &c.volumes[0], "--volume", "vol-00000000000000000"]);
    ran.failed(1, &["snapshot of vol-00000000000000000: ec2:CreateSnapshot:", "made all the same: snap-"]);
    assert_eq!(std::fs::read_to_string(c.folder.join("snapshots.jsonl")).unwrap().lines().count(), 1);
}

#[test]
fn a_dry_run_makes_nothing() {
    let c = case();
    assert!(c.hook(&["--dry-run"]).ok().contains("would be allowed"));
    assert!(c.snapshots().is_empty() && !c.folder.join("snapshots.jsonl").exists());
}

#[test]
fn it_returns_when_pending_and_waits_if_asked() {
    let c = case();
    let pending = || Fault::Rewrite("<status>completed</status>", "<status>pending</status>");
    c.proxy.fault("Action=DescribeSnapshots", 2, pending());
    assert!(c.hook(&[]).ok().contains("pending"));
    assert_eq!(c.proxy.count("Action=DescribeSnapshots"), 0);
    assert!(c.hook(&["--wait"]).ok().contains("completed"));
    assert_eq!(c.proxy.count("Action=DescribeSnapshots"), 3);
}

#[test]
fn a_wait_that_is_too_long_is_told_from_a_failure() {
    let c = case();
    c.proxy.fault("Action=DescribeSnapshots", 99, Fault::Rewrite("<status>completed</status>", "<status>pending</status>"));
    c.hook(&["--wait", "--wait-timeout", "1"]).failed(1, &["ec2:DescribeSnapshots", "not completed within 1 s", "point in time is fixed"]);
    assert_eq!(c.snapshots().len(), 2);
}

#[test]
fn throttled_calls_are_made_again() {
    let c = case();
    c.proxy.fault("Action=CreateSnapshots", 2, ec2_error(503, "RequestLimitExceeded", "slower"));
    c.hook(&[]).ok();
    assert_eq!((c.snapshots().len(), c.proxy.count("Action=CreateSnapshots")), (2, 3));
}

#[test]
fn throttled_for_good_is_one_line() {
    let c = case();
    c.proxy.fault("Action=CreateSnapshots", 99, ec2_error(503, "RequestLimitExceeded", "slower"));
    c.hook(&["--timeout", "3"]).failed(1, &["ec2:CreateSnapshots: RequestLimitExceeded: slower;", "unharmed", "less often"]);
    assert!(c.snapshots().is_empty());
    c.images_are_unharmed();
}

#[test]
fn a_lost_answer_makes_no_second_set() {
    let c = case();
    c.proxy.fault("Action=CreateSnapshots", 1, Fault::LoseAnswer);
    c.hook(&[]).ok();
    assert_eq!((c.snapshots().len(), c.proxy.count("Action=CreateSnapshots")), (2, 1));
}

#[test]
fn a_call_that_did_not_arrive_is_made_again() {
    let c = case();
    c.proxy.fault("Action=CreateSnapshots", 1, Fault::Cut);
    c.hook(&[]).ok();
    assert_eq!((c.snapshots().len(), c.proxy.count("Action=CreateSnapshots")), (2, 2));
}

#[test]
fn no_permission_names_the_one_that_is_missing() {
    let c = case();
    let message = "You are not authorized. Encoded authorization failure message: AAAA";
    c.proxy.fault("Action=CreateSnapshots", 1, ec2_error(403, "UnauthorizedOperation", message));
    c.hook(&[]).failed(1, &["UnauthorizedOperation: You are not authorized;", "allow ec2:CreateSnapshots in the policy"]);
    c.images_are_unharmed();
}

#[test]
fn expired_and_missing_credentials() {
    let c = case();
    c.proxy.fault("Action=CreateSnapshots", 1, ec2_error(400, "RequestExpired", "Request has expired."));
    c.hook(&[]).failed(1, &["RequestExpired", "renew the credentials"]);
    // Nor has the instance a role.
    run_with(&mut c.bare(&["--timeout", "5"]), &event(c.folder.path(), &c.computation)).failed(1, &["no credentials", "attach a role"]);
    c.images_are_unharmed();
}

#[test]
fn the_role_of_the_instance_gives_credentials_and_region() {
    let c = case();
    c.imds.give_role();
    run_with(c.bare(&[]).env_remove("AWS_REGION"), &event(c.folder.path(), &c.computation)).ok();
    assert!(c.proxy.count("ROLEKEY") > 0);
    assert_eq!(c.snapshots().len(), 2);
}

#[test]
fn no_answer_ends_after_the_time_given() {
    let c = case();
    c.proxy.fault("Action=", 99, Fault::Hang(Duration::from_secs(20)));
    c.hook(&["--timeout", "2"]).failed(1, &["no answer in time", "check the network"]);
    c.images_are_unharmed();
}

#[test]
fn nobody_listens() {
    let c = case();
    let mut command = c.command(&["--timeout", "2"]);
    command.env("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    run_with(&mut command, &event(c.folder.path(), &c.computation)).failed(1, &["ec2:CreateSnapshots", "check the network, the region"]);
}

#[test]
fn not_on_an_instance() {
    let c = case();
    let mut command = cloud("ec2-snapshot", &c.proxy, None);
    run_with(&mut command, &event(c.folder.path(), &c.computation)).failed(1, &["which instance this is", "--instance or --volume"]);
    let mut named = cloud("ec2-snapshot", &c.proxy, None);
    run_with(named.args(["--instance", &c.instance]), &event(c.folder.path(), &c.computation)).ok();
}

#[test]
fn started_by_hand_it_says_what_it_is_for() {
    let c = case();
    run(&mut c.command(&[])).failed(1, &["--hook post-write"]);
    let other = r#"{"event":"resumed","computation":"c","generation":1,"ckptdir":"/"}"#;
    run_with(&mut c.command(&[]), other).failed(1, &["not post-write"]);
}

#[test]
fn the_job_record_has_the_snapshots() {
    let c = case();
    let table = ckpt_cloud_tests::scratch::unique("table");
    let store = |arguments: &[&str]| run(cloud("ckpt_store", &c.proxy, None).args(arguments));
    store(&["job", "create-table", "--table", &table]).ok();
    store(&["job", "claim", "j", "--owner", "me", "--table", &table, "--ckptdir", c.folder.path().to_str().unwrap()]).ok();
    c.hook(&[]).ok();
    let record: Value = serde_json::from_str(&store(&["job", "show", "j", "--table", &table]).ok()).unwrap();
    assert_eq!((&record["snapshot_generation"], record["snapshots"].as_array().unwrap().len()), (&Value::from(3), 2));
    // The record cannot be written: the snapshots stand, beside the images they are recorded.
    c.proxy.fault("DynamoDB_20120810.PutItem", 99, dynamodb_error(400, "AccessDeniedException", "no"));
    c.hook(&[]).failed(1, &["dynamodb:PutItem", "allow dynamodb:PutItem", "made all the same: snap-"]);
    assert_eq!(std::fs::read_to_string(c.folder.join("snapshots.jsonl")).unwrap().lines().count(), 2);
}

fn vanishing(at: impl Fn(Arc<dyn Fn() + Send + Sync>) -> (&'static str, Fault)) -> Case {
    let (c, victim) = (case(), Victim::default());
    let (pattern, fault) = at(victim.kill());
    c.proxy.fault(pattern, 1, fault);
    assert_eq!(victim.run_with(&mut c.command(&["--wait"]), &event(c.folder.path(), &c.computation)).status, None);
    c.images_are_unharmed();
    c
}

#[test]
fn vanished_before_the_call_nothing_is_there() {
    let c = vanishing(|kill| ("Action=CreateSnapshots", Fault::Before(kill)));
    assert!(c.snapshots().is_empty());
    c.hook(&[]).ok();
}

#[test]
fn vanished_after_the_call_the_set_is_found_by_its_tags() {
    let c = vanishing(|kill| ("Action=CreateSnapshots", Fault::After(kill)));
    assert_eq!(c.snapshots().len(), 2);
    let listed: Value = serde_json::from_str(&run(&mut c.command(&["--list", &c.computation, "--json"])).ok()).unwrap();
    assert_eq!((&listed["generation"], listed["snapshots"].as_array().unwrap().len()), (&Value::from("3"), 2));
}

#[test]
fn vanished_while_it_waits_all_is_recorded() {
    let c = vanishing(|kill| ("Action=DescribeSnapshots", Fault::Before(kill)));
    assert_eq!(std::fs::read_to_string(c.folder.join("snapshots.jsonl")).unwrap().lines().count(), 1);
    assert_eq!(c.snapshots().len(), 2);
}

#[test]
fn a_wait_goes_through_throttling_and_names_what_stops_it() {
    let c = case();
    c.proxy.fault("Action=DescribeSnapshots", 2, ec2_error(503, "RequestLimitExceeded", "slower"));
    assert!(c.hook(&["--wait"]).ok().contains("completed"));
    let cases = [
        (ec2_error(403, "UnauthorizedOperation", "not you"), "allow ec2:DescribeSnapshots"),
        (ec2_error(400, "RequestExpired", "Request has expired."), "renew the credentials"),
        (Fault::Hang(Duration::from_secs(20)), "no answer in time"),
    ];
    for (round, (fault, word)) in cases.into_iter().enumerate() {
        c.proxy.clear();
        c.proxy.fault("Action=DescribeSnapshots", 99, fault);
        // The point in time is fixed, and recorded, whatever becomes of the wait.
        c.hook(&["--wait", "--timeout", "2", "--wait-timeout", "5"]).failed(1, &["ec2:DescribeSnapshots", word]);
        assert_eq!(std::fs::read_to_string(c.folder.join("snapshots.jsonl")).unwrap().lines().count(), round + 2);
    }
    c.images_are_unharmed();
}

#[test]
fn metadata_that_hang_end_in_time_and_tokens_are_renewed() {
    let c = case();
    c.imds.silence(Duration::from_secs(30));
    let begun = std::time::Instant::now();
    c.hook(&["--timeout", "2"]).failed(1, &["which instance this is", "IMDSv2"]);
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    c.imds.silence(Duration::ZERO);
    c.imds.expire_tokens();
    c.hook(&[]).ok();
    c.images_are_unharmed();
}

#[test]
fn a_lost_answer_that_cannot_be_looked_for_makes_no_second_set() {
    let c = case();
    c.proxy.fault("Action=CreateSnapshots", 1, Fault::LoseAnswer);
    c.proxy.fault("Action=DescribeSnapshots", 99, ec2_error(403, "UnauthorizedOperation", "not you"));
    c.hook(&["--timeout", "5"]).failed(1, &["ec2:", "allow ec2:DescribeSnapshots"]);
    assert_eq!((c.snapshots().len(), c.proxy.count("Action=CreateSnapshots")), (2, 1));
    c.images_are_unharmed();
}
