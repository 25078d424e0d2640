//! Huge pages in the page tables: entries one level up. A page of 1 GiB is 512 of them, so that no
//! larger pages have to be known to the CPU.

use vmcg_abi::layout::PAGE_SIZE;

use super::super::tables::{Pte, TABLE_SPAN, Tables, USER, WRITABLE};
use crate::kmem::Shortage;
use crate::number::Gfn;
use crate::physical;

/// Entry bit: the entry maps memory instead of a table (SDM 3A 4.5.4).
pub(crate) const LARGE: u64 = 1 << 7;

impl Pte {
    /// Whether an entry above the last level maps memory.
    pub(crate) const fn is_large(self) -> bool {
        self.0 & LARGE != 0
    }
}

impl Tables {
    /// Where the entry of the huge page at an address lies, if one is mapped there.
    pub(crate) fn huge_slot(&self, gva: u64) -> Option<u64> {
        let slot = self.upper_slot(gva)?;
        let entry = Pte(physical::word(slot));
        (entry.is_present() && entry.is_large()).then_some(slot)
    }

    /// Guest-physical address of a byte of a huge page that programs may read, and write if need be.
    pub(crate) fn huge_gpa(&self, gva: u64, must_write: Writing) -> Option<u64> {
        let entry = Pte(physical::word(self.huge_slot(gva)?));
        let allows = entry.0 & USER != 0 && (must_write == Writing::No || entry.is_writable());
        allows.then(|| entry.gfn().gpa() + gva % TABLE_SPAN / PAGE_SIZE * PAGE_SIZE)
    }

    /// Maps `len` bytes of contiguous frames at an address, in place of what huge pages are there;
    /// refused, nothing is mapped.
    pub(crate) fn map_huge(
        &mut self,
        gva: u64,
        len: u64,
        (gfn, bits): (Gfn, u64),
    ) -> Result<(), Shortage> {
        let first = self.make_upper_slot(gva)?;
        for offset in 0..len / TABLE_SPAN {
            let gfn = Gfn(gfn.0 + offset * (TABLE_SPAN / PAGE_SIZE));
            physical::set_word(first + offset * 8, Pte::new(gfn, bits | LARGE).0);
        }
        Ok(())
    }

    /// Removes what [`Tables::map_huge`] mapped; answers the first frame, if anything was mapped.
    pub(crate) fn unmap_huge(&self, gva: u64, len: u64) -> Option<Gfn> {
        let first = self.huge_slot(gva)?;
        let gfn = Pte(physical::word(first)).gfn();
        for offset in 0..len / TABLE_SPAN {
            physical::set_word(first + offset * 8, Pte::EMPTY.0);
        }
        Some(gfn)
    }

    /// Changes the rights of the huge page at an address, where one is mapped.
    pub(crate) fn protect_huge(&self, gva: u64, len: u64, rights: u64) {
        let Some(first) = self.huge_slot(gva) else { return };
        for offset in 0..len / TABLE_SPAN {
            let slot = first + offset * 8;
            let kept = physical::word(slot) & !(WRITABLE | super::super::tables::NO_EXECUTE | USER);
            physical::set_word(slot, kept | rights);
        }
    }
}

/// Whether a page must be writable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writing {
    /// It is about to be written.
    Yes,
    /// It is only read.
    No,
}
