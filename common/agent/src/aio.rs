//! Native AIO: the ring that the kernel maps for each context, and the events in it that nobody has taken.

use crate::gather::RawMap;
use ckpt_image::AioContext;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

pub const RING_NAME: &[u8] = b"/[aio] (deleted)";

/// `struct aio_ring` (fs/aio.c): id, nr, head, tail, magic, ...; events follow after 32 bytes.
const HEADER: u64 = 32;
const EVENT: u64 = 32;
const MAGIC: u32 = 0xa10a_10a1;

/// The kernel does not say what is on its way: a ring counts as drained when nothing has come for so long.
const QUIET: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_millis(500);

pub fn capture(pid: i32, maps: &[RawMap]) -> io::Result<Vec<AioContext>> {
    let rings: Vec<&RawMap> = maps.iter().filter(|m| m.path == RING_NAME).collect();
    if rings.is_empty() {
        return Ok(Vec::new());
    }
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    drain(&memory, &rings)?;
    rings.iter().map(|m| context(&memory, m)).collect()
}

fn header(memory: &File, ring: &RawMap) -> io::Result<[u32; 8]> {
    let mut bytes = [0; HEADER as usize];
    memory.read_exact_at(&mut bytes, ring.meta.start)?;
    let mut words = [0; 8];
    words.iter_mut().zip(bytes.chunks_exact(4)).for_each(|(w, b)| *w = u32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
    Ok(words)
}

fn tails(memory: &File, rings: &[&RawMap]) -> io::Result<Vec<u32>> {
    rings.iter().map(|r| header(memory, r).map(|h| h[3])).collect()
}

fn drain(memory: &File, rings: &[&RawMap]) -> io::Result<()> {
    let start = Instant::now();
    let mut seen = tails(memory, rings)?;
    let mut since = start;
    while since.elapsed() < QUIET && start.elapsed() < PATIENCE {
        std::thread::sleep(QUIET / 5);
        let now = tails(memory, rings)?;
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
    }
    Ok(())
}

fn context(memory: &File, ring: &RawMap) -> io::Result<AioContext> {
    let [_, slots, head, tail, magic, ..] = header(memory, ring)?;
    let (start, len) = (ring.meta.start, ring.meta.end - ring.meta.start);
    if magic != MAGIC || slots == 0 || head >= slots || tail >= slots {
        return Err(io::Error::other(format!("the AIO ring at {start:#x} is not in the form that is known here")));
    }
    let count = (tail + slots - head) % slots;
    let at = |i: u32| start + HEADER + EVENT * ((head + i) % slots) as u64;
    let events = (0..count).map(|i| event(memory, at(i))).collect::<io::Result<_>>()?;
    Ok(AioContext { start, len, slots, events })
}

fn event(memory: &File, at: u64) -> io::Result<[u64; 4]> {
    let mut bytes = [0; EVENT as usize];
    memory.read_exact_at(&mut bytes, at)?;
    let mut words = [0; 4];
    words.iter_mut().zip(bytes.chunks_exact(8)).for_each(|(w, b)| b.iter().rev().for_each(|&x| *w = *w << 8 | x as u64));
    Ok(words)
}
