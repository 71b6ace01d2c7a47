//! Becoming a daemon: no terminal, no descriptors of whoever started us, and the starter is told when we are ready.

use nix::sys::wait::waitpid;
use nix::unistd::{chdir, dup2_stderr, dup2_stdin, dup2_stdout, fork, pipe2, setsid, ForkResult};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

/// The daemon's line to the process that started it. Dropping it unused says that the start failed.
#[derive(Debug)]
pub struct Readiness {
    pipe: File,
}

/// Forks. Only the daemon returns; the process that was started waits for its word and exits with it.
pub fn detach() -> io::Result<Readiness> {
    close_inherited();
    let (read, write) = pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    // SAFETY: this process has one thread, so the child may go on as usual.
    if let ForkResult::Parent { child } = unsafe { fork() }? {
        drop(write);
        // The child between us and the daemon ends at once; leave no zombie to an init that does not reap.
        let _ = waitpid(child, None);
        wait_for_word(read.into())
    }
    drop(read);
    setsid()?;
    // SAFETY: as above. The second child leads no session and so never gets a terminal.
    if let ForkResult::Parent { .. } = unsafe { fork() }? {
        // SAFETY: ends this process at once; nothing of it is to run.
        unsafe { libc::_exit(0) }
    }
    Ok(Readiness { pipe: write.into() })
}

/// Pipes and terminals that whoever started us left open would otherwise stay open for our whole life.
fn close_inherited() {
    // SAFETY: nothing but the standard descriptors is in use yet.
    unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32) };
}

fn wait_for_word(mut pipe: File) -> ! {
    let mut word = Vec::new();
    let _ = pipe.read_to_end(&mut word);
    let (status, text) = match word.split_first() {
        Some((&status, text)) => (i32::from(status), String::from_utf8_lossy(text).into_owned()),
        None => (1, "the coordinator died while it started; run it without --daemon to see why".into()),
    };
    let _ = match status {
        0 => writeln!(io::stdout(), "{text}"),
        _ => writeln!(io::stderr(), "ckpt_coordinator: {text}"),
    };
    std::process::exit(status)
}

impl Readiness {
    /// Leaves the standard descriptors and the current folder, then tells the starter `text`.
    pub fn ready(mut self, log: Option<&Path>, text: &str) -> io::Result<()> {
        let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        let log = log.map(|path| OpenOptions::new().create(true).append(true).open(path)).transpose()?;
        dup2_stdin(&null)?;
        dup2_stdout(&null)?;
        dup2_stderr(log.as_ref().unwrap_or(&null))?;
        chdir("/")?;
        self.pipe.write_all(format!("\0{text}").as_bytes())
    }

    pub fn failed(mut self, status: u8, reason: &str) {
        let _ = self.pipe.write_all(&[&[status], reason.as_bytes()].concat());
    }
}
