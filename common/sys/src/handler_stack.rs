//! Is there room for one more signal frame? A thread in a handler on an alternate stack (sigaltstack(2)) gets ours onto
//! that one, too, and where it does not fit the kernel kills the process (arch/x86/kernel/signal.c, get_sigframe). No call
//! tells where another thread's alternate stack is, but the frame that the handler will return through does.

/// As much of the stack as is looked at, in bytes: a handler that uses more has a stack that is large enough.
pub const LOOKED_AT: usize = 16 << 10;

/// Beside the kernel's frame: the red zone, and what the handler of the checkpoint signal uses.
const OWN: u64 = 128 + 1024;

/// An alternate stack that is too small, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cramped {
    pub size: u64,
    pub free: u64,
    pub needed: u64,
}

/// `above` is the memory from stack pointer `sp` on, `frame` what the kernel needs for a frame (AT_MINSIGSTKSZ).
pub fn cramped(sp: u64, above: &[u8], frame: u64) -> Option<Cramped> {
    // struct rt_sigframe: return address, then struct ucontext: flags, link, uc_stack (address, flags, size).
    const FRAME: usize = 48;
    // arch/x86/include/uapi/asm/ucontext.h: UC_FP_XSTATE; UC_SIGCONTEXT_SS and UC_STRICT_RESTORE_SS, which are always set.
    const FP_XSTATE: u64 = 1;
    const SS_SAVED: u64 = 6;
    let needed = frame + OWN;
    let alternate = |f: &[u8]| {
        let word = |i: usize| f.get(8 * i..8 * i + 8)?.try_into().ok().map(u64::from_ne_bytes);
        let (flags, link, start, size) = (word(1)?, word(2)?, word(3)?, word(5)?);
        let end = start.checked_add(size)?;
        (flags & !FP_XSTATE == SS_SAVED && link == 0 && start != 0 && start <= sp && sp < end).then_some((start, size, end))
    };
    let step = |i: usize| above.get(8 * i..8 * i + FRAME);
    let (start, size, _) = (0..above.len() / 8).find_map(|i| {
        let at = sp.checked_add(8 * i as u64)?;
        alternate(step(i)?).filter(|(.., end)| at + (FRAME as u64) < *end)
    })?;
    let free = sp - start;
    (free < needed).then_some(Cramped { size, free, needed })
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    fn stack(before: usize, frame: [u64; 6], behind: usize) -> Vec<u8> {
        let words = std::iter::repeat_n(7, before).chain(frame).chain(std::iter::repeat_n(0x55, behind));
        words.flat_map(u64::to_ne_bytes).collect()
    }

    #[test]
    fn a_frame_on_a_small_stack_is_found() {
        let on = |start, size| stack(10, [1, 7, 0, start, 0, size], 100);
        assert_eq!(cramped(0x11000, &on(0x10000, 0x2000), 3632), Some(Cramped { size: 0x2000, free: 0x1000, needed: 3632 + OWN }));
        assert_eq!(cramped(0x11000, &on(0x10000, 0x2000), 1024), None);
        assert_eq!(cramped(0x11000, &on(0x8000, 0x10000), 3632), None);
    }

    #[test]
    fn another_stack_or_none_is_no_matter() {
        assert_eq!(cramped(0x11000, &stack(10, [1, 7, 0, 0x20000, 0, 0x2000], 100), 3632), None);
        assert_eq!(cramped(0x11000, &stack(10, [1, 7, 9, 0x10000, 0, 0x2000], 100), 3632), None);
        assert_eq!(cramped(0x11000, &stack(10, [0; 6], 100), 3632), None);
        assert_eq!(cramped(u64::MAX - 8, &stack(10, [1, 7, 0, u64::MAX - 16, 0, 0x2000], 100), 3632), None);
        assert_eq!(cramped(0x11000, &[], 3632), None);
    }
}
