//! The fuzzers' targets for a bounded time, on what is in their corpus, changed at random but the same each time; with
//! CKPT_FUZZ_SECONDS=N for so long and differently each time.

#[path = "../../fuzz/targets.rs"]
mod targets;

use std::path::Path;
use std::time::{Duration, Instant};

/// xorshift64*
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// Numbers at which lengths and offsets go wrong.
const ODD: [u64; 8] = [0, 1, 0x7f, 0xff, 0x7fff_ffff, u32::MAX as u64, i64::MAX as u64, u64::MAX];

fn mutate(data: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(data.len());
        match random.below(6) {
            _ if data.is_empty() => data.push(random.next() as u8),
            0 => data[at] ^= 1 << random.below(8),
            1 => data[at] = random.next() as u8,
            2 => {
                let width = [1, 2, 4, 8][random.below(4)].min(data.len() - at);
                let value = ODD[random.below(ODD.len())].to_le_bytes();
                data[at..at + width].copy_from_slice(&value[..width]);
            }
            3 => data.truncate(at),
            4 => {
                let from = random.below(other.len());
                let piece = other[from..(from + 1 + random.below(64)).min(other.len())].to_vec();
                data.splice(at..at, piece);
            }
            _ => drop(data.drain(at..(at + 1 + random.below(16)).min(data.len()))),
        }
    }
}

fn bounded(name: &str, target: fn(&[u8]), rounds: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let corpus: Vec<Vec<u8>> = files.iter().map(|f| std::fs::read(f).unwrap()).collect();
    assert!(!corpus.is_empty(), "{}: empty", folder.display());
    corpus.iter().for_each(|data| target(data));
    let seconds = std::env::var("CKPT_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok());
    let end = seconds.map(|s| Instant::now() + Duration::from_secs(s));
    let mut random = Random(if seconds.is_some() { std::process::id().into() } else { 0x9e37_79b9_7f4a_7c15 });
    let mut done = 0;
    while end.map_or(done < rounds, |end| Instant::now() < end) {
        done += 1;
        let mut data = corpus[random.below(corpus.len())].clone();
        mutate(&mut data, &corpus[random.below(corpus.len())], &mut random);
        target(&data);
    }
    println!("{name}: {done} executions");
}

#[test]
fn wire_messages() {
    bounded("wire", targets::wire, 100_000);
}

#[test]
fn images() {
    bounded("image", targets::image, 2_000);
}

#[test]
fn restore_plans() {
    bounded("plan", targets::plan, 20_000);
}

#[test]
fn packed_chunks() {
    bounded("codec", targets::codec, 20_000);
}

#[test]
fn proc_text() {
    bounded("proc", targets::proc, 50_000);
}
