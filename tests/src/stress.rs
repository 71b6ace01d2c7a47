//! `cargo xtask stress`: a thousand streams of known bytes over many checkpoint-kill-restart cycles, each after a
//! checkpoint that fails when everything is drained; a computation of many processes, with its times; and a checkpoint
//! every 50 ms.

use crate::build::{self, Paths};
use crate::run::{Mode, Run, Spec, Stop};
use std::path::PathBuf;
use std::time::{Duration, Instant};

#[derive(clap::Args, Clone)]
pub struct StressArgs {
    /// Pipes and socket pairs that carry streams
    #[arg(long, default_value_t = 1000)]
    streams: usize,
    /// Checkpoint, kill and restart this often
    #[arg(long, default_value_t = 20)]
    cycles: usize,
    /// Processes of the other computation
    #[arg(long, default_value_t = 200)]
    processes: usize,
    /// Checkpoint every 50 ms for so many seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Take target/release as it is
    #[arg(long)]
    no_build: bool,
}

pub fn stress(args: &StressArgs) -> Result<bool, String> {
    let paths = Paths::find()?;
    if !args.no_build {
        build::product(&paths)?;
    }
    let many = told("processes", "processes", &paths, args.processes, |run| processes(run, args.processes));
    let streams = told("streams", "streams", &paths, args.streams, |run| streams(run, args.cycles));
    let often = told("often", "streams", &paths, 50, |run| often(run, Duration::from_secs(args.seconds)));
    Ok(many && streams && often)
}

/// Builds the program and runs it under the product; says how it ended.
fn told(name: &str, program: &str, paths: &Paths, size: usize, work: impl Fn(&mut Run) -> Result<(), Stop>) -> bool {
    let dir = PathBuf::from(format!("/tmp/ckpt-stress-{}-{name}", std::process::id()));
    let done = prepare(program, paths, size, &dir).and_then(|mut run| {
        let done = work(&mut run).map_err(|stop| match stop {
            Stop::Failed(why) | Stop::Skipped(why) => why,
        });
        let left = run.leave();
        done.and(left.map_or(Ok(()), Err))
    });
    match &done {
        Ok(()) => println!("{name}: good"),
        Err(why) => println!("{name}: FAILED: {why}; logs are in {}", dir.join("logs").display()),
    }
    if done.is_ok() {
        let _ = std::fs::remove_dir_all(&dir);
    }
    done.is_ok()
}

fn prepare(name: &str, paths: &Paths, size: usize, dir: &std::path::Path) -> Result<Run, String> {
    let program = paths.target.join("stress").join(name);
    build::program(&paths.root.join(format!("tests/stress/{name}.c")), &program)?;
    std::fs::create_dir(dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))?;
    Run::prepare(Spec {
        mode: Mode::Restart,
        bin: paths.bin(),
        dir: dir.into(),
        port: 30_000 + (std::process::id() % 2_000) as u16 * 2 + u16::from(name == "streams"),
        ids: None,
        checkpoints: 1,
        callbacks: None,
        launch_args: String::new(),
        restart_args: String::new(),
        expect: 0,
        detached: false,
        phases: false,
        deadline: 3600,
        program,
        args: vec![size.to_string()],
    })
}

fn streams(run: &mut Run, cycles: usize) -> Result<(), Stop> {
    run.start()?;
    run.await_note("ready")?;
    run.ping()?;
    let mut slowest = Duration::ZERO;
    for cycle in 1..=cycles {
        // A lease that is being broken is refused, and found when all data has been read out and put back.
        run.note(&format!("lease.{cycle}"))?;
        run.await_note(&format!("leased.{cycle}"))?;
        if run.ask(&["--checkpoint"]).is_ok() {
            return Err(Stop::Failed("a checkpoint worked that had to fail".into()));
        }
        run.note(&format!("release.{cycle}"))?;
        run.await_note(&format!("released.{cycle}"))?;
        run.ping()?;
        let start = Instant::now();
        run.checkpoint_round(cycle)?;
        run.ping()?;
        slowest = slowest.max(start.elapsed());
    }
    println!("{cycles} cycles, each checkpoint, kill and restart within {:.1} s, until every stream moved", slowest.as_secs_f64());
    run.note("go")?;
    run.finish()
}

fn often(run: &mut Run, time: Duration) -> Result<(), Stop> {
    run.start()?;
    run.await_note("ready")?;
    let (start, mut taken) = (Instant::now(), 0);
    while start.elapsed() < time {
        run.ask(&["--checkpoint"])?;
        taken += 1;
        // Not waited for: the test's own beat.
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("{taken} checkpoints in {} s", time.as_secs());
    run.ping()?;
    run.checkpoint_round(1)?;
    run.ping()?;
    run.note("go")?;
    run.finish()
}

fn processes(run: &mut Run, count: usize) -> Result<(), Stop> {
    run.start()?;
    run.await_note("ready")?;
    let start = Instant::now();
    run.ask(&["--checkpoint"])?;
    let resumed = start.elapsed();
    run.ping()?;
    let start = Instant::now();
    run.checkpoint_round(1)?;
    run.ping()?;
    let restarted = start.elapsed();
    println!(
        "{count} processes: checkpoint {:.2} s; checkpoint, kill, restart and first answer {:.2} s",
        resumed.as_secs_f64(),
        restarted.as_secs_f64()
    );
    run.note("go")?;
    run.finish()
}
