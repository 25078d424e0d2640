//! System calls that wait for files to become ready.

mod select;

use alloc::vec::Vec;

use super::Entry;
use super::file::{descriptor_limit, file_of};
use super::request::{OnSignal, Outcome, Request, Wait, WaitKey};
use super::signal::read_mask;
use super::time::timespec_ns;
use crate::errno::Errno;
use crate::file::open_file::Readiness;
use crate::kernel::Kernel;
use crate::number::{index, low_i32, low_u32};

/// The group's rows of the table.
pub(crate) const CALLS: &[Entry] = &[
    (7, "poll", poll),
    (23, "select", select::select),
    (270, "pselect6", select::pselect6),
    (271, "ppoll", ppoll),
];

/// Events (Linux v6.12 include/uapi/asm-generic/poll.h).
mod event {
    pub(super) const IN: u16 = 1;
    pub(super) const OUT: u16 = 4;
    pub(super) const ERR: u16 = 8;
    pub(super) const HUP: u16 = 0x10;
    pub(super) const INVALID: u16 = 0x20;
    pub(super) const READ_NORMAL: u16 = 0x40;
    pub(super) const WRITE_NORMAL: u16 = 0x100;
    /// Told whether asked for or not.
    pub(super) const ALWAYS: u16 = ERR | HUP | INVALID;
}

/// Bytes of a `struct pollfd`: descriptor, events, returned events.
const POLLFD_LEN: usize = 8;
const NS_PER_MS: u64 = 1_000_000;

/// What a file is ready for, as events, and what to wait for until that changes.
fn look(kernel: &mut Kernel, request: &Request, fd: u64) -> (u16, Option<WaitKey>) {
    let Ok(file) = file_of(kernel, request, fd) else {
        return (event::INVALID, None);
    };
    let Readiness { can_read, can_write, is_hung_up, is_broken } = file.readiness(kernel);
    let rows = [
        (can_read, event::IN | event::READ_NORMAL),
        (can_write, event::OUT | event::WRITE_NORMAL),
        (is_hung_up, event::HUP),
        (is_broken, event::ERR),
    ];
    let events = rows.iter().filter(|(is_set, _)| *is_set).fold(0, |all, (_, bits)| all | bits);
    (events, file.wait_key())
}

/// Ends a call that found `ready` files, or waits for more.
fn finish(
    kernel: &Kernel,
    request: &Request,
    ready: u64,
    keys: Vec<WaitKey>,
) -> Outcome {
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
            let (events, key) = look(kernel, request, fd);
            found = events & (u16::from_le_bytes([*e0, *e1]) | event::ALWAYS);
            keys.extend(key);
        }
        [*r0, *r1] = found.to_le_bytes();
        ready += u64::from(found != 0);
    }
    user.write(files_gva, &files)?;
    Ok(finish(kernel, request, ready, keys))
}
