//! Areas: ranges of a program's addresses that have one backing and one set of rights.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::ops::Range;

use super::frames::Frames;
use super::huge::Claim;
use super::object::Object;
use crate::kmem::{KmemId, Shortage};

/// What a program may do with an area.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Rights {
    pub(crate) can_read: bool,
    pub(crate) can_write: bool,
    pub(crate) can_execute: bool,
}

impl Rights {
    pub(crate) const READ_WRITE: Self =
        Self { can_read: true, can_write: true, can_execute: false };

    /// Reads PROT_READ, PROT_WRITE and PROT_EXEC. On x86 writing or executing implies reading.
    pub(crate) const fn from_prot(prot: u64) -> Self {
        Self { can_read: prot & 7 != 0, can_write: prot & 2 != 0, can_execute: prot & 4 != 0 }
    }
}

/// Where the pages of an area come from.
#[derive(Debug, Clone)]
pub(crate) enum Backing {
    /// Nowhere: they start as zeros.
    Anon,
    /// An object, from this byte on.
    Object {
        object: Rc<Object>,
        offset: u64,
        /// For /proc/self/maps.
        path: Rc<[u8]>,
    },
}

impl Backing {
    /// The same backing as seen from `bytes` further on.
    pub(super) fn skip(&self, bytes: u64) -> Self {
        match self {
            Self::Anon => Self::Anon,
            Self::Object { object, offset, path } => {
                Self::Object { object: object.clone(), offset: offset + bytes, path: path.clone() }
            }
        }
    }
}

/// What an area is for, where that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Nothing special.
    Plain,
    /// The heap that brk moves.
    Heap,
    /// A stack: it grows down when it is touched below its start.
    Stack,
}

/// A range of addresses; its start is its key among the areas.
#[derive(Debug, Clone)]
pub(crate) struct Area {
    pub(crate) end: u64,
    pub(crate) rights: Rights,
    pub(crate) backing: Backing,
    /// Writes go to the object and are seen by others.
    pub(crate) is_shared: bool,
    /// Rights it may ever get: false where a file was not opened for writing.
    pub(crate) may_write: bool,
    pub(crate) is_locked: bool,
    pub(crate) role: Role,
    /// What a private mapping of huge pages has reserved.
    pub(crate) claim: Option<Rc<Claim>>,
}

impl Area {
    /// Private memory that starts as zeros.
    pub(crate) const fn anon(end: u64, rights: Rights, role: Role) -> Self {
        Self {
            end,
            rights,
            backing: Backing::Anon,
            is_shared: false,
            may_write: true,
            is_locked: false,
            role,
            claim: None,
        }
    }

    /// Which byte of an object the area begins with, if it maps that.
    pub(crate) fn offset_in(&self, object: &Object) -> Option<u64> {
        match &self.backing {
            Backing::Object { object: mapped, offset, .. } if mapped.id() == object.id() => {
                Some(*offset)
            }
            _ => None,
        }
    }

    fn can_merge(&self, next: &Self) -> bool {
        matches!((&self.backing, &next.backing), (Backing::Anon, Backing::Anon))
            && self.rights == next.rights
            && self.is_locked == next.is_locked
            && self.role == next.role
            && self.role != Role::Stack
    }
}

/// Areas kept ready: a new one, and the parts of old ones on both sides of it.
pub(crate) const SPARE_MAX: usize = 3;

/// The areas of an address space, in order and without overlap.
#[derive(Debug, Default)]
pub(crate) struct Areas {
    by_start: BTreeMap<u64, Box<Area>>,
    /// Areas made ahead, so that a change once begun is not refused.
    #[expect(clippy::vec_box, reason = "each lies in a slab by itself")]
    spare: Vec<Box<Area>>,
    /// Bytes in all areas.
    total: u64,
    /// Where the last free range was found: those above it were too small, or are forgotten.
    cursor: Option<u64>,
}

impl Areas {
    /// The area that holds an address.
    pub(crate) fn find(&self, gva: u64) -> Option<(u64, &Area)> {
        let (start, area) = self.by_start.range(..=gva).next_back()?;
        (gva < area.end).then_some((*start, area))
    }

    /// The first area at or above an address.
    pub(crate) fn at_or_above(&self, gva: u64) -> Option<(u64, &Area)> {
        self.by_start.range(gva..).next().map(|(start, area)| (*start, &**area))
    }

    /// The last area that starts below an address.
    pub(crate) fn below(&self, gva: u64) -> Option<(u64, &Area)> {
        self.by_start.range(..gva).next_back().map(|(start, area)| (*start, &**area))
    }

