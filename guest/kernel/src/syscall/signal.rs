//! System calls of signals: actions, masks, waiting for signals, the alternate stack.

mod file;
mod send;
mod timer;

use super::Entry;
use super::request::{OnSignal, Outcome, Request, Wait};
use super::time::timespec_ns;
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::number::low_i32;
use crate::signal::action::{ACTION_LEN, Action, Disposition};
use crate::signal::{AlternateStack, STACK_LEN, Signal, SignalSet, pending_set, take};

/// The group's rows.
pub(crate) const CALLS: &[Entry] = &[
    (13, "rt_sigaction", rt_sigaction),
    (14, "rt_sigprocmask", rt_sigprocmask),
    (15, "rt_sigreturn", rt_sigreturn),
    (34, "pause", pause),
    (36, "getitimer", timer::getitimer), // partial: ITIMER_VIRTUAL counts as ITIMER_PROF
    (37, "alarm", timer::alarm),
    (38, "setitimer", timer::setitimer), // partial: as getitimer
    (62, "kill", send::kill),
    (127, "rt_sigpending", rt_sigpending),
    (128, "rt_sigtimedwait", rt_sigtimedwait),
    (129, "rt_sigqueueinfo", send::rt_sigqueueinfo),
    (130, "rt_sigsuspend", rt_sigsuspend),
    (131, "sigaltstack", sigaltstack),
    (200, "tkill", send::tkill),
    (234, "tgkill", send::tgkill),
    (282, "signalfd", file::signalfd),
    (289, "signalfd4", file::signalfd4),
    (297, "rt_tgsigqueueinfo", send::rt_tgsigqueueinfo),
];

/// Bytes of a `sigset_t` as the kernel knows it; calls that say otherwise are refused.
const SIGSET_LEN: u64 = 8;

/// The mask at an address, whose size the program claims to be `len`.
pub(super) fn read_mask(
    kernel: &Kernel,
    request: &Request,
    gva: u64,
    len: u64,
) -> Result<SignalSet, Errno> {
    if len != SIGSET_LEN {
        return Err(Errno::EINVAL);
    }
    let mask = SignalSet(kernel.user(request.tid).read_word(gva)?);
    Ok(mask.without(SignalSet::UNBLOCKABLE))
}

/// rt_sigaction(signal, new, old, sigset size)
fn rt_sigaction(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [number, new_gva, old_gva, len, ..] = request.args;
    let signal = Signal::from_word(number).ok_or(Errno::EINVAL)?;
    if len != SIGSET_LEN || new_gva != 0 && SignalSet::UNBLOCKABLE.contains(signal) {
        return Err(Errno::EINVAL);
    }
    let user = kernel.user(request.tid);
    let mut new = [0; ACTION_LEN];
    if new_gva != 0 {
        user.read(new_gva, &mut new)?;
    }
    let handlers = kernel.task(request.tid).handlers.clone();
    if old_gva != 0 {
        let old = handlers.borrow().get(signal).to_bytes();
        user.write(old_gva, &old)?;
    }
    if new_gva != 0 {
        let action = Action::from_bytes(&new);
        handlers.borrow_mut().set(signal, action);
        if action.disposition(signal) == Disposition::Ignore {
            discard(kernel, request, signal);
        }
    }
    Ok(Outcome::Done(0))
}

/// A signal that is ignored from now on is no longer pending.
fn discard(kernel: &mut Kernel, request: &Request, signal: Signal) {
    let process = kernel.process_of_mut(request.tid);
    process.signals.pending.discard(SignalSet::of(signal));
    for tid in process.threads.clone() {
        kernel.task_mut(tid).signals.pending.discard(SignalSet::of(signal));
    }
}

