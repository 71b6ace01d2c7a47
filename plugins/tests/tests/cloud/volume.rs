//! A volume's snapshot, made at post-write: the copy alone brings the program back, twice over.
//!
//! The volume is a file with a file system of its own; what `CreateSnapshots` does is done when its call arrives: the
//! file is copied. What was not synced by then is not in it.

use crate::support::Account;
use ckpt_cloud_tests::programs::{environment, install, Place};
use ckpt_cloud_tests::{instance, Computation, Fault, Imds, Instance, Proxy, Scratch};
use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

struct Volume {
    raw: PathBuf,
}

impl Volume {
    fn make(raw: PathBuf) -> Volume {
        std::fs::File::create(&raw).unwrap().set_len(192 << 20).unwrap();
        assert!(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&raw).env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin").status().unwrap().success());
        Volume { raw }
    }

    fn mount(&self, on: &Instance, at: &Path) {
        std::fs::create_dir_all(at).unwrap();
        on.shell(&format!("mount -o loop {} {}", self.raw.display(), at.display()));
    }

    /// What the block device holds at one moment, as a snapshot of EC2's does: the file system writes on meanwhile, so the
    /// copy is made again until nothing has changed from its beginning to the comparison.
    fn snapshot(&self, to: &Path) -> Fault {
        let (from, to) = (self.raw.clone(), to.to_owned());
        Fault::Meanwhile(Arc::new(move || {
            let run = |program: &str, options: &[&str]| Command::new(program).args(options).args([&from, &to]).status().unwrap().success();
            while !(run("cp", &["--sparse=always"]) && run("cmp", &["-s"])) {}
        }))
    }
}

/// What a coordinator is told, whose hooks are to reach this account.
fn aws(proxy: &Proxy, imds: Option<&Imds>) -> Vec<(String, String)> {
    let mut command = Command::new("true");
    environment(&mut command, proxy, imds);
    let text = |(name, value): (&OsStr, Option<&OsStr>)| Some((name.to_str()?.to_owned(), value?.to_str()?.to_owned()));
    command.get_envs().filter_map(text).filter(|(name, _)| name != "PATH").collect()
}

fn story(hold: bool) {
    if let Some(why) = instance::missing() {
        println!("SKIPPED a volume's snapshot: {why}");
        return;
    }
    let (account, proxy, scratch) = (Account::open(), Proxy::start(), Scratch::new("volume"));
    let (id, _) = account.instance();
    let imds = Imds::start(&id);
    let bin = install(scratch.path());
    let aws = aws(&proxy, Some(&imds));
    let hook = format!("post-write={}{}", bin.join("ec2-snapshot").display(), if hold { "" } else { " --free" });
    let mut options = vec!["--hook", &hook];
    options.extend(hold.then_some("--hold"));
    let mut volume = Volume::make(scratch.join("volume-0"));
    let mut at = scratch.join("mounted-0");
    for round in 1..=2 {
        let on = Arc::new(Instance::boot(&format!("ip-10-0-0-{round}")));
        volume.mount(&on, &at);
        let place = Place::On(on.clone(), bin.clone());
        let mut computation = Computation::at(place, Path::new("/tmp/ckpt"), &at, &options, &aws);
        match round {
            1 => computation.launch(8, hold),
            _ => {
                let before = scratch.join(&format!("mounted-{}", round - 2));
                computation.restart(&["--map-path", &format!("{}={}", before.display(), at.display())]);
            }
        }
        computation.goes_on();
        let copy = scratch.join(&format!("volume-{round}"));
        proxy.fault("Action=CreateSnapshots", 1, volume.snapshot(&copy));
        computation.checkpoint(&[]);
        tell_timings(&computation, hold);
        computation.goes_on();
        // The instance is gone, with its /tmp and its volume; only the snapshot is left.
        on.vanish();
        std::fs::remove_file(&volume.raw).unwrap();
        volume = Volume { raw: copy };
        at = scratch.join(&format!("mounted-{round}"));
    }
    let on = Arc::new(Instance::boot("ip-10-0-0-9"));
    volume.mount(&on, &at);
    let mut computation = Computation::at(Place::On(on, bin), Path::new("/tmp/ckpt"), &at, &[], &[]);
    computation.restart(&["--map-path", &format!("{}={}", scratch.join("mounted-1").display(), at.display())]);
    computation.goes_on();
}

/// Where the time of a checkpoint with a snapshot in it goes.
fn tell_timings(computation: &Computation, hold: bool) {
    let status = computation.status();
    let last = &status["last"];
    let ms = |v: &Value| v.as_u64().unwrap_or(0) as f64 / 1e3;
    let lines = std::fs::read_to_string(computation.count.with_file_name("images").join("snapshots.jsonl")).unwrap();
    let record: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    let of = |name: &str| ms(&record["timings"][name]);
    let hook: f64 = last["hooks"].as_array().map_or(0.0, |h| h.iter().map(|h| ms(&h["us"])).sum());
    println!(
        "TIMING {}: pause {:.1} ms, checkpoint {:.1} ms, hook {hook:.1} ms (identify {:.1}, sync {:.1}, create {:.1}, record {:.1})",
        if hold { "held" } else { "free" },
        ms(&last["pause_us"]),
        ms(&last["duration_us"]),
        of("identify_us"),
        of("sync_us"),
        of("create_us"),
        of("record_us"),
    );
}

#[test]
fn held_the_files_agree_with_the_memory() {
    story(true);
}

#[test]
fn free_the_program_runs_on_meanwhile() {
    story(false);
}

#[test]
fn a_hook_that_fails_harms_neither_program_nor_images() {
    let (proxy, scratch) = (Proxy::start(), Scratch::new("hook"));
    let bin = install(scratch.path());
    proxy.fault("Action=CreateSnapshots", 99, ckpt_cloud_tests::proxy::ec2_error(403, "UnauthorizedOperation", "not you"));
    let hook = format!("post-write={} --instance i-1", bin.join("ec2-snapshot").display());
    let data = scratch.join("data");
    let mut computation = Computation::at(Place::Here, scratch.path(), &data, &["--hold", "--hook", &hook], &aws(&proxy, None));
    computation.launch(1, false);
    let ran = computation.command(&["--checkpoint"]);
    assert_eq!(ran.status, Some(3), "complete, but a hook failed: {ran:?}");
    assert!(ran.out.contains("allow ec2:CreateSnapshots"), "{ran:?}");
    computation.goes_on();
    computation.quit();
    let mut again = Computation::new(scratch.path(), &data, &[]);
    again.restart(&[]);
    again.goes_on();
}
