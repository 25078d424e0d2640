//! Pages on their way from one group to another.
//!
//! The rules that keep a move from leaking or refusing to come back:
//! - the destination is charged first (`precharged`), then the frame changes its owner, and the
//!   source keeps its charge (`held`) until the end, so that nobody can take the room meanwhile;
//! - moved frames name a slot of the move's own, so that both endings are one redirection;
//! - a task that faults during its move is charged on both sides, so that either ending is right.

use std::collections::BTreeMap;

use crate::frames::{Flag, Frame};
use crate::owners::{Holder, SlotId};
use crate::recharge::{Ancestors, Reach, Skip};
use crate::stat::Gauges;
use crate::walk::{Chain, USER};
use crate::{ChargeError, Gfn, Memcg, MoveError, Resource, ScannedPage, Scope, Tid};

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
    pub(crate) precharged: u64,
    /// Still charged to the source, for pages that have left.
    pub(crate) held: u64,
    tid: Tid,
    serial: u64,
    ending: Ending,
    /// What moved frames name: a slot of the move's own where it can be taken back.
    slot: SlotId,
    /// What that slot owns.
    gauges: Gauges,
    /// Of `held`, pages that were faulted in meanwhile.
    joined: u64,
    /// A fault of the moving task did not fit into the destination.
    is_short: bool,
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

/// What became of a batch of frames that were to move.
#[derive(Debug, Default)]
pub(crate) struct Haul {
    /// Frames the destination owns now.
    pub(crate) moved: u64,
    /// Frames that were freed, swapped out or charged to someone else meanwhile.
    pub(crate) gone: u64,
    /// Frames that nothing was precharged for. They are the source's.
    pub(crate) left: Vec<Gfn>,
}

/// Frames in a row that named the same slot.
#[derive(Clone, Copy, Debug)]
struct Run {
    slot: Option<SlotId>,
    frames: u32,
}

