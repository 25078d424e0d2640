//! Taking pages from anybody: the whole guest is short of memory, whatever the limits of groups say.
//!
//! Groups above their soft limit go first, the one furthest above it before the others (Linux v6.12
//! mm/memcontrol-v1.c `memcg1_soft_limit_reclaim`), and no further down than that limit. When they
//! have nothing left to give, everybody gives in proportion to what he has.

use super::{Position, Run, Scope, available};
use crate::{Effort, GroupId, Guest, Kind, Memcg, Pages, Reclaimed, Resource};

/// Groups above their soft limit that one call turns to, at most (Linux: MEM_CGROUP_MAX_RECLAIM_LOOPS,
/// with more groups to choose from).
const SOFT_MAX: usize = 8;

/// Where the last call for everybody stopped.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Everybody {
    position: Position,
    /// Those above their soft limit had nothing to give when asked last.
    is_beyond_soft: bool,
}

impl Memcg {
    /// Takes `goal` pages from whoever has some, first from groups above their soft limit, if they can
    /// be had with this effort. As for [`Memcg::reclaim`], whoever calls it goes on until there is
    /// room or the answer `is_exhausted`.
    pub fn reclaim_anywhere(
        &mut self,
        guest: &mut dyn Guest,
        goal: Pages,
        effort: Effort,
    ) -> Reclaimed {
        if !self.everybody.is_beyond_soft {
            let done = self.reclaim_above_soft_limits(guest, goal, effort);
            if !done.is_exhausted {
                return done;
            }
            self.everybody.is_beyond_soft = true;
        }
        let mut run = self.start(guest, Scope::Everybody, goal, effort);
        self.go_round(guest, &mut run);
        self.note_pressure(self.root.index(), run.done.scanned, run.done.reclaimed);
        if run.done.reclaimed > 0 || run.done.is_exhausted {
            self.everybody.is_beyond_soft = false;
        }
        run.done
    }

    /// Returns the group that is furthest above its soft limit, and by how much: where to reclaim
    /// when the whole guest is short of memory.
    #[must_use]
    pub fn soft_limit_excess(&self) -> Option<(GroupId, Pages)> {
        self.soft_limit_excesses().into_iter().next()
    }

    /// Pages of a kind that are in memory, whomever they are charged to.
    #[must_use]
    pub fn pages_of(&self, kind: Kind) -> Pages {
        let tops = self.groups.iter().filter(|group| group.feeds.is_none());
        Pages::new(tops.map(|group| group.sum_gauges().kind(kind)).sum())
    }

    /// Takes pages of the first group above its soft limit that has any; exhausted when none has.
    fn reclaim_above_soft_limits(
        &mut self,
        guest: &mut dyn Guest,
        goal: Pages,
        effort: Effort,
    ) -> Reclaimed {
        for (group, excess) in self.soft_limit_excesses().into_iter().take(SOFT_MAX) {
            let done = self.reclaim(guest, group, goal.min(excess), effort);
            if done.reclaimed > 0 || !done.is_exhausted {
                return Reclaimed { is_exhausted: false, ..done };
            }
        }
        Reclaimed { is_exhausted: true, ..Reclaimed::default() }
    }

    /// Returns the groups above their soft limit, the one furthest above it first.
    fn soft_limit_excesses(&self) -> Vec<(GroupId, Pages)> {
        let excess = |id: &GroupId| {
            let group = self.groups.at(self.groups.index(*id).ok()?);
            let usage = group.counter(Resource::Memory).usage().get();
            let excess = usage.checked_sub(group.settings.soft_limit.get())?;
            (excess > 0).then_some((*id, Pages::new(excess)))
        };
        let mut all: Vec<_> = self.soft_limited.iter().filter_map(excess).collect();
        all.sort_by_key(|(_, excess)| std::cmp::Reverse(*excess));
        all
    }

    /// Pages of all groups that could be had at all.
    pub(super) fn available_anywhere(&self, may_swap: bool) -> u64 {
        let tops = self.groups.iter().filter(|group| group.feeds.is_none());
        tops.map(|group| available(group.sum_gauges(), may_swap)).sum()
    }

    pub(super) fn position(&self, scope: Scope) -> &Position {
        match scope {
            Scope::Below(top) => &self.groups.at(top).position,
            Scope::Everybody => &self.everybody.position,
        }
    }

    pub(super) fn position_mut(&mut self, scope: Scope) -> &mut Position {
        match scope {
            Scope::Below(top) => &mut self.groups.at_mut(top).position,
            Scope::Everybody => &mut self.everybody.position,
        }
    }
}

impl Run {
    /// Whether it is the whole guest that is short of memory.
    pub(super) const fn is_for_everybody(&self) -> bool {
        matches!(self.scope, Scope::Everybody)
    }
}
