//! The process tree: who forks whom, in which session, so that every relation is as it was.

use ckpt_image::{ProcessMeta, RunState};
use std::collections::HashMap;

/// A process to make, or a stand-in that makes others and ends.
#[derive(Debug, PartialEq, Eq)]
pub struct Node {
    pub what: What,
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

/// Lays the forest out. Pure.
pub fn layout(processes: &[ProcessMeta], outer_session: i32) -> Vec<Node> {
    let index: HashMap<i32, usize> = processes.iter().enumerate().map(|(i, p)| (p.pid, i)).collect();
    let mut kids: HashMap<i32, Vec<usize>> = HashMap::new();
    let mut orphans_of: HashMap<i32, Vec<usize>> = HashMap::new();
    let mut roots = Vec::new();
    for (i, p) in processes.iter().enumerate() {
        if index.contains_key(&p.ppid) && p.ppid != p.pid {
            kids.entry(p.ppid).or_default().push(i);
        } else if p.sid == p.pid || p.sid == outer_session || p.sid == 0 {
            roots.push(i);
        } else {
            orphans_of.entry(p.sid).or_default().push(i);
        }
    }
    let maker = Maker { processes, kids: &kids, orphans_of: &orphans_of };
    let mut forest: Vec<Node> = roots.into_iter().map(|i| maker.node(i)).collect();
    let gone: Vec<(&i32, &Vec<usize>)> = orphans_of.iter().filter(|(sid, _)| !index.contains_key(sid)).collect();
    for (&sid, members) in gone {
        let children = members.iter().map(|&i| maker.node(i)).collect();
        forest.push(Node { what: What::Leader(sid), early: Vec::new(), children });
    }
    forest
}

struct Maker<'a> {
    processes: &'a [ProcessMeta],
    kids: &'a HashMap<i32, Vec<usize>>,
    orphans_of: &'a HashMap<i32, Vec<usize>>,
}

impl Maker<'_> {
    fn node(&self, i: usize) -> Node {
        let p = &self.processes[i];
        let kids = self.kids.get(&p.pid).map_or(&[][..], |v| v);
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
                _ => Node { what: What::Detour, early: Vec::new(), children: vec![self.node(o)] },
            }));
        }
        Node { what: What::Process(i), early: early.into_iter().map(|&k| self.node(k)).collect(), children }
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

    fn process(pid: i32, ppid: i32, sid: i32) -> ProcessMeta {
        ProcessMeta { pid, ppid, pgid: sid, sid, state: RunState::Running, name: String::new(), body: None }
    }

    #[test]
    fn children_follow_parents() {
        let f = layout(&[process(10, 1, 5), process(11, 10, 5)], 5);
        assert_eq!(f.len(), 1);
        assert_eq!(f[0].children[0].what, What::Process(1));
    }

    #[test]
    fn an_orphan_of_a_living_session_takes_a_detour() {
        let f = layout(&[process(10, 1, 10), process(12, 1, 10)], 5);
        assert_eq!(f[0].children[0].what, What::Detour);
        assert_eq!(f[0].children[0].children[0].what, What::Process(1));
    }

    #[test]
    fn a_session_without_leader_gets_a_stand_in() {
        let f = layout(&[process(12, 1, 11)], 5);
        assert_eq!(f[0].what, What::Leader(11));
    }

    #[test]
    fn a_child_of_the_old_session_is_forked_before_setsid() {
        let f = layout(&[process(10, 1, 10), process(11, 10, 5)], 5);
        assert_eq!(f[0].early[0].what, What::Process(1));
    }
}
