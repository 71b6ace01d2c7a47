//! What a program can ask of ckpt itself: the functions of include/ckpt/ckpt.h, found in libckpt.so when ckpt_launch has
//! loaded it. A program that was started without it runs as well: [`enabled`] is false then.
//!
//! ```no_run
//! match ckpt::checkpoint() {
//!     Ok(ckpt::Outcome::Resumed) => println!("the images are durable"),
//!     Ok(ckpt::Outcome::Restarted) => println!("back again, for the {}. time", ckpt::restarts()),
//!     Err(why) => eprintln!("no checkpoint: {why}"),
//! }
//! let _no_checkpoint_in_here = ckpt::delay();
//! ```

pub mod plugin;

use std::ffi::{c_char, c_int, c_uint, c_void, CStr};
use std::fmt;
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The library's functions; all there, or none.
pub(crate) struct Functions {
    enabled: unsafe extern "C" fn() -> c_int,
    checkpoint: unsafe extern "C" fn(*mut c_char, usize) -> c_int,
    delay: unsafe extern "C" fn() -> c_int,
    allow: unsafe extern "C" fn() -> c_int,
    restarts: unsafe extern "C" fn() -> c_int,
    status: unsafe extern "C" fn(*mut c_void, usize) -> c_int,
    pub(crate) register: unsafe extern "C" fn(*const c_void) -> c_int,
    pub(crate) take_fd: unsafe extern "C" fn(c_int) -> c_int,
    pub(crate) take_path: unsafe extern "C" fn(*const c_char, *mut c_int, c_uint) -> c_int,
    pub(crate) publish: unsafe extern "C" fn(*const c_char, *const c_void, usize) -> c_int,
    pub(crate) lookup: unsafe extern "C" fn(*const c_char, *mut c_void, usize, c_uint) -> c_int,
}

pub(crate) fn functions() -> Option<&'static Functions> {
    static FOUND: OnceLock<Option<Functions>> = OnceLock::new();
    // SAFETY: each name has the signature that ckpt.h gives it.
    FOUND.get_or_init(|| unsafe { find() }).as_ref()
}

/// # Safety
/// The names have these signatures where they exist.
unsafe fn find() -> Option<Functions> {
    // SAFETY: by the contract; dlsym answers null where there is no such name.
    unsafe {
        let at = |name: &CStr| Some(libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr())).filter(|at| !at.is_null());
        Some(Functions {
            enabled: std::mem::transmute::<*mut c_void, unsafe extern "C" fn() -> c_int>(at(c"ckpt_enabled")?),
            checkpoint: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut c_char, usize) -> c_int>(at(c"ckpt_checkpoint")?),
            delay: std::mem::transmute::<*mut c_void, unsafe extern "C" fn() -> c_int>(at(c"ckpt_delay")?),
            allow: std::mem::transmute::<*mut c_void, unsafe extern "C" fn() -> c_int>(at(c"ckpt_allow")?),
            restarts: std::mem::transmute::<*mut c_void, unsafe extern "C" fn() -> c_int>(at(c"ckpt_restarts")?),
            status: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void, usize) -> c_int>(at(c"ckpt_status")?),
            register: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*const c_void) -> c_int>(at(c"ckpt_register")?),
            take_fd: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(c_int) -> c_int>(at(c"ckpt_take_fd")?),
            take_path: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*const c_char, *mut c_int, c_uint) -> c_int>(at(c"ckpt_take_path")?),
            publish: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*const c_char, *const c_void, usize) -> c_int>(at(c"ckpt_publish")?),
            lookup: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*const c_char, *mut c_void, usize, c_uint) -> c_int>(at(c"ckpt_lookup")?),
        })
    }
}

/// Does this process run under ckpt?
pub fn enabled() -> bool {
    // SAFETY: no arguments.
    functions().is_some_and(|f| unsafe { (f.enabled)() } != 0)
}

/// How often this process was brought back; 0 outside ckpt as well.
pub fn restarts() -> u32 {
    // SAFETY: no arguments.
    functions().map_or(0, |f| unsafe { (f.restarts)() }.max(0) as u32)
}

/// What there is to know at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// How often this process was brought back.
    pub restarts: u32,
    /// The newest complete checkpoint of the computation, if there is one.
    pub generation: Option<u32>,
    /// When that was complete; none before the first since a restart.
    pub at: Option<SystemTime>,
    /// A checkpoint that is asked for would be heard.
    pub ready: bool,
    /// The computation's id, as in the names of its images.
    pub computation: String,
}

/// include/ckpt/ckpt.h
#[repr(C)]
struct RawStatus {
    size: c_uint,
    restarts: c_uint,
    generation: c_uint,
    ready: c_uint,
    at_us: u64,
    computation: [u8; 40],
}

/// None outside ckpt.
pub fn status() -> Option<Status> {
    let mut raw = RawStatus { size: 0, restarts: 0, generation: 0, ready: 0, at_us: 0, computation: [0; 40] };
    // SAFETY: writable for its length.
    let told = unsafe { (functions()?.status)((&raw mut raw).cast(), size_of::<RawStatus>()) };
    (told == 0).then(|| Status {
        restarts: raw.restarts,
        generation: (raw.generation > 0).then_some(raw.generation),
        at: (raw.at_us > 0).then(|| UNIX_EPOCH + Duration::from_micros(raw.at_us)),
        ready: raw.ready != 0,
        computation: CStr::from_bytes_until_nul(&raw.computation).unwrap_or_default().to_string_lossy().into_owned(),
    })
}

/// How a checkpoint that was asked for came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The images are complete and durable.
    Resumed,
    /// This process was brought back from them.
    Restarted,
}

/// The checkpoint was not made: why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointError(String);

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CheckpointError {}

/// Checkpoints the whole computation and waits for the end of it. Errors: not under ckpt, refused, or failed.
pub fn checkpoint() -> Result<Outcome, CheckpointError> {
    let Some(f) = functions() else { return Err(CheckpointError("not started by ckpt_launch".into())) };
    let mut reason = [0u8; 256];
    // SAFETY: reason has the length that is given.
    match unsafe { (f.checkpoint)(reason.as_mut_ptr().cast(), reason.len()) } {
        1 => Ok(Outcome::Resumed),
        2 => Ok(Outcome::Restarted),
        _ => {
            let text = CStr::from_bytes_until_nul(&reason).unwrap_or_default();
            Err(CheckpointError(text.to_string_lossy().into_owned()))
        }
    }
}

/// Keeps checkpoints off until it is dropped, by the thread that made it.
#[must_use]
#[derive(Debug)]
pub struct Delay(PhantomData<*const ()>);

/// For what must not be torn apart. May be nested; a checkpoint that waits too long for its end fails.
pub fn delay() -> Delay {
    if let Some(f) = functions() {
        // SAFETY: no arguments.
        unsafe { (f.delay)() };
    }
    Delay(PhantomData)
}

impl Drop for Delay {
    fn drop(&mut self) {
        if let Some(f) = functions() {
            // SAFETY: no arguments.
            unsafe { (f.allow)() };
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn outside_ckpt_nothing_is_there_and_nothing_breaks() {
        assert!(!super::enabled());
        assert_eq!(super::restarts(), 0);
        assert_eq!(super::status(), None);
        assert_eq!(super::checkpoint().unwrap_err().to_string(), "not started by ckpt_launch");
        drop(super::delay());
    }
}
