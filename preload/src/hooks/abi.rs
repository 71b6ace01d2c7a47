//! Between the C ABI and the hooks: the `hook!` macro, results to -1 and errno, the functions behind ours.

use ckpt_sys::raw::{Errno, Result};
use core::ffi::{c_char, c_int, c_void, CStr};
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

unsafe extern "C" {
    fn __errno_location() -> *mut c_int;
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    static environ: *const *const c_char;
}

/// One hook, one declaration: the exported C symbol, its signature checked against `libc` (unless `unchecked`: not
/// there, or variadic), and `NAME::next`, the function of the same name behind ours. With `when`, everything but
/// that condition is one jump to `next`. The body's answer becomes the C return value by `Answer`.
macro_rules! hook {
    (@check unchecked $name:ident ($($type:ty),*) -> $ret:ty) => {};
    (@check $name:ident ($($type:ty),*) -> $ret:ty) => {
        const _: unsafe extern "C" fn($($type),*) -> $ret = libc::$name;
    };
    (@on) => { true };
    (@on $on:expr) => { $on };
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) -> $ret:ty $(, when $on:expr)? => $body:path) => {
        hook!(@export [] $(#[$doc])* $name($($arg: $type),*) -> $ret $(, when $on)? => $body);
    };
    ($(#[$doc:meta])* unchecked fn $name:ident($($arg:ident: $type:ty),*) -> $ret:ty $(, when $on:expr)?
        => $body:path) => {
        hook!(@export [unchecked] $(#[$doc])* $name($($arg: $type),*) -> $ret $(, when $on)? => $body);
    };
    (@export [$($check:ident)?] $(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) -> $ret:ty $(, when $on:expr)?
        => $body:path) => {
        #[allow(dead_code, non_snake_case)] // not every body falls back; names are C's
        pub mod $name {
            use super::*;
            static NEXT: $crate::hooks::abi::Next = {
                const NAME: &str = concat!(stringify!($name), "\0");
                $crate::hooks::abi::Next::new(NAME)
            };
            /// Looks `next` up ahead of its first use.
            pub fn prepare() {
                NEXT.address();
            }

            /// The function that the program would have reached without us.
            #[inline]
            #[allow(clippy::too_many_arguments)]
            pub fn next($($arg: $type),*) -> $ret {
                // SAFETY: the next definition of this symbol has this signature; the arguments are the program's.
                let real: unsafe extern "C" fn($($type),*) -> $ret = unsafe { core::mem::transmute(NEXT.address()) };
                // SAFETY: as above.
                unsafe { real($($arg),*) }
            }
        }
        const _: () = {
            hook!(@check $($check)? $name ($($type),*) -> $ret);
            $(#[$doc])*
            #[unsafe(export_name = stringify!($name))]
            #[allow(clippy::too_many_arguments)]
            unsafe extern "C" fn hook($($arg: $type),*) -> $ret {
                if !hook!(@on $($on)?) {
                    return $name::next($($arg),*);
                }
                answer($($arg),*)
            }
            // The stack that the body wants is not taken where it is not entered: handlers and coroutines have little.
            #[inline(never)]
            #[allow(clippy::too_many_arguments)]
            fn answer($($arg: $type),*) -> $ret {
                $crate::hooks::abi::Answer::answer($body($($arg),*))
            }
        };
    };
}
pub(super) use hook;

/// A function behind ours, looked up at its first use.
pub struct Next {
    name: &'static str,
    address: AtomicPtr<c_void>,
}

impl Next {
    /// `name` ends with a NUL.
    pub const fn new(name: &'static str) -> Self {
        Next { name, address: AtomicPtr::new(core::ptr::null_mut()) }
    }

    #[inline(always)]
    pub fn address(&self) -> *mut c_void {
        let known = self.address.load(Relaxed);
        if known.is_null() {
            self.find()
        } else {
            known
        }
    }

    #[cold]
    #[inline(never)]
    fn find(&self) -> *mut c_void {
        // SAFETY: the name is NUL-terminated; RTLD_NEXT is relative to this library, whose code makes the call.
        let mut found = unsafe { dlsym(libc::RTLD_NEXT, self.name.as_ptr().cast()) };
        if found.is_null() {
            found = missing as *mut c_void;
        }
        self.address.store(found, Relaxed);
        found
    }
}

/// Stands for a function that this libc does not have.
extern "C" fn missing() -> isize {
    set_errno(Errno::NOSYS);
    -1
}

pub fn set_errno(e: Errno) {
    // SAFETY: the address is the calling thread's errno, always valid.
    unsafe { *__errno_location() = e.0 }
}

pub fn errno() -> Errno {
    // SAFETY: as in `set_errno`.
    Errno(unsafe { *__errno_location() })
}

/// The program's environment, as it is now.
pub fn environment() -> *const *const c_char {
    // SAFETY: libc's variable; the program may change it at any time, as it may for libc's own reads.
    unsafe { (&raw const environ).read_volatile() }
}

pub fn set_environment(to: *const *const c_char) {
    // SAFETY: libc's variable is writable; `to` is a NULL-terminated array (the callers').
    unsafe { (&raw const environ).cast_mut().write_volatile(to) }
}

/// How a hook's answer becomes a C return value.
pub trait Answer<T> {
    fn answer(self) -> T;
}

/// The value that says "see errno".
pub trait Failure {
    const FAILED: Self;
}

impl Failure for i32 {
    const FAILED: Self = -1;
}
impl Failure for i64 {
    const FAILED: Self = -1;
}
impl Failure for isize {
    const FAILED: Self = -1;
}
impl Failure for usize {
    const FAILED: Self = usize::MAX;
}
impl<T> Failure for *mut T {
    const FAILED: Self = core::ptr::null_mut();
}

impl<T: Failure> Answer<T> for Result<T> {
    #[inline]
    fn answer(self) -> T {
        self.unwrap_or_else(|e| {
            set_errno(e);
            T::FAILED
        })
    }
}

/// Functions that return the error number itself (`pthread_*`, `posix_spawn`).
pub struct Code(pub Result<()>);

impl Answer<c_int> for Code {
    #[inline]
    fn answer(self) -> c_int {
        self.0.map_or_else(|e| e.0, |()| 0)
    }
}

/// A value passed on as it is, errno untouched.
pub struct Plain<T>(pub T);

impl<T> Answer<T> for Plain<T> {
    #[inline]
    fn answer(self) -> T {
        self.0
    }
}

/// A system call with the program's own arguments.
#[inline]
pub fn kernel(n: libc::c_long, a: [usize; 6]) -> Result<usize> {
    // SAFETY: the program asked for this call with these addresses; the kernel checks them, and what it writes
    // is where the program told it to.
    ckpt_sys::raw::check(unsafe { crate::asm::by_number(n, a[0], a[1], a[2], a[3], a[4], a[5]) })
}

/// `kernel` with the arguments that matter; the rest are zero.
macro_rules! ask {
    ($n:expr $(, $arg:expr)*) => {
        $crate::hooks::abi::kernel($n, $crate::hooks::abi::pad([$($arg as usize),*]))
    };
}
pub(super) use ask;

#[inline(always)]
pub fn pad<const N: usize>(given: [usize; N]) -> [usize; 6] {
    let mut all = [0; 6];
    let mut i = 0;
    while i < N && i < 6 {
        all[i] = given[i];
        i += 1;
    }
    all
}

/// Reads through a pointer of the program's; None for NULL.
#[inline(always)]
pub fn load<T: Copy>(from: *const T) -> Option<T> {
    // SAFETY: not NULL, and an argument that libc itself would read.
    (!from.is_null()).then(|| unsafe { from.read_unaligned() })
}

/// Writes through a pointer of the program's, unless it is NULL.
#[inline(always)]
pub fn store<T>(to: *mut T, value: T) {
    if !to.is_null() {
        // SAFETY: not NULL, and an argument that libc itself would write.
        unsafe { to.write_unaligned(value) }
    }
}

/// The bytes of a C string of the program's, NUL left out; empty for NULL.
pub fn bytes<'a>(string: *const c_char) -> &'a [u8] {
    if string.is_null() {
        return &[];
    }
    // SAFETY: an argument that libc itself would read to its NUL.
    unsafe { CStr::from_ptr(string) }.to_bytes()
}

/// A NULL-terminated array of the program's, NULL left out; NULL is an empty one.
pub fn array<'a>(list: *const *const c_char) -> &'a [*const c_char] {
    if list.is_null() {
        return &[];
    }
    let mut n = 0;
    // SAFETY: an argument that libc itself would read to its NULL.
    unsafe {
        while !(*list.add(n)).is_null() {
            n += 1;
        }
        core::slice::from_raw_parts(list, n)
    }
}
