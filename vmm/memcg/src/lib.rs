//! Memory cgroup accounting: counters, the hierarchy, frame owners, and charges that follow tasks.
//!
//! This crate decides what every page of the machine is charged to. It has no I/O, no threads, no
//! clock and no unsafe code; it sees the machine through the [`Guest`] trait, so that a test can run
//! it on millions of pages.
//!
//! Read it in this order:
//! - [`counter`](Counter): usage against a limit; `walk`: charging up the hierarchy;
//! - `frames` and `owners`: which group a frame belongs to, and how that changes in one step;
//! - `charge`: the fault path; `kmem`: kernel memory, charged ahead of it; `huge`: huge pages, at
//!   three moments; `tree`, `offline`, `limits`, `wall`, `settings`, `tasks`, `stat`, `oom`: what a
//!   user sees of a group; `thresholds`: what is told when usage crosses a level;
//! - `recharge`: moving a task with its charges; `transit`: the accounting of pages on their way;
//! - `check`: the invariants, verified from first principles.
//!
//! All state is in [`Memcg`], which the caller keeps under one lock. Nothing here waits.
#![forbid(unsafe_code)]

mod charge;
mod check;
mod config;
mod counter;
mod error;
mod frames;
mod gauges;
mod generations;
mod group;
mod guest;
mod held;
mod huge;
mod kmem;
mod limits;
mod lists;
mod offline;
mod oom;
mod oom_wait;
mod owners;
mod psi;
mod recharge;
mod reclaim;
mod resource;
mod settings;
mod stalls;
mod stat;
mod tasks;
mod thresholds;
mod transit;
mod tree;
mod units;
mod vmpressure;
mod walk;
mod wall;
mod workingset;

pub use charge::{Mapped, Payer};
pub use check::Violation;
pub use config::{Abi, Config, Hierarchy, Offline};
pub use counter::Counter;
pub use error::{ChargeError, Error};
pub use frames::Kind;
pub use generations::Locked;
pub use group::GroupId;
pub use guest::{Evicted, Guest, ScanError, ScannedRun};
pub use held::Held;
pub use huge::{HugeError, HugeMap, HugePage};
pub use offline::Dead;
pub use oom::{OomReport, OomTask, Verdict};
pub use psi::{Hundredths, Stall, StallShare};
pub use recharge::{Move, MoveError, MoveReport, Policy, Progress, Scope, Settled, Skipped};
pub use reclaim::{Effort, Reclaimed};
pub use resource::{HugeSize, HugeUse, Resource};
pub use settings::Settings;
pub use stat::{Amounts, Events, Fault, Stat, Workingset};
pub use thresholds::Crossing;
pub use units::{Gfn, Gva, Pages, Tid};
pub use vmpressure::PressureLevel;

use std::collections::BTreeSet;

use frames::Frames;
use group::Groups;
use owners::Owners;
use recharge::{Debts, Strays};
use tasks::Tasks;
use thresholds::Thresholds;
use transit::Transits;

/// The accounting of one machine.
#[derive(Debug)]
pub struct Memcg {
    config: Config,
    root: GroupId,
    groups: Groups,
    owners: Owners,
    frames: Frames,
    tasks: Tasks,
    transits: Transits,
    debts: Debts,
    strays: Strays,
    thresholds: Thresholds,
    /// Groups that were given a soft limit.
    soft_limited: BTreeSet<GroupId>,
    /// Where reclaim for the whole guest goes on.
    everybody: reclaim::Everybody,
    /// There was room on swap when reclaim last asked.
    has_swap: bool,
    oom_reports: oom::OomReports,
    waiters: oom_wait::Waiters,
    /// Pressure events nobody has taken yet.
    pressure: Vec<(GroupId, PressureLevel)>,
    /// The latest time anybody has told, in microseconds.
    now_us: u64,
    huge: huge::Huge,
    /// Charges held by [`Held`] values.
    tokens: u64,
    ahead: kmem::Ahead,
}

impl Memcg {
    /// Makes the accounting of a machine without any page charged.
    ///
    /// # Errors
    /// [`Error::Invalid`] when no machine has so many frames.
    pub fn new(config: Config) -> Result<Self, Error> {
        let mut memcg = Self {
            config,
            root: GroupId::default(),
            groups: Groups::default(),
            owners: Owners::default(),
            frames: Frames::new(config.frames).ok_or(Error::Invalid)?,
            tasks: Tasks::default(),
            transits: Transits::default(),
            debts: Debts::default(),
            strays: Strays::default(),
            thresholds: Thresholds::default(),
            soft_limited: BTreeSet::new(),
            everybody: reclaim::Everybody::default(),
            has_swap: false,
            oom_reports: oom::OomReports::default(),
            waiters: oom_wait::Waiters::default(),
            pressure: Vec::new(),
            now_us: 0,
            huge: huge::Huge::default(),
            tokens: 0,
            ahead: kmem::Ahead::default(),
        };
        let settings = Settings::root(config.abi, config.recharge);
        memcg.root = memcg.plant(None, "".into(), settings)?;
        Ok(memcg)
    }

    /// Returns what the machine was started with.
    #[must_use]
    pub const fn config(&self) -> Config {
        self.config
    }
}

#[cfg(test)]
mod fixture {
    //! Machines for unit tests.

    use crate::{Abi, Config, Hierarchy, Memcg, Offline, Policy};

    /// The configuration most tests start from.
    pub(crate) fn config(frames: u64) -> Config {
        Config {
            frames,
            hierarchy: Hierarchy::Share,
            recharge: Policy::Rollback,
            offline: Offline::Reparent,
            abi: Abi::Classic,
        }
    }

    /// A machine of so many frames with everything by default.
    pub(crate) fn share(frames: u64) -> Memcg {
        Memcg::new(config(frames)).unwrap()
    }

    /// A machine whose children borrow their limits.
    pub(crate) fn wall(frames: u64) -> Memcg {
        Memcg::new(Config { hierarchy: Hierarchy::Wall, ..config(frames) }).unwrap()
    }
}
