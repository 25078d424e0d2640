//! System calls: clocks and sleeping.

mod notify;
mod timer;

use super::Entry;
use super::request::{OnSignal, Outcome, Request, Wait};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::memory::user::UserMemory;
use crate::number::{Tid, low_i32, low_u32};
use crate::signal;
use crate::time::SECOND_NS;

/// The group's rows.
pub(crate) const CALLS: &[Entry] = &[
    (35, "nanosleep", nanosleep),
    (96, "gettimeofday", gettimeofday),
    (100, "times", times),
    (201, "time", time),
    (222, "timer_create", notify::create), // partial: a thread's processor time is its process's
    (223, "timer_settime", notify::set),
    (224, "timer_gettime", notify::get),
    (225, "timer_getoverrun", notify::overrun),
    (226, "timer_delete", notify::delete),
    (228, "clock_gettime", clock_gettime),
    (229, "clock_getres", clock_getres),
    (230, "clock_nanosleep", clock_nanosleep), // partial: no processor-time clocks
    (283, "timerfd_create", timer::create),
    (286, "timerfd_settime", timer::set), // partial: TFD_TIMER_CANCEL_ON_SET never cancels
    (287, "timerfd_gettime", timer::get),
];

/// Clocks (Linux v6.12 include/uapi/linux/time.h).
const REALTIME: u64 = 0;
const PROCESS_CPU: u64 = 2;
const THREAD_CPU: u64 = 3;
const REALTIME_COARSE: u64 = 5;
const TAI: u64 = 11;
/// Flag of clock_nanosleep: the time is a point, not a length.
const ABSOLUTE: u64 = 1;

/// Reads a `struct timespec` as nanoseconds; EINVAL for one that is none.
pub(super) fn timespec_ns(user: &UserMemory, gva: u64) -> Result<u64, Errno> {
    let seconds = user.read_word(gva)?;
    let nanoseconds = user.read_word(gva.wrapping_add(8))?;
    if seconds.cast_signed() < 0 || nanoseconds >= SECOND_NS {
        return Err(Errno::EINVAL);
    }
    Ok(seconds.saturating_mul(SECOND_NS).saturating_add(nanoseconds))
}

/// Reads a `struct timeval` as nanoseconds.
pub(super) fn timeval_ns(user: &UserMemory, gva: u64) -> Result<u64, Errno> {
    let seconds = user.read_word(gva)?;
    let microseconds = user.read_word(gva.wrapping_add(8))?;
    if seconds.cast_signed() < 0 || microseconds >= 1_000_000 {
        return Err(Errno::EINVAL);
    }
    Ok(seconds.saturating_mul(SECOND_NS).saturating_add(microseconds * 1000))
}

/// Writes a `struct timespec`.
pub(super) fn write_timespec(user: &UserMemory, gva: u64, ns: u64) -> Result<(), Errno> {
    user.write_words(gva, &[ns / SECOND_NS, ns % SECOND_NS])
}

/// Writes a `struct timeval`.
pub(super) fn write_timeval(user: &UserMemory, gva: u64, ns: u64) -> Result<(), Errno> {
    user.write_words(gva, &[ns / SECOND_NS, ns % SECOND_NS / 1000])
}

/// What a clock shows.
fn read_clock(kernel: &Kernel, tid: Tid, clock: u64) -> Result<u64, Errno> {
    match clock {
        REALTIME | REALTIME_COARSE | TAI => Ok(kernel.clock.realtime()),
        PROCESS_CPU => Ok(kernel.process_of(tid).ran_ns),
        THREAD_CPU => Ok(kernel.task(tid).ran_ns),
        1 | 4 | 6 | 7 => Ok(kernel.clock.now()),
        clock if clock.cast_signed() < 0 => processor_clock(kernel, tid, low_u32(clock)),
        _ => Err(Errno::EINVAL),
    }
}

