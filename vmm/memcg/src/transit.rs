//! Pages on their way from one group to another.
//!
//! The rules that keep a move from leaking or refusing to come back:
//! - the destination is charged first (`precharged`), then the frame changes its owner, and the
//!   source keeps its charge (`held`) until the end, so that nobody can take the room meanwhile;
//! - moved frames name a slot of the move's own, so that both endings are one redirection;
//! - a task that faults during its move is charged on both sides, so that either ending is right.

mod load;
mod rejoin;
mod take;

use std::collections::BTreeMap;

use crate::frames::Frame;
use crate::gauges::Gauges;
use crate::lists::Lru;
use crate::owners::{Holder, SlotId};
use crate::recharge::Ancestors;
use crate::stat::Events;
use crate::walk::{Chain, USER};
use crate::{Memcg, MoveError, Pages, Resource, Scope, Tid};
pub(crate) use load::Load;

/// What a half-done move does when it is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Everything goes back.
    RollBack,
    /// What moved stays.
    Settle,
}

/// Between whom pages move, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    /// The thread that stands for the address space.
    pub(crate) tid: Tid,
    pub(crate) scope: Scope,
    /// Index of the group the pages leave.
    pub(crate) from: u32,
    /// Index of the group they go to.
    pub(crate) to: u32,
    pub(crate) ancestors: Ancestors,
    pub(crate) ending: Ending,
}

/// A move in progress, as the counters see it.
#[derive(Debug)]
pub(crate) struct Transit {
    pub(crate) scope: Scope,
    pub(crate) from: u32,
    pub(crate) to: u32,
    /// Where charges that move along stop: the common ancestor, which keeps its charge.
    pub(crate) top: Option<u32>,
    /// Charged to the destination, and no page has used it yet.
    pub(crate) precharged: Load,
    /// Still charged to the source, for pages that have left. Never less than what the move's own slot
    /// owns.
    pub(crate) held: Load,
    tid: Tid,
    serial: u64,
    ending: Ending,
    /// What moved frames name: a slot of the move's own where it can be taken back.
    slot: SlotId,
    /// What that slot owns, and what happened to it.
    gauges: Gauges,
    events: Events,
    /// What reclaim keeps of it.
    pub(crate) lru: Lru,
    /// Of `held`, pages that were faulted in meanwhile.
    joined: Load,
    /// A fault of the moving task did not fit into the destination.
    is_short: bool,
    /// Watermarks of the destination's counters when the move began, where it may be taken back.
    watermarks: Vec<(u32, Resource, Pages)>,
}

/// Names a move for good; its number is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TransitId {
    number: u32,
    serial: u64,
}

impl TransitId {
    pub(crate) const fn number(self) -> u32 {
        self.number
    }
}

/// All moves in progress.
#[derive(Debug, Default)]
pub(crate) struct Transits {
    all: Vec<Option<Transit>>,
    by_task: BTreeMap<Tid, u32>,
    /// Moves ever begun.
    begun: u64,
}

impl Transits {
    pub(crate) fn at(&self, number: u32) -> &Transit {
        let place = usize::try_from(number).expect("move numbers are indices");
        self.all[place].as_ref().expect("a move is looked up while it is in progress")
    }

    pub(crate) fn at_mut(&mut self, number: u32) -> &mut Transit {
        let place = usize::try_from(number).expect("move numbers are indices");
        self.all[place].as_mut().expect("a move is looked up while it is in progress")
    }

    pub(crate) fn books_mut(&mut self, number: u32) -> (&mut Gauges, &mut Events) {
        let transit = self.at_mut(number);
        (&mut transit.gauges, &mut transit.events)
    }

    /// Returns the move of the address space that this thread stands for.
    pub(crate) fn of_task(&self, tid: Tid) -> Option<u32> {
        self.by_task.get(&tid).copied()
    }

    pub(crate) fn is_in_progress(&self, id: TransitId) -> bool {
        let place = usize::try_from(id.number).expect("move numbers are indices");
        self.all.get(place).is_some_and(|t| t.as_ref().is_some_and(|t| t.serial == id.serial))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Transit> {
        self.all.iter().flatten()
    }

    /// Returns the numbers of all moves.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u32> {
        (0..).zip(&self.all).filter(|(_, transit)| transit.is_some()).map(|(number, _)| number)
    }

