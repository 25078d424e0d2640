//! wait4 and waitid.

use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::number::{Tid, low_i32};
use crate::signal::{Signal, SignalInfo, code};
use crate::syscall::request::{Outcome, Request, Wait, WaitKey};
use crate::task::process::{Process, WaitStatus};

/// Options (Linux v6.12 include/uapi/linux/wait.h).
const NO_HANG: u64 = 1;
const STOPPED: u64 = 2;
const EXITED: u64 = 4;
const CONTINUED: u64 = 8;
const NO_WAIT: u64 = 0x0100_0000;

/// Which children are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Any,
    One(Tid),
    Group(Tid),
}

impl Who {
    fn includes(self, process: &Process) -> bool {
        match self {
            Self::Any => true,
            Self::One(id) => process.id == id,
            Self::Group(group) => process.group == group,
        }
    }
}

/// What a wait found.
#[derive(Debug, Clone, Copy)]
struct Found {
    id: Tid,
    status: WaitStatus,
    ran_ns: u64,
}

/// Looks for a child that did what the options name. `None` = there are children, none did.
fn find(kernel: &mut Kernel, parent: Tid, who: Who, options: u64) -> Result<Option<Found>, Errno> {
    let mut has_children = false;
    let mut found = None;
    for child in kernel.processes.values_mut() {
        if child.parent != parent || !who.includes(child) {
            continue;
        }
        has_children = true;
        let wants_change = match child.change {
            Some(WaitStatus::CONTINUED) => options & CONTINUED != 0,
            Some(_) => options & STOPPED != 0,
            None => false,
        };
        let status = match child.ended {
            Some(status) if options & EXITED != 0 => Some(status),
            None if wants_change => child.change,
            _ => None,
        };
        if let Some(status) = status {
            found = Some(Found { id: child.id, status, ran_ns: child.ran_ns });
            if options & NO_WAIT == 0 {
                child.change = None;
            }
            break;
        }
    }
    if let Some(Found { id, ran_ns, .. }) = found {
        let has_ended = kernel.processes.get(&id).is_some_and(|child| child.ended.is_some());
        if has_ended && options & NO_WAIT == 0 {
            kernel.processes.remove(&id);
            if let Some(parent) = kernel.processes.get_mut(&parent) {
                parent.children_ran_ns += ran_ns;
            }
        }
    }
    if has_children { Ok(found) } else { Err(Errno::ECHILD) }
}

pub(super) fn wait4(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    /// __WNOTHREAD, __WALL, __WCLONE: children made by other threads are children all the same.
    const KINDS: u64 = 0xe000_0000;
    let [who, status_gva, options, usage_gva, ..] = request.args;
    if options & !(NO_HANG | STOPPED | CONTINUED | KINDS) & 0xffff_ffff != 0 {
        return Err(Errno::EINVAL);
    }
    let parent = kernel.task(request.tid).process;
    let who = match low_i32(who) {
        -1 => Who::Any,
        0 => Who::Group(kernel.process_of(request.tid).group),
        id if id < 0 => Who::Group(Tid(id.unsigned_abs())),
        id => Who::One(Tid(id.cast_unsigned())),
    };
    let Some(found) = find(kernel, parent, who, options | EXITED)? else {
        return Ok(none_yet(options, parent));
    };
    let user = kernel.user(request.tid);
    if status_gva != 0 {
        user.write_half(status_gva, found.status.0)?;
    }
    if usage_gva != 0 {
        user.write(usage_gva, &usage(found.ran_ns))?;
    }
    Ok(Outcome::Done(found.id.word()))
}

fn none_yet(options: u64, parent: Tid) -> Outcome {
    if options & NO_HANG != 0 {
        return Outcome::Done(0);
    }
    Outcome::Block(Wait::on(WaitKey::Child(parent)))
}

/// A `struct rusage` that knows the user time only.
pub(in crate::syscall) fn usage(ran_ns: u64) -> [u8; 144] {
    let mut bytes = [0; 144];
    bytes[..8].copy_from_slice(&(ran_ns / 1_000_000_000).to_le_bytes());
    bytes[8..16].copy_from_slice(&(ran_ns % 1_000_000_000 / 1000).to_le_bytes());
    bytes
}

pub(super) fn waitid(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    const ALL: u64 = 0;
    const PID: u64 = 1;
    const PGID: u64 = 2;
    let [kind, id, info_gva, options, usage_gva, _] = request.args;
    if options & (EXITED | STOPPED | CONTINUED) == 0 {
        return Err(Errno::EINVAL);
    }
    let who = match (kind, Tid::from_word(id)) {
        (ALL, _) => Who::Any,
        (PID, Some(id)) => Who::One(id),
        (PGID, Some(id)) => Who::Group(id),
        (PGID, None) if id == 0 => Who::Group(kernel.process_of(request.tid).group),
        _ => return Err(Errno::EINVAL),
    };
    let parent = kernel.task(request.tid).process;
    let user = kernel.user(request.tid);
    let Some(found) = find(kernel, parent, who, options)? else {
        if options & NO_HANG != 0 && info_gva != 0 {
            user.zero(info_gva, 128)?;
        }
        return Ok(none_yet(options, parent));
    };
    if info_gva != 0 {
        user.write(info_gva, &info(&found).to_bytes())?;
    }
    if usage_gva != 0 {
        user.write(usage_gva, &usage(found.ran_ns))?;
    }
    Ok(Outcome::Done(0))
}

/// What waitid says about a child.
fn info(found: &Found) -> SignalInfo {
    let status = found.status;
    match status.exit_code() {
        Some(exit_code) => SignalInfo::child(found.id, code::CLD_EXITED, exit_code.cast_signed()),
        None if status == WaitStatus::CONTINUED => {
            let number = i32::from(Signal::CONT.number());
            SignalInfo::child(found.id, code::CLD_CONTINUED, number)
        }
        None if status.0 & 0xff == 0x7f => {
            SignalInfo::child(found.id, code::CLD_STOPPED, (status.0 >> 8).cast_signed())
        }
        None => SignalInfo::child(found.id, code::CLD_KILLED, status.signal().cast_signed()),
    }
}
