//! The kernel's state, all of it, and the loop that runs tasks.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ptr::from_ref;

use vmcg_abi::page::shared;

use crate::file::Files;
use crate::host;
use crate::memory::frames::Frames;
use crate::memory::huge::map::HugeMemory;
use crate::memory::segment::Segments;
use crate::memory::space::SharedSpace;
use crate::memory::user::UserMemory;
use crate::number::Tid;
use crate::schedule::ready::Ready;
use crate::task::Task;
use crate::task::process::Process;
use crate::time::Clock;

/// Everything the kernel knows.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) frames: Frames,
    pub(crate) huge: HugeMemory,
    pub(crate) tasks: BTreeMap<Tid, Box<Task>>,
    pub(crate) processes: BTreeMap<Tid, Process>,
    /// Tasks that could run, in turn.
    pub(crate) ready: Ready,
    /// Sleeping tasks that have a deadline, the next first.
    pub(crate) sleepers: BTreeSet<(u64, Tid)>,
    /// The task whose extended state and segment bases the CPU holds.
    pub(crate) loaded: Option<Tid>,
    pub(crate) clock: Clock,
    pub(crate) files: Files,
    /// System V shared memory.
    pub(crate) segments: Segments,
    /// The last id given to a task.
    pub(crate) last_tid: u32,
    /// The last id given to something that can be waited for.
    pub(crate) last_wait_id: u64,
    /// The host is taking the machine down.
    pub(crate) is_ending: bool,
}

impl Kernel {
    /// A kernel without tasks.
    pub(crate) fn new(frames: Frames, huge: HugeMemory, clock: Clock) -> Self {
        let files = Files::new(&huge);
        Self {
            frames,
            huge,
            tasks: BTreeMap::new(),
            processes: BTreeMap::new(),
            ready: Ready::default(),
            sleepers: BTreeSet::new(),
            loaded: None,
            clock,
            files,
            segments: Segments::default(),
            last_tid: Tid::INIT.0,
            last_wait_id: 0,
            is_ending: false,
        }
    }

    /// A task that is known to exist.
    pub(crate) fn task(&self, tid: Tid) -> &Task {
        self.tasks.get(&tid).expect("the task exists while it makes a call")
    }

    /// The same, to be changed.
    pub(crate) fn task_mut(&mut self, tid: Tid) -> &mut Task {
        self.tasks.get_mut(&tid).expect("the task exists while it makes a call")
    }

    /// The process of a task that is known to exist.
    pub(crate) fn process_of(&self, tid: Tid) -> &Process {
        let process = self.task(tid).process;
        self.processes.get(&process).expect("a task's process outlives it")
    }

    /// The same, to be changed.
    pub(crate) fn process_of_mut(&mut self, tid: Tid) -> &mut Process {
        let process = self.task(tid).process;
        self.processes.get_mut(&process).expect("a task's process outlives it")
    }

    /// Every address space there is.
    pub(crate) fn spaces(&self) -> Vec<SharedSpace> {
        let mut seen = BTreeSet::new();
        let spaces = self.tasks.values().map(|task| &task.space);
        spaces.filter(|space| seen.insert(from_ref(&***space).addr())).cloned().collect()
    }

    /// The task whose turn it is, for what is the same whichever descriptor leads there.
    pub(crate) fn current(&self) -> Tid {
        let word = host::shared_word(shared::CURRENT_TID);
        Tid::from_word(word)
            .filter(|tid| self.tasks.contains_key(tid))
            .expect("a task has the turn")
    }

    /// The memory of a task.
    pub(crate) fn user(&self, tid: Tid) -> UserMemory {
        UserMemory::new(self.task(tid).space.clone())
    }

    /// A new id for `WaitKey::Object`.
    pub(crate) fn new_wait_id(&mut self) -> u64 {
        self.last_wait_id += 1;
        self.last_wait_id
    }

    /// An id that no task, process, group or session has; `None` when there are none left.
    pub(crate) fn new_tid(&mut self) -> Option<Tid> {
        /// Linux's default of kernel.pid_max.
        const TID_MAX: u32 = 32768;
        for _ in 0..TID_MAX {
            self.last_tid = if self.last_tid >= TID_MAX { 2 } else { self.last_tid + 1 };
            let tid = Tid(self.last_tid);
            let is_used = self.tasks.contains_key(&tid)
                || self.processes.contains_key(&tid)
                || self.processes.values().any(|p| p.group == tid || p.session == tid);
            if !is_used {
                return Some(tid);
            }
        }
        None
    }
}
