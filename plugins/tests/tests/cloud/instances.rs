//! The whole story, as in examples/spot: an instance works on a job, gets its notice and is gone; the next goes on, under
//! another name and with nothing in /tmp; one vanishes without a word; the last brings the job to its end.

use crate::support::Account;
use ckpt_cloud_tests::programs::{counted, environment, install, run, until};
use ckpt_cloud_tests::{instance, scratch, Imds, Instance, Proxy, Ran, Scratch};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

struct Story {
    proxy: Proxy,
    scratch: Scratch,
    bin: PathBuf,
    store: String,
    table: String,
}

/// One instance at work.
struct At {
    instance: Instance,
    imds: Imds,
    work: Child,
}

/// Counts to its end, which is a file that the test makes; nobody else has its data folder but instances of this job.
const PROGRAM: &str = r"
import os, sys, time, socket
path = sys.argv[1]
f = open(path, 'r+b' if os.path.exists(path) else 'w+b', buffering=0)
n = 0
memory = bytearray(os.urandom(6 << 20))
while not os.path.exists(path + '.end'):
    n += 1
    f.seek(9 * n - 9)
    f.write(b'%08d\n' % n)
    time.sleep(0.01)
print('counted to', n, flush=True)
";

impl Story {
    fn begin() -> Story {
        let account = Account::open();
        let (proxy, scratch) = (Proxy::start(), Scratch::new("story"));
        std::fs::create_dir_all(scratch.join("shared")).unwrap();
        let bin = install(scratch.path());
        let store = format!("s3://{}/jobs", account.bucket());
        let story = Story { proxy, scratch, bin, store, table: scratch::unique("table") };
        story.tool(&["job", "create-table", "--table", &story.table]).ok();
        story
    }

    fn tool(&self, arguments: &[&str]) -> Ran {
        let mut command = std::process::Command::new(self.bin.join("ckpt_store"));
        environment(&mut command, &self.proxy, None);
        run(command.args(arguments))
    }

    fn record(&self) -> Value {
        serde_json::from_str(&self.tool(&["job", "show", "count", "--table", &self.table]).ok()).unwrap()
    }

    fn count(&self) -> PathBuf {
        self.scratch.join("shared/count")
    }

    /// What user data does, on a new instance.
    fn boot(&self, id: &str) -> At {
        let (instance, imds) = (Instance::boot(&format!("host-of-{id}")), Imds::start(id));
        imds.give_role();
        let work = self.work(&instance, &imds);
        At { instance, imds, work }
    }

    fn work(&self, instance: &Instance, imds: &Imds) -> Child {
        let log = std::fs::File::options().create(true).append(true).open(self.scratch.join("log")).unwrap();
        let mut command = instance.command(&self.bin.join("start-or-resume"), Path::new("/tmp"));
        environment(&mut command, &self.proxy, Some(imds));
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY").env_remove("AWS_REGION");
        command.env("PATH", format!("{}:/usr/bin:/bin", self.bin.display())).env("HOME", "/tmp");
        command.env("CKPT_STORE", &self.store).env("CKPT_JOB", "count").env("CKPT_JOB_TABLE", &self.table);
        command.env("CKPT_CKPTDIR", "/tmp/images").env("CKPT_TMPDIR", "/tmp/run").env("CKPT_LEASE", "6").env("CKPT_INTERVAL", "1");
        command.args(["/usr/bin/python3", "-c", PROGRAM]).arg(self.count());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.join("log")).unwrap_or_default()
    }

    #[track_caller]
    fn counts_on(&self, at: &mut At) {
        let before = counted(&self.count());
        until("the count goes on", || {
            assert!(at.work.try_wait().unwrap().is_none(), "{}", self.log());
            counted(&self.count()) > before + 20
        });
    }
}

#[test]
fn a_job_goes_on_from_instance_to_instance() {
    if let Some(why) = instance::missing() {
        println!("SKIPPED a job over several instances: {why}");
        return;
    }
    let story = Story::begin();

    // The first starts it, gets its notice, and is gone.
    let mut a = story.boot("i-a");
    story.counts_on(&mut a);
    assert_eq!(story.record()["owner"], "i-a");
    a.imds.notice("terminate");
    assert_eq!(a.work.wait().unwrap().code(), Some(5), "{}", story.log());
    a.instance.vanish();
    let left = counted(&story.count());
    assert_eq!(story.record()["state"], "interrupted");

    // The second goes on where it stood: the next number is the one after the last.
    let mut b = story.boot("i-b");
    story.counts_on(&mut b);
    let record = story.record();
    assert_eq!((&record["owner"], &record["epoch"], &record["state"]), (&Value::from("i-b"), &Value::from(2), &Value::from("running")));
    println!("STORY the count stood at {left} when the first instance was gone, and went on to {} on the second", counted(&story.count()));

    // It vanishes without a word, once a checkpoint of its own is in the store.
    until("a checkpoint of the second in the store", || story.record()["folder"].as_str().unwrap().starts_with("e000002-"));
    b.instance.vanish();
    let _ = b.work.wait();
    let left = counted(&story.count());

    // The third waits until the second gave no sign of life for its lease, and goes on from the newest checkpoint.
    let mut c = story.boot("i-c");
    until("the count goes past where it stood", || {
        assert!(c.work.try_wait().unwrap().is_none(), "{}", story.log());
        counted(&story.count()) > left
    });
    assert_eq!((&story.record()["owner"], &story.record()["interruptions"]), (&Value::from("i-c"), &Value::from(2)));

    // The program ends, and with it the job: a fourth has nothing to do.
    std::fs::write(story.scratch.join("shared/count.end"), "").unwrap();
    assert_eq!(c.work.wait().unwrap().code(), Some(0), "{}", story.log());
    assert_eq!(story.record()["state"], "done");
    let mut d = story.boot("i-d");
    assert_eq!(d.work.wait().unwrap().code(), Some(3), "{}", story.log());
    assert!(story.log().contains("job count is done"), "{}", story.log());
}

