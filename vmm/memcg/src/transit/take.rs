//! Admitting pages to a move: precharging the destination, choosing frames, and taking them.
//!
//! A page is taken as it is seen: its owner changes only where room for it was found before, and the
//! destination is charged for all pages of a step before the step is over. Nobody else can look at
//! the counters in between.

use super::{Ending, Transit};
use crate::frames::{Flag, Frame};
use crate::gauges::Gauges;
use crate::lists::Strand;
use crate::owners::{Holder, SlotId};
use crate::recharge::{Reach, Skip};
use crate::walk::USER;
use crate::{ChargeError, Gfn, Gva, Kind, Memcg, ScannedPage};

/// What became of pages that were to move.
#[derive(Debug, Default)]
pub(crate) struct Haul {
    /// Pages the destination owns now.
    pub(crate) moved: u64,
    /// Pages that were freed, swapped out or charged to someone else meanwhile.
    pub(crate) gone: u64,
    /// Pages that there was no room for. They are the source's.
    pub(crate) left: Vec<Gfn>,
}

/// The two ends of a move, and what goes from one to the other.
#[derive(Debug)]
pub(crate) struct Ends {
    from: u32,
    to: u32,
    reach: Reach,
    /// The last entry of the frame table that was to move: its neighbours mostly look the same.
    like: Option<Frame>,
    /// A frame like it moves only if nobody else maps it.
    is_private: bool,
}

/// Pages of one step on their way. Those in a row that look alike are counted at once.
#[derive(Debug)]
pub(crate) struct Sweep {
    number: u32,
    ends: Ends,
    /// What moved frames name.
    slot: SlotId,
    /// So many pages fit.
    room: u64,
    /// The entry of the last frames that moved, what it has become, and how many were not counted yet.
    run: Option<(Frame, Frame)>,
    run_frames: u32,
    /// The last of these that are neighbours in their list, and still in the source's.
    strand: Option<Strand>,
    taken: Gauges,
    haul: Haul,
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
    pub(crate) fn ends(&self, number: u32, reach: Reach) -> Ends {
        let Transit { from, to, .. } = *self.transits.at(number);
        Ends { from, to, reach, like: None, is_private: false }
    }

    /// Returns the entry of a page that a scan found, or why the page does not move.
    #[inline]
    pub(crate) fn movable(&self, ends: &mut Ends, page: &ScannedPage) -> Result<Frame, Skip> {
        let frame = self.frames.get(page.gfn).map_err(|_| Skip::NotBacked)?;
        if Some(frame) != ends.like {
            return self.compare(ends, frame, page.mapcount);
        }
        if ends.is_private && page.mapcount > 1 { Err(Skip::Shared) } else { Ok(frame) }
    }

    /// Finds out whether a frame moves that does not look like the last one that did.
    fn compare(&self, ends: &mut Ends, frame: Frame, mapcount: u32) -> Result<Frame, Skip> {
        let Some(kind) = frame.kind().filter(|_| !frame.has(Flag::Swapped)) else {
            return Err(Skip::NotBacked);
        };
        let (_, holder) = self.owners.resolve(frame.owner());
        if holder.group() == ends.to {
            return Err(Skip::There);
        }
        ends.reach.check(kind, mapcount)?;
        if holder != Holder::Group(ends.from) {
            return Err(Skip::ForeignOwner);
        }
        ends.like = Some(frame);
        ends.is_private = kind == Kind::Anon;
        Ok(frame)
    }

    /// Begins a step in which pages are taken: as many as were precharged and as there is room for.
    pub(crate) fn begin_sweep(&self, number: u32, reach: Reach) -> Sweep {
        let transit = self.transits.at(number);
        Sweep {
            number,
            ends: self.ends(number, reach),
            slot: transit.slot,
            room: transit.precharged.saturating_add(self.room(transit.destination())),
            run: None,
            run_frames: 0,
            strand: None,
            taken: Gauges::default(),
            haul: Haul::default(),
        }
    }

    /// Makes the destination the owner of a page that a scan found, if there is room, or says why the
    /// page does not move.
    #[inline]
    pub(crate) fn sweep(&mut self, sweep: &mut Sweep, page: &ScannedPage) -> Result<(), Skip> {
        let frame = self.movable(&mut sweep.ends, page)?;
        if sweep.haul.moved == sweep.room {
            sweep.haul.left.push(page.gfn);
            return Ok(());
        }
        let becomes = match sweep.run {
            Some((like, becomes)) if like == frame => becomes,
            Some(_) | None => self.begin_run(sweep, frame),
        };
        sweep.run_frames += 1;
        sweep.haul.moved += 1;
        self.frames.set(page.gfn, becomes);
        let one = Strand::one(page.gfn);
        let has_neighbour =
            sweep.strand.as_mut().is_some_and(|strand| strand.extend(&self.frames, one));
        if !has_neighbour {
            self.pass_on(sweep);
            sweep.strand = Some(one);
        }
        Ok(())
    }

