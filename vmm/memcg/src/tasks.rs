//! Which task belongs to which group.
//!
//! A million tasks must fit: a task is one hash-map entry, one entry in its group's set and one in
//! the set of threads, about eighty bytes in all.

use std::collections::{BTreeSet, HashMap};

use crate::stalls::Presence;
use crate::{Error, GroupId, Memcg, Tid};

/// A live task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    /// Index of its group.
    pub(crate) group: u32,
    pub(crate) tgid: Tid,
    /// The move it is in the middle of, if new anonymous pages are to move along.
    pub(crate) transit: Option<u32>,
    /// It waits for memory.
    pub(crate) is_stalled: bool,
}

/// All live tasks.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    by_tid: HashMap<Tid, Task>,
    /// Thread group and task, so that the threads of a process are neighbours.
    threads: BTreeSet<(Tid, Tid)>,
}

impl Tasks {
    pub(crate) fn get(&self, tid: Tid) -> Option<Task> {
        self.by_tid.get(&tid).copied()
    }

    pub(crate) fn get_mut(&mut self, tid: Tid) -> Option<&mut Task> {
        self.by_tid.get_mut(&tid)
    }

    fn insert(&mut self, tid: Tid, task: Task) {
        self.by_tid.insert(tid, task);
        self.threads.insert((task.tgid, tid));
    }

    fn remove(&mut self, tid: Tid) -> Option<Task> {
        let task = self.by_tid.remove(&tid)?;
        self.threads.remove(&(task.tgid, tid));
        Some(task)
    }

    /// Returns the live threads of a process, in ascending order.
    pub(crate) fn threads(&self, tgid: Tid) -> impl Iterator<Item = Tid> {
        self.threads.range((tgid, Tid::new(0))..=(tgid, Tid::new(u32::MAX))).map(|(_, tid)| *tid)
    }

    /// Returns the thread that stands for the address space of its process: the leader or, once that
    /// has exited, the lowest thread (Linux: `mm_update_next_owner`).
    pub(crate) fn mm_owner(&self, tgid: Tid) -> Option<Tid> {
        if self.by_tid.get(&tgid).is_some_and(|task| task.tgid == tgid) {
            return Some(tgid);
        }
        self.threads(tgid).next()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Tid, Task)> {
        self.by_tid.iter().map(|(tid, task)| (*tid, *task))
    }
}

impl Memcg {
    /// Adds a task to a group.
    ///
    /// # Errors
    /// [`Error::Exists`] when the task id is taken, [`Error::Dead`] when the group was removed.
    pub fn task_new(&mut self, tid: Tid, tgid: Tid, group: GroupId) -> Result<(), Error> {
        let index = self.groups.index(group)?;
        self.add_task(tid, Task { group: index, tgid, transit: None, is_stalled: false })
    }

    /// Adds a task to the group its parent is in. A new thread of a process that is being moved as a
    /// whole moves along.
    ///
    /// # Errors
    /// [`Error::Exists`] when the task id is taken, [`Error::NotFound`] when there is no parent.
    pub fn task_fork(&mut self, child: Tid, tgid: Tid, parent: Tid) -> Result<(), Error> {
        let parent = self.tasks.get(parent).ok_or(Error::NotFound)?;
        let moving = parent.transit.filter(|transit| {
            tgid == parent.tgid && self.transits.at(*transit).scope == crate::Scope::Process
        });
        self.add_task(child, Task { group: parent.group, tgid, transit: moving, is_stalled: false })
    }

    /// Removes a task; its pages stay charged until they are freed. A move of its address space that
    /// is in progress ends the way its policy gives up. False when there is no such task.
    pub fn task_exit(&mut self, tid: Tid) -> bool {
        if let Some(transit) = self.transits.of_task(tid) {
            self.abandon(transit);
        }
        let Some(task) = self.tasks.remove(tid) else { return false };
        self.groups.at_mut(task.group).tasks.remove(&tid);
        self.count_task(task.group, task.is_stalled, Presence::Leaves);
        self.debts.forget_task(tid);
        if self.tasks.mm_owner(task.tgid).is_none() {
            self.strays.forget_process(task.tgid, self.groups.at(task.group).id);
        }
        self.stop_waiting(tid, None);
        true
    }

