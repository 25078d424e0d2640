//! The frames of guest memory: which are free, what each is used for, how often it is mapped.
//!
//! A frame that was given back may be handed out again only after the host has taken it from the
//! free ring: then it is empty and charged to nobody.

use alloc::rc::Rc;
use core::cell::RefCell;
use core::ops::Range;

use vmcg_abi::frame::{FrameEntry, FrameKind};
use vmcg_abi::layout::{FREE_RING_GPA, FREE_RING_SLOTS};
use vmcg_abi::page::shared;

use super::frame_map::FrameMap;
use crate::kmem::{Kmem, KmemId, Shortage};
use crate::number::Gfn;
use crate::{host, physical};

/// A handle to the one set of frames; clones are the same set.
#[derive(Debug, Clone)]
pub(crate) struct Frames {
    inner: Rc<RefCell<Inner>>,
    kmem: Rc<Kmem>,
}

#[derive(Debug)]
struct Inner {
    map: FrameMap,
    /// Frames that are not handed out, those in the ring included.
    free: u64,
    total: u64,
    /// With no more free than this, neighbours of what is touched take none.
    scarce: u64,
    /// Frames that files in memory have, and may have.
    in_files: u64,
    in_files_max: u64,
    frame_table_gpa: u64,
    /// Frames pushed to the free ring so far.
    ring_head: u64,
    /// Frames that came back from the ring so far.
    ring_reused: u64,
}

/// Frames are few when this part of them is left.
const FEW: u64 = 16;
/// Frames a run handed out together can have: what one fault maps at once.
pub(crate) const RUN_MAX: usize = 16;

impl Frames {
    /// Manages the frames from `first` up to `end`, but for those set aside.
    pub(crate) fn new(frame_table_gpa: u64, first: Gfn, end: Gfn, aside: Range<u64>) -> Self {
        let managed = end.0 - first.0 - (aside.end - aside.start);
        let inner = Inner {
            map: FrameMap::new(first, end, aside),
            free: managed,
            total: managed,
            scarce: 0,
            in_files: 0,
            in_files_max: u64::MAX,
            frame_table_gpa,
            ring_head: 0,
            ring_reused: 0,
        };
        Self { inner: Rc::new(RefCell::new(inner)), kmem: Rc::new(Kmem::new()) }
    }

    /// Says how many frames memory and swap together have room for, and how many of them files in
    /// memory may have.
    pub(crate) fn plan(&self, room: u64, in_files_max: u64) {
        let mut inner = self.inner.borrow_mut();
        inner.scarce = room.min(inner.total / 4 * 3);
        inner.in_files_max = in_files_max;
    }

    /// Whether frames are to be handed out only where they are sure to be used: what is mapped around
    /// a fault takes none of those that memory and swap have room for.
    pub(crate) fn is_scarce(&self) -> bool {
        let inner = self.inner.borrow();
        inner.free <= inner.scarce
    }

    /// Whether so few are left that a file's pages, if they have so many, should give theirs up.
    pub(crate) fn is_nearly_out(&self) -> bool {
        let inner = self.inner.borrow();
        inner.free < inner.total / FEW
    }

    /// Whether giving up so many is worth it then.
    pub(crate) fn is_worth(&self, frames: u64) -> bool {
        frames >= self.inner.borrow().total / FEW
    }

    /// Hands out an empty frame for a file in memory; `None` also where these have their share.
    pub(crate) fn allocate_in_file(&self) -> Option<Gfn> {
        let is_full = self.file_room() == 0;
        let gfn = if is_full { None } else { self.allocate(FrameKind::Shmem) }?;
        self.inner.borrow_mut().in_files += 1;
        Some(gfn)
    }

    /// A file in memory gives up so many frames.
    pub(crate) fn left_file(&self, frames: u64) {
        self.inner.borrow_mut().in_files -= frames;
    }

