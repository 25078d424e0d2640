//! Delivery: what a pending signal does to a task that is about to resume.

use super::action::{Action, Disposition, flag};
use super::frame::{FRAME_LEN, Frame, Place, SIGINFO, UCONTEXT, marked_state};
use super::{Signal, SignalInfo, SignalSet, force, take};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::number::Tid;
use crate::signal::number::DefaultAction;
use crate::syscall::request::{OnSignal, Request};
use crate::task::extended;
use crate::task::process::WaitStatus;

/// Flags cleared for a handler: trap, direction, resume.
const HANDLER_CLEARS: u64 = 1 << 8 | 1 << 10 | 1 << 16;
/// Bytes of the `syscall` instruction.
const SYSCALL_LEN: u64 = 2;

/// Delivers what is pending. Afterwards the task may have ended or stopped; otherwise its registers
/// say where it goes on.
pub(crate) fn deliver(kernel: &mut Kernel, tid: Tid) {
    loop {
        let allowed = SignalSet(!kernel.task(tid).signals.blocked.0);
        let Some(info) = take(kernel, tid, allowed) else {
            break;
        };
        let action = kernel.task(tid).handlers.borrow().get(info.signal);
        match action.disposition(info.signal) {
            Disposition::Ignore | Disposition::Default(DefaultAction::Ignore) => {}
            Disposition::Default(DefaultAction::Continue) => {}
            Disposition::Default(DefaultAction::Terminate) => {
                kernel.exit_group(tid, WaitStatus::killed(info.signal.number()));
                return;
            }
            Disposition::Default(DefaultAction::Stop) => {
                let pid = kernel.task(tid).process;
                kernel.stop_process(pid, info.signal);
                return;
            }
            Disposition::Handle => handle(kernel, tid, info, action),
        }
    }
    end_interrupted(kernel, tid, None);
    kernel.task_mut(tid).signals.end_call();
}

/// Lets the program's handler run next.
fn handle(kernel: &mut Kernel, tid: Tid, info: SignalInfo, action: Action) {
    end_interrupted(kernel, tid, Some(action));
    let signals = &mut kernel.task_mut(tid).signals;
    let mask = signals.restore.take().unwrap_or(signals.blocked);
    if enter(kernel, tid, info, action, mask).is_err() {
        // Without a stack there is no handler to call, not even the one for SIGSEGV.
        if info.signal == Signal::SEGV {
            kernel.task(tid).handlers.borrow_mut().set(Signal::SEGV, Action::default());
        }
        force(kernel, tid, SignalInfo::kernel(Signal::SEGV));
        return;
    }
    let task = kernel.task_mut(tid);
    task.signals.blocked = task.signals.blocked.union(action.mask);
    if !action.has(flag::NODEFER) {
        task.signals.blocked = task.signals.blocked.with(info.signal);
    }
    if action.has(flag::RESETHAND) {
        task.handlers.borrow_mut().set(info.signal, Action::default());
    }
}

/// Ends the call that the signal interrupted: with EINTR, or by having the task make it again.
fn end_interrupted(kernel: &mut Kernel, tid: Tid, handler: Option<Action>) {
    let task = kernel.task_mut(tid);
    let Some(interrupted) = task.interrupted.take() else {
        return;
    };
    match (interrupted.on_signal, handler) {
        // What it waits for is looked at anew, but it gives up when it would have.
        (_, None) => {
            task.request = Some(Request { progress: 0, woken: None, ..interrupted.request });
        }
        (OnSignal::Restart, Some(action)) if action.has(flag::RESTART) => {
            task.registers.rip -= SYSCALL_LEN;
            task.registers.rax = interrupted.request.number;
        }
        (_, Some(_)) => task.registers.rax = Errno::EINTR.to_word(),
    }
}

/// Writes the frame and points the registers at the handler.
fn enter(
    kernel: &mut Kernel,
    tid: Tid,
    info: SignalInfo,
    action: Action,
    mask: SignalSet,
) -> Result<(), Errno> {
    if !action.has(flag::RESTORER) {
        return Err(Errno::EFAULT);
    }
    kernel.save_extended(tid);
    let user = kernel.user(tid);
    let task = kernel.task_mut(tid);
    let state = marked_state(task.extended.bytes(), extended::enabled());
    let alternate = action.has(flag::ONSTACK).then_some(task.signals.alternate);
    let rsp = task.registers.rsp;
    let place = Place::below(rsp, alternate, state.len()).ok_or(Errno::EFAULT)?;
    let frame = Frame {
        restorer: action.restorer,
        registers: task.registers,
        stack: task.signals.alternate.to_bytes(rsp),
        mask,
        fpstate: place.fpstate,
    };
    let bytes: [u8; FRAME_LEN] = frame.to_bytes(info);
    user.write(place.fpstate, &state)?;
    user.write(place.frame, &bytes)?;
    let task = kernel.task_mut(tid);
    task.signals.alternate = task.signals.alternate.while_used();
    let registers = &mut task.registers;
    registers.rdi = u64::from(info.signal.number());
    registers.rsi = place.frame + SIGINFO as u64;
    registers.rdx = place.frame + UCONTEXT as u64;
    registers.rax = 0;
    registers.rip = action.handler;
    registers.rsp = place.frame;
    registers.rflags &= !HANDLER_CLEARS;
    Ok(())
}
