//! How much time tasks lose for lack of memory: what Linux v6.12 kernel/sched/psi.c calculates.
//!
//! There is no clock in this crate. Times are microseconds of any clock that does not go back; a time
//! before the last one seen counts as that.
//!
//! Linux samples every two seconds, as long as something happens. Here the periods that have gone by
//! are closed whenever a stall begins or ends or somebody asks, each with what happened in it, so
//! that the averages are the same as if somebody had looked every two seconds.

/// Length of a period: `PSI_FREQ`.
const PERIOD_US: u64 = 2_000_000;
/// 1.0 in Linux's fixed-point numbers, `FIXED_1`.
const ONE: u64 = 1 << SHIFT;
const SHIFT: u32 = 11;
/// What an average keeps of its value after a period: `EXP_10s`, `EXP_60s`, `EXP_300s`.
const DECAY: [u64; 3] = [1677, 1981, 2034];

/// A percentage in hundredths: 1234 is 12.34 %.
pub type Hundredths = u64;

/// One line of a pressure file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StallShare {
    /// Averages over 10, 60 and 300 seconds, in hundredths of a percent.
    pub averages: [Hundredths; 3],
    /// Time lost in all, in microseconds.
    pub total_us: u64,
}

/// What `memory.pressure` of a group shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stall {
    /// Time in which at least one task waited for memory.
    pub some: StallShare,
    /// Time in which all of them did.
    pub full: StallShare,
}

/// The time that is lost in one state, `some` or `full`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Line {
    is_on: bool,
    total_us: u64,
    /// Lost in the period that has not ended yet.
    period_us: u64,
    /// Fixed-point percentages.
    averages: [u64; 3],
}

impl Line {
    const NEW: Self = Self { is_on: false, total_us: 0, period_us: 0, averages: [0; 3] };

    /// Adds time within one period.
    fn pass(&mut self, us: u64) {
        if self.is_on {
            self.total_us += us;
            self.period_us += us;
        }
    }

    /// Ends a period, and then `more` whole ones without a change.
    fn close(&mut self, more: u64) {
        let percent = std::mem::take(&mut self.period_us) * 100 / PERIOD_US;
        let steady = if self.is_on { 100 } else { 0 };
        if self.is_on {
            self.total_us = self.total_us.saturating_add(more.saturating_mul(PERIOD_US));
        }
        for (average, decay) in self.averages.iter_mut().zip(DECAY) {
            *average = load(*average, decay, percent * ONE);
            if more > 0 {
                *average = load(*average, power(decay, more), steady * ONE);
            }
        }
    }

    fn share(&self) -> StallShare {
        // Linux LOAD_INT and LOAD_FRAC.
        let hundredths =
            |average: u64| (average >> SHIFT) * 100 + (((average & (ONE - 1)) * 100) >> SHIFT);
        StallShare { averages: self.averages.map(hundredths), total_us: self.total_us }
    }
}

/// Linux `calc_load`: moves an average towards what is active.
fn load(average: u64, decay: u64, active: u64) -> u64 {
    let sum = average * decay + active * (ONE - decay);
    (if active >= average { sum + ONE - 1 } else { sum }) / ONE
}

/// Linux `fixed_power_int`: `base` to the power of `exponent`, in fixed point.
fn power(mut base: u64, mut exponent: u64) -> u64 {
    let mut result = ONE;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = (result * base + (ONE >> 1)) >> SHIFT;
        }
        base = (base * base + (ONE >> 1)) >> SHIFT;
        exponent >>= 1;
    }
    result
}

/// The stalls of one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stalls {
    some: Line,
    full: Line,
    now_us: u64,
    /// Where the current period began.
    period_us: u64,
    /// Tasks that wait for memory now.
    pub(crate) waiting: u32,
}

impl Stalls {
    /// Begins to watch a group at this time.
    pub(crate) const fn starting(now_us: u64) -> Self {
        Self { some: Line::NEW, full: Line::NEW, now_us, period_us: now_us, waiting: 0 }
    }

