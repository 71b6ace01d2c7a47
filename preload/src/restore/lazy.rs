//! Memory that is filled while the program runs: registered here, filled by a helper of ckpt_restart.

use super::{Ground, Outcome, at, step};
use crate::channel::Channel;
use ckpt_sys::calls::*;
use ckpt_sys::flat::plan::{self, PlanHead};
use ckpt_sys::flat::{Msg, Run, msg};
use ckpt_sys::raw::*;

const UFFDIO_API: usize = 0xC018_AA3F;
const UFFDIO_REGISTER: usize = 0xC020_AA00;
const MODE_MISSING: u64 = 1;

pub fn register(g: &Ground, head: &PlanHead) -> Outcome {
    let ranges = g.table::<Run>(head.lazy);
    if ranges.is_empty() {
        return Ok(());
    }
    // SAFETY: flags only.
    let made = unsafe { syscall1(libc::SYS_userfaultfd, (libc::O_CLOEXEC | libc::O_NONBLOCK) as usize) };
    let uffd = at(step::LAZY, 0, made)?;
    let mut api = plan::LAZY_API;
    // SAFETY: struct uffdio_api is three u64.
    at(step::LAZY, 0, unsafe { syscall3(libc::SYS_ioctl, uffd, UFFDIO_API, api.as_mut_ptr() as usize) })?;
    for r in ranges {
        let mut arg = [r.addr, r.bytes, MODE_MISSING, 0];
        // SAFETY: struct uffdio_register is four u64; the range is the plan's.
        at(step::LAZY, r.addr, unsafe { syscall3(libc::SYS_ioctl, uffd, UFFDIO_REGISTER, arg.as_mut_ptr() as usize) })?;
    }
    let m = Msg { kind: msg::LAZY, pid: getpid(), ..Msg::default() };
    at(step::LAZY, 0, Channel::on(head.agent).send_with(m, &[], &[uffd as Fd]))?;
    close(uffd as Fd);
    Ok(())
}
