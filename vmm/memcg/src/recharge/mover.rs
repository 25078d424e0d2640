//! The driver of a move: it reads the policy's row and does what that says.
//!
//! A move is a value that is stepped, so that the guest can run between steps and no step takes
//! longer than its page count allows. Nothing seen in one step is believed in the next: every page
//! is looked at again when it is taken.

use super::policy::{Admission, Attach, Policy, Reach, Release, Rule, Settling, Shortage};
use super::report::{MoveError, MoveReport, Progress, Scope, plus};
use super::room::{Room, mapped_at_most, reserve, secure};
use crate::transit::{Ending, Load, Route, TransitId};
use crate::{GroupId, Guest, Gva, Memcg, Pages, Tid};

/// Steps that only made room before a move gives up, although each of them found some: others may take
/// it as fast.
const ROOM_STEPS_MAX: u32 = 1 << 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Start,
    Count,
    Admit,
    Take,
    Ended(Result<MoveReport, MoveError>),
}

/// A task on its way into another group. Step it until it is done, or abort it: a move that is
/// dropped half-way blocks both groups and further moves of the task.
#[derive(Debug)]
#[must_use = "a move does nothing until it is stepped"]
pub struct Move {
    /// The task, or the thread that stands for the process.
    tid: Tid,
    scope: Scope,
    /// Index of the source.
    from: u32,
    dest: GroupId,
    rule: &'static Rule,
    reach: Reach,
    transit: Option<TransitId>,
    phase: Phase,
    cursor: Gva,
    /// What was counted before admission.
    counted: Load,
    /// Other groups that are charged for what the task left behind, to be visited after this one.
    strays: Vec<GroupId>,
    /// Steps that only made room.
    room_steps: u32,
    report: MoveReport,
}

impl Move {
    /// Begins to move a task into `dest`, by the policy that `dest` has now. Nothing is charged yet;
    /// from now on the task's new pages follow it, if the policy attaches it last.
    ///
    /// # Errors
    /// As [`MoveError`] says; nothing changed then.
    pub fn begin(
        memcg: &mut Memcg,
        tid: Tid,
        dest: GroupId,
        scope: Scope,
    ) -> Result<Self, MoveError> {
        let to = memcg.groups.index(dest).map_err(|_| MoveError::DeadGroup)?;
        let task = memcg.tasks.get(tid).ok_or(MoveError::NoSuchTask)?;
        if tid == Tid::INIT || task.tgid == Tid::INIT {
            return Err(MoveError::Invalid);
        }
        let owner = memcg.tasks.mm_owner(task.tgid).ok_or(MoveError::NoSuchTask)?;
        if memcg.transits.of_task(owner).is_some() {
            return Err(MoveError::Busy);
        }
        let settings = memcg.groups.at(to).settings;
        let rule = settings.recharge.rule();
        let carries = scope == Scope::Process || tid == owner;
        let reach = if carries { rule.reach(settings.move_charge) } else { Reach::NOTHING };
        let tid = if scope == Scope::Process { owner } else { tid };
        let from = memcg.tasks.get(tid).ok_or(MoveError::NoSuchTask)?.group;
        let mut this = Self {
            tid,
            scope,
            from,
            dest,
            rule,
            reach,
            transit: None,
            phase: Phase::Start,
            cursor: Gva::ZERO,
            counted: Load::NOTHING,
            strays: Vec::new(),
            room_steps: 0,
            report: MoveReport::default(),
        };
        if from == to && rule.shortage == Shortage::LeaveForeign {
            // The task is here already: what it had to leave behind may find room by now.
            let process = memcg.tasks.get(tid).ok_or(MoveError::NoSuchTask)?.tgid;
            this.strays = memcg.left_in(process);
            this.next_strays(memcg)?;
        } else if from != to && rule.settling == Settling::Now {
            this.transit = this.depart(memcg)?;
        }
        Ok(this)
    }

    /// Goes on with at most `pages_max` pages. The guest stands still meanwhile.
    ///
    /// # Errors
    /// As [`MoveError`] says; the move is over then, and its policy decided what became of the pages.
    pub fn step(
        &mut self,
        memcg: &mut Memcg,
        guest: &mut dyn Guest,
        pages_max: u64,
    ) -> Result<Progress, MoveError> {
        let outcome = self.advance(memcg, guest, pages_max.max(1));
        match outcome {
            Ok(Progress::More) => {}
            Ok(Progress::Done(report)) => self.phase = Phase::Ended(Ok(report)),
            Err(error) => self.end(memcg, error),
        }
        outcome
    }

    /// Gives up: with a policy that rolls back, everything is where it was.
    pub fn abort(mut self, memcg: &mut Memcg) {
        self.end(memcg, MoveError::Busy);
    }

