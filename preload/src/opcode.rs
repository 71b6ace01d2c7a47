//! Which system call an instruction makes, told by the code before it: `mov eax, imm32` or `xor eax, eax`. Between that and the
//! instruction a compiler puts what loads the arguments: with threads glibc's own functions are so.

use ckpt_sys::raw::*;

/// How far before the instruction the number is looked for, and the instruction.
const BEFORE: usize = 40;
const LEN: usize = BEFORE + 2;
const SYSCALL: [u8; 2] = [0x0f, 0x05];

/// The number of the system call whose instruction is at `at`; the nearest load of it counts.
pub fn number_before(at: i64) -> Option<i64> {
    let code = code_until(at)?;
    if code[BEFORE..] != SYSCALL {
        return None;
    }
    (2..=BEFORE).find_map(|back| {
        let from = BEFORE - back;
        let (number, len) = load(&code, from)?;
        only_moves(&code, from + len).then_some(number)
    })
}

/// A load of eax at `from`: the number and the instruction's length. With a prefix before, it may be another register's.
fn load(code: &[u8; LEN], from: usize) -> Option<(i64, usize)> {
    let prefix = if from > 0 { code[from - 1] } else { 0 };
    match code[from..BEFORE] {
        [0x31, 0xc0, ..] if !matches!(prefix, 0x41 | 0x44 | 0x45 | 0x4d) => Some((0, 2)),
        [0xb8, a, b, c, d, ..] if prefix != 0x41 => Some((i32::from_le_bytes([a, b, c, d]).into(), 5)),
        [0x48, 0xc7, 0xc0, a, b, c, d, ..] => Some((i32::from_le_bytes([a, b, c, d]).into(), 7)),
        _ => None,
    }
}

/// Nothing but loads of other registers until the system call?
fn only_moves(code: &[u8; LEN], mut at: usize) -> bool {
    while at < BEFORE {
        match other_load(&code[at..BEFORE]) {
            Some(len) => at += len,
            None => return false,
        }
    }
    at == BEFORE
}

/// The length of an instruction that sets a register other than rax, from memory, a register or a number.
fn other_load(code: &[u8]) -> Option<usize> {
    let (rex, code) = match code {
        [rex @ 0x40..=0x4f, rest @ ..] => (*rex, rest),
        _ => (0, code),
    };
    let prefix = usize::from(rex != 0);
    let (wide, r, b) = (rex & 8 != 0, rex & 4 != 0, rex & 1 != 0);
    match code {
        [op @ 0xb8..=0xbf, ..] if b || *op != 0xb8 => Some(prefix + 1 + if wide { 8 } else { 4 }),
        // to the register in the middle of the next byte: mov, lea, movsxd, xor
        [0x8b | 0x8d | 0x63 | 0x33, rest @ ..] if r || rest.first()? & 0x38 != 0 => Some(prefix + 1 + operand(rest)?),
        // to the one at its end
        [0x89 | 0x31, m, ..] if *m >= 0xc0 && (b || m & 7 != 0) => Some(prefix + 2),
        [0xc7, m @ 0xc0..=0xc7, ..] if b || m & 7 != 0 => Some(prefix + 6),
        _ => None,
    }
}

/// The length of an operand that is in a register or memory.
fn operand(code: &[u8]) -> Option<usize> {
    let (mode, register) = (code.first()? >> 6, code.first()? & 7);
    let index = usize::from(mode != 3 && register == 4);
    let base = if index == 1 { code.get(1)? & 7 } else { register };
    let offset = match mode {
        0 if base == 5 => 4,
        1 => 1,
        2 => 4,
        _ => 0,
    };
    Some(1 + index + offset)
}

/// The code up to the instruction at `at`; what is before its page may not be there.
fn code_until(at: i64) -> Option<[u8; LEN]> {
    let start = at - BEFORE as i64;
    let mut code = [0; LEN];
    if start & !0xfff == (at + 2) & !0xfff {
        // SAFETY: in the page of the program counter, which is there: it is `at`, or behind the instruction.
        return Some(unsafe { (start as *const [u8; LEN]).read_unaligned() });
    }
    let read = |code: &mut [u8; LEN], skip: usize| {
        let (local, remote) = ([code.as_mut_ptr() as usize + skip, LEN - skip], [start as usize + skip, LEN - skip]);
        let pid = ckpt_sys::calls::getpid() as usize;
        // SAFETY: iovecs of the buffer and of memory that the kernel checks.
        let n = unsafe { syscall6(libc::SYS_process_vm_readv, pid, local.as_ptr() as usize, 1, remote.as_ptr() as usize, 1, 0) };
        n == Ok(LEN - skip)
    };
    let within = BEFORE - (at & 0xfff).min(BEFORE as i64) as usize;
    (read(&mut code, 0) || read(&mut code, within)).then_some(code)
}
