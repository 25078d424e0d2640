//! Threads for writes that may have to wait for the guest: one for each that is under way. When it
//! is done it waits for the next for a while, since starting a thread takes longer than most moves.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a thread without work waits for some.
const KEEP: Duration = Duration::from_secs(5);

/// A write to be done.
type Work = Box<dyn FnOnce() + Send>;

/// The threads of one mount.
#[derive(Default)]
pub(crate) struct Writers {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Nobody has begun with these.
    waiting: VecDeque<Work>,
    /// Threads that wait for work, or are about to take some.
    idle: usize,
}

impl Writers {
    /// Has `work` done at once, by a thread of its own. It is dropped when no thread can be had.
    pub(crate) fn begin(self: &Arc<Self>, work: impl FnOnce() + Send + 'static) {
        let mut state = self.lock();
        state.waiting.push_back(Box::new(work));
        if state.idle >= state.waiting.len() {
            return self.changed.notify_one();
        }
        drop(state);
        let this = Arc::clone(self);
        let started =
            thread::Builder::new().name("fusefs-writer".to_owned()).spawn(move || this.serve());
        if let Err(error) = started {
            log::warn!("no thread for a writer: {error}");
            // It may be another that is dropped, if this one was taken already: one is too many.
            self.lock().waiting.pop_back();
        }
    }

    /// Does what waits, until there has been nothing for a while.
    fn serve(&self) {
        loop {
            let mut state = self.lock();
            state.idle += 1;
            let is_idle = |state: &mut State| state.waiting.is_empty();
            let waited = self.changed.wait_timeout_while(state, KEEP, is_idle);
            let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.idle -= 1;
            let Some(work) = state.waiting.pop_front() else { return };
            drop(state);
            work();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing is done under the lock that could panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::{Arc, Barrier, mpsc};
    use std::thread;

    use super::Writers;

    #[test]
    fn works_that_wait_for_each_other_are_under_way_at_once() {
        let writers = Arc::new(Writers::default());
        for _ in 0..3 {
            let barrier = Arc::new(Barrier::new(9));
            for _ in 0..8 {
                let barrier = Arc::clone(&barrier);
                writers.begin(move || {
                    barrier.wait();
                });
            }
            barrier.wait();
        }
    }

    #[test]
    fn one_work_after_the_other_takes_few_threads() {
        let writers = Arc::new(Writers::default());
        let (said, heard) = mpsc::channel();
        let mut threads = BTreeSet::new();
        for _ in 0..50 {
            let said = said.clone();
            writers.begin(move || said.send(format!("{:?}", thread::current().id())).unwrap());
            threads.insert(heard.recv().unwrap());
        }
        // The next may come before the last thread waits again.
        assert!(threads.len() < 25, "{threads:?}");
    }
}
