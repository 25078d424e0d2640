//! Where the time goes when a machine starts and ends.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Phases as they end, for `--timings`; clones are the same list.
#[derive(Debug, Clone)]
pub struct Timings {
    start: Instant,
    ends: Arc<Mutex<Vec<(&'static str, Instant)>>>,
}

impl Default for Timings {
    fn default() -> Self {
        Self { start: Instant::now(), ends: Arc::default() }
    }
}

impl Timings {
    /// Notes that a phase has ended, the first time it does.
    ///
    /// # Panics
    /// Never: nobody panics while the list is locked.
    pub fn mark(&self, phase: &'static str) {
        let mut ends = self.ends.lock().expect("nobody panics with the list locked");
        if ends.iter().all(|(name, _)| *name != phase) {
            ends.push((phase, Instant::now()));
        }
    }

    /// Phases in the order they ended, with how long each took.
    ///
    /// # Panics
    /// Never: nobody panics while the list is locked.
    #[must_use]
    pub fn phases(&self) -> Vec<(&'static str, Duration)> {
        let ends = self.ends.lock().expect("nobody panics with the list locked");
        let mut last = self.start;
        let phase = |&(name, end): &(&'static str, Instant)| {
            (name, end.duration_since(std::mem::replace(&mut last, end)))
        };
        ends.iter().map(phase).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_ends_once_and_all_of_them_make_the_whole() {
        let timings = Timings::default();
        let clone = timings.clone();
        for phase in ["a", "b", "a"] {
            clone.mark(phase);
        }
        let phases = timings.phases();
        assert_eq!(phases.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["a", "b"]);
        let whole: Duration = phases.iter().map(|(_, took)| *took).sum();
        assert!(whole <= timings.start.elapsed());
    }
}
