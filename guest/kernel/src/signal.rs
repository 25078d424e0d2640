//! Signals: what is pending, what is blocked, how they reach a program.
//!
//! A signal is sent ([`send`]), waits in the pending set of a task or of its process, and is
//! delivered ([`fn@deliver`]) just before a task that does not block it resumes: by its default
//! action, or by a call of the program's handler with a frame as Linux lays it out ([`frame`]).

pub(crate) mod action;
mod deliver;
mod frame;
mod info;
mod number;
mod pending;
mod restore;
mod send;
mod stack;
pub(crate) mod timer;

pub(crate) use action::Handlers;
pub(crate) use deliver::deliver;
pub(crate) use info::{Origin, SIGINFO_LEN, SignalInfo, code};
pub(crate) use number::{Signal, SignalSet};
pub(crate) use pending::Pending;
pub(crate) use restore::return_from_handler;
pub(crate) use send::{force, send_process, send_task};
pub(crate) use stack::{AlternateStack, STACK_LEN};
pub(crate) use timer::{expire, next_deadline, running_deadline};

use action::Disposition;
use number::DefaultAction;

use crate::kernel::Kernel;
use crate::number::Tid;

/// The signal state of a task.
#[derive(Debug, Clone, Default)]
pub(crate) struct TaskSignals {
    /// Signals that wait until they are unblocked.
    pub(crate) blocked: SignalSet,
    /// What `blocked` goes back to after a call that changed it for its duration (sigsuspend).
    pub(crate) restore: Option<SignalSet>,
    /// Signals sent to this task alone.
    pub(crate) pending: Pending,
    /// Stack for handlers that ask for it.
    pub(crate) alternate: AlternateStack,
}

impl TaskSignals {
    /// What a child starts with: the mask, and the stack where memory is not shared.
    pub(crate) fn for_fork(&self) -> Self {
        Self { blocked: self.blocked, alternate: self.alternate, ..Self::default() }
    }

    /// An exec keeps the mask and what is pending, but the alternate stack is gone.
    pub(crate) fn on_exec(&mut self) {
        self.alternate = AlternateStack::default();
    }

    /// Changes the mask until the call ends; later runs of the same call change nothing.
    pub(crate) fn block_for_call(&mut self, mask: SignalSet) {
        if self.restore.is_none() {
            self.restore = Some(self.blocked);
            self.blocked = mask.without(SignalSet::UNBLOCKABLE);
        }
    }

    /// Takes back what [`Self::block_for_call`] changed.
    pub(crate) fn end_call(&mut self) {
        if let Some(mask) = self.restore.take() {
            self.blocked = mask;
        }
    }
}

/// The signal state that the tasks of a process share.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProcessSignals {
    /// Signals sent to the process, for whichever task takes them.
    pub(crate) pending: Pending,
    /// Its timers.
    pub(crate) timers: timer::ProcessTimers,
}

/// Signals that are pending for a task, blocked or not.
pub(crate) fn pending_set(kernel: &Kernel, tid: Tid) -> SignalSet {
    let shared = kernel.process_of(tid).signals.pending.set();
    kernel.task(tid).signals.pending.set().union(shared)
}

/// Whether a signal waits that the task does not block.
pub(crate) fn has_deliverable(kernel: &Kernel, tid: Tid) -> bool {
    !pending_set(kernel, tid).without(kernel.task(tid).signals.blocked).is_empty()
}

/// Whether a signal that the task can take is going to end it.
pub(crate) fn is_doomed(kernel: &Kernel, tid: Tid) -> bool {
    let task = kernel.task(tid);
    let handlers = task.handlers.borrow();
    let mut waiting = pending_set(kernel, tid).without(task.signals.blocked);
    while let Some(signal) = waiting.first() {
        if handlers.get(signal).disposition(signal)
            == Disposition::Default(DefaultAction::Terminate)
        {
            return true;
        }
        waiting = waiting.without(SignalSet::of(signal));
    }
    false
}

/// Takes the first pending signal of a set: the task's own before its process's.
pub(crate) fn take(kernel: &mut Kernel, tid: Tid, set: SignalSet) -> Option<SignalInfo> {
    let own = &mut kernel.task_mut(tid).signals.pending;
    let info = if let Some(signal) = own.set().intersection(set).first() {
        own.take(signal)
    } else {
        let shared = &mut kernel.process_of_mut(tid).signals.pending;
        let signal = shared.set().intersection(set).first()?;
        shared.take(signal)
    };
    info.map(|info| timer::notify::taken(kernel, tid, info))
}