/// What another process has run, or another task of the caller's process, as the clock's number says
/// (Linux v6.12 include/linux/posix-timers_types.h).
fn processor_clock(kernel: &Kernel, tid: Tid, clock: u32) -> Result<u64, Errno> {
    /// The lowest bits: of one task, and what kind of time; 3 = not a task's at all.
    const ONE_TASK: u32 = 4;
    const KIND: u32 = 3;
    const ID_SHIFT: u32 = 3;
    let id = Tid(!(clock.cast_signed() >> ID_SHIFT).cast_unsigned());
    if clock & KIND == KIND {
        return Err(Errno::EINVAL);
    }
    let own = kernel.process_of(tid);
    let ran_ns = match (clock & ONE_TASK != 0, id) {
        (true, Tid(0)) => Some(kernel.task(tid).ran_ns),
        (true, id) if own.threads.contains(&id) => kernel.tasks.get(&id).map(|task| task.ran_ns),
        (true, _) => None,
        (false, Tid(0)) => Some(own.ran_ns),
        (false, id) => kernel.processes.get(&id).map(|process| process.ran_ns),
    };
    ran_ns.ok_or(Errno::EINVAL)
}

fn clock_gettime(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [clock, gva, ..] = request.args;
    let now = read_clock(kernel, request.tid, i64::from(low_i32(clock)).cast_unsigned())?;
    write_timespec(&kernel.user(request.tid), gva, now)?;
    Ok(Outcome::Done(0))
}

fn clock_getres(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [clock, gva, ..] = request.args;
    read_clock(kernel, request.tid, i64::from(low_i32(clock)).cast_unsigned())?;
    if gva != 0 {
        write_timespec(&kernel.user(request.tid), gva, 1)?;
    }
    Ok(Outcome::Done(0))
}

fn gettimeofday(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [time_gva, zone_gva, ..] = request.args;
    let user = kernel.user(request.tid);
    if time_gva != 0 {
        write_timeval(&user, time_gva, kernel.clock.realtime())?;
    }
    if zone_gva != 0 {
        user.write_word(zone_gva, 0)?;
    }
    Ok(Outcome::Done(0))
}

fn time(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let seconds = kernel.clock.realtime() / SECOND_NS;
    if request.args[0] != 0 {
        kernel.user(request.tid).write_word(request.args[0], seconds)?;
    }
    Ok(Outcome::Done(seconds))
}

fn times(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    /// Nanoseconds in a clock tick as programs see it (USER_HZ = 100).
    const TICK_NS: u64 = 10_000_000;
    let process = kernel.process_of(request.tid);
    let words = [process.ran_ns / TICK_NS, 0, process.children_ran_ns / TICK_NS, 0];
    if request.args[0] != 0 {
        kernel.user(request.tid).write_words(request.args[0], &words)?;
    }
    Ok(Outcome::Done(kernel.clock.now() / TICK_NS))
}

fn nanosleep(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [wish_gva, left_gva, ..] = request.args;
    let length = timespec_ns(&kernel.user(request.tid), wish_gva)?;
    let now = kernel.clock.now();
    let deadline = *request.deadline.get_or_insert(now.saturating_add(length));
    sleep_until(kernel, request, deadline, left_gva)
}

fn clock_nanosleep(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [clock, flags, wish_gva, left_gva, ..] = request.args;
    let time = timespec_ns(&kernel.user(request.tid), wish_gva)?;
    let now = kernel.clock.now();
    let is_absolute = flags & ABSOLUTE != 0;
    let deadline = match clock {
        REALTIME | TAI if is_absolute => kernel.clock.boot_time_of(time),
        1 | 7 if is_absolute => time,
        0 | 1 | 7 | 11 => now.saturating_add(time),
        PROCESS_CPU => return Err(Errno::EOPNOTSUPP),
        _ => return Err(Errno::EINVAL),
    };
    let deadline = *request.deadline.get_or_insert(deadline);
    sleep_until(kernel, request, deadline, if is_absolute { 0 } else { left_gva })
}

/// Sleeps; interrupted, it leaves what is left of the time at `left_gva`.
fn sleep_until(
    kernel: &Kernel,
    request: &Request,
    deadline: u64,
    left_gva: u64,
) -> Result<Outcome, Errno> {
    let now = kernel.clock.now();
    if now >= deadline {
        return Ok(Outcome::Done(0));
    }
    if left_gva != 0 && signal::has_deliverable(kernel, request.tid) {
        write_timespec(&kernel.user(request.tid), left_gva, deadline - now)?;
    }
    let wait = Wait::forever().with_deadline(Some(deadline));
    Ok(Outcome::Block(wait.with_on_signal(OnSignal::RestartWithoutHandler)))
}
