//! The functions that libckpt.so defines in front of libc's, one file per man-page family. Why a function is here:
//! a child must be born with the library (exec, spawn), the program must not reach our signal (disposition, sigmask),
//! a checkpoint leaves something for it that only it can undo (accept), it leads round all these (lookup), or the function carries a process or thread id,
//! which a restart changes (all the others).

mod abi;
mod accept;
mod descriptor;
mod disposition;
mod environment;
mod exec;
mod fork;
mod lock;
mod lookup;
mod mqueue;
mod path_search;
mod prctl;
mod proc_contents;
mod proc_dirs;
pub mod proc_paths;
mod process;
mod sched;
mod sanitizer;
mod scratch;
mod shell;
mod siginfo;
mod sigmask;
mod socket;
mod spawn;
mod stream;
mod syscall;
mod sysv;
mod thread;
mod timer;
mod uring;
mod wait;

pub use abi::{array, bytes, environment, errno, load, set_environment, set_errno};
pub use disposition::keep_handler;
pub use process::Queued;
pub use thread::own_descriptor;

/// For the constructor: looks up what a child forked from many threads may call first, and may not look up, because
/// another thread held the loader's lock (`signal-safety(7)`).
pub fn prepare() {
    accept::accept::prepare();
    accept::accept4::prepare();
    disposition::sigaction::prepare();
    disposition::signal::prepare();
    descriptor::fcntl::prepare();
    descriptor::fcntl64::prepare();
    descriptor::read::prepare();
    fork::fork::prepare();
    fork::_Fork::prepare();
    proc_paths::open::prepare();
    proc_paths::open64::prepare();
    proc_paths::openat::prepare();
    proc_paths::stat::prepare();
    proc_paths::lstat::prepare();
    proc_paths::access::prepare();
    proc_paths::readlink::prepare();
    proc_paths::chdir::prepare();
    sigmask::sigsuspend::prepare();
    socket::recvmsg::prepare();
    socket::sendmsg::prepare();
    wait::wait::prepare();
    wait::waitpid::prepare();
}
