//! The late half of the policy `lazy`: pages follow their tasks when the guest idles, at a rate that
//! can be chosen, when the group that is charged for them has no room, and when their task touches
//! them again. (Those that reclaim for the task's group meets are the business of the accounting.)

use std::time::Duration;

use memcg::{Gfn, GroupId, Gva, Pages, Resource, ScannedRun, Tid};
use vmcg_abi::frame::FrameEntry;
use vmcg_abi::page::shared;

use crate::fault::kind_of;
use crate::guest::RealGuest;
use crate::machine::{Accounting, Machine};
use crate::moves::CHUNK_PAGES;

/// Pages a second that are looked at while the guest idles, unless told otherwise: 1 GiB.
pub const RATE_DEFAULT: u64 = 1 << 18;
/// Shortest time between two looks.
const SLICE_MIN: Duration = Duration::from_millis(10);
/// Longest time between two looks when nothing found room.
const SLICE_MAX: Duration = Duration::from_millis(200);

impl Machine {
    /// Lets pages follow their tasks while the guest idles, until the machine stops.
    pub(crate) fn settle_when_idle(&self) {
        let Some((pages, slice)) = portion(self.settle_rate) else { return };
        let mut wait = slice;
        while self.gate.sleep_until_idle(wait) {
            let _paused = self.pause();
            let mut accounting = self.lock();
            self.drain_free(&mut accounting);
            let Accounting { memcg, tasks, contents, .. } = &mut *accounting;
            let settled = memcg.settle(&mut RealGuest::new(self, tasks, contents), pages);
            self.gate.set_debts(memcg.has_debts());
            // What finds no room is not asked for again and again at full speed.
            wait = if settled.goes_on { slice } else { slice.max((wait * 2).min(SLICE_MAX)) };
        }
    }

    /// Lets a page that was touched again follow its task, if it waits to. The guest waits for the
    /// answer to a fault.
    pub(crate) fn settle_touched(&self, accounting: &mut Accounting, gfn: Gfn) {
        if !accounting.memcg.has_debts() {
            return;
        }
        let table = self.frame_table().and_then(|gpa| self.memory.frame_table(gpa));
        let entry = table.and_then(|table| table.entry(gfn));
        let kind = entry.and_then(|entry| entry.kind()).and_then(kind_of);
        let (Some(entry), Some(kind)) = (entry, kind) else { return };
        let is_locked = entry.flags() & FrameEntry::LOCKED != 0;
        let mapcount = entry.mapcount();
        let (gva, pages) = (Gva::ZERO, Pages::ONE);
        let page = ScannedRun { gva, gfn, pages, kind, mapcount, is_locked };
        let tid = u32::try_from(self.memory.shared(shared::CURRENT_TID)).unwrap_or(0);
        let is_settled = accounting.memcg.settle_touched(Tid::new(tid), &page);
        log::trace!("frame {:#x} settled by a touch: {is_settled}", gfn.get());
    }

    /// Lets a chunk of pages that wait to leave a group, and that its counter counts, do so; returns how
    /// many did. The guest stands still, or waits for the answer to a fault.
    pub(crate) fn settle_out_of(
        &self,
        accounting: &mut Accounting,
        counter: (GroupId, Resource),
    ) -> Pages {
        let Accounting { memcg, tasks, contents, .. } = accounting;
        if !memcg.has_debts() {
            return Pages::ZERO;
        }
        memcg.settle_out_of(&mut RealGuest::new(self, tasks, contents), counter, CHUNK_PAGES)
    }
}

/// How many pages to look at how often, for so many a second; `None` for none at all.
fn portion(rate: u64) -> Option<(u64, Duration)> {
    let rest = Duration::from_secs(1).checked_div(u32::try_from(rate.clamp(1, 1000)).ok()?)?;
    let slice = SLICE_MIN.max(rest);
    let pages = u128::from(rate) * slice.as_millis() / 1000;
    // A look takes less than a millisecond, whatever the rate.
    let pages = u64::try_from(pages).unwrap_or(CHUNK_PAGES).clamp(1, CHUNK_PAGES);
    (rate > 0).then_some((pages, slice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_split_into_short_looks() {
        assert_eq!(portion(0), None);
        assert_eq!(portion(1), Some((1, Duration::from_secs(1))));
        assert_eq!(portion(50), Some((1, Duration::from_millis(20))));
        assert_eq!(portion(100_000), Some((1000, SLICE_MIN)));
        assert_eq!(portion(u64::MAX), Some((CHUNK_PAGES, SLICE_MIN)));
    }
}
