//! futex_waitv: waiting for several words at once.
//!
//! Source: Linux v6.12 kernel/futex/syscalls.c, include/uapi/linux/futex.h.

use super::super::request::{OnSignal, Outcome, Request, Wait};
use super::super::time::timespec_ns;
use super::{ALL_BITS, key};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::number::{index, low_i32, low_u32};

/// Words one call waits for (FUTEX_WAITV_MAX).
const WORDS_MAX: u64 = 128;
/// Bytes of a `struct futex_waitv`: value, address, flags, a spare word.
const WAITER_LEN: usize = 24;
/// Flags of a word: of 32 bits, and perhaps private.
const SIZE_32: u64 = 2;
const PRIVATE: u64 = 128;
/// Clocks of the timeout.
const REALTIME: i32 = 0;
const MONOTONIC: i32 = 1;

/// futex_waitv(waiters, count, flags, timeout, clock); answers which of the words was woken.
pub(super) fn futex_waitv(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [waiters_gva, count, flags, timeout_gva, clock, _] = request.args;
    if let Some(place) = request.woken {
        return Ok(Outcome::Done(place as u64));
    }
    let count = u64::from(low_u32(count));
    if low_u32(flags) != 0 || count == 0 || count > WORDS_MAX || waiters_gva == 0 {
        return Err(Errno::EINVAL);
    }
    let user = kernel.user(request.tid);
    if timeout_gva != 0 && request.deadline.is_none() {
        let time = timespec_ns(&user, timeout_gva)?;
        request.deadline = Some(match low_i32(clock) {
            REALTIME => kernel.clock.boot_time_of(time),
            MONOTONIC => time,
            _ => return Err(Errno::EINVAL),
        });
    }
    let waiters = user.read_vec(waiters_gva, index(count) * WAITER_LEN)?;
    let mut wait = Wait::forever();
    let words = waiters.as_chunks::<8>().0;
    for [value, gva, flags] in words.as_chunks::<3>().0 {
        let [value, gva, flags] = [value, gva, flags].map(|word| u64::from_le_bytes(*word));
        // The spare word lies above the flags.
        if flags & !PRIVATE != SIZE_32 || gva % 4 != 0 {
            return Err(Errno::EINVAL);
        }
        // The call is made again after a signal too; a word that has changed ends it then.
        if user.read_half(gva)? != low_u32(value) {
            return Err(Errno::EAGAIN);
        }
        wait = wait.and(key(kernel, request.tid, gva, ALL_BITS));
    }
    if request.deadline.is_some_and(|deadline| kernel.clock.now() >= deadline) {
        return Err(Errno::ETIMEDOUT);
    }
    let wait = wait.with_deadline(request.deadline);
    Ok(Outcome::Block(wait.with_on_signal(OnSignal::Interrupt)))
}
