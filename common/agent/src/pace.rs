//! `--compress auto`: the codec with which memory is on the disk soonest, by measuring the data and the disk.

use crate::lent::read_remote;
use crate::codec::Packer;
use ckpt_image::Codec;
use ckpt_sys::sched::{Turn, thread_ns};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How fast the disk was, bytes per second; 0: not known.
#[derive(Default)]
pub struct Disk(AtomicU64);

impl Disk {
    pub fn rate(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|&r| r > 0)
    }

    /// So many bytes were written and synced in this time. Few tell nothing.
    pub fn saw(&self, bytes: u64, took: Duration) {
        if bytes >= LEAST_SEEN {
            self.0.store((bytes as f64 / took.as_secs_f64().max(1e-6)) as u64, Ordering::Relaxed);
        }
    }

    pub fn forget(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

const LEAST_SEEN: u64 = 1 << 20;
/// Memory that is written as it is in less time than this is not worth a look.
const SOON: f64 = 0.1;
/// A codec must promise to take no more than this share of the time without: the sample may mislead.
const GAIN: f64 = 0.75;
const SAMPLES: usize = 16;
const SAMPLE: usize = 64 << 10;

/// What to do with the memory of a process, and why, in a sentence. `pid`: it or its frozen copy.
pub fn choose(pid: i32, runs: &[(u64, u64)], disk: Option<u64>) -> (Codec, Option<String>) {
    let bytes: u64 = runs.iter().map(|r| r.1).sum();
    let Some(disk) = disk.map(|d| d as f64) else { return (Codec::None, None) };
    let plain = bytes as f64 / disk;
    if plain < SOON {
        return (Codec::None, None);
    }
    let mut turn = Turn::begin();
    let sample = sample(pid, runs, bytes, &mut turn);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()) as f64;
    let tried = [Codec::Lz4, Codec::Zstd].map(|codec| (codec, try_out(codec, &sample, &mut turn)));
    let time = |(rate, ratio): (f64, f64)| (bytes as f64 / (rate * threads)).max(plain * ratio);
    let best = tried.iter().filter_map(|&(codec, seen)| Some((codec, seen?))).min_by(|a, b| time(a.1).total_cmp(&time(b.1)));
    let gb = |rate: f64| format!("{:.1} GB/s", rate / 1e9);
    match best {
        Some((codec, seen)) if time(seen) < plain * GAIN => {
            let why = format!("compressed with {}: {} to {:.0}%, the disk writes {}", name(codec), gb(seen.0 * threads), seen.1 * 100.0, gb(disk));
            (codec, Some(why))
        }
        Some((codec, seen)) => {
            let why = format!("not compressed: the disk writes {}, {} {} to {:.0}%", gb(disk), name(codec), gb(seen.0 * threads), seen.1 * 100.0);
            (Codec::None, Some(why))
        }
        None => (Codec::None, None),
    }
}

fn name(codec: Codec) -> &'static str {
    match codec {
        Codec::None | Codec::Stored => "none",
        Codec::Lz4 => "lz4",
        Codec::Zstd => "zstd",
        Codec::Gzip => "gzip",
    }
}

/// Pieces spread evenly over the memory; fewer where they cannot be read.
fn sample(pid: i32, runs: &[(u64, u64)], bytes: u64, turn: &mut Turn) -> Vec<Vec<u8>> {
    let step = (bytes / SAMPLES as u64).max(1);
    let mut out = Vec::new();
    let mut wanted = step / 2;
    let mut before = 0;
    for &(addr, len) in runs {
        while wanted < before + len && out.len() < SAMPLES {
            let from = addr + (wanted - before);
            let n = (addr + len - from).min(SAMPLE as u64) as usize;
            out.extend(read(pid, from, n));
            turn.give_way();
            wanted += step;
        }
        before += len;
    }
    out
}

fn read(pid: i32, addr: u64, len: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0u8; len];
    read_remote(pid, &[(addr, len as u64)], &mut bytes).ok().map(|()| bytes)
}

/// Bytes per second on one processor, and the share that is left.
fn try_out(codec: Codec, sample: &[Vec<u8>], turn: &mut Turn) -> Option<(f64, f64)> {
    let all: usize = sample.iter().map(Vec::len).sum();
    let mut packer = Packer::new(codec).ok()?;
    packer.pack(sample.first()?).ok()?; // its memory is new
    turn.give_way();
    let (begun, mut packed) = (thread_ns(), 0);
    for s in sample {
        packed += packer.pack(s).map_or(s.len(), |p| p.len());
        turn.give_way();
    }
    let ns = thread_ns().saturating_sub(begun).max(1);
    Some((all as f64 / (ns as f64 / 1e9), packed as f64 / all as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Our own memory: `fill` says what is in it.
    fn chosen(fill: impl Fn(usize) -> u8, disk: u64) -> Codec {
        let memory: Vec<u8> = (0..8 << 20).map(fill).collect();
        choose(std::process::id() as i32, &[(memory.as_ptr() as u64, memory.len() as u64)], Some(disk)).0
    }

    fn noise(i: usize) -> u8 {
        let x = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((x ^ x >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 56) as u8
    }

    #[test]
    fn a_slow_disk_is_helped_where_the_data_allow() {
        assert_ne!(chosen(|i| (i / 100) as u8, 10 << 20), Codec::None);
        assert_eq!(chosen(noise, 10 << 20), Codec::None);
    }

    #[test]
    fn a_fast_or_unknown_disk_is_left_to_itself() {
        assert_eq!(chosen(|i| (i / 100) as u8, 100 << 30), Codec::None);
        assert_eq!(choose(1, &[(4096, 1 << 30)], None).0, Codec::None);
    }
}
