//! Out of memory: who is killed, who waits, and what is counted. Killing is the machine's business.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::{Error, GroupId, Guest, Memcg, Tid};

impl Memcg {
    /// Picks the process to be killed when `group` is out of memory: of those in the group and below,
    /// the one with most pages present, the oldest of equals. The guest's first task is never picked.
    pub fn oom_victim(&self, group: GroupId, guest: &mut dyn Guest) -> Option<Tid> {
        let index = self.groups.index(group).ok()?;
        let mut processes = BTreeSet::new();
        for index in self.subtree(index) {
            let tgids = self.groups.at(index).tasks.iter().filter_map(|tid| self.task_tgid(*tid));
            processes.extend(tgids);
        }
        processes
            .into_iter()
            .filter(|tgid| *tgid != Tid::INIT)
            .filter_map(|tgid| self.tasks.mm_owner(tgid))
            .max_by_key(|tid| (guest.resident(*tid), Reverse(*tid)))
    }

    /// Counts a process of the group killed for lack of memory.
    ///
    /// # Errors
    /// [`Error::Dead`] when the group was removed.
    pub fn note_oom_kill(&mut self, group: GroupId) -> Result<(), Error> {
        let index = self.groups.index(group)?;
        self.book(index, |_, events| events.oom_kill += 1);
        Ok(())
    }

    /// Notes that one more task waits because `group` is out of memory.
    ///
    /// # Errors
    /// [`Error::Dead`] when the group was removed.
    pub fn oom_wait_begin(&mut self, group: GroupId) -> Result<(), Error> {
        let index = self.groups.index(group)?;
        self.groups.at_mut(index).oom_waiters += 1;
        Ok(())
    }

    /// Notes that one task less waits; false when none did.
    pub fn oom_wait_end(&mut self, group: GroupId) -> bool {
        let Ok(index) = self.groups.index(group) else { return false };
        let group = self.groups.at_mut(index);
        let waited = group.oom_waiters > 0;
        group.oom_waiters = group.oom_waiters.saturating_sub(1);
        waited
    }

    /// Tells whether tasks wait because this group, or one it charges to, is out of memory.
    ///
    /// # Errors
    /// [`Error::Dead`] when the group was removed.
    pub fn is_under_oom(&self, group: GroupId) -> Result<bool, Error> {
        let index = self.groups.index(group)?;
        let mut chain = self.chain(crate::walk::Chain::whole(index));
        Ok(chain.any(|index| self.groups.at(index).oom_waiters > 0))
    }

    /// Returns a group and its living descendants, by index.
    fn subtree(&self, index: u32) -> Vec<u32> {
        let mut all = vec![index];
        let mut next = 0;
        while let Some(index) = all.get(next) {
            all.extend(self.groups.at(*index).children.values());
            next += 1;
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use crate::{Guest, Gva, Pages, ScanError, ScannedPage, Tid, fixture};

    /// A guest whose tasks have as many pages as their number says.
    struct Sized;

    impl Guest for Sized {
        fn scan(
            &mut self,
            tid: Tid,
            _from: Gva,
            _pages_max: u64,
            _visit: &mut dyn FnMut(ScannedPage),
        ) -> Result<Option<Gva>, ScanError> {
            Err(ScanError::NoSuchTask(tid))
        }

        fn resident(&mut self, tid: Tid) -> Pages {
            Pages::new(u64::from(tid.get()) % 10)
        }

        fn kill(&mut self, _tid: Tid) {}
    }

    #[test]
    fn the_biggest_process_below_the_full_group_is_picked_and_never_init() {
        let mut m = fixture::share(8);
        let a = m.create(m.root(), "a").unwrap();
        let b = m.create(a, "b").unwrap();
        let groups = [(1, b), (12, a), (14, b), (24, b), (19, m.root())];
        for (tid, group) in groups {
            m.task_new(Tid::new(tid), Tid::new(tid), group).unwrap();
        }
        assert_eq!(m.oom_victim(a, &mut Sized), Some(Tid::new(14)));
        assert_eq!(m.oom_victim(m.root(), &mut Sized), Some(Tid::new(19)));
        m.task_exit(Tid::new(14));
        m.task_exit(Tid::new(24));
        assert_eq!(m.oom_victim(b, &mut Sized), None);
    }

    #[test]
    fn a_group_is_under_oom_with_everyone_below_it() {
        let mut m = fixture::share(8);
        let a = m.create(m.root(), "a").unwrap();
        let b = m.create(a, "b").unwrap();
        m.oom_wait_begin(a).unwrap();
        assert_eq!([m.root(), a, b].map(|g| m.is_under_oom(g).unwrap()), [false, true, true]);
        assert!(m.oom_wait_end(a));
        assert!(!m.oom_wait_end(a));
        assert!(!m.is_under_oom(b).unwrap());
    }
}
