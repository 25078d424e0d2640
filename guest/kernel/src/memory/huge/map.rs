//! Mapping huge pages: what is reserved, and for whom.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::ops::Range;

use vmcg_abi::layout::{PAGE_SIZE, TASK_END};

use super::super::area::Area;
use super::super::remap::Move;
use super::super::space::{LOWEST, Space};
use super::super::tables::{ACCESSED, DIRTY, NO_EXECUTE, Pte, USER, WRITABLE};
use super::{Claim, HugeFile, HugePools, HugeSize, Quota};
use crate::errno::Errno;
use crate::memory::area::Backing;
use crate::memory::frames::Frames;
use crate::memory::object::Object;
use crate::number::index;
use crate::physical;

/// Whether a mapping makes sure of its pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reserve {
    /// It does, and pays for them now.
    Now,
    /// It does not (MAP_NORESERVE): each page is paid for when it is touched.
    Later,
}

/// All huge pages, and the mounts that exist by themselves: for memory without a name.
#[derive(Debug)]
pub(crate) struct HugeMemory {
    pub(crate) pools: HugePools,
    unnamed: [Rc<Quota>; 2],
}

impl HugeMemory {
    /// The huge pages of a machine.
    pub(crate) fn new(pools: HugePools) -> Self {
        let unnamed = HugeSize::ALL.map(|size| Rc::new(Quota::unlimited(&pools, size)));
        Self { pools, unnamed }
    }

    /// What files without a name count against; `None` where the machine has no such pages.
    pub(crate) fn unnamed(&self, size: HugeSize) -> Option<&Rc<Quota>> {
        Some(&self.unnamed[size.place()]).filter(|_| self.pools.knows(size))
    }

    /// Memory of huge pages without a name.
    pub(crate) fn new_object(&self, frames: &Frames, size: HugeSize, len: u64) -> Option<Object> {
        Some(Object::new_huge(frames, HugeFile::new(self.unnamed(size)?), len))
    }
}

impl Area {
    /// What its addresses and its length are multiples of.
    pub(crate) fn page_bytes(&self) -> u64 {
        self.huge_size().map_or(PAGE_SIZE, HugeSize::bytes)
    }
}

impl Space {
    /// Adds an area of huge pages in place of whatever is there. ENOMEM where its pages are refused;
    /// what was there before is gone then, as in Linux.
    pub(crate) fn map_huge_at(
        &mut self,
        start: u64,
        area: Area,
        reserve: Reserve,
    ) -> Result<(), Errno> {
        let Backing::Object { object, offset, .. } = &area.backing else {
            return Err(Errno::EINVAL);
        };
        let (object, offset) = (object.clone(), *offset);
        let file = object.huge().ok_or(Errno::EINVAL)?;
        let len = area.end - start;
        self.check_room(len)?;
        self.check_cut(&(start..area.end))?;
        self.unmap(&(start..area.end));
        let bytes = file.size().bytes();
        let pages = offset / bytes..(offset + len) / bytes;
        let mut area = area;
        match (area.is_shared, reserve) {
            (true, Reserve::Now) => file.reserve(&pages)?,
            (true, Reserve::Later) => {}
            (false, Reserve::Now) => {
                area.claim = Some(Rc::new(Claim::reserve(file.quota(), &pages)?));
            }
            (false, Reserve::Later) => area.claim = Some(Rc::new(Claim::empty(file.quota()))),
        }
        // Linux v6.12 fs/hugetlbfs/inode.c, hugetlbfs_file_mmap: a file grows by being mapped.
        if area.rights.can_write && object.size() < offset + len {
            object.set_size(offset + len);
        }
        self.areas.insert(start, area);
        Ok(())
    }
}

impl Space {
    /// mremap of huge pages: they shrink and move, and never grow.
    ///
    /// Source: Linux v6.12 mm/mremap.c, "Don't allow remap expansion".
    pub(crate) fn remap_huge(
        &mut self,
        old: &Range<u64>,
        len: u64,
        to: Move,
    ) -> Result<u64, Errno> {
        let (start, area) = self.areas.find(old.start).ok_or(Errno::EFAULT)?;
        let bytes = area.page_bytes();
        let area_end = area.end;
        let old_len = (old.end - old.start).next_multiple_of(bytes);
        let len = len.checked_next_multiple_of(bytes).ok_or(Errno::EINVAL)?;
        let target = match to {
            Move::To(target) => target,
            Move::Never | Move::IfNeeded => old.start,
        };
        let is_aligned = old.start.is_multiple_of(bytes) && target.is_multiple_of(bytes);
        if !is_aligned || len > old_len {
            return Err(Errno::EINVAL);
        }
        let old = old.start..old.start + old_len;
        if old.end > area_end || start > old.start {
            return Err(Errno::EFAULT);
        }
        self.unmap(&(old.start + len..old.end));
        if target == old.start {
            return Ok(target);
        }
        let new = target..target.checked_add(len).ok_or(Errno::EINVAL)?;
        if target < LOWEST || new.end > TASK_END || (target < old.end && old.start < new.end) {
            return Err(Errno::EINVAL);
        }
        self.check_cut(&new)?;
        self.unmap(&new);
        self.move_huge(&(old.start..old.start + len), target, bytes)?;
        Ok(target)
    }

    /// Moves pages, then the areas.
    fn move_huge(&mut self, from: &Range<u64>, target: u64, bytes: u64) -> Result<(), Errno> {
        let moved = |gva: u64| target + (gva - from.start);
        let pages = || (from.start..from.end).step_by(index(bytes));
        for gva in pages().filter(|gva| self.tables.huge_slot(*gva).is_some()).collect::<Vec<_>>() {
            // Tables first: they are what can be refused.
            self.tables.make_upper_slot(moved(gva))?;
        }
        for gva in pages() {
            let Some(slot) = self.tables.huge_slot(gva) else { continue };
            let entry = Pte(physical::word(slot));
            let bits = entry.0 & (WRITABLE | USER | NO_EXECUTE | ACCESSED | DIRTY);
            if let Some(gfn) = self.tables.unmap_huge(gva, bytes) {
                self.tables.map_huge(moved(gva), bytes, (gfn, bits))?;
            }
        }
        for (start, area) in self.areas.take(from) {
            let end = moved(area.end);
            self.areas.insert(moved(start), Area { end, ..area });
        }
        Ok(())
    }
}
