//! Address spaces: areas, the page tables made from them, and the frames these point at.

use alloc::rc::Rc;
use core::cell::RefCell;
use core::ops::Range;

use vmcg_abi::frame::FrameKind;
use vmcg_abi::layout::{PAGE_SIZE, TASK_END};

use super::area::{Area, Areas, Rights};
use super::frames::Frames;
use super::tables::{NO_EXECUTE, Pte, TABLE_SPAN, Tables, USER, WRITABLE};
use crate::errno::Errno;
use crate::kmem::{KmemId, Shortage};
use crate::number::Gfn;
use crate::physical;

/// An address space, shared by the tasks of a process and by a vforked child.
pub(crate) type SharedSpace = Rc<RefCell<Space>>;

/// Lowest address a program may map (Linux: vm.mmap_min_addr).
pub(crate) const LOWEST: u64 = 0x1_0000;
/// Areas a space may have (Linux: vm.max_map_count).
pub(crate) const AREAS_MAX: usize = 65530;

/// An address space.
#[derive(Debug)]
pub(crate) struct Space {
    pub(crate) frames: Frames,
    pub(crate) tables: Tables,
    pub(crate) areas: Areas,
    /// Where brk starts and where it stands.
    pub(crate) heap: Range<u64>,
    /// Mappings without a wish go below this address.
    pub(crate) mmap_top: u64,
    /// How far down a stack may grow, in bytes (RLIMIT_STACK).
    pub(crate) stack_max: u64,
    /// Bytes that areas may take in all (RLIMIT_AS).
    pub(crate) total_max: u64,
    /// mlockall(MCL_FUTURE) was called.
    pub(crate) locks_future: bool,
    /// Where arguments and environment lie, for /proc.
    pub(crate) arguments: Range<u64>,
}

impl Space {
    /// An empty space.
    pub(crate) fn new(frames: &Frames) -> Result<Self, Shortage> {
        Ok(Self {
            tables: Tables::new(frames)?,
            frames: frames.clone(),
            areas: Areas::default(),
            heap: 0..0,
            mmap_top: TASK_END,
            stack_max: 8 << 20,
            total_max: u64::MAX,
            locks_future: false,
            arguments: 0..0,
        })
    }

    /// Bytes of memory that its page tables point at.
    pub(crate) fn resident(&self) -> u64 {
        let mut pages = 0;
        for (start, area) in self.areas.iter() {
            self.tables.for_each(start, area.end, &mut |_, _| pages += 1);
        }
        pages * PAGE_SIZE
    }

    /// Bytes of huge pages that they point at.
    pub(crate) fn resident_huge(&self) -> u64 {
        let huge = self.areas.iter().filter_map(|(start, area)| {
            let bytes = area.huge_size()?.bytes();
            let pages = (start..area.end).step_by(usize::try_from(bytes).ok()?);
            let mapped = pages.filter(|gva| self.tables.huge_slot(*gva).is_some());
            Some(mapped.count() as u64 * bytes)
        });
        huge.sum()
    }

    /// Page-table bits, but for the frame, that an area's rights allow for `gfn`.
    pub(crate) fn bits(&self, area: &Area, gfn: Gfn) -> u64 {
        let mut bits = 0;
        let entry = self.frames.entry(gfn);
        let is_own = entry.kind() == Some(FrameKind::Anon) && entry.mapcount() <= 1;
        if area.rights.can_write && (area.is_shared || is_own) {
            bits |= WRITABLE;
        }
        if !area.rights.can_execute {
            bits |= NO_EXECUTE;
        }
        bits
    }

    /// Removes the mappings of a range of pages; frames nobody else has are given back.
    pub(crate) fn unmap_pages(&self, range: &Range<u64>) {
        self.tables.for_each(range.start, range.end, &mut |_, slot| {
            let pte = Pte(physical::word(slot));
            physical::set_word(slot, 0);
            self.release_mapped(pte.gfn());
        });
    }

    /// A page-table entry no longer points at a frame.
    pub(crate) fn release_mapped(&self, gfn: Gfn) {
        let left = self.frames.unmapped(gfn);
        if left == 0 && self.frames.entry(gfn).kind() == Some(FrameKind::Anon) {
            self.frames.release(gfn);
        }
    }

    /// Removes a range: areas and pages.
    pub(crate) fn unmap(&mut self, range: &Range<u64>) {
        if self.areas.is_free(range) {
            return;
        }
        for (start, area) in self.areas.take(range) {
            self.unmap_huge(start, &area, range);
        }
        self.areas.trim();
        self.unmap_pages(range);
    }

