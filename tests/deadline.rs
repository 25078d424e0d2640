//! Waiting for a condition, never for a time.

use std::thread;
use std::time::{Duration, Instant};

/// How long anything a test waits for may take, on the slowest machine: an emulated one that shares a
/// busy one takes 64 seconds to touch 37,000 pages when half of them come from swap.
pub const DEADLINE: Duration = Duration::from_secs(180);

const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Waits until `is_done` answers true.
///
/// # Panics
/// When that does not happen within [`DEADLINE`].
#[track_caller]
pub fn wait_until(what: &str, mut is_done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_done() {
        assert!(start.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        thread::sleep(POLL_INTERVAL);
    }
}
