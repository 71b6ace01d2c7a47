//! libckpt.so: injected by LD_PRELOAD. At rest it is a signal handler and a handful of hooks.
#![no_std]

mod api;
mod api_delay;
mod arena;
mod asm;
mod capture;
mod channel;
mod clocks;
mod crowded;
mod descriptors;
mod eintr;
mod errand;
mod faults;
mod filters;
mod finish;
mod handler;
mod hooks;
mod identity;
mod ids;
mod kept;
mod landlock;
mod init;
mod maps;
mod memfns;
mod opcode;
mod plugin;
mod plugin_env;
mod plugin_guard;
mod plugin_names;
mod plugin_table;
mod procfs;
mod queues;
mod regroup;
mod restore;
mod run_table;
mod rseq;
mod runs;
mod sheet;
mod signals;
mod state;
mod sysv;
mod thread;
mod times;
mod writer;

/// Nothing here panics by design; if it does, only the thread of ours may go.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    ckpt_sys::calls::exit_thread(1)
}
