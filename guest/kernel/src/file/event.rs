//! Event counters: eventfd().

use core::cell::Cell;

use super::open_file::{Readiness, Transfer};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::syscall::request::WaitKey;

/// Largest value a counter holds.
const VALUE_MAX: u64 = u64::MAX - 1;
/// Bytes of every read and write.
const WORD_LEN: usize = 8;

/// What a read takes from a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taking {
    /// All of it.
    Everything,
    /// One, as a semaphore.
    One,
}

/// A counter that reads wait on.
#[derive(Debug)]
pub(crate) struct EventCounter {
    wait_id: u64,
    value: Cell<u64>,
    /// How often the value changed.
    changes: Cell<u64>,
    taking: Taking,
}

impl EventCounter {
    /// A counter with a first value.
    pub(crate) fn new(wait_id: u64, value: u64, taking: Taking) -> Self {
        Self { wait_id, value: Cell::new(value), changes: Cell::new(0), taking }
    }

    /// Id of what its waiters wait for.
    pub(crate) fn wait_id(&self) -> u64 {
        self.wait_id
    }

    /// How often the value changed.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.get()
    }

    fn set(&self, value: u64) {
        self.value.set(value);
        self.changes.set(self.changes.get() + 1);
    }

    /// Takes the value, or one of it.
    pub(crate) fn read(&self, kernel: &mut Kernel, into: &mut [u8]) -> Result<Transfer, Errno> {
        if into.len() < WORD_LEN {
            return Err(Errno::EINVAL);
        }
        let value = self.value.get();
        if value == 0 {
            return Ok(Transfer::Wait(WaitKey::Object(self.wait_id)));
        }
        let taken = if self.taking == Taking::One { 1 } else { value };
        self.set(value - taken);
        into[..WORD_LEN].copy_from_slice(&taken.to_le_bytes());
        kernel.wake(WaitKey::Object(self.wait_id));
        Ok(Transfer::Done(WORD_LEN))
    }

    /// Adds to the value.
    pub(crate) fn write(&self, kernel: &mut Kernel, from: &[u8]) -> Result<Transfer, Errno> {
        let word = from.first_chunk::<WORD_LEN>().ok_or(Errno::EINVAL)?;
        let added = u64::from_le_bytes(*word);
        if added > VALUE_MAX {
            return Err(Errno::EINVAL);
        }
        let Some(value) = self.value.get().checked_add(added).filter(|&sum| sum <= VALUE_MAX)
        else {
            return Ok(Transfer::Wait(WaitKey::Object(self.wait_id)));
        };
        self.set(value);
        kernel.wake(WaitKey::Object(self.wait_id));
        Ok(Transfer::Done(WORD_LEN))
    }

    /// What poll() says.
    pub(crate) fn readiness(&self) -> Readiness {
        let value = self.value.get();
        Readiness { can_read: value > 0, can_write: value < VALUE_MAX, ..Readiness::default() }
    }
}
