//! The foreground part: what the shell waits for. It passes signals and the exit status through and holds
//! nothing else; the agent is its child, the program its grandchild.

use ckpt_sys::fault::{self, Effect};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{SigSet, Signal, SigmaskHow, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::sync::atomic::{AtomicBool, Ordering};

/// Signals that somebody may send to the foreground part and that are meant for the program.
pub const FORWARDED: [Signal; 12] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGWINCH,
    Signal::SIGCONT,
    Signal::SIGURG,
    Signal::SIGIO,
    Signal::SIGPWR,
];

/// Rust's start-up ignores SIGPIPE, and who ignores SIGCHLD cannot wait for a child; the program is to start with what
/// ckpt_launch was started with.
static PIPE_IGNORED: AtomicBool = AtomicBool::new(false);
static CHILD_IGNORED: AtomicBool = AtomicBool::new(false);

#[used]
// SAFETY: `.init_array` holds pointers to functions that are called before main.
#[unsafe(link_section = ".init_array")]
static NOTE_SIGNALS: extern "C" fn() = {
    extern "C" fn note() {
        for (signal, ignored) in [(libc::SIGPIPE, &PIPE_IGNORED), (libc::SIGCHLD, &CHILD_IGNORED)] {
            // SAFETY: our own dispositions, before anything runs that relies on them.
            ignored.store(unsafe { libc::signal(signal, libc::SIG_DFL) } == libc::SIG_IGN, Ordering::Relaxed);
        }
    }
    note
};

pub fn is_ignored(signal: Signal) -> bool {
    // SAFETY: only asks; `old` is written by the call.
    unsafe {
        let mut old: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal as i32, std::ptr::null(), &mut old) == 0 && old.sa_sigaction == libc::SIG_IGN
    }
}

/// How ckpt_launch found its signals, and how many descriptors it might have: the program is to find that so too.
pub struct Inherited {
    mask: SigSet,
    files: Option<(u64, u64)>,
}

impl Inherited {
    /// In the child that becomes the program; only async-signal-safe calls.
    pub fn restore(&self) {
        give_back_signals();
        // SAFETY: our own mask and limit, before the exec.
        unsafe {
            libc::sigprocmask(libc::SIG_SETMASK, self.mask.as_ref(), std::ptr::null_mut());
            if let Some((rlim_cur, rlim_max)) = self.files {
                libc::setrlimit(libc::RLIMIT_NOFILE, &libc::rlimit { rlim_cur, rlim_max });
            }
        }
    }
}

/// SIGPIPE and SIGCHLD as they were found; async-signal-safe.
pub fn give_back_signals() {
    for (signal, ignored) in [(libc::SIGPIPE, &PIPE_IGNORED), (libc::SIGCHLD, &CHILD_IGNORED)] {
        let action = if ignored.load(Ordering::Relaxed) { libc::SIG_IGN } else { libc::SIG_DFL };
        // SAFETY: our own disposition, before an exec.
        unsafe { libc::signal(signal, action) };
    }
}

/// No status of wait(2).
const AGAIN: i32 = i32::MIN;

/// What the agent tells the foreground part, once; and, before, to stop and to go on as the program does.
pub struct StatusPipe {
    file: std::fs::File,
    foreground: nix::unistd::Pid,
    pub inherited: Inherited,
}

impl StatusPipe {
    /// The program ended with this wait(2) status.
    pub fn ended(&mut self, status: i32) {
        let _ = self.file.write_all(&status.to_ne_bytes());
        self.tell(Signal::SIGCONT);
    }

    /// There is no program: the foreground part begins again.
    pub fn again(&mut self) {
        let _ = self.file.write_all(&AGAIN.to_ne_bytes());
    }

    /// The program was stopped, so that the shell has its prompt back.
    pub fn stopped(&self) {
        self.tell(Signal::SIGSTOP);
    }

    /// Somebody else let the program go on.
    pub fn continued(&self) {
        self.tell(Signal::SIGCONT);
    }

    /// The end of the foreground part is that of a whole pid namespace, and so of the coordinator in it: `docker run`,
    /// with `--init` or without.
    pub fn takes_all_along(&self) -> bool {
        let foreground = self.foreground.as_raw();
        foreground == 1 || crate::procfs::stat(foreground).is_some_and(|s| s.ppid == 1)
    }

    /// Nobody if the foreground part is gone: then the agent has another parent.
    fn tell(&self, signal: Signal) {
        if nix::unistd::getppid() == self.foreground {
            let _ = nix::sys::signal::kill(self.foreground, signal);
        }
    }
}

