//! Reclaim in the group that a task has moved to by the policy `lazy`, and its pages that others are
//! still charged for.
//!
//! They are in the lists of those others, where reclaim for this group would never meet them. So for
//! each page that it takes it takes on one of these. Room that was made beyond what is needed goes to
//! them, up to a half, and they settle. The rest is evicted where it is, as pages of the wrong charge
//! that should be dropped (the 2008 posting), and settles on swap. One that was seen to be used is
//! watched first, and goes when it is met again.
//!
//! Without swap nothing of this is done: they could not leave again, and their task would be killed for
//! the room that they have taken.

use super::Run;
use crate::frames::Place;
use crate::generations::{OLDEST, YOUNGEST};
use crate::recharge::Key;
use crate::{Gfn, GroupId, Guest, Memcg, Pages, Reclaimed};

/// Debts that one call turns to.
const DEBTS_MAX: u32 = 64;
/// Pages that one call comes by, most of which may be none that wait.
const PASSED_MAX: u64 = 256;

/// What a call may still do.
struct Meeting {
    /// Pages to settle or evict.
    pages: u64,
    /// Pages to come by.
    passed: u64,
    /// Pages that may settle in memory.
    room: u64,
}

impl Meeting {
    const fn most(&self) -> u64 {
        if self.pages < self.passed { self.pages } else { self.passed }
    }
}

impl Memcg {
    /// Takes on pages that wait to follow tasks into `group` and those that charge to it, as many as
    /// `run` has had of its own, a batch at most.
    pub(super) fn meet_newcomers(
        &mut self,
        guest: &mut dyn Guest,
        run: &Run,
        group: GroupId,
        needs: Pages,
    ) {
        let room = run.done.reclaimed.saturating_sub(needs.get()) / 2;
        let pages = run.done.reclaimed.min(Self::BATCH);
        let mut meeting = Meeting { pages, passed: PASSED_MAX, room };
        let mut first = None;
        for _ in 0..DEBTS_MAX {
            let Some(key) = self.debts.next_to_meet() else { return };
            if first.replace(first.unwrap_or(key)) == Some(key) {
                return;
            }
            if self.leads_into(key, group) {
                while meeting.most() > 0 && self.meet(guest, run, &mut meeting, key) {}
            }
            if meeting.most() == 0 {
                return;
            }
        }
    }

    /// Tells whether pages of this debt would be charged to `group`, and are not.
    fn leads_into(&self, (tid, from): Key, group: GroupId) -> bool {
        let to = self.task_group(tid);
        to.is_some_and(|to| self.charges(to, group))
            && !self.charges(from, group)
            && [to, Some(from)].into_iter().flatten().all(|end| self.may_swap(end))
    }

    fn may_swap(&self, group: GroupId) -> bool {
        self.settings(group).is_ok_and(|settings| settings.swappiness > 0)
    }

    /// Comes by some pages of one debt; false when there are no more.
    fn meet(&mut self, guest: &mut dyn Guest, run: &Run, meeting: &mut Meeting, key: Key) -> bool {
        let Some(debt) = self.debts.get(key) else { return false };
        let Some(number) = self.begin_settling(key) else { return false };
        let mut sweep = self.begin_sweep(number, debt.reach());
        sweep.limit_memory(meeting.room);
        let mut looked_at = 0;
        let next = guest.scan(key.0, debt.met(), meeting.most(), &mut |found| {
            looked_at += found.pages.get();
            self.sweep(&mut sweep, &found);
        });
        let haul = self.end_sweep(sweep);
        let away = self.drop_newcomers(guest, run, &haul.left);
        let later = self.take(number, debt.reach(), &away);
        self.settle_transit(number);
        let left = u64::try_from(haul.left.len()).unwrap_or(u64::MAX);
        meeting.passed = meeting.passed.saturating_sub(looked_at.max(1));
        meeting.pages = meeting.pages.saturating_sub(haul.moved.memsw.saturating_add(left));
        meeting.room -= haul.moved.memory;
        let settled = haul.moved.memsw + later.moved.memsw;
        self.debts.note_met(key, next, (settled, left.saturating_sub(later.moved.memsw)))
    }

    /// Evicts pages that found no room; returns those that are on swap now.
    fn drop_newcomers(&mut self, guest: &mut dyn Guest, run: &Run, pages: &[Gfn]) -> Vec<Gfn> {
        let (mut victims, mut watched) = (Vec::new(), Vec::new());
        for &gfn in pages {
            let Ok(frame) = self.frames.get(gfn) else { continue };
            if frame.sort().is_none() {
                continue;
            }
            if frame.place() == Place::Generation(YOUNGEST) {
                self.relist(gfn, frame, frame.with_place(Place::Generation(OLDEST)));
                watched.push(gfn);
            } else {
                victims.push((gfn, frame));
            }
        }
        if !watched.is_empty() {
            guest.age(&watched);
        }
        // What is had here is no relief to whom reclaim works for.
        let mut aside = Run { done: Reclaimed::default(), ..*run };
        if !victims.is_empty() {
            self.evict(guest, &mut aside, &victims);
        }
        victims.into_iter().map(|(gfn, _)| gfn).filter(|gfn| self.is_swapped(*gfn)).collect()
    }
}
