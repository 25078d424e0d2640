//! Timers that signal a process: alarm(), setitimer() and timer_create().

pub(crate) mod notify;

use alloc::vec::Vec;

use super::{Signal, SignalInfo, send_process};
use crate::kernel::Kernel;
use crate::number::Tid;
use notify::NotifyTimers;

/// A timer, once or again and again. Its times are nanoseconds of the clock it counts by: since boot,
/// or of what the process has run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct IntervalTimer {
    /// When it expires next.
    expires: Option<u64>,
    /// How long after that it expires again; 0 = never.
    interval_ns: u64,
}

impl IntervalTimer {
    /// Sets the timer, `after_ns` from `now`; 0 switches it off.
    pub(crate) fn set(&mut self, now: u64, after_ns: u64, interval_ns: u64) {
        self.expires = (after_ns != 0).then(|| now.saturating_add(after_ns));
        self.interval_ns = interval_ns;
    }

    /// What is left until it expires, and its interval; 0 left when it is off.
    pub(crate) fn left(&self, now: u64) -> (u64, u64) {
        // A timer that is due but not yet expired still counts as set.
        let left = self.expires.map_or(0, |at| at.saturating_sub(now).max(1));
        (left, self.interval_ns)
    }

    /// How often it expired besides once, where it is due; it is then set for the next time.
    fn take_due(&mut self, now: u64) -> Option<u64> {
        let at = self.expires.filter(|&at| at <= now)?;
        let missed = (now - at).checked_div(self.interval_ns).unwrap_or(0);
        self.expires = (self.interval_ns != 0)
            .then(|| at.saturating_add((missed + 1).saturating_mul(self.interval_ns)));
        Some(missed)
    }
}

/// Interval timers, by number: what they count by, and their signals.
const INTERVALS: [(Counts, Signal); 3] = [
    (Counts::Time, Signal::ALRM),
    (Counts::Running, Signal::VTALRM),
    (Counts::Running, Signal::PROF),
];

/// What a timer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counts {
    /// Time since boot.
    Time,
    /// What the process has run.
    Running,
}

/// The timers of a process.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProcessTimers {
    intervals: [IntervalTimer; INTERVALS.len()],
    /// Those of timer_create().
    pub(crate) notify: NotifyTimers,
}

impl ProcessTimers {
    /// An interval timer by its number, and what it counts.
    pub(crate) fn interval_mut(&mut self, number: usize) -> Option<(&mut IntervalTimer, Counts)> {
        Some((self.intervals.get_mut(number)?, INTERVALS.get(number)?.0))
    }

    /// When the next timer that counts so expires.
    fn next(&self, counts: Counts) -> Option<u64> {
        let rows = self.intervals.iter().zip(INTERVALS).filter(|(_, row)| row.0 == counts);
        let intervals = rows.filter_map(|(timer, _)| timer.expires);
        intervals.chain(self.notify.next(counts)).min()
    }
}

/// When the next timer of any process expires that counts time.
pub(crate) fn next_deadline(kernel: &Kernel) -> Option<u64> {
    kernel.processes.values().filter_map(|process| process.signals.timers.next(Counts::Time)).min()
}

/// When a timer expires that counts what the process of a task runs, if it does so all the time.
pub(crate) fn running_deadline(kernel: &Kernel, tid: Tid) -> Option<u64> {
    let process = kernel.process_of(tid);
    let at = process.signals.timers.next(Counts::Running)?;
    Some(kernel.clock.now().saturating_add(at.saturating_sub(process.ran_ns)))
}

/// Sends the signals of all timers that are due.
pub(crate) fn expire(kernel: &mut Kernel) {
    let now = kernel.clock.now();
    let mut due: Vec<(Tid, SignalInfo)> = Vec::new();
    let mut notified: Vec<(Tid, usize)> = Vec::new();
    for (&pid, process) in &mut kernel.processes {
        let time = |counts| if counts == Counts::Time { now } else { process.ran_ns };
        let timers = &mut process.signals.timers;
        for (timer, (counts, signal)) in timers.intervals.iter_mut().zip(INTERVALS) {
            if timer.take_due(time(counts)).is_some() {
                due.push((pid, SignalInfo::kernel(signal)));
            }
        }
        notified.extend(timers.notify.take_due(time).into_iter().map(|id| (pid, id)));
    }
    for (pid, info) in due {
        // These are not queued, so they are never refused.
        send_process(kernel, pid, info);
    }
    for (pid, id) in notified {
        notify::send(kernel, pid, id);
    }
}
