//! Tasks that wait because their group is out of memory and nobody is to be killed for it.
//!
//! Linux v6.12 mm/memcontrol-v1.c `mem_cgroup_oom_synchronize`: the charger sleeps and tries again.
//! Here its page had to be charged over the limit already, so each task that waits accounts for one
//! page too many, and may go on when that page fits. First come, first served.

use crate::walk::USER;
use crate::{Error, GroupId, Memcg, Tid};

/// A task that waits, and for which group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Waiter {
    tid: Tid,
    /// Index of the group that is out of memory. It cannot go while a task below it waits.
    group: u32,
}

/// Everyone who waits, in the order of arrival, and who has stopped without being told to.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    waiting: Vec<Waiter>,
    freed: Vec<Tid>,
}

impl Memcg {
    /// Notes that a task waits because `group` is out of memory.
    ///
    /// # Errors
    /// [`Error::Dead`] when the group was removed, [`Error::NotFound`] when there is no such task,
    /// [`Error::Exists`] when it waits already.
    pub fn oom_wait_begin(&mut self, group: GroupId, tid: Tid) -> Result<(), Error> {
        let index = self.groups.index(group)?;
        let task = self.tasks.get(tid).ok_or(Error::NotFound)?;
        if self.waiters.waiting.iter().any(|waiter| waiter.tid == tid) {
            return Err(Error::Exists);
        }
        if !self.is_below(task.group, index) {
            return Err(Error::Invalid);
        }
        self.waiters.waiting.push(Waiter { tid, group: index });
        self.groups.at_mut(index).oom_waiters += 1;
        Ok(())
    }

    /// Takes a task off those that wait, for one that was killed; false when it did not wait.
    pub fn oom_wait_end(&mut self, tid: Tid) -> bool {
        let place = self.waiters.waiting.iter().position(|waiter| waiter.tid == tid);
        place.map(|place| self.release(place)).is_some()
    }

