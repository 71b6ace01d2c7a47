//! Where memory that is still to be filled lies by now: the program moves, drops and unmaps it meanwhile. Pure.

/// A part of the memory at the checkpoint, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub now: u64,
    pub then: u64,
    pub len: u64,
}

#[derive(Clone)]
pub struct Space(Vec<Segment>);

impl Space {
    /// Ranges (address, bytes) that have not moved.
    pub fn new(ranges: &[(u64, u64)]) -> Space {
        Space(ranges.iter().map(|&(at, len)| Segment { now: at, then: at, len }).collect())
    }

    /// The address that a page had at the checkpoint; None: it holds zeros.
    pub fn then(&self, now: u64) -> Option<u64> {
        self.0.iter().find(|s| s.now <= now && now < s.now + s.len).map(|s| s.then + (now - s.now))
    }

    /// What is left of a range of the checkpoint.
    pub fn find(&self, then: u64, len: u64) -> Vec<Segment> {
        let end = then + len;
        let part = |s: &Segment| {
            let (from, to) = (s.then.max(then), (s.then + s.len).min(end));
            (from < to).then(|| Segment { now: s.now + (from - s.then), then: from, len: to - from })
        };
        self.0.iter().filter_map(part).collect()
    }

    pub fn remove(&mut self, start: u64, end: u64) {
        self.take(start, end);
    }

    pub fn remap(&mut self, from: u64, to: u64, len: u64) {
        self.take(to, to + len);
        let moved = self.take(from, from + len);
        self.0.extend(moved.into_iter().map(|s| Segment { now: s.now - from + to, ..s }));
    }

    /// Cuts a range of addresses out.
    fn take(&mut self, start: u64, end: u64) -> Vec<Segment> {
        let mut taken = Vec::new();
        let mut left = Vec::new();
        for s in &self.0 {
            let keep = |from: u64, to: u64, list: &mut Vec<Segment>| {
                if from < to {
                    list.push(Segment { now: from, then: s.then + (from - s.now), len: to - from });
                }
            };
            let s_end = s.now + s.len;
            keep(s.now, s_end.min(start), &mut left);
            keep(s.now.max(start), s_end.min(end), &mut taken);
            keep(s.now.max(end), s_end, &mut left);
        }
        self.0 = left;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dropped_holds_zeros() {
        let mut s = Space::new(&[(100, 50)]);
        s.remove(110, 120);
        assert_eq!((s.then(109), s.then(110), s.then(120)), (Some(109), None, Some(120)));
        assert_eq!(s.find(105, 20).iter().map(|s| (s.now, s.len)).collect::<Vec<_>>(), [(105, 5), (120, 5)]);
    }

    #[test]
    fn what_moved_is_found_where_it_is() {
        let mut s = Space::new(&[(100, 50), (300, 50)]);
        s.remap(120, 310, 20);
        assert_eq!((s.then(120), s.then(310), s.then(330), s.then(309)), (None, Some(120), Some(330), Some(309)));
        assert_eq!(s.find(120, 5), [Segment { now: 310, then: 120, len: 5 }]);
        assert!(s.find(310, 20).is_empty(), "overwritten");
    }
}
