//! Which tasks wait for memory, and what that costs the groups they are in.
//!
//! A stall of a task counts in its group and in all groups above, whatever those are charged for
//! (Linux v6.12 kernel/sched/psi.c `psi_memstall_enter`). Differs from Linux, where a group is stalled
//! in full when no task that could run is not: the accounting does not know who sleeps, so all tasks
//! of the group have to wait. `full` is a lower bound.

use crate::group::Group;
use crate::psi::{Stall, Stalls};
use crate::{Error, GroupId, Memcg, Tid};

impl Memcg {
    /// Notes that a task waits for memory from `now_us` on: for reclaim, or for what was reclaimed to
    /// be read again. False when there is no such task or it waits already.
    pub fn stall_begin(&mut self, tid: Tid, now_us: u64) -> bool {
        self.set_stalled(tid, now_us, true)
    }

    /// Notes that the wait is over. False when the task did not wait; it may have exited.
    pub fn stall_end(&mut self, tid: Tid, now_us: u64) -> bool {
        self.set_stalled(tid, now_us, false)
    }

    /// Returns how much time is lost in a group and below it, as of `now_us`.
    ///
    /// # Errors
    /// [`Error::Dead`] when the group was removed.
    pub fn stall(&self, group: GroupId, now_us: u64) -> Result<Stall, Error> {
        let group = self.groups.at(self.groups.index(group)?);
        let mut stalls =
            group.stalls.as_deref().copied().unwrap_or_else(|| Stalls::starting(now_us));
        stalls.advance(now_us);
        Ok(stalls.stall())
    }

    /// Counts a task in or out of a group and those above. It takes its stall along.
    pub(crate) fn count_task(&mut self, group: u32, is_stalled: bool, change: Presence) {
        let mut next = Some(group);
        while let Some(index) = next {
            let group = self.groups.at_mut(index);
            match change {
                Presence::Enters => group.tasks_below += 1,
                Presence::Leaves => group.tasks_below -= 1,
            }
            if is_stalled {
                let waiting = &mut stalls_of(group, self.now_us).waiting;
                match change {
                    Presence::Enters => *waiting += 1,
                    Presence::Leaves => *waiting -= 1,
                }
            }
            if is_stalled || group.stalls.as_ref().is_some_and(|stalls| stalls.waiting > 0) {
                stalls_of(group, self.now_us).advance(self.now_us);
                judge(group, self.now_us);
            }
            next = group.parent;
        }
    }

    fn set_stalled(&mut self, tid: Tid, now_us: u64, is_stalled: bool) -> bool {
        self.now_us = self.now_us.max(now_us);
        let Some(task) = self.tasks.get_mut(tid).filter(|task| task.is_stalled != is_stalled)
        else {
            return false;
        };
        task.is_stalled = is_stalled;
        let mut next = Some(task.group);
        while let Some(index) = next {
            let group = self.groups.at_mut(index);
            let stalls = stalls_of(group, self.now_us);
            stalls.advance(self.now_us);
            if is_stalled {
                stalls.waiting += 1;
            } else {
                stalls.waiting -= 1;
            }
            judge(group, self.now_us);
            next = group.parent;
        }
        true
    }
}

/// The stalls of a group, which begin with the first of them.
fn stalls_of(group: &mut Group, now_us: u64) -> &mut Stalls {
    group.stalls.get_or_insert_with(|| Box::new(Stalls::starting(now_us)))
}

fn judge(group: &mut Group, now_us: u64) {
    let tasks = group.tasks_below;
    let stalls = stalls_of(group, now_us);
    stalls.set(stalls.waiting > 0, stalls.waiting > 0 && stalls.waiting == tasks);
}

/// What a task does to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It is one of its tasks from now on.
    Enters,
    /// It is not any more.
    Leaves,
}

#[cfg(test)]
mod tests {
    use crate::{GroupId, Memcg, Tid, fixture};

    fn totals(m: &Memcg, group: GroupId, now_us: u64) -> (u64, u64) {
        let stall = m.stall(group, now_us).unwrap();
        (stall.some.total_us, stall.full.total_us)
    }

    #[test]
    fn a_stall_counts_in_the_group_and_above_and_in_full_when_nobody_else_is_there() {
        let mut m = fixture::share(8);
        let a = m.create(m.root(), "a").unwrap();
        let b = m.create(a, "b").unwrap();
        let [init, two, three] = [1, 2, 3].map(Tid::new);
        m.task_new(init, init, m.root()).unwrap();
        m.task_new(two, two, b).unwrap();
        m.task_new(three, three, a).unwrap();
        assert!(m.stall_begin(two, 1000));
        assert!(!m.stall_begin(two, 1100));
        assert!(!m.stall_begin(Tid::new(9), 1100));
        assert_eq!(totals(&m, b, 1500), (500, 500));
        assert_eq!(totals(&m, a, 1500), (500, 0));
        m.stall_begin(three, 2000);
        m.stall_end(two, 3000);
        assert!(!m.stall_end(two, 3000));
        m.stall_end(three, 4000);
        assert_eq!(totals(&m, b, 9000), (2000, 2000));
        assert_eq!(totals(&m, a, 9000), (3000, 1000));
        assert_eq!(totals(&m, m.root(), 9000), (3000, 0));
    }

    #[test]
    fn a_task_that_leaves_takes_its_stall_along() {
        let mut m = fixture::share(8);
        let [a, b] = ["a", "b"].map(|name| m.create(m.root(), name).unwrap());
        let two = Tid::new(2);
        m.task_new(two, two, a).unwrap();
        m.stall_begin(two, 1000);
        m.stall_begin(Tid::new(9), 2000);
        let to = b.index();
        m.attach(two, to);
        assert_eq!(totals(&m, a, 5000), (1000, 1000));
        assert_eq!(totals(&m, b, 5000), (3000, 3000));
        m.stall_end(Tid::new(9), 5000);
        m.task_exit(two);
        assert_eq!(totals(&m, b, 9000), (3000, 3000));
        assert_eq!(totals(&m, m.root(), 9000), (4000, 4000));
        assert_eq!(m.check(), []);
    }
}
