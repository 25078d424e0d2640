//! What a process does on each signal.
//!
//! Source: Linux v6.12 arch/x86/include/uapi/asm/signal.h, `struct kernel_sigaction`.

use super::number::{DefaultAction, SIGNALS, Signal, SignalSet};

/// Bytes of `struct kernel_sigaction`: handler, flags, restorer, mask.
pub(crate) const ACTION_LEN: usize = 32;

/// Handler value: the default action.
const SIG_DFL: u64 = 0;
/// Handler value: ignore.
const SIG_IGN: u64 = 1;

/// Flags of an action.
pub(crate) mod flag {
    /// No SIGCHLD when a child stops.
    pub(crate) const NOCLDSTOP: u64 = 1;
    /// Children leave no zombie.
    pub(crate) const NOCLDWAIT: u64 = 2;
    /// The frame's return address is in the action.
    pub(crate) const RESTORER: u64 = 0x0400_0000;
    /// Run on the alternate stack.
    pub(crate) const ONSTACK: u64 = 0x0800_0000;
    /// Interrupted calls are restarted.
    pub(crate) const RESTART: u64 = 0x1000_0000;
    /// The signal is not blocked while its handler runs.
    pub(crate) const NODEFER: u64 = 0x4000_0000;
    /// The action goes back to the default when the handler starts.
    pub(crate) const RESETHAND: u64 = 0x8000_0000;
}

/// An action as the program gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Action {
    /// Address of the handler, or 0 for the default, or 1 to ignore.
    pub(crate) handler: u64,
    /// An or of [`flag`].
    pub(crate) flags: u64,
    /// Where the handler returns to.
    pub(crate) restorer: u64,
    /// Signals blocked while the handler runs.
    pub(crate) mask: SignalSet,
}

/// What an action comes down to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// Nothing happens.
    Ignore,
    /// The signal's default other than nothing.
    Default(DefaultAction),
    /// The program's handler runs.
    Handle,
}

impl Action {
    /// Reads a `struct kernel_sigaction`; the mask never holds SIGKILL or SIGSTOP.
    pub(crate) fn from_bytes(bytes: &[u8; ACTION_LEN]) -> Self {
        let (words, _) = bytes.as_chunks::<8>();
        let word = |i: usize| u64::from_le_bytes(words[i]);
        Self {
            handler: word(0),
            flags: word(1),
            restorer: word(2),
            mask: SignalSet(word(3)).without(SignalSet::UNBLOCKABLE),
        }
    }

    /// The `struct kernel_sigaction`.
    pub(crate) fn to_bytes(self) -> [u8; ACTION_LEN] {
        let mut bytes = [0; ACTION_LEN];
        let words = [self.handler, self.flags, self.restorer, self.mask.0];
        for (place, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *place = word.to_le_bytes();
        }
        bytes
    }

    /// What happens when `signal` arrives.
    pub(crate) fn disposition(&self, signal: Signal) -> Disposition {
        match (self.handler, signal.default_action()) {
            (SIG_IGN, _) | (SIG_DFL, DefaultAction::Ignore) => Disposition::Ignore,
            (SIG_DFL, default) => Disposition::Default(default),
            _ => Disposition::Handle,
        }
    }

    /// Whether the program asked to ignore the signal.
    pub(crate) const fn is_ignore(&self) -> bool {
        self.handler == SIG_IGN
    }

    /// Whether a flag of [`flag`] is set.
    pub(crate) const fn has(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }
}

/// The actions of a process, one for each signal.
#[derive(Debug, Clone)]
pub(crate) struct Handlers([Action; SIGNALS as usize]);

impl Default for Handlers {
    fn default() -> Self {
        Self([Action::default(); SIGNALS as usize])
    }
}

impl Handlers {
    /// The action of a signal.
    pub(crate) const fn get(&self, signal: Signal) -> Action {
        self.0[signal.index()]
    }

    /// Changes the action of a signal.
    pub(crate) fn set(&mut self, signal: Signal, action: Action) {
        self.0[signal.index()] = action;
    }

    /// The signals that are ignored on request, and those that have a handler.
    pub(crate) fn ignored_and_caught(&self) -> (SignalSet, SignalSet) {
        let all = (1..=u64::from(SIGNALS)).filter_map(Signal::from_word);
        all.fold((SignalSet::EMPTY, SignalSet::EMPTY), |(ignored, caught), signal| {
            match self.get(signal).handler {
                SIG_IGN => (ignored.with(signal), caught),
                SIG_DFL => (ignored, caught),
                _ => (ignored, caught.with(signal)),
            }
        })
    }

    /// What a child starts with.
    pub(crate) fn for_fork(&self) -> Self {
        self.clone()
    }

    /// Handlers do not survive an exec; what is ignored stays ignored.
    pub(crate) fn on_exec(&mut self) {
        for action in &mut self.0 {
            let handler = if action.is_ignore() { SIG_IGN } else { SIG_DFL };
            *action = Action { handler, ..Action::default() };
        }
    }
}
