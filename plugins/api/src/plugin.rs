//! Taking part in checkpoints from inside: what include/ckpt/plugin.h is for C.
//!
//! Callbacks run in the stopped process, where any lock may be held by a thread that stands still: no allocation, no
//! printing, no locks. One that takes longer than 10 s is left where it is: nothing is dropped then. docs/PLUGINS.md has
//! the whole list.

use std::ffi::{c_char, c_int, c_uint, c_void, CStr};
use std::os::fd::RawFd;

/// What happened, or is about to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Event {
    /// Other threads still run.
    PreSuspend = 1,
    /// Every thread stands still.
    PreCheckpoint = 2,
    /// They go on next; also after a checkpoint that failed.
    Resume = 3,
    /// They go on next, in a process that was brought back.
    Restart = 4,
    /// In the child.
    Fork = 5,
    /// The program is about to be replaced.
    PreExec = 6,
    /// exit(3)
    Exit = 7,
}

impl Event {
    const ALL: [Event; 7] =
        [Event::PreSuspend, Event::PreCheckpoint, Event::Resume, Event::Restart, Event::Fork, Event::PreExec, Event::Exit];
}

/// One that is told.
pub trait Plugin: Sync {
    /// For diagnoses.
    fn name(&self) -> &'static CStr;

    /// Which events `at` is called for.
    fn wants(&self, event: Event) -> bool;

    /// Err: why there can be no checkpoint now; it counts at `PreSuspend` and `PreCheckpoint` alone.
    fn at(&self, event: Event) -> Result<(), &'static str>;
}

#[repr(C)]
struct Occasion {
    version: c_uint,
    event: c_uint,
    restarts: c_uint,
    reason_len: c_uint,
    reason: *mut c_char,
}

#[repr(C)]
struct Description {
    version: c_uint,
    events: c_uint,
    name: *const c_char,
    callback: unsafe extern "C" fn(*mut Occasion, *mut c_void) -> c_int,
    data: *mut c_void,
}

const VERSION: c_uint = 1;

/// Has `plugin` told from now on. False: not under ckpt, another version, or 64 are registered.
pub fn register<P: Plugin>(plugin: &'static P) -> bool {
    let Some(f) = crate::functions() else { return false };
    let events = Event::ALL.into_iter().filter(|&event| plugin.wants(event)).fold(0, |all, event| all | 1 << event as u32);
    let data = std::ptr::from_ref(plugin).cast_mut().cast();
    let description = Description { version: VERSION, events, name: plugin.name().as_ptr(), callback: call::<P>, data };
    // SAFETY: the description is copied; the plugin and its name stay.
    unsafe { (f.register)((&raw const description).cast()) == 0 }
}

/// Has a `static` registered when the library that it is in is loaded: what CKPT_PLUGIN is for C. For a crate of type
/// `cdylib`, which `ckpt_launch --with-plugin` loads.
#[macro_export]
macro_rules! plugin {
    ($plugin:path) => {
        const _: () = {
            extern "C" fn begin() {
                $crate::plugin::register(&$plugin);
            }
            #[used]
            #[link_section = ".init_array"]
            static BEGIN: extern "C" fn() = begin;
        };
    };
}

unsafe extern "C" fn call<P: Plugin>(occasion: *mut Occasion, data: *mut c_void) -> c_int {
    // SAFETY: `register` gave this plugin; the library fills the occasion in.
    let (plugin, occasion) = unsafe { (&*data.cast::<P>(), &*occasion) };
    let Some(event) = Event::ALL.into_iter().find(|&event| event as u32 == occasion.event) else { return 0 };
    let Err(why) = plugin.at(event) else { return 0 };
    let len = why.len().min((occasion.reason_len as usize).saturating_sub(1));
    // SAFETY: the buffer has reason_len bytes, all zero.
    unsafe { std::ptr::copy_nonoverlapping(why.as_ptr(), occasion.reason.cast(), len) };
    1
}

/// At `PreCheckpoint`: the descriptor is not captured; after a restart it is closed until the plugin opens it again.
pub fn take_fd(fd: RawFd) -> bool {
    // SAFETY: numbers only.
    crate::functions().is_some_and(|f| unsafe { (f.take_fd)(fd) } == 0)
}

/// The same for every descriptor that is open on `path` or, if that ends with a slash, below it: how many, and as many of
/// their numbers as fit.
pub fn take_path(path: &CStr, fds: &mut [RawFd]) -> Option<usize> {
    let f = crate::functions()?;
    // SAFETY: the path is readable, fds writable for its length.
    let count = unsafe { (f.take_path)(path.as_ptr(), fds.as_mut_ptr(), fds.len() as c_uint) };
    usize::try_from(count).ok()
}

/// Tells all processes of the computation on this host.
pub fn publish(key: &CStr, value: &[u8]) -> bool {
    // SAFETY: key and value are readable.
    crate::functions().is_some_and(|f| unsafe { (f.publish)(key.as_ptr(), value.as_ptr().cast(), value.len()) } == 0)
}

/// What somebody has published, as much as fits, and its whole length; waits up to `patience_ms`.
pub fn look_up(key: &CStr, value: &mut [u8], patience_ms: u32) -> Option<usize> {
    let f = crate::functions()?;
    // SAFETY: key is readable, value writable for its length.
    let len = unsafe { (f.lookup)(key.as_ptr(), value.as_mut_ptr().cast(), value.len(), patience_ms) };
    usize::try_from(len).ok()
}
