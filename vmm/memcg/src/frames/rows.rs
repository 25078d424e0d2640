//! Frames in a row: neighbours whose entries look alike, written at once.
//!
//! Most pages of a task lie side by side and were touched one after the other. What is done to such a
//! row is a loop over its entries and nothing else.

use super::{Frame, Frames, frame_of, halves, link};
use crate::Gfn;

/// How frames in a row are joined in their list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Towards {
    /// The higher number is the younger.
    Young,
    /// The higher number is the older.
    Old,
}

impl Frames {
    /// Counts the frames from `first` on, at most `max`, that look like `first`, itself included.
    pub(crate) fn alike(&self, first: Gfn, max: u64) -> u64 {
        let entries = self.entries.get(range(first, max, self.entries.len())).unwrap_or_default();
        let Some(frame) = entries.first().map(frame_of) else { return 0 };
        count(entries.iter().take_while(|entry| frame_of(entry) == frame).count())
    }

    /// Replaces the entries from `first` on, at most `max`, that are `old`; returns how many.
    pub(crate) fn replace_alike(
        &mut self,
        first: Gfn,
        max: u64,
        (old, new): (Frame, Frame),
    ) -> u64 {
        let frames = self.alike(first, max);
        debug_assert!(frames == 0 || self.get(first) == Ok(old), "the first was looked at");
        let row = range(first, frames, self.entries.len());
        for entry in self.entries.get_mut(row).unwrap_or_default() {
            [entry[0], entry[1]] = halves(new.0);
        }
        frames
    }

    /// Replaces the entries from `first` on, at most `max`, that are `old` and each next to the one
    /// before it in their list; returns how many, and which way the list goes. The first is `old`.
    pub(crate) fn replace_chained(
        &mut self,
        first: Gfn,
        max: u64,
        (old, new): (Frame, Frame),
    ) -> (u64, Towards) {
        let row = range(first, max, self.entries.len());
        let entries = self.entries.get_mut(row).unwrap_or_default();
        let young = replace_while(entries, first, 2, (old, new));
        if young > 1 {
            return (count(young), Towards::Young);
        }
        // One was replaced; if the row goes the other way, the rest of it follows.
        match entries.first_mut() {
            None => (0, Towards::Young),
            Some(entry) => {
                [entry[0], entry[1]] = halves(old.0);
                (count(replace_while(entries, first, 3, (old, new))), Towards::Old)
            }
        }
    }
}

/// Replaces entries as long as they are `old` and word `side` of each names the one after it.
#[inline]
fn replace_while(
    entries: &mut [[u32; 4]],
    first: Gfn,
    side: usize,
    (old, new): (Frame, Frame),
) -> usize {
    let ([old_low, old_high], [low, high]) = (halves(old.0), halves(new.0));
    // As links name them: a frame number plus one.
    let mut next = link(Some(first));
    let mut replaced = 0;
    for entry in entries {
        if entry[0] != old_low || entry[1] != old_high {
            break;
        }
        (entry[0], entry[1]) = (low, high);
        replaced += 1;
        next = next.wrapping_add(1);
        if entry[side] != next {
            break;
        }
    }
    replaced
}

/// Positions of the entries from `first` on, at most `max`, of a table with so many.
#[inline]
fn range(first: Gfn, max: u64, len: usize) -> std::ops::Range<usize> {
    let place = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).min(len);
    place(first.get())..place(first.get().saturating_add(max))
}

fn count(entries: usize) -> u64 {
    u64::try_from(entries).expect("a table has fewer entries than there are numbers")
}

#[cfg(test)]
mod tests {
    use super::Towards;
    use crate::Gfn;
    use crate::frames::{Flag, Frame, Frames, Kind};
    use crate::owners::SlotId;

    const OLD: Frame = Frame::new(Kind::Anon, SlotId::new(1));
    const NEW: Frame = Frame::new(Kind::Anon, SlotId::new(2));

    /// Eight frames that are `OLD`.
    fn frames() -> Frames {
        let mut frames = Frames::new(8).unwrap();
        (0..8).for_each(|number| frames.set(Gfn::new(number), OLD));
        frames
    }

    fn replaced(frames: &Frames) -> Vec<u64> {
        let new = frames.iter().filter(|(_, frame)| *frame == NEW);
        new.map(|(gfn, _)| gfn.get()).collect()
    }

    #[test]
    fn a_row_ends_where_a_frame_looks_different_or_the_table_does() {
        let mut frames = frames();
        frames.set(Gfn::new(4), OLD.with(Flag::Mapped));
        assert_eq!(frames.alike(Gfn::new(1), 100), 3);
        assert_eq!(frames.alike(Gfn::new(1), 2), 2);
        assert_eq!(frames.alike(Gfn::new(5), u64::MAX), 3);
        assert_eq!(frames.alike(Gfn::new(8), 1), 0);
        assert_eq!(frames.alike(Gfn::new(u64::MAX), u64::MAX), 0);
        assert_eq!(frames.replace_alike(Gfn::new(2), 100, (OLD, NEW)), 2);
        assert_eq!(replaced(&frames), [2, 3]);
    }

    #[test]
    fn frames_are_replaced_as_far_as_their_list_goes_along_with_them() {
        for (towards, set) in [
            (Towards::Young, Frames::set_younger as fn(&mut Frames, Gfn, Option<Gfn>)),
            (Towards::Old, Frames::set_older),
        ] {
            let mut frames = frames();
            for number in [1, 2, 3, 5] {
                set(&mut frames, Gfn::new(number), Some(Gfn::new(number + 1)));
            }
            assert_eq!(frames.replace_chained(Gfn::new(1), 100, (OLD, NEW)), (4, towards));
            assert_eq!(replaced(&frames), [1, 2, 3, 4]);
            assert_eq!(frames.replace_chained(Gfn::new(5), 1, (OLD, NEW)).0, 1);
            assert_eq!(frames.replace_chained(Gfn::new(0), 100, (OLD, NEW)).0, 1, "it is alone");
            assert_eq!(replaced(&frames), [0, 1, 2, 3, 4, 5]);
        }
    }
}
