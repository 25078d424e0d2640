//! Signals that were sent and not yet delivered.

use alloc::vec::Vec;

use super::info::{Origin, SignalInfo};
use super::number::{Signal, SignalSet};
use crate::heap;

/// Real-time signals that may wait at a time; more are refused (RLIMIT_SIGPENDING's part).
const QUEUED_MAX: usize = 1024;

/// Pending signals of a task, or those of a whole process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pending {
    set: SignalSet,
    queue: Vec<SignalInfo>,
}

impl Pending {
    /// Adds a signal. One that is pending already is dropped unless it is a real-time signal.
    /// False when the queue of real-time signals is full; nothing has changed then.
    pub(crate) fn push(&mut self, info: SignalInfo) -> bool {
        if self.set.contains(info.signal) && !info.signal.is_realtime() {
            return true;
        }
        let is_refused = self.queue.len() >= QUEUED_MAX || heap::is_short();
        if is_refused && info.signal.is_realtime() {
            return false;
        }
        self.queue.push(info);
        self.set = self.set.with(info.signal);
        true
    }

    /// The pending signals.
    pub(crate) const fn set(&self) -> SignalSet {
        self.set
    }

    /// Whether the signal of a timer waits.
    pub(crate) fn has_timer(&self, timer: usize) -> bool {
        let is_it = |origin| matches!(origin, Origin::Timer { id, .. } if id == timer);
        self.queue.iter().any(|info| is_it(info.origin))
    }

    /// Takes the oldest entry of a signal.
    pub(crate) fn take(&mut self, signal: Signal) -> Option<SignalInfo> {
        let at = self.queue.iter().position(|info| info.signal == signal)?;
        let info = self.queue.remove(at);
        if !self.queue.iter().any(|other| other.signal == signal) {
            self.set = self.set.without(SignalSet::of(signal));
        }
        Some(info)
    }

    /// Forgets every pending signal of a set.
    pub(crate) fn discard(&mut self, signals: SignalSet) {
        self.queue.retain(|info| !signals.contains(info.signal));
        self.set = self.set.without(signals);
    }
}
