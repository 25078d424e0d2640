//! Timers that are read: timerfd.

use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::cell::Cell;

use super::open_file::{Readiness, Transfer};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::syscall::request::WaitKey;

/// Bytes of every read.
const WORD_LEN: usize = 8;

/// A timer. Times are nanoseconds since boot.
#[derive(Debug)]
struct Timer {
    wait_id: u64,
    /// When it expires next; `None` while it is off.
    expires: Cell<Option<u64>>,
    /// How long after that it expires again; 0 = never.
    interval_ns: Cell<u64>,
    /// How often it has expired since it was read or set.
    count: Cell<u64>,
    /// How often that changed.
    changes: Cell<u64>,
}

impl Timer {
    /// Counts what has expired; answers whether anything has.
    fn update(&self, now: u64) -> bool {
        let Some(at) = self.expires.get().filter(|&at| at <= now) else {
            return false;
        };
        let interval = self.interval_ns.get();
        let missed = (now - at).checked_div(interval).unwrap_or(0);
        let next = at.saturating_add((missed + 1).saturating_mul(interval));
        self.expires.set((interval != 0).then_some(next));
        self.count.set(self.count.get() + missed + 1);
        self.changes.set(self.changes.get() + 1);
        true
    }
}

/// Timers that may be armed; those whose files are closed are gone.
#[derive(Debug, Default)]
pub(crate) struct Timers(Vec<Weak<Timer>>);

impl Timers {
    /// When the next timer expires.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.0.iter().filter_map(|timer| timer.upgrade()?.expires.get()).min()
    }
}

/// Wakes those who wait for timers that have expired.
pub(crate) fn expire(kernel: &mut Kernel) {
    if kernel.files.timers.0.is_empty() {
        return;
    }
    let now = kernel.clock.now();
    let mut due = Vec::new();
    kernel.files.timers.0.retain(|timer| {
        let timer = timer.upgrade();
        due.extend(timer.iter().filter(|timer| timer.update(now)).map(|timer| timer.wait_id));
        timer.is_some()
    });
    for wait_id in due {
        kernel.wake(WaitKey::Object(wait_id));
    }
}

/// What a timer is set to, relative to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Nanoseconds until it expires; 0 = it is off.
    pub(crate) left_ns: u64,
    /// How long after that it expires again; 0 = never.
    pub(crate) interval_ns: u64,
}

/// The open file of a timer.
#[derive(Debug)]
pub(crate) struct TimerFile {
    timer: Rc<Timer>,
    /// Whether its clock counts from 1970.
    pub(crate) is_realtime: bool,
}

impl TimerFile {
    /// A timer that is off.
    pub(crate) fn new(kernel: &mut Kernel, is_realtime: bool) -> Self {
        let timer = Rc::new(Timer {
            wait_id: kernel.new_wait_id(),
            expires: Cell::new(None),
            interval_ns: Cell::new(0),
            count: Cell::new(0),
            changes: Cell::new(0),
        });
        kernel.files.timers.0.push(Rc::downgrade(&timer));
        Self { timer, is_realtime }
    }

    /// Id of what its waiters wait for.
    pub(crate) fn wait_id(&self) -> u64 {
        self.timer.wait_id
    }

    /// How often its readiness changed.
    pub(crate) fn changes(&self) -> u64 {
        self.timer.changes.get()
    }

    /// Sets when it expires, a point in time since boot, or switches it off.
    pub(crate) fn set(&self, expires: Option<u64>, interval_ns: u64) {
        self.timer.expires.set(expires);
        self.timer.interval_ns.set(interval_ns);
        self.timer.count.set(0);
    }

    /// What is left of it.
    pub(crate) fn setting(&self, now: u64) -> Setting {
        self.timer.update(now);
        let left_ns = self.timer.expires.get().map_or(0, |at| at.saturating_sub(now).max(1));
        Setting { left_ns, interval_ns: self.timer.interval_ns.get() }
    }

    /// Takes the number of times it has expired.
    pub(crate) fn read(&self, kernel: &Kernel, into: &mut [u8]) -> Result<Transfer, Errno> {
        if into.len() < WORD_LEN {
            return Err(Errno::EINVAL);
        }
        self.timer.update(kernel.clock.now());
        match self.timer.count.take() {
            0 => Ok(Transfer::Wait(WaitKey::Object(self.timer.wait_id))),
            count => {
                into[..WORD_LEN].copy_from_slice(&count.to_le_bytes());
                Ok(Transfer::Done(WORD_LEN))
            }
        }
    }

    /// What poll() says.
    pub(crate) fn readiness(&self, kernel: &Kernel) -> Readiness {
        self.timer.update(kernel.clock.now());
        Readiness { can_read: self.timer.count.get() > 0, ..Readiness::default() }
    }
}
