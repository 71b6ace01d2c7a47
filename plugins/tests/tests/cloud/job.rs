//! The job record: one owner at a time, whatever happens.

use ckpt_cloud_tests::programs::{cloud, run, start};
use ckpt_cloud_tests::proxy::dynamodb_error;
use ckpt_cloud_tests::{scratch, Fault, Proxy, Ran, Scratch, Victim};
use serde_json::Value;
use std::time::Instant;

struct Case {
    proxy: Proxy,
    table: String,
    folder: Scratch,
}

fn case() -> Case {
    let c = Case { proxy: Proxy::start(), table: scratch::unique("table"), folder: Scratch::new("job") };
    run(cloud("ckpt_store", &c.proxy, None).args(["job", "create-table", "--table", &c.table])).ok();
    c
}

impl Case {
    fn folder(&self, owner: &str) -> String {
        self.folder.join(owner).display().to_string()
    }

    fn claiming(&self, owner: &str, more: &[&str]) -> std::process::Command {
        let mut command = cloud("ckpt_store", &self.proxy, None);
        command.args(["job", "claim", "j", "--owner", owner, "--table", &self.table, "--ckptdir", &self.folder(owner)]).args(more);
        command
    }

    fn claim(&self, owner: &str, more: &[&str]) -> Ran {
        run(&mut self.claiming(owner, more))
    }

    fn end(&self, owner: &str, state: &str) -> Ran {
        run(cloud("ckpt_store", &self.proxy, None).args(["job", "end", state, "--ckptdir", &self.folder(owner)]))
    }

    fn show(&self) -> Value {
        let shown = run(cloud("ckpt_store", &self.proxy, None).args(["job", "show", "j", "--table", &self.table]));
        serde_json::from_str(&shown.ok()).unwrap()
    }
}

#[test]
fn a_table_that_is_there_is_fine() {
    let c = case();
    run(cloud("ckpt_store", &c.proxy, None).args(["job", "create-table", "--table", &c.table])).ok();
}

#[test]
fn one_owner_until_it_gives_up() {
    let c = case();
    c.claim("a", &[]).ok();
    c.claim("b", &["--wait", "0"]).failed(3, &["job j is owned by a", "without a sign of life"]);
    c.end("b", "done").failed(1, &["no job was claimed"]);
    c.end("a", "interrupted").ok();
    c.claim("b", &["--wait", "0"]).ok();
    c.end("a", "done").failed(3, &["is owned by b now", "must not go on"]);
    assert_eq!((&c.show()["owner"], &c.show()["interruptions"]), (&Value::from("b"), &Value::from(1)));
    c.end("b", "done").ok();
    c.claim("c", &["--wait", "0"]).failed(3, &["is done", "--again"]);
    c.claim("c", &["--again"]).ok();
}

#[test]
fn an_owner_without_a_sign_of_life_is_followed() {
    let c = case();
    c.claim("a", &["--lease", "2"]).ok();
    let clock = Instant::now();
    c.claim("b", &[]).ok();
    assert!(clock.elapsed().as_secs_f64() >= 2.0, "an owner was followed before its lease was over");
    c.end("a", "done").failed(3, &["is owned by b now"]);
}

#[test]
fn of_many_that_want_it_one_gets_it() {
    let c = case();
    let names = ["a", "b", "c", "d", "e", "f"];
    let started: Vec<_> = names.iter().map(|n| start(&mut c.claiming(n, &["--wait", "0"]))).collect();
    let ran: Vec<Ran> = started.into_iter().map(|child| Ran::of(child.wait_with_output().unwrap())).collect();
    let winners: Vec<&str> = names.iter().zip(&ran).filter(|(_, r)| r.status == Some(0)).map(|(n, _)| *n).collect();
    assert_eq!(winners.len(), 1, "{ran:?}");
    assert!(ran.iter().all(|r| matches!(r.status, Some(0 | 3))), "{ran:?}");
    assert_eq!(c.show()["owner"], winners[0]);
}

#[test]
fn an_answer_that_was_lost_is_not_taken_for_anothers_claim() {
    let c = case();
    c.proxy.fault("DynamoDB_20120810.PutItem", 1, Fault::LoseAnswer);
    c.claim("a", &["--wait", "0"]).ok();
    assert_eq!((&c.show()["owner"], &c.show()["epoch"]), (&Value::from("a"), &Value::from(1)));
}

#[test]
fn faults_are_one_line() {
    let c = case();
    c.proxy.fault("DynamoDB_20120810.GetItem", 1, dynamodb_error(400, "AccessDeniedException", "User is not authorized"));
    c.claim("a", &[]).failed(1, &["record of job j", "allow dynamodb:GetItem"]);
    c.proxy.fault("DynamoDB_20120810.PutItem", 1, dynamodb_error(400, "ExpiredTokenException", "The security token is expired"));
    c.claim("a", &[]).failed(1, &["dynamodb:PutItem", "renew the credentials"]);
    let mut other = cloud("ckpt_store", &c.proxy, None);
    run(other.args(["job", "show", "j", "--table", "no-such-table"])).failed(1, &["ResourceNotFoundException", "check the name and the region"]);
    c.proxy.fault("DynamoDB_20120810.GetItem", 2, dynamodb_error(400, "ProvisionedThroughputExceededException", "slower"));
    c.claim("a", &[]).ok();
}

#[test]
fn a_table_that_hangs_ends_in_time() {
    let c = case();
    c.proxy.fault("DynamoDB_20120810.", 99, Fault::Hang(std::time::Duration::from_secs(20)));
    c.claim("a", &["--timeout", "2"]).failed(1, &["record of job j", "no answer in time"]);
    c.proxy.clear();
    let mut table = cloud("ckpt_store", &c.proxy, None);
    c.proxy.fault("DynamoDB_20120810.CreateTable", 9, dynamodb_error(400, "AccessDeniedException", "not you"));
    run(table.args(["job", "create-table", "--table", "another"])).failed(1, &["allow dynamodb:CreateTable"]);
}

#[test]
fn who_vanishes_in_its_claim_is_followed() {
    for carried_out in [false, true] {
        let c = case();
        let victim = Victim::default();
        let kill = victim.kill();
        c.proxy.fault("DynamoDB_20120810.PutItem", 1, if carried_out { Fault::After(kill) } else { Fault::Before(kill) });
        assert_eq!(victim.run(&mut c.claiming("a", &["--lease", "2"])).status, None);
        c.claim("b", &[]).ok();
        assert_eq!(c.show()["owner"], "b");
    }
}
