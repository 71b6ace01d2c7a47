//! AddressSanitizer ends a program in which another library comes before its own, as ours does. The order that it asks for
//! is the one its own functions need: behind ours they still come before the C library's.

use core::ffi::c_char;

/// The sanitizer asks for options by this name; those in ASAN_OPTIONS go over them.
#[unsafe(no_mangle)]
extern "C" fn __asan_default_options() -> *const c_char {
    c"verify_asan_link_order=0".as_ptr()
}
