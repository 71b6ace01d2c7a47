//! The process tree: who forks whom, in which session, so that every relation is as it was.

use ckpt_image::{ProcessMeta, RunState};
use std::collections::HashMap;

/// A process to make, or a stand-in that makes others and ends.
#[derive(Debug, PartialEq, Eq)]
pub struct Node {
    pub what: What,
    /// It is to become the parent of orphans below it.
    pub adopts: bool,
    /// before setsid
    pub early: Vec<Node>,
    pub children: Vec<Node>,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum What {
    /// index into the list of processes
    Process(usize),
    /// A session whose leader is gone: takes its id, calls setsid, has the children, ends.
    Leader(i32),
    /// Has one child and ends, so that the child is an orphan in the session it was forked in.
    Detour,
}

/// Lays the forest out, less those that are made `elsewhere`. Pure.
pub fn layout(processes: &[ProcessMeta], elsewhere: &[bool], outer_session: i32) -> Vec<Node> {
    let index = processes.iter().enumerate().map(|(i, p)| (p.pid, i)).collect();
    let mut maker = Maker { processes, outer_session, index, kids: HashMap::new(), orphans_of: HashMap::new() };
    let mut roots = Vec::new();
    for (i, p) in processes.iter().enumerate().filter(|(i, _)| !elsewhere[*i]) {
        if let Some(parent) = maker.parent(i).filter(|&parent| !maker.is_adopted(i, parent)) {
            maker.kids.entry(parent).or_default().push(i);
        } else if maker.parent(i).is_none() && (p.sid == p.pid || p.sid == outer_session || p.sid == 0) {
            roots.push(i);
        } else {
            maker.orphans_of.entry(p.sid).or_default().push(i);
        }
    }
    let mut forest: Vec<Node> = roots.into_iter().map(|i| maker.node(i)).collect();
    forest.extend(maker.leaders(None));
    forest
}

struct Maker<'a> {
    processes: &'a [ProcessMeta],
    outer_session: i32,
    index: HashMap<i32, usize>,
    kids: HashMap<usize, Vec<usize>>,
    /// by session: who was forked in it and lost its parent
    orphans_of: HashMap<i32, Vec<usize>>,
}

impl Maker<'_> {
    fn parent(&self, i: usize) -> Option<usize> {
        let p = &self.processes[i];
        self.index.get(&p.ppid).copied().filter(|_| p.ppid != p.pid)
    }

    /// The session that a process was forked in.
    fn born_in(&self, i: usize) -> i32 {
        let p = &self.processes[i];
        match self.parent(i) {
            None => self.outer_session,
            Some(_) if p.sid != p.pid => p.sid,
            Some(parent) => self.processes[parent].sid,
        }
    }

    /// It is in a session that its parent was never in: an orphan that a subreaper took in.
    fn is_adopted(&self, i: usize, parent: usize) -> bool {
        let (k, p) = (&self.processes[i], &self.processes[parent]);
        k.sid != k.pid && k.sid != p.sid && k.sid != self.born_in(parent)
    }

    fn node(&self, i: usize) -> Node {
        let p = &self.processes[i];
        let kids = self.kids.get(&i).map_or(&[][..], |v| v);
        let is_early = |k: &&usize| {
            let k = &self.processes[**k];
            p.sid == p.pid && k.sid != p.sid && k.sid != k.pid
        };
        let (early, late): (Vec<&usize>, Vec<&usize>) = kids.iter().partition(is_early);
        let mut children: Vec<Node> = late.into_iter().map(|&k| self.node(k)).collect();
        if p.sid == p.pid {
            let orphans = self.orphans_of.get(&p.pid).map_or(&[][..], |v| v);
            // A zombie leader ends anyway: its children are orphans then.
            children.extend(orphans.iter().map(|&o| match p.state {
                RunState::Zombie(_) => self.node(o),
                _ => Node { what: What::Detour, adopts: false, early: Vec::new(), children: vec![self.node(o)] },
            }));
        }
        children.extend(self.leaders(Some(i)));
        let adopts = self.orphans_of.values().flatten().any(|&o| self.parent(o) == Some(i));
        let early = early.into_iter().map(|&k| self.node(k)).collect();
        Node { what: What::Process(i), adopts, early, children }
    }

    /// Stand-ins for leaders that are gone, of sessions with orphans that `parent` took in.
    fn leaders(&self, parent: Option<usize>) -> Vec<Node> {
        let gone = self.orphans_of.iter().filter(|(sid, _)| !self.index.contains_key(sid));
        let of_parent = |(&sid, members): (&i32, &Vec<usize>)| {
            let children: Vec<Node> = members.iter().filter(|&&m| self.parent(m) == parent).map(|&m| self.node(m)).collect();
            (!children.is_empty()).then_some(Node { what: What::Leader(sid), adopts: false, early: Vec::new(), children })
        };
        gone.filter_map(of_parent).collect()
    }
}

/// Groups that have members but whose leader is gone, with the first member of each: it makes a stand-in.
pub fn leaderless_groups(processes: &[ProcessMeta], outer_group: i32) -> Vec<(i32, usize)> {
    let mut out: Vec<(i32, usize)> = Vec::new();
    for (i, p) in processes.iter().enumerate().filter(|(_, p)| !matches!(p.state, RunState::Zombie(_))) {
        let known = p.pgid == outer_group || p.pgid == 0 || processes.iter().any(|q| q.pid == p.pgid);
        if !known && !out.iter().any(|g| g.0 == p.pgid) {
            out.push((p.pgid, i));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use ckpt_image::Birth;

    fn process(pid: i32, ppid: i32, sid: i32) -> ProcessMeta {
        ProcessMeta { pid, ppid, pgid: sid, sid, state: RunState::Running, name: String::new(), birth: Birth { exit_signal: 17, never_execed: false, shares: 0, maker: ppid }, stop_told: false, started: 0, body: None }
    }

    #[test]
    fn children_follow_parents() {
        let f = layout(&[process(10, 1, 5), process(11, 10, 5)], &[false; 2], 5);
        assert_eq!(f.len(), 1);
        assert_eq!(f[0].children[0].what, What::Process(1));
    }

    #[test]
    fn an_orphan_of_a_living_session_takes_a_detour() {
        let f = layout(&[process(10, 1, 10), process(12, 1, 10)], &[false; 2], 5);
        assert_eq!(f[0].children[0].what, What::Detour);
        assert_eq!(f[0].children[0].children[0].what, What::Process(1));
    }

    #[test]
    fn an_orphan_that_a_subreaper_took_in_is_forked_in_its_session() {
        let f = layout(&[process(10, 1, 5), process(11, 10, 11), process(12, 10, 11)], &[false; 3], 5);
        assert!(f[0].adopts);
        assert_eq!(f[0].children.len(), 1);
        assert_eq!(f[0].children[0].children[0].what, What::Detour);
        let f = layout(&[process(10, 1, 5), process(12, 10, 11)], &[false; 2], 5);
        assert_eq!(f[0].children[0].what, What::Leader(11));
    }

    #[test]
    fn a_session_without_leader_gets_a_stand_in() {
        let f = layout(&[process(12, 1, 11)], &[false; 1], 5);
        assert_eq!(f[0].what, What::Leader(11));
    }

    #[test]
    fn a_child_of_the_old_session_is_forked_before_setsid() {
        let f = layout(&[process(10, 1, 10), process(11, 10, 5)], &[false; 2], 5);
        assert_eq!(f[0].early[0].what, What::Process(1));
    }
}
