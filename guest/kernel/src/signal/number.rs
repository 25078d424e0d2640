//! Signal numbers, sets of them, and what each does by default.
//!
//! Source: Linux v6.12 arch/x86/include/uapi/asm/signal.h and include/linux/signal.h (sig_kernel_*).

/// Highest signal number; signals from [`Signal::REALTIME_MIN`] on are queued.
pub(crate) const SIGNALS: u8 = 64;

/// A signal, 1 to 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Signal(u8);

#[expect(dead_code, reason = "the table is kept whole")]
impl Signal {
    pub(crate) const HUP: Self = Self(1);
    pub(crate) const INT: Self = Self(2);
    pub(crate) const QUIT: Self = Self(3);
    pub(crate) const ILL: Self = Self(4);
    pub(crate) const TRAP: Self = Self(5);
    pub(crate) const ABRT: Self = Self(6);
    pub(crate) const BUS: Self = Self(7);
    pub(crate) const FPE: Self = Self(8);
    pub(crate) const KILL: Self = Self(9);
    pub(crate) const USR1: Self = Self(10);
    pub(crate) const SEGV: Self = Self(11);
    pub(crate) const USR2: Self = Self(12);
    pub(crate) const PIPE: Self = Self(13);
    pub(crate) const ALRM: Self = Self(14);
    pub(crate) const TERM: Self = Self(15);
    pub(crate) const CHLD: Self = Self(17);
    pub(crate) const CONT: Self = Self(18);
    pub(crate) const STOP: Self = Self(19);
    pub(crate) const TSTP: Self = Self(20);
    pub(crate) const TTIN: Self = Self(21);
    pub(crate) const TTOU: Self = Self(22);
    pub(crate) const URG: Self = Self(23);
    pub(crate) const XCPU: Self = Self(24);
    pub(crate) const XFSZ: Self = Self(25);
    pub(crate) const VTALRM: Self = Self(26);
    pub(crate) const PROF: Self = Self(27);
    pub(crate) const WINCH: Self = Self(28);
    pub(crate) const SYS: Self = Self(31);
    pub(crate) const REALTIME_MIN: Self = Self(32);

    /// The signal a program or the host named; `None` when there is no such signal.
    pub(crate) fn from_word(word: u64) -> Option<Self> {
        match u8::try_from(word) {
            Ok(number) if (1..=SIGNALS).contains(&number) => Some(Self(number)),
            _ => None,
        }
    }

    /// The number.
    pub(crate) const fn number(self) -> u8 {
        self.0
    }

    /// Position in a table of all signals.
    pub(crate) const fn index(self) -> usize {
        self.0 as usize - 1
    }

    /// What happens to a process that neither handles nor ignores the signal.
    pub(crate) fn default_action(self) -> DefaultAction {
        match self {
            Self::CHLD | Self::URG | Self::WINCH => DefaultAction::Ignore,
            Self::CONT => DefaultAction::Continue,
            Self::STOP | Self::TSTP | Self::TTIN | Self::TTOU => DefaultAction::Stop,
            _ => DefaultAction::Terminate,
        }
    }

    /// Whether a terminated process's wait status says that it would have dumped core.
    ///
    /// Differs from Linux: no core is written, so the bit is never set; the status is the one
    /// Linux gives under RLIMIT_CORE 0.
    pub(crate) const fn wait_status(self) -> u32 {
        self.0 as u32
    }

    /// Whether the signal is queued each time it is sent.
    pub(crate) fn is_realtime(self) -> bool {
        self >= Self::REALTIME_MIN
    }
}

/// What a signal does to a process that left it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DefaultAction {
    /// Ends the process.
    Terminate,
    /// Nothing.
    Ignore,
    /// Stops the process.
    Stop,
    /// Lets a stopped process go on; nothing otherwise.
    Continue,
}

/// A set of signals, as `sigset_t`: bit 0 is signal 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SignalSet(pub(crate) u64);

impl SignalSet {
    /// No signal.
    pub(crate) const EMPTY: Self = Self(0);
    /// Signals that cannot be blocked, handled or ignored.
    pub(crate) const UNBLOCKABLE: Self = Self::of(Signal::KILL).with(Signal::STOP);
    /// Signals that stop a process; SIGCONT takes them away and the other way round.
    pub(crate) const STOPPING: Self =
        Self::of(Signal::STOP).with(Signal::TSTP).with(Signal::TTIN).with(Signal::TTOU);
    /// Signals raised by what the task itself did; they are delivered first.
    pub(crate) const SYNCHRONOUS: Self = Self::of(Signal::SEGV)
        .with(Signal::BUS)
        .with(Signal::ILL)
        .with(Signal::TRAP)
        .with(Signal::FPE)
        .with(Signal::SYS);

    /// The set of one signal.
    pub(crate) const fn of(signal: Signal) -> Self {
        Self(1 << (signal.0 - 1))
    }

    /// The set and one more signal.
    #[must_use]
    pub(crate) const fn with(self, signal: Signal) -> Self {
        Self(self.0 | Self::of(signal).0)
    }

    /// The set without another set.
    #[must_use]
    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Signals in either set.
    #[must_use]
    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Signals in both sets.
    #[must_use]
    pub(crate) const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether the signal is in the set.
    pub(crate) const fn contains(self, signal: Signal) -> bool {
        self.0 & Self::of(signal).0 != 0
    }

    /// Whether no signal is in the set.
    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The signal to deliver first: synchronous ones, then by number.
    pub(crate) fn first(self) -> Option<Signal> {
        let synchronous = self.intersection(Self::SYNCHRONOUS);
        let from = if synchronous.is_empty() { self } else { synchronous };
        Signal::from_word(u64::from(from.0.trailing_zeros()) + 1)
    }
}