    /// Frames that files in memory may still have.
    pub(crate) fn file_room(&self) -> u64 {
        let inner = self.inner.borrow();
        inner.in_files_max.saturating_sub(inner.in_files).min(inner.free)
    }

    /// Frames that files in memory may have in all.
    pub(crate) fn file_room_max(&self) -> u64 {
        self.inner.borrow().in_files_max
    }

    /// Hands out an empty frame; `None` when memory is full.
    pub(crate) fn allocate(&self, kind: FrameKind) -> Option<Gfn> {
        let mut inner = self.inner.borrow_mut();
        if let Some(gfn) = inner.find_or_drain() {
            inner.take(gfn, kind);
            return Some(gfn);
        }
        drop(inner);
        self.kmem.give_up_kept(self);
        let mut inner = self.inner.borrow_mut();
        let gfn = inner.find_or_drain()?;
        inner.take(gfn, kind);
        Some(gfn)
    }

    /// Who pays for kernel memory, and what it is used for.
    pub(crate) fn kmem(&self) -> &Kmem {
        &self.kmem
    }

    /// Hands out an empty frame that the current payer is charged for, if there is one.
    pub(crate) fn allocate_charged(&self, kind: FrameKind) -> Result<Gfn, Shortage> {
        let payer = self.kmem.payer();
        if payer == KmemId::NOBODY {
            return self.allocate(kind).ok_or(Shortage::Full);
        }
        self.allocate_for(payer, kind)
    }

    /// Hands out an empty frame that `payer` is charged for; one of page tables holds zeros.
    pub(crate) fn allocate_for(&self, payer: KmemId, kind: FrameKind) -> Result<Gfn, Shortage> {
        if let Some(gfn) = self.kmem.take_kept(payer, kind) {
            self.count_kept(-1);
            return Ok(gfn);
        }
        // First the frame: leave that is taken must be used.
        let gfn = self.allocate(kind).ok_or(Shortage::Full)?;
        if let Err(shortage) = self.kmem.take_leave(self, payer) {
            self.release(gfn);
            return Err(shortage);
        }
        let entry = FrameEntry::new(kind, 0).with_kmem(payer.0);
        self.set_entry(gfn, entry.with_mapcount(self.kmem.age()));
        physical::set_word(gfn.gpa(), 0);
        Ok(gfn)
    }

    /// Hands out up to `count` frames that lie side by side; `None` where no such run is at hand.
    pub(crate) fn allocate_run(&self, count: usize, kind: FrameKind) -> Option<Gfn> {
        let mut inner = self.inner.borrow_mut();
        let first = inner.find_run(count)?;
        for offset in 0..count as u64 {
            inner.take(Gfn(first.0 + offset), kind);
        }
        Some(first)
    }

    /// What a frame is used for, and how often it is mapped.
    pub(crate) fn entry(&self, gfn: Gfn) -> FrameEntry {
        FrameEntry(physical::word(self.inner.borrow().entry_gpa(gfn)))
    }

    /// Writes a frame's entry.
    pub(crate) fn set_entry(&self, gfn: Gfn, entry: FrameEntry) {
        physical::set_word(self.inner.borrow().entry_gpa(gfn), entry.0);
    }

    /// The frame is to stay in memory.
    pub(crate) fn lock(&self, gfn: Gfn) {
        self.set_entry(gfn, FrameEntry(self.entry(gfn).0 | u64::from(FrameEntry::LOCKED) << 8));
    }

    /// A page table now points at the frame.
    pub(crate) fn mapped(&self, gfn: Gfn) {
        let entry = self.entry(gfn);
        self.set_entry(gfn, entry.with_mapcount(entry.mapcount() + 1));
    }

    /// A page table no longer points at the frame; answers how many still do.
    pub(crate) fn unmapped(&self, gfn: Gfn) -> u32 {
        let entry = self.entry(gfn);
        let left = entry.mapcount().checked_sub(1).expect("an unmapped frame was mapped");
        self.set_entry(gfn, entry.with_mapcount(left));
        left
    }

