//! epoll: sets of files that are waited for together.

use alloc::rc::Rc;
use alloc::vec::Vec;

use super::super::file::{file_of, install};
use super::super::request::{OnSignal, Outcome, Request, Wait, WaitKey};
use super::super::time::timespec_ns;
use super::{NS_PER_MS, start_mask, start_timeout};
use crate::errno::Errno;
use crate::file::OpenFile;
use crate::file::epoll::{Change, Epoll, Event};
use crate::file::open_file::Body;
use crate::file::uapi::open;
use crate::kernel::Kernel;
use crate::number::{index, low_i32, low_u32};

/// Bytes of a `struct epoll_event`, which is packed on x86-64: events, data.
const EVENT_LEN: usize = 12;
/// Most events one call tells.
const EVENTS_MAX: u64 = 1024;

/// epoll_create(size)
pub(super) fn epoll_create(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    if low_i32(request.args[0]) <= 0 {
        return Err(Errno::EINVAL);
    }
    create(kernel, request, 0)
}

/// epoll_create1(flags)
pub(super) fn epoll_create1(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let flags = low_u32(request.args[0]);
    if flags & !open::CLOSE_ON_EXEC != 0 {
        return Err(Errno::EINVAL);
    }
    create(kernel, request, flags)
}

fn create(kernel: &mut Kernel, request: &Request, flags: u32) -> Result<Outcome, Errno> {
    let path = b"anon_inode:[eventpoll]".to_vec();
    let epoll = Epoll::new(kernel.new_wait_id());
    let file = OpenFile::new(Body::Epoll(epoll), open::READ_WRITE, path);
    let file = kernel.frames.new_rc(file)?;
    install(kernel, request, file, flags).map(Outcome::Done)
}

/// epoll_ctl(epoll, operation, fd, event)
pub(super) fn epoll_ctl(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    const ADD: u32 = 1;
    const DELETE: u32 = 2;
    const MODIFY: u32 = 3;
    let [epoll_fd, operation, fd, event_gva, ..] = request.args;
    let set = file_of(kernel, request, epoll_fd)?;
    let file = file_of(kernel, request, fd)?;
    let Body::Epoll(epoll) = &set.body else {
        return Err(Errno::EINVAL);
    };
    if Rc::ptr_eq(&set, &file) {
        return Err(Errno::EINVAL);
    }
    let operation = low_u32(operation);
    let change = if operation == DELETE {
        Change::Delete
    } else {
        let mut bytes = [0; EVENT_LEN];
        kernel.user(request.tid).read(event_gva, &mut bytes)?;
        let [e0, e1, e2, e3, data @ ..] = bytes;
        let events = u32::from_le_bytes([e0, e1, e2, e3]);
        let event = Event { events, data: u64::from_le_bytes(data) };
        match operation {
            ADD => Change::Add(event),
            MODIFY => Change::Modify(event),
            _ => return Err(Errno::EINVAL),
        }
    };
    if let (Change::Add(_), Body::Epoll(inner)) = (change, &file.body) {
        inner.check_nesting(epoll)?;
    }
    epoll.change(u64::from(low_u32(fd)), &file, change)?;
    // Who waits for the set waits for this file, too, from now on.
    kernel.wake(WaitKey::Object(epoll.wait_id()));
    Ok(Outcome::Done(0))
}

/// The timeout of a call in milliseconds; a negative one is none.
fn start_timeout_ms(kernel: &Kernel, request: &mut Request) {
    let timeout_ns = u64::try_from(low_i32(request.args[3])).ok().map(|ms| ms * NS_PER_MS);
    start_timeout(kernel, request, timeout_ns);
}

/// epoll_wait(epoll, events, count, timeout)
pub(super) fn epoll_wait(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    start_timeout_ms(kernel, request);
    wait(kernel, request)
}

/// epoll_pwait(epoll, events, count, timeout, mask, mask size)
pub(super) fn epoll_pwait(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [.., mask_gva, mask_len] = request.args;
    start_timeout_ms(kernel, request);
    start_mask(kernel, request, mask_gva, mask_len)?;
    wait(kernel, request)
}

/// epoll_pwait2(epoll, events, count, timeout, mask, mask size)
pub(super) fn epoll_pwait2(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [_, _, _, timeout_gva, mask_gva, mask_len] = request.args;
    if timeout_gva != 0 {
        let timeout_ns = timespec_ns(&kernel.user(request.tid), timeout_gva)?;
        start_timeout(kernel, request, Some(timeout_ns));
    }
    start_mask(kernel, request, mask_gva, mask_len)?;
    wait(kernel, request)
}

fn wait(kernel: &mut Kernel, request: &Request) -> Result<Outcome, Errno> {
    let [epoll_fd, events_gva, count, ..] = request.args;
    let set = file_of(kernel, request, epoll_fd)?;
    let Body::Epoll(epoll) = &set.body else {
        return Err(Errno::EINVAL);
    };
    let count = u64::try_from(low_i32(count)).map_err(|_| Errno::EINVAL)?.min(EVENTS_MAX);
    if count == 0 {
        return Err(Errno::EINVAL);
    }
    let told = epoll.take(kernel, index(count));
    let is_late = request.deadline.is_some_and(|deadline| kernel.clock.now() >= deadline);
    if told.is_empty() && !is_late {
        let mut keys = Vec::new();
        epoll.wait_keys(&mut keys);
        let wait = keys.into_iter().fold(Wait::forever(), Wait::and);
        let wait = wait.with_deadline(request.deadline);
        return Ok(Outcome::Block(wait.with_on_signal(OnSignal::Interrupt)));
    }
    let mut bytes = Vec::with_capacity(told.len() * EVENT_LEN);
    for event in &told {
        bytes.extend_from_slice(&event.events.to_le_bytes());
        bytes.extend_from_slice(&event.data.to_le_bytes());
    }
    kernel.user(request.tid).write(events_gva, &bytes)?;
    Ok(Outcome::Done(told.len() as u64))
}