    /// Lets neighbours go from the source's list to the one in the same place of who owns them now.
    fn pass_on(&mut self, sweep: &mut Sweep) {
        let (Some(strand), Some((_, frame))) = (sweep.strand.take(), sweep.run) else { return };
        let Some(sort) = frame.sort() else { return };
        let source = &mut self.groups.at_mut(sweep.ends.from).lru;
        source.list_mut(sort, frame.place()).unlink_strand(&mut self.frames, strand);
        let transit = self.transits.at_mut(sweep.number);
        let owner = match transit.ending {
            Ending::RollBack => &mut transit.lru,
            Ending::Settle => &mut self.groups.at_mut(sweep.ends.to).lru,
        };
        owner.list_mut(sort, frame.place()).push_strand(&mut self.frames, strand);
    }

    /// Charges the destination for the pages that were taken, and counts them.
    pub(crate) fn end_sweep(&mut self, mut sweep: Sweep) -> Haul {
        self.end_run(&mut sweep);
        let Sweep { number, slot, haul, taken, ends, .. } = sweep;
        let transit = self.transits.at_mut(number);
        let precharged = haul.moved.min(transit.precharged);
        transit.precharged -= precharged;
        transit.held += haul.moved;
        if transit.ending == Ending::RollBack {
            transit.gauges.merge(&taken.at_home());
        }
        let chain = transit.destination();
        self.charge_chain(chain, USER, haul.moved - precharged);
        self.owners.get(slot, u32::try_from(haul.moved).expect("a step is part of the frames"));
        self.book(ends.from, |gauges, _| gauges.unmerge(&taken));
        self.book(ends.to, |gauges, _| gauges.merge(&taken.at_home()));
        haul
    }

    /// Takes pages that there was no room for at first. Reclaim may have run since, so that each is
    /// looked at anew; who maps them has not changed.
    pub(crate) fn take(&mut self, number: u32, reach: Reach, pages: &[Gfn]) -> Haul {
        let mut sweep = self.begin_sweep(number, reach);
        for &gfn in pages {
            let kind = self.kind(gfn).unwrap_or(Kind::Anon);
            let page = ScannedPage { gva: Gva::ZERO, gfn, kind, mapcount: 1, is_locked: false };
            sweep.haul.gone += u64::from(self.sweep(&mut sweep, &page).is_err());
        }
        self.end_sweep(sweep)
    }

    /// Begins a row of frames that look like `frame`; returns what they become.
    fn begin_run(&mut self, sweep: &mut Sweep, frame: Frame) -> Frame {
        self.end_run(sweep);
        let becomes = frame.with_owner(sweep.slot).without(Flag::Foreign);
        sweep.run = Some((frame, becomes));
        becomes
    }

    /// Counts a row of frames, and lets go of what they named.
    fn end_run(&mut self, sweep: &mut Sweep) {
        self.pass_on(sweep);
        let frames = std::mem::take(&mut sweep.run_frames);
        if let (Some((frame, _)), true) = (sweep.run.take(), frames > 0) {
            sweep.taken.add_many(frame, u64::from(frames));
            self.put_slot_many(frame.owner(), frames);
        }
    }

    /// Returns how many pages of the source a move could take along, if its task had all of them.
    pub(crate) fn movable_at_most(&self, number: u32, reach: Reach) -> u64 {
        self.groups.at(self.transits.at(number).from).gauges.within(reach)
    }

    /// Notes that frames of the source stay behind although their task is leaving.
    pub(crate) fn leave_behind(&mut self, number: u32, frames: &[Gfn]) {
        let mut left = 0;
        for gfn in frames {
            let Ok(frame) = self.frames.get(*gfn) else { continue };
            if frame.is_charged() && !frame.has(Flag::Foreign) {
                self.frames.set(*gfn, frame.with(Flag::Foreign));
                left += 1;
            }
        }
        let Transit { from, to, .. } = *self.transits.at(number);
        self.book(from, |gauges, _| gauges.add_foreign(left));
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
