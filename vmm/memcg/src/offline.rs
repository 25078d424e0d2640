//! Removing a group, and what happens to what it still owns.

use crate::group::{Group, Life};
use crate::owners::{Holder, SlotId};
use crate::walk::Chain;
use crate::{Error, GroupId, Memcg, Offline, Pages, Resource};

/// A removed group that is still there, and what it still owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead {
    /// Its path when it was removed, by the names of those above it now.
    pub path: String,
    /// Anonymous, file and shared pages.
    pub user: Pages,
    /// Pages of kernel memory.
    pub kernel: Pages,
    /// Pages that are part of huge pages.
    pub huge: Pages,
    /// Pages in swap.
    pub swapped: Pages,
    /// Removed groups directly below it that are still there.
    pub below: usize,
}

impl Memcg {
    /// Removes a group. What it owns is reparented, or stays with a zombie; the usage of those above
    /// does not change by it, and the cost does not depend on how much it is.
    ///
    /// # Errors
    /// [`Error::Root`], [`Error::Dead`]; [`Error::Busy`] with tasks, children or a move in progress;
    /// [`Error::Charged`] when removed groups are to be drained and this one is not.
    pub fn remove(&mut self, group: GroupId) -> Result<(), Error> {
        let index = self.groups.index(group)?;
        let this = self.groups.at(index);
        let parent = this.parent.ok_or(Error::Root)?;
        if !this.tasks.is_empty() || !this.children.is_empty() || this.moves > 0 {
            return Err(Error::Busy);
        }
        let name = std::sync::Arc::clone(&this.name);
        let huge = self.huge_in_the_way(index);
        if huge > 0 {
            return Err(Error::Charged(Pages::new(huge)));
        }
        self.groups.at_mut(parent).children.remove(&name);
        self.debts.forget_group(group);
        self.soft_limited.remove(&group);
        self.thresholds.forget_group(self.groups.at_mut(index));
        match self.config.offline {
            Offline::Reparent => self.reparent(index, parent),
            Offline::Drain | Offline::Zombie => self.leave_zombie(index, parent),
        }
        Ok(())
    }

    /// Returns how many removed groups are still there, for what they or those below them own.
    #[must_use]
    pub fn zombies(&self) -> usize {
        self.groups.iter().filter(|group| !group.is_live()).count()
    }

    /// Returns the removed groups that are still there, and what pins each.
    #[must_use]
    pub fn dead(&self) -> Vec<Dead> {
        let dead = self.groups.iter().filter(|group| !group.is_live());
        let describe = |group: &Group| {
            let above =
                std::iter::successors(Some(group.id.index()), |i| self.groups.at(*i).parent);
            let mut names: Vec<&str> = above.map(|index| &*self.groups.at(index).name).collect();
            names.reverse();
            let [user, kernel, huge, swapped] = group.gauges.pins().map(Pages::new);
            Dead { path: names.join("/"), user, kernel, huge, swapped, below: group.dead.len() }
        };
        dead.map(describe).collect()
    }

    /// Makes the parent the owner of everything: its slot takes over.
    fn reparent(&mut self, index: u32, parent: u32) {
        let heir = self.heir(index, parent);
        self.repay_all(index);
        let group = self.groups.at_mut(index);
        let (slot, feeds) = (group.slot, group.feeds);
        let (gauges, events, lru) = (group.gauges, group.events, group.lru);
        let own = Resource::ALL.map(|resource| group.counter(resource).usage().get());
        if feeds.is_none() {
            for (resource, pages) in Resource::ALL.into_iter().zip(own) {
                if matches!(resource, Resource::Huge(..)) {
                    // The heir was charged already, and so was everyone between.
                    self.uncharge_line(
                        Chain { start: parent, top: Some(heir) },
                        &[resource],
                        pages,
                    );
                    continue;
                }
                let over = self.charge_chain(Chain::whole(heir), &[resource], pages);
                self.book(heir, |_, events| events.overshoot += over);
            }
        }
        if feeds.is_none() {
            self.book_sums(heir, |sum, happened| {
                sum.merge(&gauges);
                *happened += events;
            });
        }
        let heir = self.groups.at_mut(heir);
        heir.gauges.merge(&gauges);
        heir.lru.append(&mut self.frames, lru);
        // Differs from Linux, which forgets them: a sum over the tree never goes down here.
        heir.events += events;
        self.owners.redirect(slot, heir.slot);
        self.groups.free(index);
    }

    /// Returns the group that takes over (Linux v3.18 mem_cgroup_reparent_charges): the parent, or
    /// the root where the parent is not charged for its children.
    fn heir(&self, index: u32, parent: u32) -> u32 {
        match self.config.hierarchy {
            crate::Hierarchy::Wall => parent,
            crate::Hierarchy::Share => self.groups.at(index).feeds.unwrap_or(self.root.index()),
        }
    }

    fn leave_zombie(&mut self, index: u32, parent: u32) {
        self.groups.at_mut(parent).dead.insert(index);
        let group = self.groups.at_mut(index);
        group.life = Life::Zombie;
        let slot = group.slot;
        self.put_slot(slot);
    }

