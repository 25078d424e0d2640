//! Copying an address space: pages are shared until one side writes.
//!
//! A private page that was mapped by fault-around and never used (its accessed bit is clear) is
//! taken away from the parent instead: it holds zeros nobody has seen, both sides get a new one
//! when they touch it, and no page is copied - and charged - for nothing. The CPU sets the bit on
//! first use (SDM 3A 4.8), shadow paging does the same, and the kernel sets it when it goes through
//! the page tables itself.

use vmcg_abi::frame::FrameKind;
use vmcg_abi::layout::PAGE_SIZE;

use super::area::Area;
use super::space::Space;
use super::tables::{ACCESSED, DIRTY, Pte, TABLE_SPAN, WRITABLE};
use crate::kmem::Shortage;
use crate::physical;

impl Space {
    /// A copy; without room for it, this space still works as before.
    pub(crate) fn fork(&mut self) -> Result<Self, Shortage> {
        let mut copy = Self::new(&self.frames)?;
        copy.areas = self.areas.fork(&self.frames)?.with_own_claims();
        copy.heap = self.heap.clone();
        copy.mmap_top = self.mmap_top;
        copy.stack_max = self.stack_max;
        copy.total_max = self.total_max;
        copy.arguments = self.arguments.clone();
        for (start, area) in self.areas.iter() {
            copy.make_tables(&(start..area.end))?;
            copy.copy_pages(self, start, area)?;
            copy.copy_huge(self, start, area)?;
        }
        Ok(copy)
    }

    /// Maps the pages of one area of `parent`.
    fn copy_pages(&mut self, parent: &Space, start: u64, area: &Area) -> Result<(), Shortage> {
        let mut result = Ok(());
        let mut last_slot = None;
        parent.tables.for_each(start, area.end, &mut |gva, slot| {
            let pte = Pte(physical::word(slot));
            let is_anon = parent.frames.entry(pte.gfn()).kind() == Some(FrameKind::Anon);
            if result.is_err() {
                return;
            }
            if is_anon && !pte.is_accessed() && !area.is_shared {
                physical::set_word(slot, 0);
                parent.release_mapped(pte.gfn());
                return;
            }
            let own_slot = match self.slot_after(&mut last_slot, gva) {
                Ok(slot) => slot,
                Err(shortage) => {
                    result = Err(shortage);
                    return;
                }
            };
            parent.frames.mapped(pte.gfn());
            let mut bits = pte.0;
            if !area.is_shared && bits & WRITABLE != 0 {
                bits &= !WRITABLE;
                physical::set_word(slot, bits);
            }
            let keeps = if is_anon { ACCESSED } else { 0 };
            physical::set_word(own_slot, bits & !(ACCESSED | DIRTY) | keeps);
        });
        result
    }

    /// The slot for `gva`, found from the last one where both are in the same table.
    fn slot_after(&mut self, last: &mut Option<(u64, u64)>, gva: u64) -> Result<u64, Shortage> {
        let slot = match *last {
            Some((last_gva, last_slot)) if last_gva / TABLE_SPAN == gva / TABLE_SPAN => {
                last_slot + (gva - last_gva) / PAGE_SIZE * 8
            }
            _ => self.tables.make_slot(gva)?,
        };
        *last = Some((gva, slot));
        Ok(slot)
    }
}
