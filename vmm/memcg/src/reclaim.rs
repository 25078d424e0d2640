//! Reclaim: taking pages from a group and those that charge to it, so that others fit.
//!
//! A call does a bounded amount of work and says whether another could do more; where it stopped is
//! kept, so that the next one goes on from there.

use crate::frames::Flag;
use crate::{Evicted, Gfn, GroupId, Guest, Kind, Memcg, Pages, Resource};

/// What a call of [`Memcg::reclaim`] may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// The counter that is to shrink. Swapping does not lower [`Resource::Memsw`], so for that only
    /// what can be dropped is taken.
    pub relieves: Resource,
    /// Most pages to look at in this call.
    pub scan_max: u64,
}

/// What a call of [`Memcg::reclaim`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Pages looked at.
    pub scanned: u64,
    /// Pages that the counter does not count any more.
    pub reclaimed: u64,
    /// Of these, pages that have gone to swap.
    pub swapped: u64,
    /// Nothing more can be had from these groups for now: trying again is no use.
    pub is_exhausted: bool,
}

/// Where the last call stopped.
#[derive(Debug, Default)]
pub(crate) struct Position {
    hand: u64,
}

impl Effort {
    /// Pages looked at in one call unless told otherwise.
    const SCAN_MAX: u64 = 128;

    /// The effort for a charge that this counter refused, or a limit of it that is to be lowered.
    #[must_use]
    pub const fn relieving(resource: Resource) -> Self {
        Self { relieves: resource, scan_max: Self::SCAN_MAX }
    }

    const fn may_swap(self) -> bool {
        matches!(self.relieves, Resource::Memory)
    }
}

impl Memcg {
    /// Takes `goal` pages from `group` and those that charge to it, if they can be had with this
    /// effort. The guest stands still, or waits for the answer to a fault. Whoever calls it goes on
    /// until there is room or the answer `is_exhausted`, and may let the guest run in between.
    pub fn reclaim(
        &mut self,
        guest: &mut dyn Guest,
        group: GroupId,
        goal: Pages,
        effort: Effort,
    ) -> Reclaimed {
        let done = self.take_from(guest, group, goal, effort);
        if let Ok(index) = self.groups.index(group) {
            self.note_pressure(index, done.scanned, done.reclaimed);
        }
        done
    }

    fn take_from(
        &mut self,
        guest: &mut dyn Guest,
        group: GroupId,
        goal: Pages,
        effort: Effort,
    ) -> Reclaimed {
        let mut done = Reclaimed::default();
        let frames = self.config.frames;
        for _ in 0..frames {
            if done.reclaimed >= goal.get() || done.scanned >= effort.scan_max {
                return done;
            }
            self.reclaim.hand = (self.reclaim.hand + 1) % frames;
            let gfn = Gfn::new(self.reclaim.hand);
            let Some(kind) = self.evictable(gfn, group, effort) else { continue };
            done.scanned += 1;
            let answer = guest.evict(&[(gfn, kind)]);
            match answer.first().copied().unwrap_or(Evicted::Failed) {
                Evicted::Swapped | Evicted::Zero if self.swap_out(gfn) => {
                    done.swapped += 1;
                    done.reclaimed += 1;
                }
                Evicted::Dropped if self.uncharge(gfn) => done.reclaimed += 1,
                _ => {}
            }
        }
        done.is_exhausted = true;
        done
    }

    /// Notes that the guest touched a frame that had been aged. False when it is no user frame with
    /// a page behind it.
    pub fn note_touched(&mut self, gfn: Gfn) -> bool {
        self.frames.get(gfn).is_ok_and(|frame| frame.is_memory())
    }

    /// Takes up to `pages` from `group` for a move; false when nothing was found.
    pub(crate) fn make_room(
        &mut self,
        guest: &mut dyn Guest,
        group: GroupId,
        resource: Resource,
        pages: u64,
    ) -> bool {
        let settled = self.settle_out_of(guest, group, Effort::SCAN_MAX);
        if !settled.is_zero() {
            return true;
        }
        let done = self.reclaim(guest, group, Pages::new(pages), Effort::relieving(resource));
        done.reclaimed > 0
    }

    /// Returns the kind of a frame that reclaim may take for this effort.
    fn evictable(&self, gfn: Gfn, group: GroupId, effort: Effort) -> Option<Kind> {
        let frame = self.frames.get(gfn).ok().filter(|frame| !frame.has(Flag::Swapped))?;
        let kind = frame.kind()?;
        let takes = match kind {
            Kind::File => true,
            Kind::Anon | Kind::Shmem => effort.may_swap(),
            Kind::Kernel | Kind::PageTable | Kind::Huge => false,
        };
        (takes && self.is_charged_to(gfn, group)).then_some(kind)
    }
}
