//! What the accounting needs from the machine. The real guest implements it, and so do the fakes
//! of the tests.

use crate::{Gfn, Gva, Kind, Pages, Tid};

/// Pages that a scan found in an address space: neighbours there, in neighbouring frames, of which
/// everything below is the same. All of it is what the guest says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScannedRun {
    /// Where the first page is mapped.
    pub gva: Gva,
    /// The frame mapped there.
    pub gfn: Gfn,
    /// How many pages there are, in memory or on swap.
    pub pages: Pages,
    /// What the guest's frame table says the frame is used for.
    pub kind: Kind,
    /// How many page-table entries of the whole guest map each of them.
    pub mapcount: u32,
    /// Whether they are locked in memory.
    pub is_locked: bool,
}

impl ScannedRun {
    /// Numbers of the first frame, and of the one after the last.
    pub(crate) const fn bounds(&self) -> (u64, u64) {
        (self.gfn.get(), self.gfn.get().saturating_add(self.pages.get()))
    }
}

/// Why an address space could not be scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// The task is gone, or has no address space.
    #[error("task {0} has no address space")]
    NoSuchTask(Tid),
    /// The guest's page tables make no sense.
    #[error("page tables of task {0} are broken")]
    Broken(Tid),
}

/// What became of a page that reclaim wanted to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evicted {
    /// Its content is on swap and its host page given back.
    Swapped,
    /// It was all zeroes: its host page is given back, and no swap slot holds it. Charged like a
    /// swapped page (Linux v6.12 mm/page_io.c, zeromap: a swap entry without content).
    Zero,
    /// Its content can be read from its file again, and its host page is given back. It is charged
    /// anew, to whoever touches it next.
    Dropped,
    /// It is locked in memory, and stays.
    Locked,
    /// It is needed just now, and stays: it is among the youngest from now on.
    Busy,
    /// Its content has nowhere to go: no swap, no free slot, or a device that fails. It stays.
    Failed,
}

/// The machine, as far as the accounting is concerned. The guest stands still during each call.
pub trait Guest {
    /// Visits the present pages of the address space of `tid` in address order, from `from` on, at
    /// most `pages_max` of them, those on swap included; returns where to go on, or `None` at the end.
    ///
    /// # Errors
    /// When the task is gone or its page tables are broken; pages may have been visited by then.
    fn scan(
        &mut self,
        tid: Tid,
        from: Gva,
        pages_max: u64,
        visit: &mut dyn FnMut(ScannedRun),
    ) -> Result<Option<Gva>, ScanError>;

    /// Makes the guest kill the process of `tid`.
    fn kill(&mut self, tid: Tid);

    /// Page tables of the address space of `tid`, in pages.
    fn page_tables(&mut self, tid: Tid) -> Pages {
        // A guest that cannot tell them from others need not say so.
        let _ = tid;
        Pages::ZERO
    }

    /// Gives back the host pages of user frames, once their content is safe; answers for each of
    /// `pages`, in their order. The accounting books what the answer says: nothing of it is to be
    /// called from here. Neighbours in the list are often neighbours in memory.
    fn evict(&mut self, pages: &[(Gfn, Kind)]) -> Vec<Evicted> {
        // A machine that cannot evict anything need not say so.
        vec![Evicted::Failed; pages.len()]
    }

    /// Makes the next touch of each frame known to [`crate::Memcg::note_touched`]. Content and charge
    /// stay.
    fn age(&mut self, gfns: &[Gfn]) {
        // A machine that never hears of touches evicts in the order of first touches.
        let _ = gfns;
    }

    /// How many pages could still be written to swap; without any, reclaim takes nothing but what
    /// can be dropped.
    fn swap_free(&self) -> Pages {
        // A machine without swap need not say so.
        Pages::ZERO
    }
}
