//! Time: the host's clock, carried on by the time-stamp counter without a call.

use crate::host;
use crate::task::extended::time_stamp;

/// Nanoseconds in a second.
pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// Knows what time it is.
#[derive(Debug)]
pub(crate) struct Clock {
    /// The time-stamp counter when the host was asked.
    stamp: u64,
    /// What the host answered: nanoseconds since boot.
    since_boot_ns: u64,
    /// Nanoseconds between 1970 and boot.
    boot_realtime_ns: u64,
    tsc_khz: u64,
}

impl Clock {
    /// Asks the host once.
    pub(crate) fn start(tsc_khz: u64) -> Self {
        let (since_boot_ns, realtime_ns) = host::clock();
        Self {
            stamp: time_stamp(),
            since_boot_ns,
            boot_realtime_ns: realtime_ns.saturating_sub(since_boot_ns),
            tsc_khz: tsc_khz.max(1),
        }
    }

    /// Nanoseconds since boot.
    pub(crate) fn now(&self) -> u64 {
        let ticks = u128::from(time_stamp().saturating_sub(self.stamp));
        let passed = ticks * 1_000_000 / u128::from(self.tsc_khz);
        self.since_boot_ns + u64::try_from(passed).unwrap_or(0)
    }

    /// Nanoseconds since 1970.
    pub(crate) fn realtime(&self) -> u64 {
        self.boot_realtime_ns + self.now()
    }

    /// The point in time since boot of a time since 1970.
    pub(crate) fn boot_time_of(&self, realtime_ns: u64) -> u64 {
        realtime_ns.saturating_sub(self.boot_realtime_ns)
    }
}
