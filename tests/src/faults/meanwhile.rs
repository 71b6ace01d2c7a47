//! What others do while the image is written: who asked for it goes, the program becomes another one, or ends.

use super::disk::{Row, restarts};
use super::{Case, PATIENCE, PROGRAM, wait};
use std::fs;
use std::time::Instant;

pub const ROWS: [(&str, &str, Row); 3] =
    [("meanwhile", "ckpt_command-killed", command_killed), ("meanwhile", "exec", execs), ("meanwhile", "exit", exits)];

/// The first checkpoint is held up at the beginning of the writing: its frozen copies are there.
fn begin(case: &mut Case) -> Result<(), String> {
    let mut launch = case.command("ckpt_launch", &["--ckptdir"]);
    launch.arg(&case.images).args(["python3", "program.py"]).env("CKPT_FAULT", "write:stall:1");
    case.start(launch, "launch")?;
    case.counts(&["main", "kid"])?;
    case.start(case.command("ckpt_command", &["--checkpoint"]), "answer-1")?;
    until("the image was not being written", || {
        Ok(case.ask(case.command("ckpt_command", &["--status", "--json"]))?.1.contains("\"stage\":\"written\""))
    })
}

fn until(or: &str, done: impl Fn() -> Result<bool, String>) -> Result<(), String> {
    let end = Instant::now() + PATIENCE;
    while !done()? {
        if Instant::now() > end {
            return Err(or.into());
        }
        crate::run::nap();
    }
    Ok(())
}

/// The checkpoint is completed all the same.
fn command_killed(case: &mut Case) -> Result<String, String> {
    begin(case)?;
    let mut asked = case.foreground.pop().ok_or("no question")?;
    asked.kill().and_then(|()| asked.wait()).map_err(|e| e.to_string())?;
    until("the checkpoint was given up", || Ok(case.images("img")?.len() == 1))?;
    case.counts(&["main", "kid"])?;
    restarts(case)?;
    Ok("complete; it restarts".into())
}

/// The answer, when the program has done `what` before it.
fn answered(case: &mut Case) -> Result<String, String> {
    let mut asked = case.foreground.pop().ok_or("no question")?;
    let status = wait(&mut asked).ok_or("ckpt_command hangs")?;
    if status == 0 { Ok("complete".into()) } else { Err(format!("the checkpoint failed: {}", case.said("answer-1"))) }
}

/// The image is of the program that was.
fn execs(case: &mut Case) -> Result<String, String> {
    let other = PROGRAM.replace("open('kid' if kid == 0 else 'main'", "open('other-kid' if kid == 0 else 'other'");
    fs::write(case.dir.join("other.py"), &other).map_err(|e| e.to_string())?;
    let command = "kid and os.path.exists('go') and os.execlp('python3', 'python3', 'other.py')";
    with(case, command)?;
    begin(case)?;
    fs::write(case.dir.join("go"), "").map_err(|e| e.to_string())?;
    case.counts(&["other", "kid"])?;
    let said = answered(case)?;
    case.kill_all()?;
    fs::remove_file(case.dir.join("go")).map_err(|e| e.to_string())?;
    restarts(case)?;
    Ok(format!("{said}; the program before the exec restarts"))
}

/// The shell has the program's status, and the image is complete.
fn exits(case: &mut Case) -> Result<String, String> {
    with(case, "os.path.exists('go') and os._exit(3)")?;
    begin(case)?;
    fs::write(case.dir.join("go"), "").map_err(|e| e.to_string())?;
    let mut launched = case.foreground.remove(0);
    let status = wait(&mut launched).ok_or("ckpt_launch hangs")?;
    if status != 3 {
        return Err(format!("ckpt_launch exits with {status}: {}", case.said("launch")));
    }
    let said = answered(case)?;
    case.kill_all()?;
    fs::remove_file(case.dir.join("go")).map_err(|e| e.to_string())?;
    restarts(case)?;
    Ok(format!("ckpt_launch exits as the program did; {said}; it restarts"))
}

/// The program does that too, in each round.
fn with(case: &Case, command: &str) -> Result<(), String> {
    let program = PROGRAM.replace("    time.sleep(0.01)\n", &format!("    time.sleep(0.01)\n    {command}\n"));
    fs::write(case.dir.join("program.py"), program).map_err(|e| e.to_string())
}
