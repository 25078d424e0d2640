//! Usage thresholds: whoever watches one learns of every crossing, in both directions.
//!
//! A counter knows the range of usage in which nothing is crossed, so that a charge pays one
//! comparison for it. What lies beyond is worked out here when the range is left. A crossing is a
//! value in a queue, taken by the caller when the operation is over; what happens to it is none of
//! this crate's business.
//!
//! Differs from Linux v6.18 mm/memcontrol-v1.c `memcg_check_events`, which looks every 128 page
//! events: here no crossing is missed.

use std::collections::BTreeMap;

use crate::group::Group;
use crate::{Error, GroupId, Memcg, Pages, Resource};

/// A threshold that was crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// The group that was watched.
    pub group: GroupId,
    /// The counter that was watched.
    pub resource: Resource,
    /// The threshold.
    pub at: Pages,
    /// Whether the usage has become at least the threshold, or less.
    pub is_reached: bool,
}

/// A level of one counter: index of the group, place of the counter, pages.
type Level = (u32, usize, u64);

/// All thresholds, and the crossings nobody has taken yet.
#[derive(Debug, Default)]
pub(crate) struct Thresholds {
    /// How many watch each level.
    watchers: BTreeMap<Level, u32>,
    crossings: Vec<Crossing>,
}

impl Thresholds {
    /// Notes what was crossed by a change that took a counter out of its calm range.
    #[cold]
    pub(crate) fn cross(&mut self, group: &mut Group, resource: Resource) {
        let counter = group.counter(resource);
        let (usage, calm) = (counter.usage().get(), counter.calm());
        let level = |at| (group.id.index(), resource.index(), at);
        let is_reached = usage >= calm.end;
        let crossed = match is_reached {
            true => level(calm.end)..=level(usage),
            false => level(usage.saturating_add(1))..=level(calm.start),
        };
        let crossing = |at| Crossing { group: group.id, resource, at: Pages::new(at), is_reached };
        let crossed = self.watchers.range(crossed).map(|(&(_, _, at), _)| crossing(at));
        if is_reached {
            self.crossings.extend(crossed);
        } else {
            self.crossings.extend(crossed.rev());
        }
        self.calm_down(group, resource);
    }

    /// Sets the range in which the counter crosses nothing.
    fn calm_down(&self, group: &mut Group, resource: Resource) {
        let usage = group.counter(resource).usage().get();
        let level = |at| (group.id.index(), resource.index(), at);
        let mut below = self.watchers.range(level(0)..=level(usage));
        let mut above = self.watchers.range(level(usage.saturating_add(1))..=level(u64::MAX));
        let start = below.next_back().map_or(0, |(&(_, _, at), _)| at);
        let end = above.next().map_or(u64::MAX, |(&(_, _, at), _)| at);
        group.counter_mut(resource).set_calm(start..end);
    }

    /// Forgets the thresholds of a group that goes.
    pub(crate) fn forget_group(&mut self, group: &mut Group) {
        let index = group.id.index();
        let all = (index, 0, 0)..=(index, usize::MAX, u64::MAX);
        let levels: Vec<Level> = self.watchers.range(all).map(|(&level, _)| level).collect();
        for level in levels {
            self.watchers.remove(&level);
        }
        for resource in Resource::ALL {
            if group.counter(resource).calm() != (0..u64::MAX) {
                group.counter_mut(resource).set_calm(0..u64::MAX);
            }
        }
    }
}

impl Memcg {
    /// Watches the usage of one counter: from now on, every time it reaches `at` or falls below it,
    /// there is a [`Crossing`] to take. Several may watch the same level.
    ///
    /// # Errors
    /// [`Error::Dead`] when the group was removed.
    pub fn watch_usage(
        &mut self,
        group: GroupId,
        resource: Resource,
        at: Pages,
    ) -> Result<(), Error> {
        let index = self.groups.index(group)?;
        *self.thresholds.watchers.entry((index, resource.index(), at.get())).or_default() += 1;
        self.thresholds.calm_down(self.groups.at_mut(index), resource);
        Ok(())
    }

    /// Ends one watch; false when there was none, as after the group was removed.
    pub fn unwatch_usage(&mut self, group: GroupId, resource: Resource, at: Pages) -> bool {
        let Ok(index) = self.groups.index(group) else { return false };
        let level = (index, resource.index(), at.get());
        let Some(watchers) = self.thresholds.watchers.get_mut(&level) else { return false };
        *watchers -= 1;
        if *watchers == 0 {
            self.thresholds.watchers.remove(&level);
            self.thresholds.calm_down(self.groups.at_mut(index), resource);
        }
        true
    }

    /// Takes the crossings since the last call, oldest first. Costs nothing when there are none.
    pub fn take_crossings(&mut self) -> Vec<Crossing> {
        std::mem::take(&mut self.thresholds.crossings)
    }

