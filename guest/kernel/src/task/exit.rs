//! The end of tasks and processes, and what their parents learn of it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::file::terminal;
use crate::host;
use crate::kernel::Kernel;
use crate::number::Tid;
use crate::signal::action::flag;
use crate::signal::{Signal, SignalInfo, code, send_process};
use crate::syscall::file::release_process;
use crate::syscall::futex;
use crate::syscall::request::WaitKey;
use crate::task::process::WaitStatus;
use crate::task::{Task, TaskState};

impl Kernel {
    /// Ends every task of a task's process.
    pub(crate) fn exit_group(&mut self, tid: Tid, status: WaitStatus) {
        let process = self.process_of_mut(tid);
        let status = *process.ending.get_or_insert(status);
        for thread in process.threads.clone() {
            self.exit_task(thread, status);
        }
    }

    /// Ends one task; with the last one its process ends.
    pub(crate) fn exit_task(&mut self, tid: Tid, status: WaitStatus) {
        futex::release_robust_list(self, tid);
        self.clear_tid(tid);
        self.save_extended(tid);
        let Some(task) = self.tasks.remove(&tid) else { return };
        self.files.opening.remove(&tid);
        if let TaskState::Blocked(wait) = &task.state
            && let Some(deadline) = wait.deadline
        {
            self.sleepers.remove(&(deadline, tid));
        }
        if let Some(parent) = task.vfork_parent {
            self.wake(WaitKey::Vfork(parent));
        }
        let process_id = task.process;
        self.release(task);
        host::task_exit(tid, status.0);
        let process = self.processes.get_mut(&process_id).expect("a task's process outlives it");
        process.threads.retain(|thread| *thread != tid);
        if process.threads.is_empty() {
            let status = process.ending.unwrap_or(status);
            self.end_process(process_id, status);
        }
    }

    /// Writes 0 where the task asked for it, and wakes who waits there (pthread_join).
    fn clear_tid(&mut self, tid: Tid) {
        let task = self.task(tid);
        let gva = task.clear_tid_gva;
        if gva != 0 && alloc::rc::Rc::strong_count(&task.space) > 1 {
            // A program that unmapped the word has nobody waiting there.
            let _ = self.user(tid).write_half(gva, 0);
            futex::wake_word(self, tid, gva, 1);
        }
    }

    /// Drops what a task held: its memory and descriptors, if nobody else has them.
    fn release(&mut self, task: Box<Task>) {
        let Task { space, files, context, handlers, .. } = *task;
        crate::file::release(self, files);
        drop((space, context, handlers));
    }

    /// The last task of a process is gone.
    fn end_process(&mut self, id: Tid, status: WaitStatus) {
        self.adopt_children(id);
        release_process(self, id);
        let Some(process) = self.processes.get_mut(&id) else { return };
        process.ended = Some(status);
        let (parent, exit_signal, job) = (process.parent, process.exit_signal, process.job);
        let is_first_of_job = process.is_first_of_job;
        if parent == Tid::INIT {
            self.processes.remove(&id);
        } else {
            self.tell_parent(id, parent, status, exit_signal);
        }
        if is_first_of_job {
            terminal::hang_up(self, job);
            self.files.forget_job(job);
            host::job_done(job, status.0);
        }
    }

    /// Hands the children of an ended process to init, which reaps those that have ended.
    fn adopt_children(&mut self, id: Tid) {
        let mut wishes = Vec::new();
        for child in self.processes.values_mut().filter(|process| process.parent == id) {
            child.parent = Tid::INIT;
            wishes.extend(child.parent_death.map(|signal| (child.id, signal)));
        }
        self.processes.retain(|_, process| process.parent != Tid::INIT || process.ended.is_none());
        for (child, signal) in wishes {
            // A real-time signal is lost where a thousand of them wait already.
            send_process(self, child, SignalInfo::task(signal, code::USER, id));
        }
    }

    /// Sends the exit signal and wakes waits; a parent that does not care gets no zombie.
    fn tell_parent(&mut self, id: Tid, parent: Tid, status: WaitStatus, exit_signal: u8) {
        let thread = self.processes.get(&parent).and_then(|process| process.threads.first());
        let ignores = thread.and_then(|thread| self.tasks.get(thread)).is_none_or(|task| {
            let action = task.handlers.borrow().get(Signal::CHLD);
            action.is_ignore() || action.has(flag::NOCLDWAIT)
        });
        let is_forgotten = ignores && exit_signal == Signal::CHLD.number();
        if let Some(signal) = Signal::from_word(u64::from(exit_signal)) {
            let info = match status.exit_code() {
                Some(exit_code) => SignalInfo::child(id, code::CLD_EXITED, exit_code.cast_signed()),
                None => SignalInfo::child(id, code::CLD_KILLED, status.signal().cast_signed()),
            };
            send_process(self, parent, SignalInfo { signal, ..info });
        }
        if is_forgotten {
            self.processes.remove(&id);
        }
        self.wake(WaitKey::Child(parent));
    }

    /// Stops every task of a process, and tells its parent.
    pub(crate) fn stop_process(&mut self, id: Tid, signal: Signal) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        if process.is_stopped {
            return;
        }
        process.is_stopped = true;
        let info = SignalInfo::child(id, code::CLD_STOPPED, i32::from(signal.number()));
        self.tell_change(id, WaitStatus::stopped(signal.number()), info);
    }

    /// Lets a stopped process go on, and tells its parent.
    pub(crate) fn continue_process(&mut self, id: Tid) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        if !process.is_stopped {
            return;
        }
        process.is_stopped = false;
        for thread in process.threads.clone() {
            self.enqueue(thread);
        }
        let number = i32::from(Signal::CONT.number());
        let info = SignalInfo::child(id, code::CLD_CONTINUED, number);
        self.tell_change(id, WaitStatus::CONTINUED, info);
    }

    /// Leaves a change of state for the parent's wait, with SIGCHLD unless it has SA_NOCLDSTOP.
    fn tell_change(&mut self, id: Tid, status: WaitStatus, info: SignalInfo) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        process.change = Some(status);
        let parent = process.parent;
        let thread = self.processes.get(&parent).and_then(|process| process.threads.first());
        let Some(task) = thread.and_then(|thread| self.tasks.get(thread)) else { return };
        let is_wanted = !task.handlers.borrow().get(Signal::CHLD).has(flag::NOCLDSTOP);
        if is_wanted {
            send_process(self, parent, info);
        }
        self.wake(WaitKey::Child(parent));
    }
}
