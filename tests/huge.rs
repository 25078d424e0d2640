//! The program `hugepuppet`, which maps and touches huge pages as a test tells it.

use crate::group::Group;
use crate::machine::Machine;
use crate::running::{Finished, Running};

/// What a touch that ended in SIGBUS answers.
pub const BUS: i64 = -135;
/// Bytes of a huge page.
pub const HUGE: u64 = 2 << 20;

/// A running puppet.
#[derive(Debug)]
pub struct HugePuppet {
    running: Running,
}

impl HugePuppet {
    /// Starts one in a group.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    #[track_caller]
    pub fn start(machine: &Machine, group: &Group) -> Self {
        let mut puppet = Self { running: machine.start(group, "hugepuppet", &[]) };
        assert!(puppet.tell("pid") > 0);
        puppet
    }

    /// Tells it a line, and returns its answer.
    ///
    /// # Panics
    /// When it has ended.
    #[track_caller]
    pub fn tell(&mut self, line: &str) -> i64 {
        self.running.send(&format!("{line}\n"));
        let answer = self.running.line().unwrap_or_else(|| panic!("ended at {line:?}"));
        answer.parse().expect("a puppet answers with a number")
    }

    /// Tells it lines one after the other, each of which must have the answer beside it.
    ///
    /// # Panics
    /// When one has another.
    #[track_caller]
    pub fn expect(&mut self, lines: &[(&str, i64)]) {
        for (line, answer) in lines {
            assert_eq!(self.tell(line), *answer, "{line}");
        }
    }

    /// Ends it and returns what it left behind.
    #[track_caller]
    pub fn finish(self) -> Finished {
        self.running.finish()
    }
}

/// How many huge pages of 2 MiB a group is charged for: at mmap, at the reservation, at the fault.
#[must_use]
#[track_caller]
pub fn charged(group: &Group) -> [u64; 3] {
    ["memory.hugetlb.2MB", "hugetlb.2MB.rsvd", "hugetlb.2MB"]
        .map(|family| group.number(&format!("{family}.usage_in_bytes")) / HUGE)
}