/// The two ends of a move.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    from: u32,
    to: u32,
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

    pub(crate) fn gauges_mut(&mut self, number: u32) -> &mut Gauges {
        &mut self.at_mut(number).gauges
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
                precharged: 0,
                held: 0,
                tid,
                serial,
                ending,
                slot,
                gauges: Gauges::default(),
                joined: 0,
                is_short: false,
            },
        );
        Ok(TransitId { number, serial })
    }

    /// Charges the destination for `pages` that are to come.
    pub(crate) fn precharge(&mut self, number: u32, pages: u64) -> Result<(), ChargeError> {
        let chain = self.transits.at(number).destination();
        self.try_charge_chain(chain, USER, pages)?;
        self.transits.at_mut(number).precharged += pages;
        Ok(())
    }

    /// Charges the destination until `wanted` pages are precharged or there is no room; returns how
    /// many are missing. Nobody is refused, hence no failure is counted.
    pub(crate) fn precharge_up_to(&mut self, number: u32, wanted: u64) -> u64 {
        let transit = self.transits.at(number);
        let chain = transit.destination();
        let missing = wanted.saturating_sub(transit.precharged);
        let pages = missing.min(self.room(chain));
        self.charge_chain(chain, USER, pages);
        self.transits.at_mut(number).precharged += pages;
        missing - pages
    }

    /// Tells whether the limits of the destination are high enough for a move of `pages` more, were
    /// it empty.
    pub(crate) fn could_ever_hold(&self, number: u32, pages: u64) -> bool {
        let transit = self.transits.at(number);
        let pages = pages.saturating_add(transit.joined);
        self.chain(transit.destination()).all(|index| {
            let group = self.groups.at(index);
            USER.iter().all(|resource| pages <= group.counter(*resource).limit().get())
        })
    }

    /// Returns the two ends of a move, for [`Memcg::movable`].
    pub(crate) fn ends(&self, number: u32) -> Ends {
        let transit = self.transits.at(number);
        Ends { from: transit.from, to: transit.to }
    }

    /// Says why a page that a scan found does not move, if it does not.
    pub(crate) fn movable(&self, ends: Ends, page: &ScannedPage, reach: Reach) -> Result<(), Skip> {
        let frame = self.frames.get(page.gfn).map_err(|_| Skip::NotBacked)?;
        let kind = frame.kind().filter(|_| !frame.has(Flag::Swapped)).ok_or(Skip::NotBacked)?;
        let (_, holder) = self.owners.resolve(frame.owner());
        if holder.group() == ends.to {
            return Err(Skip::There);
        }
        reach.check(kind, page.mapcount)?;
        if holder == Holder::Group(ends.from) { Ok(()) } else { Err(Skip::ForeignOwner) }
    }

    /// Makes the destination the owner of frames, each against one precharged page. Looks at every
    /// frame anew: since it was found movable, reclaim may have run. Counts in bulk, since this is
    /// where a big move spends its time.
    pub(crate) fn take(&mut self, number: u32, batch: &[Gfn]) -> Haul {
        let transit = self.transits.at(number);
        let (from, to, slot, ending) = (transit.from, transit.to, transit.slot, transit.ending);
        let room = transit.precharged;
        let mut haul = Haul::default();
        let mut taken = Gauges::default();
        // Neighbours mostly name the same slot: it is looked up and let go once for all of them.
        let mut run = Run { slot: None, frames: 0 };
        for gfn in batch {
            let frame = self.frames.get(*gfn).ok().filter(|frame| frame.is_memory());
            let Some(frame) = frame.filter(|frame| self.is_source(&run, *frame, from)) else {
                haul.gone += 1;
                continue;
            };
            if haul.moved == room {
                haul.left.push(*gfn);
                continue;
            }
            if run.slot != Some(frame.owner()) {
                self.end_run(run);
                run = Run { slot: Some(frame.owner()), frames: 0 };
            }
            run.frames += 1;
            haul.moved += 1;
            taken.add(frame);
            self.frames.set(*gfn, frame.with_owner(slot).without(Flag::Foreign));
        }
        self.end_run(run);
        self.owners.get(slot, u32::try_from(haul.moved).expect("a batch is part of the frames"));
        self.groups.at_mut(from).gauges.unmerge(&taken);
        let taken = taken.at_home();
        self.groups.at_mut(to).gauges.merge(&taken);
        let transit = self.transits.at_mut(number);
        if ending == Ending::RollBack {
            transit.gauges.merge(&taken);
        }
        transit.precharged -= haul.moved;
        transit.held += haul.moved;
        haul
    }

    /// Tells whether the source owns a frame; at a glance, if its neighbour named the same slot.
    fn is_source(&self, run: &Run, frame: Frame, from: u32) -> bool {
        run.slot == Some(frame.owner())
            || self.owners.resolve(frame.owner()).1 == Holder::Group(from)
    }

    fn end_run(&mut self, run: Run) {
        if let (Some(slot), true) = (run.slot, run.frames > 0) {
            self.put_slot_many(slot, run.frames);
        }
    }

    /// Notes that a frame stays behind although its task has left.
    pub(crate) fn mark_foreign(&mut self, gfn: Gfn) {
        let Ok(frame) = self.frames.get(gfn) else { return };
        if frame.is_charged() {
            self.replace(gfn, frame, frame.with(Flag::Foreign));
        }
    }

    /// Notes that the task of a frame that had stayed behind has come to its owner.
    pub(crate) fn unmark_foreign(&mut self, gfn: Gfn) {
        let Ok(frame) = self.frames.get(gfn) else { return };
        if frame.has(Flag::Foreign) {
            self.replace(gfn, frame, frame.without(Flag::Foreign));
        }
    }

    /// Takes a page that the moving task faults in along: the source has been charged for it, the
    /// destination is charged here. Returns the slot for it, or `None` when there is no room, in
    /// which case the page is the source's and the move will fail.
    pub(crate) fn join_transit(&mut self, number: u32) -> Option<SlotId> {
        let chain = self.transits.at(number).destination();
        let room = self.try_charge_chain(chain, USER, 1);
        let transit = self.transits.at_mut(number);
        if room.is_err() {
            transit.is_short = true;
            return None;
        }
        transit.held += 1;
        transit.joined += 1;
        Some(transit.slot)
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
        let moved = held - std::mem::take(&mut transit.joined);
        let (from, to, source) = (transit.from, transit.to, transit.source());
        self.uncharge_chain(source, USER, held);
        self.groups.at_mut(from).events.pgpgout += moved;
        self.groups.at_mut(to).events.pgpgin += moved;
    }

    /// Ends a move: what moved stays moved.
    pub(crate) fn settle_transit(&mut self, number: u32) {
        self.release_source(number);
        let transit = self.close_transit(number);
        match transit.ending {
            Ending::RollBack => {
                self.owners.redirect(transit.slot, self.groups.at(transit.to).slot);
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
        let back = transit.gauges;
        let (memory, memsw) = (back.memory(), back.memsw());
        for (resource, pages) in [(Resource::Memory, memory), (Resource::Memsw, memsw)] {
            // A page that moved and was freed since is charged nowhere but in `held`.
            self.uncharge_chain(transit.destination(), &[resource], pages);
            self.uncharge_chain(transit.source(), &[resource], transit.held - pages);
        }
        let to = self.groups.at_mut(transit.to);
        to.gauges.unmerge(&back);
        to.events.pgpgin -= transit.joined;
        let from = self.groups.at_mut(transit.from);
        from.gauges.merge(&back);
        from.events.pgpgin += transit.joined;
        self.owners.redirect(transit.slot, from.slot);
    }

    /// What both endings have in common: the unused precharge goes back, and the tasks fault as ever.
    fn close_transit(&mut self, number: u32) -> Transit {
        self.mark_movers(number, None);
        let transit = self.transits.remove(number);
        self.uncharge_chain(transit.destination(), USER, transit.precharged);
        self.groups.at_mut(transit.from).moves -= 1;
        self.groups.at_mut(transit.to).moves -= 1;
        transit
    }
}
