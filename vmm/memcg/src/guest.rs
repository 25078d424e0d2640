//! What the accounting needs from the machine. The real guest implements it, and so do the fakes
//! of the tests.

use crate::{Gfn, GroupId, Gva, Kind, Memcg, Pages, Tid};

/// A page that a scan found in an address space. Everything in it is what the guest says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScannedPage {
    /// Where the page is mapped.
    pub gva: Gva,
    /// The frame mapped there.
    pub gfn: Gfn,
    /// What the guest's frame table says the frame is used for.
    pub kind: Kind,
    /// How many page-table entries of the whole guest map the frame.
    pub mapcount: u32,
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

/// The machine, as far as the accounting is concerned. The guest stands still during each call.
pub trait Guest {
    /// Visits the present pages of the address space of `tid` in address order, from `from` on, at
    /// most `pages_max` of them; returns where to go on, or `None` at the end.
    ///
    /// # Errors
    /// When the task is gone or its page tables are broken; pages may have been visited by then.
    fn scan(
        &mut self,
        tid: Tid,
        from: Gva,
        pages_max: u64,
        visit: &mut dyn FnMut(ScannedPage),
    ) -> Result<Option<Gva>, ScanError>;

    /// Number of pages the address space of `tid` has present; zero when there is no such task.
    fn resident(&mut self, tid: Tid) -> Pages;

    /// Makes the guest kill the process of `tid`.
    fn kill(&mut self, tid: Tid);

    /// Tries to free `wanted` pages of `group` and its descendants, uncharging them in `memcg`;
    /// returns how many it freed. Zero means that trying again is no use. Never kills anyone.
    fn reclaim(&mut self, memcg: &mut Memcg, group: GroupId, wanted: Pages) -> Pages {
        let (_, _, _) = (memcg, group, wanted);
        Pages::ZERO
    }
}