    /// Returns the policy that was latched when the move began.
    #[must_use]
    pub const fn policy(&self) -> Policy {
        self.rule.policy
    }

    /// Goes on to the next group that has pages which the task left behind; false after the last.
    fn next_strays(&mut self, memcg: &mut Memcg) -> Result<bool, MoveError> {
        while let Some(group) = self.strays.pop() {
            // A group that was removed meanwhile has none.
            let Ok(from) = memcg.groups.index(group) else { continue };
            self.from = from;
            self.transit = self.depart(memcg)?;
            return Ok(self.transit.is_some());
        }
        Ok(false)
    }

    /// Begins to take pages from the source, if any are to move.
    fn depart(&self, memcg: &mut Memcg) -> Result<Option<TransitId>, MoveError> {
        if self.reach.is_nothing() {
            return Ok(None);
        }
        let (from, to) = (self.from, memcg.groups.index(self.dest));
        let to = to.map_err(|_| MoveError::DeadGroup)?;
        let ending = match self.rule.shortage {
            Shortage::RollBack => Ending::RollBack,
            Shortage::Stop | Shortage::LeaveForeign => Ending::Settle,
        };
        let (tid, scope, ancestors) = (self.tid, self.scope, self.rule.ancestors);
        let transit = memcg.begin_transit(Route { tid, scope, from, to, ancestors, ending })?;
        if self.rule.attach == Attach::Last && self.reach.anon {
            memcg.mark_movers(transit.number(), Some(transit.number()));
        }
        Ok(Some(transit))
    }

    fn advance(
        &mut self,
        memcg: &mut Memcg,
        guest: &mut dyn Guest,
        pages_max: u64,
    ) -> Result<Progress, MoveError> {
        if let Phase::Ended(outcome) = self.phase {
            return outcome.map(Progress::Done);
        }
        let Some(transit) = self.transit else { return self.attach_only(memcg, guest) };
        if !memcg.transits.is_in_progress(transit) {
            return Err(MoveError::NoSuchTask);
        }
        let number = transit.number();
        if self.phase == Phase::Start {
            if self.rule.attach == Attach::First {
                self.attach(memcg)?;
            }
            self.phase = match self.rule.admission {
                Admission::Open => Phase::Take,
                // No more pages can move than the source has: if all of them fit, who needs a count?
                Admission::FitsLimits
                    if memcg.could_ever_hold(number, memcg.movable_at_most(number, self.reach)) =>
                {
                    Phase::Take
                }
                Admission::FitsLimits | Admission::Reserved => Phase::Count,
            };
        }
        match self.phase {
            Phase::Count => return self.count(memcg, guest, number, pages_max),
            Phase::Admit => return self.admit(memcg, guest, number),
            Phase::Start | Phase::Take | Phase::Ended(_) => {}
        }
        self.take(memcg, guest, number, pages_max)
    }

    /// A move that carries no charges now: `none`, `lazy`, a thread, or within one group.
    fn attach_only(&self, memcg: &mut Memcg, guest: &mut dyn Guest) -> Result<Progress, MoveError> {
        let from = memcg.task_group(self.tid).ok_or(MoveError::NoSuchTask)?;
        self.carry_huge(memcg)?;
        self.attach(memcg)?;
        if self.rule.settling == Settling::Later && !self.reach.is_nothing() && from != self.dest {
            let pages = memcg.groups.at(memcg.groups.index(from).expect("a task's group lives"));
            let pages = pages.gauges.within(self.reach).memsw;
            let pages = Pages::new(pages.min(mapped_at_most(guest, self.tid)));
            memcg.debts.add(self.tid, from, self.reach, pages);
        }
        Ok(Progress::Done(self.report))
    }

    fn attach(&self, memcg: &mut Memcg) -> Result<(), MoveError> {
        let to = memcg.groups.index(self.dest).map_err(|_| MoveError::DeadGroup)?;
        for tid in memcg.movers(self.tid, self.scope) {
            memcg.attach(tid, to);
        }
        Ok(())
    }

