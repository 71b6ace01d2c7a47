//! ckpt_store push, pull and list, with images of a real program.

use crate::support::{wait, Account};
use ckpt_cloud_tests::programs::{cloud, contents, run, run_with};
use ckpt_cloud_tests::proxy::s3_error;
use ckpt_cloud_tests::{scratch, Computation, Fault, Proxy, Ran, Scratch, Victim};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Two generations of a counter with 48 MiB that do not change, and the event of each.
struct Images {
    _scratch: Scratch,
    first: PathBuf,
    both: PathBuf,
    event: String,
}

fn images() -> &'static Images {
    static IMAGES: OnceLock<Images> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let scratch = Scratch::new("images");
        let (first, both) = (scratch.join("first"), scratch.join("both"));
        let mut computation = Computation::new(scratch.path(), &both, &[]);
        computation.launch(48, false);
        assert_eq!(computation.checkpoint(&[]), 1);
        copy(&computation.images, &first);
        assert_eq!(computation.checkpoint(&[]), 2);
        let event = computation.event();
        computation.quit();
        let both = computation.images.clone();
        Images { _scratch: scratch, first, both, event }
    })
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for (name, bytes) in contents(from).into_iter().filter(|(n, _)| n.ends_with(".img")) {
        std::fs::write(to.join(name), bytes).unwrap();
    }
}

struct Case {
    account: Account,
    proxy: Proxy,
    bucket: String,
    folder: Scratch,
}

fn case() -> Case {
    let account = Account::open();
    let bucket = account.bucket();
    Case { account, proxy: Proxy::start(), bucket, folder: Scratch::new("store") }
}

impl Case {
    fn command(&self, verb: &str, arguments: &[&str]) -> std::process::Command {
        let mut command = cloud("ckpt_store", &self.proxy, None);
        command.arg(verb).args(arguments).args(["--store", &format!("s3://{}/some/place", self.bucket), "--job", "j"]);
        command
    }

    fn push(&self, folder: &Path) -> Ran {
        run(&mut self.command("push", &[folder.to_str().unwrap(), "--part-size", "5"]))
    }

    fn pull(&self, more: &[&str]) -> Ran {
        let target = self.folder.join("back");
        run(self.command("pull", &[target.to_str().unwrap()]).args(more))
    }

    fn list(&self) -> Vec<Value> {
        run(&mut self.command("list", &["--json"])).ok().lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    }

    fn sent_parts(&self) -> usize {
        self.proxy.count("partNumber=") - self.copied_parts()
    }

    fn copied_parts(&self) -> usize {
        self.proxy.count("x-amz-copy-source:")
    }
}

/// Images of one generation, as they are in the folder of both.
fn of(generation: u32) -> Vec<(String, Vec<u8>)> {
    contents(&images().both).into_iter().filter(|(n, _)| n.ends_with(&format!("-g{generation}.img"))).collect()
}

#[test]
fn there_and_back() {
    let c = case();
    c.push(&images().first).ok();
    let listed = c.list();
    assert_eq!((listed.len(), &listed[0]["generation"]), (1, &Value::from(1)));
    c.pull(&[]).ok();
    assert_eq!(contents(&c.folder.join("back")), contents(&images().first));
    // Nothing is fetched or sent twice.
    c.proxy.clear();
    assert!(c.pull(&[]).ok().contains("(0.0 MB fetched"));
    assert!(c.push(&images().first).ok().contains("was there already"));
    assert_eq!((c.sent_parts(), c.proxy.count("\nrange: bytes=")), (0, 0));
}

#[test]
fn a_hook_pushes_what_its_event_names() {
    let c = case();
    run_with(c.command("push", &["--hook"]).env("CKPT_CKPTDIR", "/nonexistent"), &images().event).ok();
    assert_eq!(c.list()[0]["generation"], 2);
    c.pull(&[]).ok();
    assert_eq!(contents(&c.folder.join("back")), of(2));
}

#[test]
fn a_second_generation_sends_only_what_changed() {
    let c = case();
    c.push(&images().first).ok();
    let first = c.sent_parts();
    c.proxy.clear();
    let said = c.push(&images().both).ok();
    // Of the 48 MiB that did not change a part at either end may be sent with what did.
    let (_, spared) = said.split_once("MB sent, ").expect("how much");
    let spared: f64 = spared.split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
    assert!(spared >= 38.0 && c.sent_parts() < first, "{said}: {} parts copied, {} sent, {first} at first", c.copied_parts(), c.sent_parts());
    c.pull(&["--generation", "2"]).ok();
    assert_eq!(contents(&c.folder.join("back")), of(2));
}

