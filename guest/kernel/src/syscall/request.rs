//! A system call in progress: what was asked, and what it waits for.
//!
//! A call that cannot finish answers [`Outcome::Block`]; the same handler runs again from its start
//! with the same [`Request`] when a key is woken, the deadline passes or a signal comes. Only where
//! it then blocks again and a signal is to be delivered does the signal end the call.

use alloc::vec::Vec;

use crate::number::Tid;

/// A system call of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) tid: Tid,
    pub(crate) number: u64,
    pub(crate) args: [u64; 6],
    /// When a call with a timeout gives up, in nanoseconds since boot; set at its first run.
    pub(crate) deadline: Option<u64>,
    /// How much of the call is done already, in its own unit.
    pub(crate) progress: u64,
    /// Which of the keys the call waited for was woken (not a signal, not the deadline).
    pub(crate) woken: Option<usize>,
}

impl Request {
    /// A call that has just been made.
    pub(crate) const fn new(tid: Tid, number: u64, args: [u64; 6]) -> Self {
        Self { tid, number, args, deadline: None, progress: 0, woken: None }
    }
}

/// What a handler answers when it did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The call's value.
    Done(u64),
    /// The task sleeps.
    Block(Wait),
    /// The registers are as they shall be, or the task is no more.
    Resume,
}

/// What can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitKey {
    /// A child of this process changed.
    Child(Tid),
    /// A vforked child of this task execed or ended.
    Vfork(Tid),
    /// Word of memory: its frame-independent address (see task/futex.rs).
    Futex {
        /// Identity of the address space or of the object.
        owner: u64,
        /// Address or offset there.
        offset: u64,
        /// Bits of the waiter or waker (FUTEX_*_BITSET).
        bits: u32,
    },
    /// A stream of this job may go on.
    Stream(u32),
    /// Anything with an id from `Kernel::new_wait_id`.
    Object(u64),
}

/// What a signal makes of a sleeping call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnSignal {
    /// Made again, unless a handler without SA_RESTART runs (Linux: ERESTARTSYS).
    Restart,
    /// Made again, unless a handler runs (Linux: ERESTARTNOHAND).
    RestartWithoutHandler,
    /// EINTR.
    Interrupt,
    /// Nothing: it goes on sleeping.
    Ignore,
    /// It answers this: what it has done so far.
    Return(u64),
}

/// Why a task sleeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) keys: Vec<WaitKey>,
    /// Nanoseconds since boot.
    pub(crate) deadline: Option<u64>,
    pub(crate) on_signal: OnSignal,
}

impl Wait {
    /// Waits for nothing but a signal.
    pub(crate) const fn forever() -> Self {
        Self { keys: Vec::new(), deadline: None, on_signal: OnSignal::Restart }
    }

    /// Waits for `key`.
    pub(crate) fn on(key: WaitKey) -> Self {
        Self::forever().and(key)
    }

    /// Waits for `key` as well.
    pub(crate) fn and(mut self, key: WaitKey) -> Self {
        self.keys.push(key);
        self
    }

    /// Gives up at `deadline`.
    pub(crate) fn with_deadline(self, deadline: Option<u64>) -> Self {
        Self { deadline, ..self }
    }

    /// Says what a signal makes of the call.
    pub(crate) fn with_on_signal(self, on_signal: OnSignal) -> Self {
        Self { on_signal, ..self }
    }
}
