//! Ranges of huge pages and who is charged for them: the charge list of one file or mapping.
//!
//! The list is kept in order, without overlap, and joined where neighbours have the same payers, so
//! that it is as short as can be. Every piece holds one reference to each of its owner slots; the
//! caller keeps the count, by what it is told about pieces that come and go.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::owners::SlotId;

/// Whom a piece was charged to, at one moment and under two names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Payers {
    /// For the counters of the posting of 2012; follows its task.
    pub(crate) seed: SlotId,
    /// For the reservation counters of Linux 5.7; stays.
    pub(crate) rsvd: SlotId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    end: u64,
    payers: Payers,
}

/// A piece that was taken out: the caller has its references now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) pages: u64,
    pub(crate) payers: Payers,
}

/// How the number of pieces with these payers changed.
pub(crate) type Tell<'a> = &'a mut dyn FnMut(Payers, Change);

/// A piece came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// There is one more.
    More,
    /// There is one less.
    Less,
}

/// The charge list.
#[derive(Debug, Default)]
pub(crate) struct Ranges {
    by_start: BTreeMap<u64, Piece>,
}

impl Ranges {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_start.is_empty()
    }

    /// Number of pieces.
    pub(crate) fn len(&self) -> usize {
        self.by_start.len()
    }

    /// The parts of `range` that nobody is charged for, lowest first.
    pub(crate) fn gaps(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut at = range.start;
        let first = self.before(range.start).map_or(range.start, |(start, _)| start);
        for (&start, piece) in self.by_start.range(first..range.end.max(first)) {
            if start > at {
                gaps.push(at..start);
            }
            at = at.max(piece.end);
        }
        if at < range.end {
            gaps.push(at..range.end);
        }
        gaps
    }

    /// Adds a piece where there was a gap.
    pub(crate) fn insert(&mut self, range: Range<u64>, payers: Payers, tell: Tell<'_>) {
        let Range { mut start, mut end } = range;
        tell(payers, Change::More);
        if let Some((lower, piece)) = self.before(start)
            && piece.end == start
            && piece.payers == payers
        {
            tell(payers, Change::Less);
            start = lower;
        }
        if let Some(upper) = self.by_start.get(&end).copied()
            && upper.payers == payers
        {
            tell(payers, Change::Less);
            self.by_start.remove(&end);
            end = upper.end;
        }
        self.by_start.insert(start, Piece { end, payers });
    }

    /// Takes out what lies in `range`; pieces that reach beyond it are split.
    pub(crate) fn remove(&mut self, range: &Range<u64>, tell: Tell<'_>) -> Vec<Taken> {
        if range.is_empty() {
            return Vec::new();
        }
        self.split(range.start, tell);
        self.split(range.end, tell);
        // One by one: splitting the map off would look at all of it each time.
        let mut taken = Vec::new();
        while let Some((&start, &piece)) = self.by_start.range(range.clone()).next() {
            self.by_start.remove(&start);
            taken.push(Taken { pages: piece.end - start, payers: piece.payers });
        }
        taken
    }

    /// Visits every piece: its length in huge pages, and its payers, to be changed.
    pub(crate) fn for_each_mut(&mut self, visit: &mut dyn FnMut(u64, &mut Payers)) {
        for (start, piece) in &mut self.by_start {
            visit(piece.end - start, &mut piece.payers);
        }
    }

    /// Every piece: its length in huge pages, and its payers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, Payers)> {
        self.by_start.iter().map(|(start, piece)| (piece.end - start, piece.payers))
    }

    /// Whether taking `range` out makes two pieces of one.
    pub(crate) fn would_split(&self, range: &Range<u64>) -> bool {
        self.before(range.start).is_some_and(|(_, piece)| piece.end > range.end)
    }

    /// The last piece that begins before `at`.
    fn before(&self, at: u64) -> Option<(u64, Piece)> {
        self.by_start.range(..at).next_back().map(|(start, piece)| (*start, *piece))
    }

    /// Makes sure that no piece holds both `at` and the page before it.
    fn split(&mut self, at: u64, tell: Tell<'_>) {
        let Some((start, piece)) = self.before(at).filter(|(_, piece)| piece.end > at) else {
            return;
        };
        tell(piece.payers, Change::More);
        self.by_start.insert(start, Piece { end: at, ..piece });
        self.by_start.insert(at, piece);
    }
}

#[cfg(test)]
mod tests {
    use super::{Change, Payers, Ranges};
    use crate::owners::SlotId;

    fn payers(number: u32) -> Payers {
        Payers { seed: SlotId::new(number), rsvd: SlotId::new(number) }
    }

    /// A list and the number of pieces that were told of.
    #[derive(Default)]
    struct Told(Ranges, usize);

    impl Told {
        fn insert(&mut self, start: u64, end: u64, number: u32) {
            let Self(ranges, count) = self;
            ranges.insert(start..end, payers(number), &mut |_, change| match change {
                Change::More => *count += 1,
                Change::Less => *count -= 1,
            });
            assert_eq!(ranges.len(), *count);
        }

        fn remove(&mut self, start: u64, end: u64) -> Vec<(u64, u32)> {
            let Self(ranges, count) = self;
            let taken = ranges.remove(&(start..end), &mut |_, change| match change {
                Change::More => *count += 1,
                Change::Less => *count -= 1,
            });
            *count -= taken.len();
            assert_eq!(ranges.len(), *count);
            taken.iter().map(|piece| (piece.pages, piece.payers.seed.get())).collect()
        }
    }

    #[test]
    fn neighbours_with_the_same_payers_are_joined_and_others_are_not() {
        let mut list = Told::default();
        list.insert(0, 2, 1);
        list.insert(4, 6, 1);
        list.insert(2, 4, 1);
        assert_eq!(list.0.len(), 1);
        list.insert(6, 8, 2);
        assert_eq!(list.0.len(), 2);
        assert_eq!(list.remove(0, u64::MAX), [(6, 1), (2, 2)]);
        assert!(list.0.is_empty());
    }

    #[test]
    fn a_hole_in_the_middle_splits_a_piece() {
        let mut list = Told::default();
        list.insert(0, 10, 1);
        assert_eq!(list.remove(3, 5), [(2, 1)]);
        assert_eq!(list.0.len(), 2);
        assert_eq!(list.0.gaps(&(2..7)).len(), 1);
        assert_eq!(list.remove(3, 5), []);
        assert_eq!(list.remove(2, 6), [(1, 1), (1, 1)]);
    }

    #[test]
    fn gaps_are_what_nobody_is_charged_for() {
        let mut list = Told::default();
        let gaps = |list: &Told, range| -> Vec<(u64, u64)> {
            list.0.gaps(&range).into_iter().map(|gap| (gap.start, gap.end)).collect()
        };
        assert_eq!(gaps(&list, 5..9), [(5, 9)]);
        list.insert(2, 4, 1);
        list.insert(6, 8, 2);
        assert_eq!(gaps(&list, 0..10), [(0, 2), (4, 6), (8, 10)]);
        assert_eq!(gaps(&list, 3..7), [(4, 6)]);
        assert_eq!(gaps(&list, 2..4), []);
        assert_eq!(gaps(&list, 3..3), []);
    }
}
