//! Tasks that hit a limit while a `precharge` move charges ahead wait for the move to end.
//!
//! Linux v6.12 mm/memcontrol-v1.c `mem_cgroup_wait_acct_move`: a charger sleeps and tries again. Here
//! the fault has to be answered, so the page is charged over the limit, as before a kill; but nobody
//! is killed, and the task does not run again until the move is over. Each task that waits so has
//! one page over the limit; the next one it touches is refused or granted as ever.

use memcg::{GroupId, Memcg, Tid};

/// The `precharge` moves under way, and who waits for their end.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// Source and destination of each.
    moves: Vec<(GroupId, GroupId)>,
    tasks: Vec<Tid>,
}

impl Waiting {
    /// Notes that a move between two groups begins.
    pub(crate) fn begin(&mut self, ends: (GroupId, GroupId)) {
        self.moves.push(ends);
    }

    /// Notes that it has ended; returns the tasks that may go on.
    pub(crate) fn end(&mut self, ends: (GroupId, GroupId)) -> Vec<Tid> {
        if let Some(place) = self.moves.iter().position(|&other| other == ends) {
            self.moves.swap_remove(place);
        }
        if self.moves.is_empty() { std::mem::take(&mut self.tasks) } else { Vec::new() }
    }

    /// Makes `tid` wait when a move charges `group` ahead: when one end of it is that group or below
    /// it. False when there is no such move.
    pub(crate) fn hold(&mut self, memcg: &Memcg, group: GroupId, tid: Tid) -> bool {
        let is_charged = |end: GroupId| {
            let mut above = std::iter::successors(Some(end), |&at| memcg.parent(at));
            above.any(|at| at == group)
        };
        let is_under_move = self.moves.iter().any(|&(from, to)| is_charged(from) || is_charged(to));
        if is_under_move {
            self.tasks.push(tid);
        }
        is_under_move
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_refused_by_a_group_of_the_move_or_above_waits_until_the_last_move_ends() {
        let config = memcg::Config {
            frames: 16,
            hierarchy: memcg::Hierarchy::Share,
            recharge: memcg::Policy::Precharge,
            offline: memcg::Offline::Reparent,
            abi: memcg::Abi::Classic,
        };
        let mut memcg = Memcg::new(config).unwrap();
        let top = memcg.create(memcg.root(), "top").unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| memcg.create(top, name).unwrap());
        let mut waiting = Waiting::default();
        assert!(!waiting.hold(&memcg, a, Tid::new(2)), "nothing moves");
        waiting.begin((a, b));
        waiting.begin((b, a));
        for (group, waits) in [(a, true), (b, true), (top, true), (c, false)] {
            assert_eq!(waiting.hold(&memcg, group, Tid::new(2)), waits);
        }
        assert_eq!(waiting.end((a, b)), []);
        assert_eq!(waiting.end((b, a)), [Tid::new(2); 3]);
    }
}
