//! Events of the host, taken from the ring between two tasks' turns.

use alloc::vec::Vec;

use vmcg_abi::event::{Event, EventKind};
use vmcg_abi::layout::{EVENT_RING_GPA, EVENT_RING_SLOTS};
use vmcg_abi::page::shared;

use crate::kernel::Kernel;
use crate::kmem::KmemId;
use crate::number::Tid;
use crate::signal::{Signal, SignalInfo, send_process};
use crate::task::process::WaitStatus;
use crate::{file, host, job, physical};

/// Takes every event there is.
pub(crate) fn take_all(kernel: &mut Kernel) {
    if host::shared_word(shared::EVENTS_PENDING) == 0 {
        return;
    }
    host::set_shared_word(shared::EVENTS_PENDING, 0);
    let mut tail = host::shared_word(shared::EVENT_TAIL);
    while tail < host::shared_word(shared::EVENT_HEAD) {
        let word = physical::word(EVENT_RING_GPA + tail % EVENT_RING_SLOTS * 8);
        tail += 1;
        host::set_shared_word(shared::EVENT_TAIL, tail);
        if let Some(event) = Event::from_word(word) {
            take(kernel, event);
        }
    }
}

fn take(kernel: &mut Kernel, event: Event) {
    let tid = Tid(event.id);
    match event.kind {
        EventKind::Kill => {
            if kernel.tasks.contains_key(&tid) {
                kernel.exit_group(tid, WaitStatus::killed(Signal::KILL.number()));
            }
        }
        EventKind::Signal => {
            if let Some(signal) = Signal::from_word(u64::from(event.argument)) {
                send_signal(kernel, tid, SignalInfo::kernel(signal));
            }
        }
        EventKind::Job => job::start_all(kernel),
        EventKind::Window => file::terminal::resize(kernel, event.id),
        EventKind::Stream => file::stream_ready(kernel, event.id),
        EventKind::Wait => set_held(kernel, tid, Hold::Held),
        EventKind::Wake => set_held(kernel, tid, Hold::Free),
        EventKind::KmemMoved => {
            if let Some(task) = kernel.tasks.get_mut(&tid) {
                task.kmem = KmemId(event.argument);
            }
        }
        EventKind::KmemOffline => kmem_offline(kernel, KmemId(event.argument), event.id),
        EventKind::KmemShrink => {
            let id = KmemId(event.argument);
            kernel.frames.kmem().shrink(&kernel.frames, id, u64::from(event.id));
        }
        EventKind::KmemCaches => {
            kernel.frames.kmem().report(&kernel.frames, KmemId(event.argument));
        }
        EventKind::Shutdown => shutdown(kernel),
    }
}

/// Sends a signal to the processes in the foreground of the terminal of a task's job; where no
/// program chose a foreground, to the task's own process.
fn send_signal(kernel: &mut Kernel, tid: Tid, info: SignalInfo) {
    let pid = kernel.tasks.get(&tid).map_or(tid, |task| task.process);
    let job = kernel.processes.get(&pid).map_or(0, |process| process.job);
    let foreground = kernel.files.foreground(job);
    let processes = kernel.processes.values();
    let group = processes.filter(|process| Some(process.group) == foreground);
    let mut targets: Vec<Tid> = group.map(|process| process.id).collect();
    if targets.is_empty() {
        targets.push(pid);
    }
    for target in targets {
        // Only real-time signals can be refused, and only where a thousand of them wait already.
        send_process(kernel, target, info);
    }
}

/// Whether the host lets a task run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    Held,
    Free,
}

fn set_held(kernel: &mut Kernel, tid: Tid, hold: Hold) {
    if let Some(task) = kernel.tasks.get_mut(&tid) {
        task.is_held = hold == Hold::Held;
        kernel.enqueue(tid);
    }
}

/// A group was removed; nobody names it any more.
fn kmem_offline(kernel: &mut Kernel, id: KmemId, heir: u32) {
    let heir = (heir != u32::MAX).then(|| KmemId::from_word(u64::from(heir)));
    kernel.frames.kmem().offline(&kernel.frames, id, heir);
}

/// Ends every task, then the machine.
fn shutdown(kernel: &mut Kernel) {
    kernel.is_ending = true;
    while let Some(tid) = kernel.tasks.keys().next().copied() {
        kernel.exit_group(tid, WaitStatus::killed(Signal::KILL.number()));
    }
    host::shutdown();
}
