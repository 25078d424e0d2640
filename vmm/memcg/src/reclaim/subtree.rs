//! Going round the groups that charge to one, removed ones included, one step at a time.

use std::ops::Bound;

use crate::{GroupId, Memcg};

impl Memcg {
    /// Returns the group to go on with: the one that was to be next if it is still there, else the
    /// first.
    pub(super) fn resume(&self, next: Option<GroupId>, top: u32) -> u32 {
        let next = next.filter(|id| {
            self.groups.existing(id.index()).is_some_and(|group| group.id == *id)
                && self.is_below(id.index(), top)
        });
        next.map_or(top, GroupId::index)
    }

    /// Returns the group after `at`, parents before their children; `None` after the last.
    pub(super) fn following(&self, at: u32, top: u32) -> Option<u32> {
        let group = self.groups.at(at);
        let below = group.children.values().chain(&group.dead).copied();
        if let Some(first) =
            below.into_iter().find(|index| self.groups.at(*index).feeds == Some(at))
        {
            return Some(first);
        }
        let mut at = at;
        while at != top {
            if let Some(sibling) = self.sibling(at) {
                return Some(sibling);
            }
            at = self.groups.at(at).feeds?;
        }
        None
    }

    /// Returns the next group that charges to the same one: first the living by name, then the others.
    fn sibling(&self, at: u32) -> Option<u32> {
        let group = self.groups.at(at);
        let above = self.groups.at(group.feeds?);
        let feeds = |index: &&u32| self.groups.at(**index).feeds == group.feeds;
        if !group.is_live() {
            let later = above.dead.range((Bound::Excluded(at), Bound::Unbounded));
            return later.into_iter().find(feeds).copied();
        }
        let name = std::sync::Arc::clone(&group.name);
        let later = above.children.range((Bound::Excluded(name), Bound::Unbounded));
        let living = later.map(|(_, index)| index).find(feeds);
        living.or_else(|| above.dead.iter().find(feeds)).copied()
    }
}

#[cfg(test)]
mod tests {
    use crate::{Config, Gfn, Kind, Memcg, Offline, Payer, fixture};

    fn round(m: &Memcg, top: crate::GroupId) -> Vec<u32> {
        let next = |at: &u32| m.following(*at, top.index());
        std::iter::successors(Some(top.index()), next).collect()
    }

    #[test]
    fn every_group_that_charges_to_the_top_is_passed_once() {
        let mut m = Memcg::new(Config { offline: Offline::Zombie, ..fixture::config(8) }).unwrap();
        let top = m.create(m.root(), "top").unwrap();
        let other = m.create(m.root(), "other").unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| m.create(top, name).unwrap());
        let below = m.create(b, "below").unwrap();
        let indices =
            |groups: &[crate::GroupId]| groups.iter().map(|g| g.index()).collect::<Vec<_>>();
        assert_eq!(round(&m, top), indices(&[top, a, b, below, c]));
        m.try_charge(Payer::Group(a), Gfn::new(0), Kind::Anon).unwrap();
        m.try_charge(Payer::Group(below), Gfn::new(1), Kind::Anon).unwrap();
        m.remove(a).unwrap();
        m.remove(below).unwrap();
        m.remove(b).unwrap();
        assert_eq!(round(&m, top), indices(&[top, c, a, b, below]));
        assert_eq!(round(&m, other), indices(&[other]));
        assert_eq!(m.resume(Some(below), top.index()), below.index());
        assert_eq!(m.resume(Some(below), other.index()), other.index());
        m.uncharge(Gfn::new(1));
        assert_eq!(m.resume(Some(below), top.index()), top.index());
    }

    #[test]
    fn children_that_do_not_charge_to_their_parent_are_passed_by() {
        let mut m = fixture::share(8);
        m.set_use_hierarchy(m.root(), 0).unwrap();
        let a = m.create(m.root(), "a").unwrap();
        m.create(a, "b").unwrap();
        assert_eq!(round(&m, m.root()), [m.root().index()]);
        assert_eq!(round(&m, a), [a.index()]);
    }
}
