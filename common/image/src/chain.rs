//! An incremental image and its parents, read as one.

use crate::Memory;

/// Bytes of a process's memory and where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub addr: u64,
    pub len: u64,
    /// index into the chain: 0 is the newest image
    pub image: usize,
    /// place in that image's memory of the process, all runs laid end to end
    pub at: u64,
}

/// A process's memory in order of address. `chain` begins with the newest image; runs and kept ranges are sorted.
pub fn pieces(chain: &[&Memory]) -> Vec<Piece> {
    let mut out = Vec::new();
    let mut wanted = vec![(0, u64::MAX)];
    for (image, memory) in chain.iter().enumerate() {
        let mut begins = 0;
        let runs = memory.runs.iter().map(|&(addr, len)| {
            begins += len;
            (addr, len, begins - len)
        });
        let runs: Vec<(u64, u64, u64)> = runs.collect();
        let spans: Vec<(u64, u64)> = runs.iter().map(|r| (r.0, r.1)).collect();
        for (i, addr, len) in common(&spans, &wanted) {
            out.push(Piece { addr, len, image, at: runs[i].2 + (addr - runs[i].0) });
        }
        wanted = common(&memory.kept, &wanted).into_iter().map(|(_, addr, len)| (addr, len)).collect();
        if wanted.is_empty() {
            break;
        }
    }
    out.sort_unstable_by_key(|p| p.addr);
    out
}

/// Where sorted ranges (address, bytes) meet: index into `a`, address, bytes.
pub fn common(a: &[(u64, u64)], b: &[(u64, u64)]) -> Vec<(usize, u64, u64)> {
    let (mut i, mut j) = (0, 0);
    let mut out = Vec::new();
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        let (x_end, y_end) = (x.0.saturating_add(x.1), y.0.saturating_add(y.1));
        let (from, to) = (x.0.max(y.0), x_end.min(y_end));
        if from < to {
            out.push((i, from, to - from));
        }
        if x_end <= y_end {
            i += 1;
        } else {
            j += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Codec;

    fn memory(runs: &[(u64, u64)], kept: &[(u64, u64)]) -> Memory {
        let bytes = runs.iter().map(|r| r.1).sum();
        Memory { runs: runs.into(), guards: Vec::new(), bytes, codec: Codec::None, pieces: Vec::new(), checksums: Vec::new(), kept: kept.into() }
    }

    #[test]
    fn a_full_image_is_its_runs() {
        let m = memory(&[(10, 5), (20, 5)], &[]);
        let want = [Piece { addr: 10, len: 5, image: 0, at: 0 }, Piece { addr: 20, len: 5, image: 0, at: 5 }];
        assert_eq!(pieces(&[&m]), want);
    }

    #[test]
    fn what_is_kept_comes_from_the_nearest_parent_that_has_it() {
        let oldest = memory(&[(0, 100)], &[]);
        let middle = memory(&[(40, 10)], &[(0, 40), (60, 40)]);
        let newest = memory(&[(0, 5)], &[(5, 60)]);
        let want = [
            Piece { addr: 0, len: 5, image: 0, at: 0 },
            Piece { addr: 5, len: 35, image: 2, at: 5 },
            Piece { addr: 40, len: 10, image: 1, at: 0 },
            Piece { addr: 60, len: 5, image: 2, at: 60 },
        ];
        assert_eq!(pieces(&[&newest, &middle, &oldest]), want);
    }

    #[test]
    fn what_both_have() {
        assert_eq!(common(&[(0, 10), (20, 10)], &[(5, 20)]), [(0, 5, 5), (1, 20, 5)]);
        assert_eq!(common(&[(0, 10)], &[]), []);
    }

    /// Page by page against the definition.
    #[test]
    fn random_chains() {
        let mut seed = 1u64;
        let mut next = |n: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) % n
        };
        for _ in 0..200 {
            let mut images = Vec::new();
            for level in 0..4 {
                let (mut runs, mut kept, mut at) = (Vec::new(), Vec::new(), 0);
                while at < 60 {
                    let len = 1 + next(5);
                    match next(3) {
                        0 => runs.push((at, len)),
                        1 if level < 3 => kept.push((at, len)),
                        _ => {}
                    }
                    at += len;
                }
                images.push(memory(&runs, &kept));
            }
            let found = pieces(&images.iter().collect::<Vec<_>>());
            for page in 0..70 {
                let from = found.iter().find(|p| p.addr <= page && page < p.addr + p.len).map(|p| (p.image, p.at + page - p.addr));
                assert_eq!(from, by_definition(&images, page), "page {page}");
            }
        }
    }

    fn by_definition(images: &[Memory], page: u64) -> Option<(usize, u64)> {
        let within = |r: &&(u64, u64)| r.0 <= page && page < r.0 + r.1;
        for (image, m) in images.iter().enumerate() {
            if let Some(run) = m.runs.iter().find(within) {
                let before: u64 = m.runs.iter().take_while(|r| *r != run).map(|r| r.1).sum();
                return Some((image, before + page - run.0));
            }
            m.kept.iter().find(within)?;
        }
        None
    }
}
