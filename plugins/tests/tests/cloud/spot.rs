//! ckpt_spot, with a real program and a notice from instance metadata of our own.

use ckpt_cloud_tests::programs::{ckpt, cloud, contents, run, start, until};
use ckpt_cloud_tests::proxy::dynamodb_error;
use ckpt_cloud_tests::{scratch, Computation, Imds, Proxy, Ran, Scratch};
use serde_json::Value;
use std::process::{Child, Command};

struct Case {
    proxy: Proxy,
    imds: Imds,
    /// before its folder, which goes last
    computation: Computation,
    folder: Scratch,
}

fn case() -> Case {
    case_with(|_| Vec::new())
}

/// With options for the coordinator.
fn case_with(options: impl Fn(&Scratch) -> Vec<String>) -> Case {
    let folder = Scratch::new("spot");
    let options = options(&folder);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let mut computation = Computation::new(folder.path(), folder.path(), &options);
    computation.launch(1, false);
    Case { proxy: Proxy::start(), imds: Imds::start("i-1"), folder, computation }
}

impl Case {
    fn command(&self, imds: Option<&Imds>, arguments: &[&str]) -> Command {
        let mut command = cloud("ckpt_spot", &self.proxy, imds);
        command.env("CKPT_TMPDIR", &self.computation.folder).arg("--ckpt-command").arg(ckpt("ckpt_command"));
        command.args(["-p", &self.computation.port.to_string(), "--poll", "0.1", "--ckptdir"]).arg(&self.computation.images);
        command.args(arguments);
        command
    }

    fn watch(&self, arguments: &[&str]) -> Child {
        start(&mut self.command(Some(&self.imds), arguments))
    }

    fn last(&self) -> Value {
        self.computation.status()["last"]["generation"].clone()
    }

    fn job(&self, arguments: &[&str]) {
        run(cloud("ckpt_store", &self.proxy, None).arg("job").args(arguments)).ok();
    }

    /// The images' folder belongs to job j of owner a; its table and the folder.
    fn claimed(&self) -> (String, String) {
        let (table, images) = (scratch::unique("table"), self.computation.images.display().to_string());
        self.job(&["create-table", "--table", &table]);
        self.job(&["claim", "j", "--owner", "a", "--lease", "3", "--table", &table, "--ckptdir", &images]);
        (table, images)
    }
}

fn end(child: Child) -> Ran {
    Ran::of(child.wait_with_output().unwrap())
}

/// The watch ended after a notice and all that it brings.
#[track_caller]
fn noticed(child: Child) -> String {
    let ran = end(child);
    assert_eq!(ran.status, Some(5), "{ran:?}");
    ran.out
}

#[test]
fn a_notice_brings_a_last_checkpoint_and_what_comes_then() {
    let mut c = case();
    let mark = c.folder.join("uploaded");
    let line = format!("echo \"$CKPT_NOTICE $(ls \"$CKPT_CKPTDIR\")\" > {}", mark.display());
    let watch = c.watch(&["--then", &line]);
    c.computation.goes_on();
    c.imds.notice("terminate");
    let said = noticed(watch);
    assert!(said.contains("notice: terminate at 2026-01-01T08:22:00Z") && said.contains("last checkpoint complete"), "{said}");
    c.computation.ended();
    let uploaded = std::fs::read_to_string(mark).unwrap();
    assert!(uploaded.starts_with("terminate ") && uploaded.contains("-g1.img"), "{uploaded}");
    // What was counted when it ended is what the checkpoint has: nothing is lost.
    c.computation = Computation::new(c.folder.path(), c.folder.path(), &[]);
    c.computation.restart(&[]);
    c.computation.goes_on();
}

#[test]
fn the_programs_run_on_if_asked() {
    let mut c = case();
    c.imds.notice("stop");
    noticed(c.watch(&["--no-kill"]));
    assert_eq!(c.last(), 1);
    c.computation.goes_on();
}

#[test]
fn an_upload_that_fails_is_told() {
    let c = case();
    c.imds.notice("terminate");
    end(c.watch(&["--then", "exit 7"])).failed(1, &["`exit 7` ended with exit status: 7", "the images are in"]);
    assert!(contents(&c.computation.images).iter().any(|(n, _)| n.ends_with("-g1.img")));
}

