//! Page tables of tasks: four levels, walked in software through the identity map.
//!
//! No TLB is ever flushed by hand: every way into and out of a task loads CR3.

use vmcg_abi::frame::FrameKind;
use vmcg_abi::layout::{PAGE_SIZE, TASK_TOP_GPA};

use super::frames::Frames;
use crate::kmem::Shortage;
use crate::number::{Gfn, PAGE_LEN};
use crate::physical;

/// Entry bits (SDM 3A 4.5.4).
pub(crate) const PRESENT: u64 = 1;
/// Writes are allowed.
pub(crate) const WRITABLE: u64 = 1 << 1;
/// Ring 3 may use it.
pub(crate) const USER: u64 = 1 << 2;
/// The page was used.
pub(crate) const ACCESSED: u64 = 1 << 5;
/// The page was written.
pub(crate) const DIRTY: u64 = 1 << 6;
/// No instruction is fetched from the page.
pub(crate) const NO_EXECUTE: u64 = 1 << 63;
const FRAME_MASK: u64 = 0x000f_ffff_ffff_f000;

/// Entries of a table.
const ENTRIES: u64 = 512;
/// Bytes of address space a last-level table spans.
pub(crate) const TABLE_SPAN: u64 = PAGE_SIZE * ENTRIES;

/// A page-table entry of the last level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pte(pub(crate) u64);

impl Pte {
    pub(crate) const EMPTY: Self = Self(0);

    pub(crate) const fn new(gfn: Gfn, bits: u64) -> Self {
        Self(gfn.gpa() | bits | PRESENT | USER)
    }

    pub(crate) const fn is_present(self) -> bool {
        self.0 & PRESENT != 0
    }

    pub(crate) const fn is_writable(self) -> bool {
        self.0 & WRITABLE != 0
    }

    pub(crate) const fn is_accessed(self) -> bool {
        self.0 & ACCESSED != 0
    }

    pub(crate) const fn gfn(self) -> Gfn {
        Gfn::of(self.0 & FRAME_MASK)
    }
}

/// A task's page tables. Dropped, they give their own frames back, not those they point at.
#[derive(Debug)]
pub(crate) struct Tables {
    frames: Frames,
    root: Gfn,
}

impl Tables {
    /// Empty tables.
    pub(crate) fn new(frames: &Frames) -> Result<Self, Shortage> {
        let root = frames.allocate_charged(FrameKind::PageTable)?;
        physical::set_word(root.gpa() + 511 * 8, TASK_TOP_GPA | PRESENT | WRITABLE | USER);
        Ok(Self { frames: frames.clone(), root })
    }

    /// Frame of the top table.
    pub(crate) fn root(&self) -> Gfn {
        self.root
    }

    /// The entry for an address; empty where there is no table.
    pub(crate) fn get(&self, gva: u64) -> Pte {
        self.slot(gva).map_or(Pte::EMPTY, |slot| Pte(physical::word(slot)))
    }

    /// Where the entry for an address lies, if its table exists.
    pub(crate) fn slot(&self, gva: u64) -> Option<u64> {
        let entry = Pte(physical::word(self.upper_slot(gva)?));
        (entry.is_present() && !entry.is_large()).then(|| slot_in(entry.gfn(), gva, 0))
    }

    /// Where the entry above the last level lies, if its table exists.
    pub(super) fn upper_slot(&self, gva: u64) -> Option<u64> {
        let mut table = self.root;
        for level in [3, 2] {
            let entry = Pte(physical::word(slot_in(table, gva, level)));
            if !entry.is_present() {
                return None;
            }
            table = entry.gfn();
        }
        Some(slot_in(table, gva, 1))
    }

    /// The same, with missing tables made and an empty table of small pages removed.
    pub(super) fn make_upper_slot(&mut self, gva: u64) -> Result<u64, Shortage> {
        let slot = match self.upper_slot(gva) {
            Some(slot) => slot,
            None => {
                self.make_slot(gva)?;
                self.upper_slot(gva).ok_or(Shortage::Full)?
            }
        };
        let entry = Pte(physical::word(slot));
        if entry.is_present() && !entry.is_large() {
            physical::set_word(slot, Pte::EMPTY.0);
            self.free_below(entry.gfn(), 0);
        }
        Ok(slot)
    }

    /// The same, with missing tables made.
    pub(crate) fn make_slot(&mut self, gva: u64) -> Result<u64, Shortage> {
        let mut table = self.root;
        for level in [3, 2, 1] {
            let slot = slot_in(table, gva, level);
            let entry = Pte(physical::word(slot));
            table = if entry.is_present() {
                entry.gfn()
            } else {
                let made = self.frames.allocate_charged(FrameKind::PageTable)?;
                physical::set_word(slot, Pte::new(made, WRITABLE).0);
                made
            };
        }
        Ok(slot_in(table, gva, 0))
    }

    /// Calls `visit` with the address and the slot of every present entry from `start` to `end`.
    pub(crate) fn for_each(&self, start: u64, end: u64, visit: &mut dyn FnMut(u64, u64)) {
        let mut gva = start;
        while gva < end {
            let table_end = (gva / TABLE_SPAN + 1) * TABLE_SPAN;
            if let Some(first) = self.slot(gva) {
                let mut slot = first;
                while gva < end.min(table_end) {
                    if Pte(physical::word(slot)).is_present() {
                        visit(gva, slot);
                    }
                    gva += PAGE_SIZE;
                    slot += 8;
                }
            }
            gva = self.skip_missing(table_end);
        }
    }

    /// The first address from `gva` on, at a table's start, that may have a table.
    fn skip_missing(&self, mut gva: u64) -> u64 {
        for (level, span) in [(3_u32, 1_u64 << 39), (2, 1 << 30)] {
            if self.has_entry(gva, level) {
                continue;
            }
            gva = (gva / span + 1) * span;
            break;
        }
        gva
    }

    /// Whether the tables have an entry for `gva` at `level`, counted from 0 at the leaves.
    fn has_entry(&self, gva: u64, level: u32) -> bool {
        let mut table = self.root;
        for upper in (level..=3).rev() {
            let entry = Pte(physical::word(slot_in(table, gva, upper)));
            if !entry.is_present() {
                return false;
            }
            table = entry.gfn();
        }
        true
    }

    fn free_below(&self, table: Gfn, level: u32) {
        let entries = if level == 3 { ENTRIES - 1 } else { ENTRIES };
        if level > 0 {
            for slot in 0..entries {
                let entry = Pte(physical::word(table.gpa() + slot * 8));
                if entry.is_present() && !(level == 1 && entry.is_large()) {
                    self.free_below(entry.gfn(), level - 1);
                }
            }
        }
        // Emptied by writes the hypervisor sees: it may keep shadows of these tables, and does not
        // notice when the host takes the frame back.
        physical::zero(table.gpa(), PAGE_LEN);
        self.frames.release_charged(table);
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        self.free_below(self.root, 3);
    }
}

/// Where the entry for `gva` lies in a table of `level`.
const fn slot_in(table: Gfn, gva: u64, level: u32) -> u64 {
    table.gpa() + (gva >> (12 + 9 * level)) % ENTRIES * 8
}
