//! /proc/self/maps, line by line, in bounded memory.

use ckpt_sys::calls::*;
pub use ckpt_sys::procfs::{Vma, map_line as parse};
use ckpt_sys::raw::*;

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
