//! System calls that send signals.

use alloc::vec::Vec;

use super::super::request::{Outcome, Request};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::number::{Tid, low_i32};
use crate::signal::{SIGINFO_LEN, Signal, SignalInfo, code, send_process, send_task};

/// Whom a kill() means.
enum Target {
    /// A process.
    Process(Tid),
    /// A process group.
    Group(Tid),
    /// Everyone but init and the caller.
    All,
}

/// The signal of a call; `None` for 0, which only asks whether there is someone to send it to.
fn signal_of(word: u64) -> Result<Option<Signal>, Errno> {
    match low_i32(word) {
        0 => Ok(None),
        number => {
            let word = u64::from(number.cast_unsigned());
            Signal::from_word(word).map(Some).ok_or(Errno::EINVAL)
        }
    }
}

/// kill(pid, signal)
pub(super) fn kill(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [pid, signal, ..] = request.args;
    let signal = signal_of(signal)?;
    let caller = kernel.process_of(request.tid);
    let (own, own_group) = (caller.id, caller.group);
    let target = match low_i32(pid) {
        0 => Target::Group(own_group),
        -1 => Target::All,
        id if id > 0 => Target::Process(Tid(id.cast_unsigned())),
        id => Target::Group(Tid(id.unsigned_abs())),
    };
    let targets = processes_of(kernel, &target, own);
    if targets.is_empty() {
        return Err(Errno::ESRCH);
    }
    if let Some(signal) = signal {
        for pid in targets {
            // kill() of a standard signal is never refused for want of room, Linux says so.
            send_process(kernel, pid, SignalInfo::task(signal, code::USER, own));
        }
    }
    Ok(Outcome::Done(0))
}

/// The processes a kill() means; init is there but takes no signals.
fn processes_of(kernel: &Kernel, target: &Target, own: Tid) -> Vec<Tid> {
    if let Target::Process(pid) = *target {
        // A task's id names its process, too.
        let task = kernel.tasks.get(&pid).map(|task| task.process);
        let process = kernel.processes.contains_key(&pid).then_some(pid).or(task);
        return process.or((pid == Tid::INIT).then_some(pid)).into_iter().collect();
    }
    let is_meant = |id: Tid, group: Tid| match *target {
        Target::Group(wanted) => group == wanted,
        _ => id != own && id != Tid::INIT,
    };
    let all = kernel.processes.values();
    all.filter(|process| is_meant(process.id, process.group)).map(|process| process.id).collect()
}

/// tkill(tid, signal)
pub(super) fn tkill(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [tid, signal, ..] = request.args;
    let tid = Tid::from_word(tid).ok_or(Errno::EINVAL)?;
    to_task(kernel, request, tid, signal)
}

/// tgkill(process, tid, signal)
pub(super) fn tgkill(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [pid, tid, signal, ..] = request.args;
    let pid = Tid::from_word(pid).ok_or(Errno::EINVAL)?;
    let tid = Tid::from_word(tid).ok_or(Errno::EINVAL)?;
    if kernel.tasks.get(&tid).is_some_and(|task| task.process != pid) {
        return Err(Errno::ESRCH);
    }
    to_task(kernel, request, tid, signal)
}

fn to_task(
    kernel: &mut Kernel,
    request: &Request,
    tid: Tid,
    signal: u64,
) -> Result<Outcome, Errno> {
    let signal = signal_of(signal)?;
    if !kernel.tasks.contains_key(&tid) {
        return Err(Errno::ESRCH);
    }
    let own = kernel.task(request.tid).process;
    if let Some(signal) = signal {
        let info = SignalInfo::task(signal, code::TKILL, own);
        if !send_task(kernel, tid, info) {
            return Err(Errno::EAGAIN);
        }
    }
    Ok(Outcome::Done(0))
}

/// Reads the `siginfo_t` that a program made up for the process `target`.
fn given_info(
    kernel: &Kernel,
    request: &Request,
    target: Tid,
    signal: Signal,
    gva: u64,
) -> Result<SignalInfo, Errno> {
    let mut bytes = [0; SIGINFO_LEN];
    kernel.user(request.tid).read(gva, &mut bytes)?;
    let half = |at: usize| i32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[at + i]));
    let value = u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| bytes[24 + i]));
    let code = half(8);
    // Codes from 0 up are the kernel's own; a program may claim them to itself alone.
    let is_own = kernel.task(request.tid).process == target;
    if !is_own && (code >= 0 || code == code::TKILL) {
        return Err(Errno::EPERM);
    }
    let pid = Tid(half(16).cast_unsigned());
    let origin = crate::signal::Origin::Task { pid, value };
    Ok(SignalInfo { signal, code, origin })
}

/// rt_sigqueueinfo(pid, signal, info)
pub(super) fn rt_sigqueueinfo(
    kernel: &mut Kernel,
    request: &mut Request,
) -> Result<Outcome, Errno> {
    let [pid, signal, info_gva, ..] = request.args;
    let signal = signal_of(signal)?;
    let pid = Tid::from_word(pid).filter(|pid| kernel.processes.contains_key(pid));
    let pid = pid.ok_or(Errno::ESRCH)?;
    if let Some(signal) = signal {
        let info = given_info(kernel, request, pid, signal, info_gva)?;
        if !send_process(kernel, pid, info) {
            return Err(Errno::EAGAIN);
        }
    }
    Ok(Outcome::Done(0))
}

/// rt_tgsigqueueinfo(process, tid, signal, info)
pub(super) fn rt_tgsigqueueinfo(
    kernel: &mut Kernel,
    request: &mut Request,
) -> Result<Outcome, Errno> {
    let [pid, tid, signal, info_gva, ..] = request.args;
    let signal = signal_of(signal)?;
    let pid = Tid::from_word(pid).ok_or(Errno::EINVAL)?;
    let tid = Tid::from_word(tid).ok_or(Errno::EINVAL)?;
    if kernel.tasks.get(&tid).is_none_or(|task| task.process != pid) {
        return Err(Errno::ESRCH);
    }
    if let Some(signal) = signal {
        let info = given_info(kernel, request, pid, signal, info_gva)?;
        if !send_task(kernel, tid, info) {
            return Err(Errno::EAGAIN);
        }
    }
    Ok(Outcome::Done(0))
}
