//! Admitting pages to a move: precharging the destination, choosing frames, and taking them.
//!
//! A page is taken as it is seen: its owner changes only where room for it was found before, and the
//! destination is charged for all pages of a step before the step is over. Nobody else can look at
//! the counters in between.

use super::{Ending, Load, Transit};
use crate::frames::Frame;
use crate::gauges::Gauges;
use crate::lists::Strand;
use crate::owners::{Holder, SlotId};
use crate::recharge::{Reach, Skip, Skipped};
use crate::{ChargeError, Gfn, Gva, Kind, Memcg, Pages, ScannedRun};

/// What became of pages that were to move.
#[derive(Debug, Default)]
pub(crate) struct Haul {
    /// Pages the destination owns now.
    pub(crate) moved: Load,
    /// Pages that were not to move.
    pub(crate) skipped: Skipped,
    /// Pages that there was no room for, and what they weigh. They are the source's.
    pub(crate) left: Vec<Gfn>,
    pub(crate) lacking: Load,
}

impl Haul {
    /// This, and what a second look at what was left has brought.
    pub(crate) fn and(mut self, later: Self) -> Self {
        self.moved += later.moved;
        self.skipped += later.skipped;
        Self { left: later.left, lacking: later.lacking, ..self }
    }
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
    /// So much fits besides what has moved.
    room: Load,
    /// The entry of the last frames that moved, what it has become, and how many were not counted yet.
    row: Option<(Frame, Frame)>,
    row_frames: u64,
    /// The last of these that are neighbours in their list, and still in the source's.
    strand: Option<Strand>,
    taken: Gauges,
    haul: Haul,
}

impl Sweep {
    /// Takes so many pages that are in memory at most.
    pub(crate) fn limit_memory(&mut self, pages: u64) {
        self.room.memory = self.room.memory.min(pages);
    }
}

impl Memcg {
    /// Charges the destination for pages that are to come.
    pub(crate) fn precharge(&mut self, number: u32, load: Load) -> Result<(), ChargeError> {
        let chain = self.transits.at(number).destination();
        self.try_charge_load(chain, load)?;
        self.transits.at_mut(number).precharged += load;
        Ok(())
    }

    /// Charges the destination until `wanted` is precharged or there is no room; returns what is
    /// missing. Nobody is refused, hence no failure is counted.
    pub(crate) fn precharge_up_to(&mut self, number: u32, wanted: Load) -> Load {
        let transit = self.transits.at(number);
        let chain = transit.destination();
        let missing = wanted.saturating_sub(transit.precharged);
        let fits = missing.min(self.room_for_load(chain));
        self.charge_load(chain, fits);
        self.transits.at_mut(number).precharged += fits;
        missing.saturating_sub(fits)
    }

    /// Tells whether the limits of the destination are high enough for a move of `load` more, were
    /// it empty.
    pub(crate) fn could_ever_hold(&self, number: u32, load: Load) -> bool {
        let transit = self.transits.at(number);
        self.could_ever_hold_load(transit.destination(), load.saturating_add(transit.joined))
    }

    /// Returns the two ends of a move, for [`Memcg::weigh`].
    pub(crate) fn ends(&self, number: u32, reach: Reach) -> Ends {
        let Transit { from, to, .. } = *self.transits.at(number);
        Ends { from, to, reach, like: None, is_private: false }
    }

    /// Returns what of a run that a scan found is to move.
    pub(crate) fn weigh(&self, ends: &mut Ends, run: &ScannedRun) -> Load {
        let mut load = Load::NOTHING;
        let (mut at, end) = run.bounds();
        while at < end {
            let pages = self.frames.alike(Gfn::new(at), end - at).max(1);
            if let Ok(frame) = self.movable(ends, Gfn::new(at), run.mapcount) {
                load += Load::of(frame, pages);
            }
            at += pages;
        }
        load
    }

    /// Returns the entry of a page that a scan found, or why the page does not move.
    #[inline]
    fn movable(&self, ends: &mut Ends, gfn: Gfn, mapcount: u32) -> Result<Frame, Skip> {
        let frame = self.frames.get(gfn).map_err(|_| Skip::NotBacked)?;
        if Some(frame) != ends.like {
            return self.compare(ends, frame, mapcount);
        }
        if ends.is_private && mapcount > 1 { Err(Skip::Shared) } else { Ok(frame) }
    }

    /// Finds out whether a frame moves that does not look like the last one that did.
    fn compare(&self, ends: &mut Ends, frame: Frame, mapcount: u32) -> Result<Frame, Skip> {
        let kind = frame.kind().ok_or(Skip::NotBacked)?;
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
        let room = self.room_for_load(transit.destination());
        Sweep {
            number,
            ends: self.ends(number, reach),
            slot: transit.slot,
            room: room.saturating_add(transit.precharged),
            row: None,
            row_frames: 0,
            strand: None,
            taken: Gauges::default(),
            haul: Haul::default(),
        }
    }

    /// Makes the destination the owner of pages that a scan found, as far as there is room.
    #[inline]
    pub(crate) fn sweep(&mut self, sweep: &mut Sweep, run: &ScannedRun) {
        let (mut at, end) = run.bounds();
        while at < end {
            at += self.sweep_row(sweep, run, (Gfn::new(at), end - at));
        }
    }

