//! Which frames may be handed out: a bitmap of those that may not, so that one never touched (zero)
//! means memory never used; and where in it to begin looking.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::frames::RUN_MAX;
use crate::number::{Gfn, index};

/// One bit for each frame: set = must not be handed out. Frames fall into aligned groups of
/// [`RUN_MAX`], which runs never cross.
#[derive(Debug)]
pub(super) struct FrameMap {
    taken: Vec<u64>,
    /// No word below this one has a clear bit.
    first_candidate: usize,
    /// No word below this one has a group that is wholly clear.
    first_run: usize,
}

/// The bits of a group at bit 0.
const GROUP: u64 = (1 << RUN_MAX) - 1;

/// First bits of the groups of a word.
fn groups() -> impl Iterator<Item = u64> {
    (0..u64::from(u64::BITS)).step_by(RUN_MAX)
}

impl FrameMap {
    /// Frames from `first` up to `end` may be handed out, but for those set aside.
    pub(super) fn new(first: Gfn, end: Gfn, aside: Range<u64>) -> Self {
        let mut taken = vec![0; index(end.0.div_ceil(64))];
        for gfn in (0..first.0).chain(end.0..end.0.next_multiple_of(64)).chain(aside) {
            taken[index(gfn / 64)] |= 1 << (gfn % 64);
        }
        let start = index(first.0 / 64);
        Self { taken, first_candidate: start, first_run: start }
    }

    /// The lowest frame that may be handed out.
    pub(super) fn find(&mut self) -> Option<Gfn> {
        let from = self.first_candidate;
        let found = self.taken[from..].iter().position(|word| *word != u64::MAX)?;
        self.first_candidate = from + found;
        let bit = self.taken[self.first_candidate].trailing_ones();
        Some(Gfn(self.first_candidate as u64 * 64 + u64::from(bit)))
    }

    /// The first `count` frames of a group, found where a whole group is clear at the latest.
    pub(super) fn find_run(&mut self, count: usize) -> Option<Gfn> {
        let wanted = (1_u64 << count) - 1;
        let from = self.first_run;
        let run_in = |word: u64| groups().find(|group| word >> group & wanted == 0);
        let has_whole = |word: u64| groups().any(|group| word >> group & GROUP == 0);
        for (offset, &word) in self.taken[from..].iter().enumerate() {
            if self.first_run == from + offset && !has_whole(word) {
                self.first_run += 1;
            }
            if let Some(group) = run_in(word) {
                return Some(Gfn((from + offset) as u64 * 64 + group));
            }
        }
        None
    }

    /// The frame is handed out.
    pub(super) fn take(&mut self, gfn: Gfn) {
        self.taken[index(gfn.0 / 64)] |= 1 << (gfn.0 % 64);
    }

    /// The frame may be handed out again.
    pub(super) fn give_back(&mut self, gfn: Gfn) {
        let at = index(gfn.0 / 64);
        self.taken[at] &= !(1 << (gfn.0 % 64));
        self.first_candidate = self.first_candidate.min(at);
        let group = gfn.0 % 64 / RUN_MAX as u64 * RUN_MAX as u64;
        if self.taken[at] >> group & GROUP == 0 {
            self.first_run = self.first_run.min(at);
        }
    }
}
