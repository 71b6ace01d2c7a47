//! CRC-32C (Castagnoli, RFC 3720), with the processor's instruction where it has one.

#[cfg(target_arch = "x86_64")]
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Continues `crc` (start with `!0`, invert at the end) over `bytes`.
pub fn update(crc: u32, bytes: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if has_sse42() {
        // SAFETY: the instruction exists on this processor.
        return unsafe { by_instruction(crc, bytes) };
    }
    by_table(crc, bytes)
}

/// The checksum of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    !update(!0, bytes)
}

/// cpuid traps in a virtual machine: asked once.
#[cfg(target_arch = "x86_64")]
fn has_sse42() -> bool {
    static KNOWN: AtomicU8 = AtomicU8::new(0);
    match KNOWN.load(Relaxed) {
        0 => {
            let has = core::arch::x86_64::__cpuid(1).ecx & 1 << 20 != 0;
            KNOWN.store(1 + has as u8, Relaxed);
            has
        }
        known => known == 2,
    }
}

/// Bytes of one of three streams: the instruction takes three cycles, but starts every cycle.
const LANE: usize = 4096;

/// # Safety
/// SSE 4.2 must be there.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
unsafe fn by_instruction(crc: u32, bytes: &[u8]) -> u32 {
    use core::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u64};
    let step = |c: u64, w: &[u8; 8]| _mm_crc32_u64(c, u64::from_le_bytes(*w));
    let (blocks, rest) = bytes.as_chunks::<{ 3 * LANE }>();
    let mut crc = crc;
    for block in blocks {
        let (lanes, _) = block.as_chunks::<LANE>();
        let (a, b, c) = (lanes[0].as_chunks::<8>().0, lanes[1].as_chunks::<8>().0, lanes[2].as_chunks::<8>().0);
        let (mut x, mut y, mut z) = (crc as u64, 0, 0);
        for ((a, b), c) in a.iter().zip(b).zip(c) {
            (x, y, z) = (step(x, a), step(y, b), step(z, c));
        }
        crc = past_lane(past_lane(x as u32) ^ y as u32) ^ z as u32;
    }
    let (words, rest) = rest.as_chunks::<8>();
    let wide = words.iter().fold(crc as u64, step);
    rest.iter().fold(wide as u32, |c, &b| _mm_crc32_u8(c, b))
}

/// What `crc` becomes over a lane of zeros: linear, so by table, a byte at a time.
#[cfg(target_arch = "x86_64")]
fn past_lane(crc: u32) -> u32 {
    let [a, b, c, d] = crc.to_le_bytes();
    PAST_LANE[0][a as usize] ^ PAST_LANE[1][b as usize] ^ PAST_LANE[2][c as usize] ^ PAST_LANE[3][d as usize]
}

#[cfg(target_arch = "x86_64")]
static PAST_LANE: [[u32; 256]; 4] = past_lane_table();

#[cfg(target_arch = "x86_64")]
const fn past_lane_table() -> [[u32; 256]; 4] {
    let mut t = [[0; 256]; 4];
    let mut bit = 0;
    while bit < 32 {
        let mut c = 1u32 << bit;
        let mut n = 0;
        while n < LANE {
            c = c >> 8 ^ TABLE[(c & 255) as usize];
            n += 1;
        }
        let mut byte = 0;
        while byte < 256 {
            if byte >> (bit % 8) & 1 != 0 {
                t[bit / 8][byte] ^= c;
            }
            byte += 1;
        }
        bit += 1;
    }
    t
}

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut t = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut c = i as u32;
        let mut k = 0;
        while k < 8 {
            c = if c & 1 != 0 { c >> 1 ^ 0x82f6_3b78 } else { c >> 1 };
            k += 1;
        }
        t[i] = c;
        i += 1;
    }
    t
}

fn by_table(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |c, &b| c >> 8 ^ TABLE[((c ^ b as u32) & 255) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_value() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn table_and_instruction_agree() {
        let bytes: [u8; 7 * LANE + 1005] = core::array::from_fn(|i| ((i * i) >> 3) as u8);
        for len in [0, 1, 1000, 3 * LANE - 1, 3 * LANE, 3 * LANE + 1, bytes.len()] {
            assert_eq!(update(!0, &bytes[..len]), by_table(!0, &bytes[..len]));
        }
    }
}