    /// Notes a crossing by the last change of a counter, if it was one.
    pub(crate) fn note_crossing(&mut self, index: u32, resource: Resource) {
        let group = self.groups.at_mut(index);
        if !group.counter(resource).is_calm() {
            self.thresholds.cross(group, resource);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Crossing, Error, Gfn, GroupId, Kind, Memcg, Pages, Payer, Resource, fixture};

    fn charge(m: &mut Memcg, group: GroupId, gfns: std::ops::Range<u64>) {
        for gfn in gfns {
            m.try_charge(Payer::Group(group), Gfn::new(gfn), Kind::Anon).unwrap();
        }
    }

    fn crossed(m: &mut Memcg, resource: Resource) -> Vec<(u64, bool)> {
        let crossings = m.take_crossings().into_iter();
        let wanted = crossings.filter(|crossing| crossing.resource == resource);
        wanted.map(|Crossing { at, is_reached, .. }| (at.get(), is_reached)).collect()
    }

    #[test]
    fn a_threshold_is_crossed_at_the_very_page_in_both_directions() {
        let mut m = fixture::share(16);
        let a = m.create(m.root(), "a").unwrap();
        m.watch_usage(a, Resource::Memory, Pages::new(3)).unwrap();
        charge(&mut m, a, 0..2);
        assert_eq!(m.take_crossings(), []);
        charge(&mut m, a, 2..3);
        let up =
            Crossing { group: a, resource: Resource::Memory, at: Pages::new(3), is_reached: true };
        assert_eq!(m.take_crossings(), [up]);
        charge(&mut m, a, 3..9);
        for gfn in 3..9 {
            m.uncharge(Gfn::new(gfn));
        }
        assert_eq!(m.take_crossings(), []);
        m.uncharge(Gfn::new(0));
        assert_eq!(m.take_crossings(), [Crossing { is_reached: false, ..up }]);
        assert_eq!(m.check(), []);
    }

    #[test]
    fn a_threshold_passed_already_is_silent_until_it_is_crossed_again() {
        let mut m = fixture::share(16);
        let a = m.create(m.root(), "a").unwrap();
        charge(&mut m, a, 0..5);
        for at in [0, 5, 6] {
            m.watch_usage(a, Resource::Memory, Pages::new(at)).unwrap();
        }
        assert_eq!(m.take_crossings(), []);
        m.uncharge(Gfn::new(4));
        charge(&mut m, a, 4..6);
        let seen = [(5, false), (5, true), (6, true)];
        assert_eq!(crossed(&mut m, Resource::Memory), seen);
    }

    #[test]
    fn ancestors_and_memsw_are_watched_like_the_group_itself() {
        let mut m = fixture::share(16);
        let a = m.create(m.root(), "a").unwrap();
        let b = m.create(a, "b").unwrap();
        m.watch_usage(a, Resource::Memory, Pages::new(2)).unwrap();
        m.watch_usage(a, Resource::Memsw, Pages::new(2)).unwrap();
        charge(&mut m, b, 0..2);
        m.swap_out(Gfn::new(0));
        let crossings = m.take_crossings();
        let seen: Vec<_> = crossings.iter().map(|c| (c.group, c.resource, c.is_reached)).collect();
        let expected =
            [(a, Resource::Memory, true), (a, Resource::Memsw, true), (a, Resource::Memory, false)];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_watch_ends_by_itself_when_its_group_goes_and_otherwise_with_the_last_watcher() {
        let mut m = fixture::share(16);
        let a = m.create(m.root(), "a").unwrap();
        for _ in 0..2 {
            m.watch_usage(a, Resource::Memory, Pages::ONE).unwrap();
        }
        assert!(m.unwatch_usage(a, Resource::Memory, Pages::ONE));
        charge(&mut m, a, 0..1);
        assert_eq!(crossed(&mut m, Resource::Memory), [(1, true)]);
        assert!(m.unwatch_usage(a, Resource::Memory, Pages::ONE));
        assert!(!m.unwatch_usage(a, Resource::Memory, Pages::ONE));
        m.uncharge(Gfn::new(0));
        assert_eq!(m.take_crossings(), []);
        m.watch_usage(a, Resource::Memory, Pages::ONE).unwrap();
        m.remove(a).unwrap();
        assert!(!m.unwatch_usage(a, Resource::Memory, Pages::ONE));
        assert_eq!(m.watch_usage(a, Resource::Memory, Pages::ONE), Err(Error::Dead));
        let b = m.create(m.root(), "b").unwrap();
        charge(&mut m, b, 0..2);
        assert_eq!(m.take_crossings(), []);
    }

    #[test]
    fn what_is_lent_counts_as_usage_and_crosses_thresholds() {
        let mut m = fixture::wall(16);
        let a = m.create(m.root(), "a").unwrap();
        let b = m.create(a, "b").unwrap();
        m.set_limit(a, Resource::Memory, Pages::new(8)).unwrap();
        m.watch_usage(a, Resource::Memory, Pages::new(3)).unwrap();
        m.set_limit(b, Resource::Memory, Pages::new(4)).unwrap();
        m.set_limit(b, Resource::Memory, Pages::ONE).unwrap();
        assert_eq!(crossed(&mut m, Resource::Memory), [(3, true), (3, false)]);
    }

    #[test]
    fn random_charges_cross_exactly_what_a_naive_observer_sees() {
        let mut m = fixture::share(64);
        let a = m.create(m.root(), "a").unwrap();
        let levels = [1, 2, 3, 7, 8, 20, 40];
        for at in levels {
            m.watch_usage(a, Resource::Memory, Pages::new(at)).unwrap();
        }
        // Knuth's multiplier; the seed is arbitrary.
        let mut state = 2008_u64;
        let mut usage = 0;
        for _ in 0..5000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let gfn = Gfn::new(state >> 58);
            let was = usage;
            if m.uncharge(gfn) {
                usage -= 1;
            } else {
                m.try_charge(Payer::Group(a), gfn, Kind::Anon).unwrap();
                usage += 1;
            }
            let expected: Vec<_> = levels
                .into_iter()
                .filter(|at| (was >= *at) != (usage >= *at))
                .map(|at| (at, usage >= at))
                .collect();
            assert_eq!(crossed(&mut m, Resource::Memory), expected);
        }
    }
}