    /// Does that for the first pages of a run that are alike; returns how many it looked at.
    fn sweep_row(&mut self, sweep: &mut Sweep, run: &ScannedRun, (gfn, max): (Gfn, u64)) -> u64 {
        let frame = match self.movable(&mut sweep.ends, gfn, run.mapcount) {
            Ok(frame) => frame,
            Err(skip) => {
                let pages = self.frames.alike(gfn, max).max(1);
                sweep.haul.skipped.count(skip, pages);
                return pages;
            }
        };
        let fits = sweep.room.holds(frame);
        if fits == 0 {
            let pages = self.frames.alike(gfn, max);
            sweep.haul.left.extend((0..pages).map(|offset| Gfn::new(gfn.get() + offset)));
            sweep.haul.lacking += Load::of(frame, pages);
            return pages;
        }
        let entries = match sweep.row {
            Some(entries) if entries.0 == frame => entries,
            Some(_) | None => self.begin_row(sweep, frame),
        };
        let pages = match frame.sort() {
            Some(_) => self.take_listed(sweep, (gfn, max.min(fits)), entries),
            None => self.frames.replace_alike(gfn, max.min(fits), entries),
        };
        let load = Load::of(frame, pages);
        sweep.row_frames += pages;
        sweep.haul.moved += load;
        sweep.room = sweep.room.saturating_sub(load);
        pages
    }

    /// Takes frames that lie side by side in memory and in their list; returns how many.
    #[inline]
    fn take_listed(
        &mut self,
        sweep: &mut Sweep,
        (gfn, max): (Gfn, u64),
        entries: (Frame, Frame),
    ) -> u64 {
        let strand = Strand::replace(&mut self.frames, gfn, max, entries);
        let has_neighbour =
            sweep.strand.as_mut().is_some_and(|last| last.extend(&self.frames, strand));
        if !has_neighbour {
            self.pass_on(sweep);
            sweep.strand = Some(strand);
        }
        strand.len()
    }

    /// Lets neighbours go from the source's list to the one in the same place of who owns them now.
    fn pass_on(&mut self, sweep: &mut Sweep) {
        let (Some(strand), Some((_, frame))) = (sweep.strand.take(), sweep.row) else { return };
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
        self.end_row(&mut sweep);
        let Sweep { number, slot, haul, taken, ends, .. } = sweep;
        let transit = self.transits.at_mut(number);
        let precharged = haul.moved.min(transit.precharged);
        transit.precharged -= precharged;
        transit.held += haul.moved;
        if transit.ending == Ending::RollBack {
            transit.gauges.merge(&taken);
        }
        let chain = transit.destination();
        self.charge_load(chain, haul.moved.saturating_sub(precharged));
        let frames = u32::try_from(haul.moved.memsw).expect("a step is part of the frames");
        self.owners.get(slot, frames);
        self.book(ends.from, |gauges, _| gauges.unmerge(&taken));
        self.book(ends.to, |gauges, _| gauges.merge(&taken));
        haul
    }

    /// Takes pages that there was no room for at first. Reclaim may have run since, so that each is
    /// looked at anew; who maps them has not changed.
    pub(crate) fn take(&mut self, number: u32, reach: Reach, pages: &[Gfn]) -> Haul {
        let mut sweep = self.begin_sweep(number, reach);
        for row in pages.chunk_by(|a, b| a.get() + 1 == b.get()) {
            let Some(&gfn) = row.first() else { continue };
            let pages = Pages::new(u64::try_from(row.len()).unwrap_or(u64::MAX));
            let kind = self.kind(gfn).unwrap_or(Kind::Anon);
            let (gva, mapcount, is_locked) = (Gva::ZERO, 1, false);
            self.sweep(&mut sweep, &ScannedRun { gva, gfn, pages, kind, mapcount, is_locked });
        }
        self.end_sweep(sweep)
    }

    /// Begins a row of frames that look like `frame`; returns that, and what they become.
    fn begin_row(&mut self, sweep: &mut Sweep, frame: Frame) -> (Frame, Frame) {
        self.end_row(sweep);
        let entries = (frame, frame.with_owner(sweep.slot).with_stray(None));
        sweep.row = Some(entries);
        entries
    }

    /// Counts a row of frames, and lets go of what they named.
    fn end_row(&mut self, sweep: &mut Sweep) {
        self.pass_on(sweep);
        let frames = std::mem::take(&mut sweep.row_frames);
        if let (Some((frame, _)), true) = (sweep.row.take(), frames > 0) {
            sweep.taken.add_many(frame, frames);
            self.drop_strays(frame, frames);
            let frames = u32::try_from(frames).expect("a step is part of the frames");
            self.put_slot_many(frame.owner(), frames);
        }
    }

    /// Returns what a move could take of the source at most, if its task had all of it.
    pub(crate) fn movable_at_most(&self, number: u32, reach: Reach) -> Load {
        self.groups.at(self.transits.at(number).from).gauges.within(reach)
    }
}
