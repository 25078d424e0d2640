//! Huge pages of an address space: touched, unmapped, copied at a fork.

use core::ops::Range;

use alloc::rc::Rc;

use super::super::area::{Area, Backing};
use super::super::fault::{Access, Fault};
use super::super::space::Space;
use super::super::tables::{ACCESSED, DIRTY, NO_EXECUTE, Pte, USER, WRITABLE};
use super::{Claim, HugeFile, HugeSize, Quota};
use crate::errno::Errno;
use crate::kmem::Shortage;
use crate::number::{Gfn, index};
use crate::physical;

/// A huge area and what is behind it.
pub(crate) struct HugeArea<'a> {
    start: u64,
    area: &'a Area,
    file: &'a HugeFile,
    /// Bytes of the file.
    end: u64,
    offset: u64,
}

impl Area {
    /// The area as one of huge pages, if it is.
    pub(crate) fn as_huge(&self, start: u64) -> Option<HugeArea<'_>> {
        let Backing::Object { object, offset, .. } = &self.backing else { return None };
        let file = object.huge()?;
        Some(HugeArea { start, area: self, file, end: object.size(), offset: *offset })
    }

    /// Size of its pages, if they are huge.
    pub(crate) fn huge_size(&self) -> Option<HugeSize> {
        Some(self.as_huge(0)?.file.size())
    }
}

impl HugeArea<'_> {
    fn size(&self) -> HugeSize {
        self.file.size()
    }

    /// What its pages count against.
    pub(crate) fn quota(&self) -> &Rc<Quota> {
        self.file.quota()
    }

    /// The page of the file that an address maps.
    fn page_of(&self, gva: u64) -> u64 {
        (self.offset + (gva - self.start)) / self.size().bytes()
    }

    /// The pages of the file that a part of the area maps.
    fn pages(&self, range: &Range<u64>) -> Range<u64> {
        self.page_of(range.start)..self.page_of(range.end)
    }

    /// Addresses of the pages that lie wholly in a range.
    fn addresses(&self, range: &Range<u64>) -> impl Iterator<Item = u64> {
        let bytes = self.size().bytes();
        let first = range.start.max(self.start).next_multiple_of(bytes);
        let last = range.end.min(self.area.end);
        (0..).map(move |n| first + n * bytes).take_while(move |gva| gva + bytes <= last)
    }

    fn claim(&self) -> Result<&Rc<Claim>, Errno> {
        self.area.claim.as_ref().ok_or(Errno::ENOMEM)
    }

    /// Whether a frame is the file's, so that private mappings must not write it.
    fn is_files(&self, gva: u64, gfn: Gfn) -> bool {
        self.file.cached(self.page_of(gva)) == Some(gfn)
    }
}

impl Space {
    /// Makes the huge page that holds `gva` usable for `access`, which the area's rights allow.
    pub(crate) fn fault_huge(
        &mut self,
        gva: u64,
        access: Access,
        huge: &HugeArea<'_>,
    ) -> Result<(), Fault> {
        let gva = gva / huge.size().bytes() * huge.size().bytes();
        let page = huge.page_of(gva);
        if page >= huge.end / huge.size().bytes() {
            return Err(Fault::BeyondEnd);
        }
        let mapped = self.tables.huge_slot(gva).map(|slot| Pte(physical::word(slot)).gfn());
        // First the table: refused, the fault is made again, and finds the page still reserved.
        self.tables.make_upper_slot(gva)?;
        let refused = |_| Fault::NoHugePage;
        let (gfn, is_own) = if huge.area.is_shared {
            (huge.file.page(page).map_err(refused)?, true)
        } else {
            let source = mapped.or_else(|| huge.file.cached(page));
            match source {
                None => (huge.claim().and_then(|claim| claim.take(page)).map_err(refused)?, true),
                Some(gfn) if access != Access::Write => (gfn, self.is_alone(huge, gva, gfn)),
                Some(gfn) if mapped.is_some() && self.is_alone(huge, gva, gfn) => (gfn, true),
                Some(gfn) => {
                    let copy = huge.claim().and_then(|claim| claim.take(page)).map_err(refused)?;
                    physical::copy(gfn.gpa(), copy.gpa(), index(huge.size().bytes()));
                    (copy, true)
                }
            }
        };
        self.map_huge_page(gva, (gfn, mapped), is_own, huge)
    }

    /// Points the tables at a page instead of the one that was mapped before.
    fn map_huge_page(
        &mut self,
        gva: u64,
        (gfn, before): (Gfn, Option<Gfn>),
        is_own: bool,
        huge: &HugeArea<'_>,
    ) -> Result<(), Fault> {
        let len = huge.size().bytes();
        let bits = huge_bits(huge.area, is_own) | ACCESSED | DIRTY;
        self.tables.map_huge(gva, len, (gfn, bits))?;
        if before != Some(gfn) {
            self.frames.mapped(gfn);
            if let Some(old) = before {
                self.drop_huge(huge, gva, old);
            }
        }
        Ok(())
    }