    /// Drops a reference to a slot; a zombie whose slot nobody names any more is gone.
    pub(crate) fn put_slot(&mut self, slot: SlotId) {
        self.put_slot_many(slot, 1);
    }

    /// Drops `n` references to a slot.
    pub(crate) fn put_slot_many(&mut self, slot: SlotId, n: u32) {
        let Some(Holder::Group(index)) = self.owners.put_many(slot, n) else { return };
        let group = self.groups.at_mut(index);
        debug_assert_eq!(group.life, Life::Zombie, "a living group names its own slot");
        group.life = Life::Husk;
        self.bury(index);
    }

    /// Frees a husk, and those above that only waited for it.
    fn bury(&mut self, mut index: u32) {
        loop {
            let group = self.groups.at(index);
            if group.life != Life::Husk || !group.dead.is_empty() {
                return;
            }
            let parent = group.parent;
            self.repay_all(index);
            self.groups.free(index);
            let Some(parent) = parent else { return };
            self.groups.at_mut(parent).dead.remove(&index);
            index = parent;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Config, Error, Gfn, Kind, Memcg, Offline, Pages, Payer, Resource, Tid, fixture};

    const A: Gfn = Gfn::new(0);

    fn machine(offline: Offline) -> Memcg {
        Memcg::new(Config { offline, ..fixture::config(8) }).unwrap()
    }

    fn usage(m: &Memcg, group: crate::GroupId) -> u64 {
        m.counter(group, Resource::Memory).unwrap().usage().get()
    }

    #[test]
    fn a_removed_group_leaves_its_pages_to_its_parent() {
        let mut m = machine(Offline::Reparent);
        let a = m.create(m.root(), "a").unwrap();
        let b = m.create(a, "b").unwrap();
        m.try_charge(Payer::Group(b), A, Kind::Anon).unwrap();
        m.remove(b).unwrap();
        assert_eq!((m.owner(A), usage(&m, a)), (Some(a), 1));
        assert_eq!(m.stat(a).unwrap().local.rss, Pages::ONE);
        m.remove(a).unwrap();
        assert_eq!((m.owner(A), usage(&m, m.root())), (Some(m.root()), 1));
        assert_eq!((m.zombies(), m.check()), (0, vec![]));
        assert!(m.uncharge(A));
        assert_eq!((usage(&m, m.root()), m.check()), (0, vec![]));
    }

    #[test]
    fn a_group_with_tasks_or_children_stays() {
        let mut m = machine(Offline::Reparent);
        let a = m.create(m.root(), "a").unwrap();
        let b = m.create(a, "b").unwrap();
        assert_eq!(m.remove(a), Err(Error::Busy));
        m.task_new(Tid::new(5), Tid::new(5), b).unwrap();
        assert_eq!(m.remove(b), Err(Error::Busy));
        m.task_exit(Tid::new(5));
        m.remove(b).unwrap();
        assert_eq!(m.remove(m.root()), Err(Error::Root));
    }

    #[test]
    fn what_could_not_be_drained_is_on_the_list_of_the_dead_until_it_goes() {
        let mut m = machine(Offline::Drain);
        let a = m.create(m.root(), "a").unwrap();
        m.try_charge(Payer::Group(a), A, Kind::Anon).unwrap();
        m.try_charge(Payer::Group(a), Gfn::new(1), Kind::Huge).unwrap();
        m.remove(a).unwrap();
        let [dead] = m.dead().try_into().unwrap();
        assert_eq!((dead.path.as_str(), dead.user, dead.huge), ("/a", Pages::ONE, Pages::ONE));
        assert_eq!((dead.kernel, dead.swapped, dead.below), (Pages::ZERO, Pages::ZERO, 0));
        m.uncharge(A);
        m.uncharge(Gfn::new(1));
        assert_eq!((m.dead(), m.zombies(), m.check()), (vec![], 0, vec![]));
    }

    #[test]
    fn a_zombie_keeps_its_pages_and_goes_with_the_last_one_with_all_husks_above() {
        let mut m = machine(Offline::Zombie);
        let a = m.create(m.root(), "a").unwrap();
        let b = m.create(a, "b").unwrap();
        m.try_charge(Payer::Group(b), A, Kind::Anon).unwrap();
        m.remove(b).unwrap();
        m.remove(a).unwrap();
        assert_eq!((m.owner(A), m.zombies(), usage(&m, m.root())), (Some(b), 2, 1));
        assert_eq!(m.check(), []);
        m.uncharge(A);
        assert_eq!((m.zombies(), usage(&m, m.root())), (0, 0));
        assert_eq!(m.check(), []);
    }

    #[test]
    fn pages_of_a_group_outside_the_hierarchy_go_to_the_root() {
        let mut m = machine(Offline::Reparent);
        m.set_use_hierarchy(m.root(), 0).unwrap();
        let a = m.create(m.root(), "a").unwrap();
        let b = m.create(a, "b").unwrap();
        m.try_charge(Payer::Group(b), A, Kind::Anon).unwrap();
        assert_eq!((usage(&m, b), usage(&m, a), usage(&m, m.root())), (1, 0, 0));
        m.remove(b).unwrap();
        assert_eq!((m.owner(A), usage(&m, m.root())), (Some(m.root()), 1));
        assert_eq!(m.check(), []);
    }
}
