//! Every counter of every group at one moment, to show that a refusal changed nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::group::Group;

const FILES: [&str; 6] = [
    "memory.usage_in_bytes",
    "memory.max_usage_in_bytes",
    "memory.limit_in_bytes",
    "memory.failcnt",
    "memory.stat",
    "tasks",
];

/// The counters of a group and all groups below it, by file.
///
/// Take it when no program runs: what one does in between is a change like any other.
#[must_use]
pub fn counters(group: &Group) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut todo = vec![group.clone()];
    while let Some(group) = todo.pop() {
        for file in FILES {
            all.insert(format!("{}/{file}", group.path()), group.read(file));
        }
        todo.extend(group.children());
    }
    all
}

/// The counters without the failcnt files: a refusal may be counted where Linux counts it.
#[must_use]
pub fn counters_but_failcnt(group: &Group) -> BTreeMap<String, String> {
    let mut all = counters(group);
    all.retain(|file, _| !file.ends_with("failcnt"));
    all
}

/// What differs between two sets of counters, a line for each file.
#[must_use]
pub fn differences(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Vec<String> {
    let files: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed = files.into_iter().filter(|&file| before.get(file) != after.get(file));
    changed.map(|file| format!("{file}: {:?} -> {:?}", before.get(file), after.get(file))).collect()
}