    /// Returns the group of a live task.
    #[must_use]
    pub fn task_group(&self, tid: Tid) -> Option<GroupId> {
        Some(self.groups.at(self.tasks.get(tid)?.group).id)
    }

    /// Returns the thread group of a live task.
    #[must_use]
    pub fn task_tgid(&self, tid: Tid) -> Option<Tid> {
        Some(self.tasks.get(tid)?.tgid)
    }

    /// Returns the live threads of a thread group, in ascending order.
    #[must_use]
    pub fn threads(&self, tgid: Tid) -> Vec<Tid> {
        self.tasks.threads(tgid).collect()
    }

    /// Tells whether the task leads its thread group.
    #[must_use]
    pub fn is_leader(&self, tid: Tid) -> bool {
        self.tasks.get(tid).is_some_and(|task| task.tgid == tid)
    }

    /// Returns the tasks of a group in ascending order.
    ///
    /// # Errors
    /// [`Error::Dead`] when the group was removed.
    pub fn tasks(&self, group: GroupId) -> Result<Vec<Tid>, Error> {
        let index = self.groups.index(group)?;
        Ok(self.groups.at(index).tasks.iter().copied().collect())
    }

    /// Returns the thread groups that have a thread in the group, in ascending order.
    ///
    /// # Errors
    /// [`Error::Dead`] when the group was removed.
    pub fn processes(&self, group: GroupId) -> Result<Vec<Tid>, Error> {
        let tasks = self.tasks(group)?;
        let leaders: BTreeSet<Tid> = tasks.into_iter().filter_map(|t| self.task_tgid(t)).collect();
        Ok(leaders.into_iter().collect())
    }

    /// Puts a live task into another group; its charges are none of this function's business.
    pub(crate) fn attach(&mut self, tid: Tid, to: u32) {
        let Some(task) = self.tasks.get_mut(tid) else { return };
        let from = std::mem::replace(&mut task.group, to);
        let is_stalled = task.is_stalled;
        self.groups.at_mut(from).tasks.remove(&tid);
        self.groups.at_mut(to).tasks.insert(tid);
        self.count_task(from, is_stalled, Presence::Leaves);
        self.count_task(to, is_stalled, Presence::Enters);
        self.stop_waiting(tid, Some(to));
    }

    fn add_task(&mut self, tid: Tid, task: Task) -> Result<(), Error> {
        if self.tasks.get(tid).is_some() {
            return Err(Error::Exists);
        }
        self.tasks.insert(tid, task);
        self.groups.at_mut(task.group).tasks.insert(tid);
        self.count_task(task.group, task.is_stalled, Presence::Enters);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{Error, Tid, fixture};

    #[test]
    fn tasks_and_processes_are_sorted_and_leave_with_their_exit() {
        let mut m = fixture::share(8);
        let a = m.create(m.root(), "a").unwrap();
        let [two, three, nine] = [2, 3, 9].map(Tid::new);
        m.task_new(nine, nine, a).unwrap();
        m.task_fork(two, nine, nine).unwrap();
        m.task_fork(three, three, two).unwrap();
        assert_eq!(m.tasks(a).unwrap(), [two, three, nine]);
        assert_eq!(m.processes(a).unwrap(), [three, nine]);
        assert!(m.is_leader(nine) && !m.is_leader(two));
        assert_eq!(m.task_new(two, two, a), Err(Error::Exists));
        assert_eq!(m.task_fork(Tid::new(4), two, Tid::new(5)), Err(Error::NotFound));
        assert!(m.task_exit(nine) && !m.task_exit(nine));
        assert_eq!((m.tasks(a).unwrap(), m.task_group(nine)), (vec![two, three], None));
        assert_eq!(m.check(), []);
    }
}