#[test]
fn a_recommendation_brings_one_checkpoint() {
    let mut c = case();
    c.imds.set("events/recommendations/rebalance", r#"{"noticeTime": "2026-01-01T08:00:00Z"}"#);
    let watch = c.watch(&[]);
    until("a checkpoint", || c.last() == 1);
    c.computation.goes_on();
    assert_eq!(c.last(), 1, "one for each recommendation");
    c.imds.notice("terminate");
    noticed(watch);
    c.computation.ended();
}

#[test]
fn the_interval_is_set_from_cost_and_failure_rate() {
    let mut c = case();
    let watch = c.watch(&["--interval", "auto", "--mtbf", "0.5"]);
    until("an interval", || c.computation.status()["interval"].as_u64().unwrap() > 0);
    let status = c.computation.status();
    let (interval, cost) = (status["interval"].as_f64().unwrap(), status["last"]["duration_us"].as_f64().unwrap() / 1e6);
    let young = (2.0 * cost * 1800.0).sqrt();
    assert!((interval - young).abs() < 2.0 + 0.25 * young, "{interval} s for a cost of {cost} s, Young says {young} s");
    c.computation.goes_on();
    c.computation.quit();
    assert!(end(watch).ok().contains("the programs have ended"));
}

#[test]
fn without_metadata_it_says_so_once_and_the_program_runs_on() {
    let mut c = case();
    let watch = start(&mut c.command(None, &["--interval", "3600"]));
    until("an interval", || c.computation.status()["interval"] == 3600);
    c.computation.goes_on();
    c.computation.quit();
    let said = end(watch).ok();
    assert_eq!(said.matches("watch for a notice").count(), 1, "{said}");
}

#[test]
fn with_nothing_to_watch_it_ends() {
    let mut c = case();
    c.computation.quit();
    assert!(end(c.watch(&[])).ok().contains("the programs have ended"));
    c.imds.notice("terminate");
    assert!(end(c.watch(&[])).ok().contains("the programs have ended"));
}

#[test]
fn the_owner_of_the_job_beats_and_one_that_lost_it_stops() {
    let mut c = case();
    let (table, images) = c.claimed();
    let watch = c.watch(&["--fence"]);
    let beats = || c.proxy.count("DynamoDB_20120810.PutItem");
    let before = beats();
    until("two beats", || beats() >= before + 2);
    // Another takes the job over by force of its record: here it is given up for us.
    c.job(&["end", "interrupted", "--ckptdir", &images]);
    let elsewhere = c.folder.join("b").display().to_string();
    c.job(&["claim", "j", "--owner", "b", "--wait", "0", "--table", &table, "--ckptdir", &elsewhere]);
    let ran = end(watch);
    assert_eq!(ran.status, Some(3), "{ran:?}");
    assert!(ran.err.contains("is owned by b now") || ran.err.contains("must not go on"), "{ran:?}");
    assert!(ran.err.contains("were ended (--fence)"), "{ran:?}");
    c.computation.ended();
}

#[test]
fn metadata_that_hang_or_whose_token_expires_do_not_hide_a_notice() {
    let mut c = case();
    c.imds.silence(std::time::Duration::from_secs(30));
    let watch = c.watch(&["--interval", "3600"]);
    until("an interval, though metadata are silent", || c.computation.status()["interval"] == 3600);
    c.computation.goes_on();
    c.imds.silence(std::time::Duration::ZERO);
    c.imds.expire_tokens();
    c.imds.notice("terminate");
    let said = noticed(watch);
    assert_eq!(said.matches("watch for a notice").count(), 1, "{said}");
    c.computation.ended();
}

#[test]
fn a_last_checkpoint_that_fails_at_first_is_tried_again() {
    let mut c = case_with(|folder| vec!["--hook".into(), format!("pre-checkpoint=test ! -e {}", folder.join("not-now").display())]);
    std::fs::write(c.folder.join("not-now"), "").unwrap();
    c.imds.notice("terminate");
    let watch = c.watch(&[]);
    until("a failure", || c.computation.status()["last_failure"].is_string());
    c.computation.goes_on();
    std::fs::remove_file(c.folder.join("not-now")).unwrap();
    let said = noticed(watch);
    assert!(said.contains("trying again") && said.contains("last checkpoint complete"), "{said}");
    c.computation.ended();
}

#[test]
fn a_record_that_cannot_be_written_is_said_once_and_the_watch_goes_on() {
    let mut c = case();
    c.claimed();
    let beats = |c: &Case| c.proxy.count("DynamoDB_20120810.PutItem");
    let faults = [
        ("AccessDeniedException", "allow dynamodb:"),
        ("ExpiredTokenException", "renew the credentials"),
    ];
    for (code, word) in faults {
        c.proxy.fault("DynamoDB_20120810.", 6, dynamodb_error(400, code, "no"));
        let watch = c.watch(&["--interval", "3600"]);
        let before = beats(&c);
        // Six looks fail, one each 0.1 s; then it beats.
        until("beats again", || beats(&c) >= before + 2);
        c.computation.goes_on();
        c.proxy.clear();
        let mut watch = watch;
        watch.kill().unwrap();
        let ran = end(watch);
        assert_eq!(ran.out.matches(word).count(), 1, "{ran:?}");
    }
    // At the notice: the checkpoint and what comes then are done, the failure is told.
    c.imds.notice("terminate");
    let mark = c.folder.join("uploaded");
    c.proxy.fault("DynamoDB_20120810.PutItem", 99, dynamodb_error(400, "AccessDeniedException", "no"));
    let ran = end(c.watch(&["--then", &format!("touch {}", mark.display())]));
    assert!(ran.status == Some(1) && ran.err.contains("allow dynamodb:PutItem"), "{ran:?}");
    assert!(mark.exists());
    c.computation.ended();
}
