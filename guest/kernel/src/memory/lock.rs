//! Making pages present ahead of use, and keeping them in memory.

use core::ops::Range;

use vmcg_abi::frame::FrameEntry;

use super::area::{Area, Backing};
use super::fault::Access;
use super::space::Space;
use super::tables::{ACCESSED, Pte};
use super::user::check_granted;
use crate::physical;

/// Whether pages are kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    /// They are, and are made present now.
    Locked,
    /// They need not be.
    Free,
}

impl Space {
    /// Makes the pages of a range present, as far as rights and memory allow, and touches them.
    pub(crate) fn populate(&mut self, range: &Range<u64>) {
        let mut gva = range.start;
        while gva < range.end {
            let Some((_, area)) = self.areas.find(gva) else { return };
            let access = match area {
                Area { rights, .. } if rights.can_write && !is_shared_file(area) => Access::Write,
                _ => Access::Read,
            };
            let page_bytes = area.page_bytes();
            if self.fault(gva, access).is_err() {
                return;
            }
            if let Some(slot) = self.tables.slot(gva) {
                let pte = Pte(physical::word(slot));
                // The touch itself: the host backs the frame, and charges it, now.
                physical::set_word(slot, pte.0 | ACCESSED);
                physical::set_word(pte.gfn().gpa(), physical::word(pte.gfn().gpa()));
            }
            if check_granted().is_err() {
                return;
            }
            gva = (gva / page_bytes + 1) * page_bytes;
        }
    }

    /// Locks or unlocks a range that is mapped all through.
    pub(crate) fn set_locked(&mut self, range: &Range<u64>, lock: Lock) {
        // Refused, the parts of a split area are charged to nobody: locking has nothing to refuse.
        let _ = self.areas.reserve(&self.frames);
        for (start, mut area) in self.areas.take(range) {
            area.is_locked = lock == Lock::Locked;
            self.areas.insert(start, area);
        }
        if lock == Lock::Locked {
            self.populate(range);
        }
        self.tables.for_each(range.start, range.end, &mut |_, slot| {
            let gfn = Pte(physical::word(slot)).gfn();
            let entry = self.frames.entry(gfn).0 & !(u64::from(FrameEntry::LOCKED) << 8);
            let flag = if lock == Lock::Locked { FrameEntry::LOCKED } else { 0 };
            self.frames.set_entry(gfn, FrameEntry(entry | u64::from(flag) << 8));
        });
    }
}

/// Whether writes would have to reach a file.
fn is_shared_file(area: &Area) -> bool {
    area.is_shared && matches!(&area.backing, Backing::Object { object, .. } if !object.is_shmem())
}
