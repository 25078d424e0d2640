//! How hard it is to free memory, in three levels: the arithmetic of Linux v6.12 mm/vmpressure.c.
//!
//! Whatever reclaim looks at and gets is added up for the group it works for; each 512 pages looked
//! at make one event. Running out of memory is critical at once.

use crate::{GroupId, Memcg};

/// How hard it is to free memory in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PressureLevel {
    /// Something is being reclaimed.
    Low,
    /// Most of what is looked at is in use.
    Medium,
    /// Out of memory is near, or here.
    Critical,
}

impl PressureLevel {
    /// Linux `vmpressure_level_med` and `vmpressure_level_critical`, in percent.
    const MEDIUM: u64 = 60;
    const CRITICAL: u64 = 95;

    /// Works out the level from pages looked at and pages that were had (Linux
    /// `vmpressure_calc_level`).
    #[must_use]
    pub const fn of(scanned: u64, reclaimed: u64) -> Self {
        if reclaimed >= scanned {
            return Self::Low;
        }
        // Linux divides twice; the result is the same but for rounding.
        match (scanned - reclaimed).saturating_mul(100) / scanned {
            Self::CRITICAL.. => Self::Critical,
            Self::MEDIUM.. => Self::Medium,
            _ => Self::Low,
        }
    }
}

/// What was looked at and had since the last event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Window {
    scanned: u64,
    reclaimed: u64,
}

impl Window {
    /// Linux `vmpressure_win`: SWAP_CLUSTER_MAX * 16.
    const PAGES: u64 = 512;

    /// Adds to the window; returns the level of a window that is full, and starts the next.
    fn note(&mut self, scanned: u64, reclaimed: u64) -> Option<PressureLevel> {
        self.scanned += scanned;
        self.reclaimed += reclaimed;
        (self.scanned >= Self::PAGES).then(|| {
            let Self { scanned, reclaimed } = std::mem::take(self);
            PressureLevel::of(scanned, reclaimed)
        })
    }
}

impl Memcg {
    /// Returns the pressure events since this was last asked, in their order. Who hears of them,
    /// also above the group, is the caller's business.
    #[must_use]
    pub fn take_pressure(&mut self) -> Vec<(GroupId, PressureLevel)> {
        std::mem::take(&mut self.pressure)
    }

    /// Notes what reclaim on behalf of the group at `index` looked at and had.
    pub(crate) fn note_pressure(&mut self, index: u32, scanned: u64, reclaimed: u64) {
        let group = self.groups.at_mut(index);
        if let Some(level) = group.window.note(scanned, reclaimed) {
            self.pressure.push((group.id, level));
        }
    }

    /// Notes that there is nothing left to be had for the group at `index`. One event is enough until
    /// somebody has heard of it.
    pub(crate) fn note_critical(&mut self, index: u32) {
        let group = self.groups.at_mut(index);
        group.window = Window::default();
        let event = (group.id, PressureLevel::Critical);
        if !self.pressure.contains(&event) {
            self.pressure.push(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{PressureLevel, Window};
    use crate::fixture;

    #[test]
    fn the_level_grows_with_what_was_looked_at_in_vain() {
        let levels = [(100, 100), (100, 41), (100, 40), (100, 6), (100, 5), (100, 0), (1, 2)];
        let [all, most, some, few, fewer, none, more] =
            levels.map(|(scanned, reclaimed)| PressureLevel::of(scanned, reclaimed));
        assert_eq!([all, most, more], [PressureLevel::Low; 3]);
        assert_eq!([some, few], [PressureLevel::Medium; 2]);
        assert_eq!([fewer, none], [PressureLevel::Critical; 2]);
    }

    #[test]
    fn an_event_is_made_of_512_pages_looked_at() {
        let mut window = Window::default();
        assert_eq!(window.note(500, 500), None);
        assert_eq!(window.note(11, 0), None);
        assert_eq!(window.note(1, 0), Some(PressureLevel::Low));
        assert_eq!(window.note(511, 0), None);
        assert_eq!(window.note(1, 0), Some(PressureLevel::Critical));
    }

    #[test]
    fn events_are_queued_for_the_group_until_they_are_taken() {
        let mut m = fixture::share(8);
        let a = m.create(m.root(), "a").unwrap();
        m.note_pressure(a.index(), 511, 100);
        assert_eq!(m.take_pressure(), []);
        m.note_pressure(a.index(), 1, 0);
        m.note_critical(m.root().index());
        m.note_critical(m.root().index());
        let critical = (m.root(), PressureLevel::Critical);
        assert_eq!(m.take_pressure(), [(a, PressureLevel::Medium), critical]);
        assert_eq!(m.take_pressure(), []);
    }
}
