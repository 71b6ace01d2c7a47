//! As veto.c: a plugin that refuses a checkpoint while the file named by NO_CHECKPOINT exists.
//!
//!     cargo build --release -p ckpt-api --example veto
//!     NO_CHECKPOINT=/run/busy ckpt_launch --with-plugin target/release/examples/libveto.so ./a.out

use ckpt::plugin::{Event, Plugin};
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStringExt;
use std::sync::OnceLock;

struct Veto(OnceLock<Option<CString>>);

impl Plugin for Veto {
    fn name(&self) -> &'static CStr {
        c"veto"
    }

    /// Asked when the library is loaded, before the program runs: the environment may be read and memory allocated here.
    fn wants(&self, event: Event) -> bool {
        let named = || CString::new(std::env::var_os("NO_CHECKPOINT")?.into_vec()).ok();
        self.0.get_or_init(named).is_some() && event == Event::PreSuspend
    }

    fn at(&self, _: Event) -> Result<(), &'static str> {
        let Some(Some(path)) = self.0.get() else { return Ok(()) };
        // SAFETY: a string that ends with NUL.
        match unsafe { libc::access(path.as_ptr(), libc::F_OK) } {
            0 => Err("the file that NO_CHECKPOINT names exists"),
            _ => Ok(()),
        }
    }
}

static VETO: Veto = Veto(OnceLock::new());
ckpt::plugin!(VETO);
