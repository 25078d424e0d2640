//! What the machine counts about itself, for `vmcg stat`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use vmcg_abi::call::Call;

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

/// Numbers of calls that are counted: more than any call has.
const CALL_NUMBERS: usize = 128;

/// Programs whose unknown system calls are counted one by one; more are counted together.
const UNKNOWN_MAX: usize = 256;

/// Counters that only grow.
#[derive(Debug)]
pub(crate) struct Stats {
    exits: [AtomicU64; EXIT_NAMES.len()],
    /// Calls of the guest kernel, by number; unknown numbers are in the first.
    calls: [AtomicU64; CALL_NUMBERS],
    /// First touches of frames answered.
    pub(crate) faults: AtomicU64,
    /// Touches of aged pages.
    pub(crate) touches: AtomicU64,
    /// Touches of evicted pages.
    pub(crate) refaults: AtomicU64,
    /// Pages evicted.
    pub(crate) evicted: AtomicU64,
    /// Pages aged.
    pub(crate) aged: AtomicU64,
    /// Evicted pages whose content could not be had again.
    pub(crate) lost: AtomicU64,
    /// Of the faults, charged against a limit that had no room.
    pub(crate) forced: AtomicU64,
    /// Pages for which the whole guest had no room at first.
    pub(crate) shortages: AtomicU64,
    /// Huge pages backed, each in one step.
    pub(crate) huge_faults: AtomicU64,
    /// Frames given back to the host.
    pub(crate) frames_freed: AtomicU64,
    /// Calls, ring entries and page-table entries that an honest guest would not have made.
    pub(crate) guest_lies: AtomicU64,
}

/// System calls that programs asked for and the guest kernel does not have.
#[derive(Debug, Default)]
pub(crate) struct UnknownCalls(BTreeMap<(u64, String), u64>);

impl Default for Stats {
    fn default() -> Self {
        Self {
            exits: Default::default(),
            calls: std::array::from_fn(|_| AtomicU64::new(0)),
            faults: AtomicU64::default(),
            touches: AtomicU64::default(),
            refaults: AtomicU64::default(),
            evicted: AtomicU64::default(),
            aged: AtomicU64::default(),
            lost: AtomicU64::default(),
            forced: AtomicU64::default(),
            shortages: AtomicU64::default(),
            huge_faults: AtomicU64::default(),
            frames_freed: AtomicU64::default(),
            guest_lies: AtomicU64::default(),
        }
    }
}

impl Stats {
    /// Counts an exit.
    pub(crate) fn exit(&self, exit: Exit) {
        self.exits[exit as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a call by its number.
    pub(crate) fn call(&self, call: Option<Call>) {
        let number = call.map_or(0, |call| call as usize);
        if let Some(counter) = self.calls.get(number) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Names of the calls that were made, and how often.
    pub(crate) fn calls(&self) -> Vec<(String, u64)> {
        let count = |number: usize| {
            self.calls.get(number).map_or(0, |counter| counter.load(Ordering::Relaxed))
        };
        let known = Call::ALL.iter().map(|&call| (snake_case(call), count(call as usize)));
        let unknown = ("unknown".to_owned(), count(0));
        known.chain([unknown]).filter(|(_, count)| *count != 0).collect()
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

/// A call's name as the other rows are written: `FileRead` is `file_read`.
fn snake_case(call: Call) -> String {
    let mut name = String::new();
    for letter in format!("{call:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_name() {
        let stats = Stats::default();
        stats.call(Some(Call::FileRead));
        stats.call(Some(Call::FileRead));
        stats.call(None);
        assert_eq!(stats.calls(), [("file_read".to_owned(), 2), ("unknown".to_owned(), 1)]);
    }

    #[test]
    fn every_call_has_a_counter() {
        let stats = Stats::default();
        Call::ALL.into_iter().for_each(|call| stats.call(Some(call)));
        assert_eq!(stats.calls().len(), Call::ALL.len());
    }
}
