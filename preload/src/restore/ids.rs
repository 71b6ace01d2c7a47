//! Ids that saved state holds as the kernel had them: what they are now.

use super::Ground;
use ckpt_sys::flat::plan::Renamed;
use ckpt_sys::flat::{Pending, ThreadRecord};
use ckpt_sys::idtable::{IdTable, VirtualPid};

/// The kernel's id now for the kernel's id then. 0 and groups (negative) as system calls take them.
pub fn now(g: &Ground, then: i32) -> i32 {
    if then == 0 || then == -1 || then == i32::MIN {
        return then;
    }
    if then < 0 {
        return -now(g, -then);
    }
    let head = g.head();
    let program = g.table::<Renamed>(head.renamed).iter().find(|r| r.then == then).map_or(then, |r| r.program);
    // SAFETY: the plan maps the table there, shared with all processes of the computation.
    match unsafe { IdTable::at(head.id_table as *mut u8) } {
        Some(table) if head.id_table != 0 => table.to_real(VirtualPid(program)).0,
        _ => program,
    }
}

/// A call that will be repeated and waits for a process holds its id in a register.
pub fn fix_frame(g: &Ground, t: &ThreadRecord) {
    // SAFETY: the frame lies in restored memory, and the program counter in restored text.
    unsafe {
        let regs = &mut (*(t.frame as *mut libc::ucontext_t)).uc_mcontext.gregs;
        let rip = regs[libc::REG_RIP as usize] as *const [u8; 2];
        let which = match regs[libc::REG_RAX as usize] {
            libc::SYS_wait4 => libc::REG_RDI,
            libc::SYS_waitid if matches!(regs[libc::REG_RDI as usize] as u32, libc::P_PID | libc::P_PGID) => libc::REG_RSI,
            _ => return,
        };
        if rip.read_unaligned() == [0x0f, 0x05] {
            let old = regs[which as usize] as i32;
            regs[which as usize] = now(g, old) as i64;
        }
    }
}

const SI_TIMER: i32 = -2;
const SI_SIGIO: i32 = -5;

/// A signal from a process names it.
pub fn fix_siginfo(g: &Ground, p: &Pending) -> Pending {
    let mut p = *p;
    let (signal, code) = (p.info[0][0] as i32, p.info[0][1] as i32);
    let from_process = code <= 0 && code != SI_TIMER && code != SI_SIGIO || signal == libc::SIGCHLD && code > 0;
    if from_process {
        let pid = now(g, p.info[0][2] as i32);
        p.info[0][2] = p.info[0][2] & !0xffff_ffff | pid as u32 as u64;
    }
    p
}
