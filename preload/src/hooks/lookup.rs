//! dlsym(3) with the handle of one library: it goes round those that were loaded first, so round us. A program that asks
//! the C library by name for a function (`ctypes.CDLL("libc.so.6")`, JNA, Fiddle) gets ours where we stand before it.

use core::ffi::{c_char, c_int, c_void};
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::*};

unsafe extern "C" {
    fn dlvsym(handle: *mut c_void, name: *const c_char, version: *const c_char) -> *mut c_void;
    fn dl_iterate_phdr(see: See, data: *mut c_void) -> c_int;
    fn __errno_location() -> *mut c_int;
    static __ehdr_start: u8;
    static _end: u8;
}

type See = unsafe extern "C" fn(*mut libc::dl_phdr_info, usize, *mut c_void) -> c_int;

static REAL: AtomicPtr<c_void> = AtomicPtr::new(core::ptr::null_mut());
/// Where the C library lies.
static LIBC: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// For RTLD_DEFAULT and RTLD_NEXT the real one must be entered by a jump: it tells by the return address who asks.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void {
    core::arch::naked_asm!(
        "mov rax, qword ptr [rip + {real}]",
        "test rax, rax",
        "jnz 2f",
        "push rdi",
        "push rsi",
        "sub rsp, 8",
        "call {find}",
        "add rsp, 8",
        "pop rsi",
        "pop rdi",
        "2:",
        "lea rcx, [rdi + 1]",
        "cmp rcx, 1",
        "ja {of_library}",
        "jmp rax",
        real = sym REAL,
        find = sym find,
        of_library = sym of_library,
    )
}

/// No constructor is waited for: another library's may ask first.
extern "C" fn find() -> *mut c_void {
    let version = |v: &core::ffi::CStr| {
        // SAFETY: literal strings; RTLD_NEXT is relative to this library, whose code makes the call.
        unsafe { dlvsym(libc::RTLD_NEXT, c"dlsym".as_ptr(), v.as_ptr()) }
    };
    let mut found = version(c"GLIBC_2.34");
    if found.is_null() {
        found = version(c"GLIBC_2.2.5");
    }
    REAL.store(found, Release);
    found
}

extern "C" fn of_library(handle: *mut c_void, name: *const c_char) -> *mut c_void {
    let found = real(handle, name);
    if !is_libc(found as usize) {
        return found;
    }
    // Both are found, so that no error is left for dlerror.
    let first = real(libc::RTLD_DEFAULT, name);
    // SAFETY: the linker's own symbols, only their addresses are used.
    let ours = (&raw const __ehdr_start as usize)..(&raw const _end as usize);
    if ours.contains(&(first as usize)) && real(libc::RTLD_NEXT, name) == found {
        first
    } else {
        found
    }
}

/// A call, never a jump: see `Next::find`.
#[inline(never)]
fn real(handle: *mut c_void, name: *const c_char) -> *mut c_void {
    // SAFETY: libc's dlsym, with the program's arguments or literal ones.
    let real: unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void =
        unsafe { core::mem::transmute(REAL.load(Acquire)) };
    // SAFETY: as above.
    let found = unsafe { real(handle, name) };
    core::hint::black_box(found)
}

fn is_libc(address: usize) -> bool {
    if LIBC[1].load(Acquire) == 0 {
        // SAFETY: the callback has the type that is asked for, and takes no data.
        unsafe { dl_iterate_phdr(note_libc, core::ptr::null_mut()) };
    }
    (LIBC[0].load(Acquire)..LIBC[1].load(Acquire)).contains(&address)
}

/// The library in which errno is.
unsafe extern "C" fn note_libc(info: *mut libc::dl_phdr_info, _size: usize, _data: *mut c_void) -> c_int {
    // SAFETY: the dynamic linker's description of a loaded library.
    let (base, headers) = unsafe {
        let info = &*info;
        (info.dlpi_addr as usize, core::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum as usize))
    };
    let (mut start, mut end) = (usize::MAX, 0);
    for h in headers.iter().filter(|h| h.p_type == libc::PT_LOAD) {
        let at = base.wrapping_add(h.p_vaddr as usize);
        (start, end) = (start.min(at), end.max(at.wrapping_add(h.p_memsz as usize)));
    }
    if !(start..end).contains(&(__errno_location as *const () as usize)) {
        return 0;
    }
    LIBC[0].store(start, Release);
    LIBC[1].store(end, Release);
    1
}
