//! Signals that are read: signalfd().
//!
//! Source: Linux v6.12 fs/signalfd.c, include/uapi/linux/signalfd.h.

use core::cell::Cell;

use super::open_file::{Readiness, Transfer};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::signal::{SIGINFO_LEN, SignalInfo, SignalSet, pending_set, take};
use crate::syscall::request::WaitKey;

/// Bytes of a `struct signalfd_siginfo`.
const RECORD_LEN: usize = 128;

/// An open file that gives the reading task's pending signals of a set.
#[derive(Debug)]
pub(crate) struct SignalFile {
    wait_id: u64,
    set: Cell<SignalSet>,
}

impl SignalFile {
    /// A file for the signals of a set.
    pub(crate) fn new(wait_id: u64, set: SignalSet) -> Self {
        Self { wait_id, set: Cell::new(set) }
    }

    /// Changes the set.
    pub(crate) fn set(&self, set: SignalSet) {
        self.set.set(set);
    }

    /// What its waiters wait for: nothing wakes it, but a signal wakes its task.
    pub(crate) fn wait_id(&self) -> u64 {
        self.wait_id
    }

    /// Takes as many pending signals as there is room for.
    pub(crate) fn read(&self, kernel: &mut Kernel, into: &mut [u8]) -> Result<Transfer, Errno> {
        let records = into.as_chunks_mut::<RECORD_LEN>().0;
        if records.is_empty() {
            return Err(Errno::EINVAL);
        }
        let tid = kernel.current();
        let mut count = 0;
        for record in records {
            let Some(info) = take(kernel, tid, self.set.get()) else { break };
            *record = record_of(info);
            count += 1;
        }
        Ok(match count {
            0 => Transfer::Wait(WaitKey::Object(self.wait_id)),
            _ => Transfer::Done(count * RECORD_LEN),
        })
    }

    /// What poll() says.
    pub(crate) fn readiness(&self, kernel: &Kernel) -> Readiness {
        let pending = pending_set(kernel, kernel.current());
        let can_read = !pending.intersection(self.set.get()).is_empty();
        Readiness { can_read, ..Readiness::default() }
    }
}

/// A `struct signalfd_siginfo`, from what a `siginfo_t` holds.
fn record_of(info: SignalInfo) -> [u8; RECORD_LEN] {
    /// Field by field: offset there, offset in the `siginfo_t`, bytes.
    const FIELDS: [(usize, usize, usize); 7] = [
        (0, 0, 4),   // signal
        (4, 4, 4),   // error number
        (8, 8, 4),   // code
        (12, 16, 4), // process
        (16, 20, 4), // user
        (44, 24, 4), // value, as a number
        (48, 24, 8), // value, as a pointer
    ];
    const STATUS: usize = 40;
    let bytes: [u8; SIGINFO_LEN] = info.to_bytes();
    let mut record = [0; RECORD_LEN];
    let is_child = info.signal == crate::signal::Signal::CHLD;
    let fields = if is_child { &FIELDS[..5] } else { &FIELDS[..] };
    for &(to, from, len) in fields {
        record[to..to + len].copy_from_slice(&bytes[from..from + len]);
    }
    if is_child {
        record[STATUS..STATUS + 4].copy_from_slice(&bytes[24..28]);
    }
    record
}
