//! Making tasks: fork, vfork, clone, threads.

use alloc::rc::Rc;
use alloc::vec;
use core::cell::RefCell;

use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::kmem::KmemId;
use crate::memory::space::SharedSpace;
use crate::number::{Tid, low_u8, low_u32};
use crate::signal::{ProcessSignals, TaskSignals};
use crate::task::process::Process;
use crate::task::{Task, TaskState};
use crate::{heap, host};

/// Flags of clone (Linux v6.12 include/uapi/linux/sched.h).
pub(crate) mod flag {
    pub(crate) const VM: u64 = 0x100;
    pub(crate) const FS: u64 = 0x200;
    pub(crate) const FILES: u64 = 0x400;
    pub(crate) const SIGHAND: u64 = 0x800;
    pub(crate) const VFORK: u64 = 0x4000;
    pub(crate) const PARENT: u64 = 0x8000;
    pub(crate) const THREAD: u64 = 0x1_0000;
    pub(crate) const SETTLS: u64 = 0x8_0000;
    pub(crate) const PARENT_SETTID: u64 = 0x10_0000;
    pub(crate) const CHILD_CLEARTID: u64 = 0x20_0000;
    pub(crate) const CHILD_SETTID: u64 = 0x100_0000;
    pub(crate) const CLEAR_SIGHAND: u64 = 0x1_0000_0000;
    /// New namespaces, tracing, descriptors for processes: not there.
    pub(crate) const UNSUPPORTED: u64 = 0x7e02_1080 | 0x2_0000_0000;
}

/// Tasks there may be: a fork bomb ends in EAGAIN before it ends in an empty heap.
const TASKS_MAX: usize = 4096;

/// Heap that a task takes, its extended state included, and an area: generous estimates.
const TASK_BYTES: usize = 32 << 10;
const AREA_BYTES: usize = 256;

/// What clone was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CloneRequest {
    pub(crate) flags: u64,
    /// New stack pointer; 0 = the same.
    pub(crate) stack: u64,
    pub(crate) parent_tid_gva: u64,
    pub(crate) child_tid_gva: u64,
    pub(crate) tls: u64,
    pub(crate) exit_signal: u64,
}

impl CloneRequest {
    fn has(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }

    /// EINVAL for combinations that Linux refuses, and for what is not there.
    fn check(&self) -> Result<(), Errno> {
        let is_sound = (!self.has(flag::THREAD) || self.has(flag::SIGHAND))
            && (!self.has(flag::SIGHAND) || self.has(flag::VM))
            && !self.has(flag::UNSUPPORTED)
            && self.exit_signal <= 64;
        if is_sound { Ok(()) } else { Err(Errno::EINVAL) }
    }
}

/// Makes a task; answers its id. Refused, nothing has changed.
pub(crate) fn clone(
    kernel: &mut Kernel,
    parent: Tid,
    request: &CloneRequest,
) -> Result<Tid, Errno> {
    request.check()?;
    if kernel.tasks.len() >= TASKS_MAX || kernel.is_ending {
        return Err(Errno::EAGAIN);
    }
    let areas = kernel.task(parent).space.borrow().areas.len();
    if !heap::has_room(TASK_BYTES + areas * AREA_BYTES) {
        return Err(Errno::ENOMEM);
    }
    let tid = kernel.new_tid().ok_or(Errno::EAGAIN)?;
    kernel.save_extended(parent);
    let mut task = kernel.frames.new_box(copy_task(kernel, parent, tid, request)?)?;
    task.kmem = announce(kernel, parent, &task)?;
    let space = task.space.clone();
    let process_id = task.process;
    if request.has(flag::THREAD) {
        kernel.process_of_mut(parent).threads.push(tid);
    } else {
        let process = copy_process(kernel, parent, tid, request);
        kernel.processes.insert(process_id, process);
    }
    kernel.tasks.insert(tid, task);
    write_ids(kernel, parent, &space, tid, request);
    kernel.enqueue(tid);
    Ok(tid)
}