    /// Gives a frame back.
    pub(crate) fn release(&self, gfn: Gfn) {
        self.inner.borrow_mut().release(gfn);
    }

    /// Gives a frame of page tables back, which holds zeros: it is kept if somebody pays for it.
    pub(crate) fn release_charged(&self, gfn: Gfn) {
        let entry = self.entry(gfn);
        match KmemId(entry.kmem()) {
            KmemId::NOBODY => self.release(gfn),
            payer if self.kmem.is_current(payer, entry.mapcount()) => {
                self.kmem.keep(self, (gfn, FrameKind::PageTable), payer);
            }
            _ => self.release(gfn),
        }
    }

    /// The host has taken a kept frame back by itself: it may be handed out again.
    pub(crate) fn came_back(&self, gfn: Gfn) {
        let mut inner = self.inner.borrow_mut();
        physical::set_word(inner.entry_gpa(gfn), FrameEntry::new(FrameKind::Free, 0).0);
        inner.map.give_back(gfn);
    }

    /// So many frames more are kept: they count as free.
    pub(crate) fn count_kept(&self, change: i64) {
        let mut inner = self.inner.borrow_mut();
        inner.free = inner.free.wrapping_add_signed(change);
        inner.count_in_use(-change);
    }
}

impl Inner {
    fn entry_gpa(&self, gfn: Gfn) -> u64 {
        self.frame_table_gpa + gfn.0 * 8
    }

    /// The lowest frame that may be handed out, the ring's at worst.
    fn find_or_drain(&mut self) -> Option<Gfn> {
        self.find().or_else(|| {
            self.drain_ring();
            self.find()
        })
    }

    /// The lowest frame that may be handed out.
    fn find(&mut self) -> Option<Gfn> {
        self.collect_ring();
        self.map.find()
    }

    /// A run of `count` frames within an aligned group of [`RUN_MAX`].
    fn find_run(&mut self, count: usize) -> Option<Gfn> {
        self.collect_ring();
        self.map.find_run(count)
    }

    fn take(&mut self, gfn: Gfn, kind: FrameKind) {
        self.map.take(gfn);
        self.free -= 1;
        physical::set_word(self.entry_gpa(gfn), FrameEntry::new(kind, 0).0);
        self.count_in_use(1);
    }

    fn release(&mut self, gfn: Gfn) {
        physical::set_word(self.entry_gpa(gfn), FrameEntry::new(FrameKind::Free, 0).0);
        if self.ring_head - self.ring_reused == FREE_RING_SLOTS {
            self.collect_ring();
        }
        if self.ring_head - self.ring_reused == FREE_RING_SLOTS {
            self.drain_ring();
        }
        let slot = self.ring_head % FREE_RING_SLOTS;
        let number = u32::try_from(gfn.0).expect("frame numbers fit the ring's slots");
        physical::set_half(FREE_RING_GPA + slot * 4, number);
        self.ring_head += 1;
        host::set_shared_word(shared::FREE_HEAD, self.ring_head);
        self.free += 1;
        self.count_in_use(-1);
    }

    fn count_in_use(&self, change: i64) {
        let frames = host::shared_word(shared::FRAMES_IN_USE).wrapping_add_signed(change);
        host::set_shared_word(shared::FRAMES_IN_USE, frames);
    }

    /// Asks the host to take everything from the ring, and collects it.
    fn drain_ring(&mut self) {
        host::drain_free();
        self.collect_ring();
    }

    /// Makes frames that the host has taken back available again.
    fn collect_ring(&mut self) {
        let tail = host::shared_word(shared::FREE_TAIL);
        while self.ring_reused < tail {
            let slot = self.ring_reused % FREE_RING_SLOTS;
            self.map.give_back(Gfn(u64::from(physical::half(FREE_RING_GPA + slot * 4))));
            self.ring_reused += 1;
        }
        host::set_shared_word(shared::FREE_REUSED, self.ring_reused);
    }
}
