//! The lists in which reclaim keeps the pages of one owner, from the youngest to the oldest.
//!
//! The links are in the frame table, so that a page enters and leaves a list in a few steps wherever
//! it is, and whole lists are joined in one step when an owner takes over from another.

use crate::Gfn;
use crate::frames::{Frame, Frames, GENERATIONS, Link, Place, Sort, Towards};

/// A list of frames. Every group has ten of them, so that they are kept small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct List {
    youngest: Link,
    oldest: Link,
    len: u32,
}

/// A part of a list: neighbours, from the youngest to the oldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strand {
    youngest: Gfn,
    oldest: Gfn,
    len: u64,
}

impl Strand {
    /// A strand of one frame.
    pub(crate) const fn one(gfn: Gfn) -> Self {
        Self { youngest: gfn, oldest: gfn, len: 1 }
    }

    /// Replaces the entries from `first` on, at most `max` and at least one, that are `old`, listed, and
    /// neighbours in their list; returns them.
    #[inline]
    pub(crate) fn replace(
        frames: &mut Frames,
        first: Gfn,
        max: u64,
        entries: (Frame, Frame),
    ) -> Self {
        let (len, towards) = frames.replace_chained(first, max.max(1), entries);
        let last = Gfn::new(first.get() + len - 1);
        match towards {
            Towards::Young => Self { youngest: last, oldest: first, len },
            Towards::Old => Self { youngest: first, oldest: last, len },
        }
    }

    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// Adds a strand of the same list if it is next to this one; false if not.
    #[inline]
    pub(crate) fn extend(&mut self, frames: &Frames, other: Self) -> bool {
        if frames.links(self.youngest).younger == Some(other.oldest) {
            self.youngest = other.youngest;
        } else if frames.links(self.oldest).older == Some(other.youngest) {
            self.oldest = other.oldest;
        } else {
            return false;
        }
        self.len += other.len;
        true
    }
}

impl List {
    pub(crate) fn len(&self) -> u64 {
        u64::from(self.len)
    }

    pub(crate) fn oldest(&self) -> Option<Gfn> {
        self.oldest.target()
    }

    /// Puts a frame in at the young end.
    #[inline]
    pub(crate) fn push(&mut self, frames: &mut Frames, gfn: Gfn) {
        self.push_strand(frames, Strand::one(gfn));
    }

    /// Puts frames in at the young end, in the order they have.
    #[inline]
    pub(crate) fn push_strand(&mut self, frames: &mut Frames, strand: Strand) {
        frames.set_younger(strand.youngest, None);
        frames.set_older(strand.oldest, self.youngest.target());
        match self.youngest.target() {
            Some(next) => frames.set_younger(next, Some(strand.oldest)),
            None => self.oldest = Link::to(Some(strand.oldest)),
        }
        self.youngest = Link::to(Some(strand.youngest));
        self.len += count(strand.len);
    }

    /// Takes a frame out.
    #[inline]
    pub(crate) fn unlink(&mut self, frames: &mut Frames, gfn: Gfn) {
        self.unlink_strand(frames, Strand::one(gfn));
    }

    /// Takes neighbours out. Their outer links are stale until they are put somewhere.
    #[inline]
    pub(crate) fn unlink_strand(&mut self, frames: &mut Frames, strand: Strand) {
        let younger = frames.links(strand.youngest).younger;
        let older = frames.links(strand.oldest).older;
        match younger {
            Some(gfn) => frames.set_older(gfn, older),
            None => self.youngest = Link::to(older),
        }
        match older {
            Some(gfn) => frames.set_younger(gfn, younger),
            None => self.oldest = Link::to(younger),
        }
        self.len = self.len.checked_sub(count(strand.len)).expect("a list counts its frames");
    }

    /// Puts all of `other` in, as the youngest.
    fn append(&mut self, frames: &mut Frames, other: Self) {
        let ends = (other.youngest.target(), other.oldest.target());
        let (Some(youngest), Some(oldest)) = ends else { return };
        self.push_strand(frames, Strand { youngest, oldest, len: other.len() });
    }

    /// Visits the frames from the oldest to the youngest.
    pub(crate) fn iter<'a>(&self, frames: &'a Frames) -> impl Iterator<Item = Gfn> + 'a {
        std::iter::successors(self.oldest(), |gfn| frames.links(*gfn).younger)
    }
}

fn count(frames: u64) -> u32 {
    u32::try_from(frames).expect("a list holds frames that have links")
}