    /// Takes along what was charged at mmap for private huge pages. It is the last thing that can be
    /// refused; a policy that does not roll back leaves it behind then.
    fn carry_huge(&self, memcg: &mut Memcg) -> Result<(), MoveError> {
        let to = memcg.groups.index(self.dest).map_err(|_| MoveError::DeadGroup)?;
        let process = memcg.tasks.get(self.tid).ok_or(MoveError::NoSuchTask)?.tgid;
        if !self.reach.anon || self.from == to {
            return Ok(());
        }
        match memcg.try_carry_huge(process, self.from, to) {
            Err(_) if self.rule.shortage == Shortage::RollBack => Err(MoveError::NoMemory),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// One step of the first pass: how many pages are there to move?
    fn count(
        &mut self,
        memcg: &mut Memcg,
        guest: &mut dyn Guest,
        number: u32,
        pages_max: u64,
    ) -> Result<Progress, MoveError> {
        let mut ends = memcg.ends(number, self.reach);
        let counted = &mut self.counted;
        let next = guest.scan(self.tid, self.cursor, pages_max, &mut |run| {
            *counted += memcg.weigh(&mut ends, &run);
        })?;
        if self.goes_on(next)? {
            return Ok(Progress::More);
        }
        // More than an empty destination could hold: no reclaim could make room for it.
        if !memcg.could_ever_hold(number, self.counted) {
            return Err(MoveError::NoMemory);
        }
        self.phase = Phase::Admit;
        self.admit(memcg, guest, number)
    }

    /// Admits the move, knowing how many pages it has, when there is room for them if its policy wants
    /// that first.
    fn admit(
        &mut self,
        memcg: &mut Memcg,
        guest: &mut dyn Guest,
        number: u32,
    ) -> Result<Progress, MoveError> {
        if self.rule.admission == Admission::Reserved {
            match reserve(memcg, guest, number, self.counted) {
                Room::Enough => {}
                Room::Some if self.may_wait_for_room() => return Ok(Progress::More),
                Room::Some | Room::None => return Err(MoveError::NoMemory),
            }
        }
        if self.rule.attach == Attach::Admitted {
            self.attach(memcg)?;
        }
        self.phase = Phase::Take;
        Ok(Progress::More)
    }

    /// Tells whether to go on making room, which the last step has found some of.
    fn may_wait_for_room(&mut self) -> bool {
        self.room_steps += 1;
        self.room_steps <= ROOM_STEPS_MAX
    }

    /// One step of the second pass: change the owner of what there is room for.
    fn take(
        &mut self,
        memcg: &mut Memcg,
        guest: &mut dyn Guest,
        number: u32,
        pages_max: u64,
    ) -> Result<Progress, MoveError> {
        let mut sweep = memcg.begin_sweep(number, self.reach);
        let scanned = guest.scan(self.tid, self.cursor, pages_max, &mut |run| {
            memcg.sweep(&mut sweep, &run);
        });
        let mut haul = memcg.end_sweep(sweep);
        let next = scanned?;
        if !haul.left.is_empty() {
            let left = std::mem::take(&mut haul.left);
            let room = secure(memcg, guest, number, haul.lacking);
            let later = memcg.take(number, self.reach, &left);
            haul = haul.and(later);
            if room == Room::Some && self.may_wait_for_room() {
                // The same pages again, when the guest has run: those that moved are there by then.
                self.count_moved(haul.moved);
                return Ok(Progress::More);
            }
        }
        self.count_moved(haul.moved);
        self.report.skipped += haul.skipped;
        let left = u64::try_from(haul.left.len()).unwrap_or(u64::MAX);
        self.report.failed = plus(self.report.failed, left);
        if self.rule.shortage == Shortage::LeaveForeign {
            memcg.leave_behind(self.tid, self.from, &haul.left);
        }
        let short = left > 0 || memcg.transits.at(number).is_short();
        if short && self.rule.shortage == Shortage::RollBack {
            return Err(MoveError::NoMemory);
        }
        if self.rule.release == Release::EachStep {
            memcg.release_source(number);
        }
        let stops = short && self.rule.shortage == Shortage::Stop;
        if self.goes_on(next)? && !stops {
            return Ok(Progress::More);
        }
        self.carry_huge(memcg)?;
        memcg.settle_transit(number);
        if self.next_strays(memcg)? {
            return Ok(Progress::More);
        }
        if self.rule.attach == Attach::Last {
            self.attach(memcg)?;
        }
        Ok(Progress::Done(self.report))
    }

    fn count_moved(&mut self, moved: Load) {
        self.report.moved = plus(self.report.moved, moved.memsw);
        self.report.swapped = plus(self.report.swapped, moved.memsw - moved.memory);
    }

    /// Moves the cursor; false, with the cursor back at the start, when the scan was complete.
    fn goes_on(&mut self, next: Option<Gva>) -> Result<bool, MoveError> {
        match next {
            Some(next) if next <= self.cursor => Err(MoveError::Invalid),
            Some(next) => {
                self.cursor = next;
                Ok(true)
            }
            None => {
                self.cursor = Gva::ZERO;
                Ok(false)
            }
        }
    }

    fn end(&mut self, memcg: &mut Memcg, error: MoveError) {
        let open = self.transit.filter(|transit| memcg.transits.is_in_progress(*transit));
        if let (Some(transit), false) = (open, matches!(self.phase, Phase::Ended(_))) {
            memcg.abandon(transit.number());
        }
        self.phase = Phase::Ended(Err(error));
    }
}
