//! The real-time interval timer of a process: alarm() and setitimer(ITIMER_REAL).

use alloc::vec::Vec;

use super::{Signal, SignalInfo, send_process};
use crate::kernel::Kernel;
use crate::number::Tid;

/// A timer that sends SIGALRM, once or again and again. Times are nanoseconds since boot.
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

    /// Whether the timer is due; it is then set for the next time, missed ones left out.
    fn is_due(&mut self, now: u64) -> bool {
        let Some(at) = self.expires.filter(|&at| at <= now) else {
            return false;
        };
        self.expires = (self.interval_ns != 0).then(|| {
            let missed = (now - at) / self.interval_ns;
            at.saturating_add((missed + 1).saturating_mul(self.interval_ns))
        });
        true
    }
}

/// When the next timer of any process expires.
pub(crate) fn next_deadline(kernel: &Kernel) -> Option<u64> {
    kernel.processes.values().filter_map(|process| process.signals.timer.expires).min()
}

/// Sends SIGALRM for every timer that is due.
pub(crate) fn expire(kernel: &mut Kernel) {
    let now = kernel.clock.now();
    let due: Vec<Tid> = kernel
        .processes
        .iter_mut()
        .filter_map(|(&pid, process)| process.signals.timer.is_due(now).then_some(pid))
        .collect();
    for pid in due {
        // SIGALRM is not queued, so it is never refused.
        send_process(kernel, pid, SignalInfo::kernel(Signal::ALRM));
    }
}
