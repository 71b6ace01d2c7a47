//! /proc text (proc(5)), parsed in place: no allocation, and no panic whatever the bytes are.

/// `nr`, six arguments, stack pointer, program counter of /proc/PID/task/TID/syscall.
pub type InCall = [u64; 9];

/// One line of /proc/PID/maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vma {
    pub start: u64,
    pub end: u64,
    pub prot: i32,
    pub shared: bool,
    pub file: bool,
    /// of which the name is gone: nothing but memory has its content
    pub deleted: bool,
    /// the kernel's own: vdso, vvar, vsyscall
    pub special: bool,
    pub vdso: bool,
}

/// A number that fits; no sign, nothing behind it.
pub fn number(digits: &[u8]) -> Option<i32> {
    let add = |n: i32, d: &u8| n.checked_mul(10)?.checked_add(i32::from(d.checked_sub(b'0').filter(|d| *d < 10)?));
    (!digits.is_empty()).then(|| digits.iter().try_fold(0, add)).flatten()
}

pub fn hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |n, &c| Some(n << 4 | u64::from((c as char).to_digit(16)?)))
}

/// `start-end perms offset dev inode path`
pub fn map_line(line: &[u8]) -> Option<Vma> {
    let mut words = line.split(|&b| b == b' ').filter(|w| !w.is_empty());
    let mut range = words.next()?.split(|&b| b == b'-');
    let (start, end) = (hex(range.next()?)?, hex(range.next()?)?);
    let perms = words.next()?;
    let inode = words.nth(2)?;
    let path = words.next().unwrap_or(b"");
    let has = |i: usize, c: u8, bit: i32| if perms.get(i) == Some(&c) { bit } else { 0 };
    Some(Vma {
        start,
        end,
        prot: has(0, b'r', libc::PROT_READ) | has(1, b'w', libc::PROT_WRITE) | has(2, b'x', libc::PROT_EXEC),
        shared: perms.get(3) == Some(&b's'),
        file: inode != b"0",
        deleted: inode != b"0" && line.ends_with(b" (deleted)"),
        special: path.starts_with(b"[v"),
        vdso: path == b"[vdso]",
    })
}

/// The letter of /proc/PID/stat.
pub fn state(stat: &[u8]) -> Option<u8> {
    let after_name = stat.iter().rposition(|&b| b == b')').map_or(0, |i| i + 2);
    stat.get(after_name).copied()
}

/// As wait(2) would tell it: the last field of /proc/PID/stat; 0 while it runs, and for those who may not trace it.
pub fn wait_status(stat: &[u8]) -> Option<i32> {
    number(stat.trim_ascii_end().rsplit(|&b| b == b' ').next()?)
}

/// The processor that the thread last ran on: field 39 of /proc/PID/stat.
pub fn processor(stat: &[u8]) -> Option<u32> {
    number(field(stat, 39)?).map(|n| n as u32)
}

/// -20 to 19: field 19 there.
pub fn nice(stat: &[u8]) -> Option<i32> {
    let word = field(stat, 19)?;
    word.strip_prefix(b"-").map_or_else(|| number(word), |digits| number(digits).map(|n| -n))
}

/// As proc(5) numbers them; from the third on.
fn field(stat: &[u8], n: usize) -> Option<&[u8]> {
    let after_name = stat.iter().rposition(|&b| b == b')')? + 2;
    stat.get(after_name..)?.split(|&b| b == b' ').nth(n.checked_sub(3)?)
}

/// `se.exec_start` of /proc/PID/sched, milliseconds with six decimals, as nanoseconds.
pub fn last_ran(sched: &[u8]) -> Option<u64> {
    let line = sched.split(|&b| b == b'\n').find_map(|l| l.strip_prefix(b"se.exec_start"))?;
    let mut digits = line.iter().filter(|b| b.is_ascii_digit()).peekable();
    digits.peek()?;
    digits.try_fold(0u64, |n, d| n.checked_mul(10)?.checked_add(u64::from(d - b'0')))
}

pub fn in_call(syscall: &[u8]) -> Option<InCall> {
    let mut out = [0; 9];
    let mut words = syscall.split(|b| b.is_ascii_whitespace()).filter(|w| !w.is_empty());
    out[0] = number(words.next()?)? as u64;
    for slot in out[1..].iter_mut() {
        *slot = hex(words.next()?.strip_prefix(b"0x")?)?;
    }
    Some(out)
}

/// The mask behind a name like `SigBlk:\t` in /proc/PID/status.
pub fn mask(status: &[u8], name: &[u8]) -> Option<u64> {
    hex(behind(status, name)?)
}

/// The number behind a name like `Seccomp_filters:\t` there.
pub fn count(status: &[u8], name: &[u8]) -> Option<u64> {
    number(behind(status, name)?).map(|n| n as u64)
}

fn behind<'a>(status: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    status.split(|&b| b == b'\n').find_map(|l| l.strip_prefix(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_do_not_fit_are_none() {
        assert_eq!(number(b"2147483647"), Some(i32::MAX));
        for text in [&b"2147483648"[..], b"", b"-1", b"1a", b"99999999999999999999"] {
            assert_eq!(number(text), None);
        }
        assert_eq!(last_ran(b"se.exec_start : 99999999999999999999999.000000\n"), None);
        assert_eq!(last_ran(b"x\nse.exec_start    :     1234.567890\n"), Some(1_234_567_890));
    }

    #[test]
    fn a_line_of_maps() {
        let line = b"7f00-7f10 r-xs 0001 08:01 42                /a b (deleted)";
        let vma = map_line(line).unwrap();
        assert!(vma.shared && vma.file && vma.deleted && !vma.special);
        assert_eq!((vma.start, vma.end, vma.prot), (0x7f00, 0x7f10, 5));
        assert!(map_line(b"ff-1 r").is_none() && map_line(b"").is_none());
    }

    #[test]
    fn what_a_thread_does() {
        let text = b"202 0x7f 0x80 0x0 0x0 0x0 0xffffffff 0x7ffe 0x7f01\n";
        assert_eq!(in_call(text), Some([202, 0x7f, 0x80, 0, 0, 0, 0xffff_ffff, 0x7ffe, 0x7f01]));
        assert_eq!(in_call(b"running\n"), None);
        assert_eq!((state(b"7 (a) b) Z 1"), state(b")")), (Some(b'Z'), None));
        assert_eq!(processor(b"7 (a) S 1"), None);
        let stat = b"7 (a) b) S 1 7 7 0 -1 4 1 0 0 0 0 0 0 0 20 -5 1";
        assert_eq!((nice(stat), nice(b"7 (a) S 1"), processor(stat)), (Some(-5), None, None));
        assert_eq!(mask(b"SigPnd:\t1\nSigBlk:\t00000000fffffffe\n", b"SigBlk:\t"), Some(0xffff_fffe));
    }
}