/// Forks the agent, which returns from here with its end of the pipe; the foreground part never does.
pub fn split() -> std::io::Result<StatusPipe> {
    // SAFETY: single-threaded; the child goes on as the agent.
    split_by(|| Ok(unsafe { libc::fork() }))
}

/// `split` with another fork(2): one that leaves the program's ids to it.
pub fn split_by(fork: impl FnOnce() -> std::io::Result<i32>) -> std::io::Result<StatusPipe> {
    let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    let mut set = SigSet::empty();
    FORWARDED.iter().chain([Signal::SIGCHLD].iter()).for_each(|&s| set.add(s));
    let mut mask = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), Some(&mut mask))?;
    let foreground = nix::unistd::getpid();
    let files = getrlimit(Resource::RLIMIT_NOFILE).ok();
    match fork()? {
        ..0 => Err(std::io::Error::last_os_error()),
        0 => {
            drop(read);
            fault::target(Effect::KillForeground, foreground.as_raw());
            Ok(StatusPipe { file: write.into(), foreground, inherited: Inherited { mask, files } })
        }
        child => {
            drop(write);
            // SAFETY: numbers only.
            unsafe { libc::prctl(libc::PR_SET_NAME, c"ckpt".as_ptr()) };
            let agent = nix::unistd::Pid::from_raw(child);
            match follow(agent, read, &set) {
                AGAIN => Err(begin_again(agent, Inherited { mask, files })),
                status => finish(status),
            }
        }
    }
}

/// The same command, with `--attempt` counted up; returns if that cannot be.
fn begin_again(agent: nix::unistd::Pid, inherited: Inherited) -> std::io::Error {
    agent_status(agent);
    inherited.restore();
    let mut args: Vec<_> = std::env::args_os().skip(1).collect();
    let mut attempt = 1;
    if args.first().is_some_and(|first| first == ATTEMPT) {
        attempt = args.get(1).and_then(|n| n.to_str()?.parse().ok()).unwrap_or(attempt);
        args.drain(..args.len().min(2));
    }
    std::process::Command::new("/proc/self/exe").arg(ATTEMPT).arg((attempt + 1).to_string()).args(args).exec()
}

const ATTEMPT: &str = "--attempt";

/// Until the agent says how the program ended, or is gone itself.
fn follow(agent: nix::unistd::Pid, status: OwnedFd, set: &SigSet) -> i32 {
    let Ok(signals) = SignalFd::with_flags(set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK) else { return 1 << 8 };
    let fds = [status.as_raw_fd(), signals.as_raw_fd()];
    loop {
        let ready = crate::link::poll(&fds, std::time::Duration::from_secs(3600)).unwrap_or_default();
        while let Ok(Some(s)) = signals.read_signal() {
            // Those of the terminal have reached the program already (si_code SI_KERNEL).
            if s.ssi_code <= 0 && s.ssi_signo != libc::SIGCHLD as u32 && s.ssi_pid != agent.as_raw() as u32 {
                // SAFETY: numbers only.
                unsafe { libc::kill(agent.as_raw(), s.ssi_signo as i32) };
            }
        }
        if ready.contains(&status.as_raw_fd()) {
            let mut bytes = [0; 4];
            let mut file = std::fs::File::from(status);
            return match file.read_exact(&mut bytes) {
                Ok(()) => i32::from_ne_bytes(bytes),
                Err(_) => agent_status(agent),
            };
        }
    }
}

/// The agent ended without a word about the program.
fn agent_status(agent: nix::unistd::Pid) -> i32 {
    let mut status = 0;
    // SAFETY: status is an int.
    unsafe { libc::waitpid(agent.as_raw(), &mut status, 0) };
    status
}

/// Ends as the program did: same code, or same signal.
pub fn finish(status: i32) -> ! {
    end_as(status, std::process::exit)
}

/// Ends as the wait(2) status says: by the same signal, or by `exit` with the same code.
pub fn end_as(status: i32, exit: fn(i32) -> !) -> ! {
    if libc::WIFSIGNALED(status) {
        let sig = libc::WTERMSIG(status);
        // SAFETY: our own disposition and mask, then our own end; no core of ours beside the program's.
        unsafe {
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::setrlimit(libc::RLIMIT_CORE, &none);
            libc::signal(sig, libc::SIG_DFL);
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, sig);
            libc::sigprocmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
            libc::raise(sig);
        }
        exit(128 + sig)
    }
    exit(libc::WEXITSTATUS(status))
}
