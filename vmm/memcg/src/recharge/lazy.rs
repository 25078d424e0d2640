//! Debts: pages that are to follow a task which has moved by the policy `lazy`.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::Reach;
use super::policy::Ancestors;
use crate::transit::{Ending, Route, TransitId};
use crate::walk::Chain;
use crate::{GroupId, Guest, Gva, Memcg, Pages, Resource, ScanError, ScannedRun, Scope, Tid};

/// Who owes pages: a task, and the group that is still charged for them.
pub(crate) type Key = (Tid, GroupId);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Debt {
    reach: Reach,
    /// Where the next scan for pages that are locked in memory begins; none when there are no more.
    /// They settle first: no reclaim ever meets them.
    locked: Option<Gva>,
    /// Where the next scan for any page begins.
    cursor: Gva,
    /// At most so many pages are left.
    left: u64,
    /// Of these, pages that the scan for locked ones has come by.
    seen: u64,
    /// Where reclaim in the task's group looks next, and pages that it has come by and left.
    met: Gva,
    met_left: u64,
}

impl Debt {
    pub(crate) const fn reach(&self) -> Reach {
        self.reach
    }

    /// Where reclaim in the task's group looks next.
    pub(crate) const fn met(&self) -> Gva {
        self.met
    }
}

/// All debts, and whose turn it is.
#[derive(Debug, Default)]
pub(crate) struct Debts {
    all: BTreeMap<Key, Debt>,
    /// Sum of what is left by source group; groups without debts have no entry.
    by_source: BTreeMap<GroupId, u64>,
    last: Key,
    last_met: Key,
}

impl Debts {
    /// Notes that up to `pages` of `from` are to follow `tid`.
    pub(crate) fn add(&mut self, tid: Tid, from: GroupId, reach: Reach, pages: Pages) {
        self.remove((tid, from));
        let left = pages.get();
        let locked = Some(Gva::ZERO);
        let [cursor, met] = [Gva::ZERO; 2];
        let debt = Debt { reach, locked, cursor, left, seen: 0, met, met_left: 0 };
        self.all.insert((tid, from), debt);
        *self.by_source.entry(from).or_default() += left;
    }

    /// Returns how many pages of a group wait to leave it, at most.
    pub(crate) fn pending(&self, from: GroupId) -> u64 {
        self.by_source.get(&from).copied().unwrap_or(0)
    }

    /// Returns the groups that pages wait to leave.
    pub(crate) fn sources(&self) -> impl Iterator<Item = GroupId> {
        self.by_source.keys().copied()
    }

    /// Forgets the debts of a task that has exited.
    pub(crate) fn forget_task(&mut self, tid: Tid) {
        let own = |(key, _): (&Key, &Debt)| (key.0 == tid).then_some(*key);
        while let Some(key) = self.all.range((tid, GroupId::default())..).next().and_then(own) {
            self.remove(key);
        }
    }

    /// Forgets the debts to a group that is being removed.
    pub(crate) fn forget_group(&mut self, from: GroupId) {
        if self.by_source.remove(&from).is_some() {
            self.all.retain(|key, _| key.1 != from);
        }
    }

    /// Picks the debt whose turn it is.
    fn next(&mut self) -> Option<(Key, Debt)> {
        let (key, debt) = self.after(self.last)?;
        self.last = key;
        Some((key, debt))
    }

    /// Picks the one that reclaim is to look at.
    pub(crate) fn next_to_meet(&mut self) -> Option<Key> {
        self.last_met = self.after(self.last_met)?.0;
        Some(self.last_met)
    }

    pub(crate) fn get(&self, key: Key) -> Option<Debt> {
        self.all.get(&key).copied()
    }

    /// Returns the debt after this one, or the first after the last.
    fn after(&self, last: Key) -> Option<(Key, Debt)> {
        let after = self.all.range((Bound::Excluded(last), Bound::Unbounded)).next();
        let (key, debt) = after.or_else(|| self.all.iter().next())?;
        Some((*key, *debt))
    }

