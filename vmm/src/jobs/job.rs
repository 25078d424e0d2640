//! One job: where it is in its life, and its streams.

use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use memcg::{GroupId, Tid};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::FileType;
use vmcg_abi::call::stream;

use super::streams::{Input, Output};
use super::{JobId, Progress, StreamError, Window};

/// A job. Its lock is a leaf.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) group: GroupId,
    /// The client's standard input, output and error.
    pub(super) stdio: [OwnedFd; 3],
    /// What each of them is.
    pub(super) kinds: [i64; 3],
    /// Wakes the job's thread.
    pub(super) bell: OwnedFd,
    state: Mutex<State>,
}

/// What the guest's calls and the job's thread share.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) tid: Option<Tid>,
    pub(super) end: Option<Progress>,
    pub(super) outputs: [Output; 2],
    pub(super) input: Input,
    /// Size of the terminal that the streams are; `None` where they are plain.
    pub(super) window: Option<Window>,
    waiting_signals: Vec<u16>,
}

impl Job {
    /// Makes a job that nobody has fetched yet.
    ///
    /// # Errors
    /// The system's, when there is no descriptor left.
    pub(super) fn new(
        id: JobId,
        group: GroupId,
        stdio: [OwnedFd; 3],
        window: Option<Window>,
    ) -> std::io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let kinds = stdio.each_ref().map(|file| kind_of(file, window));
        let state = Mutex::new(State { window, ..State::default() });
        Ok(Self { id, group, stdio, kinds, bell, state })
    }

    /// Notes the first task; returns the signals that waited for it.
    pub(super) fn started(&self, tid: Tid) -> Vec<u16> {
        let mut state = self.state();
        state.tid = Some(tid);
        let signals = std::mem::take(&mut state.waiting_signals);
        drop(state);
        self.ring();
        signals
    }

    /// Returns the task to signal; without one the signal waits.
    pub(super) fn signal(&self, signal: u16) -> Option<Tid> {
        let mut state = self.state();
        if state.tid.is_none() && !state.waiting_signals.contains(&signal) {
            state.waiting_signals.push(signal);
        }
        if state.end.is_none() { state.tid } else { None }
    }

    /// Notes how the job ended; only the first end counts.
    pub(super) fn end(&self, end: Progress) {
        self.state().end.get_or_insert(end);
        self.ring();
    }

    /// Closes every stream. Returns whether the guest waits for one of them.
    pub(super) fn hang_up(&self) -> bool {
        let mut state = self.state();
        let mut has_waiter = state.input.close();
        for output in &mut state.outputs {
            has_waiter |= output.close();
        }
        drop(state);
        self.ring();
        has_waiter
    }

    /// Takes bytes for stream 1 or 2.
    pub(super) fn write(&self, stream: u8, bytes: &[u8]) -> Result<usize, StreamError> {
        let index = usize::from(stream).checked_sub(1).ok_or(StreamError::NoSuchJob)?;
        let mut state = self.state();
        let output = state.outputs.get_mut(index).ok_or(StreamError::NoSuchJob)?;
        let was_empty = output.is_empty();
        let answer = output.push(bytes);
        drop(state);
        if was_empty {
            self.ring();
        }
        answer
    }

    /// Gives bytes of standard input.
    pub(super) fn read(&self, into: &mut [u8]) -> Result<usize, StreamError> {
        let answer = self.state().input.take(into);
        if answer == Err(StreamError::WouldBlock) {
            self.ring();
        }
        answer
    }

    /// Notes the size of the terminal. Returns whether that is news.
    pub(super) fn set_window(&self, window: Window) -> bool {
        let known = &mut self.state().window;
        known.is_some_and(|known| known != window) && known.replace(window).is_some()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the job's thread.
    fn ring(&self) {
        // EAGAIN: the bell's counter is full, so it has been rung already.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }
}

fn kind_of(file: &OwnedFd, window: Option<Window>) -> i64 {
    if window.is_some() && rustix::termios::isatty(file) {
        return stream::TERMINAL;
    }
    let is_file = rustix::fs::fstat(file)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
    if is_file { stream::FILE } else { stream::PIPE }
}
