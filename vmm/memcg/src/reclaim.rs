//! Reclaim: taking pages from a group and those that charge to it, so that others fit.
//!
//! A call does a bounded amount of work and says whether another could do more. Where it stopped is
//! kept with the group it worked for, so that the next one goes on from there. It goes round the
//! groups below and takes from each in proportion to what it has. Only when a whole round has given
//! nothing does the next one take whatever there is, pages on their way to another group and pages
//! that were locked when last looked at included. When that gives nothing either, there is nothing.

mod everybody;
mod newcomers;
mod shrink;
mod subtree;

pub(crate) use everybody::Everybody;

use crate::gauges::{Class, Gauges};
use crate::owners::Holder;
use crate::{GroupId, Guest, Kind, Memcg, Pages, Resource};

/// What a call of [`Memcg::reclaim`] may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// The counter that is to shrink. Swapping does not lower [`Resource::Memsw`], so for that only
    /// what can be dropped is taken.
    pub relieves: Resource,
    /// Most pages to look at in this call.
    pub scan_max: u64,
    /// How much of the room that is made the caller needs. Half of what is made beyond it may go to
    /// pages that wait to follow a task into the group.
    pub needs: Pages,
}

/// What a call of [`Memcg::reclaim`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Pages looked at.
    pub scanned: u64,
    /// Pages that the counter does not count any more.
    pub reclaimed: u64,
    /// Of these, pages that have gone to swap.
    pub swapped: u64,
    /// Nothing more can be had from these groups for now: trying again is no use.
    pub is_exhausted: bool,
}

/// Where the last call stopped.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Position {
    /// The group whose turn it is, if there is one.
    next: Option<GroupId>,
    /// Rounds in a row in which no page has left the generations.
    fruitless: u32,
    /// One has in this round.
    is_fruitful: bool,
    /// Part of a page that is due, in units of the pages there are.
    due: u64,
}

/// Whose pages a call takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// Those of the group with this index and of those that charge to it.
    Below(u32),
    /// Whoever has some.
    Everybody,
}

/// A call under way.
struct Run {
    scope: Scope,
    /// Index of the group it works for: for everybody, the one above where it is now.
    top: u32,
    goal: u64,
    may_swap: bool,
    scan_max: u64,
    /// The last round gave nothing: take what there is.
    is_desperate: bool,
    /// Pages that have left the generations: had, or found to be where nothing can have them.
    gone: u64,
    done: Reclaimed,
}

impl Run {
    const fn missing(&self) -> u64 {
        self.goal.saturating_sub(self.done.reclaimed)
    }

    /// Pages that may still be looked at.
    const fn scans_left(&self) -> u64 {
        self.scan_max.saturating_sub(self.done.scanned)
    }
}

impl Effort {
    /// Pages looked at in one call unless told otherwise.
    const SCAN_MAX: u64 = 128;

    /// The effort for a limit of this counter that is to be lowered: all the room is needed.
    #[must_use]
    pub const fn relieving(resource: Resource) -> Self {
        Self { relieves: resource, scan_max: Self::SCAN_MAX, needs: Pages::UNLIMITED }
    }

    /// The effort for a charge of so many pages that this counter refused.
    #[must_use]
    pub const fn for_charge(resource: Resource, needs: Pages) -> Self {
        Self { needs, ..Self::relieving(resource) }
    }

    const fn may_swap(self) -> bool {
        matches!(self.relieves, Resource::Memory)
    }
}

impl Memcg {
    /// Pages evicted at once.
    const BATCH: u64 = 32;
    /// Groups that one call looks at.
    const VISITS_MAX: u32 = 256;

