//! System calls of the interval timers.

use super::super::request::{Outcome, Request};
use super::super::time::timeval_ns;
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::memory::user::UserMemory;
use crate::number::{index, low_u32};
use crate::signal::timer::{Counts, IntervalTimer};

const NS_PER_S: u64 = 1_000_000_000;
const NS_PER_US: u64 = 1000;

/// Number of ITIMER_REAL.
const REAL: usize = 0;

/// An interval timer of the caller, and what its clock shows.
fn timer_of<'kernel>(
    kernel: &'kernel mut Kernel,
    request: &Request,
    which: usize,
) -> Result<(&'kernel mut IntervalTimer, u64), Errno> {
    let now = kernel.clock.now();
    let process = kernel.process_of_mut(request.tid);
    let ran_ns = process.ran_ns;
    let (timer, counts) = process.signals.timers.interval_mut(which).ok_or(Errno::EINVAL)?;
    Ok((timer, if counts == Counts::Time { now } else { ran_ns }))
}

/// Writes nanoseconds as a `struct timeval`, rounded up so that time left never reads as none.
fn write_timeval(user: &UserMemory, gva: u64, ns: u64) -> Result<(), Errno> {
    let micros = ns.div_ceil(NS_PER_US);
    user.write_word(gva, micros / (NS_PER_S / NS_PER_US))?;
    user.write_word(gva.wrapping_add(8), micros % (NS_PER_S / NS_PER_US))
}

/// Writes a `struct itimerval`: interval, then what is left.
fn write_timer(user: &UserMemory, gva: u64, left: (u64, u64)) -> Result<(), Errno> {
    write_timeval(user, gva, left.1)?;
    write_timeval(user, gva.wrapping_add(16), left.0)
}

/// getitimer(which, value)
pub(super) fn getitimer(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [which, value_gva, ..] = request.args;
    let (timer, now) = timer_of(kernel, request, index(u64::from(low_u32(which))))?;
    let left = timer.left(now);
    write_timer(&kernel.user(request.tid), value_gva, left)?;
    Ok(Outcome::Done(0))
}

/// setitimer(which, new, old)
pub(super) fn setitimer(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [which, new_gva, old_gva, ..] = request.args;
    let which = index(u64::from(low_u32(which)));
    timer_of(kernel, request, which)?;
    let user = kernel.user(request.tid);
    let (mut after_ns, mut interval_ns) = (0, 0);
    if new_gva != 0 {
        interval_ns = timeval_ns(&user, new_gva)?;
        after_ns = timeval_ns(&user, new_gva.wrapping_add(16))?;
    }
    let (timer, now) = timer_of(kernel, request, which)?;
    let old = timer.left(now);
    timer.set(now, after_ns, interval_ns);
    if old_gva != 0 {
        write_timer(&user, old_gva, old)?;
    }
    Ok(Outcome::Done(0))
}

/// alarm(seconds)
pub(super) fn alarm(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let seconds = u64::from(low_u32(request.args[0]));
    let (timer, now) = timer_of(kernel, request, REAL)?;
    let (left_ns, _) = timer.left(now);
    timer.set(now, seconds * NS_PER_S, 0);
    // Linux rounds to the nearest second, and a pending alarm never reads as none.
    let left = if left_ns == 0 { 0 } else { ((left_ns + NS_PER_S / 2) / NS_PER_S).max(1) };
    Ok(Outcome::Done(left))
}
