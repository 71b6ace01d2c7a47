//! What the processes of a computation can know of it without asking (`ckpt_status`): the agent writes, they read.

use core::sync::atomic::{fence, AtomicU32, AtomicU64, Ordering::*};

/// All zero when new. Odd turn: it is being written.
#[repr(C)]
pub struct Board {
    turn: AtomicU32,
    generation: AtomicU32,
    at_us: AtomicU64,
    computation: [AtomicU64; 2],
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Notice {
    pub computation: [u8; 16],
    /// the newest complete checkpoint; 0: none yet
    pub generation: u32,
    /// since 1970, when it was complete; 0: not known here
    pub at_us: u64,
}

impl Board {
    /// One writer at a time.
    pub fn write(&self, notice: &Notice) {
        let [high, low] = halves(&notice.computation);
        self.turn.fetch_add(1, AcqRel);
        fence(SeqCst);
        self.generation.store(notice.generation, Relaxed);
        self.at_us.store(notice.at_us, Relaxed);
        self.computation[0].store(high, Relaxed);
        self.computation[1].store(low, Relaxed);
        self.turn.fetch_add(1, AcqRel);
    }

    /// None: it is being written all the time, or its writer died over it.
    pub fn read(&self) -> Option<Notice> {
        (0..1000).find_map(|_| {
            let turn = self.turn.load(Acquire);
            let halves = [self.computation[0].load(Relaxed), self.computation[1].load(Relaxed)];
            let (generation, at_us) = (self.generation.load(Relaxed), self.at_us.load(Relaxed));
            fence(SeqCst);
            let computation = u128::from(halves[0]) << 64 | u128::from(halves[1]);
            let notice = Notice { computation: computation.to_be_bytes(), generation, at_us };
            (turn & 1 == 0 && self.turn.load(Acquire) == turn).then_some(notice)
        })
    }
}

fn halves(id: &[u8; 16]) -> [u64; 2] {
    let whole = u128::from_be_bytes(*id);
    [(whole >> 64) as u64, whole as u64]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        // SAFETY: zero is a value of every field.
        let board: Board = unsafe { core::mem::zeroed() };
        assert_eq!(board.read(), Some(Notice::default()));
        let notice = Notice { computation: *b"0123456789abcdef", generation: 7, at_us: 5 };
        board.write(&notice);
        assert_eq!(board.read(), Some(notice));
        board.turn.fetch_add(1, AcqRel);
        assert_eq!(board.read(), None);
    }
}
