//! System calls of timers with a signal of their own: timer_create() and those that follow it.

use super::super::request::{Outcome, Request};
use super::{ABSOLUTE, PROCESS_CPU, REALTIME, TAI, THREAD_CPU, timespec_ns, write_timespec};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::number::{Tid, index, low_u32};
use crate::signal::Signal;
use crate::signal::timer::notify::NotifyTimer;
use crate::signal::timer::{Counts, IntervalTimer};

/// How a timer tells (Linux v6.12 include/uapi/asm-generic/siginfo.h); SIGEV_THREAD is glibc's.
const TELL_PROCESS: u32 = 0;
const TELL_NOBODY: u32 = 1;
const TELL_TASK: u32 = 4;
/// Where in a `struct sigevent` the signal, the way to tell and the task are.
const SIGNAL_AT: u64 = 8;
const TELL_AT: u64 = 12;
const TASK_AT: u64 = 16;

/// What a clock counts, and whether from 1970.
fn clock(number: u64) -> Result<(Counts, bool), Errno> {
    match u64::from(low_u32(number)) {
        REALTIME | TAI => Ok((Counts::Time, true)),
        1 | 7 => Ok((Counts::Time, false)),
        PROCESS_CPU | THREAD_CPU => Ok((Counts::Running, false)),
        // Alarms of a machine that sleeps.
        8 | 9 => Err(Errno::EOPNOTSUPP),
        _ => Err(Errno::EINVAL),
    }
}

/// timer_create(clock, event, id)
pub(super) fn create(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [number, event_gva, id_gva, ..] = request.args;
    let (counts, is_realtime) = clock(number)?;
    let id = kernel.process_of(request.tid).signals.timers.notify.free_id().ok_or(Errno::EAGAIN)?;
    let mut timer = NotifyTimer {
        timer: IntervalTimer::default(),
        counts,
        is_realtime,
        signal: Some(Signal::ALRM),
        task: None,
        value: id as u64,
        overrun: 0,
        told: 0,
    };
    let user = kernel.user(request.tid);
    if event_gva != 0 {
        timer.value = user.read_word(event_gva)?;
        let tell = user.read_half(event_gva.wrapping_add(TELL_AT))?;
        let signal = user.read_half(event_gva.wrapping_add(SIGNAL_AT))?;
        timer.signal = Signal::from_word(u64::from(signal));
        match tell {
            TELL_PROCESS if timer.signal.is_some() => {}
            TELL_TASK if timer.signal.is_some() => {
                let tid = Tid(user.read_half(event_gva.wrapping_add(TASK_AT))?);
                if !kernel.process_of(request.tid).threads.contains(&tid) {
                    return Err(Errno::EINVAL);
                }
                timer.task = Some(tid);
            }
            TELL_NOBODY => timer.signal = None,
            _ => return Err(Errno::EINVAL),
        }
    }
    user.write_half(id_gva, low_u32(id as u64))?;
    kernel.process_of_mut(request.tid).signals.timers.notify.add(id, timer);
    Ok(Outcome::Done(0))
}

/// A timer of the caller, and what its clock shows.
fn timer_of<'kernel>(
    kernel: &'kernel mut Kernel,
    request: &Request,
) -> Result<(&'kernel mut NotifyTimer, u64), Errno> {
    let now = kernel.clock.now();
    let process = kernel.process_of_mut(request.tid);
    let ran_ns = process.ran_ns;
    let id = index(u64::from(low_u32(request.args[0])));
    let timer = process.signals.timers.notify.get_mut(id).ok_or(Errno::EINVAL)?;
    let now = if timer.counts == Counts::Time { now } else { ran_ns };
    Ok((timer, now))
}

/// timer_settime(id, flags, new, old)
pub(super) fn set(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [_, flags, new_gva, old_gva, ..] = request.args;
    if new_gva == 0 {
        return Err(Errno::EINVAL);
    }
    let user = kernel.user(request.tid);
    let interval_ns = timespec_ns(&user, new_gva)?;
    let wish_ns = timespec_ns(&user, new_gva.wrapping_add(16))?;
    let since_boot = kernel.clock.boot_time_of(wish_ns);
    let (timer, now) = timer_of(kernel, request)?;
    let after_ns = match (wish_ns, flags & ABSOLUTE != 0) {
        (0, _) | (_, false) => wish_ns,
        // What has passed expires at once.
        (_, true) if timer.is_realtime => since_boot.saturating_sub(now).max(1),
        (_, true) => wish_ns.saturating_sub(now).max(1),
    };
    let old = timer.timer.left(now);
    timer.timer.set(now, after_ns, interval_ns);
    (timer.overrun, timer.told) = (0, 0);
    if old_gva != 0 {
        write_timespec(&user, old_gva, old.1)?;
        write_timespec(&user, old_gva.wrapping_add(16), old.0)?;
    }
    Ok(Outcome::Done(0))
}

/// timer_gettime(id, value)
pub(super) fn get(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let (timer, now) = timer_of(kernel, request)?;
    let (left_ns, interval_ns) = timer.timer.left(now);
    let user = kernel.user(request.tid);
    write_timespec(&user, request.args[1], interval_ns)?;
    write_timespec(&user, request.args[1].wrapping_add(16), left_ns)?;
    Ok(Outcome::Done(0))
}

/// timer_getoverrun(id)
pub(super) fn overrun(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let (timer, _) = timer_of(kernel, request)?;
    Ok(Outcome::Done(timer.told.min(i32::MAX as u64)))
}

/// timer_delete(id)
pub(super) fn delete(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let id = index(u64::from(low_u32(request.args[0])));
    let timers = &mut kernel.process_of_mut(request.tid).signals.timers;
    if timers.notify.remove(id) { Ok(Outcome::Done(0)) } else { Err(Errno::EINVAL) }
}
