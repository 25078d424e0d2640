//! The way back from a handler: rt_sigreturn.

use super::frame::{FRAME_LEN, Frame, marked_len, only_legacy};
use super::{AlternateStack, SignalInfo, force};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::number::Tid;
use crate::signal::Signal;
use crate::task::extended::Extended;
use vmcg_abi::layout::TASK_END;

/// Bytes of the legacy part of the extended state.
const LEGACY_LEN: usize = 512;

/// Takes everything over from the frame that the stack pointer is just above. A frame that cannot
/// be read ends the program with SIGSEGV.
pub(crate) fn return_from_handler(kernel: &mut Kernel, tid: Tid) {
    if restore(kernel, tid).is_err() {
        force(kernel, tid, SignalInfo::kernel(Signal::SEGV));
    }
}

fn restore(kernel: &mut Kernel, tid: Tid) -> Result<(), Errno> {
    let user = kernel.user(tid);
    let address = kernel.task(tid).registers.rsp.wrapping_sub(8);
    let mut bytes = [0; FRAME_LEN];
    user.read(address, &mut bytes)?;
    let frame = Frame::from_bytes(&bytes);
    if frame.registers.rip >= TASK_END {
        return Err(Errno::EFAULT);
    }
    restore_extended(kernel, tid, frame.fpstate)?;
    let task = kernel.task_mut(tid);
    task.registers = frame.registers;
    task.signals.blocked = frame.mask;
    // Linux restores the alternate stack where it can and says nothing where it cannot.
    if let Ok(stack) = AlternateStack::from_bytes(&frame.stack) {
        task.signals.alternate = stack;
    }
    Ok(())
}

/// Reads the extended state at `fpstate`; 0 resets it.
fn restore_extended(kernel: &mut Kernel, tid: Tid, fpstate: u64) -> Result<(), Errno> {
    let mut state = Extended::new();
    if fpstate != 0 {
        let user = kernel.user(tid);
        let mut legacy = [0; LEGACY_LEN];
        user.read(fpstate, &mut legacy)?;
        let area = state.bytes_mut();
        let len = marked_len(&legacy, area.len());
        user.read(fpstate, &mut area[..len])?;
        if len == LEGACY_LEN {
            only_legacy(area);
        }
        state.sanitise();
    }
    kernel.save_extended(tid);
    kernel.task_mut(tid).extended.bytes_mut().copy_from_slice(state.bytes());
    kernel.reload_extended(tid);
    Ok(())
}
