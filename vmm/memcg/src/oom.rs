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
        self.groups.at_mut(index).events.oom_kill += 1;
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
