//! A folder of a test's own, removed at its end. Not below /tmp, which instances have for themselves.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        // What a test that was cut off leaves there is removed by plugins/test, which names the folder.
        let base = std::env::var("CKPT_CLOUD_SCRATCH").unwrap_or_else(|_| "/var/tmp".into());
        let path = Path::new(&base).join(format!("ckpt-cloud-{}-{}", std::process::id(), unique(name)));
        std::fs::create_dir_all(&path).expect("a folder");
        Scratch(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A name that no other test has.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