    /// Whether only this mapping has a private page.
    fn is_alone(&self, huge: &HugeArea<'_>, gva: u64, gfn: Gfn) -> bool {
        self.frames.entry(gfn).mapcount() == 1 && !huge.is_files(gva, gfn)
    }

    /// An entry no longer points at a page; true when the page itself is gone by that.
    fn drop_huge(&self, huge: &HugeArea<'_>, gva: u64, gfn: Gfn) -> bool {
        let is_last = self.frames.unmapped(gfn) == 0 && !huge.is_files(gva, gfn);
        if is_last {
            huge.file.quota().give_back(gfn);
        }
        is_last
    }

    /// Removes the huge pages of a range that is no longer to be mapped, and what was reserved for it.
    pub(crate) fn unmap_huge(&self, start: u64, area: &Area, range: &Range<u64>) {
        let Some(huge) = area.as_huge(start) else { return };
        let len = huge.size().bytes();
        for gva in huge.addresses(range) {
            if let Some(gfn) = self.tables.unmap_huge(gva, len) {
                self.drop_huge(&huge, gva, gfn);
            }
        }
        if let Some(claim) = &area.claim {
            claim.release(&huge.pages(&(range.start.max(start)..range.end.min(area.end))));
        }
    }

    /// Removes the huge pages of a range that stays mapped: what is private starts anew.
    pub(crate) fn discard_huge(&self, start: u64, area: &Area, range: &Range<u64>) {
        let Some(huge) = area.as_huge(start) else { return };
        let len = huge.size().bytes();
        for gva in huge.addresses(range) {
            let Some(gfn) = self.tables.unmap_huge(gva, len) else { continue };
            let is_last = self.frames.unmapped(gfn) == 0 && !huge.is_files(gva, gfn);
            match &area.claim {
                Some(claim) if is_last => claim.put(huge.page_of(gva), gfn),
                _ if is_last => huge.file.quota().give_back(gfn),
                _ => {}
            }
        }
    }

    /// Gives the rights of an area to the huge pages in it.
    pub(crate) fn protect_huge(&self, start: u64, area: &Area) {
        let Some(huge) = area.as_huge(start) else { return };
        for gva in huge.addresses(&(start..area.end)) {
            let Some(slot) = self.tables.huge_slot(gva) else { continue };
            let gfn = Pte(physical::word(slot)).gfn();
            let is_own = area.is_shared || self.is_alone(&huge, gva, gfn);
            let user = if area.rights.can_read { USER } else { 0 };
            let bits = huge_bits(area, is_own) | user;
            self.tables.protect_huge(gva, huge.size().bytes(), bits);
        }
    }

    /// Maps the private huge pages of an area of `parent`, which neither side may write in place any
    /// more. Shared ones are found in their file.
    pub(crate) fn copy_huge(
        &mut self,
        parent: &Self,
        start: u64,
        area: &Area,
    ) -> Result<(), Shortage> {
        let Some(huge) = area.as_huge(start).filter(|_| !area.is_shared) else { return Ok(()) };
        let len = huge.size().bytes();
        for gva in huge.addresses(&(start..area.end)) {
            let Some(slot) = parent.tables.huge_slot(gva) else { continue };
            let entry = Pte(physical::word(slot));
            let bits = entry.0 & (USER | NO_EXECUTE) | ACCESSED;
            self.tables.map_huge(gva, len, (entry.gfn(), bits))?;
            self.frames.mapped(entry.gfn());
            parent.tables.protect_huge(gva, len, bits & (USER | NO_EXECUTE));
        }
        Ok(())
    }

    /// EINVAL where a range begins or ends in the middle of a huge page.
    pub(crate) fn check_cut(&self, range: &Range<u64>) -> Result<(), Errno> {
        let cuts = |gva: u64| {
            let Some((start, area)) = self.areas.find(gva) else { return false };
            start != gva && area.huge_size().is_some_and(|size| !gva.is_multiple_of(size.bytes()))
        };
        if cuts(range.start) || cuts(range.end) { Err(Errno::EINVAL) } else { Ok(()) }
    }
}

/// Page-table bits that an area's rights allow for a page.
fn huge_bits(area: &Area, is_own: bool) -> u64 {
    let write = if area.rights.can_write && is_own { WRITABLE } else { 0 };
    let execute = if area.rights.can_execute { 0 } else { NO_EXECUTE };
    write | execute
}
