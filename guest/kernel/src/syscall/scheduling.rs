//! System calls of scheduling. There is one class with one priority: what a program asks for is
//! remembered and told, and changes nothing.

use super::Entry;
use super::identity::named;
use super::request::{Outcome, Request};
use super::time::write_timespec;
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::number::{Tid, low_i32, low_u32};
use crate::task::process::{Process, Scheduling};

/// The group's rows.
pub(crate) const CALLS: &[Entry] = &[
    (140, "getpriority", getpriority),
    (141, "setpriority", setpriority), // partial: remembered, without effect
    (142, "sched_setparam", sched_setparam), // partial: as setpriority
    (143, "sched_getparam", sched_getparam),
    (144, "sched_setscheduler", sched_setscheduler), // partial: as setpriority
    (145, "sched_getscheduler", sched_getscheduler),
    (146, "sched_get_priority_max", sched_get_priority_max),
    (147, "sched_get_priority_min", sched_get_priority_min),
    (148, "sched_rr_get_interval", sched_rr_get_interval),
    (203, "sched_setaffinity", sched_setaffinity), // partial: one processor
    (204, "sched_getaffinity", sched_getaffinity),
];

/// Policies (Linux v6.12 include/uapi/linux/sched.h).
const FIFO: u32 = 1;
const ROUND_ROBIN: u32 = 2;
const BATCH: u32 = 3;
const IDLE: u32 = 5;
/// Flag: children start with the usual policy. Accepted without effect.
const RESET_ON_FORK: u32 = 0x4000_0000;
/// Lowest and highest priority of a real-time policy.
const PRIORITIES: (u64, u64) = (1, 99);

/// The processes that a `which` and a `who` mean (PRIO_PROCESS, PRIO_PGRP, PRIO_USER).
fn meant<'kernel>(
    kernel: &'kernel mut Kernel,
    request: &Request,
) -> Result<impl Iterator<Item = &'kernel mut Process>, Errno> {
    const PROCESS: u32 = 0;
    const GROUP: u32 = 1;
    const USER: u32 = 2;
    let [which, who, ..] = request.args;
    let which = low_u32(which);
    let id = match (which, low_u32(who)) {
        (PROCESS, _) => named(kernel, request, who)?,
        (GROUP, 0) => kernel.process_of(request.tid).group,
        (GROUP, id) => Tid(id),
        // Every process is user 0's.
        (USER, 0) => Tid(0),
        (USER, _) => return Err(Errno::ESRCH),
        _ => return Err(Errno::EINVAL),
    };
    let is_meant = move |process: &Process| match which {
        PROCESS => process.id == id,
        GROUP => process.group == id,
        _ => true,
    };
    let mut processes = kernel.processes.values_mut().filter(move |process| is_meant(process));
    let first = processes.next().ok_or(Errno::ESRCH)?;
    Ok(core::iter::once(first).chain(processes))
}

/// getpriority(which, who)
fn getpriority(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    /// The system call answers 20 minus the nice value, the highest of all that are meant.
    const NICE_0: i32 = 20;
    let nice = meant(kernel, request)?.map(|process| process.scheduling.nice).min().unwrap_or(0);
    Ok(Outcome::Done(u64::from((NICE_0 - nice).cast_unsigned())))
}

/// setpriority(which, who, nice)
fn setpriority(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let nice = low_i32(request.args[2]).clamp(-20, 19);
    meant(kernel, request)?.for_each(|process| process.scheduling.nice = nice);
    Ok(Outcome::Done(0))
}

/// The scheduling of the process that a call names.
fn scheduling_of<'kernel>(
    kernel: &'kernel mut Kernel,
    request: &Request,
) -> Result<&'kernel mut Scheduling, Errno> {
    if low_i32(request.args[0]) < 0 {
        return Err(Errno::EINVAL);
    }
    let id = named(kernel, request, request.args[0])?;
    let process = kernel.processes.get_mut(&id).ok_or(Errno::ESRCH)?;
    Ok(&mut process.scheduling)
}

/// The priorities of a policy; EINVAL where there is no such policy.
fn priorities(policy: u32) -> Result<(u64, u64), Errno> {
    match policy {
        FIFO | ROUND_ROBIN => Ok(PRIORITIES),
        0 | BATCH | IDLE => Ok((0, 0)),
        _ => Err(Errno::EINVAL),
    }
}

/// Takes a policy and the priority at an address.
fn change(
    kernel: &mut Kernel,
    request: &Request,
    policy: Option<u32>,
    gva: u64,
) -> Result<Outcome, Errno> {
    if gva == 0 {
        return Err(Errno::EINVAL);
    }
    let priority = kernel.user(request.tid).read_half(gva)?;
    let old = *scheduling_of(kernel, request)?;
    let policy = policy.unwrap_or(old.policy);
    let (lowest, highest) = priorities(policy)?;
    if !(lowest..=highest).contains(&u64::from(priority)) {
        return Err(Errno::EINVAL);
    }
    *scheduling_of(kernel, request)? = Scheduling { policy, priority, ..old };
    Ok(Outcome::Done(0))
}

/// sched_setparam(pid, parameters)
fn sched_setparam(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    change(kernel, request, None, request.args[1])
}

/// sched_setscheduler(pid, policy, parameters)
fn sched_setscheduler(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let policy = low_u32(request.args[1]) & !RESET_ON_FORK;
    change(kernel, request, Some(policy), request.args[2])
}

/// sched_getparam(pid, parameters)
fn sched_getparam(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    if request.args[1] == 0 {
        return Err(Errno::EINVAL);
    }
    let priority = scheduling_of(kernel, request)?.priority;
    kernel.user(request.tid).write_half(request.args[1], priority)?;
    Ok(Outcome::Done(0))
}

/// sched_getscheduler(pid)
fn sched_getscheduler(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    Ok(Outcome::Done(u64::from(scheduling_of(kernel, request)?.policy)))
}

/// sched_get_priority_max(policy)
fn sched_get_priority_max(_: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    Ok(Outcome::Done(priorities(low_u32(request.args[0]))?.1))
}

/// sched_get_priority_min(policy)
fn sched_get_priority_min(_: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    Ok(Outcome::Done(priorities(low_u32(request.args[0]))?.0))
}

/// sched_rr_get_interval(pid, interval)
fn sched_rr_get_interval(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    /// A turn, as far as the host's tick goes.
    const TURN_NS: u64 = 10_000_000;
    scheduling_of(kernel, request)?;
    write_timespec(&kernel.user(request.tid), request.args[1], TURN_NS)?;
    Ok(Outcome::Done(0))
}

/// sched_setaffinity(pid, length, mask): EINVAL where the one processor is not in the mask.
fn sched_setaffinity(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [id, len, mask_gva, ..] = request.args;
    named(kernel, request, id)?;
    let mut mask = [0];
    if len > 0 {
        kernel.user(request.tid).read(mask_gva, &mut mask)?;
    }
    if mask[0] & 1 == 0 { Err(Errno::EINVAL) } else { Ok(Outcome::Done(0)) }
}

/// sched_getaffinity(pid, length, mask)
fn sched_getaffinity(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [id, len, mask_gva, ..] = request.args;
    if len < 8 || len % 8 != 0 {
        return Err(Errno::EINVAL);
    }
    named(kernel, request, id)?;
    // One vCPU.
    kernel.user(request.tid).write_word(mask_gva, 1)?;
    Ok(Outcome::Done(8))
}
