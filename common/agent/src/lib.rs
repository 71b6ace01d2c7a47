//! The host agent: parent and subreaper of what ckpt_launch or ckpt_restart started. It finds the members of the
//! computation, has them stopped and captured, writes their image and commits it.

/// Does a fault strike here (`ckpt_sys::fault`)?
pub fn passes(stage: ckpt_sys::fault::Stage) -> std::io::Result<()> {
    ckpt_sys::fault::at(stage).map_err(|e| std::io::Error::from_raw_os_error(e.0))
}

/// `CKPT_FAULT`, in builds for tests.
pub fn arm_fault() {
    if let Ok(text) = std::env::var("CKPT_FAULT") {
        ckpt_sys::fault::arm(&text);
    }
}

pub mod agent;
pub mod aio;
mod apart;
mod bpf;
pub mod checkpoint;
pub mod codec;
pub mod copies;
pub mod events;
pub mod filling;
mod followers;
pub mod foreground;
pub mod gather;
mod hands;
pub mod ipc;
pub mod launch;
pub mod libraries;
pub mod limits;
mod lent;
pub mod link;
pub mod members;
pub mod mappings;
mod obstacle;
pub mod pace;
pub mod pagemap;
pub mod paths;
pub mod procfs;
pub mod program;
pub mod quiesce;
pub mod records;
pub mod requests;
pub mod room;
mod sandbox;
pub mod script;
pub mod settings;
pub mod shared;
mod sharing;
pub mod stale;
pub mod store;
pub mod table;
pub mod tasks;
pub mod timings;
pub mod track;
pub mod write;
