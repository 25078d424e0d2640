//! Samples of a running machine's groups.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use memcg::{GroupId, Memcg, Pages, Resource};
use vmm::compare::{GroupUsage, Sample};
use vmm::machine::Machine;

/// Time between two samples.
const INTERVAL: Duration = Duration::from_millis(10);

/// Takes samples until `is_over`.
pub(super) fn watch(
    machine: &Machine,
    groups: &[GroupId],
    start: Instant,
    is_over: &AtomicBool,
) -> Vec<Sample> {
    let mut samples = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        samples.push(Sample { time: start.elapsed(), groups: look(machine, groups) });
        std::thread::sleep(INTERVAL);
    }
    samples
}

/// Looks at every group once.
pub(super) fn look(machine: &Machine, groups: &[GroupId]) -> Vec<GroupUsage> {
    let mut seen = Vec::new();
    machine.accounting(&mut |memcg| {
        seen = groups.iter().map(|&group| usage(memcg, group)).collect();
    });
    seen
}

/// Most pages above a limit that were seen. A page that was above one and had gone at the next look
/// counts as one: faults that must be answered go over by one page at a time.
pub(super) fn overshoot(machine: &Machine, groups: &[GroupId], samples: &[Sample]) -> Pages {
    let seen = samples.iter().flat_map(|sample| &sample.groups).map(GroupUsage::excess).max();
    let mut forced = 0;
    machine.accounting(&mut |memcg| {
        let count = |&group: &GroupId| Some(memcg.stat(group).ok()?.local.events.overshoot);
        forced = groups.iter().filter_map(count).sum();
    });
    Pages::new(seen.unwrap_or(0).max(forced.min(1)))
}

/// Processes killed because one of the groups was out of memory.
pub(super) fn kills(machine: &Machine, groups: &[GroupId]) -> u64 {
    let mut kills = 0;
    machine.accounting(&mut |memcg| {
        let count = |&group: &GroupId| Some(memcg.stat(group).ok()?.local.events.oom_kill);
        kills = groups.iter().filter_map(count).sum();
    });
    kills
}

fn usage(memcg: &Memcg, group: GroupId) -> GroupUsage {
    let counter = memcg.counter(group, Resource::Memory);
    counter.map_or(GroupUsage { usage: Pages::ZERO, limit: Pages::UNLIMITED }, |counter| {
        GroupUsage { usage: counter.usage(), limit: counter.limit() }
    })
}
