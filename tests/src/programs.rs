//! Real programs: scripts of tests/programs, each used by its own client before and after.
//!
//! A script is called with a phase: `have` (exit 77 and a reason when not installed), `run` (becomes the program),
//! `before` (returns when the program is up and has state), `after` (checks it, repeatable), `stop`.

use crate::guests::{Expect, Guest};
use crate::run::{Mode, Run, Stop};
use std::path::Path;
use std::process::ExitStatus;

pub fn all(root: &Path) -> Result<Vec<Guest>, String> {
    let mut found = Vec::new();
    for source in crate::guests::entries(&root.join("tests/programs"))? {
        let name = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if source.extension().is_none_or(|e| e != "sh") || name == "common" {
            continue;
        }
        let text = std::fs::read_to_string(&source).map_err(|e| format!("cannot read {}: {e}", source.display()))?;
        found.push(Guest {
            name: format!("programs/{name}"),
            family: "programs".into(),
            about: text.lines().nth(1).unwrap_or("").trim_start_matches("# ").into(),
            program: source.to_string_lossy().into_owned(),
            source,
            plugin: None,
            flags: Vec::new(),
            launch: String::new(),
            restart: String::new(),
            callbacks: None,
            argument: None,
            expect: Expect::Exit(0),
            detached: false,
        });
    }
    Ok(found)
}

fn phase(run: &mut Run, phase: &str) -> Result<ExitStatus, Stop> {
    let mut command = run.product.command(&run.spec.program, phase);
    let mut child = command.arg(phase).spawn().map_err(|e| format!("cannot run phase {phase}: {e}"))?;
    loop {
        if let Some(status) = child.try_wait().map_err(|e| format!("cannot wait for phase {phase}: {e}"))? {
            return Ok(status);
        }
        if phase != "stop" {
            run.still_there(&format!("the program ended in phase {phase}"))?;
        }
        run.in_time(&format!("in phase {phase}"))?;
        crate::run::nap();
    }
}

fn must(run: &mut Run, name: &str) -> Result<(), Stop> {
    let status = phase(run, name)?;
    if status.success() {
        return Ok(());
    }
    let log = |stream: &str| {
        let text = std::fs::read_to_string(run.product.logs.join(format!("{name}.{stream}"))).unwrap_or_default();
        text.lines().last().unwrap_or("").to_string()
    };
    let why = [log("err"), log("out")].into_iter().find(|l| !l.is_empty()).unwrap_or_default();
    match status.code() {
        Some(77) => Err(Stop::Skipped(why)),
        _ => Err(Stop::Failed(format!("phase {name}: {status}: {why}"))),
    }
}

pub fn whole(run: &mut Run) -> Result<(), Stop> {
    must(run, "have")?;
    run.spec.args = vec!["run".into()];
    run.start()?;
    must(run, "before")?;
    for round in 1..=run.rounds() {
        run.checkpoint_round(round)?;
        must(run, "after")?;
    }
    if matches!(run.spec.mode, Mode::Native | Mode::Launched) {
        must(run, "after")?;
    }
    must(run, "stop")?;
    run.finish()
}
