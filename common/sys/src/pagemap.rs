//! PAGEMAP_SCAN (include/uapi/linux/fs.h, Documentation/admin-guide/mm/pagemap.rst).

pub const PAGEMAP_SCAN: usize = 0xC060_6610;

// Categories of pages.
pub const WPALLOWED: u64 = 1 << 0;
pub const WRITTEN: u64 = 1 << 1;
pub const FILE: u64 = 1 << 2;
pub const PRESENT: u64 = 1 << 3;
pub const SWAPPED: u64 = 1 << 4;
pub const PFNZERO: u64 = 1 << 5;
/// Since 6.17; a kernel that does not know it answers EINVAL.
pub const GUARD: u64 = 1 << 8;

/// `struct pm_scan_arg`: addresses in bytes, `vec` an array of `vec_len` regions of three words each.
#[repr(C)]
#[derive(Default)]
pub struct ScanArg {
    pub size: u64,
    pub flags: u64,
    pub start: u64,
    pub end: u64,
    pub walk_end: u64,
    pub vec: u64,
    pub vec_len: u64,
    pub max_pages: u64,
    pub inverted: u64,
    pub mask: u64,
    pub anyof: u64,
    pub ret: u64,
}
