//! One counter with a limit: the arithmetic of Linux's `mm/page_counter.c`, without its parent
//! pointer. Walking the hierarchy is the business of [`crate::Memcg`].
//!
//! Equality with the limit is allowed everywhere. All sums are of frames or of limits, both far
//! below 2^63, so that additions saturate only on nonsense.

use std::ops::Range;

use crate::Pages;

/// Usage against a limit, with the highest usage seen and the number of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    usage: u64,
    limit: u64,
    watermark: u64,
    failcnt: u64,
    /// While the usage is at least `floor` and below `ceiling`, it crosses no threshold.
    floor: u64,
    ceiling: u64,
}

impl Default for Counter {
    fn default() -> Self {
        Self::UNUSED
    }
}

impl Counter {
    /// A counter that nothing was charged to, without a limit.
    pub(crate) const UNUSED: Self = Self {
        usage: 0,
        limit: Pages::UNLIMITED.get(),
        watermark: 0,
        failcnt: 0,
        floor: 0,
        ceiling: u64::MAX,
    };

    /// Makes an unused counter with a limit.
    pub(crate) fn with_limit(limit: Pages) -> Self {
        Self { limit: limit.get(), ..Self::default() }
    }

    /// Pages charged now.
    #[must_use]
    pub const fn usage(&self) -> Pages {
        Pages::new(self.usage)
    }

    /// The most that may be charged.
    #[must_use]
    pub const fn limit(&self) -> Pages {
        Pages::new(self.limit)
    }

    /// The highest usage since the last reset.
    #[must_use]
    pub const fn watermark(&self) -> Pages {
        Pages::new(self.watermark)
    }

    /// How often this counter refused a charge since the last reset.
    #[must_use]
    pub const fn failcnt(&self) -> u64 {
        self.failcnt
    }

    /// Pages that still fit; none when the usage is over the limit.
    #[inline]
    pub(crate) const fn room(&self) -> u64 {
        self.limit.saturating_sub(self.usage)
    }

    /// Tells whether `pages` more fit.
    #[inline]
    pub(crate) const fn fits(&self, pages: u64) -> bool {
        pages <= self.room()
    }

    /// Adds `pages` whether they fit or not; returns how many of them are over the limit.
    #[inline]
    pub(crate) fn charge(&mut self, pages: u64) -> u64 {
        let over = pages.saturating_sub(self.room());
        self.usage = self.usage.saturating_add(pages);
        self.watermark = self.watermark.max(self.usage);
        over
    }

    /// Takes `pages` off.
    ///
    /// # Panics
    /// When more would be taken off than was charged: a frame was counted twice.
    #[inline]
    pub(crate) fn uncharge(&mut self, pages: u64) {
        self.usage = self.usage.checked_sub(pages).expect("counter holds what frames charge");
    }

    /// Tells whether a charge has crossed a threshold: the usage has reached one.
    #[inline]
    pub(crate) const fn is_at_ceiling(&self) -> bool {
        self.usage >= self.ceiling
    }

    /// Tells whether an uncharge has crossed a threshold: the usage has fallen below one.
    #[inline]
    pub(crate) const fn is_below_floor(&self) -> bool {
        self.usage < self.floor
    }

    /// Tells whether neither has happened.
    pub(crate) const fn is_calm(&self) -> bool {
        !self.is_at_ceiling() && !self.is_below_floor()
    }

    /// Returns the usages that cross no threshold.
    pub(crate) const fn calm(&self) -> Range<u64> {
        self.floor..self.ceiling
    }

    /// Sets the usages that cross no threshold.
    pub(crate) const fn set_calm(&mut self, calm: Range<u64>) {
        (self.floor, self.ceiling) = (calm.start, calm.end);
    }

    /// Notes that this counter refused a charge.
    pub(crate) fn refuse(&mut self) {
        self.failcnt = self.failcnt.saturating_add(1);
    }

    /// Sets the limit; refuses, changing nothing, when the usage is above it.
    pub(crate) fn try_set_limit(&mut self, limit: u64) -> bool {
        let fits = self.usage <= limit;
        if fits {
            self.limit = limit;
        }
        fits
    }

    /// Forgets the highest usage: the watermark becomes the usage.
    pub(crate) fn reset_watermark(&mut self) {
        self.watermark = self.usage;
    }

    /// Forgets what was charged and taken back since the watermark was `earlier`.
    pub(crate) fn restore_watermark(&mut self, earlier: Pages) {
        self.watermark = self.watermark.min(earlier.get().max(self.usage));
    }

    /// Forgets the refusals.
    pub(crate) fn reset_failcnt(&mut self) {
        self.failcnt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::Counter;
    use crate::Pages;

    fn counter(limit: u64) -> Counter {
        Counter::with_limit(Pages::new(limit))
    }

    #[test]
    fn a_charge_up_to_the_limit_fits_and_one_more_does_not() {
        let mut c = counter(10);
        assert!(c.fits(10));
        assert_eq!(c.charge(10), 0);
        assert!(!c.fits(1));
        assert!(c.fits(0));
    }

    #[test]
    fn a_forced_charge_tells_how_far_it_overshoots() {
        let mut c = counter(10);
        assert_eq!(c.charge(12), 2);
        assert_eq!(c.charge(3), 3);
        assert_eq!(c.usage().get(), 15);
        assert_eq!(c.room(), 0);
    }

    #[test]
    fn the_watermark_keeps_the_highest_usage_until_reset() {
        let mut c = counter(10);
        c.charge(7);
        c.uncharge(5);
        assert_eq!(c.watermark().get(), 7);
        c.reset_watermark();
        assert_eq!(c.watermark().get(), 2);
    }

    #[test]
    fn a_limit_below_the_usage_is_refused_and_equality_is_not() {
        let mut c = counter(10);
        c.charge(4);
        assert!(!c.try_set_limit(3));
        assert_eq!(c.limit().get(), 10);
        assert!(c.try_set_limit(4));
    }

    #[test]
    fn a_count_beyond_two_gigabytes_neither_wraps_nor_turns_negative() {
        // Defect 2 of the 2008 patch: `int necessary = count * PAGE_SIZE`.
        let mut c = counter(1 << 40);
        assert!(c.fits(1 << 39));
        assert_eq!(c.charge(1 << 39), 0);
        assert!(!c.fits(u64::MAX));
    }
}