#[test]
fn a_copy_that_is_refused_is_sent() {
    let c = case();
    c.push(&images().first).ok();
    c.proxy.clear();
    c.proxy.fault("x-amz-copy-source:", 99, s3_error(403, "AccessDenied", "no"));
    c.push(&images().both).ok();
    c.pull(&[]).ok();
    assert_eq!(contents(&c.folder.join("back")), of(2));
}

/// Kills a push at a request, as an instance that vanishes does.
fn vanishing_push(c: &Case, pattern: &str, skip: usize, fault: impl Fn(Arc<dyn Fn() + Send + Sync>) -> Fault) {
    let victim = Victim::default();
    c.proxy.fault_after(pattern, skip, 1, fault(victim.kill()));
    let folder = images().first.display().to_string();
    assert_eq!(victim.run(&mut c.command("push", &[&folder, "--part-size", "5", "--parallel", "1"])).status, None);
}

#[test]
fn a_push_that_was_cut_off_is_gone_on_with() {
    let c = case();
    vanishing_push(&c, "partNumber=", 3, Fault::Before);
    assert!(c.list().is_empty());
    c.pull(&[]).failed(4, &["no complete checkpoint there"]);
    c.proxy.clear();
    let said = c.push(&images().first).ok();
    assert!(said.contains("MB were there") && !said.contains(" 0.0 MB were there"), "{said}");
    c.pull(&[]).ok();
    assert_eq!(contents(&c.folder.join("back")), contents(&images().first));
}

#[test]
fn without_its_manifest_a_generation_does_not_exist() {
    let c = case();
    vanishing_push(&c, "manifest.json", 0, Fault::Before);
    assert_eq!(c.account.keys(&c.bucket).len(), 1, "the image is there");
    assert!(c.list().is_empty());
    c.push(&images().first).ok();
    assert_eq!(c.list().len(), 1);
}

#[test]
fn a_manifest_that_was_written_counts_though_nobody_heard() {
    let c = case();
    c.proxy.fault_after("manifest.json", 0, 1, Fault::LoseAnswer);
    c.push(&images().first).ok();
    assert_eq!(c.list().len(), 1);
}

#[test]
fn old_generations_go_and_what_is_shared_stays() {
    let c = case();
    c.push(&images().first).ok();
    run(&mut c.command("push", &[images().both.to_str().unwrap(), "--part-size", "5", "--keep", "1"])).ok();
    let listed = c.list();
    assert_eq!((listed.len(), &listed[0]["generation"]), (1, &Value::from(2)));
    assert!(c.account.keys(&c.bucket).iter().all(|k| k.contains("-g000002-")));
    c.pull(&[]).ok();
    assert_eq!(contents(&c.folder.join("back")), of(2));
}

#[test]
fn trouble_that_passes_is_waited_out() {
    let c = case();
    c.proxy.fault("partNumber=", 2, s3_error(503, "SlowDown", "slower"));
    c.proxy.fault_after("partNumber=", 1, 1, Fault::Cut);
    c.proxy.fault("manifest.json", 1, s3_error(500, "InternalError", "oops"));
    c.push(&images().first).ok();
    c.proxy.fault("\nrange: bytes=", 1, s3_error(503, "SlowDown", "slower"));
    c.pull(&[]).ok();
    assert_eq!(contents(&c.folder.join("back")), contents(&images().first));
}

#[test]
fn faults_are_one_line_and_harm_nothing() {
    let c = case();
    let before = contents(&images().first);
    c.proxy.fault("uploads", 1, s3_error(403, "AccessDenied", "Access Denied"));
    c.proxy.fault("uploads", 9, s3_error(403, "AccessDenied", "Access Denied"));
    c.push(&images().first).failed(1, &["AccessDenied: Access Denied", "allow s3:PutObject in the policy"]);
    c.proxy.clear();
    c.proxy.fault("partNumber=", 1, s3_error(400, "ExpiredToken", "The provided token has expired."));
    c.push(&images().first).failed(1, &["ExpiredToken", "renew the credentials"]);
    c.proxy.clear();
    c.proxy.fault("list-type=2", 9, Fault::Hang(Duration::from_secs(20)));
    run(&mut c.command("list", &["--timeout", "2"])).failed(1, &["s3:ListBucket", "no answer in time"]);
    c.proxy.clear();
    let mut other = cloud("ckpt_store", &c.proxy, None);
    run(other.args(["list", "--store", "s3://no-such-bucket-here"])).failed(1, &["NoSuchBucket", "check the name"]);
    let mut wrong = cloud("ckpt_store", &c.proxy, None);
    run(wrong.args(["list", "--store", "http://b"])).failed(1, &["s3://BUCKET/PREFIX is wanted"]);
    c.push(&c.folder.join("nothing")).failed(1, &["nothing: No such file"]);
    assert_eq!(contents(&images().first), before);
    c.push(&images().first).ok();
}