    /// Returns the numbers of the moves that lead into a group.
    pub(crate) fn leading_to(&self, group: u32) -> Vec<u32> {
        self.numbers().filter(|number| self.at(*number).to == group).collect()
    }

    /// Returns the number the next move gets.
    fn vacancy(&self) -> Option<u32> {
        let place = self.all.iter().position(Option::is_none).unwrap_or(self.all.len());
        u32::try_from(place).ok()
    }

    fn insert(&mut self, number: u32, transit: Transit) {
        self.by_task.insert(transit.tid, number);
        let place = usize::try_from(number).expect("move numbers are indices");
        if place == self.all.len() {
            self.all.push(Some(transit));
        } else {
            self.all[place] = Some(transit);
        }
    }

    fn remove(&mut self, number: u32) -> Transit {
        let place = usize::try_from(number).expect("move numbers are indices");
        let transit = self.all[place].take().expect("a move ends once");
        self.by_task.remove(&transit.tid);
        transit
    }
}

impl Transit {
    pub(crate) fn source(&self) -> Chain {
        Chain { start: self.from, top: self.top }
    }

    pub(crate) fn destination(&self) -> Chain {
        Chain { start: self.to, top: self.top }
    }

    /// Returns what moved frames name.
    pub(crate) const fn slot(&self) -> SlotId {
        self.slot
    }

    pub(crate) const fn is_short(&self) -> bool {
        self.is_short
    }
}

impl Memcg {
    /// Registers a move, charging nothing yet.
    pub(crate) fn begin_transit(&mut self, route: Route) -> Result<TransitId, MoveError> {
        let number = self.transits.vacancy().ok_or(MoveError::NoMemory)?;
        let slot = match route.ending {
            Ending::RollBack => {
                let holder = Holder::Transit { group: route.to, transit: number };
                self.owners.create(holder, Frame::SLOT_MAX).ok_or(MoveError::NoMemory)?
            }
            Ending::Settle => {
                let slot = self.groups.at(route.to).slot;
                self.owners.get(slot, 1);
                slot
            }
        };
        let top = match route.ancestors {
            Ancestors::Once => self.common_ancestor(route.from, route.to),
            Ancestors::Twice => None,
        };
        let watermarks = match route.ending {
            Ending::RollBack => self.watermarks(Chain { start: route.to, top }),
            Ending::Settle => Vec::new(),
        };
        self.groups.at_mut(route.from).moves += 1;
        self.groups.at_mut(route.to).moves += 1;
        let Route { tid, scope, from, to, ending, .. } = route;
        self.transits.begun += 1;
        let serial = self.transits.begun;
        self.transits.insert(
            number,
            Transit {
                scope,
                from,
                to,
                top,
                precharged: Load::NOTHING,
                held: Load::NOTHING,
                tid,
                serial,
                ending,
                slot,
                gauges: Gauges::default(),
                events: Events::default(),
                lru: Lru::default(),
                joined: Load::NOTHING,
                is_short: false,
                watermarks,
            },
        );
        Ok(TransitId { number, serial })
    }

    /// Lets the tasks of a move charge what they fault in to both sides from now on.
    pub(crate) fn mark_movers(&mut self, number: u32, mark: Option<u32>) {
        let transit = self.transits.at(number);
        for tid in self.movers(transit.tid, transit.scope) {
            if let Some(task) = self.tasks.get_mut(tid) {
                task.transit = mark;
            }
        }
    }

    /// Returns the tasks that change their group in a move.
    pub(crate) fn movers(&self, tid: Tid, scope: Scope) -> Vec<Tid> {
        match (scope, self.tasks.get(tid)) {
            (Scope::Process, Some(task)) => self.tasks.threads(task.tgid).collect(),
            (Scope::Process | Scope::Task, _) => vec![tid],
        }
    }

    /// Takes the charge of moved pages off the source. They cannot be taken back after this.
    pub(crate) fn release_source(&mut self, number: u32) {
        let transit = self.transits.at_mut(number);
        let held = std::mem::take(&mut transit.held);
        let moved = held.memory - std::mem::take(&mut transit.joined).memory;
        let (from, to, source) = (transit.from, transit.to, transit.source());
        self.uncharge_load(source, held);
        self.book(from, |_, events| events.pgpgout += moved);
        self.book(to, |_, events| events.pgpgin += moved);
    }

