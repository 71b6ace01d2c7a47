//! ckpt_restart: read, validate, rebuild kernel objects, fork the tree; then be the agent of what runs.

mod ids;
mod image_set;
mod memory;
mod namespace;
mod options;
mod plan;
mod preflight;
mod restart;
mod session;
mod stand_in;
mod sysv;
mod tree;
mod validate;

fn main() {
    restart::main()
}
