//! Empty frames that groups are charged for: a few are kept for whoever of the group needs one next,
//! backed and charged, so that a program that makes and drops the same objects over and over neither
//! asks the host nor faults.
//!
//! They lie in the shared page ([`shared::KMEM_KEPT`]), from where the host takes them back without a
//! word when usage is read, a limit is lowered or reached, or a group is removed: what is shown is
//! what is used. Which frame lies in which place is remembered here, and compared.

use alloc::collections::BTreeMap;

use vmcg_abi::frame::FrameKind;
use vmcg_abi::layout::SHARED_GPA;
use vmcg_abi::page::shared;

use super::KmemId;
use crate::memory::frames::Frames;
use crate::number::Gfn;
use crate::{host, physical};

/// An empty frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeptFrame {
    pub(crate) gfn: Gfn,
    /// What it is charged as; one of page tables holds zeros.
    pub(crate) kind: FrameKind,
    pub(crate) payer: KmemId,
}

/// Every frame that is kept, and those that the host has taken back since.
#[derive(Debug)]
pub(crate) struct Kept {
    slots: [Option<KeptFrame>; shared::KMEM_KEPT_SLOTS],
    /// The slot to be emptied next when all are in use.
    next: usize,
    /// How many groups have gone.
    age: u32,
    /// The age at which ids last lost their group.
    gone: BTreeMap<KmemId, u32>,
}

impl Kept {
    /// None.
    pub(crate) const fn new() -> Self {
        Self { slots: [None; shared::KMEM_KEPT_SLOTS], next: 0, age: 0, gone: BTreeMap::new() }
    }

    /// Takes a frame out.
    pub(crate) fn take(&mut self, payer: KmemId, kind: FrameKind) -> Option<Gfn> {
        let is_wanted = |kept: &KeptFrame| kept.payer == payer && kept.kind == kind;
        for (slot, place) in self.slots.iter_mut().enumerate() {
            let Some(kept) = place.filter(is_wanted) else { continue };
            if take_word(slot, kept.gfn) {
                *place = None;
                return Some(kept.gfn);
            }
        }
        None
    }

    /// Puts a frame in; another one is given back for it where there is no place.
    pub(crate) fn put(&mut self, frames: &Frames, kept: KeptFrame) {
        let Some(slot) = self.find_place(frames) else { return frames.release(kept.gfn) };
        self.slots[slot] = Some(kept);
        frames.count_kept(1);
        host::set_shared_word(shared::KMEM_KEPT + slot, kept.gfn.0);
    }

    /// Gives those frames back whose payer is among those asked for.
    pub(crate) fn flush(&mut self, frames: &Frames, is_meant: impl Fn(KmemId) -> bool) {
        for slot in 0..self.slots.len() {
            if self.slots[slot].is_some_and(|kept| is_meant(kept.payer)) {
                self.empty(frames, slot);
            }
        }
    }

    /// A group is gone: its frames are given back, now and later.
    pub(crate) fn forget(&mut self, frames: &Frames, id: KmemId) {
        self.flush(frames, |payer| payer == id);
        self.age = self.age.wrapping_add(1);
        self.gone.insert(id, self.age);
    }

    /// How many groups have gone.
    pub(crate) fn age(&self) -> u32 {
        self.age
    }

    /// Whether the group that had an id at an age still has it.
    pub(crate) fn is_current(&self, id: KmemId, age: u32) -> bool {
        self.gone.get(&id).is_none_or(|gone| age >= *gone)
    }

    /// A slot without a frame.
    fn find_place(&mut self, frames: &Frames) -> Option<usize> {
        if let Some(slot) = self.slots.iter().position(Option::is_none) {
            return Some(slot);
        }
        let slot = self.next;
        self.next = (slot + 1) % self.slots.len();
        self.empty(frames, slot).then_some(slot)
    }

    /// Empties a slot; false while the host is about to.
    fn empty(&mut self, frames: &Frames, slot: usize) -> bool {
        let Some(kept) = self.slots[slot] else { return true };
        if take_word(slot, kept.gfn) {
            frames.count_kept(-1);
            frames.release(kept.gfn);
        } else if host::shared_word(shared::KMEM_KEPT + slot) == 0 {
            frames.came_back(kept.gfn);
        } else {
            return false;
        }
        self.slots[slot] = None;
        true
    }
}

/// Takes a frame's number out of a slot, if the host has not.
fn take_word(slot: usize, gfn: Gfn) -> bool {
    physical::take_value(SHARED_GPA + (shared::KMEM_KEPT + slot) as u64 * 8, gfn.0)
}
