fn main() -> std::process::ExitCode {
    ckpt_coordinator::command::main(ckpt_coordinator::options::parse())
}
