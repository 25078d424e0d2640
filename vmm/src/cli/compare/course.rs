//! The course of one run: what is due when, and what the programs say meanwhile.

use std::io::{BufRead, BufReader, PipeReader};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use memcg::Tid;
use vmm::jobs::Progress;

use super::scenario::{Scenario, When};

/// Something a scenario wants done: an index into its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    Start(usize),
    Move(usize),
    Limit(usize),
}

/// What is known of a program.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// Its first task, once it has started.
    pub(super) tid: Option<Tid>,
    /// When it said its first line, or ended.
    ready: Option<Instant>,
    /// How it ended, and when; taken by who reports it.
    pub(super) end: Option<(Instant, Progress)>,
}

/// What is known of all programs, by index.
#[derive(Debug, Default)]
pub(super) struct Board {
    all: Mutex<Vec<Known>>,
    changed: Condvar,
}

impl Board {
    /// Nothing is known of so many programs.
    pub(super) fn new(count: usize) -> Arc<Self> {
        let all = Mutex::new(vec![Known::default(); count]);
        Arc::new(Self { all, changed: Condvar::new() })
    }

    /// The first task of a program.
    pub(super) fn tid(&self, program: usize) -> Option<Tid> {
        self.lock()[program].tid
    }

    /// Notes what became of a program's job.
    pub(super) fn note(&self, program: usize, progress: Progress) {
        let mut all = self.lock();
        let known = &mut all[program];
        if let Progress::Started(tid) = progress {
            known.tid = Some(tid);
        } else {
            known.ready.get_or_insert_with(Instant::now);
            known.end = Some((Instant::now(), progress));
        }
        drop(all);
        self.changed.notify_all();
    }

    /// Reads what a program says to the end, and notes when it said its first line.
    pub(super) fn listen(&self, program: usize, from: PipeReader) {
        // An error ends the output as its end does.
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            log::debug!("program {program}: {line}");
            self.lock()[program].ready.get_or_insert_with(Instant::now);
            self.changed.notify_all();
        }
    }

    /// How programs ended that had not ended at the last call.
    pub(super) fn take_ends(&self) -> Vec<(usize, Instant, Progress)> {
        let mut all = self.lock();
        let ends = all.iter_mut().enumerate();
        ends.filter_map(|(program, known)| {
            let (time, progress) = known.end.take()?;
            Some((program, time, progress))
        })
        .collect()
    }

    /// Waits until something becomes known, or for `limit`.
    pub(super) fn wait(&self, limit: Duration) {
        let waited = self.changed.wait_timeout(self.lock(), limit);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn ready(&self, program: usize) -> Option<Instant> {
        self.lock()[program].ready
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Known>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is still to be done.
#[derive(Debug)]
pub(super) struct Course<'a> {
    scenario: &'a Scenario,
    waiting: Vec<(Deed, &'a When)>,
}

impl<'a> Course<'a> {
    /// Everything a scenario wants done. At the same time programs start first, then limits are set,
    /// then tasks move.
    pub(super) fn new(scenario: &'a Scenario) -> Self {
        let number = |deed: fn(usize) -> Deed| move |(index, when)| (deed(index), when);
        let starts = scenario.programs.iter().map(|one| &one.when).enumerate();
        let limits = scenario.limits.iter().map(|one| &one.when).enumerate();
        let moves = scenario.moves.iter().map(|one| &one.when).enumerate();
        let starts = starts.map(number(Deed::Start));
        let limits = limits.map(number(Deed::Limit));
        let waiting = starts.chain(limits).chain(moves.map(number(Deed::Move)));
        Self { scenario, waiting: waiting.collect() }
    }

    /// True when nothing is left to be done.
    pub(super) fn is_over(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes the deed that has been due for longest, if any is due.
    pub(super) fn take_due(&mut self, start: Instant, board: &Board) -> Option<Deed> {
        let due = |when: &When| due(self.scenario, when, start, board);
        let now = Instant::now();
        let times = self.waiting.iter().enumerate().map(|(place, (_, when))| (place, due(when)));
        let past = times.filter_map(|(place, time)| Some((time.filter(|&at| at <= now)?, place)));
        let (_, place) = past.min()?;
        Some(self.waiting.remove(place).0)
    }

    /// Drops everything that is left; returns it.
    pub(super) fn give_up(&mut self) -> Vec<Deed> {
        self.waiting.drain(..).map(|(deed, _)| deed).collect()
    }
}

/// When something is due; `None` while what it waits for has not come.
fn due(scenario: &Scenario, when: &When, start: Instant, board: &Board) -> Option<Instant> {
    let from = match &when.after {
        None => start,
        Some(name) => {
            let program = scenario.programs.iter().position(|one| one.name == *name)?;
            board.ready(program)?
        }
    };
    Some(from + Duration::from_secs_f64(when.at))
}
