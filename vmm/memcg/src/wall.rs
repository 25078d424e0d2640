//! The high wall of 2008: a child's limit is borrowed from its parent.
//!
//! Raising a limit by `v` charges the parent `v` (its `security`) and adds `v` to the child's
//! `borrow`; lowering it repays. So `usage = own + security <= limit`, a non-root group's limit is
//! what it borrowed, and a charge touches one counter. The posting's faults are not repeated: an
//! exact fit is granted, repaying never drops a limit below the usage, deltas are worked out under
//! the lock they are applied under, and a refusal is counted.
//!
//! The limit of the root is the machine's memory. Swap is not walled: memsw counts own pages only.

use crate::{Counter, Error, GroupId, Hierarchy, Memcg, Pages, Resource};

impl Memcg {
    /// Says how much memory the machine has, where that is less than its frames: this is what the root
    /// has to lend. To be called before anything is charged or lent.
    pub fn set_memory(&mut self, pages: Pages) {
        if self.config.hierarchy == Hierarchy::Wall {
            let root = self.groups.at_mut(self.root.index());
            *root.counter_mut(Resource::Memory) = Counter::with_limit(pages);
        }
    }

    /// Pages the parent lent this group; zero in the root and without walls.
    ///
    /// # Errors
    /// [`Error::Dead`] when the group was removed.
    pub fn borrow(&self, group: GroupId) -> Result<Pages, Error> {
        Ok(Pages::new(self.groups.at(self.groups.index(group)?).borrow))
    }

    /// Pages this group lent its children; part of its usage.
    ///
    /// # Errors
    /// [`Error::Dead`] when the group was removed.
    pub fn security(&self, group: GroupId) -> Result<Pages, Error> {
        Ok(Pages::new(self.groups.at(self.groups.index(group)?).security))
    }

    /// Sets the limit of a child to `limit`, borrowing or repaying the difference.
    pub(crate) fn lend(&mut self, index: u32, limit: u64) -> Result<(), Error> {
        if limit >= Pages::UNLIMITED.get() {
            // Nobody can lend without limit.
            return Err(Error::Invalid);
        }
        let child = self.groups.at(index);
        let parent = child.parent.ok_or(Error::Root)?;
        if child.counter(Resource::Memory).usage().get() > limit {
            return Err(Error::Busy);
        }
        let borrowed = child.borrow;
        if limit > borrowed {
            self.borrow_more(parent, limit - borrowed)?;
        } else {
            self.repay(parent, borrowed - limit);
        }
        let child = self.groups.at_mut(index);
        child.borrow = limit;
        let set = child.counter_mut(Resource::Memory).try_set_limit(limit);
        debug_assert!(set, "usage was compared with the limit before");
        Ok(())
    }

    /// Repays everything a group borrowed, when it goes. What it still owns is charged to the heir by
    /// the caller; together that changes the parent's usage by no more than what fitted before.
    pub(crate) fn repay_all(&mut self, index: u32) {
        let group = self.groups.at_mut(index);
        let borrowed = std::mem::take(&mut group.borrow);
        if let (Some(parent), true) = (group.parent, borrowed > 0) {
            self.repay(parent, borrowed);
        }
    }

    fn borrow_more(&mut self, index: u32, pages: u64) -> Result<(), Error> {
        let parent = self.groups.at_mut(index);
        let counter = parent.counter_mut(Resource::Memory);
        if !counter.fits(pages) {
            counter.refuse();
            return Err(Error::NoMemory(Pages::new(pages)));
        }
        counter.charge(pages);
        parent.security += pages;
        self.note_crossing(index, Resource::Memory);
        Ok(())
    }

    fn repay(&mut self, index: u32, pages: u64) {
        let parent = self.groups.at_mut(index);
        parent.counter_mut(Resource::Memory).uncharge(pages);
        parent.security =
            parent.security.checked_sub(pages).expect("security is the sum of what was lent");
        self.note_crossing(index, Resource::Memory);
    }
}

#[cfg(test)]
mod tests {
    //! The faults of the May 2008 posting are in `tests/it/defects_wall.rs`, one test each.

    use crate::{ChargeError, Error, Gfn, GroupId, Kind, Memcg, Pages, Payer, Resource, fixture};

    fn limit(m: &mut Memcg, group: GroupId, pages: u64) -> Result<(), Error> {
        m.set_limit(group, Resource::Memory, Pages::new(pages))
    }

    fn usage(m: &Memcg, group: GroupId) -> u64 {
        m.counter(group, Resource::Memory).unwrap().usage().get()
    }

    fn fault(m: &mut Memcg, group: GroupId, gfn: u64) -> Result<(), ChargeError> {
        m.try_charge(Payer::Group(group), Gfn::new(gfn), Kind::Anon)
    }

    #[test]
    fn raising_a_limit_charges_the_parent_and_lowering_repays() {
        let mut m = fixture::wall(100);
        let a = m.create(m.root(), "a").unwrap();
        limit(&mut m, a, 40).unwrap();
        assert_eq!(m.security(m.root()).unwrap().get(), 40);
        assert_eq!(usage(&m, m.root()), 40);
        limit(&mut m, a, 15).unwrap();
        assert_eq!((m.borrow(a).unwrap().get(), usage(&m, m.root())), (15, 15));
        assert_eq!(m.check(), []);
    }

    #[test]
    fn a_charge_touches_one_counter_only() {
        let mut m = fixture::wall(100);
        let a = m.create(m.root(), "a").unwrap();
        limit(&mut m, a, 10).unwrap();
        let before = m.counter(m.root(), Resource::Memory).unwrap();
        fault(&mut m, a, 0).unwrap();
        assert_eq!(m.counter(m.root(), Resource::Memory).unwrap(), before);
        assert_eq!(usage(&m, a), 1);
    }

    #[test]
    fn a_group_that_goes_repays_all_and_leaves_its_pages_to_the_parent() {
        let mut m = fixture::wall(100);
        let a = m.create(m.root(), "a").unwrap();
        limit(&mut m, a, 10).unwrap();
        fault(&mut m, a, 0).unwrap();
        m.remove(a).unwrap();
        assert_eq!((usage(&m, m.root()), m.security(m.root()).unwrap().get()), (1, 0));
        assert_eq!(m.owner(Gfn::new(0)), Some(m.root()));
        assert_eq!(m.check(), []);
    }
}
