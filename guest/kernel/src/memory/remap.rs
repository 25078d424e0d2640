//! mremap: growing, shrinking and moving a mapping.

use core::ops::Range;

use vmcg_abi::layout::{PAGE_SIZE, TASK_END};

use super::area::Area;
use super::space::{LOWEST, Space};
use super::tables::Pte;
use crate::errno::Errno;
use crate::physical;

/// Where a mapping that grows may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    /// It must stay.
    Never,
    /// Elsewhere if it cannot grow in place.
    IfNeeded,
    /// To this address, in place of what is there.
    To(u64),
}

impl Space {
    /// Changes the length of the mapping at `old` to `len`, a multiple of the page size.
    pub(crate) fn remap(&mut self, old: &Range<u64>, len: u64, to: Move) -> Result<u64, Errno> {
        let (_, area) = self.areas.find(old.start).ok_or(Errno::EFAULT)?;
        if area.huge_size().is_some() {
            return self.remap_huge(old, len, to);
        }
        if area.end < old.end {
            return Err(Errno::EFAULT);
        }
        let old_len = old.end - old.start;
        if let Move::To(target) = to {
            let end = target.checked_add(len).ok_or(Errno::EINVAL)?;
            let overlaps = target < old.end && old.start < end;
            if target % PAGE_SIZE != 0 || target < LOWEST || end > TASK_END || overlaps {
                return Err(Errno::EINVAL);
            }
            self.unmap(&(target..end));
            return self.move_to(old, target, len);
        }
        if len <= old_len {
            self.unmap(&(old.start + len..old.end));
            return Ok(old.start);
        }
        let is_whole_end = area.end == old.end;
        self.check_room(len - old_len)?;
        let grown = old.start..old.start + len;
        if is_whole_end && grown.end <= TASK_END && self.areas.is_free(&(old.end..grown.end)) {
            for (start, area) in self.areas.take(old) {
                self.areas.insert(start, Area { end: grown.end, ..area });
            }
            return Ok(old.start);
        }
        if to == Move::Never {
            return Err(Errno::ENOMEM);
        }
        let target = self.find_free(len)?;
        self.move_to(old, target, len)
    }

    /// Maps what a shared mapping shows once more, elsewhere: mremap of no bytes at all.
    pub(crate) fn map_again(&mut self, gva: u64, len: u64, to: Move) -> Result<u64, Errno> {
        let (start, area) = self.areas.find(gva).ok_or(Errno::EFAULT)?;
        if !area.is_shared || to == Move::Never {
            return Err(Errno::EINVAL);
        }
        let backing = area.backing.skip(gva - start);
        let area = Area { backing, ..area.clone() };
        let target = match to {
            Move::To(target) => {
                let end = target.checked_add(len).ok_or(Errno::EINVAL)?;
                if target % PAGE_SIZE != 0 || target < LOWEST || end > TASK_END {
                    return Err(Errno::EINVAL);
                }
                target
            }
            _ => self.find_free(len)?,
        };
        self.map_at(target, Area { end: target + len, ..area })?;
        Ok(target)
    }

    /// Moves a mapping's areas and pages to a free range of `len` bytes.
    fn move_to(&mut self, old: &Range<u64>, target: u64, len: u64) -> Result<u64, Errno> {
        let kept = old.start..old.end.min(old.start + len);
        self.unmap(&(kept.end..old.end));
        // Tables first: they are what can be refused.
        let mut gva = kept.start;
        while gva < kept.end {
            if self.tables.get(gva).is_present() {
                let place = target + (gva - kept.start);
                self.tables.make_slot(place)?;
            }
            gva += PAGE_SIZE;
        }
        for (start, area) in self.areas.take(&kept) {
            let is_last = area.end == kept.end;
            let end = if is_last { target + len } else { target + (area.end - kept.start) };
            self.areas.insert(target + (start - kept.start), Area { end, ..area });
        }
        let moved = |gva: u64| target + (gva - kept.start);
        self.tables.for_each(kept.start, kept.end, &mut |gva, slot| {
            if let Some(new_slot) = self.tables.slot(moved(gva)) {
                physical::set_word(new_slot, physical::word(slot));
                physical::set_word(slot, Pte::EMPTY.0);
            }
        });
        Ok(target)
    }
}
