//! Making room in groups that are at a limit: what the guest has freed, pages that wait to follow a
//! task, and then pages that can be evicted, a batch at a time.

use std::time::{Duration, Instant};

use memcg::{Effort, GroupId, Memcg, Pages, Reclaimed, Resource};

use crate::guest::RealGuest;
use crate::machine::{Accounting, Machine};

/// Pages that a refused charge makes room for, so that the next ones find some.
const BATCH_PAGES: u64 = 32;
/// How long a writer of a control file works before it looks whether it is wanted elsewhere.
const ROUND: Duration = Duration::from_millis(10);

/// How often to go on looking for pages that can be evicted. The accounting says when there are none;
/// this ends the search all the same, whatever the guest says of its pages.
struct Looks(u64);

impl Looks {
    /// More than the looks at a group in which every page has to be aged before one is evicted.
    fn new(memcg: &Memcg, group: GroupId) -> Self {
        let counter = memcg.counter(group, Resource::Memory);
        Self(1000 + 4 * counter.map_or(0, |counter| counter.usage().get()))
    }

    fn are_over(&mut self, done: &Reclaimed) -> bool {
        self.0 = self.0.saturating_sub(done.scanned.max(1));
        done.is_exhausted || self.0 == 0
    }
}

impl Machine {
    /// Makes room for a charge that `group` refused; false when there is none to be had. The guest
    /// waits for the answer to a fault, or stands still.
    pub(crate) fn find_room(
        &self,
        accounting: &mut Accounting,
        group: GroupId,
        resource: Resource,
    ) -> bool {
        // What the guest has freed but the host has not taken back yet may be all it takes.
        if self.drain_free(accounting) + self.drain_kmem(accounting) > 0
            || !self.settle_out_of(accounting, (group, resource)).is_zero()
        {
            return true;
        }
        let mut looks = Looks::new(&accounting.memcg, group);
        loop {
            let effort = Effort::for_charge(resource, Pages::ONE);
            let done = self.evict_some(accounting, group, Pages::new(BATCH_PAGES), effort);
            if done.reclaimed > 0 {
                return true;
            }
            if looks.are_over(&done) {
                return false;
            }
        }
    }

    /// Evicts up to `goal` pages of `group` and those that charge to it, with a bounded effort.
    fn evict_some(
        &self,
        accounting: &mut Accounting,
        group: GroupId,
        goal: Pages,
        effort: Effort,
    ) -> Reclaimed {
        let Accounting { memcg, tasks, contents, .. } = accounting;
        let mut guest = RealGuest::new(self, tasks, contents);
        memcg.reclaim(&mut guest, group, goal, effort)
    }

    /// Makes room in `group`; returns how many pages it has become, zero when trying again is no
    /// use. The guest runs between two batches. Caller holds no lock.
    pub(crate) fn reclaim(&self, group: GroupId, resource: Resource, wanted: Pages) -> Pages {
        let start = Instant::now();
        let usage = || {
            let counter = self.lock().memcg.counter(group, Resource::Memory);
            counter.map_or(0, |counter| counter.usage().get())
        };
        let before = usage();
        self.shrink_and_wait(group);
        let mut found = before.saturating_sub(usage());
        let mut looks = Looks::new(&self.lock().memcg, group);
        loop {
            let _paused = self.pause();
            let mut accounting = self.lock();
            let before = found;
            found += self.drain_free(&mut accounting) + self.drain_kmem(&mut accounting);
            found += self.settle_out_of(&mut accounting, (group, resource)).get();
            let mut is_over = found >= wanted.get();
            if found == before && !is_over {
                let goal = Pages::new((wanted.get() - found).min(BATCH_PAGES));
                let effort = Effort::relieving(resource);
                let done = self.evict_some(&mut accounting, group, goal, effort);
                found += done.reclaimed;
                is_over = looks.are_over(&done) || found >= wanted.get();
            }
            is_over |= start.elapsed() > ROUND && found > 0;
            if is_over {
                return Pages::new(found);
            }
        }
    }
}
