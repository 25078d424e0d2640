//! timerfd_create, timerfd_settime and timerfd_gettime.

use super::super::file::{file_of, install};
use super::super::request::{Outcome, Request};
use super::{timespec_ns, write_timespec};
use crate::errno::Errno;
use crate::file::OpenFile;
use crate::file::open_file::Body;
use crate::file::timer::{Setting, TimerFile};
use crate::file::uapi::open;
use crate::kernel::Kernel;
use crate::memory::user::UserMemory;
use crate::number::low_u32;

/// Bytes of a `struct timespec`; a `struct itimerspec` is an interval and a value.
const TIMESPEC_LEN: u64 = 16;

/// timerfd_create(clock, flags)
pub(super) fn create(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    /// CLOCK_REALTIME and CLOCK_REALTIME_ALARM; MONOTONIC, BOOTTIME and BOOTTIME_ALARM.
    const CLOCKS: [(u64, bool); 5] = [(0, true), (8, true), (1, false), (7, false), (9, false)];
    let [clock, flags, ..] = request.args;
    let flags = low_u32(flags);
    let known = CLOCKS.into_iter().find(|(known, _)| *known == clock);
    let (_, is_realtime) = known.ok_or(Errno::EINVAL)?;
    if flags & !(open::CLOSE_ON_EXEC | open::NON_BLOCKING) != 0 {
        return Err(Errno::EINVAL);
    }
    let body = Body::Timer(TimerFile::new(kernel, is_realtime));
    let file = OpenFile::new(body, open::READ_WRITE | flags, b"anon_inode:[timerfd]".to_vec());
    let file = kernel.frames.new_rc(file)?;
    install(kernel, request, file, flags).map(Outcome::Done)
}

/// timerfd_settime(fd, flags, new, old)
pub(super) fn set(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    const ABSOLUTE: u64 = 1;
    /// Nobody sets the clock here, so there is nothing to cancel.
    const CANCEL_ON_SET: u64 = 2;
    let [fd, flags, new_gva, old_gva, ..] = request.args;
    if flags & !(ABSOLUTE | CANCEL_ON_SET) != 0 {
        return Err(Errno::EINVAL);
    }
    let user = kernel.user(request.tid);
    let interval_ns = timespec_ns(&user, new_gva)?;
    let value = timespec_ns(&user, new_gva.wrapping_add(TIMESPEC_LEN))?;
    let file = file_of(kernel, request, fd)?;
    let Body::Timer(timer) = &file.body else {
        return Err(Errno::EINVAL);
    };
    let now = kernel.clock.now();
    let before = timer.setting(now);
    let expires = match value {
        0 => None,
        value if flags & ABSOLUTE == 0 => Some(now.saturating_add(value)),
        value if timer.is_realtime => Some(kernel.clock.boot_time_of(value)),
        value => Some(value),
    };
    timer.set(expires, interval_ns);
    if old_gva != 0 {
        write_setting(&user, old_gva, before)?;
    }
    Ok(Outcome::Done(0))
}

/// timerfd_gettime(fd, current)
pub(super) fn get(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, gva, ..] = request.args;
    let file = file_of(kernel, request, fd)?;
    let Body::Timer(timer) = &file.body else {
        return Err(Errno::EINVAL);
    };
    write_setting(&kernel.user(request.tid), gva, timer.setting(kernel.clock.now()))?;
    Ok(Outcome::Done(0))
}

fn write_setting(user: &UserMemory, gva: u64, setting: Setting) -> Result<(), Errno> {
    write_timespec(user, gva, setting.interval_ns)?;
    write_timespec(user, gva.wrapping_add(TIMESPEC_LEN), setting.left_ns)
}
