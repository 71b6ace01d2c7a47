fn main() {
    ckpt_restart::main()
}
