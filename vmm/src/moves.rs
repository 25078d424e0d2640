//! Moving a task: the guest stands still for a chunk of pages at a time and runs between chunks.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use memcg::{GroupId, Memcg, Move, MoveError, MoveReport, Pages, Policy, Progress, Scope, Tid};
use serde::{Deserialize, Serialize};
use vmcg_abi::event::{Event, EventKind};

use crate::guest::RealGuest;
use crate::machine::{Accounting, Machine};
use crate::walk::Budget;

/// Pages of a first chunk, looked at while the guest stands still: at 100 ns a page, the slowest seen
/// on hardware, less than a millisecond.
pub(crate) const CHUNK_PAGES: u64 = 8192;
/// Moves remembered.
const RECORDS_MAX: usize = 64;

/// What a move did, for `vmcg ps --moves`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveRecord {
    /// The task that was named.
    pub tid: u32,
    /// Group it was in.
    pub from: String,
    /// Group it was to go to.
    pub to: String,
    /// Policy of the destination.
    pub policy: String,
    /// `moved`, or why it did not.
    pub outcome: String,
    /// Pages that moved.
    pub moved: u64,
    /// Of these, pages that were on swap.
    pub swapped: u64,
    /// Pages passed by: shared, owned by a third group, of a kind that does not move, without a charge.
    pub skipped: [u64; 4],
    /// Pages that found no room.
    pub failed: u64,
    /// How long the guest stood still, in all, in microseconds.
    pub paused_us: u64,
    /// The longest of these pauses, in microseconds.
    pub longest_pause_us: u64,
}

/// The last moves, oldest first, each with the group that the task was in.
#[derive(Debug, Default)]
pub(crate) struct MoveLog(VecDeque<(Option<GroupId>, MoveRecord)>);

impl MoveLog {
    fn add(&mut self, source: Option<GroupId>, record: MoveRecord) {
        if self.0.len() == RECORDS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((source, record));
    }

    /// The records, oldest first.
    pub(crate) fn list(&self) -> Vec<MoveRecord> {
        self.0.iter().map(|(_, record)| record.clone()).collect()
    }

    /// What the last move out of a group did.
    pub(crate) fn last_out_of(&self, group: GroupId) -> Option<&MoveRecord> {
        self.0.iter().rev().find(|(source, _)| *source == Some(group)).map(|(_, record)| record)
    }
}

/// Between which groups a move goes, and how, as it was when it began.
struct Plan {
    from: Option<GroupId>,
    to: GroupId,
    paths: (String, String),
    policy: Policy,
}

impl Plan {
    fn new(memcg: &Memcg, id: Tid, to: GroupId) -> Self {
        let path = |group| memcg.path(group).unwrap_or_default();
        let from = memcg.task_group(id);
        let policy = memcg.settings(to).map_or(Policy::None, |settings| settings.recharge);
        Self { from, to, paths: (from.map(path).unwrap_or_default(), path(to)), policy }
    }

    /// Both groups, when whoever hits a limit meanwhile waits for the end of the move.
    fn waited_for(&self) -> Option<(GroupId, GroupId)> {
        self.from.filter(|_| self.policy == Policy::Precharge).map(|from| (from, self.to))
    }
}

/// A chunk that took less than this is followed by one of twice the pages, one that took twice as
/// long by one of half: so that a pause stays below a millisecond on any host.
const PAUSE_AIM: Duration = Duration::from_micros(400);
/// How often the writer is asked whether a signal waits for it.
const ASK_EVERY: Duration = Duration::from_millis(10);
/// Most pages of a chunk.
const CHUNK_PAGES_MAX: u64 = 4 * CHUNK_PAGES;

/// A move under way, and what it has cost so far.
struct Course {
    work: Option<Move>,
    /// Pages of the next chunk.
    pages: u64,
    budget: Budget,
    paused: Duration,
    longest: Duration,
}