    /// Adds an area in place of whatever is there.
    pub(crate) fn map_at(&mut self, start: u64, area: Area) -> Result<(), Errno> {
        self.check_room(area.end - start)?;
        self.check_cut(&(start..area.end))?;
        self.make_tables(&(start..area.end))?;
        self.unmap(&(start..area.end));
        self.areas.insert(start, area);
        Ok(())
    }

    /// Makes the page tables of a short range where somebody is charged for them: so a limit is met by
    /// mmap, brk, fork or exec, which can fail, rather than by a touch, which would have to wait.
    pub(crate) fn make_tables(&mut self, range: &Range<u64>) -> Result<(), Shortage> {
        /// What one library takes; of longer ranges only a part may ever be touched.
        const SHORT: u64 = 4 * TABLE_SPAN;
        if self.frames.kmem().payer() == KmemId::NOBODY || range.end - range.start > SHORT {
            return Ok(());
        }
        let mut gva = range.start;
        while gva < range.end {
            self.tables.make_slot(gva)?;
            gva = (gva / TABLE_SPAN + 1) * TABLE_SPAN;
        }
        Ok(())
    }

    /// Whether `len` more bytes of areas are allowed.
    pub(crate) fn check_room(&mut self, len: u64) -> Result<(), Errno> {
        let is_full = self.areas.len() >= AREAS_MAX || crate::heap::is_short();
        if is_full || self.areas.total().saturating_add(len) > self.total_max {
            return Err(Errno::ENOMEM);
        }
        Ok(self.areas.reserve(&self.frames)?)
    }

    /// Makes sure that an area can be split where a range is to be removed from its middle.
    pub(crate) fn check_split(&mut self, range: &Range<u64>) -> Result<(), Errno> {
        if self.areas.splits(range) { self.check_room(0) } else { Ok(()) }
    }

    /// A free place for `len` bytes at a multiple of `align`.
    pub(crate) fn find_aligned(&mut self, len: u64, align: u64) -> Result<u64, Errno> {
        let spare = align - PAGE_SIZE;
        let start = self.find_free(len.checked_add(spare).ok_or(Errno::ENOMEM)?)?;
        Ok(start.next_multiple_of(align))
    }

    /// A free place for `len` bytes.
    pub(crate) fn find_free(&mut self, len: u64) -> Result<u64, Errno> {
        let top = self.mmap_top;
        self.areas
            .find_free(len, &(LOWEST..top))
            .or_else(|| self.areas.find_free(len, &(LOWEST..TASK_END)))
            .ok_or(Errno::ENOMEM)
    }

    /// Changes the rights of a range that is mapped all through.
    pub(crate) fn protect(&mut self, range: &Range<u64>, rights: Rights) -> Result<(), Errno> {
        self.check_mapped(range)?;
        let refuses = |area: &Area| rights.can_write && area.is_shared && !area.may_write;
        if self.areas_in(range).any(|(_, area)| refuses(area)) {
            return Err(Errno::EACCES);
        }
        self.check_room(0)?;
        self.check_cut(range)?;
        for (start, mut area) in self.areas.take(range) {
            area.rights = rights;
            let end = area.end;
            self.tables.for_each(start, end, &mut |_, slot| {
                self.protect_page(slot, &area);
            });
            self.protect_huge(start, &area);
            self.areas.insert(start, area);
        }
        Ok(())
    }

    fn protect_page(&self, slot: u64, area: &Area) {
        let pte = Pte(physical::word(slot));
        let mut bits = pte.0 & !(WRITABLE | NO_EXECUTE | USER) | self.bits(area, pte.gfn());
        if area.rights.can_read {
            bits |= USER;
        }
        physical::set_word(slot, bits);
    }

    /// The areas that meet a range.
    pub(crate) fn areas_in(&self, range: &Range<u64>) -> impl Iterator<Item = (u64, &Area)> {
        self.areas.meeting(range)
    }

    /// ENOMEM unless every page of the range is mapped.
    pub(crate) fn check_mapped(&self, range: &Range<u64>) -> Result<(), Errno> {
        let mut gva = range.start;
        while gva < range.end {
            let (_, area) = self.areas.find(gva).ok_or(Errno::ENOMEM)?;
            gva = area.end;
        }
        Ok(())
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        for (start, area) in self.areas.iter() {
            self.unmap_pages(&(start..area.end));
            self.unmap_huge(start, area, &(start..area.end));
        }
    }
}