/// Tells the host, which may refuse. Answers who pays for the task's kernel memory.
fn announce(kernel: &Kernel, parent: Tid, task: &Task) -> Result<KmemId, Errno> {
    let root = task.space.borrow().tables.root();
    let job = 0; // inherited
    let parent = kernel.task(parent).tid;
    host::task_new(task.tid, task.process, parent, root, job)
}

fn copy_task(
    kernel: &Kernel,
    parent: Tid,
    tid: Tid,
    request: &CloneRequest,
) -> Result<Task, Errno> {
    let old = kernel.task(parent);
    let space: SharedSpace = if request.has(flag::VM) {
        old.space.clone()
    } else {
        let copy = old.space.borrow_mut().fork()?;
        Rc::new(RefCell::new(copy))
    };
    let mut registers = old.registers;
    registers.rax = 0;
    if request.stack != 0 {
        registers.rsp = request.stack;
    }
    let files = if request.has(flag::FILES) {
        old.files.clone()
    } else {
        Rc::new(RefCell::new(old.files.borrow().for_fork()?))
    };
    let context = if request.has(flag::FS) {
        old.context.clone()
    } else {
        Rc::new(RefCell::new(old.context.borrow().for_fork()))
    };
    let handlers = if request.has(flag::SIGHAND) {
        old.handlers.clone()
    } else {
        let mut handlers = old.handlers.borrow().for_fork();
        if request.has(flag::CLEAR_SIGHAND) {
            handlers.on_exec();
        }
        Rc::new(RefCell::new(handlers))
    };
    let signals: TaskSignals = old.signals.for_fork();
    let fs_base = if request.has(flag::SETTLS) { request.tls } else { old.fs_base };
    let clear = request.has(flag::CHILD_CLEARTID);
    Ok(Task {
        tid,
        process: if request.has(flag::THREAD) { old.process } else { tid },
        state: TaskState::Ready,
        is_held: false,
        kmem: old.kmem,
        registers,
        fs_base,
        gs_base: old.gs_base,
        extended: old.extended.copy(&kernel.frames)?,
        space,
        files,
        context,
        signals,
        handlers,
        ran_ns: 0,
        request: None,
        interrupted: None,
        clear_tid_gva: if clear { request.child_tid_gva } else { 0 },
        robust_list_gva: 0,
        name: old.name.clone(),
        vfork_parent: request.has(flag::VFORK).then_some(parent),
    })
}

fn copy_process(kernel: &Kernel, parent: Tid, tid: Tid, request: &CloneRequest) -> Process {
    let old = kernel.process_of(parent);
    Process {
        id: tid,
        parent: if request.has(flag::PARENT) { old.parent } else { old.id },
        group: old.group,
        session: old.session,
        threads: vec![tid],
        job: old.job,
        is_first_of_job: false,
        signals: ProcessSignals::default(),
        exit_signal: low_u8(request.exit_signal),
        parent_death: None,
        ended: None,
        ending: None,
        change: None,
        is_stopped: false,
        has_execed: false,
        limits: old.limits,
        scheduling: old.scheduling,
        personality: old.personality,
        command_line: old.command_line.clone(),
        executable: old.executable.clone(),
        started_ns: kernel.clock.now(),
        ran_ns: 0,
        children_ran_ns: 0,
    }
}

/// Writes the new id where parent and child asked for it.
fn write_ids(kernel: &Kernel, parent: Tid, space: &SharedSpace, tid: Tid, request: &CloneRequest) {
    let id = low_u32(tid.word());
    if request.has(flag::PARENT_SETTID) {
        // As in Linux, a bad address is not an error here.
        let _ = kernel.user(parent).write_half(request.parent_tid_gva, id);
    }
    if request.has(flag::CHILD_SETTID) {
        let child = crate::memory::user::UserMemory::new(space.clone());
        // As above.
        let _ = child.write_half(request.child_tid_gva, id);
    }
}
