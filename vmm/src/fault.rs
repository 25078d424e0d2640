//! The fault thread: a guest page is touched for the first time, charged, and installed.
//!
//! A vCPU that sleeps in such a fault cannot be woken by a signal, so every fault is answered: a
//! page for which no limit has room, and for which nothing could be freed, is charged all the same
//! and the guest is told to kill somebody. The overshoot is counted.

use std::io::ErrorKind;
use std::os::fd::AsFd;

use memcg::{ChargeError, Fault, Gfn, GroupId, Kind, Payer, Tid};
use rustix::event::{PollFd, PollFlags, poll};
use vmcg_abi::event::{Event, EventKind};
use vmcg_abi::frame::FrameKind;
use vmcg_abi::layout::PAGE_SIZE;
use vmcg_abi::page::shared;

use crate::guest::RealGuest;
use crate::machine::{Accounting, Machine};
use crate::news::News;
use crate::stats::Stats;

/// Answers faults until `stop` becomes readable.
pub(crate) fn serve(machine: &Machine, stop: &impl AsFd) {
    let mut addresses = Vec::new();
    loop {
        let mut ready =
            [PollFd::new(&machine.uffd, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
        match poll(&mut ready, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(why) => return log::error!("cannot wait for guest faults: {why}"),
            Ok(_) => {}
        }
        if !ready[1].revents().is_empty() {
            return;
        }
        // A kick can end KVM_RUN in the middle of a fault. From the reading of a fault to its answer
        // the vCPU must not go on, or another task would be current when it is charged: it takes
        // this lock before it enters the guest again. A fault not read by then is withdrawn.
        let mut accounting = machine.lock();
        match machine.uffd.read_faults(&mut addresses) {
            Ok(()) => {}
            Err(why) if why.kind() == ErrorKind::WouldBlock => continue,
            Err(why) => return log::error!("cannot read guest faults: {why}"),
        }
        for address in addresses.drain(..) {
            answer(machine, &mut accounting, address);
        }
    }
}

/// Charges and installs the page at host address `address`.
fn answer(machine: &Machine, accounting: &mut Accounting, address: u64) {
    let gfn = Gfn::new((address - machine.memory.host_base()) / PAGE_SIZE);
    if machine.answer_huge(accounting, gfn) {
        return Stats::count(&machine.stats.faults, 1);
    }
    if machine.is_accounting && !machine.memory.is_backed(gfn) {
        charge(machine, accounting, gfn);
    }
    machine.memory.set_backed(gfn);
    match machine.uffd.zero(address & !(PAGE_SIZE - 1)) {
        Ok(()) => {}
        Err(why) if why.kind() == ErrorKind::AlreadyExists => {}
        Err(why) => {
            // Out of host memory: the page stays missing and the vCPU asks again.
            log::error!("cannot install a page for guest frame {:#x}: {why}", gfn.get());
        }
    }
    Stats::count(&machine.stats.faults, 1);
}

/// Charges `gfn` to whom the guest names as current, whatever it takes.
fn charge(machine: &Machine, accounting: &mut Accounting, gfn: Gfn) {
    let (payer, kind) = payer_of(machine, accounting, gfn);
    if let Payer::Task(tid) = payer {
        // Differs from Linux: pages mapped around a fault count when they are touched, not before.
        accounting.memcg.note_fault(tid, Fault::Minor);
    }
    let mut refused_by = match accounting.memcg.try_charge(payer, gfn, kind) {
        Ok(()) => return,
        Err(ChargeError::AlreadyCharged(_)) => return Stats::count(&machine.stats.guest_lies, 1),
        Err(ChargeError::Refused { group, .. }) => group,
        Err(ChargeError::NoSuchFrame(_) | ChargeError::Dead) => accounting.memcg.root(),
    };
    // What the guest has freed but the host has not taken back yet may be all it takes.
    let freed = machine.drain_free(accounting);
    if freed > 0 && accounting.memcg.try_charge(payer, gfn, kind).is_ok() {
        return note_search(accounting, refused_by, 1);
    }
    while !machine.settle_out_of(accounting, refused_by).is_zero() {
        match accounting.memcg.try_charge(payer, gfn, kind) {
            Ok(()) => return note_search(accounting, refused_by, 1),
            Err(ChargeError::Refused { group, .. }) => refused_by = group,
            Err(_) => break,
        }
    }
    note_search(accounting, refused_by, 0);
    Stats::count(&machine.stats.forced, 1);
    if accounting.memcg.charge(payer, gfn, kind).is_err() {
        let root = Payer::Group(accounting.memcg.root());
        if accounting.memcg.charge(root, gfn, kind).is_err() {
            Stats::count(&machine.stats.guest_lies, 1);
        }
    }
    if let Payer::Task(tid) = payer
        && accounting.waiting.hold(&accounting.memcg, refused_by, tid)
    {
        return machine.gate.send(Event { kind: EventKind::Wait, argument: 0, id: tid.get() });
    }
    out_of_memory(machine, accounting, refused_by);
}

/// Notes that one page was wanted in a group at its limit, and how many were found.
fn note_search(accounting: &mut Accounting, group: GroupId, found: u64) {
    accounting.news.push(News::Reclaimed { group, wanted: 1, found });
}

/// Who pays for `gfn`, and for what, by what the guest says.
fn payer_of(machine: &Machine, accounting: &Accounting, gfn: Gfn) -> (Payer, Kind) {
    let root = Payer::Group(accounting.memcg.root());
    let table = machine.frame_table().and_then(|gpa| machine.memory.frame_table(gpa));
    let entry = table.and_then(|table| table.entry(gfn));
    let Some(kind) = entry.and_then(|entry| entry.kind()).and_then(kind_of) else {
        return (root, Kind::Kernel);
    };
    let tid = u32::try_from(machine.memory.shared(shared::CURRENT_TID)).unwrap_or(0);
    let is_known = accounting.memcg.task_group(Tid::new(tid)).is_some();
    (if is_known { Payer::Task(Tid::new(tid)) } else { root }, kind)
}

/// The accounting's word for a kind of frame; `None` for one that is not handed out.
pub(crate) fn kind_of(kind: FrameKind) -> Option<Kind> {
    match kind {
        FrameKind::Free => None,
        FrameKind::Anon => Some(Kind::Anon),
        FrameKind::File => Some(Kind::File),
        FrameKind::Shmem => Some(Kind::Shmem),
        FrameKind::Kernel => Some(Kind::Kernel),
        FrameKind::PageTable => Some(Kind::PageTable),
        FrameKind::Huge => Some(Kind::Huge),
    }
}

/// Picks a victim in the group that refused and tells the guest to kill it. A victim that has been
/// told already is on its way out: nobody else dies meanwhile.
fn out_of_memory(machine: &Machine, accounting: &mut Accounting, group: GroupId) {
    let Accounting { memcg, tasks, news, .. } = accounting;
    let is_below = |tid| {
        let mut above = std::iter::successors(memcg.task_group(tid), |&at| memcg.parent(at));
        above.any(|at| at == group)
    };
    if tasks.iter().any(|(tid, task)| task.is_dying && is_below(tid)) {
        return;
    }
    news.push(News::OutOfMemory(group));
    let Some(victim) = memcg.oom_victim(group, &mut RealGuest::new(machine, tasks)) else { return };
    let path = memcg.path(group).unwrap_or_default();
    log::info!("{path} is out of memory: killing task {victim}");
    let counted = memcg.task_group(victim).map(|at| memcg.note_oom_kill(at));
    log::debug!("kill counted: {counted:?}");
    send_kill(machine, victim);
    tasks.set_dying(victim);
}

/// Tells the guest to kill a task, as if by SIGKILL.
pub(crate) fn send_kill(machine: &Machine, tid: Tid) {
    machine.gate.send(Event { kind: EventKind::Kill, argument: 0, id: tid.get() });
}
