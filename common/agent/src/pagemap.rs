//! PAGEMAP_SCAN and the userfaultfd calls that go with it (Documentation/admin-guide/mm/pagemap.rst,
//! userfaultfd.rst): which pages of another process were written to.

use ckpt_sys::pagemap::{GUARD, PAGEMAP_SCAN, PRESENT, SWAPPED, ScanArg, WPALLOWED, WRITTEN};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

const PM_SCAN_WP_MATCHING: u64 = 1;

/// Regions at a time. With room for more than 512 the kernel (6.18) may answer a `walk_end` before what it reports.
const MOST: usize = 512;

/// Calls `f` with pages that exist in [start, end) of memory that is registered: first, end, were they written to.
/// `arm`: those that were are write-protected again, in the same moment.
pub fn written(pagemap: &File, range: (u64, u64), arm: bool, mut f: impl FnMut(u64, u64, bool)) -> io::Result<()> {
    let flags = if arm { PM_SCAN_WP_MATCHING } else { 0 };
    // Without the condition on pages that exist the kernel would mark others too.
    let ask = ScanArg { flags, mask: WPALLOWED, anyof: PRESENT | SWAPPED, ret: WRITTEN | WPALLOWED, ..ScanArg::default() };
    scan(pagemap, range, ask, |from, to, found| f(from, to, found & WRITTEN != 0))
}

/// Calls `f` with pages that exist in [start, end) of memory that is not registered: first, end, do they carry the mark of
/// a registration that is no more.
pub fn unregistered(pagemap: &File, range: (u64, u64), mut f: impl FnMut(u64, u64, bool)) -> io::Result<()> {
    let ask = ScanArg { inverted: WPALLOWED, mask: WPALLOWED, anyof: PRESENT | SWAPPED, ret: WRITTEN, ..ScanArg::default() };
    scan(pagemap, range, ask, |from, to, found| f(from, to, found & WRITTEN == 0))
}

/// Guards (MADV_GUARD_INSTALL), which look like pages in swap space, are passed over.
fn scan(pagemap: &File, (start, end): (u64, u64), mut ask: ScanArg, mut f: impl FnMut(u64, u64, u64)) -> io::Result<()> {
    let mut regions = vec![[0u64; 3]; MOST];
    (ask.size, ask.end) = (size_of::<ScanArg>() as u64, end);
    (ask.vec, ask.vec_len) = (regions.as_mut_ptr() as u64, regions.len() as u64);
    ask.ret |= GUARD;
    let mut at = start;
    while at < end {
        ask.start = at;
        // SAFETY: ask has the kernel's layout, vec is writable for vec_len regions.
        let n = unsafe { libc::ioctl(pagemap.as_raw_fd(), PAGEMAP_SCAN as libc::c_ulong, &raw mut ask) };
        if n < 0 {
            let e = io::Error::last_os_error();
            if e.raw_os_error() == Some(libc::EINVAL) && ask.ret & GUARD != 0 {
                ask.ret &= !GUARD;
                continue;
            }
            return Err(e);
        }
        let begun = at;
        for r in &regions[..n as usize] {
            // A page seen twice was armed the first time: only then it was known whether it had been written to.
            if at < r[1] {
                if r[2] & GUARD == 0 {
                    f(r[0].max(at), r[1], r[2]);
                }
                at = r[1];
            }
        }
        at = at.max(ask.walk_end);
        if at <= begun {
            return Err(io::Error::other("the kernel's page scan does not advance"));
        }
    }
    Ok(())
}

const UFFD_API: u64 = 0xAA;
const UFFDIO_API: libc::c_ulong = 0xC018_AA3F;
const UFFDIO_REGISTER: libc::c_ulong = 0xC020_AA00;
const UFFDIO_WRITEPROTECT: libc::c_ulong = 0xC018_AA06;
const FEATURE_WP_UNPOPULATED: u64 = 1 << 13;
const FEATURE_WP_ASYNC: u64 = 1 << 15;
const REGISTER_MODE_WP: u64 = 1 << 1;

/// Linux 6.7. Errors: EINVAL from a kernel that does not know it.
pub fn begin(uffd: BorrowedFd) -> io::Result<()> {
    let mut api = [UFFD_API, FEATURE_WP_ASYNC | FEATURE_WP_UNPOPULATED, 0];
    // SAFETY: struct uffdio_api is three u64.
    check(unsafe { libc::ioctl(uffd.as_raw_fd(), UFFDIO_API, api.as_mut_ptr()) })
}

/// From now on writes to pages of the range that `written` armed are noted. Errors: EBUSY when the program tracks the
/// range itself.
pub fn register(uffd: BorrowedFd, (start, end): (u64, u64)) -> io::Result<()> {
    let mut arg = [start, end - start, REGISTER_MODE_WP, 0];
    // SAFETY: struct uffdio_register is four u64.
    check(unsafe { libc::ioctl(uffd.as_raw_fd(), UFFDIO_REGISTER, arg.as_mut_ptr()) })
}

/// Takes marks away from memory that is registered.
pub fn clear(uffd: BorrowedFd, (start, end): (u64, u64)) -> io::Result<()> {
    let mut arg = [start, end - start, 0];
    // SAFETY: struct uffdio_writeprotect is three u64.
    check(unsafe { libc::ioctl(uffd.as_raw_fd(), UFFDIO_WRITEPROTECT, arg.as_mut_ptr()) })
}

fn check(returned: i32) -> io::Result<()> {
    if returned == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
