//! Sets of huge pages of a file, as ranges: reservations come by the thousand at a time.

use alloc::collections::BTreeMap;
use core::ops::Range;

/// A set of page numbers: disjoint ranges by their start, neighbours joined.
#[derive(Debug, Default)]
pub(crate) struct Indices(BTreeMap<u64, u64>);

impl Indices {
    /// Whether a page is in the set.
    pub(crate) fn contains(&self, page: u64) -> bool {
        self.0.range(..=page).next_back().is_some_and(|(_, end)| *end > page)
    }

    /// How many pages of a range are in the set.
    pub(crate) fn count(&self, range: &Range<u64>) -> u64 {
        let first =
            self.0.range(..range.start).next_back().map_or(range.start, |(start, _)| *start);
        let parts = self.0.range(first..range.end.max(first));
        parts.map(|(&start, &end)| end.min(range.end).saturating_sub(start.max(range.start))).sum()
    }

    /// Adds a range.
    pub(crate) fn insert(&mut self, range: &Range<u64>) {
        let (mut start, mut end) = (range.start, range.end);
        if start >= end {
            return;
        }
        if let Some((&lower, &lower_end)) = self.0.range(..start).next_back()
            && lower_end >= start
        {
            (start, end) = (lower, end.max(lower_end));
        }
        while let Some((&upper, &upper_end)) = self.0.range(start..=end).next() {
            self.0.remove(&upper);
            end = end.max(upper_end);
        }
        self.0.insert(start, end);
    }

    /// Takes a range out; answers how many of its pages were in the set.
    pub(crate) fn remove(&mut self, range: &Range<u64>) -> u64 {
        let mut removed = 0;
        if let Some((&lower, &lower_end)) = self.0.range(..range.start).next_back()
            && lower_end > range.start
        {
            self.0.insert(lower, range.start);
            self.0.insert(range.start, lower_end);
        }
        while let Some((&start, &end)) = self.0.range(range.clone()).next() {
            self.0.remove(&start);
            removed += end.min(range.end) - start;
            if end > range.end {
                self.0.insert(range.end, end);
            }
        }
        removed
    }
}
