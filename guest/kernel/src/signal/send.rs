//! Sending: from a program, from the host, or from the kernel itself.

use super::action::{Action, Disposition};
use super::{Signal, SignalInfo, SignalSet};
use crate::kernel::Kernel;
use crate::number::Tid;

/// Sends a signal to a process. Nothing happens when there is no such process.
///
/// False when too many real-time signals are pending already.
pub(crate) fn send_process(kernel: &mut Kernel, pid: Tid, info: SignalInfo) -> bool {
    let Some(threads) = kernel.processes.get(&pid).map(|process| process.threads.clone()) else {
        return true;
    };
    let Some(&first) = threads.first() else {
        return true;
    };
    prepare(kernel, pid, &threads, info.signal);
    if is_dropped(kernel, &threads, info.signal) {
        return true;
    }
    if !kernel.process_of_mut(first).signals.pending.push(info) {
        return false;
    }
    let taker = threads.iter().copied().find(|&tid| !is_blocked(kernel, tid, info.signal));
    wake(kernel, taker, &threads);
    true
}

/// Sends a signal to one task. Nothing happens when there is no such task.
///
/// False when too many real-time signals are pending already.
pub(crate) fn send_task(kernel: &mut Kernel, tid: Tid, info: SignalInfo) -> bool {
    let Some(pid) = kernel.tasks.get(&tid).map(|task| task.process) else {
        return true;
    };
    let threads = kernel.process_of(tid).threads.clone();
    prepare(kernel, pid, &threads, info.signal);
    if is_dropped(kernel, &[tid], info.signal) {
        return true;
    }
    if !kernel.task_mut(tid).signals.pending.push(info) {
        return false;
    }
    let taker = (!is_blocked(kernel, tid, info.signal)).then_some(tid);
    wake(kernel, taker, &[tid]);
    true
}

/// Sends a task a signal for something it did itself: blocked or ignored, it ends the process.
pub(crate) fn force(kernel: &mut Kernel, tid: Tid, info: SignalInfo) {
    let task = kernel.task_mut(tid);
    let was_blocked = task.signals.blocked.contains(info.signal);
    task.signals.blocked = task.signals.blocked.without(SignalSet::of(info.signal));
    let mut handlers = task.handlers.borrow_mut();
    if was_blocked || handlers.get(info.signal).is_ignore() {
        handlers.set(info.signal, Action::default());
    }
    drop(handlers);
    // A full queue holds real-time signals only; this one is not queued behind another of its kind.
    task.signals.pending.push(info);
}

/// SIGCONT and the stopping signals cancel each other; SIGCONT and SIGKILL end a stop at once.
fn prepare(kernel: &mut Kernel, pid: Tid, threads: &[Tid], signal: Signal) {
    if signal == Signal::CONT {
        discard(kernel, threads, SignalSet::STOPPING);
    } else if SignalSet::STOPPING.contains(signal) {
        discard(kernel, threads, SignalSet::of(Signal::CONT));
    }
    if signal == Signal::CONT || signal == Signal::KILL {
        kernel.continue_process(pid);
    }
}

/// Takes signals away from a process and all its tasks.
fn discard(kernel: &mut Kernel, threads: &[Tid], signals: SignalSet) {
    for &tid in threads {
        kernel.task_mut(tid).signals.pending.discard(signals);
    }
    if let Some(&tid) = threads.first() {
        kernel.process_of_mut(tid).signals.pending.discard(signals);
    }
}

/// A signal that is ignored is dropped, unless a task blocks it and may yet change its mind.
fn is_dropped(kernel: &Kernel, threads: &[Tid], signal: Signal) -> bool {
    threads.iter().all(|&tid| {
        let action = kernel.task(tid).handlers.borrow().get(signal);
        action.disposition(signal) == Disposition::Ignore && !is_blocked(kernel, tid, signal)
    })
}

fn is_blocked(kernel: &Kernel, tid: Tid, signal: Signal) -> bool {
    kernel.task(tid).signals.blocked.contains(signal)
}

/// Wakes the task that is going to take the signal. Where all of them block it, one may still be
/// waiting for just this signal (rt_sigtimedwait), so all of them look again.
fn wake(kernel: &mut Kernel, taker: Option<Tid>, threads: &[Tid]) {
    match taker {
        Some(tid) => {
            kernel.wake_task(tid);
            // The host may be holding it: what ends it, it takes all the same.
            kernel.enqueue(tid);
        }
        None => threads.iter().for_each(|&tid| kernel.wake_task(tid)),
    }
}
