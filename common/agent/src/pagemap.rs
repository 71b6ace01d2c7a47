//! PAGEMAP_SCAN and the userfaultfd calls that go with it (Documentation/admin-guide/mm/pagemap.rst,
//! userfaultfd.rst): which pages of another process were written to.

use ckpt_sys::pagemap::{PAGEMAP_SCAN, ScanArg};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::OnceLock;

pub const WPALLOWED: u64 = 1 << 0;
pub const WRITTEN: u64 = 1 << 1;
const PRESENT: u64 = 1 << 3;
const SWAPPED: u64 = 1 << 4;
const PM_SCAN_WP_MATCHING: u64 = 1;

/// Regions at a time. With room for more than 512 the kernel (6.18) may answer a `walk_end` before what it reports.
const MOST: usize = 512;

/// Calls `f` with pages that exist in [start, end) of memory that is registered: first, end, were they written to.
/// `arm`: those that were are write-protected again, in the same moment.
pub fn written(pagemap: &std::fs::File, (start, end): (u64, u64), arm: bool, mut f: impl FnMut(u64, u64, bool)) -> io::Result<()> {
    let mut regions = vec![[0u64; 3]; MOST];
    let mut at = start;
    while at < end {
        let mut arg = ScanArg {
            size: size_of::<ScanArg>() as u64,
            // Without the other conditions the kernel would mark pages that do not exist.
            flags: if arm { PM_SCAN_WP_MATCHING } else { 0 },
            start: at,
            end,
            vec: regions.as_mut_ptr() as u64,
            vec_len: regions.len() as u64,
            mask: WPALLOWED,
            anyof: PRESENT | SWAPPED,
            ret: WRITTEN | WPALLOWED,
            ..ScanArg::default()
        };
        // SAFETY: arg has the kernel's layout, vec is writable for vec_len regions.
        let n = unsafe { libc::ioctl(pagemap.as_raw_fd(), PAGEMAP_SCAN as libc::c_ulong, &raw mut arg) };
        if n < 0 {
            return Err(io::Error::last_os_error());
        }
        let begun = at;
        for r in &regions[..n as usize] {
            // A page seen twice was armed the first time: only then it was known whether it had been written to.
            if at < r[1] {
                f(r[0].max(at), r[1], r[2] & WRITTEN != 0);
                at = r[1];
            }
        }
        at = at.max(arg.walk_end);
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

/// Takes away marks that mremap carried along to memory that was not registered: kernels before 6.14.
pub fn clear_stale(uffd: BorrowedFd, (start, end): (u64, u64)) -> io::Result<()> {
    static AFFECTED: OnceLock<bool> = OnceLock::new();
    if !*AFFECTED.get_or_init(|| release() < (6, 14)) {
        return Ok(());
    }
    let mut arg = [start, end - start, 0];
    // SAFETY: struct uffdio_writeprotect is three u64.
    check(unsafe { libc::ioctl(uffd.as_raw_fd(), UFFDIO_WRITEPROTECT, arg.as_mut_ptr()) })
}

/// The kernel's; (0, 0) when it says something else.
fn release() -> (u32, u32) {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn check(returned: i32) -> io::Result<()> {
    if returned == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
