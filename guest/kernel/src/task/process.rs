//! A process: tasks that share an id, a parent and a fate.

use alloc::vec::Vec;

use crate::number::Tid;
use crate::signal::{ProcessSignals, Signal};

/// How a process ended or changed, as wait4 reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WaitStatus(pub(crate) u32);

impl WaitStatus {
    /// It called exit with this code.
    pub(crate) const fn exited(code: u8) -> Self {
        Self((code as u32) << 8)
    }

    /// A signal ended it.
    pub(crate) const fn killed(signal: u8) -> Self {
        Self(signal as u32)
    }

    /// A signal stopped it.
    pub(crate) const fn stopped(signal: u8) -> Self {
        Self((signal as u32) << 8 | 0x7f)
    }

    /// SIGCONT let it go on.
    pub(crate) const CONTINUED: Self = Self(0xffff);

    /// The code of a process that called exit.
    pub(crate) fn exit_code(self) -> Option<u32> {
        (self.0 & 0x7f == 0).then_some(self.0 >> 8 & 0xff)
    }

    /// The signal that ended it, or 0.
    pub(crate) const fn signal(self) -> u32 {
        self.0 & 0x7f
    }
}

/// Soft and hard limit of each resource, in the order of RLIMIT_CPU = 0 on.
pub(crate) const LIMITS: usize = 16;
/// Number of RLIMIT_STACK.
pub(crate) const LIMIT_STACK: usize = 3;
/// Number of RLIMIT_NOFILE.
pub(crate) const LIMIT_FILES: usize = 7;
/// Number of RLIMIT_AS.
pub(crate) const LIMIT_SPACE: usize = 9;
/// No limit.
pub(crate) const UNLIMITED: u64 = u64::MAX;

/// How a process wants to be scheduled. Every task gets the same turns all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Scheduling {
    /// -20 to 19.
    pub(crate) nice: i32,
    /// SCHED_OTHER = 0 and so on.
    pub(crate) policy: u32,
    /// 1 to 99 with a real-time policy, else 0.
    pub(crate) priority: u32,
}

/// Tasks that share an id, a parent and a fate.
#[derive(Debug)]
pub(crate) struct Process {
    /// Id of its first task.
    pub(crate) id: Tid,
    pub(crate) parent: Tid,
    /// Process group.
    pub(crate) group: Tid,
    pub(crate) session: Tid,
    /// Its tasks that have not ended.
    pub(crate) threads: Vec<Tid>,
    /// The job it belongs to: whose streams its terminal calls use.
    pub(crate) job: u32,
    /// Whether its end ends the job.
    pub(crate) is_first_of_job: bool,
    pub(crate) signals: ProcessSignals,
    /// Signal its parent gets when it ends; 0 = none.
    pub(crate) exit_signal: u8,
    /// Signal it gets when its parent ends (PR_SET_PDEATHSIG).
    pub(crate) parent_death: Option<Signal>,
    /// How it ended, once all its tasks have.
    pub(crate) ended: Option<WaitStatus>,
    /// How it will have ended, once a task decided so.
    pub(crate) ending: Option<WaitStatus>,
    /// A stop or continuation that its parent has not asked about yet.
    pub(crate) change: Option<WaitStatus>,
    pub(crate) is_stopped: bool,
    /// Whether it has called execve since it was made (setpgid refuses then).
    pub(crate) has_execed: bool,
    pub(crate) limits: [(u64, u64); LIMITS],
    /// What it asked for in scheduling: remembered, nothing more.
    pub(crate) scheduling: Scheduling,
    /// What personality() set: remembered, nothing more.
    pub(crate) personality: u32,
    /// Arguments, each ended by a NUL, for /proc.
    pub(crate) command_line: Vec<u8>,
    /// Absolute path of its program.
    pub(crate) executable: Vec<u8>,
    /// When it was made, in nanoseconds since boot.
    pub(crate) started_ns: u64,
    /// Nanoseconds its ended and running tasks have run, in ring 3 and in the kernel on its behalf.
    pub(crate) ran_ns: u64,
    /// The same for its children that were waited for.
    pub(crate) children_ran_ns: u64,
}

/// The limits of a job's first process.
pub(crate) fn first_limits() -> [(u64, u64); LIMITS] {
    let mut limits = [(UNLIMITED, UNLIMITED); LIMITS];
    limits[LIMIT_STACK] = (8 << 20, UNLIMITED);
    limits[4] = (0, UNLIMITED); // RLIMIT_CORE: no core is ever written
    limits[LIMIT_FILES] = (1024, 4096);
    limits
}