#[test]
fn an_object_that_was_changed_is_refused() {
    let c = case();
    c.push(&images().first).ok();
    let key = c.account.keys(&c.bucket).into_iter().find(|k| k.ends_with(".img")).unwrap();
    let bytes = aws_sdk_s3::primitives::ByteStream::from(vec![7u8; 100]);
    wait(c.account.s3().put_object().bucket(&c.bucket).key(&key).body(bytes).send()).unwrap();
    let ran = c.pull(&[]);
    assert_eq!((ran.status, ran.err.lines().count()), (Some(1), 1), "{ran:?}");
    assert!(!c.folder.join("back").join(key.rsplit('/').next().unwrap()).exists());
}

#[test]
fn a_pull_that_was_cut_off_is_gone_on_with() {
    let c = case();
    c.push(&images().first).ok();
    let parts = c.sent_parts();
    c.proxy.clear();
    c.proxy.fault_after("\nrange: bytes=", 3, 99, s3_error(403, "AccessDenied", "no"));
    let parallel = ["--parallel", "1"];
    c.pull(&parallel).failed(1, &["allow s3:GetObject"]);
    assert!(contents(&c.folder.join("back")).iter().all(|(n, _)| n.starts_with('.')), "a file has its name before it is whole");
    c.proxy.clear();
    c.pull(&parallel).ok();
    assert!(c.proxy.count("\nrange: bytes=") < parts, "parts were fetched again");
    assert_eq!(contents(&c.folder.join("back")), contents(&images().first));
}

#[test]
fn a_pull_that_vanished_is_gone_on_with_and_what_is_damaged_is_fetched_again() {
    let c = case();
    c.push(&images().first).ok();
    let parts = c.sent_parts();
    c.proxy.clear();
    let (victim, back) = (Victim::default(), c.folder.join("back"));
    c.proxy.fault_after("\nrange: bytes=", 4, 1, Fault::Before(victim.kill()));
    let folder = back.display().to_string();
    assert_eq!(victim.run(&mut c.command("pull", &[&folder, "--parallel", "1"])).status, None);
    assert!(contents(&back).iter().all(|(n, _)| n.starts_with('.')), "a file has its name before it is whole");
    // A byte of what had arrived is another one now.
    let unfinished = contents(&back).into_iter().find(|(n, _)| n.ends_with(".part")).unwrap().0;
    flip(&back.join(unfinished), 1000);
    c.proxy.clear();
    c.pull(&["--parallel", "1"]).ok();
    assert!(c.proxy.count("\nrange: bytes=") < parts, "all was fetched again");
    assert_eq!(contents(&back), contents(&images().first));
    // The same of a file that was whole.
    let (name, whole) = contents(&back).remove(0);
    flip(&back.join(name), whole.len() / 2);
    c.proxy.clear();
    c.pull(&[]).ok();
    assert_eq!(contents(&back), contents(&images().first));
}

/// Another byte at this place.
fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0x55;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn what_is_damaged_here_is_not_sent() {
    let c = case();
    let folder = c.folder.join("damaged");
    copy(&images().first, &folder);
    let (name, bytes) = contents(&folder).remove(0);
    flip(&folder.join(&name), bytes.len() / 2);
    c.push(&folder).failed(1, &[&name, "damaged"]);
    std::fs::write(folder.join(&name), &bytes[..bytes.len() - 1]).unwrap();
    c.push(&folder).failed(1, &["no complete checkpoint here"]);
    assert!(c.account.keys(&c.bucket).is_empty());
}

#[test]
fn bytes_that_change_on_the_way_are_fetched_again() {
    let c = case();
    c.push(&images().first).ok();
    // What this does to bytes that are no text changes them.
    c.proxy.fault("\nrange: bytes=", 2, Fault::Rewrite("nothing of this", "kind"));
    c.pull(&["--parallel", "1"]).ok();
    assert_eq!(contents(&c.folder.join("back")), contents(&images().first));
    std::fs::remove_dir_all(c.folder.join("back")).unwrap();
    c.proxy.clear();
    c.proxy.fault("\nrange: bytes=", 99, Fault::Rewrite("nothing of this", "kind"));
    let ran = c.pull(&["--parallel", "1"]);
    assert_eq!((ran.status, ran.err.lines().count()), (Some(1), 1), "{ran:?}");
    assert!(contents(&c.folder.join("back")).iter().all(|(n, _)| n.starts_with('.')));
}

