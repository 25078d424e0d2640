//! A machine that has swap, and no guest.

use std::collections::BTreeSet;

use memcg::{Evicted, Gfn, Guest, Gva, Kind, Pages, ScanError, ScannedRun, Tid};

/// A machine whose swap has so many free slots.
#[derive(Debug, Default)]
pub(crate) struct Swapper {
    pub(crate) slots: u64,
    pub(crate) locked: BTreeSet<Gfn>,
    pub(crate) busy: BTreeSet<Gfn>,
    /// Pages of files that cannot be read again.
    pub(crate) lost: BTreeSet<Gfn>,
    pub(crate) evicted: Vec<Gfn>,
    /// Pages whose next touch was to be made known, and was not yet; in the order asked for.
    pub(crate) aged: Vec<Gfn>,
    /// How often it was asked.
    pub(crate) asked: u64,
}

impl Guest for Swapper {
    fn scan(
        &mut self,
        tid: Tid,
        _from: Gva,
        _pages_max: u64,
        _visit: &mut dyn FnMut(ScannedRun),
    ) -> Result<Option<Gva>, ScanError> {
        Err(ScanError::NoSuchTask(tid))
    }

    fn kill(&mut self, _tid: Tid) {}

    fn evict(&mut self, pages: &[(Gfn, Kind)]) -> Vec<Evicted> {
        self.asked += 1;
        pages.iter().map(|(gfn, kind)| self.evict_one(*gfn, *kind)).collect()
    }

    fn age(&mut self, gfns: &[Gfn]) {
        self.aged.extend(gfns);
    }

    fn swap_free(&self) -> Pages {
        Pages::new(self.slots)
    }
}

impl Swapper {
    fn evict_one(&mut self, gfn: Gfn, kind: Kind) -> Evicted {
        if self.locked.contains(&gfn) {
            return Evicted::Locked;
        }
        if self.busy.contains(&gfn) {
            return Evicted::Busy;
        }
        let is_dropped = kind == Kind::File && !self.lost.contains(&gfn);
        if !is_dropped && self.slots == 0 {
            return Evicted::Failed;
        }
        self.evicted.push(gfn);
        if is_dropped {
            return Evicted::Dropped;
        }
        self.slots -= 1;
        if gfn.get().is_multiple_of(5) { Evicted::Zero } else { Evicted::Swapped }
    }
}
