//! Admitting pages to a move: precharging the destination, choosing frames, and taking them.

use super::{Ending, Transit};
use crate::frames::{Flag, Frame};
use crate::owners::{Holder, SlotId};
use crate::recharge::{Reach, Skip};
use crate::stat::Gauges;
use crate::walk::USER;
use crate::{ChargeError, Gfn, Memcg, ScannedPage};

/// What became of a batch of frames that were to move.
#[derive(Debug, Default)]
pub(crate) struct Haul {
    /// Frames the destination owns now.
    pub(crate) moved: u64,
    /// Frames that were freed, swapped out or charged to someone else meanwhile.
    pub(crate) gone: u64,
    /// Frames that nothing was precharged for. They are the source's.
    pub(crate) left: Vec<Gfn>,
}

/// Frames in a row that named the same slot.
#[derive(Clone, Copy, Debug)]
struct Run {
    slot: Option<SlotId>,
    frames: u32,
}

/// The two ends of a move.
#[derive(Debug)]
pub(crate) struct Ends {
    from: u32,
    to: u32,
    /// What the last frame of the source named, as its neighbour probably does too.
    slot: SlotId,
}

impl Memcg {
    /// Charges the destination for `pages` that are to come.
    pub(crate) fn precharge(&mut self, number: u32, pages: u64) -> Result<(), ChargeError> {
        let chain = self.transits.at(number).destination();
        self.try_charge_chain(chain, USER, pages)?;
        self.transits.at_mut(number).precharged += pages;
        Ok(())
    }

    /// Charges the destination until `wanted` pages are precharged or there is no room; returns how
    /// many are missing. Nobody is refused, hence no failure is counted.
    pub(crate) fn precharge_up_to(&mut self, number: u32, wanted: u64) -> u64 {
        let transit = self.transits.at(number);
        let chain = transit.destination();
        let missing = wanted.saturating_sub(transit.precharged);
        let pages = missing.min(self.room(chain));
        self.charge_chain(chain, USER, pages);
        self.transits.at_mut(number).precharged += pages;
        missing - pages
    }

    /// Tells whether the limits of the destination are high enough for a move of `pages` more, were
    /// it empty.
    pub(crate) fn could_ever_hold(&self, number: u32, pages: u64) -> bool {
        let transit = self.transits.at(number);
        let pages = pages.saturating_add(transit.joined);
        self.chain(transit.destination()).all(|index| {
            let group = self.groups.at(index);
            USER.iter().all(|resource| pages <= group.counter(*resource).limit().get())
        })
    }

    /// Returns the two ends of a move, for [`Memcg::movable`].
    pub(crate) fn ends(&self, number: u32) -> Ends {
        let Transit { from, to, .. } = *self.transits.at(number);
        Ends { from, to, slot: self.groups.at(from).slot }
    }

    /// Says why a page that a scan found does not move, if it does not.
    #[inline]
    pub(crate) fn movable(
        &self,
        ends: &mut Ends,
        page: &ScannedPage,
        reach: Reach,
    ) -> Result<(), Skip> {
        let frame = self.frames.get(page.gfn).map_err(|_| Skip::NotBacked)?;
        let Some(kind) = frame.kind().filter(|_| !frame.has(Flag::Swapped)) else {
            return Err(Skip::NotBacked);
        };
        if frame.owner() == ends.slot {
            return reach.check(kind, page.mapcount);
        }
        let (_, holder) = self.owners.resolve(frame.owner());
        if holder.group() == ends.to {
            return Err(Skip::There);
        }
        reach.check(kind, page.mapcount)?;
        if holder != Holder::Group(ends.from) {
            return Err(Skip::ForeignOwner);
        }
        ends.slot = frame.owner();
        Ok(())
    }

    /// Makes the destination the owner of frames, each against one precharged page. Looks at every
    /// frame anew: since it was found movable, reclaim may have run. Counts in bulk, since this is
    /// where a big move spends its time.
    pub(crate) fn take(&mut self, number: u32, batch: &[Gfn]) -> Haul {
        let transit = self.transits.at(number);
        let (from, to, slot, ending) = (transit.from, transit.to, transit.slot, transit.ending);
        let room = transit.precharged;
        let mut haul = Haul::default();
        let mut taken = Gauges::default();
        // Neighbours mostly name the same slot: it is looked up and let go once for all of them.
        let mut run = Run { slot: None, frames: 0 };
        for gfn in batch {
            let frame = self.frames.get(*gfn).ok().filter(|frame| frame.is_memory());
            let Some(frame) = frame.filter(|frame| self.is_source(&run, *frame, from)) else {
                haul.gone += 1;
                continue;
            };
            if haul.moved == room {
                haul.left.push(*gfn);
                continue;
            }
            if run.slot != Some(frame.owner()) {
                self.end_run(run);
                run = Run { slot: Some(frame.owner()), frames: 0 };
            }
            run.frames += 1;
            haul.moved += 1;
            taken.add(frame);
            self.frames.set(*gfn, frame.with_owner(slot).without(Flag::Foreign));
        }
        self.end_run(run);
        self.owners.get(slot, u32::try_from(haul.moved).expect("a batch is part of the frames"));
        self.book(from, |gauges, _| gauges.unmerge(&taken));
        let taken = taken.at_home();
        self.book(to, |gauges, _| gauges.merge(&taken));
        let transit = self.transits.at_mut(number);
        if ending == Ending::RollBack {
            transit.gauges.merge(&taken);
        }
        transit.precharged -= haul.moved;
        transit.held += haul.moved;
        haul
    }

    /// Tells whether the source owns a frame; at a glance, if its neighbour named the same slot.
    fn is_source(&self, run: &Run, frame: Frame, from: u32) -> bool {
        run.slot == Some(frame.owner())
            || self.owners.resolve(frame.owner()).1 == Holder::Group(from)
    }

    fn end_run(&mut self, run: Run) {
        if let (Some(slot), true) = (run.slot, run.frames > 0) {
            self.put_slot_many(slot, run.frames);
        }
    }

    /// Returns how many pages of the source a move could take along, if its task had all of them.
    pub(crate) fn movable_at_most(&self, number: u32, reach: Reach) -> u64 {
        self.groups.at(self.transits.at(number).from).gauges.within(reach)
    }

    /// Notes that frames stay behind although their task is leaving.
    pub(crate) fn leave_behind(&mut self, number: u32, frames: &[Gfn]) {
        let mut left = 0;
        for gfn in frames {
            let Ok(frame) = self.frames.get(*gfn) else { continue };
            if frame.is_charged() && !frame.has(Flag::Foreign) {
                self.replace(*gfn, frame, frame.with(Flag::Foreign));
                left += 1;
            }
        }
        let Transit { from, to, .. } = *self.transits.at(number);
        if left > 0 {
            self.strays.add(self.groups.at(to).id, self.groups.at(from).id, left);
        }
    }

    /// Notes that the task of a frame that had stayed behind has come to its owner.
    pub(crate) fn unmark_foreign(&mut self, gfn: Gfn) {
        let Ok(frame) = self.frames.get(gfn) else { return };
        if frame.has(Flag::Foreign) {
            self.replace(gfn, frame, frame.without(Flag::Foreign));
        }
    }
}
