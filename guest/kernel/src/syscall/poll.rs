//! System calls that wait for files to become ready.

mod epoll;
mod select;

use alloc::vec::Vec;

use super::Entry;
use super::file::{descriptor_limit, file_of};
use super::request::{OnSignal, Outcome, Request, Wait, WaitKey};
use super::signal::read_mask;
use super::time::timespec_ns;
use crate::errno::Errno;
use crate::file::uapi::poll as event;
use crate::kernel::Kernel;
use crate::number::{index, low_i32, low_u32};

/// The group's rows of the table.
pub(crate) const CALLS: &[Entry] = &[
    (7, "poll", poll),
    (23, "select", select::select),
    (213, "epoll_create", epoll::epoll_create),
    (232, "epoll_wait", epoll::epoll_wait),
    (233, "epoll_ctl", epoll::epoll_ctl),
    (270, "pselect6", select::pselect6),
    (271, "ppoll", ppoll),
    (281, "epoll_pwait", epoll::epoll_pwait),
    (291, "epoll_create1", epoll::epoll_create1),
    (441, "epoll_pwait2", epoll::epoll_pwait2),
];

/// Bytes of a `struct pollfd`: descriptor, events, returned events.
const POLLFD_LEN: usize = 8;
const NS_PER_MS: u64 = 1_000_000;

/// What a file is ready for, as events. What to wait for until that changes is added to `keys`.
fn look(kernel: &mut Kernel, request: &Request, fd: u64, keys: &mut Vec<WaitKey>) -> u16 {
    let Ok(file) = file_of(kernel, request, fd) else {
        return event::INVALID;
    };
    file.wait_keys(keys);
    file.readiness(kernel).events()
}

/// Ends a call that found `ready` files, or waits for more.
fn finish(kernel: &Kernel, request: &Request, ready: u64, keys: Vec<WaitKey>) -> Outcome {
    let is_late = request.deadline.is_some_and(|deadline| kernel.clock.now() >= deadline);
    if ready > 0 || is_late {
        return Outcome::Done(ready);
    }
    let wait = keys.into_iter().fold(Wait::forever(), Wait::and);
    let wait = wait.with_deadline(request.deadline);
    Outcome::Block(wait.with_on_signal(OnSignal::RestartWithoutHandler))
}

/// Sets the deadline at the first run of a call; `None` waits for ever.
fn start_timeout(kernel: &Kernel, request: &mut Request, timeout_ns: Option<u64>) {
    if request.deadline.is_none() {
        request.deadline = timeout_ns.map(|ns| kernel.clock.now().saturating_add(ns));
    }
}

/// Changes the mask for the duration of the call.
fn start_mask(
    kernel: &mut Kernel,
    request: &Request,
    mask_gva: u64,
    len: u64,
) -> Result<(), Errno> {
    if mask_gva != 0 {
        let mask = read_mask(kernel, request, mask_gva, len)?;
        kernel.task_mut(request.tid).signals.block_for_call(mask);
    }
    Ok(())
}

/// poll(files, count, timeout)
fn poll(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let timeout_ms = low_i32(request.args[2]);
    let timeout_ns = u64::try_from(timeout_ms).ok().map(|ms| ms * NS_PER_MS);
    start_timeout(kernel, request, timeout_ns);
    do_poll(kernel, request)
}

/// ppoll(files, count, timeout, mask, mask size)
fn ppoll(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [_, _, timeout_gva, mask_gva, mask_len, _] = request.args;
    if timeout_gva != 0 {
        let timeout_ns = timespec_ns(&kernel.user(request.tid), timeout_gva)?;
        start_timeout(kernel, request, Some(timeout_ns));
    }
    start_mask(kernel, request, mask_gva, mask_len)?;
    do_poll(kernel, request)
}

fn do_poll(kernel: &mut Kernel, request: &Request) -> Result<Outcome, Errno> {
    let [files_gva, count, ..] = request.args;
    let count = u64::from(low_u32(count));
    if count > descriptor_limit(kernel, request) {
        return Err(Errno::EINVAL);
    }
    let user = kernel.user(request.tid);
    let mut files = user.read_vec(files_gva, index(count) * POLLFD_LEN)?;
    let mut keys = Vec::new();
    let mut ready = 0;
    for [f0, f1, f2, f3, e0, e1, r0, r1] in files.as_chunks_mut::<POLLFD_LEN>().0 {
        let fd = i32::from_le_bytes([*f0, *f1, *f2, *f3]);
        let mut found = 0;
        if let Ok(fd) = u64::try_from(fd) {
            let events = look(kernel, request, fd, &mut keys);
            found = events & (u16::from_le_bytes([*e0, *e1]) | event::ALWAYS);
        }
        [*r0, *r1] = found.to_le_bytes();
        ready += u64::from(found != 0);
    }
    user.write(files_gva, &files)?;
    Ok(finish(kernel, request, ready, keys))
}
