//! `--restore lazy`: the program goes on before its memory is filled. A userfaultfd tells of pages that are wanted and
//! not there; a helper process (`filler`) fills them from the images, and all others in order.
//!
//! Only large private anonymous memory waits; the rest is restored before the start as ever.

mod filler;
mod space;
mod uffd;

pub use filler::{Filler, Share};
pub use uffd::probe;

use crate::chain::Chain;
use ckpt_image::chain::Piece;
use ckpt_image::{Body, MapKind, MapMeta};
use ckpt_sys::flat::plan;

/// Less than this in a mapping is restored before the start.
const SMALLEST: u64 = 256 << 10;

/// What of a process's memory is restored when.
pub struct Split {
    pub eager: Vec<Piece>,
    pub lazy: Vec<Piece>,
    /// mappings that are filled later: address, bytes
    pub ranges: Vec<(u64, u64)>,
}

pub fn split(chain: &Chain, body: &Body) -> Split {
    let mut out = Split { eager: Vec::new(), lazy: Vec::new(), ranges: Vec::new() };
    let mut next = 0;
    for m in &body.maps {
        let begun = next;
        let mut inside = Vec::new();
        // A piece may span neighbours.
        while let Some(p) = chain.pieces.get(next).filter(|p| p.addr < m.end) {
            let (from, to) = (p.addr.max(m.start), (p.addr + p.len).min(m.end));
            if from < to {
                inside.push(Piece { addr: from, len: to - from, at: p.at + (from - p.addr), ..*p });
            }
            if p.addr + p.len > m.end {
                break;
            }
            next += 1;
        }
        debug_assert!(next >= begun);
        if can_wait(m) && inside.iter().map(|p| p.len).sum::<u64>() >= SMALLEST {
            out.ranges.push((m.start, m.end - m.start));
            out.lazy.extend(inside);
        } else {
            out.eager.extend(inside);
        }
    }
    out
}

/// Memory that nothing is special about.
fn can_wait(m: &MapMeta) -> bool {
    let special = plan::MAP_LOCKED | plan::MAP_DONTFORK | plan::MAP_WIPEONFORK | plan::MAP_SHM;
    let anonymous = matches!(m.kind, MapKind::Anonymous | MapKind::Heap) && !m.shared && !m.grows_down;
    anonymous && m.advice & special == 0 && m.prot & libc::PROT_WRITE as u32 != 0
}
