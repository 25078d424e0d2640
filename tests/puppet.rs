//! The program `puppet`, which does what a test tells it and touches nothing else.

use crate::group::Group;
use crate::machine::Machine;
use crate::running::{Finished, Running};

/// A running puppet.
#[derive(Debug)]
pub struct Puppet {
    running: Running,
    tid: u32,
    has_child: bool,
}

impl Puppet {
    /// Starts one in a group and lets it touch everything it needs itself, so that from now on only
    /// what it is told changes the usage.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    #[track_caller]
    pub fn start(machine: &Machine, group: &Group) -> Self {
        Self::try_start(machine, group).expect("the puppet starts")
    }

    /// The same; `None` when it ended while it started.
    #[must_use]
    #[track_caller]
    pub fn try_start(machine: &Machine, group: &Group) -> Option<Self> {
        let running = machine.start(group, "puppet", &[]);
        let mut puppet = Self { running, tid: 0, has_child: false };
        puppet.tid = u32::try_from(puppet.ask("pid")?).ok()?;
        for warm_up in ["touch 1", "again 1", "drop"] {
            puppet.ask(warm_up)?;
        }
        Some(puppet)
    }

    /// Its task id in the guest.
    #[must_use]
    pub fn tid(&self) -> u32 {
        self.tid
    }

    /// Tells it a line, and returns its answer.
    ///
    /// # Panics
    /// When it has ended.
    #[track_caller]
    pub fn tell(&mut self, line: &str) -> u64 {
        self.ask(line).unwrap_or_else(|| panic!("the puppet ended at {line:?}"))
    }

    /// Tells it a line; `None` when it ended over it.
    ///
    /// # Panics
    /// When the answer is no number.
    #[track_caller]
    pub fn ask(&mut self, line: &str) -> Option<u64> {
        self.running.send(&format!("{line}\n"));
        self.running.line().map(|answer| answer.parse().expect("a puppet answers with a number"))
    }

    /// A line that makes, uses or ends its one child, whichever is possible now.
    pub fn family_line(&mut self, pages: u64) -> String {
        if !self.has_child {
            self.has_child = true;
            return "fork".into();
        }
        if pages.is_multiple_of(2) {
            return format!("child {pages}");
        }
        self.has_child = false;
        "reap".into()
    }

    /// Ends it and returns what it left behind.
    #[track_caller]
    pub fn finish(self) -> Finished {
        self.running.finish()
    }
}
