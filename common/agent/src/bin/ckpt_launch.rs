//! Starts a program so that it can be checkpointed.

fn main() {
    ckpt_agent::launch::main()
}
