//! Tests that need more than a stable compiler: Miri, ThreadSanitizer, cargo-fuzz; and loom, which takes its time.

use crate::build::Paths;
use std::process::Command;

const HOST: &str = "x86_64-unknown-linux-gnu";
const TARGETS: [&str; 5] = ["wire", "image", "plan", "codec", "proc"];

fn cargo(words: &str, variables: &[(&str, &str)], folder: &str) -> Result<bool, String> {
    println!("== {}cargo {words}", variables.iter().map(|(k, v)| format!("{k}='{v}' ")).collect::<String>());
    let mut command = Command::new("cargo");
    // The toolchain of the cargo that runs us must not decide.
    command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").args(words.split(' ')).envs(variables.iter().copied());
    command.current_dir(Paths::find()?.root.join(folder));
    command.status().map(|s| s.success()).map_err(|e| format!("cargo: {e}"))
}

fn all(done: impl IntoIterator<Item = Result<bool, String>>) -> Result<bool, String> {
    done.into_iter().try_fold(true, |all, one| Ok(all & one?))
}

/// System calls by inline assembly are beyond Miri: what is pure is run.
pub fn miri() -> Result<bool, String> {
    let flags = [("MIRIFLAGS", "-Zmiri-disable-isolation")];
    all([
        cargo("+nightly miri test -q -p ckpt-wire", &flags, "."),
        cargo("+nightly miri test -q -p ckpt-sys procfs", &flags, "."),
        cargo("+nightly miri test -q -p ckpt-image --lib chain", &flags, "."),
    ])
}

pub fn loom() -> Result<bool, String> {
    cargo("test -q --release", &[("RUSTFLAGS", "--cfg loom")], "tests/loom")
}

pub fn tsan() -> Result<bool, String> {
    // The standard library that is built is one for all, and tests unwind.
    let flags = [("RUSTFLAGS", "-Zsanitizer=thread"), ("TSAN_OPTIONS", "halt_on_error=1"), ("CARGO_PROFILE_DEV_PANIC", "unwind")];
    cargo(&format!("+nightly test -q -Zbuild-std --target {HOST} --target-dir target/tsan -p ckpt-coordinator --lib --bins --tests"), &flags, ".")
}

/// New inputs stay out of the corpus, which is small on purpose.
pub fn fuzz(seconds: u64, only: Option<&str>) -> Result<bool, String> {
    let chosen = TARGETS.iter().filter(|t| only.is_none_or(|o| o == **t));
    all(chosen.map(|target| {
        let scratch = Paths::find()?.target.join("fuzz-corpus").join(target);
        std::fs::create_dir_all(&scratch).map_err(|e| e.to_string())?;
        let rest = "-- -rss_limit_mb=4096 -timeout=10";
        cargo(&format!("+nightly fuzz run {target} {} corpus/{target} {rest} -max_total_time={seconds}", scratch.display()), &[], "fuzz")
    }))
}
