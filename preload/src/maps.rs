//! /proc/self/maps, line by line, in bounded memory.

use ckpt_sys::calls::*;
use ckpt_sys::raw::*;

#[derive(Clone, Copy)]
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

/// Calls `f` with each mapping. `buf` must hold the longest line (a path of 4 KiB).
pub fn each(buf: &mut [u8], mut f: impl FnMut(&Vma) -> Result<()>) -> Result<()> {
    let fd = open(c"/proc/thread-self/maps", libc::O_RDONLY | libc::O_CLOEXEC)?;
    let mut held = 0;
    let result = loop {
        let n = match read(fd, &mut buf[held..]) {
            Ok(0) => break Ok(()),
            Ok(n) => held + n,
            Err(e) => break Err(e),
        };
        let complete = buf[..n].iter().rposition(|&b| b == b'\n').map_or(0, |i| i + 1);
        let mut failed = None;
        for line in buf[..complete].split(|&b| b == b'\n').filter(|l| !l.is_empty()) {
            if let Some(Err(e)) = parse(line).map(|v| f(&v)) {
                failed = Some(e);
                break;
            }
        }
        if let Some(e) = failed {
            break Err(e);
        }
        buf.copy_within(complete..n, 0);
        held = n - complete;
    };
    close(fd);
    result
}

/// `start-end perms offset dev inode path`
pub fn parse(line: &[u8]) -> Option<Vma> {
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

fn hex(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0u64, |n, &c| Some(n << 4 | (c as char).to_digit(16)? as u64))
}