/// rt_sigprocmask(how, new, old, sigset size)
fn rt_sigprocmask(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    const SIG_BLOCK: i32 = 0;
    const SIG_UNBLOCK: i32 = 1;
    const SIG_SETMASK: i32 = 2;
    let [how, new_gva, old_gva, len, ..] = request.args;
    if len != SIGSET_LEN {
        return Err(Errno::EINVAL);
    }
    let old = kernel.task(request.tid).signals.blocked;
    if new_gva != 0 {
        let given = read_mask(kernel, request, new_gva, len)?;
        let blocked = match low_i32(how) {
            SIG_BLOCK => old.union(given),
            SIG_UNBLOCK => old.without(given),
            SIG_SETMASK => given,
            _ => return Err(Errno::EINVAL),
        };
        kernel.task_mut(request.tid).signals.blocked = blocked;
    }
    if old_gva != 0 {
        kernel.user(request.tid).write_word(old_gva, old.0)?;
    }
    Ok(Outcome::Done(0))
}

/// rt_sigreturn()
fn rt_sigreturn(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    crate::signal::return_from_handler(kernel, request.tid);
    Ok(Outcome::Resume)
}

/// pause()
fn pause(_: &mut Kernel, _: &mut Request) -> Result<Outcome, Errno> {
    Ok(Outcome::Block(Wait::forever().with_on_signal(OnSignal::RestartWithoutHandler)))
}

/// rt_sigpending(set, sigset size)
fn rt_sigpending(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [set_gva, len, ..] = request.args;
    if len > SIGSET_LEN {
        return Err(Errno::EINVAL);
    }
    let blocked = kernel.task(request.tid).signals.blocked;
    let set = pending_set(kernel, request.tid).intersection(blocked);
    let bytes = set.0.to_le_bytes();
    kernel.user(request.tid).write(set_gva, &bytes[..crate::number::index(len)])?;
    Ok(Outcome::Done(0))
}

/// rt_sigtimedwait(set, info, timeout, sigset size)
fn rt_sigtimedwait(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [set_gva, info_gva, timeout_gva, len, ..] = request.args;
    let set = read_mask(kernel, request, set_gva, len)?;
    if timeout_gva != 0 && request.deadline.is_none() {
        let timeout_ns = timespec_ns(&kernel.user(request.tid), timeout_gva)?;
        request.deadline = Some(kernel.clock.now().saturating_add(timeout_ns));
    }
    if let Some(info) = take(kernel, request.tid, set) {
        if info_gva != 0 {
            kernel.user(request.tid).write(info_gva, &info.to_bytes())?;
        }
        return Ok(Outcome::Done(u64::from(info.signal.number())));
    }
    if request.deadline.is_some_and(|deadline| kernel.clock.now() >= deadline) {
        return Err(Errno::EAGAIN);
    }
    let wait = Wait::forever().with_deadline(request.deadline);
    Ok(Outcome::Block(wait.with_on_signal(OnSignal::Interrupt)))
}

/// rt_sigsuspend(mask, sigset size)
fn rt_sigsuspend(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [mask_gva, len, ..] = request.args;
    let mask = read_mask(kernel, request, mask_gva, len)?;
    kernel.task_mut(request.tid).signals.block_for_call(mask);
    Ok(Outcome::Block(Wait::forever().with_on_signal(OnSignal::RestartWithoutHandler)))
}

/// sigaltstack(new, old)
fn sigaltstack(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [new_gva, old_gva, ..] = request.args;
    let user = kernel.user(request.tid);
    let task = kernel.task_mut(request.tid);
    let rsp = task.registers.rsp;
    let old = task.signals.alternate;
    if new_gva != 0 {
        let mut bytes = [0; STACK_LEN];
        user.read(new_gva, &mut bytes)?;
        if old.contains(rsp) {
            return Err(Errno::EPERM);
        }
        task.signals.alternate = AlternateStack::from_bytes(&bytes)?;
    }
    if old_gva != 0 {
        user.write(old_gva, &old.to_bytes(rsp))?;
    }
    Ok(Outcome::Done(0))
}