#[test]
fn two_instances_never_both_work() {
    if let Some(why) = instance::missing() {
        println!("SKIPPED two instances at once: {why}");
        return;
    }
    let story = Story::begin();
    let mut a = story.boot("i-a");
    story.counts_on(&mut a);
    // A second claims while the first lives: it waits, and gets nothing.
    let imds = Imds::start("i-b");
    imds.give_role();
    let folder = story.scratch.join("b").display().to_string();
    let ran = story.tool(&["job", "claim", "count", "--owner", "i-b", "--wait", "8", "--table", &story.table, "--ckptdir", &folder]);
    ran.failed(3, &["is owned by i-a"]);
    story.counts_on(&mut a);
    a.instance.vanish();
    let _ = a.work.wait();
}

/// The commands of examples/spot/README.md: each block of indented lines as one text for a shell.
fn page() -> Vec<String> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/spot/README.md")).unwrap();
    let mut blocks = vec![String::new()];
    for line in page.lines() {
        match line.strip_prefix("    ") {
            Some(command) => blocks.last_mut().unwrap().push_str(&format!("{command}\n")),
            None if !blocks.last().unwrap().is_empty() => blocks.push(String::new()),
            None => {}
        }
    }
    blocks.retain(|block| !block.is_empty());
    blocks
}

#[test]
fn the_page_as_it_stands() {
    if let Some(why) = instance::missing() {
        println!("SKIPPED the commands of the page: {why}");
        return;
    }
    let (account, proxy, scratch) = (Account::open(), Proxy::start(), Scratch::new("page"));
    crate::support::wait(account.s3().create_bucket().bucket("my-bucket").send()).unwrap();
    let bin = install(scratch.path());
    let folder = scratch.join("work");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("simulate"), format!("#!/usr/bin/python3\n{PROGRAM}")).unwrap();
    std::process::Command::new("chmod").arg("+x").arg(folder.join("simulate")).status().unwrap();
    let count = folder.join("input");
    let log = || std::fs::File::options().create(true).append(true).open(scratch.join("log")).unwrap();
    let said = || std::fs::read_to_string(scratch.join("log")).unwrap_or_default();
    // Seconds are shorter than in earnest, and folders in /tmp; all else is as the page has it.
    let type_in = |block: &str, on: &Instance, imds: &Imds| {
        let mut command = on.command(Path::new("/bin/bash"), &folder);
        environment(&mut command, &proxy, Some(imds));
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY").env_remove("AWS_REGION");
        command.env("PATH", format!("{}:/usr/bin:/bin", bin.display())).env("HOME", "/tmp");
        command.env("CKPT_TMPDIR", "/tmp/run").env("CKPT_CKPTDIR", "/tmp/images").env("CKPT_LEASE", "6").env("CKPT_INTERVAL", "1");
        // Instances have the host's network here: what comes by hand must not meet the coordinator of somebody else.
        command.env("CKPT_COORD_PORT", "0").args(["-e", "-c", block]).stdin(Stdio::null()).stdout(log()).stderr(log()).spawn().unwrap()
    };
    let goes_past = |work: &mut Child, number: u64| {
        until("the count goes on", || {
            let ended = work.try_wait().unwrap();
            assert!(ended.is_none(), "it ended, {ended:?}, at {}, not past {number}: {}", counted(&count), said());
            counted(&count) > number
        });
    };
    let blocks = page();
    let [once, each, ask, by_hand] = &blocks[..] else { panic!("the page has other blocks: {blocks:?}") };

    let (a, imds) = (Instance::boot("host-a"), Imds::start("i-a"));
    imds.give_role();
    assert!(type_in(once, &a, &imds).wait().unwrap().success(), "{}", said());
    let mut work = type_in(each, &a, &imds);
    goes_past(&mut work, 20);
    imds.notice("terminate");
    assert_eq!(work.wait().unwrap().code(), Some(5), "{}", said());
    a.vanish();
    let left = counted(&count);

    let (b, imds) = (Instance::boot("host-b"), Imds::start("i-b"));
    imds.give_role();
    let mut work = type_in(each, &b, &imds);
    goes_past(&mut work, left + 20);
    assert!(type_in(ask, &b, &imds).wait().unwrap().success(), "{}", said());
    assert!(said().contains("\"owner\":\"i-b\"") && said().contains("my-bucket"), "{}", said());
    // Not at its end: a checkpoint that catches a program there is one of a program that ends.
    b.vanish();
    let _ = work.wait();

    let (c, imds) = (Instance::boot("host-c"), Imds::start("i-c"));
    imds.give_role();
    let before = counted(&count);
    let mut work = type_in(by_hand, &c, &imds);
    // From its checkpoint the program writes again what it had written since, and then more.
    goes_past(&mut work, before);
    c.vanish();
    let _ = work.wait();
}
