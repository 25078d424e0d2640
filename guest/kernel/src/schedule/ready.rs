//! The queue of tasks that could run: jobs take turns, and within a job its tasks do.
//!
//! A job with a thousand tasks so gets no more of the vCPU than a job with one.

use alloc::collections::{BTreeSet, VecDeque};

use crate::number::Tid;

/// Tasks of one job, the one whose turn it is first.
#[derive(Debug)]
struct Line {
    job: u32,
    tasks: VecDeque<Tid>,
}

/// Tasks that could run. Those that cannot any more leave when their turn comes.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    /// Jobs with tasks, the one whose turn it is first; none is empty.
    lines: VecDeque<Line>,
    queued: BTreeSet<Tid>,
}

impl Ready {
    /// How many tasks there are.
    pub(crate) fn len(&self) -> usize {
        self.queued.len()
    }

    /// The task whose turn it is.
    pub(crate) fn first(&self) -> Option<Tid> {
        self.lines.front()?.tasks.front().copied()
    }

    /// Adds a task of a job at the end of the job's line; a task that is there already stays.
    pub(crate) fn add(&mut self, job: u32, tid: Tid) {
        if !self.queued.insert(tid) {
            return;
        }
        match self.lines.iter_mut().find(|line| line.job == job) {
            Some(line) => line.tasks.push_back(tid),
            None => self.lines.push_back(Line { job, tasks: VecDeque::from([tid]) }),
        }
    }

    /// Takes out the task whose turn it is; its job's next one takes over.
    pub(crate) fn remove_first(&mut self) {
        let Some(line) = self.lines.front_mut() else { return };
        if let Some(tid) = line.tasks.pop_front() {
            self.queued.remove(&tid);
        }
        if line.tasks.is_empty() {
            self.lines.pop_front();
        }
    }

    /// Ends the turn of a task and of its job.
    pub(crate) fn end_turn(&mut self) {
        let Some(mut line) = self.lines.pop_front() else { return };
        line.tasks.rotate_left(1);
        self.lines.push_back(line);
    }
}
