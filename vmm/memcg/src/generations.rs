//! How young a page is: which of four generations it is in, and what makes it younger.
//!
//! Nobody can ask a page whether it was used; that costs a fault. So a page is young because it is
//! new, or because it was seen to be used when that was last asked. Reclaim lets pages slip down from
//! the old end of each generation to the one below, and has those that reach the oldest aged: if one
//! of them is touched now, that is seen, and it becomes young again. Those that are not are evicted.
//!
//! New anonymous pages enter active, and pages of files inactive: a file that is read once passes
//! through the older generations only, whatever its size, and leaves the younger ones alone (Linux
//! keeps them apart in the same way, with its inactive list).

use crate::frames::{Flag, Frame, Place, Sort};
use crate::gauges::Class;
use crate::lists::Lru;
use crate::owners::Holder;
use crate::{Gfn, GroupId, Kind, Memcg};

/// The generation in which pages wait to be evicted, aged.
pub(crate) const OLDEST: u8 = 0;
/// Where pages of files begin.
pub(crate) const OLD: u8 = 1;
/// Where anonymous pages begin.
pub(crate) const YOUNG: u8 = 2;
/// Where pages go that were seen to be used.
pub(crate) const YOUNGEST: u8 = 3;

/// Whether the guest has locked a page in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locked {
    /// It must not be evicted.
    Yes,
    /// It may be.
    No,
}

impl Memcg {
    /// Notes that the guest touched a frame that had been aged: it is among the youngest now. False
    /// when it is no user frame with a page behind it.
    pub fn note_touched(&mut self, gfn: Gfn) -> bool {
        let Ok(frame) = self.frames.get(gfn) else { return false };
        let Some(sort) = frame.sort() else { return false };
        if let Place::Generation(_) = frame.place() {
            self.relist(gfn, frame, frame.with_place(Place::Generation(YOUNGEST)));
            let (_, holder) = self.owners.resolve_mut(frame.owner());
            self.lru_mut(holder).cost[sort.index()] += 1;
        }
        true
    }

    /// Notes that a frame was locked in memory or unlocked. False when it is no user frame with a page
    /// behind it. What is not told here is found out when reclaim comes across it.
    pub fn set_locked(&mut self, gfn: Gfn, locked: Locked) -> bool {
        let Ok(frame) = self.frames.get(gfn) else { return false };
        if frame.sort().is_none() {
            return false;
        }
        match (locked, frame.place()) {
            (Locked::Yes, Place::Generation(_)) => {
                self.relist(gfn, frame, frame.with_place(Place::Unevictable));
            }
            (Locked::No, Place::Unevictable) => {
                self.relist(gfn, frame, frame.with_place(Place::Generation(YOUNG)));
            }
            (Locked::Yes, Place::Unevictable) | (Locked::No, Place::Generation(_)) => {}
        }
        true
    }

    /// Returns the generation a frame is in, 0 for the oldest to 3; `None` for one that is locked or
    /// cannot be evicted at all.
    #[must_use]
    pub fn generation(&self, gfn: Gfn) -> Option<u8> {
        let frame = self.frames.get(gfn).ok().filter(|frame| frame.sort().is_some())?;
        match frame.place() {
            Place::Generation(generation) => Some(generation),
            Place::Unevictable => None,
        }
    }

    /// Returns how many pages of a group, without those below it, are in each generation, the oldest
    /// first.
    #[must_use]
    pub fn generations(&self, group: GroupId) -> Option<[u64; 4]> {
        let lru = &self.groups.at(self.groups.index(group).ok()?).lru;
        Some([0, 1, 2, 3].map(|age| Sort::ALL.iter().map(|sort| lru.len(*sort, age)).sum()))
    }

    /// Says where a frame begins.
    pub(crate) const fn birthplace(kind: Kind) -> Place {
        match kind {
            Kind::Anon | Kind::Shmem => Place::Generation(YOUNG),
            Kind::File => Place::Generation(OLD),
            // Never listed.
            Kind::Kernel | Kind::PageTable | Kind::Huge => Place::Generation(OLDEST),
        }
    }

    /// Enters a frame into the lists of its owner.
    #[inline]
    pub(crate) fn list(&mut self, gfn: Gfn, frame: Frame) {
        let (_, holder) = self.owners.resolve(frame.owner());
        let lru = match holder {
            Holder::Group(group) => &mut self.groups.at_mut(group).lru,
            Holder::Transit { transit, .. } => &mut self.transits.at_mut(transit).lru,
        };
        lru.link(&mut self.frames, gfn, frame);
    }

    /// Takes a frame off the lists of its owner.
    #[inline]
    pub(crate) fn unlist(&mut self, gfn: Gfn, frame: Frame) {
        let (_, holder) = self.owners.resolve(frame.owner());
        let lru = match holder {
            Holder::Group(group) => &mut self.groups.at_mut(group).lru,
            Holder::Transit { transit, .. } => &mut self.transits.at_mut(transit).lru,
        };
        lru.unlink(&mut self.frames, gfn, frame);
    }

    /// Puts a listed frame where it is to be from now on.
    pub(crate) fn relist(&mut self, gfn: Gfn, old: Frame, new: Frame) {
        self.unlist(gfn, old);
        let (from, to) = (Class::of(old.place()), Class::of(new.place()));
        if let (Some(kind), true) = (old.kind(), from != to) {
            self.count(old, |gauges, _| gauges.reclass(kind, from, to, 1));
        }
        self.frames.set(gfn, new);
        self.list(gfn, new);
    }

    /// Returns the lists of an owner.
    pub(crate) fn lru(&self, holder: Holder) -> &Lru {
        match holder {
            Holder::Group(group) => &self.groups.at(group).lru,
            Holder::Transit { transit, .. } => &self.transits.at(transit).lru,
        }
    }

    pub(crate) fn lru_mut(&mut self, holder: Holder) -> &mut Lru {
        match holder {
            Holder::Group(group) => &mut self.groups.at_mut(group).lru,
            Holder::Transit { transit, .. } => &mut self.transits.at_mut(transit).lru,
        }
    }

    /// Lets the oldest frame of a generation slip into the one below; returns it, or `None` when there is
    /// none.
    pub(crate) fn slip(&mut self, holder: Holder, sort: Sort, generation: u8) -> Option<Gfn> {
        let gfn = self.lru(holder).list(sort, Place::Generation(generation)).oldest()?;
        let frame = self.frames.get(gfn).ok()?;
        let older = frame.with_place(Place::Generation(generation - 1));
        let leaves = Class::of(frame.place()) != Class::of(older.place());
        let older = if leaves { older.with(Flag::Workingset) } else { older };
        self.relist(gfn, frame, older);
        Some(gfn)
    }
}
