//! A task: one thread of a program.

pub(crate) mod clone;
pub(crate) mod exit;
pub(crate) mod extended;
pub(crate) mod process;
pub(crate) mod registers;

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use crate::file::{FileContext, FileTable};
use crate::kmem::KmemId;
use crate::memory::space::SharedSpace;
use crate::number::Tid;
use crate::signal::{Handlers, TaskSignals};
use crate::syscall::request::{OnSignal, Request, Wait};
use extended::Extended;
use registers::Registers;

/// What a task is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TaskState {
    /// It runs or could run.
    Ready,
    /// It sleeps in a system call.
    Blocked(Wait),
}

/// A system call that a signal ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interrupted {
    /// The call, for making it again.
    pub(crate) request: Request,
    /// What becomes of it.
    pub(crate) on_signal: OnSignal,
}

/// One thread of a program.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) tid: Tid,
    /// Its process, by the id of the first task.
    pub(crate) process: Tid,
    pub(crate) state: TaskState,
    /// The host asked that it not run (`EventKind::Wait`).
    pub(crate) is_held: bool,
    /// Who pays for kernel memory allocated on its behalf.
    pub(crate) kmem: KmemId,
    pub(crate) registers: Registers,
    pub(crate) fs_base: u64,
    pub(crate) gs_base: u64,
    pub(crate) extended: Extended,
    pub(crate) space: SharedSpace,
    pub(crate) files: Rc<RefCell<FileTable>>,
    pub(crate) context: Rc<RefCell<FileContext>>,
    pub(crate) signals: TaskSignals,
    pub(crate) handlers: Rc<RefCell<Handlers>>,
    /// Nanoseconds it has run, in ring 3 and in the kernel on its behalf.
    pub(crate) ran_ns: u64,
    /// The system call it sleeps in.
    pub(crate) request: Option<Request>,
    /// The system call that the signal about to be delivered ended.
    pub(crate) interrupted: Option<Interrupted>,
    /// Where to write 0 and wake a futex when the task ends (set_tid_address); 0 = nowhere.
    pub(crate) clear_tid_gva: u64,
    /// Head of the list of robust futexes; 0 = none.
    pub(crate) robust_list_gva: u64,
    /// Name as prctl(PR_GET_NAME) tells it, at most 15 bytes.
    pub(crate) name: Vec<u8>,
    /// The task that sleeps in vfork until this one execs or ends.
    pub(crate) vfork_parent: Option<Tid>,
}
