//! ckpt_launch: coordinator, agent, program.

use crate::agent::{Agent, signal_set};
use crate::checkpoint::host_name;
use crate::foreground::Inherited;
use crate::link::Listener;
use crate::program::{self, ProgramError};
use crate::settings::Settings;
use crate::table::Table;
use crate::{foreground, paths};
use ckpt_coordinator::launch::{LaunchOptions, connect_or_start};
use ckpt_coordinator::options::{self, CheckpointOptions, CoordOptions, JoinOptions};
use ckpt_sys::flat::Outer;
use ckpt_wire::{Hello, Role};
use clap::Parser;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Start a program so that it can be checkpointed and restarted
#[derive(Parser)]
#[command(name = "ckpt_launch", version, disable_help_flag = true, trailing_var_arg = true)]
struct Options {
    #[command(flatten)]
    coord: CoordOptions,
    #[command(flatten)]
    join: JoinOptions,
    #[command(flatten)]
    checkpoint: CheckpointOptions,

    /// Load these libraries with the program too: plugins, or anything that calls ckpt_register; PATH[:PATH...]
    #[arg(long, value_name = "PATH", env = "CKPT_PLUGIN", value_delimiter = ':')]
    with_plugin: Vec<PathBuf>,

    /// The program and its arguments
    #[arg(required = true, value_name = "PROGRAM", allow_hyphen_values = true, num_args = 1..)]
    command: Vec<OsString>,
}

pub fn main() {
    let options: Options = options::parse();
    crate::arm_fault();
    if let Err(e) = launch(options) {
        eprintln!("ckpt_launch: {}", e.0);
        std::process::exit(e.1);
    }
}

/// A diagnosis and an exit status.
pub struct Failure(pub String, pub i32);

impl<E: std::error::Error> From<E> for Failure {
    fn from(e: E) -> Self {
        Failure(e.to_string(), 1)
    }
}

fn launch(options: Options) -> Result<(), Failure> {
    let refused = |e: ProgramError| Failure(e.to_string(), e.exit_status());
    let program = program::find(&options.command[0]).map_err(refused)?;
    program::check(&program).map_err(refused)?;
    if is_member() {
        if !options.checkpoint.quiet {
            eprintln!("ckpt_launch: {} becomes part of the computation that ckpt_launch is run in, by its options", program.display());
        }
        return become_program(&program, &options.command);
    }
    let library = paths::library().map_err(|e| Failure(e, 1))?;
    let preload = with_plugins(&library, &options.with_plugin)?;
    let settings = Settings::new(&options.checkpoint, &program, None)?;
    let launch = LaunchOptions::new(&options.coord, &options.join);
    let mut hello = Hello::new(Role::Agent, host_name(), std::process::id(), settings.program.clone());
    hello.interval = options.checkpoint.interval;
    hello.hooks = options.join.hooks.request();
    hello.ckptdir = settings.folder.display().to_string();
    let mut client = connect_or_start(&launch)?;
    let launch = LaunchOptions { address: client.address().clone(), explicit_port: true, port_file: None, ..launch };
    let status = foreground::split()?;
    hello.pid = std::process::id();
    become_agent()?;
    let welcome = client.hello(&hello)?;
    let listener = Listener::new()?;
    // Nobody maps it before somebody asks for what is in it.
    let table = Table::new(c"ckpt-names")?;
    table.announce(welcome.computation.0, 0)?;
    let agent = Agent::new(settings, listener, launch, hello, table, options.checkpoint.quiet);
    let session = agent.begin(client, welcome);
    let variable = variable(&agent.listener.name, 0, &format!("n{}", agent.table.0.as_raw_fd()), Outer::default(), agent.settings.signal);
    let env = environment(&variable, &preload);
    let child = start(&agent, &program, &options.command, env, &status.inherited)?;
    agent.with_events(|events| events.launched(child));
    agent.run(session, child, status);
    Ok(())
}

/// Started by a program that is under ckpt, and so with the library in us.
fn is_member() -> bool {
    // SAFETY: looks a name up among what is loaded.
    !unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"ckpt_enabled".as_ptr()) }.is_null()
}

/// Returns only if that fails.
fn become_program(program: &Path, command: &[OsString]) -> Result<(), Failure> {
    let args = command.iter().map(|a| c_string(a.as_bytes())).collect::<Result<Vec<_>, _>>()?;
    foreground::give_back_signals();
    let path = c_string(program.as_os_str().as_bytes())?;
    match nix::unistd::execv(&path, &args).unwrap_err() {
        nix::Error::ENOEXEC => nix::unistd::execv(SHELL, &for_shell(&path, &args))?,
        e => Err(e)?,
    };
    Ok(())
}

/// A text without `#!` is the shell's, as in execvp(3).
const SHELL: &CStr = c"/bin/sh";