    /// Lets time pass.
    pub(crate) fn advance(&mut self, now_us: u64) {
        let now_us = now_us.max(self.now_us);
        let end = self.period_us.saturating_add(PERIOD_US);
        if now_us < end {
            self.pass(now_us - self.now_us);
        } else {
            self.pass(end - self.now_us);
            let more = (now_us - end) / PERIOD_US;
            self.some.close(more);
            self.full.close(more);
            self.period_us = end + more * PERIOD_US;
            self.pass(now_us - self.period_us);
        }
        self.now_us = now_us;
    }

    /// Sets who waits from now on: some of the tasks, or all.
    pub(crate) fn set(&mut self, is_some: bool, is_full: bool) {
        self.some.is_on = is_some;
        self.full.is_on = is_full;
    }

    /// What a reader sees.
    pub(crate) fn stall(&self) -> Stall {
        Stall { some: self.some.share(), full: self.full.share() }
    }

    fn pass(&mut self, us: u64) {
        self.some.pass(us);
        self.full.pass(us);
    }
}

#[cfg(test)]
mod tests {
    use super::{PERIOD_US, Stalls};

    /// A group in which `some` is on in the time from `from` to `to`.
    fn stalled(from: u64, to: u64) -> Stalls {
        let mut stalls = Stalls::default();
        stalls.advance(from);
        stalls.set(true, false);
        stalls.advance(to);
        stalls.set(false, false);
        stalls
    }

    #[test]
    fn a_stall_adds_up_exactly_across_periods() {
        let mut stalls = stalled(1_500_000, 8_000_001);
        stalls.advance(20_000_000);
        assert_eq!(stalls.stall().some.total_us, 6_500_001);
        assert_eq!(stalls.stall().full.total_us, 0);
    }

    #[test]
    fn averages_are_those_of_someone_who_looks_every_period() {
        for (from, to) in [(0, 7_000_000), (3_000_000, 3_500_000), (1, 61_000_000)] {
            let mut often = Stalls::default();
            for now in (0..=200_000).map(|step| step * 500) {
                often.advance(now);
                often.set((from..to).contains(&now), false);
            }
            let mut seldom = stalled(from.div_ceil(500) * 500, to.div_ceil(500) * 500);
            seldom.advance(100_000_000);
            let (often, seldom) = (often.stall().some, seldom.stall().some);
            assert_eq!(often.total_us, seldom.total_us);
            // Powers are rounded once, products each time.
            for (a, b) in often.averages.into_iter().zip(seldom.averages) {
                assert!(a.abs_diff(b) <= 10, "{often:?} {seldom:?}");
            }
        }
    }

    #[test]
    fn a_group_that_always_stalls_approaches_100_percent_and_calms_down_again() {
        let mut stalls = stalled(0, 10_000_000);
        let after_ten_seconds = stalls.stall().some.averages;
        // 1 - (1677 / 2048)^5 and so on.
        assert_eq!(after_ten_seconds.map(|average| average / 100), [63, 15, 3]);
        stalls.set(true, true);
        stalls.advance(3_600_000_000);
        assert_eq!(stalls.stall().some.averages, [10_000; 3]);
        assert_eq!(stalls.stall().full.averages, [10_000; 3]);
        stalls.set(false, false);
        stalls.advance(7_200_000_000);
        assert_eq!(stalls.stall().some.averages, [0; 3]);
    }

    #[test]
    fn nothing_is_averaged_before_the_period_ends_and_a_clock_that_goes_back_stands_still() {
        let mut stalls = stalled(0, PERIOD_US - 1);
        assert_eq!(stalls.stall().some.averages, [0; 3]);
        stalls.advance(5);
        assert_eq!(stalls.stall().some.total_us, PERIOD_US - 1);
        stalls.advance(PERIOD_US);
        assert!(stalls.stall().some.averages[0] > 1700);
    }
}
