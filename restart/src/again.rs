//! A restart that fails leaves nothing. And when an id of the program that was free is taken by a stranger before it is
//! given back, the restart is begun again, with other ids if need be.

use crate::ids::{self, Ids};
use crate::options::{IdsOption, Options, Pretended};
use ckpt_agent::foreground::StatusPipe;
use ckpt_agent::launch::Failure;
use ckpt_agent::procfs;

const ATTEMPTS: u32 = 4;

/// The exit status of a `Failure` that is worth another attempt.
pub const ID_TAKEN: i32 = -1;

/// In the agent. Ok: the foreground part begins again.
pub fn retry(failure: Failure, options: &Options, ids: Ids, status: &mut StatusPipe) -> Result<(), Failure> {
    end_children();
    let Failure(why, code) = failure;
    if code != ID_TAKEN {
        return Err(Failure(why, code));
    }
    if ids != Ids::Exact || options.ids != IdsOption::Auto || options.attempt >= ATTEMPTS {
        return Err(Failure(why, 1));
    }
    status.again();
    Ok(())
}

/// The agent is the subreaper of all that it made.
fn end_children() {
    loop {
        for pid in procfs::all_descendants(std::process::id() as i32) {
            // SAFETY: numbers only.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        let mut status = 0;
        // SAFETY: status is an int.
        if unsafe { libc::waitpid(-1, &mut status, libc::__WALL) } < 0 {
            return;
        }
    }
}

/// For tests.
pub fn pretend(options: &Options, wanted: &[i32]) {
    if options.attempt == 1 && options.pretend.contains(&Pretended::TakenId) {
        if let Ok(0) = ids::clone_with_pid(wanted.last().copied()) {
            // SAFETY: numbers only; waits to be killed.
            unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                libc::pause();
            }
        }
    }
}