impl Machine {
    /// Moves a task, or a whole process, into group `dest`. The guest stands still for a chunk at
    /// a time. Gives up when `is_interrupted` says so between two chunks.
    ///
    /// # Errors
    /// The accounting's; nothing has changed then. [`MoveError::Busy`] after an interruption.
    pub fn move_task(
        &self,
        id: Tid,
        dest: GroupId,
        scope: Scope,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<MoveReport, MoveError> {
        let mut course = Course {
            work: None,
            pages: CHUNK_PAGES,
            budget: Budget::new(self.memory.frames()),
            paused: Duration::ZERO,
            longest: Duration::ZERO,
        };
        let plan = {
            let mut accounting = self.lock();
            let plan = Plan::new(&accounting.memcg, id, dest);
            plan.waited_for().into_iter().for_each(|ends| accounting.waiting.begin(ends));
            plan
        };
        let outcome = self.follow(&mut course, (id, dest, scope), is_interrupted);
        self.finish(plan, id, &course, &outcome);
        outcome
    }

    /// Moves chunk by chunk to the end.
    fn follow(
        &self,
        course: &mut Course,
        what: (Tid, GroupId, Scope),
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<MoveReport, MoveError> {
        let mut asked = Instant::now();
        // Asking takes as long as moving a thousand pages.
        let mut is_interrupted = || {
            let asks = asked.elapsed() > ASK_EVERY;
            if asks {
                asked = Instant::now();
            }
            asks && is_interrupted()
        };
        loop {
            match self.chunk(course, what) {
                Ok(Progress::More) if is_interrupted() => {
                    if let Some(work) = course.work.take() {
                        work.abort(&mut self.lock().memcg);
                    }
                    return Err(MoveError::Busy);
                }
                Ok(Progress::More) => {}
                Ok(Progress::Done(report)) => return Ok(report),
                Err(why) => return Err(why),
            }
        }
    }

    /// Records what a move did, and lets go on who waited for its end.
    fn finish(
        &self,
        plan: Plan,
        id: Tid,
        course: &Course,
        outcome: &Result<MoveReport, MoveError>,
    ) {
        let report = outcome.unwrap_or_default();
        let skipped = report.skipped;
        let ends = plan.waited_for();
        let record = MoveRecord {
            tid: id.get(),
            from: plan.paths.0,
            to: plan.paths.1,
            policy: plan.policy.name().to_owned(),
            outcome: outcome.map_or_else(|why| why.to_string(), |_| "moved".to_owned()),
            moved: report.moved.get(),
            swapped: report.swapped.get(),
            skipped: [skipped.shared, skipped.foreign_owner, skipped.kind, skipped.not_backed]
                .map(Pages::get),
            failed: report.failed.get(),
            paused_us: microseconds(course.paused),
            longest_pause_us: microseconds(course.longest),
        };
        let mut accounting = self.lock();
        accounting.moves.add(plan.from, record);
        self.gate.set_debts(accounting.memcg.has_debts());
        let awake = ends.map(|ends| accounting.waiting.end(ends)).unwrap_or_default();
        drop(accounting);
        for tid in awake {
            self.send(Event { kind: EventKind::Wake, argument: 0, id: tid.get() });
        }
    }

    /// What the last move out of `group` did.
    pub(crate) fn last_move_out_of(&self, group: GroupId) -> Option<MoveRecord> {
        self.lock().moves.last_out_of(group).cloned()
    }

    /// The last moves, oldest first.
    pub fn moves(&self) -> Vec<MoveRecord> {
        self.lock().moves.list()
    }

    /// One chunk: pause, step, resume.
    fn chunk(
        &self,
        course: &mut Course,
        (id, dest, scope): (Tid, GroupId, Scope),
    ) -> Result<Progress, MoveError> {
        let paused = self.pause();
        let since = Instant::now();
        let mut accounting = self.lock();
        self.drain_free(&mut accounting);
        let Accounting { memcg, tasks, contents, .. } = &mut *accounting;
        let mut work = match course.work.take() {
            Some(work) => work,
            None => Move::begin(memcg, id, dest, scope)?,
        };
        let mut guest = RealGuest::new(self, tasks, contents).with_budget(course.budget);
        let progress = work.step(memcg, &mut guest, course.pages);
        course.budget = guest.budget();
        course.work = Some(work);
        if let Ok(Progress::Done(_)) = progress
            && let Some(tgid) = accounting.memcg.task_tgid(id)
        {
            self.tell_kmem(&mut accounting, tgid);
        }
        drop(accounting);
        drop(paused);
        let took = since.elapsed();
        course.paused += took;
        course.longest = course.longest.max(took);
        if took < PAUSE_AIM {
            course.pages = (course.pages * 2).min(CHUNK_PAGES_MAX);
        } else if took > 2 * PAUSE_AIM {
            course.pages = (course.pages / 2).max(1);
        }
        progress
    }
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