fn for_shell(path: &CStr, args: &[CString]) -> Vec<CString> {
    [SHELL.to_owned(), path.to_owned()].into_iter().chain(args.iter().skip(1).cloned()).collect()
}

fn c_string(bytes: &[u8]) -> Result<CString, Failure> {
    CString::new(bytes).map_err(|_| Failure("an argument contains a NUL byte".into(), 2))
}

/// Parent and subreaper of what follows; signals are read, not suffered.
pub fn become_agent() -> std::io::Result<()> {
    // SAFETY: our own process settings.
    unsafe {
        if libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    signal_set().thread_block()?;
    // All descriptors of all programs pass through here.
    ckpt_objects::raise_file_limit();
    // An image may be larger than RLIMIT_FSIZE: that is an error, not our end.
    nix::sys::signal::SigSet::from(nix::sys::signal::Signal::SIGXFSZ).thread_block()?;
    Ok(())
}

/// Forks and execs the program with the library in it.
fn start(agent: &Agent, program: &Path, command: &[OsString], environment: Vec<Vec<u8>>, inherited: &Inherited) -> Result<i32, Failure> {
    let path = c_string(program.as_os_str().as_bytes())?;
    let args = command.iter().map(|a| c_string(a.as_bytes())).collect::<Result<Vec<_>, _>>()?;
    let env = environment.into_iter().map(|e| c_string(&e)).collect::<Result<Vec<_>, _>>()?;
    let pointers = |v: &[CString]| v.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>();
    let by_shell = for_shell(&path, &args);
    let (argv, shell_argv, envp) = (pointers(&args), pointers(&by_shell), pointers(&env));
    let signal = agent.settings.signal;
    // SAFETY: single-threaded; the child only calls async-signal-safe functions.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Parent { child } => Ok(child.as_raw()),
        // SAFETY: as above.
        nix::unistd::ForkResult::Child => unsafe {
            inherited.restore();
            // A request in the first moments must not kill what cannot handle it yet.
            libc::signal(signal, libc::SIG_IGN);
            libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr());
            if nix::Error::last() == nix::Error::ENOEXEC {
                libc::execve(SHELL.as_ptr(), shell_argv.as_ptr(), envp.as_ptr());
            }
            let e = std::io::Error::last_os_error();
            eprintln!("ckpt_launch: {}: {e}", program.display());
            libc::_exit(126)
        },
    }
}

/// What the library needs to know, in one variable: see `flat::Control::agent`. `program` 0: the process itself.
pub fn agent_variable(name: &str, program: i32, id_table: Option<(i32, bool)>, o: Outer, signal: i32) -> String {
    let table = id_table.map_or_else(|| "-".to_owned(), |(fd, is_virtual)| format!("{}{fd}", if is_virtual { "v" } else { "" }));
    variable(name, program, &table, o, signal)
}

fn variable(name: &str, program: i32, table: &str, o: Outer, signal: i32) -> String {
    let outer = format!("{},{},{},{},{}", o.agent, o.group, o.real_group, o.session, o.real_session);
    format!("CKPT_AGENT={name},{},{program},{table},{outer},{signal}", std::process::id())
}

/// What goes to the front of LD_PRELOAD: spaces between ours, for a colon ends them. A name without a slash lies beside
/// libckpt.so.
fn with_plugins(library: &Path, plugins: &[PathBuf]) -> Result<OsString, Failure> {
    let mut all = library.as_os_str().to_owned();
    for plugin in plugins.iter().filter(|p| !p.as_os_str().is_empty()) {
        let beside = || library.with_file_name(plugin);
        let path = if plugin.as_os_str().as_bytes().contains(&b'/') { plugin.clone() } else { beside() };
        let no = |why: &str| Failure(format!("plugin {}: {why}", path.display()), 1);
        let found = path.canonicalize().map_err(|e| no(&e.to_string()))?;
        if found.as_os_str().as_bytes().iter().any(|b| b" :\n".contains(b)) {
            return Err(no("a path with a space or a colon cannot be preloaded; move or link it"));
        }
        all.push(" ");
        all.push(found);
    }
    Ok(all)
}

/// Ours in front of the user's own LD_PRELOAD; the constructor takes both variables out again.
fn environment(variable: &str, library: &OsStr) -> Vec<Vec<u8>> {
    let mut preload = [b"LD_PRELOAD=", library.as_bytes()].concat();
    if let Some(theirs) = std::env::var_os("LD_PRELOAD").filter(|v| !v.is_empty()) {
        preload.push(b':');
        preload.extend(theirs.into_vec());
    }
    let ours = [preload, variable.as_bytes().to_vec()];
    let rest = std::env::vars_os()
        .filter(|(k, _)| k != "LD_PRELOAD" && k != "CKPT_AGENT")
        .map(|(k, v)| [k.as_bytes(), b"=", v.as_bytes()].concat());
    ours.into_iter().chain(rest).collect()
}
