//! Huge pages of the guest: which frames are set aside, and what backs them.
//!
//! The guest asks before it lets a task touch a huge page (`calls`): the page is charged and backed
//! as a whole then, in one step, so that the touch itself faults on nobody. A guest that touches a
//! page without asking is answered all the same (`Machine::answer_huge`), and its task's group is
//! charged whatever the limits say.

pub(crate) mod backing;
pub(crate) mod calls;

use std::io::ErrorKind;
use std::ops::Range;

use memcg::{Gfn, HugePage, HugeSize, Memcg, Payer, Tid};
use vmcg_abi::layout::{PAGE_SIZE, RAM_BYTES_MIN};
use vmcg_abi::page::shared;

use crate::error::MachineError;
use crate::huge::backing::Backing;
use crate::machine::{Accounting, Machine};
use crate::memory::GuestMemory;
use crate::stats::Stats;
use crate::uffd::Uffd;

/// How many huge pages of each size are set aside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HugePages {
    /// Pages of 2 MiB.
    pub mb2: u64,
    /// Pages of 1 GiB.
    pub gb1: u64,
}

/// Where they lie, as frame numbers: one after the other, from a multiple of 2 MiB on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pools {
    pub(crate) mb2: Range<u64>,
    pub(crate) gb1: Range<u64>,
}

impl HugePages {
    /// Takes them from the end of guest memory of `bytes`.
    ///
    /// # Errors
    /// [`MachineError::HugePages`] when not enough memory remains for the guest.
    pub(crate) fn place(self, bytes: u64) -> Result<Pools, MachineError> {
        let refuse = || MachineError::HugePages { mb2: self.mb2, gb1: self.gb1, bytes };
        let (mb2, gb1) = (HugeSize::Mb2.pages().get(), HugeSize::Gb1.pages().get());
        let frames = bytes / PAGE_SIZE;
        // The guest maps a page of 1 GiB by entries of 2 MiB, so that it need not be aligned to more.
        let aligned = frames - frames % mb2;
        let below = |end: u64, count: u64, size: u64| {
            count.checked_mul(size).and_then(|frames| end.checked_sub(frames)).ok_or_else(refuse)
        };
        let large = below(aligned, self.gb1, gb1)?;
        let start = below(large, self.mb2, mb2)?;
        if start < RAM_BYTES_MIN / PAGE_SIZE {
            return Err(refuse());
        }
        Ok(Pools { mb2: start..large, gb1: large..aligned })
    }
}

impl Pools {
    /// Tells the accounting.
    pub(crate) fn enter(&self, memcg: &mut Memcg) {
        memcg.set_huge_pool(HugeSize::Mb2, self.mb2.clone());
        memcg.set_huge_pool(HugeSize::Gb1, self.gb1.clone());
    }

    /// All frames that are set aside.
    pub(crate) fn all(&self) -> Range<u64> {
        self.mb2.start..self.gb1.end
    }

    /// Asks the host to make what is behind them huge, where it is not and the host does that.
    pub(crate) fn ask_for_transparent(&self, memory: &mut GuestMemory, uffd: &Uffd) {
        let frames = self.all();
        let wants = memory.backing() == Backing::Plain && !frames.is_empty();
        if !wants || !backing::host_has_transparent() {
            return;
        }
        let len = (frames.end - frames.start) * PAGE_SIZE;
        match uffd.ask_for_huge(memory.host_address(frames.start), len) {
            Ok(()) => memory.note_transparent(),
            Err(why) => log::info!("the host makes no memory of the guest huge: {why}"),
        }
    }

    /// Whether a frame is set aside.
    pub(crate) fn contains(&self, gfn: u64) -> bool {
        self.all().contains(&gfn)
    }
}

impl Machine {
    /// Backs a huge page with zeros. Caller has charged it.
    ///
    /// # Errors
    /// The host's, mostly for want of memory; part of the page may be backed then.
    fn back_huge(&self, page: HugePage) -> std::io::Result<()> {
        let frames = page.frames();
        let start = self.memory.host_address(frames.start);
        let len = (frames.end - frames.start) * PAGE_SIZE;
        if let Some(huge) = self.memory.huge_file(frames.start) {
            huge.fill(&frames)?;
            self.uffd.wake(start, len)?;
        } else {
            self.uffd.zero_range(start, len)?;
            if self.memory.backing() == Backing::Transparent
                && let Err(why) = self.uffd.make_huge(start, len)
            {
                log::debug!("huge page {page:?} stays in small pages of the host: {why}");
            }
        }
        frames.for_each(|gfn| self.memory.set_backed(Gfn::new(gfn)));
        Stats::count(&self.stats.huge_faults, 1);
        Ok(())
    }

    /// Gives a huge page back to the host, and its charge to whoever has it.
    ///
    /// # Errors
    /// The host's; the page stays charged then.
    fn free_huge(&self, accounting: &mut Accounting, page: HugePage) -> std::io::Result<()> {
        self.memory.punch(page.frames())?;
        accounting.memcg.uncharge_huge(page);
        Stats::count(&self.stats.frames_freed, page.size.pages().get());
        Ok(())
    }

    /// Answers the touch of a frame that is set aside: an honest guest has asked before, and then
    /// there is nothing left to do. False for any other frame.
    pub(crate) fn answer_huge(&self, accounting: &mut Accounting, gfn: Gfn) -> bool {
        let Some(page) = accounting.memcg.huge_page_of(gfn) else { return false };
        if self.is_accounting && !accounting.memcg.is_backed(page.first) {
            Stats::count(&self.stats.guest_lies, 1);
            Stats::count(&self.stats.forced, 1);
            let tid = u32::try_from(self.memory.shared(shared::CURRENT_TID)).unwrap_or(0);
            // Nobody has the page, so that only a task that is gone can stand in the way: never,
            // since the root pays for those.
            let charged = accounting.memcg.charge_huge(Payer::Task(Tid::new(tid)), page);
            log::debug!("huge page {page:?} was touched without being asked for: {charged:?}");
        }
        let backed = if self.memory.is_backed(gfn) {
            // The host has taken the mapping away, as when it makes memory huge.
            self.map_again(gfn)
        } else {
            self.back_huge(page)
        };
        if let Err(why) = backed
            && why.kind() != ErrorKind::AlreadyExists
        {
            // Out of host memory: the page stays missing and the vCPU asks again.
            log::error!("cannot back huge page {page:?}: {why}");
        }
        true
    }

    /// Maps a frame of a huge page that has a page of the host.
    fn map_again(&self, gfn: Gfn) -> std::io::Result<()> {
        let start = self.memory.host_address(gfn.get());
        match self.memory.huge_file(gfn.get()) {
            Some(_) => self.uffd.wake(start, PAGE_SIZE),
            None => self.uffd.map(start),
        }
    }

    /// Huge pages of a size: set aside, and in use.
    pub(crate) fn huge_counts(&self, size: HugeSize) -> (u64, u64) {
        let pool = match size {
            HugeSize::Mb2 => &self.huge.mb2,
            HugeSize::Gb1 => &self.huge.gb1,
        };
        let step = size.pages().get();
        let firsts = (0..).map(|n| pool.start + n * step).take_while(|gfn| *gfn < pool.end);
        let used = firsts.filter(|gfn| self.memory.is_backed(Gfn::new(*gfn))).count() as u64;
        ((pool.end - pool.start) / step, used)
    }
}

#[cfg(test)]
mod tests;