    /// Returns the tasks that need not wait any longer: their page fits by now, since the limit has
    /// risen or something was freed; nobody has to wait in their group any more; or they have left
    /// it. Where killing was allowed again, the group may still be over its limit.
    #[must_use]
    pub fn take_oom_released(&mut self) -> Vec<Tid> {
        let mut freed = std::mem::take(&mut self.waiters.freed);
        let mut place = 0;
        while let Some(waiter) = self.waiters.waiting.get(place).copied() {
            if self.may_go_on(waiter.group) {
                self.release(place);
                freed.push(waiter.tid);
            } else {
                place += 1;
            }
        }
        freed
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

    /// Forgets a task that has exited, and lets one that has left for another group go on.
    pub(crate) fn stop_waiting(&mut self, tid: Tid, now_in: Option<u32>) {
        let place = self.waiters.waiting.iter().position(|waiter| waiter.tid == tid);
        let Some(place) = place else {
            if now_in.is_none() {
                self.waiters.freed.retain(|other| *other != tid);
            }
            return;
        };
        let group = self.waiters.waiting[place].group;
        match now_in {
            Some(index) if self.is_below(index, group) => {}
            Some(_) => {
                self.release(place);
                self.waiters.freed.push(tid);
            }
            None => self.release(place),
        }
    }

    /// Tells whether the first who waits for this group may go on: whether with one page for each of
    /// the others too many, its own fits.
    fn may_go_on(&self, index: u32) -> bool {
        let group = self.groups.at(index);
        let others = u64::from(group.oom_waiters.saturating_sub(1));
        !group.settings.oom_kill_disable
            || USER.iter().all(|resource| {
                let counter = group.counter(*resource);
                counter.usage().get() <= counter.limit().get().saturating_add(others)
            })
    }

    fn release(&mut self, place: usize) {
        let waiter = self.waiters.waiting.remove(place);
        self.groups.at_mut(waiter.group).oom_waiters -= 1;
    }

    /// Tells whether `index` is `above` or charges to it.
    pub(crate) fn is_below(&self, index: u32, above: u32) -> bool {
        self.chain(crate::walk::Chain::whole(index)).any(|index| index == above)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Error, Gfn, GroupId, Kind, Memcg, Pages, Payer, Resource, Tid, fixture};

    /// A group with a limit of four pages and three tasks that wait, each with a page too many.
    fn crowded() -> (Memcg, GroupId, [Tid; 3]) {
        let mut m = fixture::share(64);
        let a = m.create(m.root(), "a").unwrap();
        m.set_limit(a, Resource::Memory, Pages::new(4)).unwrap();
        m.set_oom_kill_disable(a, 1).unwrap();
        let tids = [2, 3, 4].map(Tid::new);
        for tid in tids {
            m.task_new(tid, tid, a).unwrap();
        }
        for page in 0..4 {
            m.try_charge(Payer::Group(a), Gfn::new(page), Kind::Anon).unwrap();
        }
        for (page, tid) in (4..).zip(tids) {
            m.charge(Payer::Task(tid), Gfn::new(page), Kind::Anon).unwrap();
            m.oom_wait_begin(a, tid).unwrap();
        }
        assert_eq!(m.take_oom_released(), []);
        (m, a, tids)
    }

    #[test]
    fn as_many_go_on_as_there_is_room_for_and_in_their_order() {
        let (mut m, a, [first, second, third]) = crowded();
        m.uncharge(Gfn::new(0));
        assert_eq!(m.take_oom_released(), [first]);
        assert_eq!(m.take_oom_released(), []);
        m.set_limit(a, Resource::Memory, Pages::new(6)).unwrap();
        assert_eq!(m.take_oom_released(), [second, third]);
        assert!(!m.is_under_oom(a).unwrap());
        assert_eq!(m.check(), []);
    }

    #[test]
    fn all_go_on_when_killing_is_allowed_again() {
        let (mut m, a, tids) = crowded();
        m.set_oom_kill_disable(a, 0).unwrap();
        assert_eq!(m.take_oom_released(), tids);
    }

    #[test]
    fn a_task_that_exits_or_leaves_does_not_wait_and_its_room_is_for_the_others() {
        let (mut m, a, [first, second, third]) = crowded();
        let b = m.create(m.root(), "b").unwrap();
        m.task_exit(first);
        m.uncharge(Gfn::new(4));
        assert_eq!(m.take_oom_released(), []);
        m.attach(second, b.index());
        assert_eq!(m.take_oom_released(), [second]);
        assert!(m.oom_wait_end(third) && !m.oom_wait_end(third));
        assert!(!m.is_under_oom(a).unwrap());
    }

    #[test]
    fn a_task_that_moves_further_down_waits_on() {
        let (mut m, a, [first, ..]) = crowded();
        let b = m.create(a, "b").unwrap();
        m.attach(first, b.index());
        assert_eq!(m.take_oom_released(), []);
        m.uncharge(Gfn::new(0));
        assert_eq!(m.take_oom_released(), [first]);
    }

    #[test]
    fn only_a_task_of_the_group_can_wait_and_only_once() {
        let (mut m, a, [first, ..]) = crowded();
        let b = m.create(m.root(), "b").unwrap();
        assert_eq!(m.oom_wait_begin(a, first), Err(Error::Exists));
        assert_eq!(m.oom_wait_begin(a, Tid::new(9)), Err(Error::NotFound));
        m.task_new(Tid::new(9), Tid::new(9), b).unwrap();
        assert_eq!(m.oom_wait_begin(a, Tid::new(9)), Err(Error::Invalid));
        m.remove(b).unwrap_err();
    }

    #[test]
    fn a_group_is_under_oom_with_everyone_below_it() {
        let (mut m, a, _) = crowded();
        let b = m.create(a, "b").unwrap();
        assert_eq!([m.root(), a, b].map(|g| m.is_under_oom(g).unwrap()), [false, true, true]);
    }
}
