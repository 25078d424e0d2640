//! Which frames have a page of the host, and which of those can be read without a fault: ageing takes
//! mappings away.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use memcg::Gfn;

/// What the host has behind the frames of the guest.
#[derive(Debug)]
pub(super) struct Backed {
    pages: Bits,
    mapped: Bits,
    /// Frames of huge pages, which are not counted with the others.
    aside: Range<u64>,
    small: AtomicU64,
    small_peak: AtomicU64,
    huge: AtomicU64,
}

/// A bit a frame.
#[derive(Debug)]
struct Bits(Box<[AtomicU64]>);

impl Backed {
    /// Nothing is behind so many frames.
    pub(super) fn new(frames: u64) -> Self {
        Self {
            pages: Bits::new(frames),
            mapped: Bits::new(frames),
            aside: 0..0,
            small: AtomicU64::new(0),
            small_peak: AtomicU64::new(0),
            huge: AtomicU64::new(0),
        }
    }

    /// Says which frames are those of huge pages. Call it before there is a page.
    pub(super) fn set_aside(&mut self, frames: Range<u64>) {
        self.aside = frames;
    }

    /// True when there is a page.
    pub(super) fn has(&self, gfn: Gfn) -> bool {
        self.pages.has(gfn)
    }

    /// Length of the row of pages that begins at `gfn`, at most `max`.
    pub(super) fn run(&self, gfn: Gfn, max: u64) -> u64 {
        self.pages.run(gfn, max)
    }

    /// True when there is one that can be read.
    pub(super) fn is_mapped(&self, gfn: Gfn) -> bool {
        self.mapped.has(gfn)
    }

    /// There is a page now, and it is mapped.
    pub(super) fn set(&self, gfn: Gfn) {
        if self.pages.set(gfn) {
            let count = self.counter(gfn).fetch_add(1, Ordering::AcqRel) + 1;
            if !self.aside.contains(&gfn.get()) {
                self.small_peak.fetch_max(count, Ordering::AcqRel);
            }
        }
        self.mapped.set(gfn);
    }

    /// It is not mapped any more.
    pub(super) fn set_unmapped(&self, gfn: Gfn) {
        self.mapped.clear(gfn);
    }

    /// There is none any more.
    pub(super) fn clear(&self, gfn: Gfn) {
        self.mapped.clear(gfn);
        if self.pages.clear(gfn) {
            self.counter(gfn).fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Pages in all.
    pub(super) fn count(&self) -> u64 {
        self.small_count() + self.huge.load(Ordering::Acquire)
    }

    /// Pages that are not part of huge ones.
    pub(super) fn small_count(&self) -> u64 {
        self.small.load(Ordering::Acquire)
    }

    /// The most there have been of these at once.
    pub(super) fn small_peak(&self) -> u64 {
        self.small_peak.load(Ordering::Acquire)
    }

    fn counter(&self, gfn: Gfn) -> &AtomicU64 {
        if self.aside.contains(&gfn.get()) { &self.huge } else { &self.small }
    }
}

impl Bits {
    fn new(frames: u64) -> Self {
        let words = usize::try_from(frames).expect("fits as the length does") / 64 + 1;
        Self((0..words).map(|_| AtomicU64::new(0)).collect())
    }

    fn has(&self, gfn: Gfn) -> bool {
        self.bit(gfn).is_some_and(|(word, bit)| word.load(Ordering::Acquire) & bit != 0)
    }

    /// Length of the row of set bits that begins at `gfn`, at most `max`.
    fn run(&self, gfn: Gfn, max: u64) -> u64 {
        let mut run = 0;
        while run < max {
            let at = gfn.get().saturating_add(run);
            let word = usize::try_from(at / 64).ok().and_then(|index| self.0.get(index));
            let bits = word.map_or(0, |word| word.load(Ordering::Acquire)) >> (at % 64);
            let ones = u64::from(bits.trailing_ones());
            run += ones;
            if ones < 64 - at % 64 {
                break;
            }
        }
        run.min(max)
    }

    /// True when the bit was clear.
    fn set(&self, gfn: Gfn) -> bool {
        self.bit(gfn).is_some_and(|(word, bit)| word.fetch_or(bit, Ordering::AcqRel) & bit == 0)
    }

    /// True when the bit was set.
    fn clear(&self, gfn: Gfn) -> bool {
        self.bit(gfn).is_some_and(|(word, bit)| word.fetch_and(!bit, Ordering::AcqRel) & bit != 0)
    }

    fn bit(&self, gfn: Gfn) -> Option<(&AtomicU64, u64)> {
        let index = usize::try_from(gfn.get()).ok()?;
        Some((self.0.get(index / 64)?, 1 << (index % 64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_pages_are_measured_across_words() {
        let backed = Backed::new(256);
        for gfn in (3..200).filter(|gfn| *gfn != 130) {
            backed.set(Gfn::new(gfn));
        }
        let run = |gfn, max| backed.run(Gfn::new(gfn), max);
        assert_eq!([run(2, 9), run(3, 9), run(60, 4), run(60, 1000)], [0, 9, 4, 70]);
        assert_eq!([run(131, 1000), run(199, 1000), run(200, 1)], [69, 1, 0]);
        assert_eq!(run(u64::MAX, u64::MAX), 0);
    }

    #[test]
    fn pages_are_counted_once_and_those_of_huge_pages_apart() {
        let mut backed = Backed::new(128);
        backed.set_aside(64..128);
        for gfn in [3, 3, 4, 64, 127].map(Gfn::new) {
            backed.set(gfn);
        }
        assert_eq!((backed.small_count(), backed.count()), (2, 4));
        backed.set_unmapped(Gfn::new(3));
        assert!(backed.has(Gfn::new(3)) && !backed.is_mapped(Gfn::new(3)));
        for gfn in [3, 3, 64, 9, 1000].map(Gfn::new) {
            backed.clear(gfn);
        }
        assert_eq!((backed.small_count(), backed.count(), backed.small_peak()), (1, 2, 2));
    }
}
