//! What the machine counts about itself, for `vmcg stat`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why the vCPU left the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Exit {
    /// The guest kernel made a call.
    Call,
    /// Another thread kicked the vCPU.
    Kick,
    /// Interrupts were enabled again while one waited.
    Window,
}

/// Names of the exits, in the order of [`Exit`].
pub(crate) const EXIT_NAMES: [&str; 3] = ["call", "kick", "irq_window"];

/// Programs whose unknown system calls are counted one by one; more are counted together.
const UNKNOWN_MAX: usize = 256;

/// Counters that only grow.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    exits: [AtomicU64; EXIT_NAMES.len()],
    /// First touches of frames answered.
    pub(crate) faults: AtomicU64,
    /// Of these, charged against a limit that had no room.
    pub(crate) forced: AtomicU64,
    /// Frames given back to the host.
    pub(crate) frames_freed: AtomicU64,
    /// Calls, ring entries and page-table entries that an honest guest would not have made.
    pub(crate) guest_lies: AtomicU64,
}

/// System calls that programs asked for and the guest kernel does not have.
#[derive(Debug, Default)]
pub(crate) struct UnknownCalls(BTreeMap<(u64, String), u64>);

impl Stats {
    /// Counts an exit.
    pub(crate) fn exit(&self, exit: Exit) {
        self.exits[exit as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one of the plain counters.
    pub(crate) fn count(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }

    /// Exits of each kind, in the order of [`EXIT_NAMES`].
    pub(crate) fn exits(&self) -> [u64; EXIT_NAMES.len()] {
        std::array::from_fn(|index| self.exits[index].load(Ordering::Relaxed))
    }
}

impl UnknownCalls {
    /// Counts a call of `program`.
    pub(crate) fn count(&mut self, number: u64, program: &str) {
        let key = (number, program.to_owned());
        let is_one_too_many = self.0.len() >= UNKNOWN_MAX && !self.0.contains_key(&key);
        let key = if is_one_too_many { (u64::MAX, "(others)".into()) } else { key };
        *self.0.entry(key).or_default() += 1;
    }

    /// Number, program, and how often.
    pub(crate) fn list(&self) -> Vec<(u64, String, u64)> {
        self.0.iter().map(|((number, name), &times)| (*number, name.clone(), times)).collect()
    }
}