    /// Ends a move: what moved stays moved.
    pub(crate) fn settle_transit(&mut self, number: u32) {
        self.release_source(number);
        let transit = self.close_transit(number);
        match transit.ending {
            Ending::RollBack => {
                let heir = self.groups.at_mut(transit.to);
                heir.lru.append(&mut self.frames, transit.lru);
                self.owners.redirect(transit.slot, heir.slot);
            }
            Ending::Settle => self.put_slot(transit.slot),
        }
    }

    /// Ends a move that cannot go on, the way its policy has it.
    pub(crate) fn abandon(&mut self, number: u32) {
        match self.transits.at(number).ending {
            Ending::RollBack => self.roll_back(number),
            Ending::Settle => self.settle_transit(number),
        }
    }

    /// Ends a move: everything that moved is the source's again. Cannot fail, since the source has
    /// kept its charge, and takes the same time whatever was moved.
    fn roll_back(&mut self, number: u32) {
        let transit = self.close_transit(number);
        let (back, happened) = (transit.gauges, transit.events);
        let load = Load::of_gauges(&back);
        let mut freed = transit.held;
        // A page that moved and was freed since is charged nowhere but in `held`.
        freed -= load;
        self.uncharge_load(transit.destination(), load);
        self.uncharge_load(transit.source(), freed);
        // A peak that others reached meanwhile, and left again, is forgotten along with the move's.
        for (index, resource, earlier) in transit.watermarks {
            self.groups.at_mut(index).counter_mut(resource).restore_watermark(earlier);
        }
        self.book(transit.to, |gauges, events| {
            gauges.unmerge(&back);
            events.pgpgin -= happened.pgpgin;
            events.pgpgout -= happened.pgpgout;
        });
        self.book(transit.from, |gauges, events| {
            gauges.merge(&back);
            events.pgpgin += happened.pgpgin;
            events.pgpgout += happened.pgpgout;
        });
        let heir = self.groups.at_mut(transit.from);
        heir.lru.append(&mut self.frames, transit.lru);
        self.owners.redirect(transit.slot, heir.slot);
    }

    /// Returns the watermarks of the counters that user pages charge along `chain`.
    fn watermarks(&self, chain: Chain) -> Vec<(u32, Resource, Pages)> {
        self.chain(chain)
            .flat_map(|index| {
                let group = self.groups.at(index);
                USER.iter()
                    .map(move |&resource| (index, resource, group.counter(resource).watermark()))
            })
            .collect()
    }

    /// What both endings have in common: the unused precharge goes back, and the tasks fault as ever.
    fn close_transit(&mut self, number: u32) -> Transit {
        self.mark_movers(number, None);
        let transit = self.transits.remove(number);
        self.uncharge_load(transit.destination(), transit.precharged);
        self.groups.at_mut(transit.from).moves -= 1;
        self.groups.at_mut(transit.to).moves -= 1;
        transit
    }
}

#[cfg(test)]
mod tests {
    use super::{Ending, Route};
    use crate::recharge::{Ancestors, Reach};
    use crate::{Gfn, Kind, Payer, Scope, Tid, fixture};

    /// Fault 12 of the June 2008 posting: its rollback took as long as the move. Here it takes the same
    /// time whatever was moved: the frames name the move, and that leads back to the source.
    #[test]
    fn a_rollback_visits_no_frame() {
        let mut m = fixture::share(64);
        let [a, b] = ["a", "b"].map(|name| m.create(m.root(), name).unwrap());
        let (tid, scope) = (Tid::new(2), Scope::Task);
        m.task_new(tid, tid, a).unwrap();
        let pages: Vec<Gfn> = (0..40).map(Gfn::new).collect();
        for gfn in &pages {
            m.try_charge(Payer::Task(tid), *gfn, Kind::Anon).unwrap();
        }
        let (from, to, ancestors) = (a.index(), b.index(), Ancestors::Once);
        let route = Route { tid, scope, from, to, ancestors, ending: Ending::RollBack };
        let number = m.begin_transit(route).unwrap().number();
        m.take(number, Reach::EVERYTHING, &pages);
        assert!(pages.iter().all(|gfn| m.owner(*gfn) == Some(b)));
        let entries: Vec<_> = m.frames.iter().collect();
        m.roll_back(number);
        assert_eq!(m.frames.iter().collect::<Vec<_>>(), entries);
        assert!(pages.iter().all(|gfn| m.owner(*gfn) == Some(a)));
        assert_eq!(m.check(), []);
    }
}
