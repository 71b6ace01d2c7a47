//! io_uring(7) is not there: its rings and requests are in the kernel and cannot be read back. Programs that could use
//! one do without where it is switched off, as in containers and by kernel.io_uring_disabled; so they do here.
//! liburing makes its system calls itself, therefore its own functions. They return -errno.

use core::ffi::{c_int, c_uint, c_void};

const MISSING: c_int = -libc::ENOSYS;

macro_rules! missing {
    ($($name:ident($($type:ty),*)),* $(,)?) => { $(
        #[unsafe(no_mangle)]
        extern "C" fn $name($(_: $type),*) -> c_int {
            MISSING
        }
    )* };
}

missing! {
    io_uring_setup(c_uint, *mut c_void),
    io_uring_queue_init(c_uint, *mut c_void, c_uint),
    io_uring_queue_init_params(c_uint, *mut c_void, *mut c_void),
    io_uring_queue_init_mem(c_uint, *mut c_void, *mut c_void, *mut c_void, usize),
}