/// What reclaim keeps of one owner: a group, or a move in progress.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lru {
    /// By sort and place.
    lists: [[List; GENERATIONS + 1]; 2],
    /// What evicting pages of each sort has cost of late: see [`crate::reclaim`].
    pub(crate) cost: [u64; 2],
    /// What is left over of a page of anonymous memory that was to be taken, in 1/1024.
    pub(crate) rest: u64,
}

impl Sort {
    pub(crate) const ALL: [Self; 2] = [Self::Anon, Self::File];

    /// Position in tables with an entry a sort.
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Anon => 0,
            Self::File => 1,
        }
    }
}

impl Lru {
    pub(crate) fn list(&self, sort: Sort, place: Place) -> &List {
        &self.lists[sort.index()][place.index()]
    }

    #[inline]
    pub(crate) fn list_mut(&mut self, sort: Sort, place: Place) -> &mut List {
        &mut self.lists[sort.index()][place.index()]
    }

    /// Number of frames of a sort in a generation.
    pub(crate) fn len(&self, sort: Sort, generation: u8) -> u64 {
        self.list(sort, Place::Generation(generation)).len()
    }

    /// Number of frames of a sort that may be evicted.
    pub(crate) fn evictable(&self, sort: Sort) -> u64 {
        self.lists[sort.index()][..GENERATIONS].iter().map(List::len).sum()
    }

    /// Lists a frame where it says it belongs; nothing for one that is not listed.
    #[inline]
    pub(crate) fn link(&mut self, frames: &mut Frames, gfn: Gfn, frame: Frame) {
        if let Some(sort) = frame.sort() {
            self.list_mut(sort, frame.place()).push(frames, gfn);
        }
    }

    /// Takes a frame off its list.
    #[inline]
    pub(crate) fn unlink(&mut self, frames: &mut Frames, gfn: Gfn, frame: Frame) {
        if let Some(sort) = frame.sort() {
            self.list_mut(sort, frame.place()).unlink(frames, gfn);
        }
    }

    /// Takes over everything another owner had.
    pub(crate) fn append(&mut self, frames: &mut Frames, other: Self) {
        let mine = self.lists.iter_mut().flatten();
        for (list, others) in mine.zip(other.lists.into_iter().flatten()) {
            list.append(frames, others);
        }
        for (cost, other) in self.cost.iter_mut().zip(other.cost) {
            *cost += other;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{List, Strand};
    use crate::Gfn;
    use crate::frames::Frames;

    fn list(frames: &mut Frames, numbers: &[u64]) -> List {
        let mut list = List::default();
        for number in numbers {
            list.push(frames, Gfn::new(*number));
        }
        list
    }

    fn numbers(list: &List, frames: &Frames) -> Vec<u64> {
        list.iter(frames).map(Gfn::get).collect()
    }

    #[test]
    fn frames_leave_from_anywhere_and_the_oldest_is_the_first_that_came() {
        let mut frames = Frames::new(8).unwrap();
        let mut l = list(&mut frames, &[3, 1, 4, 5]);
        assert_eq!((l.oldest(), l.len()), (Some(Gfn::new(3)), 4));
        l.unlink(&mut frames, Gfn::new(1));
        l.unlink(&mut frames, Gfn::new(5));
        assert_eq!(numbers(&l, &frames), [3, 4]);
        l.unlink(&mut frames, Gfn::new(3));
        l.unlink(&mut frames, Gfn::new(4));
        assert_eq!(l, List::default());
    }

    #[test]
    fn neighbours_move_together() {
        let mut frames = Frames::new(8).unwrap();
        let mut a = list(&mut frames, &[0, 1, 2, 3]);
        let mut b = list(&mut frames, &[7]);
        let mut strand = Strand::one(Gfn::new(1));
        assert!(strand.extend(&frames, Strand::one(Gfn::new(2))));
        assert!(!strand.extend(&frames, Strand::one(Gfn::new(7))));
        assert!(strand.extend(&frames, Strand::one(Gfn::new(0))));
        a.unlink_strand(&mut frames, strand);
        b.push_strand(&mut frames, strand);
        assert_eq!((numbers(&a, &frames), numbers(&b, &frames)), (vec![3], vec![7, 0, 1, 2]));
        assert_eq!((a.len(), b.len()), (1, 4));
        a.append(&mut frames, b);
        assert_eq!(numbers(&a, &frames), [3, 7, 0, 1, 2]);
        a.append(&mut frames, List::default());
        assert_eq!(a.len(), 5);
    }
}
