//! Counts to N and checkpoints itself every M steps: selfckpt N M. Start it with ckpt_launch, or without.

fn main() {
    let mut numbers = std::env::args().skip(1).map(|word| word.parse::<u64>());
    let mut next = |otherwise| numbers.next().and_then(Result::ok).unwrap_or(otherwise);
    let (last, every) = (next(10), next(5).max(1));
    for step in (1..=last).filter(|step| ckpt::enabled() && step % every == 0) {
        match ckpt::checkpoint() {
            Ok(how) => println!("step {step}: {how:?}"),
            Err(why) => eprintln!("step {step}: no checkpoint: {why}"),
        }
    }
    println!("done at {last} after {} restarts", ckpt::restarts());
}
