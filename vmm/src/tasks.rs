//! The guest's tasks as the host knows them: ids, page tables, names. Which group a task is in is
//! the accounting's business.

use std::collections::BTreeMap;

use memcg::{Gfn, Tid};

/// Most tasks the host keeps track of; a guest that claims more gets EAGAIN.
const TASKS_MAX: usize = 1 << 20;
/// Longest name kept, in bytes.
const NAME_MAX: usize = 64;

/// One task.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    /// Its thread group: the id of the group's leader.
    pub(crate) tgid: Tid,
    /// Root of its page tables; `None` for init, which has none.
    pub(crate) root: Option<Gfn>,
    /// Name of the program it runs.
    pub(crate) name: String,
    /// It has been told to die after an out-of-memory decision.
    pub(crate) is_dying: bool,
}

/// A guest's claim about a task that cannot be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TaskError {
    /// The id is in use, 0, or init's.
    BadId,
    /// There are too many tasks.
    TooMany,
    /// No task has this id.
    NoSuchTask,
}

/// All tasks, by id.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    all: BTreeMap<Tid, Task>,
}

impl Tasks {
    /// The registry of a fresh machine: only init exists.
    pub(crate) fn new() -> Self {
        let init = Task { tgid: Tid::INIT, root: None, name: "[init]".into(), is_dying: false };
        Self { all: BTreeMap::from([(Tid::INIT, init)]) }
    }

    /// Adds a task.
    ///
    /// # Errors
    /// When its id is taken or there are too many; nothing changes.
    pub(crate) fn add(&mut self, tid: Tid, task: Task) -> Result<(), TaskError> {
        if tid.get() == 0 || self.all.contains_key(&tid) {
            return Err(TaskError::BadId);
        }
        if self.all.len() >= TASKS_MAX {
            return Err(TaskError::TooMany);
        }
        self.all.insert(tid, task);
        Ok(())
    }

    /// Gives a task new page tables and a new name.
    ///
    /// # Errors
    /// When there is no such task.
    pub(crate) fn exec(&mut self, tid: Tid, root: Gfn, name: &[u8]) -> Result<(), TaskError> {
        let task = self.all.get_mut(&tid).ok_or(TaskError::NoSuchTask)?;
        task.root = Some(root);
        task.name = shown_name(name);
        Ok(())
    }

    /// Removes a task that has ended; init never does.
    pub(crate) fn remove(&mut self, tid: Tid) -> Option<Task> {
        if tid == Tid::INIT { None } else { self.all.remove(&tid) }
    }

    /// The task with this id.
    pub(crate) fn get(&self, tid: Tid) -> Option<&Task> {
        self.all.get(&tid)
    }

    /// Marks a task as told to die; false when it had been told already or is gone.
    pub(crate) fn set_dying(&mut self, tid: Tid) -> bool {
        self.all.get_mut(&tid).is_some_and(|task| !std::mem::replace(&mut task.is_dying, true))
    }

    /// All tasks in order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Tid, &Task)> {
        self.all.iter().map(|(&tid, task)| (tid, task))
    }
}

/// A program's name as it may be shown on a terminal: the guest chose the bytes.
fn shown_name(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(NAME_MAX)]);
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> Task {
        Task { tgid: Tid::new(2), root: None, name: String::new(), is_dying: false }
    }

    #[test]
    fn an_id_is_given_out_once() {
        let mut tasks = Tasks::new();
        assert_eq!(tasks.add(Tid::new(2), task()), Ok(()));
        assert_eq!(tasks.add(Tid::new(2), task()), Err(TaskError::BadId));
        assert_eq!(tasks.add(Tid::new(0), task()), Err(TaskError::BadId));
        assert_eq!(tasks.add(Tid::INIT, task()), Err(TaskError::BadId));
    }

    #[test]
    fn init_stays() {
        let mut tasks = Tasks::new();
        assert!(tasks.remove(Tid::INIT).is_none());
        assert!(tasks.get(Tid::INIT).is_some());
    }

    #[test]
    fn names_cannot_carry_terminal_codes() {
        assert_eq!(shown_name(b"a\x1b[2Jb"), "a?[2Jb");
        assert_eq!(shown_name(&[b'x'; 100]).len(), NAME_MAX);
    }
}
