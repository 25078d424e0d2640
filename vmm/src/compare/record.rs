//! What happened in the runs of a comparison.

use std::io::{self, Write};
use std::time::Duration;

use memcg::Pages;
use vmcg_abi::layout::PAGE_SIZE;

/// One group at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupUsage {
    /// Pages charged.
    pub usage: Pages,
    /// Pages that may be.
    pub limit: Pages,
}

/// Every group at one moment.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Since the start of the run.
    pub time: Duration,
    /// In the order of the scenario.
    pub groups: Vec<GroupUsage>,
}

/// Something that was done, or that happened.
#[derive(Debug, Clone)]
pub struct Step {
    /// Since the start of the run.
    pub time: Duration,
    /// In words.
    pub what: String,
    /// `ok`, or why not.
    pub result: String,
    /// Every group right afterwards.
    pub groups: Vec<GroupUsage>,
    /// For a move: pages that moved, pages that found no room, and how long the guest stood still in
    /// all and at a time, in microseconds.
    pub moved: Option<[u64; 4]>,
}

/// One run with one set of options.
#[derive(Debug, Clone)]
pub struct Run {
    /// The options that set it apart, for people.
    pub label: String,
    /// What was done, in order.
    pub steps: Vec<Step>,
    /// The groups over time.
    pub samples: Vec<Sample>,
    /// Most pages that any group was seen above its limit.
    pub overshoot: Pages,
    /// Processes killed because a group was out of memory.
    pub kills: u64,
}

impl GroupUsage {
    /// Pages above the limit.
    #[must_use]
    pub fn excess(&self) -> u64 {
        self.usage.get().saturating_sub(self.limit.get())
    }
}

/// Writes every sample of every run: one line a group and moment, amounts in bytes, no limit empty.
///
/// # Errors
/// The writer's.
pub fn write_csv(out: &mut dyn Write, groups: &[String], runs: &[Run]) -> io::Result<()> {
    writeln!(out, "run,seconds,group,usage_bytes,limit_bytes")?;
    for run in runs {
        for sample in &run.samples {
            for (name, group) in groups.iter().zip(&sample.groups) {
                let seconds = sample.time.as_secs_f64();
                let usage = group.usage.get() * PAGE_SIZE;
                write!(out, "{},{seconds:.4},{},{usage},", quoted(&run.label), quoted(name))?;
                if !group.limit.is_unlimited() {
                    write!(out, "{}", group.limit.get() * PAGE_SIZE)?;
                }
                writeln!(out)?;
            }
        }
    }
    out.flush()
}

/// A text as a field of a CSV file (RFC 4180).
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_become_lines_of_bytes() {
        let group = |usage, limit| GroupUsage { usage: Pages::new(usage), limit };
        let groups = vec![group(2, Pages::new(1)), group(0, Pages::UNLIMITED)];
        assert_eq!(groups.iter().map(GroupUsage::excess).collect::<Vec<_>>(), [1, 0]);
        let sample = Sample { time: Duration::from_millis(1500), groups };
        let run = Run {
            label: "a=1, b=2".into(),
            steps: Vec::new(),
            samples: vec![sample],
            overshoot: Pages::ONE,
            kills: 0,
        };
        let mut out = Vec::new();
        write_csv(&mut out, &["A".into(), "B".into()], &[run]).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<_> = text.lines().skip(1).collect();
        assert_eq!(lines, ["\"a=1, b=2\",1.5000,A,8192,4096", "\"a=1, b=2\",1.5000,B,0,"]);
    }
}
