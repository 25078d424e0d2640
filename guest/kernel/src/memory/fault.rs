//! What happens when a program touches an address: a page is found for it, or a signal.

use vmcg_abi::frame::FrameKind;
use vmcg_abi::layout::PAGE_SIZE;

use super::area::{Area, Backing, Role};
use super::frames::RUN_MAX;
use super::space::Space;
use super::tables::{ACCESSED, DIRTY, Pte, USER, WRITABLE};
use crate::errno::Errno;
use crate::kmem::Shortage;
use crate::number::{Gfn, page_floor};
use crate::physical;

/// What was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    Execute,
}

/// Why there is no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing is mapped there (SIGSEGV, SEGV_MAPERR).
    NotMapped,
    /// It is, but not for this (SIGSEGV, SEGV_ACCERR).
    NotAllowed,
    /// The mapped file ends before it (SIGBUS, BUS_ADRERR).
    BeyondEnd,
    /// There is no huge page left, or the task's group may not have one (SIGBUS, BUS_ADRERR).
    NoHugePage,
    /// There is no frame left.
    NoMemory,
    /// A limit on kernel memory leaves no room for a page table.
    Refused,
}

impl From<Shortage> for Fault {
    fn from(shortage: Shortage) -> Self {
        match shortage {
            Shortage::Full => Self::NoMemory,
            Shortage::Refused => Self::Refused,
        }
    }
}

/// Bytes that one fault looks at: a run of frames.
const WINDOW: u64 = RUN_MAX as u64 * PAGE_SIZE;
/// Pages kept between a stack that grows and the area below it (Linux: stack_guard_gap).
const STACK_GAP: u64 = 256 * PAGE_SIZE;

impl Space {
    /// Makes the page at `gva` usable for `access`, if the areas allow it.
    pub(crate) fn fault(&mut self, gva: u64, access: Access) -> Result<(), Fault> {
        let gva = page_floor(gva);
        let (start, area) = match self.areas.find(gva) {
            Some((start, area)) => (start, area.clone()),
            None => self.grow_stack(gva)?,
        };
        let is_allowed = match access {
            Access::Read => area.rights.can_read,
            Access::Write => area.rights.can_write,
            Access::Execute => area.rights.can_execute,
        };
        if !is_allowed {
            return Err(Fault::NotAllowed);
        }
        if let Some(huge) = area.as_huge(start) {
            return self.fault_huge(gva, access, &huge);
        }
        let slot = self.tables.make_slot(gva)?;
        let pte = Pte(physical::word(slot));
        if pte.is_present() {
            return self.fault_present(slot, access, &area);
        }
        match &area.backing {
            Backing::Anon => self.fault_anon(gva, slot, start, &area),
            Backing::Object { .. } => self.fault_object(gva, start, access, &area),
        }
    }

    /// Lets the stack above `gva` grow down to it.
    fn grow_stack(&mut self, gva: u64) -> Result<(u64, Area), Fault> {
        let (start, area) = self.areas.at_or_above(gva).ok_or(Fault::NotMapped)?;
        let area = area.clone();
        let floor = area.end.saturating_sub(self.stack_max);
        let below_end = self.areas.below(start).map_or(0, |(_, lower)| lower.end);
        if area.role != Role::Stack || gva < floor || gva < below_end + STACK_GAP {
            return Err(Fault::NotMapped);
        }
        // Grown by whole windows, so that neighbours are mapped at once.
        let new_start = (gva / WINDOW * WINDOW).max(floor).max(below_end + STACK_GAP);
        self.areas.grow_down(start, page_floor(new_start));
        Ok((page_floor(new_start), area))
    }

    /// The page is there: a write to a page that is shared or was, or a change of rights.
    fn fault_present(&mut self, slot: u64, access: Access, area: &Area) -> Result<(), Fault> {
        let pte = Pte(physical::word(slot));
        let mut gfn = pte.gfn();
        let mut used = USER | ACCESSED;
        if access == Access::Write {
            used |= DIRTY;
            let entry = self.frames.entry(gfn);
            let is_own = entry.kind() == Some(FrameKind::Anon) && entry.mapcount() == 1;
            if !area.is_shared && !is_own {
                gfn = self.copy_on_write(gfn)?;
                if area.is_locked {
                    self.frames.lock(gfn);
                }
            }
        }
        let bits = self.bits(area, gfn);
        physical::set_word(slot, Pte::new(gfn, bits | used).0);
        Ok(())
    }

