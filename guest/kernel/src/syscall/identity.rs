//! System calls: who a task is. Every user and group is 0.

use super::Entry;
use super::request::{Outcome, Request};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::number::{Tid, low_i32};

/// The group's rows.
pub(crate) const CALLS: &[Entry] = &[
    (39, "getpid", getpid),
    (102, "getuid", zero),
    (104, "getgid", zero),
    (105, "setuid", set_one), // partial: user 0 only
    (106, "setgid", set_one), // partial: group 0 only
    (107, "geteuid", zero),
    (108, "getegid", zero),
    (109, "setpgid", setpgid),
    (110, "getppid", getppid),
    (111, "getpgrp", getpgrp),
    (112, "setsid", setsid),
    (113, "setreuid", set_two), // partial: user 0 only
    (114, "setregid", set_two), // partial: group 0 only
    (115, "getgroups", zero),
    (116, "setgroups", setgroups), // partial: no groups
    (117, "setresuid", set_three), // partial: user 0 only
    (118, "getresuid", getres),
    (119, "setresgid", set_three), // partial: group 0 only
    (120, "getresgid", getres),
    (121, "getpgid", getpgid),
    (122, "setfsuid", zero),
    (123, "setfsgid", zero),
    (124, "getsid", getsid),
    (125, "capget", capget),
    (126, "capset", capset), // partial: accepted without effect
    (186, "gettid", gettid),
];

fn getpid(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    Ok(Outcome::Done(kernel.task(request.tid).process.word()))
}

fn gettid(_kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    Ok(Outcome::Done(request.tid.word()))
}

fn getppid(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    Ok(Outcome::Done(kernel.process_of(request.tid).parent.word()))
}

fn zero(_kernel: &mut Kernel, _request: &mut Request) -> Result<Outcome, Errno> {
    Ok(Outcome::Done(0))
}

/// Accepts 0 (and -1, "unchanged") for the first `count` arguments; other users do not exist.
fn set(request: &Request, count: usize) -> Result<Outcome, Errno> {
    let is_known = |id: &u64| matches!(low_i32(*id), 0 | -1);
    if request.args[..count].iter().all(is_known) {
        Ok(Outcome::Done(0))
    } else {
        Err(Errno::EPERM)
    }
}

fn set_one(_kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    set(request, 1)
}

fn set_two(_kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    set(request, 2)
}

fn set_three(_kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    set(request, 3)
}

/// Checks the version in a `struct __user_cap_header_struct`, and says which one there is.
fn check_version(kernel: &Kernel, request: &Request) -> Result<(), Errno> {
    /// _LINUX_CAPABILITY_VERSION_3
    const VERSION: u32 = 0x2008_0522;
    let user = kernel.user(request.tid);
    if user.read_half(request.args[0])? == VERSION {
        return Ok(());
    }
    user.write_half(request.args[0], VERSION)?;
    Err(Errno::EINVAL)
}

/// capget(header, data): user 0 may do everything, and has nothing to pass on.
fn capget(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    /// Effective, permitted and inheritable of the lower 32 capabilities, then of the 9 above.
    const DATA: [u32; 6] = [u32::MAX, u32::MAX, 0, 0x1ff, 0x1ff, 0];
    let [header_gva, data_gva, ..] = request.args;
    match check_version(kernel, request) {
        Err(Errno::EINVAL) if data_gva == 0 => return Ok(Outcome::Done(0)),
        checked => checked?,
    }
    let user = kernel.user(request.tid);
    named(kernel, request, user.read_half(header_gva.wrapping_add(4))?.into())?;
    if data_gva != 0 {
        for (slot, word) in (0_u64..).zip(DATA) {
            user.write_half(data_gva.wrapping_add(slot * 4), word)?;
        }
    }
    Ok(Outcome::Done(0))
}

/// capset(header, data)
fn capset(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    check_version(kernel, request)?;
    Ok(Outcome::Done(0))
}

fn setgroups(_kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    if request.args[0] == 0 { Ok(Outcome::Done(0)) } else { Err(Errno::EPERM) }
}

fn getres(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let user = kernel.user(request.tid);
    for gva in &request.args[..3] {
        user.write_half(*gva, 0)?;
    }
    Ok(Outcome::Done(0))
}

/// The process a call names; 0 = the caller's.
pub(super) fn named(kernel: &Kernel, request: &Request, id: u64) -> Result<Tid, Errno> {
    if low_i32(id) == 0 {
        return Ok(kernel.task(request.tid).process);
    }
    let id = Tid::from_word(id).ok_or(Errno::ESRCH)?;
    let process = kernel.tasks.get(&id).map_or(id, |task| task.process);
    kernel.processes.contains_key(&process).then_some(process).ok_or(Errno::ESRCH)
}

fn getpgid(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let id = named(kernel, request, request.args[0])?;
    Ok(Outcome::Done(kernel.processes.get(&id).ok_or(Errno::ESRCH)?.group.word()))
}

fn getpgrp(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    Ok(Outcome::Done(kernel.process_of(request.tid).group.word()))
}

fn getsid(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let id = named(kernel, request, request.args[0])?;
    Ok(Outcome::Done(kernel.processes.get(&id).ok_or(Errno::ESRCH)?.session.word()))
}

fn setsid(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let id = kernel.task(request.tid).process;
    if kernel.processes.values().any(|process| process.group == id) {
        return Err(Errno::EPERM);
    }
    let process = kernel.process_of_mut(request.tid);
    process.group = id;
    process.session = id;
    Ok(Outcome::Done(id.word()))
}

fn setpgid(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let caller = kernel.process_of(request.tid);
    let (caller_id, session) = (caller.id, caller.session);
    let id = named(kernel, request, request.args[0])?;
    let group = match low_i32(request.args[1]) {
        0 => id,
        group if group < 0 => return Err(Errno::EINVAL),
        group => Tid(group.cast_unsigned()),
    };
    let process = kernel.processes.get(&id).ok_or(Errno::ESRCH)?;
    if id != caller_id && process.parent != caller_id {
        return Err(Errno::ESRCH);
    }
    if id != caller_id && process.has_execed {
        return Err(Errno::EACCES);
    }
    let exists = |group: Tid| {
        kernel.processes.values().any(|other| other.group == group && other.session == session)
    };
    if process.session != session || process.session == id || (group != id && !exists(group)) {
        return Err(Errno::EPERM);
    }
    if let Some(process) = kernel.processes.get_mut(&id) {
        process.group = group;
    }
    Ok(Outcome::Done(0))
}
