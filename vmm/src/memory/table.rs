//! The guest's frame table, as the host reads it.

use std::cell::Cell;

use memcg::Gfn;
use vm_memory::{VolatileArrayRef, VolatileMemory, VolatileSlice};
use vmcg_abi::frame::FrameEntry;
use vmcg_abi::layout::PAGE_SIZE;

use super::GuestMemory;

/// The guest's frame table: one entry a frame, kept by the guest.
pub(crate) struct FrameTable<'a> {
    memory: &'a GuestMemory,
    gpa: u64,
    slice: VolatileSlice<'a>,
    count: usize,
}

/// The entries of the frame table, for looking at many of them.
pub(crate) struct FrameEntries<'a> {
    memory: &'a GuestMemory,
    gpa: u64,
    entries: VolatileArrayRef<'a, u64>,
    /// The last page of the table that was found backed: neighbours are mostly looked up together.
    backed: Cell<u64>,
}

impl FrameTable<'_> {
    /// The entry of `gfn`; see [`FrameEntries::get`].
    pub(crate) fn entry(&self, gfn: Gfn) -> Option<FrameEntry> {
        self.entries()?.get(gfn)
    }

    /// All entries.
    pub(crate) fn entries(&self) -> Option<FrameEntries<'_>> {
        let entries = self.slice.get_array_ref(0, self.count).ok()?;
        Some(FrameEntries {
            memory: self.memory,
            gpa: self.gpa,
            entries,
            backed: Cell::new(u64::MAX),
        })
    }
}

impl FrameEntries<'_> {
    /// The entry of `gfn`, or `None` where there is no such frame or that part of the table has
    /// never been written. Never faults. Caller holds the accounting lock, so that no page of the
    /// table goes away meanwhile.
    #[inline]
    pub(crate) fn get(&self, gfn: Gfn) -> Option<FrameEntry> {
        let index = usize::try_from(gfn.get()).ok().filter(|&index| index < self.entries.len())?;
        let page = (self.gpa + gfn.get() * 8) / PAGE_SIZE;
        if self.backed.get() != page {
            if !self.memory.is_mapped(Gfn::new(page)) {
                return None;
            }
            self.backed.set(page);
        }
        Some(FrameEntry(self.entries.load(index)))
    }

    /// The entry of `gfn`, and how many frames from it on, at most `max`, have the same. They are in
    /// one page of the table.
    #[inline]
    pub(crate) fn alike(&self, gfn: Gfn, max: u64) -> Option<(FrameEntry, u64)> {
        let entry = self.get(gfn)?;
        let index = usize::try_from(gfn.get()).ok()?;
        let in_page = (PAGE_SIZE - (self.gpa + gfn.get() * 8) % PAGE_SIZE) / 8;
        let most = usize::try_from(max.min(in_page)).unwrap_or(usize::MAX);
        let end = self.entries.len().min(index.saturating_add(most));
        let same =
            (index + 1..end).take_while(|index| self.entries.load(*index) == entry.0).count();
        Some((entry, same as u64 + 1))
    }
}

impl GuestMemory {
    /// The guest's frame table, which begins at `gpa`; `None` when that cannot be.
    pub(crate) fn frame_table(&self, gpa: u64) -> Option<FrameTable<'_>> {
        let slice = self.slice(gpa, self.frames().checked_mul(8)?).ok()?;
        let count = usize::try_from(self.frames()).ok()?;
        Some(FrameTable { memory: self, gpa, slice, count })
    }
}