    /// Notes what reclaim came by: how many pages have settled and how many have not, and where it
    /// stopped, or that the guest did not let it look. False when it has come to the end.
    pub(crate) fn note_met(
        &mut self,
        key: Key,
        next: Result<Option<Gva>, ScanError>,
        (settled, left): (u64, u64),
    ) -> bool {
        let Some(debt) = self.all.get_mut(&key) else { return false };
        let before = debt.left;
        debt.left = before.saturating_sub(settled);
        debt.met_left += left;
        let next = next.map(|next| next.filter(|next| *next > debt.met));
        if let Ok(None) = next {
            // Whatever it has left behind is all there is.
            debt.left = debt.left.min(debt.met_left);
        }
        let next = next.ok().flatten();
        debt.met = next.unwrap_or(Gva::ZERO);
        debt.met_left = if next.is_some() { debt.met_left } else { 0 };
        let (paid, is_paid) = (before - debt.left, debt.left == 0);
        self.pay(key.1, paid);
        if is_paid {
            self.remove(key);
        }
        next.is_some() && !is_paid
    }

    /// Notes how far a debt has been settled: up to where, none for its end.
    fn advance(&mut self, key: Key, which: Which, next: Option<Gva>, settled: u64) {
        let Some(debt) = self.all.get_mut(&key) else { return };
        let mut left = debt.left.saturating_sub(settled);
        match (which, next) {
            (Which::Locked, next) => {
                debt.locked = next;
                // Whatever else it came by is all there was.
                left = if next.is_none() { left.min(debt.seen) } else { left };
            }
            (Which::Any, Some(next)) => debt.cursor = next,
            (Which::Any, None) => return self.remove(key),
        }
        let paid = debt.left - left;
        debt.left = left;
        self.pay(key.1, paid);
    }

    /// Notes that the scan for locked pages has come by others.
    fn note_seen(&mut self, key: Key, pages: u64) {
        if let Some(debt) = self.all.get_mut(&key) {
            debt.seen += pages;
        }
    }

    fn remove(&mut self, key: Key) {
        if let Some(debt) = self.all.remove(&key) {
            self.pay(key.1, debt.left);
        }
    }

    fn pay(&mut self, from: GroupId, pages: u64) {
        if let Some(sum) = self.by_source.get_mut(&from) {
            *sum -= pages;
            if *sum == 0 && !self.all.keys().any(|key| key.1 == from) {
                self.by_source.remove(&from);
            }
        }
    }
}

/// What became of one debt that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Pages that are charged to their task's group now.
    pub moved: Pages,
    /// Of these, pages that are in memory.
    pub resident: Pages,
    /// Looking again at once can move more.
    pub goes_on: bool,
}

impl Settled {
    const NOTHING: Self = Self { moved: Pages::ZERO, resident: Pages::ZERO, goes_on: false };
}

/// Which pages of a debt are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    /// Those that are locked in memory.
    Locked,
    /// All that are left.
    Any,
}

impl Memcg {
    /// Tells whether pages of some task wait to follow it.
    #[must_use]
    pub fn has_debts(&self) -> bool {
        !self.debts.all.is_empty()
    }

    /// Lets pages follow one task that moved by the policy `lazy`, looking at `pages_max` of its
    /// pages at most, first for those that are locked in memory. To be called when the machine is
    /// idle. The guest stands still.
    pub fn settle(&mut self, guest: &mut dyn Guest, pages_max: u64) -> Settled {
        let Some((key, debt)) = self.debts.next() else { return Settled::NOTHING };
        let which = if debt.locked.is_some() { Which::Locked } else { Which::Any };
        self.settle_one(guest, (key, debt), which, pages_max)
    }

    /// Lets one page follow `tid`, which has just touched it again after it was aged; false when it
    /// owes no such page, or there is no room.
    pub fn settle_touched(&mut self, tid: Tid, page: &ScannedRun) -> bool {
        let owner = self.tasks.get(tid).and_then(|task| self.tasks.mm_owner(task.tgid));
        let (Some(tid), Some(from)) = (owner, self.owner(page.gfn)) else { return false };
        let Some(debt) = self.debts.all.get(&(tid, from)).copied() else { return false };
        let Some(number) = self.begin_settling((tid, from)) else { return false };
        let mut sweep = self.begin_sweep(number, debt.reach);
        self.sweep(&mut sweep, page);
        let moved = self.end_sweep(sweep).moved.memsw;
        self.settle_transit(number);
        self.debts.advance((tid, from), Which::Any, Some(debt.cursor), moved);
        moved > 0
    }

