//! The fault thread: a guest page is touched, charged if it has no page yet, and installed with what
//! belongs into it: zeros at first, later what was evicted.
//!
//! A vCPU that sleeps in such a fault cannot be woken by a signal, so every fault is answered: a
//! page for which no limit has room, and for which nothing could be freed, is charged all the same
//! and the guest is told to kill somebody. The overshoot is counted.

use std::io::ErrorKind;
use std::ops::Range;
use std::os::fd::AsFd;

use memcg::{ChargeError, Fault, Gfn, Kind, Payer, Resource, Tid};
use rustix::event::{PollFd, PollFlags, poll};
use vmcg_abi::frame::{FrameEntry, FrameKind};
use vmcg_abi::layout::PAGE_SIZE;
use vmcg_abi::page::shared;

use crate::contents::Filling;
use crate::kmem;
use crate::machine::{Accounting, Machine};
use crate::oom;
use crate::stats::Stats;
use crate::swap::Page;
use crate::uffd::Lack;

/// Answers faults until `stop` becomes readable.
pub(crate) fn serve(machine: &Machine, stop: &impl AsFd) {
    let mut faults = Vec::new();
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
        match machine.uffd.read_faults(&mut faults) {
            Ok(()) => {}
            Err(why) if why.kind() == ErrorKind::WouldBlock => continue,
            Err(why) => return log::error!("cannot read guest faults: {why}"),
        }
        for (address, lack) in faults.drain(..) {
            answer(machine, &mut accounting, address & !(PAGE_SIZE - 1), lack);
        }
    }
}

/// Makes `frames` usable that the vCPU's thread, the caller, writes next: as if it touched one after
/// the other, without a fault and a change of threads for each. Caller holds no lock.
pub(crate) fn bring_ahead(machine: &Machine, frames: Range<u64>) {
    let mut accounting = machine.lock();
    for gfn in frames.start..frames.end.min(machine.memory.frames()) {
        if !machine.memory.is_backed(Gfn::new(gfn)) {
            let page = machine.memory.host_address(gfn);
            answer(machine, &mut accounting, page, Lack::Page);
        }
    }
}

/// Makes the page at host address `page` usable.
fn answer(machine: &Machine, accounting: &mut Accounting, page: u64, lack: Lack) {
    let Some(gfn) = machine.memory.frame_at(page) else {
        return log::error!("a fault at {page:#x}, which is not guest memory");
    };
    if machine.answer_huge(accounting, gfn) {
        return Stats::count(&machine.stats.faults, 1);
    }
    accounting.contents.note_touched(gfn);
    let installed = if machine.memory.is_backed(gfn) {
        // Aged, and touched again; or wanted twice, and there since the first time.
        Stats::count(&machine.stats.touches, u64::from(lack == Lack::Mapping));
        let is_known = accounting.memcg.note_touched(gfn);
        log::trace!("frame {:#x} touched again: {is_known}", gfn.get());
        machine.settle_touched(accounting, gfn);
        machine.memory.set_backed(gfn);
        machine.uffd.map(page)
    } else {
        bring(machine, accounting, gfn, page)
    };
    match installed {
        Ok(()) => {}
        Err(why) if why.kind() == ErrorKind::AlreadyExists => {}
        Err(why) => {
            // Out of host memory: the page stays missing and the vCPU asks again.
            log::error!("cannot install a page for guest frame {:#x}: {why}", gfn.get());
        }
    }
}

/// Charges the frame and installs a page with its content.
fn bring(
    machine: &Machine,
    accounting: &mut Accounting,
    gfn: Gfn,
    page: u64,
) -> std::io::Result<()> {
    let (payer, kind, kmem_id) = payer_of(machine, accounting, gfn);
    if machine.is_accounting && machine.is_full() {
        stall(machine, accounting, payer);
        if !machine.find_room_anywhere(accounting) {
            machine.run_out(accounting, payer);
        }
    }
    let is_away = accounting.contents.is_away(gfn);
    if is_away {
        stall(machine, accounting, payer);
        // Then it is the group of its task now that has to have room for it.
        machine.settle_touched(accounting, gfn);
    }
    let is_charged =
        kmem_id != 0 && kmem::charge_touched(machine, accounting, (gfn, kind), kmem_id);
    if machine.is_accounting && !is_charged {
        charge(machine, accounting, gfn, (payer, kind));
    }
    let mut content = Page::ZERO;
    let filling =
        if is_away { accounting.contents.fetch(gfn, &mut content) } else { Filling::Zeros };
    machine.memory.set_backed(gfn);
    let installed = match filling {
        Filling::Content => machine.uffd.copy(page, &content.0),
        Filling::Zeros => machine.uffd.zero(page),
        Filling::Lost => {
            lose(machine, gfn, payer);
            machine.uffd.zero(page)
        }
    };
    accounting.contents.note_back(gfn);
    let counter = if is_away { &machine.stats.refaults } else { &machine.stats.faults };
    Stats::count(counter, 1);
    if let Payer::Task(tid) = payer {
        // False for the many that did not have to wait.
        let waited = accounting.memcg.stall_end(tid, machine.microseconds());
        log::trace!("task {tid} goes on; waited: {waited}");
    }
    installed
}

