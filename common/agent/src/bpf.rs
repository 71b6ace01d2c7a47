//! What a seccomp filter may answer to a call of which not every argument is known: linux/seccomp.h, the instructions
//! that kernel/seccomp.c (seccomp_check_filter) lets through. Jumps go forward only, so one pass sees every way.

use ckpt_sys::seccomp::Instruction;

/// AUDIT_ARCH_X86_64
const ARCH: u32 = 0xc000_003e;
/// sizeof(struct seccomp_data)
const DATA: u32 = 64;
pub const RET_ERRNO: u32 = 0x0005_0000;
pub const RET_LOG: u32 = 0x7ffc_0000;
pub const RET_ALLOW: u32 = 0x7fff_0000;

/// A system call: number and those of its arguments that are known.
#[derive(Clone, Copy)]
pub struct Call {
    pub number: u32,
    pub known: &'static [(u32, u64)],
}

impl Call {
    /// A word of `struct seccomp_data`; None: not known.
    fn word(&self, at: u32) -> Option<u32> {
        match at {
            0 => Some(self.number),
            4 => Some(ARCH),
            16.. => {
                let (_, value) = self.known.iter().find(|(i, _)| *i == (at - 16) / 8)?;
                Some(if at.is_multiple_of(8) { *value as u32 } else { (*value >> 32) as u32 })
            }
            _ => None,
        }
    }
}

/// Registers and memory on some way to an instruction; None: not known.
#[derive(Clone, PartialEq)]
struct Machine {
    a: Option<u32>,
    x: Option<u32>,
    memory: [Option<u32>; 16],
}

impl Machine {
    fn joined(&self, other: &Machine) -> Machine {
        let same = |a: Option<u32>, b: Option<u32>| a.filter(|_| a == b);
        let memory = std::array::from_fn(|i| same(self.memory[i], other.memory[i]));
        Machine { a: same(self.a, other.a), x: same(self.x, other.x), memory }
    }

    fn cell(&mut self, k: u32) -> &mut Option<u32> {
        &mut self.memory[k as usize % 16]
    }
}

/// What may be the answer, action and data; None: what is computed.
pub fn answers(code: &[Instruction], call: &Call) -> Vec<Option<u32>> {
    let mut ways: Vec<Option<Machine>> = vec![None; code.len()];
    let mut found = Vec::new();
    if let Some(first) = ways.first_mut() {
        *first = Some(Machine { a: Some(0), x: Some(0), memory: [Some(0); 16] });
    }
    for (at, i) in code.iter().enumerate() {
        let Some(mut m) = ways[at].take() else { continue };
        for next in step(i, &mut m, call, &mut found) {
            // A way out of the program is none that the kernel would have taken.
            let Some(way) = ways.get_mut(at + 1 + next as usize) else { found.push(None); continue };
            *way = Some(way.as_ref().map_or_else(|| m.clone(), |other| m.joined(other)));
        }
    }
    found
}

/// How many instructions are skipped, on each way that goes on.
fn step(i: &Instruction, m: &mut Machine, call: &Call, found: &mut Vec<Option<u32>>) -> Vec<u32> {
    const NEXT: u32 = 0;
    let from_x = i.code & 0x08 != 0;
    let operand = if from_x { m.x } else { Some(i.k) };
    match (i.code & 0x07, i.code & 0xf0) {
        (0, 0x00) => m.a = Some(i.k),
        (0, 0x20) => m.a = call.word(i.k),
        (0, 0x60) => m.a = *m.cell(i.k),
        (0, 0x80) => m.a = Some(DATA),
        (1, 0x00) => m.x = Some(i.k),
        (1, 0x60) => m.x = *m.cell(i.k),
        (1, 0x80) => m.x = Some(DATA),
        (2, _) => *m.cell(i.k) = m.a,
        (3, _) => *m.cell(i.k) = m.x,
        (4, op) => m.a = m.a.zip(operand).and_then(|(a, by)| computed(op, a, by)),
        (5, 0x00) => return vec![i.k],
        (5, op) => {
            let (yes, no) = (u32::from(i.jt), u32::from(i.jf));
            return match m.a.zip(operand).and_then(|(a, with)| holds(op, a, with)) {
                Some(true) => vec![yes],
                Some(false) => vec![no],
                None => vec![yes, no],
            };
        }
        (6, _) => {
            let value = if i.code & 0x18 == 0x10 { m.a } else { Some(i.k) };
            found.push(value);
            return Vec::new();
        }
        (7, 0x00) => m.x = m.a,
        (7, 0x80) => m.a = m.x,
        _ => (m.a, m.x) = (None, None),
    }
    vec![NEXT]
}