    /// Lets pages leave `group` and the groups that are charged to it, `pages_max` of each task at
    /// most, until some have that `relieves` counts; returns how many. Zero means that no such page
    /// waits to leave, or none finds room elsewhere. To be called before a charge of `group` is
    /// refused. The guest stands still.
    pub fn settle_out_of(
        &mut self,
        guest: &mut dyn Guest,
        (group, relieves): (GroupId, Resource),
        pages_max: u64,
    ) -> Pages {
        for key in self.debts.all.keys().copied().collect::<Vec<_>>() {
            let heir = self.task_group(key.0);
            let is_inside = |at: Option<GroupId>| at.is_some_and(|at| self.charges(at, group));
            if !is_inside(Some(key.1)) || is_inside(heir) {
                continue;
            }
            while let Some(debt) = self.debts.all.get(&key).copied() {
                let settled = self.settle_one(guest, (key, debt), Which::Any, pages_max);
                let left = match relieves {
                    Resource::Memory => settled.resident,
                    _ => settled.moved,
                };
                if !left.is_zero() {
                    return left;
                }
                if !settled.goes_on {
                    break;
                }
            }
        }
        Pages::ZERO
    }

    /// Tells whether what `group` is charged `above` is charged as well.
    pub(crate) fn charges(&self, group: GroupId, above: GroupId) -> bool {
        let Ok(index) = self.groups.index(group) else { return false };
        self.chain(Chain::whole(index)).any(|index| self.groups.at(index).id == above)
    }

    fn settle_one(
        &mut self,
        guest: &mut dyn Guest,
        (key, debt): (Key, Debt),
        which: Which,
        pages_max: u64,
    ) -> Settled {
        let Some(number) = self.begin_settling(key) else { return Settled::NOTHING };
        let start = match which {
            Which::Locked => debt.locked.unwrap_or(Gva::ZERO),
            Which::Any => debt.cursor,
        };
        let mut sweep = self.begin_sweep(number, debt.reach);
        let (mut ends, mut seen) = (self.ends(number, debt.reach), 0);
        let next = guest.scan(key.0, start, pages_max.max(1), &mut |run| {
            if which == Which::Any || run.is_locked {
                self.sweep(&mut sweep, &run);
            } else {
                seen += self.weigh(&mut ends, &run).memsw;
            }
        });
        let haul = self.end_sweep(sweep);
        self.settle_transit(number);
        let is_short = !haul.left.is_empty();
        self.debts.note_seen(key, if is_short { 0 } else { seen });
        let next = match next {
            // What has found no room is looked at again when it is this debt's turn.
            _ if is_short => Some(start),
            Ok(Some(next)) if next > start => Some(next),
            Ok(_) | Err(_) => None,
        };
        self.debts.advance(key, which, next, haul.moved.memsw);
        let [moved, resident] = [haul.moved.memsw, haul.moved.memory].map(Pages::new);
        Settled { moved, resident, goes_on: !is_short }
    }

    /// Begins to move pages that a debt is about; none when there is nothing to move, in which case
    /// it is forgotten, or not now.
    pub(crate) fn begin_settling(&mut self, key: Key) -> Option<u32> {
        let (tid, from) = key;
        let (Some(task), Ok(from)) = (self.tasks.get(tid), self.groups.index(from)) else {
            self.debts.remove(key);
            return None;
        };
        let to = task.group;
        if to == from {
            // The task has come back, and its pages are at home.
            self.debts.remove(key);
            return None;
        }
        if self.transits.of_task(tid).is_some() {
            return None;
        }
        let (scope, ancestors, ending) = (Scope::Task, Ancestors::Once, Ending::Settle);
        let route = Route { tid, scope, from, to, ancestors, ending };
        self.begin_transit(route).ok().map(TransitId::number)
    }
}