#[test]
fn folders_of_single_checkpoints_are_found() {
    let c = case();
    let all = c.folder.join("images");
    for generation in [1, 2] {
        let one = all.join(format!("ckpt-0a1b2c3d-g{generation}"));
        std::fs::create_dir_all(&one).unwrap();
        of(generation).into_iter().for_each(|(name, bytes)| std::fs::write(one.join(name), bytes).unwrap());
    }
    c.push(&all).ok();
    assert_eq!(c.list()[0]["generation"], 2);
    // One of them by hand.
    c.push(&all.join("ckpt-0a1b2c3d-g1")).ok();
    let listed: Vec<Value> = c.list().iter().map(|m| m["generation"].clone()).collect();
    assert_eq!(listed.len(), 2, "{listed:?}");
    c.pull(&["--generation", "1"]).ok();
    assert_eq!(contents(&c.folder.join("back")), of(1));
}

#[test]
fn encrypted_images_go_as_they_are_with_those_they_build_on() {
    let c = case();
    let folder = c.folder.join("sealed");
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["sealed-chain-1.img", "sealed-chain-2.img"] {
        let from = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/");
        std::fs::copy(Path::new(from).join(name), folder.join(name)).unwrap();
    }
    c.push(&folder).ok();
    c.pull(&[]).ok();
    assert_eq!(contents(&c.folder.join("back")), contents(&folder));
}

#[test]
fn vanished_between_manifest_and_record_the_next_push_records_it() {
    let c = case();
    let table = scratch::unique("table");
    let folder = c.folder.join("images");
    copy(&images().first, &folder);
    let path = folder.display().to_string();
    let store = |arguments: &[&str]| run(cloud("ckpt_store", &c.proxy, None).args(arguments)).ok();
    store(&["job", "create-table", "--table", &table]);
    store(&["job", "claim", "j", "--owner", "a", "--table", &table, "--ckptdir", &path]);
    let victim = Victim::default();
    // The first write of a push says that its owner lives, the second names the checkpoint.
    c.proxy.clear();
    c.proxy.fault_after("DynamoDB_20120810.PutItem", 1, 1, Fault::Before(victim.kill()));
    assert_eq!(victim.run(&mut c.command("push", &[&path, "--part-size", "5"])).status, None);
    let named = || serde_json::from_str::<Value>(&store(&["job", "show", "j", "--table", &table])).unwrap()["folder"].clone();
    assert_eq!((c.list().len(), named()), (1, Value::from("")));
    run(&mut c.command("pull", &[&path])).failed(4, &["no complete checkpoint"]);
    c.pull(&["--generation", "1"]).ok();
    assert!(run(&mut c.command("push", &[&path])).ok().contains("was there already"));
    assert!(named().as_str().unwrap().contains("-g000001-"), "{}", named());
}

#[test]
fn transfers_that_hang_or_whose_credentials_expire_are_gone_on_with() {
    let c = case();
    let folder = images().first.display().to_string();
    let hasty = |verb: &str, more: &[&str]| run(c.command(verb, more).args(["--timeout", "3", "--parallel", "1"]));
    c.proxy.fault_after("partNumber=", 2, 99, Fault::Hang(Duration::from_secs(20)));
    hasty("push", &[&folder, "--part-size", "5"]).failed(1, &["s3:PutObject", "no answer in time"]);
    assert!(c.list().is_empty());
    c.proxy.clear();
    let said = c.push(&images().first).ok();
    assert!(!said.contains(" 0.0 MB were there"), "{said}");
    let back = c.folder.join("back").display().to_string();
    c.proxy.fault_after("\nrange: bytes=", 2, 99, Fault::Hang(Duration::from_secs(20)));
    hasty("pull", &[&back]).failed(1, &["s3:GetObject", "no answer in time"]);
    c.proxy.clear();
    c.proxy.fault("\nrange: bytes=", 99, s3_error(400, "ExpiredToken", "The provided token has expired."));
    c.pull(&[]).failed(1, &["ExpiredToken", "renew the credentials"]);
    c.proxy.clear();
    c.pull(&[]).ok();
    assert_eq!(contents(&c.folder.join("back")), contents(&images().first));
}
