//! Timers that a process makes (timer_create), each with a signal of its choice.

use alloc::vec::Vec;

use super::super::{Signal, SignalInfo, code, info::Origin, send_process, send_task};
use super::{Counts, IntervalTimer};
use crate::kernel::Kernel;
use crate::number::Tid;

/// Timers a process may have.
pub(crate) const TIMERS_MAX: usize = 1024;

/// A timer of timer_create().
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotifyTimer {
    pub(crate) timer: IntervalTimer,
    pub(crate) counts: Counts,
    /// Whether a point in time that it is set to counts from 1970.
    pub(crate) is_realtime: bool,
    /// The signal it sends, if any.
    pub(crate) signal: Option<Signal>,
    /// The task that gets the signal; `None` = any of the process.
    pub(crate) task: Option<Tid>,
    /// What the signal carries.
    pub(crate) value: u64,
    /// How often it has expired besides once since its signal was taken.
    pub(crate) overrun: u64,
    /// The same when its signal was taken last.
    pub(crate) told: u64,
}

/// The timers of a process, by id.
#[derive(Debug, Clone, Default)]
pub(crate) struct NotifyTimers(Vec<Option<NotifyTimer>>);

impl NotifyTimers {
    /// The id that the next timer gets; `None` where there are too many.
    pub(crate) fn free_id(&self) -> Option<usize> {
        let free = self.0.iter().position(Option::is_none).unwrap_or(self.0.len());
        (free < TIMERS_MAX).then_some(free)
    }

    /// Adds a timer under a free id.
    pub(crate) fn add(&mut self, id: usize, timer: NotifyTimer) {
        if id >= self.0.len() {
            self.0.resize(id + 1, None);
        }
        self.0[id] = Some(timer);
    }

    /// A timer.
    pub(crate) fn get_mut(&mut self, id: usize) -> Option<&mut NotifyTimer> {
        self.0.get_mut(id)?.as_mut()
    }

    /// Takes a timer away; answers whether there was one.
    pub(crate) fn remove(&mut self, id: usize) -> bool {
        self.0.get_mut(id).and_then(Option::take).is_some()
    }

    /// An exec leaves none.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// When the next timer that counts so expires.
    pub(super) fn next(&self, counts: Counts) -> Option<u64> {
        let timers = self.0.iter().flatten().filter(|timer| timer.counts == counts);
        timers.filter_map(|timer| timer.timer.expires).min()
    }

    /// The timers that are due, set for the next time.
    pub(super) fn take_due(&mut self, time: impl Fn(Counts) -> u64) -> Vec<usize> {
        let mut due = Vec::new();
        for (id, timer) in self.0.iter_mut().enumerate() {
            let Some(timer) = timer else { continue };
            if let Some(missed) = timer.timer.take_due(time(timer.counts)) {
                timer.overrun = timer.overrun.saturating_add(missed + 1);
                due.push(id);
            }
        }
        due
    }
}

/// What a signal carries when a task takes it: of a timer's, how often that has expired meanwhile.
pub(crate) fn taken(kernel: &mut Kernel, tid: Tid, info: SignalInfo) -> SignalInfo {
    let Origin::Timer { id, value, .. } = info.origin else { return info };
    let timers = &mut kernel.process_of_mut(tid).signals.timers;
    let Some(timer) = timers.notify.get_mut(id) else { return info };
    timer.told = core::mem::take(&mut timer.overrun);
    SignalInfo { origin: Origin::Timer { id, overrun: timer.told, value }, ..info }
}

/// Sends the signal of a timer that expired, unless it is still on its way.
pub(super) fn send(kernel: &mut Kernel, pid: Tid, id: usize) {
    let Some(process) = kernel.processes.get_mut(&pid) else { return };
    let is_pending = process.signals.pending.has_timer(id);
    let Some(timer) = process.signals.timers.notify.get_mut(id) else { return };
    let Some(signal) = timer.signal else { return };
    let task = timer.task;
    let has_timer =
        |tid: &Tid| kernel.tasks.get(tid).is_some_and(|task| task.signals.pending.has_timer(id));
    if is_pending || task.as_ref().is_some_and(has_timer) {
        return;
    }
    // Expiring once is what the signal is for.
    timer.overrun = timer.overrun.saturating_sub(1);
    let origin = Origin::Timer { id, overrun: 0, value: timer.value };
    let info = SignalInfo { signal, code: code::TIMER, origin };
    match task {
        Some(tid) => send_task(kernel, tid, info),
        None => send_process(kernel, pid, info),
    };
}