fn computed(op: u16, a: u32, by: u32) -> Option<u32> {
    Some(match op {
        0x00 => a.wrapping_add(by),
        0x10 => a.wrapping_sub(by),
        0x20 => a.wrapping_mul(by),
        0x30 => a.checked_div(by)?,
        0x40 => a | by,
        0x50 => a & by,
        0x60 => a.checked_shl(by)?,
        0x70 => a.checked_shr(by)?,
        0x80 => a.wrapping_neg(),
        0xa0 => a ^ by,
        _ => return None,
    })
}

fn holds(op: u16, a: u32, with: u32) -> Option<bool> {
    Some(match op {
        0x10 => a == with,
        0x20 => a > with,
        0x30 => a >= with,
        0x40 => a & with != 0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: u16 = 0x20;
    const EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;

    fn code(words: &[(u16, u8, u8, u32)]) -> Vec<Instruction> {
        words.iter().map(|&(code, jt, jf, k)| Instruction { code, jt, jf, k }).collect()
    }

    fn call(number: u32, known: &'static [(u32, u64)]) -> Call {
        Call { number, known }
    }

    #[test]
    fn a_number_decides() {
        let code = code(&[(LOAD, 0, 0, 0), (EQUAL, 0, 1, 140), (RETURN, 0, 0, RET_ERRNO | 42), (RETURN, 0, 0, RET_ALLOW)]);
        assert_eq!(answers(&code, &call(140, &[])), [Some(RET_ERRNO | 42)]);
        assert_eq!(answers(&code, &call(1, &[])), [Some(RET_ALLOW)]);
    }

    #[test]
    fn an_argument_that_is_not_known_takes_both_ways() {
        // The low half of the second argument.
        let code = code(&[(LOAD, 0, 0, 24), (EQUAL, 0, 1, 0x5412), (RETURN, 0, 0, RET_ERRNO | 1), (RETURN, 0, 0, RET_ALLOW)]);
        assert_eq!(answers(&code, &call(16, &[])), [Some(RET_ERRNO | 1), Some(RET_ALLOW)]);
        assert_eq!(answers(&code, &call(16, &[(1, 0x5412)])), [Some(RET_ERRNO | 1)]);
        assert_eq!(answers(&code, &call(16, &[(1, 0x5413)])), [Some(RET_ALLOW)]);
        assert_eq!(answers(&code, &call(16, &[(0, 0x5412)])), [Some(RET_ERRNO | 1), Some(RET_ALLOW)]);
    }

    #[test]
    fn masks_and_cells_are_computed() {
        let masked = [(LOAD, 0, 0, 16), (0x54, 0, 0, 0xff00), (0x02, 0, 0, 3), (0x61, 0, 0, 3), (0x00, 0, 0, 0x1200)];
        let judged = [(0x1d, 0, 1, 0), (RETURN, 0, 0, RET_ALLOW), (RETURN, 0, 0, 0)];
        let code = code(&[&masked[..], &judged[..]].concat());
        assert_eq!(answers(&code, &call(56, &[(0, 0x1234)])), [Some(RET_ALLOW)]);
        assert_eq!(answers(&code, &call(56, &[(0, 0x1334)])), [Some(0)]);
        assert_eq!(answers(&code, &call(56, &[])).len(), 2);
    }

    #[test]
    fn where_two_ways_meet_only_what_they_agree_on_is_known() {
        // A: 1 or 2 by an argument; then equal to 1?
        let meet = [(LOAD, 0, 0, 16), (EQUAL, 0, 2, 7), (0x00, 0, 0, 1), (0x05, 0, 0, 1), (0x00, 0, 0, 2)];
        let judged = [(EQUAL, 0, 1, 1), (RETURN, 0, 0, RET_ALLOW), (0x16, 0, 0, 0)];
        let code = code(&[&meet[..], &judged[..]].concat());
        assert_eq!(answers(&code, &call(1, &[(0, 7)])), [Some(RET_ALLOW)]);
        assert_eq!(answers(&code, &call(1, &[(0, 8)])), [Some(2)]);
        let both = answers(&code, &call(1, &[]));
        assert!(both.contains(&Some(RET_ALLOW)) && both.contains(&None));
    }

    #[test]
    fn programs_that_are_none_are_not_allowed() {
        assert_eq!(answers(&code(&[(LOAD, 0, 0, 0)]), &call(1, &[])), [None]);
        assert_eq!(answers(&code(&[(0x05, 0, 0, u32::MAX)]), &call(1, &[])), [None]);
        assert!(answers(&[], &call(1, &[])).is_empty());
    }
}