    /// Takes `goal` pages from `group` and those that charge to it, if they can be had with this
    /// effort. The guest stands still, or waits for the answer to a fault. Whoever calls it goes on
    /// until there is room or the answer `is_exhausted`, and may let the guest run in between.
    pub fn reclaim(
        &mut self,
        guest: &mut dyn Guest,
        group: GroupId,
        goal: Pages,
        effort: Effort,
    ) -> Reclaimed {
        let Ok(top) = self.groups.index(group) else {
            return Reclaimed { is_exhausted: true, ..Reclaimed::default() };
        };
        let mut run = self.start(guest, Scope::Below(top), goal, effort);
        if self.has_debts() {
            let settled = self.settle_out_of(guest, (group, effort.relieves), effort.scan_max);
            let settled = settled.get();
            run.done.reclaimed += settled;
            run.done.scanned += settled;
        }
        self.go_round(guest, &mut run);
        self.note_pressure(top, run.done.scanned, run.done.reclaimed);
        if self.has_debts() && run.may_swap {
            self.meet_newcomers(guest, &run, group, effort.needs);
        }
        run.done
    }

    fn start(&mut self, guest: &dyn Guest, scope: Scope, goal: Pages, effort: Effort) -> Run {
        self.has_swap = !guest.swap_free().is_zero();
        Run {
            scope,
            top: if let Scope::Below(top) = scope { top } else { self.root.index() },
            goal: goal.get(),
            may_swap: effort.may_swap() && self.has_swap,
            scan_max: effort.scan_max.max(1),
            is_desperate: false,
            gone: 0,
            done: Reclaimed::default(),
        }
    }

    fn go_round(&mut self, guest: &mut dyn Guest, run: &mut Run) {
        let mut position = *self.position(run.scope);
        let mut at = self.resume(position.next, run.scope);
        // Everybody's is too long a sum to be made again after each group.
        let of_everybody = run.is_for_everybody().then(|| self.available_anywhere(run.may_swap));
        for _ in 0..Self::VISITS_MAX {
            if run.missing() == 0 || run.scans_left() == 0 {
                break;
            }
            let there = of_everybody
                .unwrap_or_else(|| available(self.groups.at(run.top).sum_gauges(), run.may_swap));
            run.is_desperate = position.fruitless > 0;
            if there == 0 || position.fruitless > 1 {
                run.done.is_exhausted = true;
                (position.fruitless, position.due) = (0, 0);
                break;
            }
            let before = run.gone;
            let own = available(&self.groups.at(at).gauges, run.may_swap);
            let due = position.due.saturating_add(run.goal.min(run.scan_max).saturating_mul(own));
            position.due = due % there;
            let share = if run.is_desperate { run.missing() } else { due / there };
            self.take_from(guest, run, at, share.min(own).min(run.missing()));
            if run.gone > before {
                (position.fruitless, position.is_fruitful) = (0, true);
            }
            at = self.following(at, run.scope).unwrap_or_else(|| {
                position.fruitless += u32::from(!position.is_fruitful);
                position.is_fruitful = false;
                self.resume(None, run.scope)
            });
        }
        position.next = Some(self.groups.at(at).id);
        *self.position_mut(run.scope) = position;
    }

    /// Takes up to `share` pages from one group, and in need from moves that lead into it.
    fn take_from(&mut self, guest: &mut dyn Guest, run: &mut Run, at: u32, share: u64) {
        if run.is_for_everybody() {
            run.top = self.topmost(at);
        }
        let before = run.done.reclaimed;
        self.shrink(guest, run, Holder::Group(at), share);
        if !run.is_desperate || self.groups.at(at).moves == 0 {
            return;
        }
        for transit in self.transits.leading_to(at) {
            let had = run.done.reclaimed - before;
            let holder = Holder::Transit { group: at, transit };
            self.shrink(guest, run, holder, share.saturating_sub(had));
        }
    }
}

/// Pages of an owner that could be had at all.
fn available(gauges: &Gauges, may_swap: bool) -> u64 {
    let of = |kind| {
        [Class::Inactive, Class::Active, Class::Unevictable]
            .into_iter()
            .map(|class| gauges.user(kind, class))
            .sum::<u64>()
    };
    of(Kind::File) + if may_swap { of(Kind::Anon) + of(Kind::Shmem) } else { 0 }
}
