fn main() {
    ckpt_restart::inspect()
}
