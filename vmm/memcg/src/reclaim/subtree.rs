//! Going round the groups that charge to one, or round all, removed ones included, one step at a
//! time.

use std::ops::Bound;

use super::Scope;
use crate::{GroupId, Memcg};

impl Memcg {
    /// Returns the group to go on with: the one that was to be next if it is still there, else the
    /// first.
    pub(super) fn resume(&self, next: Option<GroupId>, scope: Scope) -> u32 {
        let next = next.filter(|id| {
            self.groups.existing(id.index()).is_some_and(|group| group.id == *id)
                && match scope {
                    Scope::Below(top) => self.is_below(id.index(), top),
                    Scope::Everybody => true,
                }
        });
        let first = if let Scope::Below(top) = scope { top } else { self.root().index() };
        next.map_or(first, GroupId::index)
    }

    /// Returns the group after `at`; `None` after the last.
    pub(super) fn following(&self, at: u32, scope: Scope) -> Option<u32> {
        match scope {
            Scope::Below(top) => self.following_below(at, top),
            Scope::Everybody => self.groups.after(at),
        }
    }

    /// Returns the group that a charge of this one visits last.
    pub(super) fn topmost(&self, at: u32) -> u32 {
        let above = |index: &u32| self.groups.at(*index).feeds;
        std::iter::successors(Some(at), above).last().unwrap_or(at)
    }

    /// Returns the group after `at` of those that charge to `top`, parents before their children.
    fn following_below(&self, at: u32, top: u32) -> Option<u32> {
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
    use super::Scope;
    use crate::{Config, Gfn, Kind, Memcg, Offline, Payer, fixture};

    fn round(m: &Memcg, top: crate::GroupId) -> Vec<u32> {
        let next = |at: &u32| m.following(*at, Scope::Below(top.index()));
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
        assert_eq!(m.resume(Some(below), Scope::Below(top.index())), below.index());
        assert_eq!(m.resume(Some(below), Scope::Below(other.index())), other.index());
        m.uncharge(Gfn::new(1));
        assert_eq!(m.resume(Some(below), Scope::Below(top.index())), top.index());
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
    #[test]
    fn everybody_is_passed_whomever_they_charge_to_and_the_dead_as_well() {
        let mut m = Memcg::new(Config { offline: Offline::Zombie, ..fixture::config(8) }).unwrap();
        m.set_use_hierarchy(m.root(), 0).unwrap();
        let gone = m.create(m.root(), "gone").unwrap();
        let dead = m.create(m.root(), "dead").unwrap();
        let a = m.create(m.root(), "a").unwrap();
        m.try_charge(Payer::Group(dead), Gfn::new(0), Kind::Anon).unwrap();
        m.remove(dead).unwrap();
        m.remove(gone).unwrap();
        let next = |at: &u32| m.following(*at, Scope::Everybody);
        let first = m.resume(None, Scope::Everybody);
        let all: Vec<u32> = std::iter::successors(Some(first), next).collect();
        assert_eq!(all, [m.root(), dead, a].map(crate::GroupId::index));
    }
}
