//! CLOCK_MONOTONIC and CLOCK_BOOTTIME of the program: after a reboot or on another host they go on from where they were,
//! in a time namespace (time_namespaces(7)).

use crate::image_set::Member;
use ckpt_image::Clocks;
use std::io;

/// Offsets that a time namespace must have, nanoseconds. None: the clocks here will do.
pub fn wanted(members: &[Member], here: &Clocks, other_boot: bool) -> Option<[i64; 2]> {
    let all = members.iter().map(|m| offsets(&m.meta.machine.clocks, here, other_boot));
    let furthest = all.reduce(|a, b| [a[0].max(b[0]), a[1].max(b[1])])?;
    (furthest != here.offsets).then_some(furthest)
}

/// Within a boot, those of before: the time between has passed. Else so that the clocks go on.
fn offsets(then: &Clocks, here: &Clocks, other_boot: bool) -> [i64; 2] {
    if then.boot_id == here.boot_id && !other_boot {
        return then.offsets;
    }
    [0, 1].map(|i| here.offsets[i].saturating_add(then.now[i].saturating_sub(here.now[i])))
}

/// What the program would see without a namespace, in words; None: nothing that matters.
pub fn jump(members: &[Member], here: &Clocks) -> Option<(bool, String)> {
    let ahead = members.iter().map(|m| m.meta.machine.clocks.now[0].saturating_sub(here.now[0])).max()?;
    let seconds = (ahead / 1_000_000_000).unsigned_abs();
    match ahead {
        1.. => Some((true, format!("the program's clock (CLOCK_MONOTONIC) would go back by {} s, and this user may not make a time namespace; give --ids namespace, or add --force", seconds.max(1)))),
        _ => Some((false, format!("the machine was booted since, and this user may not make a time namespace: the program's clock (CLOCK_MONOTONIC) jumps {seconds} s ahead"))),
    }
}

/// The children of this process will be in a new time namespace. Errors: EPERM without CAP_SYS_ADMIN, EINVAL where the
/// kernel has none.
pub fn enter(offsets: [i64; 2]) -> io::Result<()> {
    const CLONE_NEWTIME: i32 = 0x80;
    const BILLION: i64 = 1_000_000_000;
    // SAFETY: flags only.
    if unsafe { libc::unshare(CLONE_NEWTIME) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let line = |name: &str, offset: i64| format!("{name} {} {}\n", offset.div_euclid(BILLION), offset.rem_euclid(BILLION));
    std::fs::write("/proc/self/timens_offsets", line("monotonic", offsets[0]) + &line("boottime", offsets[1]))
}

/// In a child, so that nothing is entered for good.
pub fn may_enter(offsets: [i64; 2]) -> bool {
    // SAFETY: the child only makes system calls and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: ends the child.
        unsafe { libc::_exit(enter(offsets).is_err() as i32) }
    }
    let mut status = 0;
    // SAFETY: status is an int.
    child > 0 && unsafe { libc::waitpid(child, &mut status, 0) } == child && status == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clocks(boot: &str, now: i64, offset: i64) -> Clocks {
        Clocks { boot_id: boot.into(), now: [now; 2], offsets: [offset; 2] }
    }

    #[test]
    fn clocks_go_on_after_a_reboot_and_run_within_one_boot() {
        assert_eq!(offsets(&clocks("a", 500, 0), &clocks("a", 900, 0), false), [0; 2]);
        assert_eq!(offsets(&clocks("a", 500, 70), &clocks("a", 900, 0), false), [70; 2]);
        assert_eq!(offsets(&clocks("a", 500, 0), &clocks("b", 20, 0), false), [480; 2]);
        assert_eq!(offsets(&clocks("a", 500, 0), &clocks("b", 900, 30), false), [-370; 2]);
    }
}
