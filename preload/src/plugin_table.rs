//! Who wants to be told of events in this process: plugins and single callbacks, in the order in which they came.

use core::ffi::{c_char, c_int, c_void, CStr};
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering::*};

/// `CKPT_PLUGIN_VERSION` of include/ckpt/plugin.h.
pub const VERSION: u32 = 1;
const ENTRIES: usize = 64;
/// The name of callbacks that come one by one.
pub static SINGLE: &CStr = c"a callback of the program";

/// `struct ckpt_occasion`
#[repr(C)]
pub struct Occasion {
    pub version: u32,
    pub event: u32,
    pub restarts: u32,
    pub reason_len: u32,
    pub reason: *mut c_char,
}

pub type Callback = unsafe extern "C" fn(*mut Occasion, *mut c_void) -> c_int;

/// `struct ckpt_plugin`; lives as long as the process.
#[repr(C)]
pub struct Plugin {
    pub version: u32,
    /// bit per event
    pub events: u32,
    pub name: *const c_char,
    pub callback: Option<Callback>,
    pub data: *mut c_void,
}

/// One that was registered; `events` is set last.
pub struct Entry {
    events: AtomicU32,
    name: AtomicPtr<c_char>,
    callback: AtomicUsize,
    data: AtomicPtr<c_void>,
}

static TABLE: [Entry; ENTRIES] = [const {
    Entry {
        events: AtomicU32::new(0),
        name: AtomicPtr::new(core::ptr::null_mut()),
        callback: AtomicUsize::new(0),
        data: AtomicPtr::new(core::ptr::null_mut()),
    }
}; ENTRIES];
static COUNT: AtomicUsize = AtomicUsize::new(0);

impl Entry {
    pub fn wants(&self, event: u32) -> bool {
        self.events.load(Acquire) >> event & 1 != 0
    }

    pub fn name(&self) -> &[u8] {
        match self.name.load(Acquire) {
            name if name.is_null() => b"without a name",
            // SAFETY: a plugin's name is NUL-terminated and stays.
            name => unsafe { CStr::from_ptr(name).to_bytes() },
        }
    }

    /// False: a single callback.
    pub fn is_plugin(&self) -> bool {
        self.name.load(Acquire).cast_const() != SINGLE.as_ptr()
    }

    /// # Safety
    /// On a stack of ours, with all signals blocked, `occasion` filled in.
    pub unsafe fn call(&self, occasion: *mut Occasion) -> c_int {
        let at = self.callback.load(Acquire);
        // SAFETY: registered as a function of this type; the data are its own.
        unsafe {
            let callback: Callback = core::mem::transmute(at);
            callback(occasion, self.data.load(Acquire))
        }
    }
}

/// In the order of registration.
pub fn entries() -> &'static [Entry] {
    &TABLE[..COUNT.load(Acquire).min(ENTRIES)]
}

/// A library that has registered stays loaded, or dlclose(3) would leave us a callback into nothing.
fn pin(callback: *const c_void) {
    // SAFETY: dladdr fills the structure in; a program calls us where it may call dlopen. The main program cannot be
    // unloaded and may not be found by this name.
    unsafe {
        let mut found: libc::Dl_info = core::mem::zeroed();
        if libc::dladdr(callback, &raw mut found) != 0 && !found.dli_fname.is_null() {
            libc::dlopen(found.dli_fname, libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE);
        }
    }
}

/// Tells `plugin` from now on of the events in its mask. 0; -1: another version, no callback, or 64 are registered.
///
/// # Safety
/// `plugin` is valid for reads, its name and data for the life of the process.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ckpt_register(plugin: *const Plugin) -> c_int {
    // SAFETY: by the contract.
    let Some(plugin) = (unsafe { plugin.as_ref() }) else { return -1 };
    let Some(callback) = plugin.callback.filter(|_| plugin.version == VERSION) else { return -1 };
    let at = COUNT.fetch_add(1, AcqRel);
    let Some(entry) = TABLE.get(at) else {
        COUNT.store(ENTRIES, Release);
        return -1;
    };
    pin(callback as *const c_void);
    entry.name.store(plugin.name.cast_mut(), Release);
    entry.callback.store(callback as *const () as usize, Release);
    entry.data.store(plugin.data, Release);
    entry.events.store(plugin.events, Release);
    0
}
