//! prctl and arch_prctl.

use vmcg_abi::layout::TASK_END;

use crate::errno::Errno;
use crate::exec::NAME_MAX;
use crate::kernel::Kernel;
use crate::signal::Signal;
use crate::syscall::request::{Outcome, Request};

pub(super) fn prctl(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    const SET_PDEATHSIG: u64 = 1;
    const GET_PDEATHSIG: u64 = 2;
    const GET_DUMPABLE: u64 = 3;
    const SET_DUMPABLE: u64 = 4;
    const SET_NAME: u64 = 15;
    const GET_NAME: u64 = 16;
    const SET_TIMERSLACK: u64 = 29;
    const SET_NO_NEW_PRIVS: u64 = 38;
    const GET_NO_NEW_PRIVS: u64 = 39;
    let [option, argument, ..] = request.args;
    let user = kernel.user(request.tid);
    match option {
        SET_NAME => {
            let mut name = [0; NAME_MAX + 1];
            for (slot, byte) in name.iter_mut().take(NAME_MAX).enumerate() {
                let mut one = [0];
                user.read(argument.wrapping_add(slot as u64), &mut one)?;
                if one[0] == 0 {
                    break;
                }
                *byte = one[0];
            }
            let len = name.iter().position(|byte| *byte == 0).unwrap_or(NAME_MAX);
            kernel.task_mut(request.tid).name = name[..len].to_vec();
        }
        SET_PDEATHSIG => {
            let signal = Signal::from_word(argument);
            if signal.is_none() && argument != 0 {
                return Err(Errno::EINVAL);
            }
            kernel.process_of_mut(request.tid).parent_death = signal;
        }
        GET_PDEATHSIG => {
            let signal = kernel.process_of(request.tid).parent_death;
            user.write_half(argument, signal.map_or(0, |signal| signal.number().into()))?;
        }
        GET_NAME => {
            let mut name = kernel.task(request.tid).name.clone();
            name.resize(NAME_MAX + 1, 0);
            user.write(argument, &name)?;
        }
        GET_DUMPABLE | GET_NO_NEW_PRIVS => return Ok(Outcome::Done(u64::from(option == 3))),
        // Accepted without effect: nothing here dumps or gains privileges.
        SET_DUMPABLE | SET_TIMERSLACK | SET_NO_NEW_PRIVS => {}
        _ => return Err(Errno::EINVAL),
    }
    Ok(Outcome::Done(0))
}

pub(super) fn arch_prctl(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    const SET_GS: u64 = 0x1001;
    const SET_FS: u64 = 0x1002;
    const GET_FS: u64 = 0x1003;
    const GET_GS: u64 = 0x1004;
    let [option, address, ..] = request.args;
    kernel.save_extended(request.tid);
    let user = kernel.user(request.tid);
    let task = kernel.task_mut(request.tid);
    match option {
        SET_FS | SET_GS if address >= TASK_END => return Err(Errno::EPERM),
        SET_FS => task.fs_base = address,
        SET_GS => task.gs_base = address,
        GET_FS => user.write_word(address, task.fs_base)?,
        GET_GS => user.write_word(address, task.gs_base)?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(Outcome::Done(0))
}