    /// All of them, lowest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &Area)> {
        self.by_start.iter().map(|(start, area)| (*start, &**area))
    }

    /// Those that meet a range, lowest first.
    pub(crate) fn meeting(&self, range: &Range<u64>) -> impl Iterator<Item = (u64, &Area)> {
        let first = self.find(range.start).map_or(range.start, |(start, _)| start);
        let until = range.end.max(first);
        self.by_start.range(first..until).map(|(start, area)| (*start, &**area))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_start.len()
    }

    /// Adds an area where there is none, joined to equal neighbours.
    pub(crate) fn insert(&mut self, start: u64, area: Area) {
        self.total += area.end - start;
        let mut start = start;
        let mut area = area;
        if let Some((below, lower)) = self.below(start)
            && lower.end == start
            && lower.can_merge(&area)
        {
            start = below;
        }
        if let Some(upper) = self.by_start.get(&area.end)
            && area.can_merge(upper)
        {
            let end = upper.end;
            if let Some(joined) = self.by_start.remove(&area.end) {
                self.empty(joined);
            }
            area.end = end;
        }
        let area = self.boxed(area);
        if let Some(replaced) = self.by_start.insert(start, area) {
            self.empty(replaced);
        }
    }

    /// The same areas, none of them locked: a child does not inherit locks.
    pub(crate) fn fork(&self, frames: &Frames) -> Result<Self, Shortage> {
        let mut copy = Self { total: self.total, cursor: self.cursor, ..Self::default() };
        for (start, area) in self.iter() {
            let area = frames.new_box(Area { is_locked: false, ..area.clone() })?;
            copy.by_start.insert(start, area);
        }
        Ok(copy)
    }

    /// Makes areas ahead for one change, charged to the current payer if there is one.
    pub(crate) fn reserve(&mut self, frames: &Frames) -> Result<(), Shortage> {
        if frames.kmem().payer() == KmemId::NOBODY {
            return Ok(());
        }
        while self.spare.len() < SPARE_MAX {
            let empty = Area::anon(0, Rights::default(), Role::Plain);
            self.spare.push(frames.new_box(empty)?);
        }
        Ok(())
    }

    /// Takes an area out of its place, which is kept ready and holds on to nothing.
    fn empty(&mut self, mut place: Box<Area>) -> Area {
        let area = core::mem::replace(&mut *place, Area::anon(0, Rights::default(), Role::Plain));
        self.spare.push(place);
        area
    }

    /// Gives back what is left of a large change, but for what the next small one may need.
    pub(crate) fn trim(&mut self) {
        self.spare.truncate(SPARE_MAX);
    }

    /// Puts an area where one that was made ahead lies; without one, it is charged to nobody.
    fn boxed(&mut self, area: Area) -> Box<Area> {
        match self.spare.pop() {
            Some(mut place) => {
                *place = area;
                place
            }
            None => Box::new(area),
        }
    }

    /// Whether taking a range out leaves parts of one area on both sides.
    pub(crate) fn splits(&self, range: &Range<u64>) -> bool {
        self.find(range.start)
            .is_some_and(|(start, area)| start < range.start && range.end < area.end)
    }

    /// Gives private areas of huge pages a claim of their own, on nothing: a child's.
    pub(crate) fn with_own_claims(mut self) -> Self {
        for area in self.by_start.values_mut().filter(|area| area.claim.is_some()) {
            let quota = area.as_huge(0).map(|huge| huge.quota().clone());
            area.claim = quota.map(|quota| Rc::new(Claim::empty(&quota)));
        }
        self
    }

    /// Moves the start of a stack down.
    pub(crate) fn grow_down(&mut self, start: u64, new_start: u64) {
        if let Some(area) = self.by_start.remove(&start) {
            self.by_start.insert(new_start, area);
            self.total += start - new_start;
        }
    }

    /// Whether no area meets the range.
    pub(crate) fn is_free(&self, range: &Range<u64>) -> bool {
        self.below(range.end).is_none_or(|(_, area)| area.end <= range.start)
    }

    /// Takes out what lies in the range; areas that reach beyond it are split.
    pub(crate) fn take(&mut self, range: &Range<u64>) -> Vec<(u64, Area)> {
        self.split(range.start);
        self.split(range.end);
        let starts: Vec<u64> =
            self.by_start.range(range.clone()).map(|(start, _)| *start).collect();
        let mut taken: Vec<(u64, Area)> = Vec::with_capacity(starts.len());
        for start in starts {
            if let Some(place) = self.by_start.remove(&start) {
                taken.push((start, self.empty(place)));
            }
        }
        self.total -= taken.iter().map(|(start, area)| area.end - start).sum::<u64>();
        self.cursor = self.cursor.map(|cursor| cursor.max(range.end));
        taken
    }

    /// Makes sure that no area holds both an address and the one before it.
    fn split(&mut self, gva: u64) {
        let Some((start, area)) = self.find(gva) else { return };
        if start == gva {
            return;
        }
        let upper = Area { backing: area.backing.skip(gva - start), ..area.clone() };
        let upper = self.boxed(upper);
        if let Some(lower) = self.by_start.get_mut(&start) {
            lower.end = gva;
        }
        self.by_start.insert(gva, upper);
    }

    /// Bytes in all areas.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// A high free range of `len` bytes in `within`, page-aligned.
    ///
    /// Differs from Linux: holes above the last one found are taken again only when something was
    /// unmapped there, or when there is no room below.
    pub(crate) fn find_free(&mut self, len: u64, within: &Range<u64>) -> Option<u64> {
        let below_cursor = within.start..within.end.min(self.cursor.unwrap_or(within.end));
        let found =
            self.highest_free(len, &below_cursor).or_else(|| self.highest_free(len, within));
        self.cursor = found.or(self.cursor);
        found
    }

    fn highest_free(&self, len: u64, within: &Range<u64>) -> Option<u64> {
        let mut ceiling = within.end;
        for (start, area) in self.by_start.range(..within.end).rev() {
            if area.end < ceiling && ceiling - area.end >= len {
                break;
            }
            ceiling = ceiling.min(*start);
        }
        let start = ceiling.checked_sub(len)?;
        (start >= within.start).then_some(start)
    }
}
