//! How many huge pages the files of one mount may have, and how many they always can.
//!
//! Source: Linux v6.12 mm/hugetlb.c, hugepage_subpool_get_pages and hugepage_subpool_put_pages.

use core::cell::Cell;

use super::{HugePools, HugeSize, Taking};
use crate::errno::Errno;
use crate::number::Gfn;

/// The pages of one mount: those in use and those reserved count alike.
#[derive(Debug)]
pub(crate) struct Quota {
    pools: HugePools,
    pub(crate) size: HugeSize,
    /// Most pages (`size=`).
    pub(crate) max: Option<u64>,
    /// Pages set aside for the mount (`min_size=`).
    min: u64,
    used: Cell<u64>,
}

impl Quota {
    /// A mount's pages; ENOMEM where `min` of them cannot be set aside.
    pub(crate) fn new(
        pools: &HugePools,
        size: HugeSize,
        max: Option<u64>,
        min: u64,
    ) -> Result<Self, Errno> {
        pools.reserve(size, min)?;
        Ok(Self { pools: pools.clone(), size, max, min, used: Cell::new(0) })
    }

    /// Pages set aside for it, if any.
    pub(crate) fn min(&self) -> Option<u64> {
        Some(self.min).filter(|min| *min > 0)
    }

    /// No bound but the machine's.
    pub(super) fn unlimited(pools: &HugePools, size: HugeSize) -> Self {
        Self { pools: pools.clone(), size, max: None, min: 0, used: Cell::new(0) }
    }

    /// Where the pages come from.
    pub(crate) fn pools(&self) -> &HugePools {
        &self.pools
    }

    /// Pages the mount may still have; `None` where only the machine's matter.
    pub(crate) fn free(&self) -> Option<u64> {
        self.max.map(|max| max.saturating_sub(self.used.get()))
    }

    /// Of `count` pages more, how many the mount has not set aside.
    fn beyond_min(&self, count: u64) -> u64 {
        count.saturating_sub(self.min.saturating_sub(self.used.get()))
    }

    fn check(&self, count: u64) -> Result<(), Errno> {
        if self.free().is_some_and(|free| count > free) { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// Reserves pages for the mount.
    pub(super) fn reserve(&self, count: u64) -> Result<(), Errno> {
        self.check(count)?;
        self.pools.reserve(self.size, self.beyond_min(count))?;
        self.used.set(self.used.get() + count);
        Ok(())
    }

    /// Gives up reservations.
    pub(super) fn unreserve(&self, count: u64) {
        self.used.set(self.used.get() - count);
        self.pools.unreserve(self.size, self.beyond_min(count));
    }

    /// Takes a page that was reserved, or one that was not.
    pub(super) fn take(&self, taking: Taking) -> Result<Gfn, Errno> {
        if taking == Taking::Reserved {
            return self.pools.take(self.size, taking);
        }
        self.check(1)?;
        let taking = if self.beyond_min(1) == 0 { Taking::Reserved } else { Taking::Spare };
        let gfn = self.pools.take(self.size, taking)?;
        self.used.set(self.used.get() + 1);
        Ok(gfn)
    }

    /// Gives a page back.
    pub(super) fn give_back(&self, gfn: Gfn) {
        self.pools.give_back(self.size, gfn);
        self.used.set(self.used.get() - 1);
        if self.beyond_min(1) == 0 {
            // It was one of those set aside, and is so again: there is one free, just given back.
            let reserved = self.pools.reserve(self.size, 1);
            debug_assert!(reserved.is_ok(), "a page that was given back can be reserved");
        }
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        self.pools.unreserve(self.size, self.min.saturating_sub(self.used.get()));
    }
}
