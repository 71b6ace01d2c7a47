fn main() -> std::process::ExitCode {
    ckpt_coordinator::server::main(ckpt_coordinator::options::parse())
}