/// The content of a frame cannot be had any more: whoever wants it is killed, as by a memory error.
fn lose(machine: &Machine, gfn: Gfn, payer: Payer) {
    Stats::count(&machine.stats.lost, 1);
    log::error!("the content of guest frame {:#x} is lost; {payer:?} cannot go on", gfn.get());
    if let Payer::Task(tid) = payer {
        oom::send_kill(machine, tid);
    }
}

/// Charges `gfn`, whatever it takes: to whom the guest names as current or, when its content is in
/// swap, to whom it belongs.
fn charge(machine: &Machine, accounting: &mut Accounting, gfn: Gfn, (payer, kind): (Payer, Kind)) {
    let bill =
        if accounting.memcg.is_swapped(gfn) { Bill::Swapped } else { Bill::New(payer, kind) };
    if let Payer::Task(tid) = payer {
        // Differs from Linux: pages mapped around a fault count when they are touched, not before.
        let is_away = accounting.contents.is_away(gfn);
        accounting.memcg.note_fault(tid, if is_away { Fault::Major } else { Fault::Minor });
    }
    let (mut group, mut resource) = match bill.attempt(accounting, gfn) {
        Ok(()) => return,
        Err(ChargeError::AlreadyCharged(_)) => return Stats::count(&machine.stats.guest_lies, 1),
        Err(ChargeError::Refused { group, resource }) => (group, resource),
        Err(ChargeError::NoSuchFrame(_) | ChargeError::Dead) => {
            (accounting.memcg.root(), Resource::Memory)
        }
    };
    stall(machine, accounting, payer);
    while machine.find_room(accounting, group, resource) {
        match bill.attempt(accounting, gfn) {
            Ok(()) => return,
            Err(ChargeError::Refused { group: other, resource: which }) => {
                (group, resource) = (other, which);
            }
            Err(_) => break,
        }
    }
    let is_asked = machine.ask_to_shrink(accounting, group);
    Stats::count(&machine.stats.forced, 1);
    if bill.force(accounting, gfn).is_err() {
        Stats::count(&machine.stats.guest_lies, 1);
    }
    if !is_asked {
        oom::strike(machine, accounting, group, payer);
    }
}

/// What a frame is charged as.
#[derive(Debug, Clone, Copy)]
enum Bill {
    /// As a page that somebody has touched first.
    New(Payer, Kind),
    /// As one that comes back from swap, to its owner.
    Swapped,
}

impl Bill {
    fn attempt(self, accounting: &mut Accounting, gfn: Gfn) -> Result<(), ChargeError> {
        match self {
            Self::New(payer, kind) => accounting.memcg.try_charge(payer, gfn, kind),
            Self::Swapped => accounting.memcg.try_swap_in(gfn),
        }
    }

    /// Charges over the limit; where even that is not possible, to the root group.
    fn force(self, accounting: &mut Accounting, gfn: Gfn) -> Result<(), ChargeError> {
        let root = Payer::Group(accounting.memcg.root());
        match self {
            Self::New(payer, kind) => accounting
                .memcg
                .charge(payer, gfn, kind)
                .or_else(|_refused| accounting.memcg.charge(root, gfn, kind)),
            Self::Swapped => accounting.memcg.swap_in(gfn),
        }
    }
}

/// Notes that the task waits for memory from now on, until its fault is answered.
fn stall(machine: &Machine, accounting: &mut Accounting, payer: Payer) {
    if let Payer::Task(tid) = payer {
        let is_new = accounting.memcg.stall_begin(tid, machine.microseconds());
        log::trace!("task {tid} waits for memory: {is_new}");
    }
}

/// Who pays for `gfn`, for what, and the kmem id of kernel memory that is accounted (0 = none), by
/// what the guest says.
fn payer_of(machine: &Machine, accounting: &Accounting, gfn: Gfn) -> (Payer, Kind, u16) {
    let table = machine.frame_table().and_then(|gpa| machine.memory.frame_table(gpa));
    let entry = table.and_then(|table| table.entry(gfn));
    let kind = entry.and_then(|entry| entry.kind()).and_then(kind_of).unwrap_or(Kind::Kernel);
    if matches!(kind, Kind::Kernel | Kind::PageTable) {
        return (Payer::Root, kind, entry.map_or(0, FrameEntry::kmem));
    }
    let tid = u32::try_from(machine.memory.shared(shared::CURRENT_TID)).unwrap_or(0);
    let is_known = accounting.memcg.task_group(Tid::new(tid)).is_some();
    (if is_known { Payer::Task(Tid::new(tid)) } else { Payer::Root }, kind, 0)
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