    /// A private copy of a mapped frame, mapped in its place.
    fn copy_on_write(&mut self, source: Gfn) -> Result<Gfn, Fault> {
        let copy = self.frames.allocate(FrameKind::Anon).ok_or(Fault::NoMemory)?;
        self.frames.mapped(copy);
        physical::copy_frame(source, copy);
        self.release_mapped(source);
        Ok(copy)
    }

    /// Maps the anonymous page, and its neighbours that have no page yet, untouched.
    fn fault_anon(&mut self, gva: u64, slot: u64, start: u64, area: &Area) -> Result<(), Fault> {
        let window = gva / WINDOW * WINDOW;
        let first = window.max(start);
        let last = (window + WINDOW).min(area.end);
        let slots = slot - (gva - first) / PAGE_SIZE * 8;
        let count = (last - first) / PAGE_SIZE;
        let has_room = !self.frames.is_scarce();
        let slot_at = |offset: u64| slots + offset * 8;
        let is_empty = |offset: u64| physical::word(slot_at(offset)) == 0;
        if has_room && (0..count).all(is_empty) {
            let len = usize::try_from(count).unwrap_or(RUN_MAX);
            if let Some(run) = self.frames.allocate_run(len, FrameKind::Anon) {
                for offset in 0..count {
                    self.map_new(slot_at(offset), Gfn(run.0 + offset), area, 0);
                }
                self.mark_used(slot);
                return Ok(());
            }
        }
        let gfn = self.frames.allocate(FrameKind::Anon).ok_or(Fault::NoMemory)?;
        self.map_new(slot, gfn, area, 0);
        self.mark_used(slot);
        for offset in 0..count {
            if has_room && is_empty(offset) {
                let Some(gfn) = self.frames.allocate(FrameKind::Anon) else { break };
                self.map_new(slot_at(offset), gfn, area, 0);
            }
        }
        Ok(())
    }

    /// Points an empty slot at a frame.
    fn map_new(&self, slot: u64, gfn: Gfn, area: &Area, extra_bits: u64) {
        self.frames.mapped(gfn);
        if area.is_locked {
            self.frames.lock(gfn);
        }
        let bits = self.bits(area, gfn) | extra_bits;
        physical::set_word(slot, Pte::new(gfn, bits).0);
    }

    /// The page is about to be used: spares the CPU a write.
    fn mark_used(&self, slot: u64) {
        let pte = physical::word(slot);
        let dirty = if pte & WRITABLE == 0 { 0 } else { DIRTY };
        physical::set_word(slot, pte | ACCESSED | dirty);
    }

    /// Maps a page of an object, and those neighbours that are in memory already.
    fn fault_object(
        &mut self,
        gva: u64,
        start: u64,
        access: Access,
        area: &Area,
    ) -> Result<(), Fault> {
        let Backing::Object { object, offset, .. } = &area.backing else {
            return Err(Fault::NotMapped);
        };
        let page_of = |gva: u64| (offset + (gva - start)) / PAGE_SIZE;
        let gfn = object.page(page_of(gva)).map_err(|errno| match errno {
            Errno::ENOMEM => Fault::NoMemory,
            _ => Fault::BeyondEnd,
        })?;
        let slot = self.tables.slot(gva).ok_or(Fault::NoMemory)?;
        if access == Access::Write && !area.is_shared {
            let copy = self.frames.allocate(FrameKind::Anon).ok_or(Fault::NoMemory)?;
            physical::copy_frame(gfn, copy);
            self.map_new(slot, copy, area, ACCESSED | DIRTY);
            return Ok(());
        }
        self.map_new(slot, gfn, area, ACCESSED);
        let window = gva / WINDOW * WINDOW;
        let mut neighbour = window.max(start);
        while neighbour < (window + WINDOW).min(area.end) {
            if let Some(slot) = self.tables.slot(neighbour)
                && physical::word(slot) == 0
                && let Some(gfn) = object.cached(page_of(neighbour))
            {
                self.map_new(slot, gfn, area, 0);
            }
            neighbour += PAGE_SIZE;
        }
        Ok(())
    }
}
